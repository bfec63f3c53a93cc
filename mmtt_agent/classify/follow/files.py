"""A directory that captures are written into: which there are, which are finished, and in which order they come.

A file is finished when nobody has it open for writing and it has not changed from one look to the next. Where the
system does not say whether somebody has (it is another user's, or lies on a file system without leases): when a newer
one of the same sequence is there, since what writes them closes one before it opens the next, or when it has not
changed for long.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from ...capture.directory import is_capture
from ...capture.files import CaptureFile
from ...capture.records import IMPOSSIBLE, CaptureError

#: Seconds for which a file must not have changed, and those after which one is finished though nobody can tell.
SETTLED, FORGOTTEN = 1.0, 900.0
_PACKED = re.compile(r"\.(gz|zst|lz4)$", re.IGNORECASE)
_SUFFIX = r"\.(?:pcap|pcapng|cap|dmp)"
# Of a name, what changes from one file of a sequence to the next: seconds since 1970, dates, numbers with zeros before
# them, and tcpdump's number after the suffix. Suricata's threads have short numbers before the seconds.
_COUNTED = re.compile(r"\d{9,}(\.\d+)?|(19|20)\d\d([._:T-]?\d\d){1,5}(\.\d+)?|(?<!\d)0\d+", re.ASCII)
_NUMBERED = re.compile(rf"({_SUFFIX})\d+$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Seen:
    """A file as it was when it was looked at.

    Attributes:
        name: its path below the directory.
    """

    name: str
    inode: int
    size: int
    mtime_ns: int

    @property
    def as_it_is(self) -> tuple[int, int, int]:
        """The same for the same file, whatever it is called, as long as nobody writes to it."""
        return self.inode, self.size, self.mtime_ns


def unpacked(name: str) -> str:
    """The same for a capture and for what gzip, zstd or lz4 make of it."""
    return _PACKED.sub("", name)


def sequence(name: str) -> str:
    """The same for all files of a rotation."""
    return _COUNTED.sub("#", _NUMBERED.sub(r"\1", unpacked(name)))


def is_written(path: Path) -> bool | None:
    """Whether somebody has a file open for writing; None where that can't be told."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        # Whoever opens it in the moment for which we hold the lease sends a signal: one that does nothing.
        fcntl.fcntl(handle, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(handle)
    return False


def begins(path: Path) -> int | None:
    """Time of a capture's first packet, in µs since 1970; None where there is none."""
    try:
        with CaptureFile(path) as file:
            for records in file:
                if len(records) and records.time[0] != IMPOSSIBLE:
                    return int(records.time[0])
    except (CaptureError, OSError, MemoryError):
        pass
    return None


@dataclass(slots=True)
class _Waiting:
    """A file that is not taken yet, and since when it has been as it is, by a clock that is never put back."""

    seen: Seen
    since: float
    begins: int | None = None


class Arrivals:
    """
    Args:
        matches: patterns of names, as a shell's; without any, those that captures and their rotations use to have.
        is_done: whether a file is one that has been taken.

    Attributes:
        names: of all that are there.
        gone: names of files that went before they were finished, or taken.
        settling: there are files that have only just changed.
        problems: a line for each directory that can't be searched, once.
    """

    def __init__(self, directory: Path, matches: Sequence[str], is_done: Callable[[Seen], bool]) -> None:
        self._directory, self._matches, self._is_done = directory, matches, is_done
        self._waiting: dict[str, _Waiting] = {}
        self.names: set[str] = set()
        self.gone: list[str] = []
        self.settling = False
        self.problems: list[str] = []
        self._told: set[Path] = set()

    def look(self) -> list[Seen]:
        """Those that are finished, in order of time.

        Raises:
            OSError: the directory itself can't be read.
        """
        found = {each.name: each for each in self._scan()}
        now = time.monotonic()
        self.names = {*found}
        self._forget_gone(found)
        for each in found.values():
            if self._is_done(each):
                self._waiting.pop(each.name, None)
            elif each.name not in self._waiting or self._waiting[each.name].seen != each:
                self._waiting[each.name] = _Waiting(each, now)
        newest: dict[str, int] = {}
        for each in found.values():
            of = sequence(each.name)
            newest[of] = max(newest.get(of, 0), each.mtime_ns)
        finished: list[_Waiting] = []
        unfinished: list[_Waiting] = []
        self.settling = False
        for waiting in self._waiting.values():
            unchanged = max(now - waiting.since, time.time() - waiting.seen.mtime_ns / 1e9)
            if unchanged < SETTLED:
                self.settling = True
            elif self._is_finished(waiting.seen, newest[sequence(waiting.seen.name)], unchanged):
                finished.append(waiting)
                continue
            if unchanged < FORGOTTEN:
                unfinished.append(waiting)
        # One that is still being written is taken before those that come after it.
        held = self._begins_of({sequence(waiting.seen.name) for waiting in finished}, unfinished)
        if len(finished) + len(held) > 1:
            finished = [
                waiting
                for waiting in finished
                if self._look_inside(waiting) <= held.get(sequence(waiting.seen.name), self._look_inside(waiting))
            ]
        return [each.seen for each in sorted(finished, key=lambda each: (each.begins or 0, each.seen.name))]

    def _begins_of(self, sequences: set[str], unfinished: list[_Waiting]) -> dict[str, int]:
        """When the first of the captures of each of these sequences begins."""
        found: dict[str, int] = {}
        for waiting in unfinished:
            if (of := sequence(waiting.seen.name)) in sequences:
                begins = self._look_inside(waiting)
                found[of] = min(found.get(of, begins), begins)
        return found

    def others(self, of: str) -> dict[str, int]:
        """Sequences, but for that one, of which there are captures that are still to be taken, finished or not; and
        when the first of those begins, in µs since 1970."""
        sequences = {sequence(waiting.seen.name) for waiting in self._waiting.values()} - {of}
        return self._begins_of(sequences, [*self._waiting.values()])

    def _look_inside(self, waiting: _Waiting) -> int:
        """Time of a capture's first packet, in µs since 1970; when it was last written to, where there is none."""
        if waiting.begins is None:
            found = begins(self._directory / waiting.seen.name)
            waiting.begins = waiting.seen.mtime_ns // 1000 if found is None else found
        return waiting.begins

    def _is_finished(self, seen: Seen, newest: int, unchanged: float) -> bool:
        written = is_written(self._directory / seen.name)
        if written is None:
            return newest > seen.mtime_ns or unchanged >= FORGOTTEN
        return not written

    def _forget_gone(self, found: dict[str, Seen]) -> None:
        inodes, contents = {each.inode for each in found.values()}, {unpacked(name) for name in found}
        for name in [name for name in self._waiting if name not in found]:
            # One that has been renamed, or packed, is there by another name.
            if self._waiting.pop(name).seen.inode not in inodes and unpacked(name) not in contents:
                self.gone.append(name)

    def _scan(self) -> list[Seen]:
        found: list[Seen] = []
        folders = [""]
        while folders:
            folder = folders.pop()
            try:
                with os.scandir(self._directory / folder) as entries:
                    for entry in entries:
                        name = f"{folder}/{entry.name}" if folder else entry.name
                        if entry.name.startswith("."):
                            continue  # what is copied here uses to be called so until it is whole
                        if entry.is_dir(follow_symlinks=False):
                            folders.append(name)
                        elif self._is_capture(entry.name) and entry.is_file():
                            about = entry.stat()
                            found.append(Seen(name, about.st_ino, about.st_size, about.st_mtime_ns))
            except FileNotFoundError:
                if not folder:
                    raise
            except OSError as error:
                if not folder:
                    raise
                self._tell(self._directory / folder, error)
        return found

    def _is_capture(self, name: str) -> bool:
        if self._matches:
            return any(fnmatch(name, each) for each in self._matches)
        return is_capture(name)

    def _tell(self, folder: Path, error: OSError) -> None:
        if folder not in self._told:
            self._told.add(folder)
            self.problems.append(f"{folder}: can't be searched for captures: {error.strerror or error}")
