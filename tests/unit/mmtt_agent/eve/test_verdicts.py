"""Verdicts from rows and events; what is none is said."""

from __future__ import annotations

import json

import pytest
from made_events import event, logged, row, said, verdict

from mmtt_agent import logs
from mmtt_agent.classify.row import Row
from mmtt_agent.eve import verdicts


def test_a_row_an_event_and_a_row_of_ours_say_the_same():
    of_event = json.loads(event(0, kind="mmtt")) | {"mmtt": said()}
    fields = dict.fromkeys(Row._fields) | said() | {
        "ts": verdict().ts, "orig_h": "10.0.0.1", "orig_p": 40_000, "resp_h": "10.0.0.2", "resp_p": 443, "proto": "tcp",
    }  # fmt: skip
    assert verdicts.of(row()) == verdicts.of(of_event) == verdicts.of_row(Row(**fields))
    assert verdicts.of_row(Row(**fields | {"status": "too_short"})).said is None
    assert verdicts.of_row(Row(**fields | {"orig_h": "?"})) is None


def test_other_events_are_passed_over():
    assert verdicts.of(json.loads(event(1))) is None
    assert verdicts.of({"event_type": "mmtt_incident", "mmtt_incident": {}}) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"uid": 1}, {"uid": None}, {"ts": "x"}, {"status": None}, {"proto": "icmp"}, {"proto": []}, {"id.orig_h": "x"},
        {"id.orig_p": 70_000}, {"id.orig_h": ["x"]}, {"window": "0"}, {"malicious": 1},
        {"malicious_score": float("nan")},
        {"malicious_score": float("inf")}, {"service": {"a": 1}}, {"incident": 1}, {"malicious_score": True},
    ],
)  # fmt: skip
def test_what_is_no_verdict_is_said(changed):
    with pytest.raises(logs.RowError):
        verdicts.of(row() | changed)


def test_lines_of_all_kinds_and_what_cant_be_read_among_them(tmp_path):
    reader = verdicts.Reader()
    lines = [*logged(row()).splitlines(keepends=True), b"#comment\n", b"\n", event(1), b"{\n", b"\xff\n"]
    found = [reader.verdict(line) for line in lines]
    assert [each.uid for each in found if each] == ["C1"]
    assert reader.damaged.rows == 2 and "line 5: not JSON" in reader.damaged.told(tmp_path)[0]
