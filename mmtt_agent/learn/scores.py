"""The scores of a site's own traffic, from mmtt.log and mmtt_incidents.log: what could have raised a notice, and when
there was anything to see."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import numpy as np

from .. import logs
from ..networks import Network
from ..output import utc
from .budget import STEPS, BudgetError, Events, Seen

#: The logs' names, without .log.
FLOWS, INCIDENTS, CONNECTIONS = "mmtt", "mmtt_incidents", "conn"
#: What incidents are of.
UNITS = ("pair", "originator", "responder")
_HOUR, _DAY = 3_600_000_000, 86_400_000_000
#: Hours without any row after which nobody was looking.
_AWAY = 24
#: Days without any row after which what comes has another clock.
_APART = 30
#: Hours of a day that make it a whole one.
_WHOLE = 20
#: What has been said of both logs by those who write them: no time is from later.
_LATEST = 4 * 10**18

Say = Callable[[str], None]


class NoLog(BudgetError):
    """There is no log where one was looked for."""


@dataclass(frozen=True)
class Scores:
    """
    Attributes:
        now: int64 (classes,), the threshold that ran, one past the highest where nothing was above.
        known_from: int64 (classes,), the score below which events are not known.
        of_whom: by :attr:`Events.alike`, in words: a responder and the label, or the ends of an incident.
        model: that gave them; empty if it is not known.
    """

    events: Events
    now: np.ndarray
    known_from: np.ndarray
    of_whom: list[str]
    seen: Seen
    model: str


def least(of: np.ndarray, score: np.ndarray, classes: int) -> np.ndarray:
    """The least score of each class, one past the highest where there is none."""
    found = np.full(classes, STEPS + 1, np.int64)
    np.minimum.at(found, of, score)
    return found


class Exempt(dict[str, bool]):
    """By host whether it is in one of some networks, of which Zeek raises no notice."""

    def __init__(self, networks: Sequence[Network] = ()) -> None:
        super().__init__()
        self._networks = networks

    def __missing__(self, host: str) -> bool:
        try:
            address = ip_address(host)
        except ValueError:  # none, or none that is known
            return False
        self[host] = found = any(address in network for network in self._networks)
        return found


def find(places: Iterable[Path], name: str) -> list[Path]:
    """The logs of a name in ``places``: directories, or files, beside which all of that name are taken where they are
    none themselves. Each once.

    Raises:
        NoLog: there are none.
    """
    places = [*places]
    found: dict[Path, Path] = {}
    for place in places:
        if place.is_dir():
            below = logs.files(place, name)
        elif not place.exists():
            raise NoLog(f"{place}: No such file or directory")
        elif _is_called(place.name, name):
            below = [place]
        else:
            below = [each for each in logs.files(place.parent, name) if each.parent == place.parent]
        for path in below:
            found.setdefault(path.resolve(), path)
    if not found:
        where = ", ".join(str(place) for place in places)
        raise NoLog(f"no {name}.log in {where} or beside it; name one, or a directory with some")
    return [*found.values()]


def _is_called(file: str, name: str) -> bool:
    """Whether a file that somebody names is the log of that name: what is called otherwise may be mmtt.log."""
    other = [each for each in (INCIDENTS, CONNECTIONS) if file.startswith(each)]
    return name in other if other else name == FLOWS


class _Hours:
    """The hours in which there was any row."""

    def __init__(self) -> None:
        self._rows: dict[int, int] = {}
        self._first: dict[int, int] = {}
        self._last: dict[int, int] = {}

    def add(self, ts: int) -> None:
        hour = ts // _HOUR
        self._rows[hour] = self._rows.get(hour, 0) + 1
        self._first[hour] = min(ts, self._first.get(hour, ts))
        self._last[hour] = max(ts, self._last.get(hour, ts))

    def of_one_clock(self, say: Say) -> tuple[int, int]:
        """From when to when, µs, the most rows are that no month without any parts."""
        runs = _runs(sorted(self._rows), _APART * 24)
        rows = [sum(self._rows[hour] for hour in run) for run in runs]
        most = rows.index(max(rows))
        first, last = self._first[runs[most][0]], self._last[runs[most][-1]]
        if other := sum(rows) - rows[most]:
            say(
                f"{_rows(other)} more than {_APART} days from the others and left out: has the clock jumped? Used are "
                f"those from {_date(first)} to {_date(last)}"
            )
        return first, last

    def seen(self, first: int, last: int) -> Seen:
        hours = sorted(hour for hour in self._rows if first // _HOUR <= hour <= last // _HOUR)
        days: dict[int, int] = {}
        length = 0
        for run in _runs(hours, _AWAY):
            length += min(last, self._last[run[-1]]) - max(first, self._first[run[0]])
            for hour in range(run[0], run[-1] + 1):
                days[hour // 24] = days.get(hour // 24, 0) + 1
        return Seen(length / _DAY, tuple(day for day, n in sorted(days.items()) if n >= _WHOLE))


def _runs(hours: list[int], gap: int) -> list[list[int]]:
    """Parted where so many hours are missing."""
    runs: list[list[int]] = []
    for hour in hours:
        if runs and hour - runs[-1][-1] <= gap:
            runs[-1].append(hour)
        else:
            runs.append([hour])
    return runs


class Numbers(dict[Any, int]):
    """A number for each that is asked for, from 0."""

    def __missing__(self, key: Any) -> int:
        self[key] = number = len(self)
        return number


class Flows:
    """All rows of mmtt.log.

    Args:
        say: takes a line for what is left out.
        exempt: hosts whose flows raise no notice.

    Raises:
        BudgetError: there is none.

    Attributes:
        problems: a line for each log that can't be read, not to its end, or not all of its rows.
    """

    def __init__(self, paths: Iterable[Path], say: Say, exempt: Exempt | None = None) -> None:
        self.exempt = Exempt() if exempt is None else exempt
        self.problems: list[str] = []
        self._hours = _Hours()
        self._ts, self._score = array("q"), array("i")
        self._exempt, self._flagged, self._model, self._service, self._alike = (
            array("b"), array("b"), array("i"), array("i"), array("i"),
        )  # fmt: skip
        self._models, self._services, self._alikes = Numbers(), Numbers(), Numbers()
        rows = 0
        paths = [*paths]
        for path in paths:
            for record in records(path, self.problems):
                rows += 1
                self._take(record)
        where = f"{paths[0]}{f' and {len(paths) - 1} more' if len(paths) > 1 else ''}"
        if not rows:
            raise BudgetError(f"{where}: no rows that can be read; is it mmtt.log?")
        first, self._last = self._hours.of_one_clock(say)
        ts = np.frombuffer(self._ts, np.int64)
        self._kept = (ts >= first) & (ts <= self._last)
        if not self._kept.any():
            raise BudgetError(f"{where}: {_rows(rows)} without a score: no agent has answered there; see `mmtt doctor`")
        model = np.frombuffer(self._model, np.intc)
        latest = int(model[self._kept][np.argmax(ts[self._kept])])
        names = list(self._models)
        self.model: str = names[latest]
        if others := sorted({names[each] for each in np.unique(model[self._kept]).tolist()} - {self.model}):
            left = int(np.count_nonzero(self._kept & (model != latest)))
            say(f"{_rows(left)} of another model and left out ({', '.join(others)}): used is the latest, {self.model}")
        self._kept &= model == latest
        #: From when to when the model answered, µs.
        self.between = int(ts[self._kept].min()), self._last
        #: When there was anything to see, since the model answers.
        self.seen = self.seen_between(*self.between)

    def seen_between(self, first: int, last: int) -> Seen:
        """When there was anything to see, from when to when in µs."""
        return self._hours.seen(first, last)

    def _take(self, record: dict[str, Any]) -> None:
        ts = record["ts"]
        self._hours.add(ts)
        if "malicious_score" not in record:
            return
        service, application = str(record.get("service", "unknown")), str(record.get("application", "unknown"))
        # As zeek-scripts/notice.zeek names what it does not repeat.
        label = application if application != "unknown" else service
        self._ts.append(ts)
        self._score.append(round(record["malicious_score"] * STEPS))
        self._flagged.append(record.get("malicious") is True)
        self._model.append(self._models[str(record.get("model", ""))])
        self._service.append(self._services[service])
        orig, resp = str(record.get("id.orig_h", "")), str(record.get("id.resp_h", ""))
        self._alike.append(self._alikes[resp, label])
        self._exempt.append(self.exempt[orig] or self.exempt[resp])

    def scores(self) -> Scores:
        """Of single flows, by service, but for those that are exempt."""
        kept = self._kept & (np.frombuffer(self._exempt, np.int8) == 0)
        events = Events(
            np.frombuffer(self._ts, np.int64)[kept],
            np.frombuffer(self._score, np.intc)[kept].astype(np.int64),
            np.frombuffer(self._service, np.intc)[kept].astype(np.int64),
            np.frombuffer(self._alike, np.intc)[kept].astype(np.int64),
            list(self._services),
        )
        used = np.unique(events.of)  # other models may have known other services
        number = np.zeros(len(events.names), np.int64)
        number[used] = np.arange(len(used))
        names = [events.names[each] for each in used.tolist()]
        events = Events(events.ts, events.score, number[events.of], events.alike, names)
        flagged = np.frombuffer(self._flagged, np.int8)[kept].astype(bool)
        now = least(events.of[flagged], events.score[flagged], len(names))
        of_whom = [f"{responder} ({label})" for responder, label in self._alikes]
        return Scores(events, now, np.zeros(len(names), np.int64), of_whom, self.seen, self.model)


def incidents(paths: Iterable[Path], flows: Flows, problems: list[str], say: Say) -> Scores:
    """Of incidents, by what they are of, but for those of hosts that are exempt.

    Each counts when it opened, with the highest score that it ever had: with a higher threshold it would have opened
    later.

    Args:
        problems: takes a line for each log that can't be read, not to its end, or not all of its rows.
    """
    found: dict[tuple[str, str], tuple[int, int, tuple[str, str, str]]] = {}
    opened: dict[tuple[str, str], int] = {}
    first, last = flows.between
    outside = 0
    for path in paths:
        for record in records(path, problems, score="score", needed=("id", "state")):
            ts, score = record["ts"], round(record["score"] * STEPS)
            if not first <= ts <= last + _DAY:  # one is closed after the traffic that it is of
                outside += 1
                continue
            ends = str(record.get("orig_h", "")), str(record.get("resp_h", "")), str(record.get("resp_p", ""))
            if flows.exempt[ends[0]] or flows.exempt[ends[1]]:
                continue
            name = str(record.get("capture", "")), str(record["id"])
            before = found.get(name, (ts, score, ends))
            found[name] = min(ts, before[0]), max(score, before[1]), ends
            if record["state"] == "opened":
                opened[name] = score
    if outside:
        say(f"{_rows(outside)} of incidents from when {flows.model or 'the model'} did not answer, and left out")
    known = {name: each for name, each in found.items() if any(each[2])}
    if nameless := len(found) - len(known):
        say(f"{nameless:,} incidents have no hosts, so nobody knows what they are of: left out")
    alike = Numbers()
    events = Events.of_rows(((ts, score, _unit(ends), alike[ends]) for ts, score, ends in known.values()), UNITS)
    # What one has opened with was above the threshold: what it grew to says nothing of where that is.
    opened_with = np.array([opened.get(name, score) for name, (_, score, _) in known.items()], np.int64)
    now = least(events.of, opened_with, len(UNITS))
    return Scores(events, now, now, [in_words(*ends) for ends in alike], flows.seen, flows.model)


def _unit(ends: tuple[str, str, str]) -> int:
    """What an incident of these ends is of, a number of UNITS: one of a pair has a port, one of a host no other end."""
    orig, resp, port = ends
    return 0 if port or (orig and resp) else 1 if orig else 2


def in_words(orig: str, resp: str, port: str) -> str:
    where = f" on port {port}" if port else ""
    return f"{orig or 'many hosts'} with {resp or 'many hosts'}{where}"


def records(
    path: Path, problems: list[str], score: str = "malicious_score", needed: Iterable[str] = ()
) -> Iterable[dict[str, Any]]:
    """The rows of a log that have a time, and no score that can't be; without one only where nothing is needed."""
    damaged = logs.Damaged()
    needed = [*needed, *([score] if needed else [])]
    try:
        for record in logs.records(path, damaged):
            value = record.get(score, 0)
            if missing := [name for name in ("ts", *needed) if name not in record]:
                damaged.add(f"it has no {missing[0]}")
            elif type(record["ts"]) is not int or not 0 <= record["ts"] < _LATEST:
                damaged.add(f"ts can't be {record['ts']!r}")
            elif type(value) not in (int, float) or not 0 <= value <= 1:
                damaged.add(f"{score} can't be {value!r}")
            else:
                yield record
    except logs.LogError as error:
        problems.append(str(error))
    problems += damaged.told(path)


def _rows(n: int) -> str:
    return "1 row is" if n == 1 else f"{n:,} rows are"


def _date(ts: int) -> str:
    return utc(ts / 1e6, "%Y-%m-%d")
