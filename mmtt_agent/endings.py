"""Ends that clean up: a signal that would end the program first lets go of what it holds."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: Signals that end a program where it says nothing else. Ctrl-C has an exception of its own.
_ENDING = (
    signal.SIGHUP,
    signal.SIGTERM,
    signal.SIGQUIT,
    signal.SIGALRM,
    signal.SIGVTALRM,
    signal.SIGPROF,
    signal.SIGXCPU,
    signal.SIGIO,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


class Ended(SystemExit):
    """The end by a signal, on its way out."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number


@contextmanager
def cleaned_up() -> Iterator[None]:
    """Within it an ending signal raises, so that every ``with`` and ``finally`` inside runs; then it ends the program.

    A second one meanwhile changes nothing (`timeout` sends two), but for SIGINT and SIGKILL. What ignores a signal
    (``nohup``), or has said what is to come of it, is left as it is. Does nothing outside of the main thread.
    """
    process = os.getpid()
    taken: list[signal.Signals] = []

    def end(number: int, _: FrameType | None) -> None:
        if os.getpid() != process:
            # A child that was forked inside holds nothing of its parent's.
            end_by(number)
        for each in taken:
            signal.signal(each, lambda *_: None)
        raise Ended(number)

    if threading.current_thread() is threading.main_thread():
        for each in _ENDING:
            if signal.getsignal(each) is signal.SIG_DFL:
                signal.signal(each, end)
                taken.append(each)
    try:
        yield
    except Ended as ended:
        end_by(ended.number)
    finally:
        for each in taken:
            signal.signal(each, signal.SIG_DFL)


def end_by(number: int) -> None:
    """End the process as the signal would have, had it not been caught."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
