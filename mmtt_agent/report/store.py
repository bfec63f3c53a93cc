"""All flows and incidents of a report, on disk: a million rows take no more memory than a thousand.

It is a database without a name, which SQLite keeps in a file that nobody else sees (in ``SQLITE_TMPDIR``, ``TMPDIR`` or
/var/tmp) and that is gone with the process, however that ends.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

from ..classify.reading import STATES
from ..classify.row import IncidentRow, Row
from ..output import shown

#: Rows that are handed over at a time.
_STEP = 5_000
#: KiB that SQLite keeps in memory.
_CACHE = 64_000
#: Most letters of a field: a log's writer may be anybody's.
_FIELD, _REASON, _PATH = 200, 2_000, 4_096
#: Most of an incident's connections.
_UIDS = 20
#: What a whole number in SQLite is at most.
_MOST = 2**63 - 1


class StoreError(Exception):
    """There is no room for it; one line with the remedy."""


class Flow(NamedTuple):
    """A connection, by its windows.

    Attributes:
        first: µs since 1970, when the first of its windows that is known began.
        windows, packets: how many there are, and packets with payload in all of them.
        service, service_score, application, application_score, model: of the latest window with a verdict.
        malicious, malicious_score, malicious_kind: of the most suspicious one; ``malicious`` 1 if any is flagged.
        status: ``ok`` if any window has a verdict, else the latest window's.
        incident: "" if it is of none.
        capture: the file that it comes from, where that is known.
        duration: seconds; with the bytes each way, the state and the protocol of ``conn.log``, None without it.
    """

    first: int
    uid: str
    orig_h: str
    orig_p: int
    resp_h: str
    resp_p: int
    proto: str
    windows: int
    packets: int
    service: str | None
    service_score: float | None
    application: str | None
    application_score: float | None
    malicious: int
    malicious_score: float | None
    malicious_kind: str | None
    status: str
    incident: str
    model: str | None
    capture: str
    duration: float | None
    orig_bytes: int | None
    resp_bytes: int | None
    conn_state: str | None
    conn_service: str | None


class Store:
    """Rows in; flows out, after :meth:`finish`.

    Raises (all methods):
        StoreError: the disk is full, or no file can be made.
    """

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._waiting: dict[str, list[tuple[Any, ...]]] = {}
        with _told():
            for line in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{_CACHE}", "temp_store=FILE"):
                self._db.execute(f"PRAGMA {line}")
            for table, columns in _TABLES.items():
                self._db.execute(f"CREATE TABLE {table} ({columns})")
            # All of it is one transaction, which nobody will ever ask for again.
            self._db.execute("BEGIN")

    def close(self) -> None:
        self._db.close()

    def add(self, row: Row) -> None:
        """A window."""
        self._put(
            "window",
            (_clean(row.uid), _whole(row.window), _whole(row.ts), *map(_clean, (row.orig_h, row.resp_h, row.proto)),
             row.orig_p, row.resp_p, _whole(row.packets), _clean(row.service), row.service_score,
             _clean(row.application), row.application_score, row.malicious, row.malicious_score,
             _clean(row.malicious_kind), _clean(row.status), _clean(row.incident), _clean(row.model),
             _clean(row.capture, _PATH)),
        )  # fmt: skip

    def add_incident(self, row: IncidentRow) -> None:
        about = row._replace(
            id=_clean(row.id) or "",
            ts=_whole(row.ts),
            connections=_whole(row.connections),
            first=_whole(row.first),
            last=_whole(row.last),
            orig_bytes=_whole(row.orig_bytes),
            resp_bytes=_whole(row.resp_bytes),
            orig_h=_clean(row.orig_h),
            resp_h=_clean(row.resp_h),
            kind=_clean(row.kind),
            reason=_clean(row.reason, _REASON) or "",
            uids=tuple(_clean(uid) or "" for uid in row.uids[:_UIDS]),
            capture=_clean(row.capture, _PATH) or "",
        )
        self._put("incident", (about.id, _whole(row.ts), STATES.index(row.state), row.score, json.dumps(about)))
        for uid in about.uids:
            self._put("member", (uid, about.id))

    def add_connection(self, record: dict[str, Any]) -> None:
        """A row of ``conn.log``; what it says that can't be is as if unset.

        Raises:
            ValueError: it has no uid.
        """
        if not isinstance(uid := record.get("uid"), str):
            raise ValueError("it has no uid; is it conn.log?")
        self._put(
            "connection",
            (_clean(uid), _number(record.get("duration")),
             *(None if (number := _number(record.get(name))) is None else _whole(int(number))
               for name in ("orig_bytes", "resp_bytes")),
             _clean(_text(record.get("conn_state"))), _clean(_text(record.get("service")))),
        )  # fmt: skip

    def finish(self, progress: Callable[[int], None] = lambda _: None) -> None:
        """There are no more rows: make flows of them.

        Args:
            progress: called now and then with how many there are so far.
        """
        with _told():
            for table in [*self._waiting]:
                self._flush(table)
            self._db.execute(f"CREATE TABLE flow ({', '.join(Flow._fields)})")
            write = f"INSERT INTO flow VALUES ({', '.join('?' * len(Flow._fields))})"
            # Sorted and read side by side: looking each up would be a walk all over the disk.
            rows = map(_Window._make, self._db.execute("SELECT * FROM window ORDER BY uid, window"))
            connections = _Beside(self._db.execute("SELECT * FROM connection ORDER BY uid"))
            evidence = _Beside(self._db.execute("SELECT uid, min(id) FROM member GROUP BY uid ORDER BY uid"))
            batch: list[Flow] = []
            done = 0
            for uid, windows in groupby(rows, attrgetter("uid")):
                batch.append(_flow([*windows], connections.of(uid), evidence.of(uid)))
                if len(batch) == _STEP:
                    self._db.executemany(write, batch)
                    done += len(batch)
                    progress(done)
                    batch = []
            self._db.executemany(write, batch)
            self._db.execute("DROP TABLE window")

    def flows(self, order: str, limit: int) -> Iterator[Flow]:
        """The first ``limit`` flows by an SQL expression."""
        with _told():
            yield from map(Flow._make, self._db.execute(f"SELECT * FROM flow ORDER BY {order} LIMIT ?", (limit,)))

    def incidents(self, limit: int) -> list[IncidentRow]:
        """The latest row of each incident, the surest first, ``limit`` at most."""
        with _told():
            found = self._db.execute(
                "SELECT about, max(ts * 4.0 + state) FROM incident GROUP BY id ORDER BY score DESC, id LIMIT ?",
                (limit,),
            )
            # JSON has no tuples.
            return [IncidentRow._make(json.loads(about)) for about, _ in found]

    def query(self, sql: str, *values: Any) -> Iterator[Any]:
        """Rows of a query of the tables ``flow`` and ``incident``."""
        with _told():
            yield from self._db.execute(sql, values)

    def one(self, sql: str, *values: Any) -> Any:
        """The only row of a query."""
        return next(self.query(sql, *values))

    def _put(self, table: str, values: tuple[Any, ...]) -> None:
        waiting = self._waiting.setdefault(table, [])
        waiting.append(values)
        if len(waiting) >= _STEP:
            with _told():
                self._flush(table)

    def _flush(self, table: str) -> None:
        waiting = self._waiting.pop(table)
        self._db.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(waiting[0]))})", waiting)


class _Window(NamedTuple):
    """A row of ``mmtt.log``."""

    uid: str
    window: int
    ts: int
    orig_h: str
    resp_h: str
    proto: str
    orig_p: int
    resp_p: int
    packets: int
    service: str | None
    service_score: float | None
    application: str | None
    application_score: float | None
    malicious: int | None
    malicious_score: float | None
    malicious_kind: str | None
    status: str
    incident: str | None
    model: str | None
    capture: str | None


_TABLES = {
    "window": ", ".join(_Window._fields),
    "incident": "id, ts, state, score, about",
    "member": "uid, id",
    "connection": "uid, duration, orig_bytes, resp_bytes, conn_state, service",
}


class _Beside:
    """Rows that begin with a uid, in the order of uids, read along with others that are.

    Args:
        rows: of the same uid only the first counts.
    """

    def __init__(self, rows: Iterator[tuple[Any, ...]]) -> None:
        self._rows = rows
        self._next = next(rows, None)

    def of(self, uid: str) -> tuple[Any, ...] | None:
        """What follows the uid in its row, if there is one; uids are asked for in their order."""
        while self._next and self._next[0] < uid:
            self._next = next(self._rows, None)
        return self._next[1:] if self._next and self._next[0] == uid else None


def _flow(rows: list[_Window], connection: tuple[Any, ...] | None, evidence: tuple[str] | None) -> Flow:
    """What the windows of a connection, in order, say of it, with the rest of its row of ``connection``, and the
    incident that it is evidence of."""
    # The same window may be in two logs, and the same connection in two captures.
    windows = [*{row.window: row for row in reversed(rows)}.values()][::-1]
    answered = [row for row in windows if row.status == "ok"]
    latest = (answered or windows)[-1]
    worst = max(answered or windows, key=lambda row: (bool(row.malicious), row.malicious_score or 0.0))
    first = min(windows, key=lambda row: row.ts)
    incidents = [row.incident for row in windows if row.incident]
    return Flow(
        first.ts, first.uid, first.orig_h, first.orig_p, first.resp_h, first.resp_p, first.proto, len(windows),
        sum(row.packets for row in windows), latest.service, latest.service_score, latest.application,
        latest.application_score, int(bool(worst.malicious)), worst.malicious_score, worst.malicious_kind,
        latest.status, incidents[-1] if incidents else evidence[0] if evidence else "", latest.model,
        first.capture or "", *(connection or [None] * 5),
    )  # fmt: skip


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(
            f"there is no room for the flows on the way to the page ({error}); set TMPDIR to a directory with more"
        ) from None


def _clean(text: str | None, most: int = _FIELD) -> Any:
    """What may be stored and shown: on one line, with no letter that changes how others are read, and not endless."""
    if not text:
        return text
    if len(text) > most:
        text = text[:most] + "…"
    return shown(text)


def _whole(number: int) -> int:
    return max(-_MOST, min(number, _MOST))


def _number(value: Any) -> float | None:
    """A number that is no less than 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < _MOST:
        return None
    return value


def _text(value: Any) -> str | None:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return value if isinstance(value, str) else None
