"""Whose evidence is in which row: hosts, pairs and ports by number, bounded."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .units import Units

#: What is judged: originator, responder and its port; an originator over its responders; a responder over its
#: originators.
PAIR, ORIGINATOR, RESPONDER = UNITS = ("pair", "originator", "responder")

# When there are nearly as many pairs as may be, those with the least evidence make room, so many of a hundred.
_FULL, _SHED_TO = 95, 90


@dataclass(slots=True)
class _Role:
    """Hosts in a part: by host, how many pairs it has in it, the row of the first of them, and its own row or -1."""

    parts: list[int] = field(default_factory=list)
    first: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    #: Rows of hosts that have got a second pair, and those of their first: what is known of that is theirs, too.
    heirs: list[tuple[int, int]] = field(default_factory=list)


class Table:
    """Rows of evidence by pair and host.

    A host has a row of its own from its second pair on: most have but one, and its row says what is known of them.

    Attributes:
        units: by name of UNITS.
        shed: pairs that made room for others, or were not taken in for want of it.
    """

    def __init__(self, kinds: int, half_life: float, max_pairs: int) -> None:
        self.units = {unit: Units(max_pairs, kinds, half_life) for unit in UNITS}
        self.shed = 0
        self._max_pairs = max_pairs
        self._pairs: dict[int, int] = {}
        #: By row: a pair's key, a host's number.
        self._key_of: dict[str, list[int]] = {unit: [] for unit in UNITS}
        self._hosts: dict[str, int] = {}
        self._names: list[str] = []
        self._unused: list[int] = []
        self._roles = {ORIGINATOR: _Role(), RESPONDER: _Role()}
        self._ports: dict[str, int] = {}
        self._port_names: list[str] = []

    def __len__(self) -> int:
        """Pairs."""
        return len(self._pairs)

    def find(self, orig: str, resp: str, resp_p: str) -> tuple[int, int, int]:
        """The rows of the pair, the originator and the responder; -1 for what has none."""
        one, other, port = self._hosts.get(orig, -1), self._hosts.get(resp, -1), self._ports.get(resp_p, -1)
        pair = self._pairs.get(_key(one, other, port), -1) if min(one, other, port) >= 0 else -1
        return (
            pair,
            self._roles[ORIGINATOR].rows[one] if one >= 0 else -1,
            self._roles[RESPONDER].rows[other] if other >= 0 else -1,
        )

    def place(self, ts: int, orig: str, resp: str, resp_p: str) -> tuple[int, int, int, bool]:
        """The pair's row, made with a beginning at ``ts`` if it was not there, or -1 if there is no room for it; its
        hosts' numbers, for :meth:`host_rows`; and whether it is new.
        """
        one, other, port = self._hosts.get(orig, -1), self._hosts.get(resp, -1), self._ports.get(resp_p)
        if port is None:
            port = self._ports[resp_p] = len(self._port_names)
            self._port_names.append(resp_p)
        elif one >= 0 and other >= 0 and (pair := self._pairs.get(_key(one, other, port))) is not None:
            return pair, one, other, False
        if len(self._pairs) >= self._max_pairs:
            self.shed += 1
            return -1, one, other, False
        one, other = self._host(orig), self._host(resp)
        key = _key(one, other, port)
        pair = self._pairs[key] = self._take(PAIR, key, ts)
        self._part(ORIGINATOR, one, pair, ts)
        self._part(RESPONDER, other, pair, ts)
        return pair, one, other, True

    def hosts_of(self, pairs: np.ndarray) -> dict[str, np.ndarray]:
        """Rows of the hosts of pairs, (pairs,) for each part; -1 for what has none."""
        keys = [_unkey(self._key_of[PAIR][row]) for row in pairs.tolist()]
        return {
            ORIGINATOR: self.host_rows(ORIGINATOR, [one for one, _, _ in keys]),
            RESPONDER: self.host_rows(RESPONDER, [other for _, other, _ in keys]),
        }

    def are_udp(self, pairs: np.ndarray) -> np.ndarray:
        """(pairs,): whether a pair's port is one of UDP."""
        ports = [_unkey(self._key_of[PAIR][row])[2] for row in pairs.tolist()]
        return np.array([self._port_names[port].endswith("/udp") for port in ports], bool)

    def host_rows(self, unit: str, hosts: list[int]) -> np.ndarray:
        """Rows of hosts as originators, or as responders; -1 for what has none."""
        rows = self._roles[unit].rows
        return np.array([rows[host] if host >= 0 else -1 for host in hosts], np.int64)

    def settle(self, now: int) -> None:
        """Make the rows that have been taken since the last time, their sums as of ``now``."""
        new = {unit: units.settle(now) for unit, units in self.units.items()}
        for unit, role in self._roles.items():
            if role.heirs:
                rows, firsts = np.array(role.heirs, np.int64).T
                self.units[unit].inherit(rows, self.units[PAIR], firsts)
                # One that is as new as the second is counted with that.
                self.units[unit].add_pairs(rows[~np.isin(firsts, new[PAIR])])
                role.heirs.clear()

    def ends(self, unit: str, row: int) -> tuple[str | None, str | None, str | None]:
        """Originator, responder and its port, of a row; None for what is not one."""
        key = self._key_of[unit][row]
        if unit == ORIGINATOR:
            return self._names[key], None, None
        if unit == RESPONDER:
            return None, self._names[key], None
        one, other, port = _unkey(key)
        return self._names[one], self._names[other], self._port_names[port]

    def make_room(self) -> None:
        """Shed the pairs with the least evidence, if there are nearly as many as may be."""
        if len(self._pairs) * 100 < self._max_pairs * _FULL:
            return
        units = self.units[PAIR]
        rows = units.in_use()
        rows = rows[~units.open[rows]]
        # Of equal ones the oldest.
        order = np.lexsort((units.last[rows], units.score[rows]))
        least = rows[order[: max(0, len(self._pairs) - self._max_pairs * _SHED_TO // 100)]]
        self.shed += len(least)
        self._drop(least)

    def opened(self, unit: str, row: int) -> None:
        """Keep the row, whatever there is of others, until :meth:`closed`."""
        self.units[unit].open[row] = True

    def closed(self, unit: str, row: int) -> None:
        self.units[unit].open[row] = False
        if unit != PAIR:
            self._release(unit, self._key_of[unit][row])

    def forget(self, before: int) -> int:
        """Drop the pairs that nothing has come of since ``before``; how many."""
        units = self.units[PAIR]
        rows = units.in_use()
        old = rows[(units.last[rows] < before) & ~units.open[rows]]
        self._drop(old)
        return len(old)

    def _host(self, name: str) -> int:
        host = self._hosts.get(name, -1)
        if host >= 0:
            return host
        if self._unused:
            host = self._unused.pop()
            self._names[host] = name
        else:
            host = len(self._names)
            self._names.append(name)
            for role in self._roles.values():
                role.parts.append(0)
                role.first.append(-1)
                role.rows.append(-1)
        self._hosts[name] = host
        return host

    def _part(self, unit: str, host: int, pair: int, ts: int) -> None:
        """The host has got one pair more."""
        role = self._roles[unit]
        role.parts[host] += 1
        if role.rows[host] >= 0:
            return
        if role.parts[host] == 1:
            role.first[host] = pair
        else:
            role.rows[host] = self._take(unit, host, ts)
            role.heirs.append((role.rows[host], role.first[host]))

    def _take(self, unit: str, key: int, ts: int) -> int:
        row = self.units[unit].take(ts)
        keys = self._key_of[unit]
        if row == len(keys):
            keys.append(key)
        else:
            keys[row] = key
        return row

    def _drop(self, rows: np.ndarray) -> None:
        self.units[PAIR].free(rows)
        for row in rows.tolist():
            key = self._key_of[PAIR][row]
            del self._pairs[key]
            one, other, _ = _unkey(key)
            for unit, host in ((ORIGINATOR, one), (RESPONDER, other)):
                role = self._roles[unit]
                role.parts[host] -= 1
                self._release(unit, host)

    def _release(self, unit: str, host: int) -> None:
        """Forget what nothing needs any more: the host's row if it has no pair, the host if it has no row."""
        role = self._roles[unit]
        row = role.rows[host]
        if not role.parts[host] and row >= 0 and not self.units[unit].open[row]:
            self.units[unit].free(np.array([row]))
            role.rows[host] = -1
        if all(not role.parts[host] and role.rows[host] < 0 for role in self._roles.values()) and (
            self._hosts.pop(self._names[host], None) is not None
        ):
            self._unused.append(host)


# A host's number has 32 bits, a port's 18: there are 2 * 65,536 names of ports.
def _key(orig: int, resp: int, port: int) -> int:
    return (orig << 32 | resp) << 18 | port


def _unkey(key: int) -> tuple[int, int, int]:
    return key >> 50, key >> 18 & 0xFFFFFFFF, key & 0x3FFFF
