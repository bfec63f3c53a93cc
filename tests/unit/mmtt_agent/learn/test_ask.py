"""`mmtt learn ask` and `mmtt learn feedback` as their users see them."""

from __future__ import annotations

import builtins
import json
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("sklearn")
pytest.importorskip("pyarrow")

from mmtt_agent.classifier import Verdicts
from mmtt_agent.learn import ask_cli, groups, notebook, picture
from mmtt_agent.learn.ask import Answer, Vocabulary
from mmtt_agent.learn.cli import learn
from mmtt_agent.learn.errors import LearnError
from mmtt_agent.record import reading
from mmtt_agent.record.rows import SCORES, Batch, RecordError, Windows
from mmtt_agent.record.writer import Recorder
from mmtt_agent.series import SeriesBatch

#: 2026-11-27 22:00 UTC, in µs.
NOW = 1_795_816_800_000_000
HOUR = 3_600_000_000
WIDTH = 64
#: kind: flows, the network's best score, how far they are from one another, server port, name in ssl.log.
KINDS = {
    "backup": (60, 0.2, 0.02, 8443, None),
    "camera": (30, 0.4, 0.02, 554, "cam\x1b[31m.intra.example.org"),
    "sprawl": (30, 0.4, 0.2, 9000, None),
    "video": (40, 0.3, 0.02, 443, "rr3---sn-4g5e6nez.googlevideo.com"),
}


def made(kinds=KINDS, seed=0, prefix="C", ts=NOW) -> Windows:
    """Flows of each kind, an hour's each, all unknown to the network; their embeddings are kinds apart."""
    random, parts = np.random.default_rng(seed), []
    directions = dict(zip(KINDS, np.random.default_rng(9).standard_normal((len(KINDS), WIDTH)), strict=True))
    for number, (kind, (flows, score, spread, *_)) in enumerate(kinds.items()):
        for flow in range(flows):
            embedding = directions[kind] / np.linalg.norm(directions[kind]) + random.normal(0, spread, WIDTH) / 8
            parts.append((ts + number * HOUR + flow, f"{prefix}{kind}{flow}", score, embedding))
    n = len(parts)
    text = lambda word: np.full(n, word, object)  # noqa: E731
    times, uids, scores, embeddings = zip(*parts, strict=True)
    return Windows(
        uid=np.array(uids, object),
        window=np.zeros(n, np.uint8),
        ts=np.array(times, np.int64),
        series=SeriesBatch.from_lists([[500, -1460, -1460, 80]] * n, [[0, 1000, 1200, 90_000]] * n),
        service=text("web"),
        service_score=np.full(n, 0.8, np.float32),
        application=text("unknown"),
        application_score=np.array(scores, np.float32),
        malicious=np.zeros(n, bool),
        malicious_score=np.zeros(n, np.float32),
        malicious_kind=text(""),
        log_odds=np.zeros(n, np.float32),
        incident=text(""),
        model=text("net@12345678"),
        embedding=np.array(embeddings, np.float16),
    )


def empty() -> Windows:
    columns = {name: value[:0] for name, value in vars(made()).items() if name != "other_widths"}
    return Windows(**columns)


def joined(*some: Windows) -> Windows:
    columns = {
        name: np.concatenate([getattr(each, name) for each in some])
        for name in vars(some[0])
        if name not in ("series", "other_widths")
    }
    return Windows(**columns, series=SeriesBatch.concatenate([each.series for each in some]))


def write_logs(directory, windows: Windows) -> None:
    """Zeek's logs of these flows, in JSON."""
    directory.mkdir(exist_ok=True)
    conn, ssl = [], []
    for uid, ts in zip(windows.uid, windows.ts, strict=True):
        kind = next(each for each in KINDS if each in uid)
        port, name = KINDS[kind][3:]
        ends = {"ts": ts / 1e6, "uid": uid, "id.orig_h": f"10.0.0.{len(uid) % 3}", "id.orig_p": 5000}
        ends |= {"id.resp_h": "192.0.2.1", "id.resp_p": port}
        conn.append({**ends, "proto": "tcp", "service": "ssl"})
        if name:
            ssl.append({**ends, "server_name": name})
    for log, rows in (("conn", conn), ("ssl", ssl)):
        (directory / f"{log}.log").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A directory with logs, and of windows, of which `site.windows` are read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "windows").mkdir()

    class Site:
        windows = made()
        path = tmp_path
        notebook = tmp_path / "windows" / "site.yaml"

    def read(directory, say, since=None, until=None):
        if not directory.is_dir():
            raise RecordError(f"{directory}: No such file or directory; name a directory of recorded windows")
        return Site.windows

    monkeypatch.setattr(reading, "read", read)
    write_logs(tmp_path / "logs", Site.windows)
    return Site


def run(*arguments):
    return CliRunner().invoke(learn, [str(each) for each in arguments])


def ask(*arguments):
    return run("ask", "--windows", "windows", "--logs", "logs", *arguments)


def shown(*arguments) -> list[dict]:
    result = ask("--format", "json", *arguments)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def kinds(group: dict) -> set[str]:
    return {next(each for each in KINDS if each in uid) for uid in group["uids"]}


def typed(monkeypatch, *lines):
    """What somebody types at a terminal; then its end."""
    left = [*lines]

    def answer(prompt):
        print(prompt)
        if not left:
            raise EOFError
        return left.pop(0)

    monkeypatch.setattr(builtins, "input", answer)
    monkeypatch.setattr(ask_cli, "_can_ask", lambda: True)
    return left


def test_groups_as_json_those_first_that_teach_most(site):
    found = shown()
    assert [kinds(each) for each in found[:2]] == [{"backup"}, {"camera"}]
    assert not any("video" in each for group in found for each in kinds(group)), "Zeek's logs name it"
    first = found[0]
    assert first["id"] in first["uids"] and first["flows"] == len(first["uids"]) >= 50
    assert first["worth"] > found[1]["worth"] and first["ports"] == {"8443/tcp": first["flows"]}
    assert first["hours"][22] == first["flows"] == sum(first["hours"]) == sum(first["originators"].values())
    assert first["since"] >= NOW / 1e6 and first["responders"] == {"192.0.2.1": first["flows"]}
    assert first["services"] == {"web": {"flows": first["flows"], "score": 0.8}} and first["names"] == {}
    assert first["applications"]["unknown"]["score"] == pytest.approx(0.2)
    assert (first["sizes"], first["times"]) == ([500, -1460, -1460, 80], [0, 1000, 1200, 90_000])
    assert [*found[1]["names"]] == ["cam\x1b[31m.intra.example.org"]
    assert shown() == found, "the same each time"
    assert shown("--groups", "1") == found[:1]
    result = ask()
    head, *lines = (line.split("\t") for line in result.stdout.splitlines())  # where there is no terminal
    assert [dict(zip(head, line, strict=True))["id"] for line in lines] == [each["id"] for each in found]
    row = dict(zip(head, lines[1], strict=True))
    assert row["names"] == f"cam\\x1b[31m.intra.example.org={found[1]['flows']}" and row["flows"] == str(
        found[1]["flows"]
    )
    assert "160 flows, the application of 160 unknown: 40 of those named by Zeek's logs" in result.stderr


def test_a_picture_of_each_group_with_nothing_that_a_terminal_would_obey(site):
    result = ask("--format", "table", "--groups", 2)
    assert result.exit_code == 0 and max(map(len, result.stdout.splitlines())) <= 80
    assert "\x1b" not in result.stdout and "cam\\x1b[31m.intra.example.org (30)" in result.stdout
    assert "8443/tcp (60)" in result.stdout and "192.0.2.1 (60)" in result.stdout
    assert "60, 2026-11-27 22:00 to 2026-11-27 22:00 UTC" in result.stdout
    assert "web (60, score 0.80)" in result.stdout and "none that Zeek saw" in result.stdout
    assert "first 4 packets, 580 bytes there, 2,920 back, in 0.09 s" in result.stdout
    assert "groups more" in result.stdout or len(shown()) == 2


def test_answers_on_a_terminal_are_written_at_once_and_not_asked_again(site, monkeypatch):
    left = typed(monkeypatch, "?", "unknown", "backup ", "File transfer", "filetransfer", "file_transfer", "l", "q")
    result = ask()
    assert result.exit_code == 0 and not left, result.output
    assert "new service" in result.stdout and "a service is one word" in result.stdout
    assert "1 group named, 1 left alone" in result.stdout
    first, second = notebook.read(site.notebook).groups
    assert (first.name, first.service, first.leave) == ("backup", "file_transfer", False)
    assert (second.name, second.service, second.leave) == (None, None, True)
    assert len(first.uids) >= 50 and len(second.uids) >= 25
    assert not {"backup", "camera"} & {kind for group in shown() for kind in kinds(group)}
    typed(monkeypatch, "q")
    assert "backup" not in ask().stdout


def test_flows_like_answered_ones_are_not_asked_of_on_another_day(site):
    uid = next(each["id"] for each in shown() if kinds(each) == {"backup"})
    assert ask("--answer", f"{uid}=leave").exit_code == 0
    site.windows = joined(site.windows, made({"backup": KINDS["backup"]}, seed=5, prefix="D", ts=NOW + 24 * HOUR))
    assert not {"backup"} & {kind for group in shown() for kind in kinds(group)}


def test_the_end_of_what_is_typed_ends_it_and_keeps_the_answers(site, monkeypatch):
    typed(monkeypatch, "s", "Cameras", "")
    result = ask("--notebook", "mine.yaml")
    assert result.exit_code == 0
    (only,) = notebook.read(site.path / "mine.yaml").groups
    assert (only.name, only.service) == ("Cameras", "web"), "the service that the network was sure of is offered"


def test_names_are_spelled_as_they_are_known():
    words = Vocabulary(notebook.Notebook(groups=[notebook.Group("Our Backup", "file_transfer", ["C1"])]))
    assert words.spelled(Answer("netFLIX", "web")) == Answer("Netflix", "web")
    assert (
        words.spelled(Answer("our backup")).name == "Our Backup" and words.service_of("Our Backup") == "file_transfer"
    )
    assert words.service_of("Google") is None and words.service_of("nobody's") is None


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Backup", Answer("Backup")),
        ("Backup/file_transfer", Answer("Backup", "file_transfer")),
        (" A / B /web", Answer("A / B", "web")),
        ("/web", Answer(None, "web")),
        ("leave", Answer(leave=True)),
    ],
)
def test_answers_of_programs(text, answer):
    assert Answer.parsed(text) == answer


def test_answers_without_a_terminal(site):
    backup, camera = (each["uids"][-1] for each in shown()[:2])
    result = ask("--answer", f"{backup}=Backup/file_transfer", "--answer", f"{camera}=leave")
    assert result.exit_code == 0
    assert "flows are Backup / file_transfer" in result.stdout and "flows left alone" in result.stdout
    first, second = notebook.read(site.notebook).groups
    assert backup in first.uids and camera in second.uids and first.asked and second.leave


@pytest.mark.parametrize(("given", "words"), [
    (["Cbackup1"], "is no answer; it is ID=NAME"), (["Cbackup1="], "a name is 1 to 64"),
    (["Cbackup1=unknown"], "a name is 1 to 64"),
    (["Cbackup1=A/"], "after / comes a service"), (["Cbackup1=A/My service"], "a service is one word"),
    (["Cnobody=A"], "Cnobody is in no group"), (["Cvideo1=A"], "Cvideo1 is in no group"),
    (["Cbackup1=A", "Cbackup2=B"], "Cbackup2 and Cbackup1 are in one group"),
    (["Cbackup1=A", "Cnobody=A"], "Cnobody is in no group"), (["Cold=A"], "Cold is answered already: Old"),
])  # fmt: skip
def test_of_answers_of_which_one_is_wrong_none_is_written(site, given, words):
    text = "groups: [{name: Old, uids: [Cold]}]\n"
    site.notebook.write_text(text)
    result = ask(*[each for answer in given for each in ("--answer", answer)])
    assert result.exit_code == 1 and words in result.stderr.splitlines()[-1]
    assert site.notebook.read_text() == text


def test_what_the_notebook_says_of_domains_explains_flows(site):
    site.notebook.write_text("domains: {googlevideo.com: {service: web}}\n")
    assert {"video"} in [kinds(each) for each in shown()], "no application is known any more"
    site.notebook.write_text("domains: {googlevideo.com: {service: web, application: Ours}}\n")
    assert {"video"} not in [kinds(each) for each in shown()]


def test_what_is_not_unknown_is_not_asked_of(site):
    sure = site.windows.application_score.copy()
    sure[:] = 0.9
    site.windows = Windows(**{**vars(site.windows), "application": np.full(160, "Netflix", object),
                              "application_score": sure})  # fmt: skip
    result = ask()
    assert (result.exit_code, result.stdout.count("\n")) == (0, 1) and "of 0 unknown" in result.stderr
    sure[:60] = 0.3
    assert [kinds(each) for each in shown()] == [{"backup"}], "a guess is as good as unknown"


def test_a_flow_that_another_window_has_told_is_not_unknown():
    windows = joined(made(), made())
    windows.window[160:] = 1
    assert len(groups.unknown(windows)) == 160
    windows.application[160:] = "Netflix"
    windows.application_score[160:] = 0.9
    assert len(groups.unknown(windows)) == 0


def test_windows_of_another_network_are_said_and_left_out(site):
    old = made(seed=3, prefix="O", ts=NOW - HOUR)
    old.model[:] = "old@1"
    site.windows = joined(old, site.windows)
    site.windows.model[-5:] = "net@12345678+abcdef01"
    write_logs(site.path / "logs", site.windows)
    assert not any(uid.startswith("O") for each in shown() for uid in each["uids"])
    assert "160 windows were recorded without an embedding, or by another network" in ask().stderr
    site.windows.embedding[:] = np.nan
    assert "none of the recorded windows has an embedding" in ask().stderr


def test_many_flows_are_sampled_and_all_of_them_grouped(site, monkeypatch):
    whole = {kind: each["flows"] for each in shown()[:2] for kind in kinds(each)}
    monkeypatch.setattr(groups, "_SAMPLE", 80)
    found = {kind: each["flows"] for each in shown()[:2] for kind in kinds(each)}
    assert whole == found == {"backup": 60, "camera": 30}


@pytest.mark.parametrize(("break_it", "words"), [
    (lambda site: (site.path / "logs" / "conn.log").unlink(), "logs: holds no conn.log; name the directory"),
    (lambda site: write_logs(site.path / "logs", made(prefix="Other")), "none of 160 recorded connections is in"),
    (lambda site: (site.path / "windows").rmdir(), "windows: No such file or directory"),
    (lambda site: site.notebook.write_text("groups: ["), "site.yaml:1: not YAML"),
    (lambda site: site.notebook.write_text("groups: [{uids: [C1], leave: true}, {uids: [C1], name: A}]"),
     "site.yaml:1: C1 is A here, and left alone in the group of line 1"),
])  # fmt: skip
def test_what_is_wrong_is_one_line(site, break_it, words):
    break_it(site)
    result = ask()
    assert result.exit_code == 1 and words in result.stderr.splitlines()[-1] and result.stdout == ""
    assert result.stderr.count("Error:") == 1


def test_without_scikit_learn(site, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    result = ask()
    assert result.exit_code == 1 and "type: pip install 'mmtt[learn]'" in result.stderr


def test_wrong_usage(site):
    assert "--answer prints no groups" in ask("--answer", "C1=A", "--format", "json").stderr
    assert run("ask", "--windows", "windows").exit_code == 2
    assert ask("--groups", "-1").exit_code == 2


def test_too_few_flows_are_no_group(site):
    site.windows = made({"backup": (3, *KINDS["backup"][1:])})
    result = ask()
    assert (result.exit_code, result.stdout.count("\n")) == (
        0,
        1,
    ) and "0 in 0 groups, 3 like too few others" in result.stderr
    site.windows = made({"backup": (9, *KINDS["backup"][1:])})
    (only,) = shown()
    assert 5 <= only["flows"] <= 9, "one group may be all there is"


def test_feedback_is_written_and_what_it_changes_is_said(site):
    result = run("feedback", "Cbackup1", "harmless", "--windows", "windows")
    assert (result.exit_code, result.stderr) == (0, "") and "Cbackup1 is harmless\n" in result.stdout
    result = run("feedback", "Cbackup1", "harmless", "--notebook", site.notebook)
    assert result.exit_code == 0 and "Cbackup1 is harmless already" in result.stdout
    result = run("feedback", "Cbackup1", "malicious", "--windows", "windows")
    assert result.exit_code == 0 and "Cbackup1 is malicious, no longer harmless" in result.stdout
    assert notebook.read(site.notebook).flows == {"Cbackup1": True}


def test_feedback_on_what_was_not_recorded(site):
    result = run("feedback", "Cnobody", "malicious", "--windows", "windows")
    assert result.exit_code == 0 and "Cnobody is not among the windows recorded in windows" in result.stderr
    assert notebook.read(site.notebook).flows == {"Cnobody": True}


@pytest.mark.parametrize(("arguments", "status", "words"), [
    (["C 1", "harmless", "--windows", "windows"], 2, "a uid is one word"),
    (["C1", "good", "--windows", "windows"], 2, "'good' is not one of"), (["C1", "harmless"], 2, "say where to write"),
    (["C1", "harmless", "--windows", "no"], 1, "No such file"),
    (["C1", "harmless", "--notebook", "no/site.yaml"], 1, "no: there is no such directory"),
    (["C1", "harmless", "--notebook", "bad.yaml"], 1, "bad.yaml:1: unknown key 'flow'"),
])  # fmt: skip
def test_feedback_that_can_not_be(site, arguments, status, words):
    (site.path / "bad.yaml").write_text("flow: {}\n")
    result = run("feedback", *arguments)
    assert result.exit_code == status and words in result.stderr and not site.notebook.exists()


def test_windows_of_a_sensor_that_gives_none(site):
    windows = made()
    site.windows = Windows(**{**vars(windows), "embedding": np.zeros((len(windows), 0), np.float16)})
    with pytest.raises(LearnError, match="has an embedding"):
        groups.of_latest_network(site.windows)


def test_pictures_at_any_terminal():
    sizes = [1460, -1460, 480, -1, 65_535]
    lines = picture.shape(sizes, "utf-8")
    assert lines == ["█       █", "█       █", "█   █   █", "─" * 10, "  █   ▀", "  █", "  █"]
    assert all(line.isascii() for line in picture.shape(sizes, "ascii"))
    assert len(picture.shape([1460] * 32, "utf-8")[0]) <= 64
    assert picture.bars([0, 1, 1000, 500], "utf-8") == " ▁█▄" and picture.bars([0, 1, 8], "latin-1").isascii()
    assert picture.bars([0, 0], "utf-8") == "  "


def test_help_imports_nothing_that_takes_long():
    code = (
        "import sys; from mmtt_agent.learn.cli import learn\n"
        "try: learn(['--help'])\nexcept SystemExit: pass\n"
        "assert not {'numpy', 'sklearn', 'pyarrow', 'onnxruntime'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_windows_as_they_are_recorded(tmp_path):
    windows = made()
    n = len(windows)
    verdicts = Verdicts(
        **{name: list(getattr(windows, name)) for name in ("service", "application", "malicious_kind")},
        **{name: getattr(windows, name) for name in ("malicious", *SCORES)},
        kind_scores=np.zeros((n, 0)),
        likeness=np.zeros((n, 16), np.float32),
        embedding=windows.embedding.astype(np.float32),
    )
    recorder = Recorder(tmp_path / "windows", "test", None, None, print, waits=True)
    uids, numbers = windows.uid.tolist(), windows.window.tolist()
    recorder.put(Batch(uids, numbers, windows.ts, windows.series, verdicts, [""] * n, "net@12345678"))
    recorder.close()
    write_logs(tmp_path / "logs", windows)
    result = run("ask", "--windows", tmp_path / "windows", "--logs", tmp_path / "logs", "--answer", "Cbackup1=Backup")
    assert result.exit_code == 0 and "flows are Backup" in result.stdout
    result = run("feedback", "Cvideo1", "harmless", "--windows", tmp_path / "windows")
    assert (result.exit_code, result.stderr) == (0, "")
    said = notebook.read(tmp_path / "windows" / "site.yaml")
    assert said.flows == {"Cvideo1": False} and said.groups[0].name == "Backup"
    (tmp_path / "none").mkdir()
    result = run("ask", "--windows", tmp_path / "none", "--logs", tmp_path / "logs")
    assert result.exit_code == 1 and "no windows were recorded there" in result.stderr
    part = next((tmp_path / "windows").glob("*/*.parquet"))
    part.write_bytes(part.read_bytes()[:-100])
    result = run("ask", "--windows", tmp_path / "windows", "--logs", tmp_path / "logs")
    assert "damaged" in result.stderr and "Traceback" not in result.output


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["alike", "two kinds", "noise", "no numbers", "none"])
def test_whatever_the_embeddings_are(kind):
    random = np.random.default_rng(0)
    one, other = random.standard_normal((2, WIDTH))
    embedding = {
        "alike": np.tile(one, (40, 1)),
        "two kinds": np.concatenate([np.tile(one, (40, 1)), np.tile(other, (30, 1))]),
        "noise": random.standard_normal((60, WIDTH)),
        "no numbers": np.full((20, WIDTH), np.inf),
        "none": np.zeros((0, WIDTH)),
    }[kind].astype(np.float16)
    windows = made({"backup": (len(embedding), *KINDS["backup"][1:])}) if len(embedding) else empty()
    windows.embedding[:] = embedding
    rows = groups.unknown(windows)
    found, like = groups.grouped(windows, rows, [])
    assert like == 0 and all(len(each.rows) >= groups.LEAST for each in found)
    if kind == "two kinds":
        assert [len(each.rows) for each in found] == [40, 30]
        assert groups.grouped(windows, rows[3:], [found[0].rows[:3]])[1] == 37
