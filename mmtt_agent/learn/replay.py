"""Incidents that there would be with other thresholds: the evidence of recorded windows, judged again.

A log has only what was above the thresholds that ran; the windows have all. Whose they are is in mmtt.log, and what
came to nothing is in conn.log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..classifier import Classifier
from ..incidents import UNITS, Flows, Incident, IncidentModel, Settings, Tracker, Try
from ..series import SeriesBatch
from .budget import STEPS, BudgetError, Events
from .scores import Flows as Log
from .scores import Numbers, Say, Scores, in_words, records

#: Windows that are classified, and taken in, at once.
_AT_ONCE = 4096
#: As `is_try` of the Zeek package has it: a SYN that nobody answered, or a RST did.
_FAILED = ("S0", "REJ")
#: What a tracker is told of that is to open everything.
_ALL = Settings(thresholds={"others": 0.0})


class Windows(Protocol):
    """What of recorded windows is asked for: see :class:`mmtt_agent.record.rows.Windows`."""

    @property
    def uid(self) -> np.ndarray: ...
    @property
    def window(self) -> np.ndarray: ...
    @property
    def ts(self) -> np.ndarray: ...
    @property
    def series(self) -> SeriesBatch: ...


class Replay:
    """
    Args:
        windows: in order of time, one at least.
        classifier: judges them, and its bundle the evidence.
        rows: mmtt.log, which says whose windows they are.
        connections: conn.log, which says what came to nothing.
        log: what else mmtt.log says.
        problems: takes a line for each log that can't be read, or not all of its rows.

    Raises:
        BudgetError: the bundle finds no incidents, or mmtt.log has none of the windows.
    """

    def __init__(
        self,
        windows: Windows,
        classifier: Classifier,
        rows: Iterable[Path],
        connections: Iterable[Path],
        log: Log,
        problems: list[str],
        say: Say,
    ) -> None:
        if classifier.incidents is None:
            raise BudgetError(f"the model {classifier.model} finds no incidents; those of mmtt 0.5.0 and later do")
        self._judge = classifier.incidents
        self._model = classifier.model
        between = int(windows.ts.min()), int(windows.ts.max())
        self._seen = log.seen_between(*between)
        ends, tries = _ends_and_tries(rows, set(windows.uid.tolist()), between, problems)
        known = np.array([uid in ends for uid in windows.uid.tolist()], bool)
        if not known.any():
            raise BudgetError("mmtt.log has none of the recorded windows: are they of another sensor?")
        if left := int(np.count_nonzero(~known)):
            say(f"{left:,} windows are not in mmtt.log and left out")
        tries += _failed(connections, between, problems)
        self._tries = sorted(tries, key=lambda each: each.ts)
        self._flows = list(_classified(windows, np.flatnonzero(known), ends, classifier))
        self._most = 1 + len({*ends.values(), *((each.orig, each.resp, each.resp_p) for each in self._tries)})
        self._alike: Numbers = Numbers()
        self._exempt = log.exempt

    def scores(self) -> Scores:
        """All incidents that there could be, each with the highest score that it ever had."""
        model = self._judge
        found: list[tuple[int, int, int, int]] = []
        for unit in model.units:
            # By itself: an incident of a host hides those of its pairs.
            alone = replace(model, units={unit: model.units[unit]})
            found += self._found(alone, _ALL)
        now = np.array(
            [round(model.threshold(unit) * STEPS) if unit in model.units else STEPS + 1 for unit in UNITS], np.int64
        )
        events = Events.of_rows(found, UNITS)
        of_whom = [in_words(*ends) for ends in self._alike]
        return Scores(events, now, np.zeros(len(UNITS), np.int64), of_whom, self._seen, self._model)

    def found_with(self, thresholds: np.ndarray) -> Events:
        """The incidents that there are with thresholds, int64 (units,)."""
        own = {unit: int(thresholds[at]) / STEPS for at, unit in enumerate(UNITS) if unit in self._judge.units}
        return Events.of_rows(self._found(self._judge, Settings(thresholds=own)), UNITS)

    def _found(self, model: IncidentModel, settings: Settings) -> list[tuple[int, int, int, int]]:
        """For each that opened: when, its highest score, what it is of, and the number of its ends."""
        tracker = Tracker(model, replace(settings, max_pairs=max(settings.max_pairs, self._most)))
        opened: dict[str, int] = {}
        found: dict[str, tuple[int, int, int, int]] = {}

        def take(incidents: Iterable[Incident]) -> None:
            for each in incidents:
                opened.setdefault(each.id, each.ts)
                ends = each.orig or "", each.resp or "", (each.resp_p or "").partition("/")[0]
                score, unit = round(each.score * STEPS), UNITS.index(each.unit)
                found[each.id] = opened[each.id], score, unit, self._alike[ends]
                if each.state == "closed":
                    # Its id may be another's later.
                    one = found.pop(each.id)
                    del opened[each.id]
                    if not (self._exempt[ends[0]] or self._exempt[ends[1]]):
                        closed.append(one)

        closed: list[tuple[int, int, int, int]] = []
        told = 0
        for flows in self._flows:
            until = int(flows.ts[-1])
            first = told
            while told < len(self._tries) and self._tries[told].ts <= until:
                told += 1
            tracker.tries(self._tries[first:told])
            tracker.flows(flows)
            take(tracker.advance())
        tracker.tries(self._tries[told:])
        take(tracker.end())
        return closed


def _ends_and_tries(
    rows: Iterable[Path], wanted: set[str], between: tuple[int, int], problems: list[str]
) -> tuple[dict[str, tuple[str, str, str]], list[Try]]:
    """By uid whose the windows are, and the connections that were too short."""
    ends: dict[str, tuple[str, str, str]] = {}
    tries = []
    for path in rows:
        for record in records(path, problems):
            try:
                whose = _whose(record)
            except KeyError:
                continue
            if (uid := str(record.get("uid"))) in wanted:
                ends[uid] = whose
            elif _is_between(record, between) and record.get("status") == "too_short" and record.get("window") == 0:
                tries.append(Try(record["ts"], *whose, 0, 1))
    return ends, tries


def _failed(paths: Iterable[Path], between: tuple[int, int], problems: list[str]) -> Iterator[Try]:
    for path in paths:
        for record in records(path, problems):
            came_to_nothing = record.get("conn_state") in _FAILED and record.get("proto") == "tcp"
            if came_to_nothing and _is_between(record, between):
                with suppress(KeyError):
                    yield Try(record["ts"], *_whose(record), 1, 0)


def _is_between(record: Mapping[str, Any], between: tuple[int, int]) -> bool:
    first, last = between
    return bool(first <= record["ts"] <= last)


def _whose(record: Mapping[str, Any]) -> tuple[str, str, str]:
    """
    Raises:
        KeyError: the record does not say.
    """
    return str(record["id.orig_h"]), str(record["id.resp_h"]), f"{record['id.resp_p']}/{record['proto']}"


def _classified(
    windows: Windows, rows: np.ndarray, ends: Mapping[str, tuple[str, str, str]], classifier: Classifier
) -> Iterator[Flows]:
    for start in range(0, len(rows), _AT_ONCE):
        part = rows[start : start + _AT_ONCE]
        series = windows.series[part]
        verdicts = classifier.classify(series)
        uids = windows.uid[part].tolist()
        whose = [ends[uid] for uid in uids]
        orig_bytes, resp_bytes = series.payload()
        yield Flows(
            ts=windows.ts[part],
            orig=[orig for orig, _, _ in whose],
            resp=[resp for _, resp, _ in whose],
            resp_p=[resp_p for _, _, resp_p in whose],
            uid=uids,
            window=windows.window[part].tolist(),
            log_odds=verdicts.log_odds,
            kinds=verdicts.kind_scores,
            likeness=verdicts.likeness,
            orig_bytes=orig_bytes,
            resp_bytes=resp_bytes,
        )
