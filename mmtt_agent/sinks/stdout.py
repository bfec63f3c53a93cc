"""Lines on standard output."""

from __future__ import annotations

import io
import os
import select
import stat
import sys
import time

from .sink import StalledError

#: Bytes that a pipe takes without waiting if it takes any; and that are written at once.
_PIECE, _MOST = select.PIPE_BUF, 1 << 16
#: Milliseconds between two looks at whether there is still time.
_LOOK = 500


class Stdout:
    """As :class:`.sink.Sink`; a reader that does not read is waited for, as by every program: until :meth:`hurry`, if
    it reads from a pipe."""

    def __init__(self) -> None:
        self.dropped, self.problem = 0, ""
        sys.stdout.flush()  # what has been written as text comes before
        self._waiting = bytearray()
        self._until: float | None = None
        self._pipe = _pipe()
        self._poll = select.poll()
        if self._pipe is not None:
            self._poll.register(self._pipe, select.POLLOUT)

    def write(self, lines: bytes) -> None:
        """
        Raises:
            StalledError: the reader takes nothing, and is not waited for any more.
            OSError: there is none.
        """
        if self._pipe is None:
            sys.stdout.buffer.write(lines)
            return
        self._waiting += lines
        if len(self._waiting) >= _MOST:
            self.flush()

    def flush(self) -> None:
        """As :meth:`write`."""
        if self._pipe is None:
            sys.stdout.buffer.flush()
            return
        done = 0
        try:
            while done < len(self._waiting):
                if self._until is not None and time.monotonic() >= self._until:
                    raise StalledError("standard output: nobody has read it to its end", len(self._waiting) - done)
                if self._poll.poll(_LOOK):
                    done += self._pipe.write(self._waiting[done : done + _PIECE]) or 0
        finally:
            del self._waiting[:done]

    def hurry(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    def reopen(self) -> None:
        pass

    def close(self) -> None:
        self.flush()


def _pipe() -> io.RawIOBase | None:
    """Standard output without a buffer, if it is a pipe."""
    try:
        raw = getattr(sys.stdout.buffer, "raw", None)
        is_pipe = stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode)
        return raw if is_pipe and isinstance(raw, io.RawIOBase) else None
    except (OSError, ValueError):
        return None
