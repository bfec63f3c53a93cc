"""What Zeek sends as text of its own, and its rules: a flow, ``{"uid":"C…","window":0,"sizes":[…],"times":[…],"ts":1.5,
"ends":"… … 443/tcp"}``, and connections that have no verdict, ``1.5 … … 443/tcp 1 0``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any

import numpy as np

from ..incidents import Try
from ..series import MAX_PAYLOAD_PACKETS, MAX_SIZE, MAX_WAIT_US, MIN_PACKETS, WINDOW_STARTS, SeriesBatch
from .broker import WireError, kind, parse, short

#: Longest uid taken, in characters.
MAX_UID = 64

#: Longest text that says whose a flow is, in characters.
MAX_ENDS = 192

# Seconds since 1970 before which every time is.
_MAX_TS = 1e11
_KEYS = {"uid", "window", "sizes", "times", "ts", "ends"}
#: When, originator, responder, port, how many failed, how many were too short.
_TRY = re.compile(r"(\d{1,11}(?:\.\d{1,9})?) ([!-~]{1,64}) ([!-~]{1,64}) ([!-~]{1,64}) (\d{1,9}) (\d{1,9})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Windows:
    """Flows that are what they should be, ``n`` of them.

    Attributes:
        series: of ``n`` windows.
        ts: int64 ``(n,)``, microseconds since 1970, of each window's first packet with payload.
        orig, resp: the sensor's names of the connections' ends; empty where it has none.
        resp_p: the responders' ports, such as "443/tcp".
    """

    series: SeriesBatch
    ts: np.ndarray
    orig: list[str]
    resp: list[str]
    resp_p: list[str]


def decode_flows(flows: list[str]) -> tuple[list[str], list[int], Windows, dict[int, str]]:
    """Uids, window numbers, the good flows, and what is wrong with the others by place."""
    if (rows := _parse_together(flows)) is not None and (windows := _pack(rows)) is not None:
        return [row["uid"] for row in rows], [row["window"] for row in rows], windows, {}
    # Something is wrong with one of them at least: look at each by itself.
    uids, numbers, series, good, problems = [], [], [], [], {}
    for place, flow in enumerate(flows):
        uid, window = "", 0
        try:
            row = parse(flow, "flow")
            if type(row) is not dict:
                raise WireError(f"flow is {kind(row)}, not a JSON object")
            uid = row["uid"] if _is_uid(row.get("uid")) else ""
            window = row["window"] if _is_window(row.get("window")) else 0
            series.append(_check_flow(row))
            good.append(row)
        except WireError as error:
            problems[place] = str(error)
        uids.append(uid)
        numbers.append(window)
    return uids, numbers, _windows(SeriesBatch.concatenate(series), good), problems


def decode_tries(tries: Sequence[str]) -> list[Try]:
    """Connections that have no verdict.

    Raises:
        WireError: one of them is not what it should be.
    """
    found = []
    for text in tries:
        if not (parts := _TRY.fullmatch(text)):
            raise WireError(f"try {short(text)} is not a time, originator, responder, port and two counts")
        ts, orig, resp, resp_p, failed, too_short = parts.groups()
        found.append(Try(round(float(ts) * 1e6), orig, resp, resp_p, int(failed), int(too_short)))
    return found


def _windows(series: SeriesBatch, rows: list[dict[str, Any]]) -> Windows:
    ts = np.rint(np.array([row["ts"] for row in rows], np.float64) * 1e6).astype(np.int64)
    orig, resp, resp_p = zip(*(_parts(row["ends"]) for row in rows), strict=True) if rows else ((), (), ())
    return Windows(series, ts, list(orig), list(resp), list(resp_p))


def _parts(ends: str) -> list[str]:
    """Originator, responder and port; each empty where the sensor has no names."""
    return ends.split(" ") if ends else ["", "", ""]


def _parse_together(flows: list[str]) -> list[dict[str, Any]] | None:
    """All flows parsed at once; None where one by one could tell otherwise."""
    text = ",".join(flows)
    # One object per string and none inside another: else "{…},{…" beside "…}" would pass for two flows.
    n = len(flows)
    if text.count("{") != n or text.count("}") != n or not all(f[:1] == "{" and f[-1:] == "}" for f in flows):
        return None
    try:
        rows = json.loads(f"[{text}]")
    except (ValueError, RecursionError):
        return None
    return rows if len(rows) == n else None


def _pack(rows: list[dict[str, Any]]) -> Windows | None:
    """Flows that are all what they should be, else None. The same rules as :func:`_check_flow`."""
    for row in rows:
        if row.keys() != _KEYS or not _is_uid(row["uid"]) or not _is_window(row["window"]):
            return None
        sizes, times = row["sizes"], row["times"]
        if type(sizes) is not list or type(times) is not list or len(sizes) != len(times):
            return None
    if not rows:
        return _windows(SeriesBatch.empty(), [])
    ends = [row["ends"] for row in rows]
    if {*map(type, ends)} != {str} or not _is_plain("".join(ends)) or not all(map(_are_ends, ends)):
        return None
    if not {type(row["ts"]) for row in rows} <= {int, float} or not all(0 <= row["ts"] < _MAX_TS for row in rows):
        return None
    sizes = list(chain.from_iterable(row["sizes"] for row in rows))
    times = list(chain.from_iterable(row["times"] for row in rows))
    # The types first: true would pass for 1, and 1.5 would be cut to 1.
    if {*map(type, sizes), *map(type, times)} != {int}:
        return None
    if min(sizes) < -MAX_SIZE or max(sizes) > MAX_SIZE or 0 in sizes or min(times) < 0 or max(times) > MAX_WAIT_US:
        return None
    lengths = [len(row["sizes"]) for row in rows]
    if min(lengths) < MIN_PACKETS or max(lengths) > MAX_PAYLOAD_PACKETS:
        return None
    series = SeriesBatch.from_lists([row["sizes"] for row in rows], [row["times"] for row in rows])
    # The times past a row's length are 0; there, and only there, they may go back.
    goes_back = np.diff(series.times) < 0
    goes_back &= np.arange(1, MAX_PAYLOAD_PACKETS) < series.lengths[:, None]
    return None if series.times[:, 0].any() or goes_back.any() else _windows(series, rows)


def _check_flow(row: dict[str, Any]) -> SeriesBatch:
    """The series of one flow; raises WireError with the first thing that is wrong with it."""
    if missing := _KEYS - row.keys():
        raise WireError(f"flow has no {min(missing)}")
    if extra := row.keys() - _KEYS:
        raise WireError(f"flow has a key {short(min(extra))} that is not known")
    if not _is_uid(row["uid"]):
        raise WireError(f"uid {short(row['uid'])} is not 1 to {MAX_UID} printable ASCII characters")
    if not _is_window(row["window"]):
        raise WireError(f"window {short(row['window'])} is not 0 to {len(WINDOW_STARTS) - 1}")
    sizes, times = row["sizes"], row["times"]
    for key, values in (("sizes", sizes), ("times", times)):
        if type(values) is not list:
            raise WireError(f"{key} is {kind(values)}, not an array")
        for value in values:
            if type(value) is not int:
                raise WireError(f"{key} holds {short(value)}, not only integers")
    if len(sizes) != len(times):
        raise WireError(f"{len(sizes)} sizes but {len(times)} times")
    if not MIN_PACKETS <= len(sizes) <= MAX_PAYLOAD_PACKETS:
        raise WireError(f"{len(sizes)} packets, not {MIN_PACKETS} to {MAX_PAYLOAD_PACKETS}")
    for size in sizes:
        if not 0 < abs(size) <= MAX_SIZE:
            raise WireError(f"size {short(size)} is not 1 to {MAX_SIZE} either way")
    if times[0] != 0:
        raise WireError(f"first time is {short(times[0])}, not 0")
    for earlier, later in pairwise(times):
        if later < earlier:
            raise WireError(f"times go back from {short(earlier)} to {short(later)}")
    if times[-1] > MAX_WAIT_US:
        raise WireError(f"time {short(times[-1])} is past {MAX_WAIT_US}")
    _check_whose(row)
    return SeriesBatch.from_lists([sizes], [times])


def _check_whose(row: dict[str, Any]) -> None:
    """Raises WireError where time or ends can't be."""
    # What is no number is not below anything either.
    if type(row["ts"]) not in (int, float) or not 0 <= row["ts"] < _MAX_TS:
        raise WireError(f"ts {short(row['ts'])} is not seconds since 1970")
    ends = row["ends"]
    if type(ends) is not str or not _is_plain(ends) or not _are_ends(ends):
        raise WireError(
            f"ends {short(ends)} is not originator, responder and port, {MAX_ENDS} ASCII characters at most"
        )


def _are_ends(text: str) -> bool:
    return not text or (text.count(" ") == 2 and len(text) <= MAX_ENDS)


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _is_uid(value: Any) -> bool:
    return type(value) is str and 0 < len(value) <= MAX_UID and _is_plain(value)


def _is_window(value: Any) -> bool:
    return type(value) is int and 0 <= value < len(WINDOW_STARTS)
