"""What the agent would have made of captures: their windows and what a network says of them, through the agent's own
code, and every time a pair or a host was judged the features it was judged by.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mmtt_agent.incidents import Flows, IncidentModel, Settings, Tracker, Try
from mmtt_agent.incidents.features import FEATURES
from mmtt_agent.incidents.table import UNITS
from mmtt_agent.incidents.tracker import Ends

from ..data.labels import MISSING
from ..data.pairs import Pairs
from ..data.split import digest
from ..evaluation.evaluate import softmax
from .answers import Answers

#: Units of a capture that are alike (in label and responder's port) of which more do not count.
MOST_ALIKE = 15
#: A horizon longer than any capture: what it should be they can't tell.
_HORIZON = 86_400.0


@dataclass
class Evidence:
    """All units of one sort (pairs, originators, responders) in all captures, in order of capture.

    Attributes:
        capture, site: int64 (u,), index into `Pairs.captures`, and into the names that occur in `Pairs.sites`, sorted.
        port: the responder's, such as "443/tcp"; empty for hosts.
        label: int64 (u,), 1, 0 or MISSING: malicious if at least half of its windows with a label are, harmless if none
            is; what is between is in doubt.
        kind: int64 (u,), the most frequent of its malicious windows, or MISSING.
        encrypted: bool (u,), at least half of its windows with a verdict are.
        scored: bool (u,), has a label, and is not one of too many alike.
        connections: int64 (u,), with a verdict or without.
        starts: starts of its connections with a verdict, each in order, microseconds; for what is compared.
        sizes: bytes of the same.
        first: int64 (u + 1,), where its judgements begin in ``features``.
        features: float64 (j, FEATURES), each judgement's, in order of time.
    """

    unit: str
    capture: np.ndarray
    site: np.ndarray
    port: list[str]
    label: np.ndarray
    kind: np.ndarray
    encrypted: np.ndarray
    scored: np.ndarray
    connections: np.ndarray
    starts: list[np.ndarray]
    sizes: list[np.ndarray]
    first: np.ndarray
    features: np.ndarray

    def __len__(self) -> int:
        return len(self.capture)

    @property
    def last(self) -> np.ndarray:
        """float64 (u, FEATURES): by what each was judged in the end."""
        last: np.ndarray = self.features[self.first[1:] - 1]
        return last

    def highest(self, scores: np.ndarray) -> np.ndarray:
        """The highest of each unit's ``scores`` (j,): an incident once found stays found."""
        highest: np.ndarray = np.maximum.reduceat(scores, self.first[:-1])
        return highest

    def until(self, scores: np.ndarray, threshold: float) -> np.ndarray:
        """float64 (u,): how many connections with a verdict there had been when a unit's score was first at the
        threshold; infinite where it never was."""
        number = np.expm1(self.features[:, FEATURES.index("number")])
        found: np.ndarray = np.minimum.reduceat(np.where(scores >= threshold, number, np.inf), self.first[:-1])
        return found


def _recorder(kinds: Sequence[str], most: int) -> tuple[Tracker, dict[str, dict[Ends, list[np.ndarray]]]]:
    """A tracker for so many pairs, and where it leaves what units were judged by."""
    found: dict[str, dict[Ends, list[np.ndarray]]] = {unit: defaultdict(list) for unit in UNITS}

    def judged(unit: str, ends: list[Ends], features: np.ndarray) -> None:
        for each, row in zip(ends, features, strict=True):
            found[unit][each].append(row)

    # Nothing is ever an incident, and nothing makes room for others.
    return Tracker(IncidentModel({}, "1%", {}, kinds), Settings(_HORIZON, 2 * most + 2), judged), found


def log_odds(answers: Answers, temperature: float) -> np.ndarray:
    """float64 (w,), calibrated."""
    odds: np.ndarray = answers.logits["malicious"].astype(float) / temperature
    return odds


def collect(
    pairs: Pairs,
    answers: Answers,
    temperatures: dict[str, float],
    kinds: Sequence[str],
    say: Callable[[str], None],
) -> dict[str, Evidence]:
    """The evidence by UNITS, of the captures for which there are answers."""
    made = _Made(pairs, log_odds(answers, temperatures["malicious"]), _kinds(answers, temperatures["malicious_kind"]))
    parts: dict[str, list[_Unit]] = {unit: [] for unit in UNITS}
    captures = np.flatnonzero(answers.part != MISSING)
    for done, capture in enumerate(captures.tolist(), 1):
        for unit, found in made.capture(capture, kinds):
            parts[unit].append(found)
        if done % 1000 == 0:
            say(f"evidence over connections: {done:,} of {len(captures):,} captures")
    sites = {name: number for number, name in enumerate(sorted(set(pairs.sites)))}
    site = np.array([sites[name] for name in pairs.sites], np.int64)
    return {unit: _evidence(unit, found, pairs, site) for unit, found in parts.items()}


@dataclass
class _Unit:
    capture: int
    port: str
    label: int
    kind: int
    encrypted: bool
    connections: int
    starts: np.ndarray
    sizes: np.ndarray
    features: list[np.ndarray]


class _Made:
    def __init__(self, pairs: Pairs, odds: np.ndarray, kinds: np.ndarray) -> None:
        self.pairs, self.odds, self.kinds = pairs, odds, kinds
        self.bytes = pairs.series.payload()
        # Both are in order of capture.
        bounds = np.arange(len(pairs.captures) + 1)
        self.connections = np.searchsorted(pairs.capture, bounds)
        self.windows = np.searchsorted(pairs.capture[pairs.connection], bounds)

    def capture(self, capture: int, kinds: Sequence[str]) -> Iterator[tuple[str, _Unit]]:
        pairs = self.pairs
        connections = np.arange(*self.connections[capture : capture + 2])
        windows = np.arange(*self.windows[capture : capture + 2])
        windows = windows[np.argsort(pairs.ts[windows], kind="stable")]
        orig, resp = ([pairs.hosts[host] for host in of[connections].tolist()] for of in (pairs.orig, pairs.resp))
        port = [
            f"{number}/{'tcp' if protocol == 6 else 'udp'}"
            for number, protocol in zip(
                pairs.resp_p[connections].tolist(), pairs.protocol[connections].tolist(), strict=True
            )
        ]
        tracker, judged = _recorder(kinds, len(connections))
        place = (pairs.connection[windows] - connections[:1]).tolist()
        # Without tries there may be no window, and without a window none.
        tries = [
            Try(int(pairs.start[row]), orig[at], resp[at], port[at], int(pairs.failed[row]), int(pairs.short[row]))
            for at, row in enumerate(connections.tolist())
            if pairs.failed[row] or pairs.short[row]
        ]
        tracker.tries(tries)
        if len(windows):
            tracker.flows(
                Flows(
                    pairs.ts[windows],
                    [orig[each] for each in place],
                    [resp[each] for each in place],
                    [port[each] for each in place],
                    [str(each) for each in place],
                    pairs.window[windows].tolist(),
                    self.odds[windows],
                    self.kinds[windows],
                    # What is alike has been seen to help nothing, and is not judged by.
                    np.zeros((len(windows), 0), np.float32),
                    self.bytes[0][windows],
                    self.bytes[1][windows],
                )
            )
        tracker.end()
        of: dict[str, dict[Ends, list[int]]] = {unit: defaultdict(list) for unit in UNITS}
        for row, at in zip(windows.tolist(), place, strict=True):
            for unit, ends in zip(UNITS, _ends(orig[at], resp[at], port[at]), strict=True):
                of[unit][ends].append(row)
        for unit in UNITS:
            for key, features in judged[unit].items():
                yield unit, self._unit(capture, key, np.array(of[unit].get(key, ()), np.int64), features)

    def _unit(self, capture: int, ends: Ends, windows: np.ndarray, features: list[np.ndarray]) -> _Unit:
        pairs = self.pairs
        malicious = pairs.malicious[windows]
        bad, known = int((malicious == 1).sum()), int((malicious != MISSING).sum())
        label = MISSING if not known or 0 < 2 * bad < known else int(bad > 0)
        kinds = pairs.kind[windows][(malicious == 1) & (pairs.kind[windows] != MISSING)]
        firsts = windows[pairs.window[windows] == 0]
        starts = pairs.start[pairs.connection[firsts]]
        order = np.argsort(starts, kind="stable")
        last = features[-1]
        without = np.expm1(last[FEATURES.index("tries")])
        return _Unit(
            capture,
            ends[2] or "",
            label,
            int(np.bincount(kinds).argmax()) if len(kinds) else MISSING,
            bool(len(windows) and (pairs.transport[windows] > 0).mean() >= 0.5),
            len(firsts) + round(float(without)),
            starts[order],
            (self.bytes[0] + self.bytes[1])[firsts][order],
            features,
        )


def _ends(orig: str, resp: str, port: str) -> tuple[Ends, Ends, Ends]:
    """As a tracker has them, by UNITS."""
    return (orig, resp, port), (orig, None, None), (None, resp, None)


def _kinds(answers: Answers, temperature: float) -> np.ndarray:
    return softmax(answers.logits["malicious_kind"].astype(float) / temperature)


def _evidence(unit: str, found: list[_Unit], pairs: Pairs, site: np.ndarray) -> Evidence:
    capture = np.array([each.capture for each in found], np.int64)
    label = np.array([each.label for each in found], np.int64)
    scored = np.zeros(len(found), bool)
    alike: dict[tuple[int, int, str], list[int]] = defaultdict(list)
    for number, each in enumerate(found):
        if each.label != MISSING:
            alike[each.capture, each.label, each.port].append(number)
    for (of, *_), numbers in alike.items():
        order = np.random.default_rng(digest(f"{unit} {pairs.captures[of]}")).permutation(len(numbers))
        scored[np.array(numbers)[order[:MOST_ALIKE]]] = True
    return Evidence(
        unit,
        capture,
        site[capture],
        [each.port for each in found],
        label,
        np.array([each.kind for each in found], np.int64),
        np.array([each.encrypted for each in found], bool),
        scored,
        np.array([each.connections for each in found], np.int64),
        [each.starts for each in found],
        [each.sizes for each in found],
        np.cumsum([0, *(len(each.features) for each in found)]),
        np.concatenate([np.stack(each.features) for each in found]) if found else np.zeros((0, len(FEATURES))),
    )
