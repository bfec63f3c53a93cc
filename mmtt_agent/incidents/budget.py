"""So many incidents a day, and no more: the threshold that would have given so many in the last days.

Conformal: of what had its highest score in an episode the highest N a day are told of. An episode is of one pair or
host, from when it is heard of until it is quiet, as an incident is; all units share one threshold.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from hashlib import blake2b
from heapq import nlargest
from typing import Any

from .model import IncidentModel

#: Hours of the latest traffic that count, and those without which nothing is said.
HOURS, LEAST_HOURS = 7 * 24, 24
#: What is below is harmless by the model's own account, however few incidents there are.
LEAST = 0.5
#: An episode is over when nothing has come of it for so many microseconds.
QUIET = 3_600_000_000
_HOUR = 3_600_000_000
#: Episodes that go on, at most.
_MOST_OPEN = 20_000
_FORMAT = 1


class Budget:
    """
    Args:
        per_day: incidents a day.
        model: whose scores they are.

    Attributes:
        threshold: least score of an incident; None where too little was seen.
    """

    def __init__(self, per_day: float, model: IncidentModel) -> None:
        self.per_day, self.model = per_day, model
        self.threshold: float | None = None
        self._most = math.ceil(per_day * HOURS / 24) + 1  # all that are told of may be of one hour
        self._open: dict[str, tuple[float, int, int]] = {}  # by name: highest score, begin and end (µs)
        self._over: dict[int, list[float]] = {}  # by hour in which they began, those that had traffic alone
        self._due = 0

    @property
    def hours(self) -> int:
        """In which there was traffic."""
        return len(self._over)

    def take(self, now: int, scores: Iterable[tuple[str, float]]) -> None:
        """Units were judged: their names and scores, in traffic until ``now`` (µs since 1970)."""
        self._over.setdefault(now // _HOUR, [])
        for name, score in scores:
            if score < LEAST:
                continue
            highest, begin, _ = self._open.get(name, (0.0, now, now))
            self._open[name] = max(highest, score), begin, now
        if now >= self._due:
            self._due = now + _HOUR // 4
            self._settle(now)

    def _settle(self, now: int) -> None:
        """Find the threshold anew."""
        for name in [name for name, (_, _, end) in self._open.items() if now - end >= QUIET]:
            score, begin, _ = self._open.pop(name)
            self._over.setdefault(begin // _HOUR, []).append(score)
        if len(self._open) > _MOST_OPEN:  # what has the lowest scores is told of last
            self._open = dict(nlargest(_MOST_OPEN // 2, self._open.items(), key=lambda item: item[1][0]))
        for hour in sorted(self._over)[:-HOURS]:
            del self._over[hour]
        for hour, scores in self._over.items():
            self._over[hour] = nlargest(self._most, scores)
        if self.hours < LEAST_HOURS or (most := int(self.per_day * self.hours / 24)) < 1:
            return
        first = min(self._over)
        going_on = [score for score, begin, _ in self._open.values() if begin // _HOUR >= first]
        found = nlargest(most + 1, [*going_on, *(score for scores in self._over.values() for score in scores)])
        if len(found) <= most:
            self.threshold = LEAST
        else:
            # Of equals none is told of, but for those that nothing is above.
            self.threshold = next((each for each in reversed(found[:most]) if each > found[most]), found[0])

    def as_json(self) -> str:
        """What is to be kept over a restart."""
        open_ = [[*each] for each in self._open.values()]
        content = {
            "format": _FORMAT,
            "model": self._digest(),
            "threshold": self.threshold,
            "over": self._over,
            "open": open_,
        }
        return json.dumps(content) + "\n"

    def restore(self, text: str) -> None:
        """Go on from what :meth:`as_json` gave. What went on then is over.

        Raises:
            ValueError: it is something else; nothing is taken from it.
        """
        try:
            content: Any = json.loads(text)
            if content["format"] != _FORMAT:
                raise ValueError("it is of another version")
            if content["model"] != self._digest():
                raise ValueError("it is of another model")
            over = {int(hour): [_score(each) for each in scores] for hour, scores in content["over"].items()}
            for score, begin, _ in content["open"]:
                over.setdefault(int(begin) // _HOUR, []).append(_score(score))
            threshold = None if content["threshold"] is None else _score(content["threshold"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"it is no such file ({error})") from None
        self._over, self.threshold = over, threshold

    def _digest(self) -> str:
        return blake2b(repr(self.model.units).encode(), digest_size=8).hexdigest()


def _score(value: Any) -> float:
    if not 0 <= float(value) <= 1:
        raise ValueError(f"no score is {value}")
    return float(value)
