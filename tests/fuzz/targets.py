"""What is fuzzed: each takes any bytes, may refuse them with the one error that is its own, and does nothing else."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
import re
import tempfile
from pathlib import Path

import numpy as np
from made_events import event, verdict

from mmtt_agent import bundle
from mmtt_agent.agent import wire
from mmtt_agent.agent.session import Session, State
from mmtt_agent.capture.reader import Capture, read_capture
from mmtt_agent.capture.records import CaptureError
from mmtt_agent.classifier import Verdicts
from mmtt_agent.eve.enrich import Enricher
from mmtt_agent.eve.events import Place, place, read
from mmtt_agent.eve.known import Known
from mmtt_agent.eve.lines import Lines
from mmtt_agent.eve.verdicts import Reader
from mmtt_agent.series import MAX_SIZE, MAX_WAIT_US

_ACK = '{"type":"ack","endpoint":"zeek","version":"8.2.2"}'


def _one_line(error: Exception, begin: str = "", most: int = 10_000) -> None:
    """What is refused is so in one line, which begins with its place."""
    words = str(error)
    assert words.startswith(begin) and "\n" not in words and len(words) < most


def zeek_message(data: bytes) -> None:
    """A message from Zeek, as text and as bytes, before and after the acknowledgement, and the answer to it."""
    with_text: list[bytes | str] = [data]
    with contextlib.suppress(UnicodeDecodeError):
        with_text.append(data.decode())
    for message in with_text:
        try:
            decoded = wire.decode(message)
        except wire.WireError as error:
            _one_line(error, most=1000)
        else:
            assert not isinstance(decoded, wire.Classify) or len(decoded) <= wire.MAX_FLOWS
        session = Session(agent="a", model="m@00000000", credit=64, max_queued=64)
        session.receive(message)
        session.receive(_ACK)
        session.receive(message)
        while job := session.take():
            n = len(job.series)
            assert np.abs(job.series.sizes).max(initial=0) <= MAX_SIZE
            assert job.series.times.max(initial=0) <= MAX_WAIT_US
            half = np.full(n, 0.5, np.float32)
            evidence = half, np.zeros((n, 0)), np.zeros((n, 16), np.float32), np.zeros((n, 0), np.float32)
            answers = ["web"] * n, half, ["unknown"] * n, half, np.zeros(n, bool), half, [""] * n
            session.finish(job, Verdicts(*answers, *evidence))
        session.drain()
        while answer := session.next_message():
            json.loads(answer)
        assert session.state is State.CLOSED and session.in_hand == 0


def capture(data: bytes) -> None:
    """A capture file, with and without wrong checksums left out."""
    for checksums in (True, False):
        try:
            found = read_capture(io.BytesIO(data), name="fuzzed", checksums=checksums)
        except CaptureError as error:
            lines = [str(error)]
        else:
            lines = [*found.problems, *found.warnings]
            _check_capture(found, len(data))
        assert all(line.startswith("fuzzed: ") and "\n" not in line for line in lines)


def _check_capture(found: Capture, size: int) -> None:
    series = found.windows.series
    assert "\n" not in found.left_out
    assert ((series.lengths >= 1) & (series.lengths <= 32)).all()
    filled = np.arange(series.sizes.shape[1]) < series.lengths[:, None]
    assert ((series.sizes != 0) == filled).all() and (np.abs(series.sizes) <= MAX_SIZE).all()
    assert (series.times >= 0).all() and (series.times <= MAX_WAIT_US).all()
    assert len(found.windows) <= found.counts["packets"] <= size * 1000


@functools.cache
def _directory() -> Path:
    shared = Path("/dev/shm")
    made = Path(tempfile.mkdtemp(prefix="mmtt-fuzz-", dir=shared if shared.is_dir() else None))
    (made / "model.onnx").write_bytes(b"onnx")
    return made


def bundle_yaml(data: bytes) -> None:
    """bundle.yaml, in which SHA256 stands for the right checksum."""
    directory = _directory()
    (directory / "bundle.yaml").write_bytes(data.replace(b"SHA256", hashlib.sha256(b"onnx").hexdigest().encode()))
    try:
        found = bundle.load(directory)
    except bundle.BundleError as error:
        _one_line(error, str(directory))
        return
    assert found.services and set(found.thresholds) == set(found.temperatures) == set(found.tasks)
    assert ("malicious_kind" in found.tasks) == (len(found.malicious_kinds) > 0)
    assert all(0 <= threshold <= 1 for threshold in found.thresholds.values())
    assert all(0 < temperature < float("inf") for temperature in found.temperatures.values())
    assert {service for known in found.applications for service in known.services} <= set(found.services)


def _known() -> Known:
    """Verdicts on the flows of the events in the corpus."""
    known = Known()
    for port in range(5):
        known.add(verdict(port, 40_000 + port, f"C{port}", malicious=port / 5))
    known.add(verdict(1, 40_000, "C5", status="too_short"))
    return known


def eve_events(data: bytes) -> None:
    """Events of Suricata's, in parts of any size and waited for or not; and the same as verdicts."""
    for wait in (0.0, 1.0):
        enricher, lines, out = Enricher(_known(), wait, max_held=8), Lines(most=1000), []
        size = 1 + data[0] if data else 1
        for number, begin in enumerate(range(0, len(data), size)):
            out += enricher.take(lines.feed(data[begin : begin + size]), number / 8)
            assert enricher.held <= 8
        out += enricher.take(lines.end(more=False), 100.0) + enricher.end()
        counts = enricher.counts
        assert enricher.passed == len(data) and counts.with_flow == counts.joined + counts.unanswered
        assert b"".join(line if line in data else _OBJECT.sub(b"", line) for line in out) == data
        assert counts.events == data.count(b"\n") + (not data.endswith(b"\n") and data != b"")
    reader, known = Reader(), Known(most=8, seed=1)
    for line in data.splitlines(keepends=True):
        if found := reader.verdict(line):
            known.add(found)
            for event in _events():
                told = known.find(event)
                assert not told or isinstance(json.loads(told), dict)
    assert all("\n" not in line for line in reader.damaged.told(Path("fuzzed"))) and len(known) <= 8


_OBJECT = re.compile(rb',"mmtt":\{"uid":"C[0-9]"[^}]*\}(?=\}\s*$)')


@functools.cache
def _events() -> list[Place]:
    made = (event(port, 40_000 + port, span=(0, 9) if port else None) for port in range(3))
    return [found for line in made if (found := place(read(line) or {}))]


TARGETS = {"zeek_message": zeek_message, "capture": capture, "bundle_yaml": bundle_yaml, "eve_events": eve_events}
