"""Incidents as they would be with other thresholds, by what was recorded."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from places import DATA
from tiny_bundle import make_bundle, with_incidents

from mmtt_agent import bundle, logs
from mmtt_agent.capture import read_capture
from mmtt_agent.classifier import Classifier
from mmtt_agent.classify.cli import classify
from mmtt_agent.incidents import UNITS
from mmtt_agent.learn import scores
from mmtt_agent.learn.budget import STEPS, BudgetError, Seen
from mmtt_agent.learn.cli import learn
from mmtt_agent.learn.replay import Replay
from mmtt_agent.learn.threshold import answer
from mmtt_agent.series import MIN_PACKETS, SeriesBatch

CAPTURE = DATA / "lab.pcap"
BEGIN = 1_789_948_800_000_000


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A capture that was recorded: the bundle, the logs, the windows."""
    place = tmp_path_factory.mktemp("site")
    directory = make_bundle(place / "bundle", **with_incidents(0.6))
    classify.main(["--bundle", str(directory), "-o", str(place), str(CAPTURE)], standalone_mode=False)
    capture = read_capture(CAPTURE)
    has_verdict = capture.windows.series.lengths >= MIN_PACKETS
    rows = np.flatnonzero(has_verdict)
    rows = rows[np.argsort(capture.windows.ts[rows], kind="stable")]
    windows = SimpleNamespace(
        uid=np.array([capture.connections.uid(at) for at in capture.windows.connection[rows].tolist()]),
        window=capture.windows.window[rows],
        ts=capture.windows.ts[rows],
        series=capture.windows.series[rows],
    )
    conn = place / "conn.log"
    failed = np.flatnonzero(capture.connections.failed)
    lines = ["#fields\tts\tid.orig_h\tid.resp_h\tid.resp_p\tproto\tconn_state"]
    lines.append("#types\ttime\taddr\taddr\tport\tenum\tstring")
    orig_h, resp_h = capture.connections.addresses(failed)
    for at, orig, resp in zip(failed.tolist(), orig_h, resp_h, strict=True):
        ts = int(capture.connections.ts[at])
        of = ts // 1_000_000, ts % 1_000_000
        lines.append(f"{of[0]}.{of[1]:06}\t{orig}\t{resp}\t{capture.connections.resp_p[at]}\ttcp\tS0")
    conn.write_text("#separator \\x09\n" + "\n".join(lines) + "\n")
    return SimpleNamespace(place=place, windows=windows, classifier=Classifier(bundle.load(directory)))


def replay(made, windows=None) -> Replay:
    rows = [made.place / "mmtt.log"]
    problems: list[str] = []
    flows = scores.Flows(rows, print)
    found = Replay(windows or made.windows, made.classifier, rows, [made.place / "conn.log"], flows, problems, print)
    assert problems == []
    return found


def test_with_the_thresholds_that_ran_it_is_what_the_log_has(made):
    rows = [*logs.records(made.place / "mmtt_incidents.log", logs.Damaged())]
    opened = sorted((row["ts"], row["orig_h"], row["resp_h"]) for row in rows if row["state"] == "opened")
    closed = sorted((row["orig_h"], round(row["score"] * STEPS)) for row in rows if row["state"] == "closed")
    assert opened
    found = replay(made)
    whole = found.scores()
    events = found.found_with(whole.now)
    assert sorted(events.ts.tolist()) == [ts for ts, _, _ in opened]
    assert sorted(events.score.tolist()) == sorted(score for _, score in closed)
    assert int(whole.now[UNITS.index("pair")]) == 6000
    # Below it there is more, and above it the same.
    assert len(whole.events) > len(events)
    above = whole.events[whole.events.score >= 6000]
    assert sorted(above.score.tolist()) == sorted(events.score.tolist())


def test_thresholds_can_be_lowered(made):
    found = replay(made)
    whole = replace(found.scores(), seen=Seen(1.0, ()))  # as if the capture were of a day
    per_day = (len(whole.events) + len(found.found_with(whole.now))) // 2
    found_answer = answer(whole, per_day, True, found.found_with)
    assert found_answer.settings["pair"] < 0.6
    assert found_answer.total.now_a_day.mean < found_answer.total.a_day.mean <= per_day


def test_the_command_judges_days_anew(tmp_path, monkeypatch):
    """Pairs of hosts that talk more or less, over three days, with a threshold that none is above."""
    directory = make_bundle(tmp_path / "bundle", **with_incidents(1.0))
    rng = np.random.default_rng(0)
    n = 3000
    ts = np.sort(rng.integers(0, 72 * 3600, n)) * 1_000_000 + BEGIN
    who = np.minimum(rng.zipf(1.5, n), 200)
    windows = SimpleNamespace(
        uid=np.array([f"C{at}" for at in range(n)]),
        window=np.zeros(n, np.uint8),
        ts=ts,
        series=SeriesBatch.from_lists(rng.integers(1, 1400, (n, 8)).tolist(), [[0] * 8] * n),
    )
    monkeypatch.setattr("mmtt_agent.record.reading.read", lambda directory, say: windows)
    columns = ("ts", "uid", "id.orig_h", "id.resp_h", "id.resp_p", "proto", "malicious_score", "malicious", "status")
    rows = [
        (at / 1e6, f"C{number}", "10.0.0.1", f"192.0.2.{host}", 443, "tcp", 0.1, False, "ok")
        for number, (at, host) in enumerate(zip(ts.tolist(), who.tolist(), strict=True))
    ]
    text = "".join(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in rows)
    (tmp_path / "mmtt.log").write_text(text)
    arguments = ["threshold", "--alerts-per-day", "5", "--bundle", str(directory), str(tmp_path), "--format", "json"]
    done = CliRunner().invoke(learn, [*arguments, "--windows", str(tmp_path)])
    assert done.exit_code == 2 and f"no conn.log in {tmp_path}" in done.stderr
    (tmp_path / "conn.log").write_text("")
    done = CliRunner().invoke(learn, [*arguments, "--windows", str(tmp_path)])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    pair, total = found["rows"]
    assert (pair["of"], pair["now"], pair["now_a_day"]) == ("pair", 1.0, 0.0)
    assert 4 <= total["a_day"] <= 5 and found["thresholds"]["incidents"] == {"pair": pair["proposed"]}
    for wrong in (["--flows", "--windows", str(tmp_path)], []):
        assert CliRunner().invoke(learn, [*arguments, *wrong]).exit_code == 2


def test_windows_of_another_sensor(made):
    strange = SimpleNamespace(**{**vars(made.windows), "uid": np.array(["Cnone"] * len(made.windows.ts))})
    with pytest.raises(BudgetError, match=r"mmtt.log has none of the recorded windows: are they of another sensor\?"):
        replay(made, strange)


def test_a_model_that_finds_no_incidents(made, tmp_path):
    plain = SimpleNamespace(**{**vars(made), "classifier": Classifier(bundle.load(make_bundle(tmp_path)))})
    with pytest.raises(BudgetError, match="finds no incidents"):
        replay(plain)
