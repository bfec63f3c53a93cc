"""The process that makes files of windows. pyarrow's work, some microseconds a window and a tenth of a second for a
file, would take a core from verdicts, or Python from whoever gives them; a process of its own can stand back.

Both ends of it: what starts it and asks it, and what it does. It ends with whoever has started it, as its input does.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Any, NamedTuple

import numpy as np

from . import rows
from .parts import HOUR
from .rows import Batch, RecordError

# It stands back, but is not starved by two busy cores: it needs a twentieth of one.
_NICE = 10
# A session's terminal, or systemd, signals all processes: this one ends when it has done what it was asked for.
_NOT_ITS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# It has the modules of whoever starts it, wherever that runs.
_CODE = "import sys; sys.path[:] = sys.argv[1:]; from mmtt_agent.record.process import main; main()"

# What a file has needed is given back: a sixth less memory at most.
_LITTLE = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "1"}

#: Of a part that is being made: hours since 1970, and the width of the embeddings.
Key = tuple[int, int]


class ProcessError(Exception):
    """What was asked for can't be made; the text says why."""


class ProcessGone(ProcessError):
    """The process has ended, and all that it held is lost."""


class Taken(NamedTuple):
    """What became of some windows: how many belong to which part, and how many can't be used, and why."""

    parts: list[tuple[Key, int]]
    failed: list[tuple[str, int]]


class Process:
    """Started at once.

    Raises:
        RecordError: pyarrow is not installed.
        ProcessGone: it can't be started.
    """

    def __init__(self) -> None:
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _CODE, *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=os.environ | _LITTLE,
            )
        except OSError as error:
            raise ProcessGone(f"{sys.executable}: {error.strerror or error}") from None
        try:
            self._answer()
        except BaseException:
            self.close()
            raise

    def take(self, batches: Sequence[Batch]) -> Taken:
        """Put windows to those of their hours.

        Raises:
            ProcessGone: the process has ended.
        """
        for batch in batches:
            # One by one: what is a pickle at once lets no other thread run.
            self._say(rows.plain(batch))
        self._say(None)
        found: Taken = self._answer()
        return found

    def encoded(self, key: Key) -> bytes:
        """A file of a part, which is no more in the process then, whatever comes of it.

        Raises:
            ProcessError: it can't be made.
            ProcessGone: the process has ended.
        """
        self._say(key)
        found: bytes = self._answer()
        return found

    def close(self) -> None:
        """Have it end; what it holds is gone."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with suppress(OSError):
                    pipe.close()
        self._process.wait()

    def _say(self, what: Any) -> None:
        assert self._process.stdin
        try:
            pickle.dump(what, self._process.stdin, pickle.HIGHEST_PROTOCOL)
            if not isinstance(what, Batch):  # many of which go together
                self._process.stdin.flush()
        except (OSError, ValueError):
            raise self._gone() from None

    def _answer(self) -> Any:
        assert self._process.stdout
        try:
            found = pickle.load(self._process.stdout)
        except (OSError, ValueError, EOFError, pickle.UnpicklingError):
            raise self._gone() from None
        if isinstance(found, Exception):
            raise found
        return found

    def _gone(self) -> ProcessGone:
        with suppress(subprocess.TimeoutExpired):
            if (status := self._process.wait(1)) < 0:
                return ProcessGone(f"the process that makes the files was ended by {signal.Signals(-status).name}")
            return ProcessGone(f"the process that makes the files has ended with status {status}")
        return ProcessGone("the process that makes the files does not answer")


def main() -> None:
    """What the process does, until there is no more to be read."""
    for number in _NOT_ITS:
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):
        os.nice(_NICE)
    # Whatever prints must not come between the answers.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with suppress(BrokenPipeError, EOFError):
        _serve(sys.stdin.buffer, out)
    # An answer that nobody wants any more must not be written at the end, either.
    os._exit(0)


def _serve(asked: IO[bytes], out: IO[bytes]) -> None:
    """Answer what is asked, one after the other."""

    def answer(found: Any) -> None:
        pickle.dump(found, out, pickle.HIGHEST_PROTOCOL)
        out.flush()

    try:
        rows.arrow().set_cpu_count(1)
    except RecordError as error:
        answer(error)
        return
    answer(None)
    rows.arrow().array([""]).to_pylist()  # what is loaded with the first array
    held: dict[Key, list[Any]] = {}
    batches: list[Batch] = []
    while True:
        what = pickle.load(asked)
        if isinstance(what, Batch):
            batches.append(what)
        elif what is None:
            answer(_taken(batches, held))
            batches = []
        else:
            try:
                answer(pickle.PickleBuffer(rows.encode(held.pop(what))))
            except BrokenPipeError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever pyarrow raises, the next part is another one
                answer(ProcessError(f"{type(error).__name__}: {error}"))


def _taken(batches: list[Batch], held: dict[Key, list[Any]]) -> Taken:
    found = Taken([], [])
    by_width: dict[int, list[Batch]] = {}
    for batch in batches:
        by_width.setdefault(batch.verdicts.embedding.shape[1], []).append(batch)
    for width, alike in by_width.items():
        try:
            table = rows.table(alike)
        except Exception as error:  # noqa: BLE001 - whatever it is, those to come may be better
            found.failed.append((f"{type(error).__name__}: {error}", sum(map(len, alike))))
            continue
        hours = np.concatenate([batch.ts for batch in alike]) // HOUR
        for hour in np.unique(hours).tolist():
            of = table if (hours == hour).all() else table.filter(rows.arrow().array(hours == hour))
            held.setdefault((hour, width), []).append(of)
            found.parts.append(((hour, width), len(of)))
    return found
