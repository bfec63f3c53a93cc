"""Logs of verdicts that were rotated away a moment ago: what waits for its verdict may find it there."""

from __future__ import annotations

import re
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

#: Seconds; one that was last written to before that says nothing of events that come now.
RECENT = 3600.0
_WHEN, _PACKED = r"[.-][0-9][0-9T:._-]*", r"(\.gz|\.zst)?"
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def recent(log: Path) -> list[Path]:
    """Those that had the name of ``log`` until lately, the oldest first: ``mmtt.log.1``, ``mmtt.log.1.gz``,
    ``mmtt.2026-11-28-04-00-00.log``, and where zeekctl puts them, ``2026-11-28/mmtt.04:00:00-05:00:00.log.gz`` beside
    ``current``.
    """
    name = re.compile(
        rf"{re.escape(log.name)}{_WHEN}{_PACKED}|{re.escape(log.stem)}{_WHEN}{re.escape(log.suffix)}{_PACKED}"
    )
    found: list[tuple[int, Path]] = []
    oldest = (time.time() - RECENT) * 1e9
    for directory in _directories(log):
        with suppress(OSError):
            for path in directory.iterdir():
                if not name.fullmatch(path.name):
                    continue
                # One that is just being packed is still there unpacked.
                if path.suffix in (".gz", ".zst") and path.with_suffix("").exists():
                    continue
                with suppress(OSError):
                    about = path.stat()
                    if stat.S_ISREG(about.st_mode) and about.st_mtime_ns >= oldest:
                        found.append((about.st_mtime_ns, path))
    return [path for _, path in sorted(found)]


def _directories(log: Path) -> Iterator[Path]:
    yield log.parent
    if log.parent.name == "current":
        with suppress(OSError):
            yield from sorted(each for each in log.parent.parent.iterdir() if _DAY.fullmatch(each.name))[-2:]
