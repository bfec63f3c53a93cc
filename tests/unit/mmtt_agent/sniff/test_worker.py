"""A worker on the packets of a file: the same verdicts as of the file, and a row for every window whatever happens."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_bundle import make_bundle, with_incidents

from mmtt_agent import bundle as bundles
from mmtt_agent.capture import read_capture
from mmtt_agent.capture.files import CaptureFile
from mmtt_agent.capture.live import LiveCapture
from mmtt_agent.classifier import Classifier
from mmtt_agent.classify.row import IncidentRow
from mmtt_agent.classify.rows import answers, rows
from mmtt_agent.incidents import Settings, Tracker
from mmtt_agent.sniff.config import Config
from mmtt_agent.sniff.desk import Evidence
from mmtt_agent.sniff.messages import Load, Loaded, State, Stop, Told, Use, Without
from mmtt_agent.sniff.worker import Worker

DATA = Path(__file__).parents[3] / "data"
CAPTURES = ("lab.pcap", "office.pcap", "midstream.pcap")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return bundles.load(make_bundle(tmp_path_factory.mktemp("bundle"), **with_incidents()))


class OfFile:
    """A capture's packets as a ring's, some at a time; `over` is set when there are no more."""

    def __init__(self, capture: str, at_a_time: int = 500) -> None:
        self._records = list(CaptureFile(DATA / capture))
        self._at_a_time = at_a_time
        self.trouble, self.packets = "", 0
        self.over = threading.Event()

    def blocks(self, timeout: float):
        for records in self._records:
            for start in range(0, len(records), self._at_a_time):
                part = records[np.arange(start, min(start + self._at_a_time, len(records)))]
                self.packets += len(part)
                yield part
        self._records = []
        self.over.set()
        time.sleep(0.001)

    def statistics(self) -> tuple[int, int]:
        return self.packets, 0

    def close(self) -> None:
        pass


class Slow:
    """A classifier that takes its time, or fails."""

    def __init__(self, classifier, seconds: float = 0.0, problem: str = "") -> None:
        self._classifier, self._seconds, self._problem = classifier, seconds, problem
        self.model, self.drift = classifier.model, None

    def classify(self, series):
        time.sleep(self._seconds)
        if self._problem:
            raise RuntimeError(self._problem)
        return self._classifier.classify(series)


def work(packets, classifier, seconds: float = 30, **settings) -> list:
    """All that a worker tells when it is stopped once the file is at its end."""
    told = []
    worker = Worker(Config(**settings), packets, LiveCapture(), classifier, told.append, None)
    said = iter([Stop(seconds)])
    worker.run(lambda: [*said] if packets.over.is_set() else [])
    return told


def of_rows(told) -> Counter:
    """As of :func:`mmtt_agent.classify.rows.rows`, without the latency and the incident."""
    found: Counter = Counter()
    for each in told:
        if isinstance(each, Told):
            said = answers(each.verdicts, [""] * len(each)) if each.verdicts else [(*[None] * 7, None)] * len(each)
            columns = (each.ts, each.connections, each.window, each.packets, said)
            for ts, connection, window, packets, answer in zip(*columns, strict=True):
                found[(ts, *connection, window, packets, *answer[:7], each.status, each.model)] += 1
    return found


@pytest.mark.parametrize("capture", CAPTURES)
@pytest.mark.parametrize("at_a_time", [100, 100_000])
def test_the_same_rows_as_of_the_file(bundle, capture, at_a_time):
    classifier = Classifier(bundle)
    told = work(OfFile(capture, at_a_time), classifier)
    expected = Counter((*row[:17], row[18]) for row in rows(read_capture(DATA / capture), "", classifier))
    assert of_rows(told) == expected
    assert isinstance(told[-1], State) and told[-1].over
    assert told[-1].windows["received"] == sum(len(each) for each in told if isinstance(each, Told) and each.verdicts)
    assert told[-1].windows["in_hand"] == 0 and told[-1].packets == told[-1].taken


def test_a_clock_that_is_set_back_cuts_connections_and_no_more(bundle):
    class SetBack(OfFile):
        """The packets of a file, and again a day earlier."""

        def __init__(self, capture: str) -> None:
            super().__init__(capture)
            day = 86_400_000_000
            self._records += [replace(each, time=each.time - day) for each in self._records]

    once = of_rows(work(OfFile("office.pcap"), Classifier(bundle)))
    assert of_rows(work(SetBack("office.pcap"), Classifier(bundle))).total() == 2 * once.total()


@pytest.mark.parametrize("capture", CAPTURES)
def test_the_same_evidence_as_of_the_file(bundle, capture):
    classifier = Classifier(bundle)
    evidence = Evidence(bundle.incidents, Settings())
    for each in work(OfFile(capture), classifier):
        if isinstance(each, Told):
            evidence.windows(each)
        elif isinstance(each, Without):
            evidence.without(each)
    found = [IncidentRow.of(each, "") for each in evidence.found(None)]
    tracker = Tracker(bundle.incidents)
    whole = [row for row in rows(read_capture(DATA / capture), "", classifier, tracker) if isinstance(row, IncidentRow)]
    assert closed(found) == closed(whole) and closed(found)


def closed(found) -> Counter:
    """Of incidents what is said of them in the end."""
    return Counter(
        (row.orig_h, row.resp_h, row.resp_p, row.connections, row.score, row.orig_bytes, row.resp_bytes)
        for row in found
        if row.state == "closed"
    )


def test_what_the_model_has_no_time_for_is_shed_with_a_row(bundle):
    packets = OfFile("lab.pcap", 200)
    told = work(packets, Slow(Classifier(bundle), 0.3), max_queued=10)
    statuses = Counter()
    for each in told:
        if isinstance(each, Told):
            statuses[each.status] += len(each)
    assert statuses["shed"] > 0 and statuses["ok"] > 0
    assert statuses.total() + told[-1].windows["lost"] == len(read_capture(DATA / "lab.pcap").windows)


def test_when_there_is_no_more_time_in_the_end_the_rest_is_shed(bundle):
    told = work(OfFile("lab.pcap", 100_000), Slow(Classifier(bundle), 0.3), seconds=0)
    assert sum(len(each) for each in told if isinstance(each, Told)) == len(read_capture(DATA / "lab.pcap").windows)


def test_a_model_that_fails_leaves_rows_that_say_so(bundle):
    told = work(OfFile("office.pcap"), Slow(Classifier(bundle), problem="no memory"))
    assert {each.status for each in told if isinstance(each, Told)} == {"timeout", "too_short"}
    assert told[-1].failed == "RuntimeError: no memory"


def test_another_bundle_is_used_when_it_is_told_to(bundle, tmp_path):
    other = bundles.load(make_bundle(tmp_path / "other", name="other-1"))
    packets, told = OfFile("office.pcap"), []
    worker = Worker(Config(), packets, LiveCapture(), Classifier(bundle), told.append, None)
    steps = iter([Load(other), "loaded", Use(), Stop(10)])
    now = next(steps)

    def hear():
        nonlocal now
        if now == "loaded":
            if not any(isinstance(each, Loaded) for each in told):
                return []
            now = next(steps)
        said, now = now, next(steps, None)
        return [said] if said else []

    worker.run(hear)
    assert [each.problem for each in told if isinstance(each, Loaded)] == [""]
    assert any(each.model == other.model for each in told if isinstance(each, Told))


def test_a_parent_that_is_gone_ends_it(bundle):
    def hear():
        raise EOFError

    worker = Worker(Config(), OfFile("office.pcap"), LiveCapture(), Classifier(bundle), lambda _: None, None)
    with pytest.raises(EOFError):
        worker.run(hear)
