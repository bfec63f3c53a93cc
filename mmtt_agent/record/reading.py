"""What was recorded, read again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .. import __version__
from ..series import MAX_PAYLOAD_PACKETS, SeriesBatch
from . import rows
from .parts import HOUR, Part, parts
from .rows import RecordError, Windows

_COLUMNS = [each.name for each in fields(Windows) if each.name not in ("series", "embedding", "other_widths")]
_SERIES = ("sizes", "times", "lengths")

_Found = TypeVar("_Found")


@dataclass(frozen=True)
class _Footer:
    """What a part says of itself: how many windows, embeddings of which width, and when it was written (µs)."""

    part: Part
    windows: int
    width: int
    written: int


def read(directory: Path, say: Callable[[str], None], since: int | None = None, until: int | None = None) -> Windows:
    """The windows of a directory, in order of time; what was recorded twice as it was recorded last.

    Args:
        say: takes a line for each part that is damaged, which is left out, and for what else is left out.
        since, until: microseconds since 1970: only windows from the one on and before the other.

    Raises:
        RecordError: there are none, or they were written by another version of mmtt, or pyarrow is not installed.
    """
    rows.arrow()
    try:
        found = parts(directory)
    except OSError as error:
        raise RecordError(f"{directory}: {error.strerror or error}; name a directory of recorded windows") from None
    if not found:
        raise RecordError(
            f"{directory}: no windows were recorded there; set record.directory in the agent's settings, "
            "or type: mmtt classify --record DIR FILE..."
        )
    wanted = [
        part
        for part in found
        if (since is None or (part.hour + 1) * HOUR > since) and (until is None or part.hour * HOUR < until)
    ]
    footers = [footer for part in wanted if (footer := _tried(_footer, part, say)) is not None]
    width = max(footers, key=lambda footer: footer.written).width if footers else 0
    into = _Columns(sum(footer.windows for footer in footers), width)
    twice = 0
    for _, hour in groupby(footers, key=lambda footer: footer.part.hour):
        # What was written last comes last, and counts.
        order = sorted(hour, key=lambda footer: footer.written)
        windows = [each for footer in order if (each := _tried(_windows, footer.part, say)) is not None]
        if windows:
            twice += into.take(windows, since, until)
    made = into.windows()
    if twice:
        say(f"{directory}: {twice} windows were recorded more than once: as they were the last time")
    if made.other_widths:
        say(
            f"{directory}: {made.other_widths} windows have an embedding of another network than the latest: "
            "they are read without"
        )
    return made


def _tried(look: Callable[[Part], _Found], part: Part, say: Callable[[str], None]) -> _Found | None:
    """What it finds in a part; None for one that is damaged, which is said.

    Raises:
        RecordError: the part is of another format.
    """
    try:
        return look(part)
    except RecordError:
        raise
    except (rows.arrow().ArrowException, OSError, ValueError) as error:
        # A removed one has been found too old or too much meanwhile.
        said = "removed meanwhile" if isinstance(error, FileNotFoundError) else f"damaged ({_line(error)})"
        say(f"{part.path}: {said}; its windows are left out")
        return None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _footer(part: Part) -> _Footer:
    with rows.arrow().parquet.ParquetFile(part.path) as file:
        about = file.schema_arrow.metadata or {}
        if (form := about.get(b"format", b"none").decode("utf-8", "replace")) != rows.FORMAT:
            raise RecordError(
                f"{part.path}: its format is {form[:20]!r}, mmtt {__version__} reads {rows.FORMAT!r}; "
                "install the mmtt that has recorded it, or remove it"
            )
        written = int(about.get(b"written", b"0"))
        return _Footer(part, file.metadata.num_rows, rows.embedding_width(file), written)


def _windows(part: Part) -> Windows:
    with rows.arrow().parquet.ParquetFile(part.path) as file:
        return rows.decode(file)


class _Columns:
    """What was read so far, in arrays that are made at once: two of them would be too much memory.

    Args:
        most: windows that there will be at most.
        width: of the embeddings that are read.
    """

    def __init__(self, most: int, width: int) -> None:
        self._count = self._other_widths = 0
        kinds: dict[str, Any] = {"window": np.uint8, "ts": np.int64, "malicious": np.bool_} | dict.fromkeys(
            rows.SCORES, np.float32
        )
        self._columns: dict[str, Any] = {name: np.empty(most, kinds.get(name, np.object_)) for name in _COLUMNS}
        self._series = {
            name: np.empty((most, MAX_PAYLOAD_PACKETS) if name != "lengths" else most, np.int32) for name in _SERIES
        }
        self._embedding = np.empty((most, width), np.float16)

    def take(self, found: list[Windows], since: int | None, until: int | None) -> int:
        """Take in an hour's windows, what was written first first; ``found`` is empty then. Returns how many there were
        more than once."""
        ts = np.concatenate([each.ts for each in found])
        order = np.argsort(ts, kind="stable")
        wanted = np.ones(len(ts), bool)
        if since is not None:
            wanted &= ts >= since
        if until is not None:
            wanted &= ts < until
        order = order[wanted[order]]
        uid, window = (np.concatenate([getattr(each, name) for each in found])[order] for name in ("uid", "window"))
        latest = _latest(uid, window, ts[order])
        kept = order[latest]
        place = np.full(len(ts), -1)
        place[kept] = self._count + np.arange(len(kept))
        self._count += len(kept)
        # One by one, and each let go of: an hour may be half of all there is.
        found.reverse()
        while found:
            each = found.pop()
            at, place = place[: len(each)], place[len(each) :]
            self._put(each, np.flatnonzero(at >= 0), at[at >= 0])
        return len(order) - len(kept)

    def _put(self, found: Windows, of: np.ndarray, at: np.ndarray) -> None:
        """Some of its windows at these places."""
        for name, column in self._columns.items():
            column[at] = getattr(found, name)[of]
        for name, packed in self._series.items():
            packed[at] = getattr(found.series, name)[of]
        if (width := found.embedding.shape[1]) == self._embedding.shape[1]:
            self._embedding[at] = found.embedding[of]
        else:
            self._embedding[at] = np.nan
            self._other_widths += len(at) if width else 0

    def windows(self) -> Windows:
        n = self._count
        series = SeriesBatch(*(self._series[name][:n] for name in _SERIES))
        columns = {name: column[:n] for name, column in self._columns.items()}
        return Windows(**columns, series=series, embedding=self._embedding[:n], other_widths=self._other_widths)


def _latest(uid: np.ndarray, window: np.ndarray, ts: np.ndarray) -> np.ndarray:
    """bool (n,) of windows in order of time: which are not followed by the same one again."""
    latest = np.ones(len(ts), bool)
    same = np.zeros(len(ts), bool)
    same[1:] = ts[1:] == ts[:-1]
    same[:-1] |= same[1:]
    rows_by_name: dict[tuple[str, int], int] = {}
    for row in np.flatnonzero(same).tolist():
        before = rows_by_name.get(name := (uid[row], int(window[row])))
        if before is not None and ts[before] == ts[row]:
            latest[before] = False
        rows_by_name[name] = row
    return latest
