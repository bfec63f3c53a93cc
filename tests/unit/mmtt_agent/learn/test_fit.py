"""`mmtt learn fit` as its users see it, on a small site and a small network, and what it learns from."""

import errno
import os
import subprocess
import sys

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from site_memory import HOUR, KINDS, Site, embedding_bundle, series
from tiny_bundle import make_bundle

pytest.importorskip("sklearn")
pytest.importorskip("pyarrow")

from mmtt_agent import bundle as bundles
from mmtt_agent import whole
from mmtt_agent.classifier import Classifier
from mmtt_agent.learn.cli import learn
from mmtt_agent.learn.fit import Lesson, fit
from mmtt_agent.learn.nameless import without_name

DOMAINS = {
    "erp.intra.example.org": {"service": "web", "application": "ERP"},
    "files.intra.example.org": {"service": "file_transfer", "application": "Files"},
    "camera.intra.example.org": {"service": "surveillance", "application": "Cameras"},
}
NAMES = {"erp": "ERP", "files": "Files", "camera": "Cameras"}


@pytest.fixture
def base(tmp_path):
    return embedding_bundle(tmp_path / "base")


@pytest.fixture
def site(tmp_path, base):
    made = Site(tmp_path)
    made.record(base)
    made.write_logs()
    notebook(made, domains=DOMAINS)
    return made


def notebook(site, **content) -> None:
    (site.windows / "site.yaml").write_text(yaml.safe_dump(content))


def run(site, base, *arguments):
    command = ["fit", "--windows", site.windows, "--logs", site.logs, "--bundle", base, *arguments]
    return CliRunner().invoke(learn, [*map(str, command)])


def learnt(site, base, *arguments) -> bundles.Bundle:
    result = run(site, base, *arguments)
    assert result.exit_code == 0, result.output
    return bundles.load(site.windows / "bundle")


def content(directory) -> dict[str, bytes]:
    found = directory.rglob("*") if directory.exists() else []
    return {str(path.relative_to(directory)): path.read_bytes() for path in found if path.is_file()}


def refused(site, base, says: str, *arguments, code: int = 1) -> None:
    """In one line at the end; what was there stays byte for byte, and nothing is left over."""
    before = content(site.windows)
    result = run(site, base, *arguments)
    assert result.exit_code == code, result.output
    assert says in result.stderr.splitlines()[-1]
    assert result.stderr.splitlines()[-1].startswith("Error: ")
    assert content(site.windows) == before and not [*site.windows.glob(".*")]


def test_the_site_s_applications_are_named(site, base):
    found = learnt(site, base)
    later = [*KINDS] * 20
    verdicts = Classifier(found).classify(series(later, seed=9))
    right = [NAMES[kind] == name for kind, name in zip(later, verdicts.application, strict=True)]
    assert np.mean(right) > 0.8
    assert {"file_transfer", "surveillance"} <= {*verdicts.service}
    assert "+" in found.model and found.site.until == site.ts[-1]
    card = (found.path / "CARD.md").read_text()
    assert all(name in card for name in NAMES.values())


def test_learnt_twice_it_is_the_same(site, base, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for each in (one, two):
        assert run(site, base, "-o", each).exit_code == 0
    assert content(one) == content(two)


def test_a_label_with_too_few_windows_is_left_out_and_told(site, base):
    few = [number for number, kind in enumerate(site.kinds) if kind == "camera"][4:]
    site.log([row for number, row in enumerate(site.handshakes()) if number not in few], "ssl.log")
    found = learnt(site, base, "--force")
    assert "Cameras" not in found.site.answers["application"].labels
    assert "With too few windows to be learnt: Cameras (4)" in (found.path / "CARD.md").read_text()


def test_where_the_network_does_as_well_nothing_is_taken():
    random = np.random.default_rng(1)
    truth = np.array(["one", "two"] * 200, object)
    network = np.where(truth[:, None] == ["one", "two"], 0.9, 0.1).astype(np.float32)
    embedding = random.normal(0, 1, (400, 8)).astype(np.float32)
    lesson = Lesson(
        np.arange(400), embedding, dict.fromkeys(("service", "application"), network),
        dict.fromkeys(("service", "application"), ("one", "two")), dict.fromkeys(("service", "application"), truth),
        np.zeros(400, bool),
    )  # fmt: skip
    found = fit(lesson, {"one": ("one",), "two": ("two",)}, np.zeros((0, 8), np.float32), np.zeros(0, bool))
    assert not found.site.answers and {each.share for each in found.chosen.values()} == {0.0}


def test_nothing_to_learn_writes_nothing(site, base, monkeypatch):
    monkeypatch.setattr("mmtt_agent.learn.fit._SHARES", (0.0,))
    refused(site, base, "the later windows would be named no better than now")


def worse_now(site) -> None:
    """Later flows are called what others are, so that what is learnt names them wrongly."""
    other = dict(zip(KINDS, [*KINDS][1:] + [*KINDS][:1], strict=True))
    rows = site.handshakes()
    for number in range(100, len(rows)):
        rows[number]["server_name"] = f"{other[site.kinds[number]]}.intra.example.org"
    site.log(rows, "ssl.log")


def test_a_worse_one_is_refused_and_the_old_one_stays(site, base):
    learnt(site, base)
    # The one that runs knows these flows, as if it had learnt from earlier ones.
    path = site.windows / "bundle" / "bundle.yaml"
    about = yaml.safe_load(path.read_text())
    about["site"]["until"] = site.ts[100]
    path.write_text(yaml.safe_dump(about))
    rows = site.handshakes()
    for number in range(100):
        rows[number]["server_name"] = "erp.intra.example.org" if number % 2 else "files.intra.example.org"
    site.log(rows, "ssl.log")
    refused(site, base, "the later windows would be named worse than now: ")
    before = bundles.load(site.windows / "bundle").model
    result = run(site, base, "--force")
    assert result.exit_code == 0 and "worse than now" in result.stderr and "written all the same" in result.stderr
    assert bundles.load(site.windows / "bundle").model != before


def test_back_goes_to_the_shipped_network_and_forth(site, base):
    model = learnt(site, base).model
    for expected in (bundles.load(base).model, model):
        result = CliRunner().invoke(learn, ["back", str(site.windows / "bundle")])
        assert result.exit_code == 0 and expected in result.stderr
        assert bundles.load(site.windows / "bundle").model == expected


def test_back_without_an_earlier_one_is_told(tmp_path):
    result = CliRunner().invoke(learn, ["back", str(tmp_path / "bundle")])
    assert result.exit_code == 1 and result.stderr.startswith("Error: ") and "no earlier bundle" in result.stderr


def test_on_a_full_disk_the_old_one_stays(site, base, monkeypatch):
    learnt(site, base)

    def full(path, data):
        path.write_bytes(data[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(whole, "write", full)
    refused(site, base, "No space left on device", "--force")


@pytest.mark.skipif(not os.path.exists("/proc/self"), reason="no /proc")
def test_where_nothing_can_be_written_it_is_told(site, base):
    refused(site, base, "/proc/bundle", "-o", "/proc/bundle")


def test_a_bundle_without_embedding_is_told(site, base, tmp_path):
    refused(site, make_bundle(tmp_path / "old"), "gives no window_embedding; those of mmtt 0.6.0 and later do", code=2)


def test_a_damaged_bundle_that_runs_is_told(site, base):
    learnt(site, base)
    (site.windows / "bundle" / "site.npz").write_bytes(b"")
    refused(site, base, "SHA-256", code=2)


def test_without_windows_it_is_told(site, base, tmp_path):
    empty = Site(tmp_path / "empty", flows=0)
    empty.windows.mkdir(parents=True)
    empty.logs = site.logs
    refused(empty, base, "no windows were recorded there")


def test_too_few_windows_are_told(tmp_path, base):
    small = Site(tmp_path, flows=60)
    small.record(base)
    small.write_logs()
    notebook(small, domains=DOMAINS)
    refused(small, base, "of the later windows have names, too few to say whether it got better; record longer")


def test_a_half_written_part_is_told_and_left_out(site, base):
    part = next(site.windows.rglob("*.parquet"))
    (cut := part.with_name(part.name.replace("agent", "cut"))).write_bytes(part.read_bytes()[:-100])
    result = run(site, base)
    assert result.exit_code == 0
    assert [line for line in result.stderr.splitlines() if f"{cut}: damaged" in line and "left out" in line]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("groups:\n- {name: A, uids: [C1]}\n- {name: B, uids: [C1]}\n", "C1 is B here, and A in the group of line 2"),
        ("flows:\n  C1: harmless\n  C1: malicious\n", "C1 is there twice, harmless and malicious"),
        ("flow: {}\n", "unknown key 'flow'"),
    ],
)
def test_a_notebook_that_contradicts_itself_is_told(site, base, text, says):
    (site.windows / "site.yaml").write_text(text)
    refused(site, base, says)


def test_logs_of_another_sensor_are_told(site, base):
    site.log([row | {"uid": f"X{row['uid']}"} for row in site.connections()], "conn.log")
    refused(site, base, "none of 150 recorded connections is in its conn.log; are these the logs of the sensor")


def test_no_logs_are_told(site, base, tmp_path):
    (tmp_path / "none").mkdir()
    site.logs = tmp_path / "none"
    refused(site, base, "holds no conn.log; name the directory where Zeek writes its logs")
    site.logs = tmp_path / "nowhere"
    refused(site, base, "nowhere: No such file or directory")


def test_clocks_that_differ_are_told(site, base):
    site.log([row | {"ts": row["ts"] - 2 * HOUR} for row in site.connections()], "conn.log")
    result = run(site, base)
    assert result.exit_code == 0
    told = [line for line in result.stderr.splitlines() if "are the clocks right" in line]
    assert len(told) == 1
    assert "recorded windows are 2.0 hours later than the connections of conn.log" in told[0]


def test_clocks_that_agree_are_not_told(site, base):
    assert "are the clocks right" not in run(site, base).stderr


def test_where_logs_of_most_days_are_missing_it_is_told(site, base):
    site.log(site.connections()[-70:], "conn.log")
    said = run(site, base, "--force").stderr
    assert "conn.log has 70 of 150 recorded connections, the others stay without a name" in said


def test_what_a_person_said_comes_first(site, base):
    files = [uid for uid, kind in zip(site.uids, site.kinds, strict=True) if kind == "files"]
    left = [uid for uid, kind in zip(site.uids, site.kinds, strict=True) if kind == "camera"]
    notebook(site, domains=DOMAINS, groups=[{"name": "Backup", "uids": files}, {"leave": True, "uids": left}])
    labels = learnt(site, base).site.answers["application"].labels
    assert "Backup" in labels and "Files" not in labels


@pytest.mark.parametrize(("word", "sign"), [("harmless", -1), ("malicious", 1)])
def test_what_is_like_a_judged_flow_is_scored_so(site, base, word, sign):
    uid = next(uid for uid, kind in zip(site.uids, site.kinds, strict=True) if kind == "camera")
    notebook(site, domains=DOMAINS, flows={uid: word, "Cgone": word})
    found = learnt(site, base)
    row = site.uids.index(uid)
    before = Classifier(bundles.load(base)).classify(site.series[row : row + 1]).log_odds
    after = Classifier(found).classify(site.series[row : row + 1]).log_odds
    assert (after - before) * sign > 7
    card = (found.path / "CARD.md").read_text()
    assert "| judged flows that are in the memory | 1 |" in card and "| judged flows that are not | 1 |" in card


def test_what_was_judged_is_learnt_though_nothing_has_a_name(site, base):
    uid = site.uids[0]
    for name in ("ssl.log", "dns.log"):
        (site.logs / name).unlink(missing_ok=True)
    site.log([row | {"service": "-"} for row in site.connections()], "conn.log")
    notebook(site, flows={uid: "harmless"})
    said = run(site, base)
    assert said.exit_code == 0, said.output
    assert "no window has a name: nothing is learnt but what was judged" in said.stderr
    found = bundles.load(site.windows / "bundle")
    assert not found.site.answers and found.site.judged_malicious.tolist() == [False]


def test_answers_are_not_given_up_for_what_was_judged(site, base):
    learnt(site, base)
    (site.logs / "ssl.log").unlink()
    notebook(site, flows={site.uids[0]: "harmless"})
    said = run(site, base)
    assert said.exit_code == 1 and "has answers that it learnt from some: it is kept" in said.stderr


def test_flows_that_say_no_name_are_known_by_those_that_do(site, base):
    found = learnt(site, base)
    lengths = np.array([len(f"{kind}.intra.example.org") for kind in site.kinds])
    nameless = without_name(site.series, lengths)
    assert (nameless.sizes != site.series.sizes).any()
    (line,) = [each for each in (found.path / "CARD.md").read_text().splitlines() if "without the name, too" in each]
    assert int(line.split("|")[2]) > 50
    said = Classifier(found).classify(nameless).application
    assert np.mean([each == NAMES[kind] for each, kind in zip(said, site.kinds, strict=True)]) > 0.8


def test_what_was_said_of_flows_that_are_gone_is_told(site, base):
    groups = [{"name": "Backup", "uids": ["Cgone", "Calso", *site.uids[:3]]}]
    notebook(site, domains=DOMAINS, flows={"Cgone": "harmless"}, groups=groups)
    said = run(site, base, "--force").stderr
    assert "1 of 1 judged flows in the notebook are not, or no longer, recorded: they teach nothing" in said
    assert "2 of 5 flows of groups in the notebook" in said


def test_a_notebook_that_is_named_and_not_there_is_told(site, base, tmp_path):
    refused(site, base, "sight.yaml: there is no such notebook", "--notebook", tmp_path / "sight.yaml")


def test_help_is_quick_and_needs_nothing():
    code = (
        "import sys\nfrom mmtt_agent.cli import main\ntry: main(['learn', 'fit', '--help'])\nexcept SystemExit: pass\n"
        "sys.exit(bool({'numpy', 'onnxruntime', 'pyarrow', 'sklearn'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
