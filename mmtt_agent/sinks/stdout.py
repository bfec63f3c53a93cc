"""Lines on standard output."""

from __future__ import annotations

import sys


class Stdout:
    """As :class:`.sink.Sink`; a reader that does not read is waited for, as by every program."""

    def __init__(self) -> None:
        self.dropped, self.problem = 0, ""
        sys.stdout.flush()  # what has been written as text comes before

    def write(self, lines: bytes) -> None:
        sys.stdout.buffer.write(lines)

    def flush(self) -> None:
        sys.stdout.buffer.flush()

    def reopen(self) -> None:
        pass

    def close(self) -> None:
        self.flush()
