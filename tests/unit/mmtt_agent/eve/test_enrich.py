"""Events pass in order, each once, and wait no longer than they may."""

from __future__ import annotations

import json
import re

from hypothesis import given, settings
from hypothesis import strategies as st
from made_events import event, said, told, verdict

from mmtt_agent.eve.enrich import Enricher
from mmtt_agent.eve.known import Known
from mmtt_agent.eve.lines import Lines

STATS = b'{"timestamp":"2026-11-23T14:15:14.822555+0000","event_type":"stats","stats":{"uptime":1}}\n'


def enricher(*verdicts, wait: float = 0.0, **options) -> tuple[Enricher, Known]:
    known = Known()
    for each in verdicts:
        known.add(each)
    return Enricher(known, wait, **options), known


def test_the_object_is_put_before_the_last_brace_and_nothing_else_changes():
    of, _ = enricher(verdict())
    text = ',"mmtt":' + json.dumps(said(), separators=(",", ":"))
    for end in (b"\n", b"\r\n", b" \t \n", b""):
        line = event(1, note="}{").rstrip(b"\n") + end
        (out,) = of.take([line], 0)
        assert out == line[: line.rindex(b"}")] + text.encode() + line[line.rindex(b"}") :]
        assert json.loads(out)["mmtt"] == said()
    assert of.counts.joined == of.counts.events == of.counts.with_flow == 4


def test_what_is_no_event_of_a_flow_passes_as_it_is_and_is_counted():
    of, _ = enricher(verdict())
    ours = event(1, mmtt={"uid": "theirs"})
    incident = b'{"event_type":"mmtt_incident","mmtt_incident":{}}\n'
    twice = event(1).replace(b'"flow_id":1', b'"flow_id":1,"flow_id":2')
    icmp = event(1, proto="ICMP")
    garbage = [b"\x00\x01\xff\n", b"{\n", b"[]\n", b"\n", b"[" * 5000 + b"\n", event(1)[:-2] + b"\n", b'{"a":"\xff"}\n']
    lines = [STATS, ours, incident, twice, icmp, *garbage, event(1, port=9, flow_id=9)]
    assert of.take(lines, 0) == lines
    counts = of.counts
    assert (counts.events, counts.theirs, counts.ambiguous, counts.not_json) == (len(lines), 2, 1, len(garbage))
    assert (counts.with_flow, counts.unanswered, counts.joined, counts.waited) == (1, 1, 0, 0)


def test_a_line_of_any_length_passes_and_one_that_broke_off():
    of, _ = enricher(verdict())
    lines = Lines(most=1000)
    long = event(1, payload="x" * 5000)
    data = long + event(1) + event(1)[:100]
    out: list[bytes] = []
    for begin in range(0, len(data), 300):
        out += of.take(lines.feed(data[begin : begin + 300]), 0)
    out += of.take(lines.end(more=True), 0)
    out += of.take(lines.feed(event(2)), 0)
    first, second, third, last = b"".join(out).splitlines(keepends=True)
    assert (first, third) == (long, event(1)[:100] + b"\n") and told(second) and told(last)
    counts = of.counts
    assert (counts.events, counts.too_long, counts.truncated, counts.joined) == (4, 1, 1, 2)
    assert of.passed == len(data) + len(event(2))


def test_an_event_waits_for_its_verdict_and_those_behind_it_too():
    of, known = enricher(verdict(port=2, uid="C2"), wait=5)
    assert of.take([STATS, event(1), STATS, event(1, port=2, flow_id=2)], 10.0) == [STATS]
    assert (of.held, of.due()) == (3, 15.0) and of.held_bytes > 0
    assert of.look(12.0) == []
    known.add(verdict())
    out = of.look(12.0)
    assert [told(line) and told(line)["uid"] for line in out] == ["C1", None, "C2"]
    assert (of.held, of.held_bytes, of.due()) == (0, 0, None)
    assert (of.counts.waited, of.counts.joined, of.counts.unanswered) == (3, 2, 0)


def test_it_waits_for_so_long_and_then_passes_without():
    of, known = enricher(wait=5)
    assert of.take([event(1), event(1, port=2, flow_id=2), STATS], 10.0) == []
    assert of.take([event(1, port=3, flow_id=3)], 12.0) == []
    assert of.look(14.9) == []
    assert of.look(15.0) == [event(1), event(1, port=2, flow_id=2), STATS]
    assert of.held == 1 and of.due() == 17.0  # each waits for its own, no longer
    known.add(verdict(port=3, uid="C3"))
    (last,) = of.take([], 16.0)
    assert told(last)["uid"] == "C3" and of.counts.unanswered == 2


def test_one_that_is_known_to_have_no_verdict_does_not_wait():
    of, _ = enricher(verdict(status="too_short"), wait=5)
    assert of.take([event(1)], 0) == [event(1)] and of.counts.unanswered == 1


def test_so_much_is_held_and_no_more():
    of, _ = enricher(wait=5, max_held=3)
    lines = [event(1, port=port, flow_id=port) for port in range(1, 8)]
    assert of.take(lines, 0) == lines[:4] and (of.held, of.counts.hurried) == (3, 4)
    assert of.end() == lines[4:] and of.held_bytes == 0
    of, _ = enricher(wait=5, max_held_bytes=10_000)
    for number in range(100):
        of.take([event(1, port=number, payload="x" * 1000)], 0)
        assert of.held_bytes <= 10_000
    assert of.held >= 5


def test_the_end_passes_all_with_what_is_known():
    of, known = enricher(wait=5)
    of.take([event(1), event(1, port=2, flow_id=2)], 0)
    known.add(verdict())
    first, second = of.end()
    assert told(first) and second == event(1, port=2, flow_id=2) and of.end() == []


LINES = st.one_of(
    st.builds(lambda at, port: event(at, port, flow_id=port), st.integers(0, 9), st.integers(1, 5)),
    st.binary(max_size=40).map(lambda data: data.replace(b"\n", b"") + b"\n"),
    st.just(STATS),
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(LINES, st.floats(0, 3), st.integers(1, 5))),
    st.floats(0, 5),
    st.integers(1, 6),
    st.integers(1, 200),
)
def test_in_order_and_byte_for_byte_whatever_comes(steps, wait, most, size):
    of, known = enricher(wait=wait, max_held=most)
    lines, now, out = Lines(), 0.0, []
    data = b"".join(line for line, _, _ in steps)
    for line, after, port in steps:
        for begin in range(0, len(line), size):
            out += of.take(lines.feed(line[begin : begin + size]), now)
        now += after
        known.add(verdict(1, port, uid=f"C{port}"))
        out += of.look(now)
        assert of.held <= most and (of.due() is None or of.due() > now)
    out += of.end()
    assert re.sub(rb',"mmtt":\{[^}]*\}', b"", b"".join(out)) == data
    counts = of.counts
    assert counts.events == len(steps) and counts.with_flow == counts.joined + counts.unanswered
    assert of.passed == len(data)
