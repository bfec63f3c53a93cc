"""What writes windows down, on a thread and with a process of its own: whoever has their verdicts never waits for a
disk, nor for what makes files of windows."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import whole
from .keeper import keep
from .parts import named
from .process import Key, Process, ProcessError, ProcessGone
from .rows import Batch, RecordError

#: Windows that wait for the thread at most, of about 1.5 kB each.
MAX_WAITING = 32_768
#: Windows with which a part is written, about 8 MB; and seconds after which it is, whatever is in it.
PART_WINDOWS, PART_SECONDS = 16_384, 300.0
# Hours that there are parts in hand of, at most: captures may hold many.
_MAX_OPEN = 16
# Seconds from one look at what waits to the next, if less than so many windows do; and to what is to be removed.
_EVERY, _SOON = 1.0, 4096
_KEEP_EVERY = 600.0


@dataclass
class _Part:
    """What is yet to be written of an hour: since when, and how many."""

    begun: float
    windows: int = 0


class Recorder:
    """Writes what :meth:`put` is given. What can't be written is counted and said, and nothing else comes of it.

    Args:
        directory: made if it is not there.
        writer: part of the files' names: no two that run at once may have the same.
        keep_days, keep_bytes: what was written goes when it is older, and the oldest when it is more; None: never.
        say: takes a line when something goes wrong, and when it is well again. Called on the thread.
        removed: takes a line when something is too old or too much.
        waits: :meth:`put` waits where the queue is full, rather than drop windows.

    Attributes:
        recorded, dropped: windows that lie in a file, and that never will.
        problems: files that could not be written.
        size: of all that is there, in bytes, at the latest look.
        parts_removed: for their age or for want of room, so far.

    Raises:
        RecordError: the directory can't be written, or pyarrow is not installed.
    """

    def __init__(
        self,
        directory: Path,
        writer: str,
        keep_days: int | None,
        keep_bytes: int | None,
        say: Callable[[str], None],
        removed: Callable[[str], None] = lambda _: None,
        waits: bool = False,
    ) -> None:
        self.directory = directory
        self._writer, self._days, self._bytes = writer, keep_days, keep_bytes
        self._say, self._say_removed, self._waits = say, removed, waits
        try:
            process = Process()
        except ProcessError as error:
            raise RecordError(f"{directory}: windows can't be recorded there: {error}") from None
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=directory):
                pass
        except OSError as error:
            process.close()
            raise RecordError(
                f"{directory}: windows can't be recorded there: {error.strerror or error}; "
                "let its user write there, or name another directory"
            ) from None
        self._process: Process | None = process
        self.recorded = self.dropped = self.problems = self.size = self.parts_removed = 0
        #: Why the latest part was not written; empty if it was.
        self.problem = ""
        self._not_written = 0  # windows, since the latest part that was
        self._open: dict[Key, _Part] = {}
        self._number = 0
        self._changed = threading.Condition()
        self._queue: list[Batch] = []
        self._queued = 0
        self._taken = self._settled = 0  # windows that were queued, and those of them that are recorded or dropped
        self._overrun = 0  # windows that were too many since the thread's latest look, and whether it has said so
        self._said_overrun = False
        self._closing = self._flushing = False
        self._keep_at = 0.0
        self._keep_problem = ""
        self._thread = threading.Thread(target=self._run, name="mmtt-record", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Windows that were put and not dropped, and are not written yet."""
        return self._taken - self._settled

    def put(self, batch: Batch) -> None:
        """Take windows to be written; where too many wait already, they are dropped and counted. From any thread."""
        with self._changed:
            if self._waits:
                self._changed.wait_for(lambda: self._queued < MAX_WAITING or self._closing)
            if self._closing or (not self._waits and self._queued + len(batch) > MAX_WAITING):
                self.dropped += len(batch)
                self._overrun += len(batch)
                return
            self._queue.append(batch)
            self._queued += len(batch)
            self._taken += len(batch)
            if self._queued >= _SOON:
                self._changed.notify_all()

    def flush(self, timeout: float | None = None) -> None:
        """Wait until all that was put is written or dropped, but not longer than ``timeout`` seconds."""
        with self._changed:
            self._flushing = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self.waiting or self._closing, timeout)

    def close(self, timeout: float | None = None) -> None:
        """Write all that waits; what is not written within ``timeout`` seconds is counted as dropped."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout)
        if self._thread.is_alive():
            self.dropped += (left := self.waiting)
            self._say(f"{self.directory}: {left} windows are not recorded: they are not written after {timeout:g} s")

    def _run(self) -> None:
        try:
            self._go_on()
        finally:
            if self._process:
                self._process.close()
            with self._changed:  # nobody waits for a thread that is no more
                self._closing = True
                self._changed.notify_all()

    def _go_on(self) -> None:
        closing = False
        while not closing:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._flushing or self._queued >= _SOON, _EVERY)
                batches = self._first()
                # What waits behind these comes first.
                closing = self._closing and not self._queue
                at_once = closing or (self._flushing and not self._queue)
                self._flushing = self._flushing and not at_once
                overrun, self._overrun = self._overrun, 0
            if overrun and not self._said_overrun:
                self._say(
                    f"{self.directory}: {overrun} windows are not recorded: more come than can be written; "
                    "is the disk slow or the machine busy?"
                )
            self._said_overrun = overrun > 0
            self._take(batches)
            with self._changed:
                self._queued -= sum(map(len, batches))
                self._changed.notify_all()
            for key, part in [*self._open.items()]:
                if key not in self._open:  # gone with the process
                    continue
                late = time.monotonic() - part.begun >= PART_SECONDS
                if at_once or late or part.windows >= PART_WINDOWS or len(self._open) > _MAX_OPEN:
                    self._write(key, self._open.pop(key))
            with self._changed:
                self._changed.notify_all()
            if time.monotonic() >= self._keep_at:
                self._keep()

    def _first(self) -> list[Batch]:
        """Some of what waits, off the queue: a part is to have about as many windows as it should."""
        windows = np.cumsum([len(batch) for batch in self._queue])
        some = int(np.searchsorted(windows, _SOON)) + 1
        batches, self._queue = self._queue[:some], self._queue[some:]
        return batches

    def _take(self, batches: list[Batch]) -> None:
        """Hand windows to the process."""
        if not (batches := [batch for batch in batches if len(batch)]):
            return
        try:
            self._process = self._process or Process()
            taken = self._process.take(batches)
        except (ProcessGone, RecordError) as error:
            self._gone(str(error), sum(map(len, batches)))
            return
        for problem, windows in taken.failed:
            self._failed(problem, windows)
        for key, windows in taken.parts:
            self._open.setdefault(key, _Part(time.monotonic())).windows += windows

    def _gone(self, problem: str, windows: int) -> None:
        """The process is no more, and neither are the windows that it had, nor ``windows`` that it should have got."""
        if self._process:
            self._process.close()
        self._process = None
        self._failed(problem, windows + sum(part.windows for part in self._open.values()))
        self._open = {}

    def _write(self, key: Key, part: _Part) -> None:
        try:
            assert self._process, "it has all that is open"
            content = self._process.encoded(key)
            while (path := named(self.directory, key[0], self._writer, self._number)).exists():
                self._number += 1
            path.parent.mkdir(parents=True, exist_ok=True)
            whole.write(path, content)
        except OSError as error:
            self._failed(error.strerror or str(error), part.windows)
        except ProcessGone as error:
            self._gone(str(error), part.windows)
        except ProcessError as error:
            self._failed(str(error), part.windows)
        else:
            self._number += 1
            self.recorded += part.windows
            self._settled += part.windows
            if self.problem:
                self._say(f"{self.directory}: windows are recorded again; {self._not_written} were not")
                self.problem, self._not_written = "", 0
            self._keep_at = 0.0

    def _failed(self, problem: str, windows: int) -> None:
        with self._changed:
            self.problems += 1
            self.dropped += windows
            self._settled += windows
            self._not_written += windows
        if problem != self.problem:
            self._say(
                f"{self.directory}: {windows} windows are not recorded, nor others until this is mended: {problem}"
            )
        self.problem = problem

    def _keep(self) -> None:
        self._keep_at = time.monotonic() + _KEEP_EVERY
        try:
            kept = keep(self.directory, self._days, self._bytes)
        except OSError as error:
            line = f"{error.filename or self.directory}: can't look for what is too old or too much, or remove it: "
            line += error.strerror or str(error)
            if line != self._keep_problem:
                self._say(line)
            self._keep_problem = line
            return
        self._keep_problem = ""
        self.size = kept.size
        self.parts_removed += kept.too_old + kept.too_much
        if kept.too_old:
            self._say_removed(f"{self.directory}: {kept.too_old} parts older than {self._days} days are removed")
        if kept.too_much:
            self._say_removed(f"{self.directory}: {kept.too_much} parts past {self._bytes} bytes are removed")
