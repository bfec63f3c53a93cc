"""Verdicts out of what says them: rows of an ``mmtt.log``, events of ``mmtt sniff --format eve``, rows of captures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .. import logs
from ..classify import eve
from ..classify.row import Row
from .events import key, time
from .known import Verdict

_OK = "ok"
#: Of what several windows of a flow are compared by, and which there are.
_KINDS: dict[str, tuple[type, ...]] = {
    "window": (int,),
    "malicious": (bool,),
    "malicious_score": (int, float),
    "incident": (str,),
}


class Reader:
    """Verdicts from lines of any of them, however they are mixed.

    Attributes:
        damaged: lines that can't be read, and are left out.
    """

    def __init__(self) -> None:
        self.damaged = logs.Damaged()
        self._rows = logs.Rows()

    def verdict(self, line: bytes) -> Verdict | None:
        """None of a line that holds none."""
        self.damaged.line += 1
        try:
            row = self._rows.row(line)
            return None if row is None else of(row)
        except logs.RowError as error:
            self.damaged.add(str(error))
            return None


def of(row: Mapping[str, Any]) -> Verdict | None:
    """The verdict of a row of an ``mmtt.log``, or in an event; None of what else there is in a stream of events.

    Raises:
        logs.RowError: it has none.
    """
    if "event_type" not in row:
        return _verdict(
            [row.get(name) for name in ("proto", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p")],
            row.get("ts"),
            eve.verdict(row),
        )
    if row["event_type"] != eve.VERDICT:
        return None
    said = row.get(eve.VERDICT)
    if not isinstance(said, dict):
        raise logs.RowError(f"an event of mmtt's without an object {eve.VERDICT!r}")
    ends = [row.get(name) for name in ("proto", "src_ip", "src_port", "dest_ip", "dest_port")]
    return _verdict(ends, time(row.get("timestamp")), said)


def of_row(row: Row) -> Verdict | None:
    """Of a row of ours; None where an address is none that a capture could have."""
    where = key(row.proto, row.orig_h, row.orig_p, row.resp_h, row.resp_p)
    if where is None:
        return None
    return Verdict(where, row.uid, row.ts, eve.verdict(row) if row.status == _OK else None)


def _verdict(ends: list[Any], ts: Any, said: dict[str, Any]) -> Verdict:
    uid = said.get("uid")
    if not isinstance(ends[0], str) or type(ts) is not int or not isinstance(uid, str) or "status" not in said:
        raise logs.RowError("not a verdict; is it an mmtt.log?")
    for name, value in said.items():
        kinds = _KINDS.get(name, (str, int, float, bool))
        if type(value) not in kinds or (type(value) is float and not math.isfinite(value)):
            raise logs.RowError(f"{name} can't be {value!r}")
    try:
        where = key(*ends)
    except TypeError:
        where = None
    if where is None:
        raise logs.RowError(f"no end points of a connection: {ends[1]} {ends[2]}, {ends[3]} {ends[4]}")
    return Verdict(where, uid, ts, said if said["status"] == _OK else None)
