"""A process that makes others, by forking. It is made itself before there are threads, once privileges are gone, with
all loaded that workers need: where mmtt is installed they may not be allowed to read.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Generic, TypeVar

Task = TypeVar("Task")
Given = TypeVar("Given")


class NurseryError(Exception):
    """No process can be made any more."""


class Nursery(Generic[Task, Given]):
    """
    Args:
        work: what a process does with its task, what it was given, and the pipe to whoever asked for it.
        given: by name, things to be given to one process each.
        close: lets go of what was given to others.
    """

    def __init__(
        self,
        work: Callable[[Task, Given, Connection], None],
        given: Mapping[str, list[Given]],
        close: Callable[[Given], None],
    ) -> None:
        ours, theirs = socket.socketpair()
        self._process = os.fork()
        if self._process == 0:
            # Nothing of what the parent is in the middle of goes on here.
            try:
                ours.close()
                _tend(theirs, work, {name: [*each] for name, each in given.items()}, close)
            except Exception as error:  # noqa: BLE001 - nobody else would ever know
                os.write(2, f"mmtt sniff: no more workers can be made: {type(error).__name__}: {error}\n".encode())
            finally:
                os._exit(0)
        theirs.close()
        for each in given.values():
            for one in each:
                close(one)
        self._socket = ours
        self._pipe = Connection(os.dup(ours.fileno()))

    def make(self, name: str, task: Task) -> tuple[int, Connection]:
        """A process with one of the things of this name; its number, and the pipe to it.

        Raises:
            NurseryError: there can be none.
        """
        try:
            self._pipe.send((name, task))
            number, handles, _, _ = socket.recv_fds(self._socket, 8, 1)
        except OSError as error:
            raise NurseryError(f"no process can be made: {error.strerror or error}") from None
        if not handles:
            raise NurseryError("no process can be made: there is no memory for it, or too many run")
        return int.from_bytes(number, "big"), Connection(handles[0])

    def close(self) -> None:
        """Make no more: the process ends."""
        self._pipe.close()
        self._socket.close()
        with suppress(ChildProcessError):
            os.waitpid(self._process, 0)


def _tend(
    asked: socket.socket,
    work: Callable[[Task, Given, Connection], None],
    given: dict[str, list[Given]],
    close: Callable[[Given], None],
) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    pipe = Connection(os.dup(asked.fileno()))
    while True:
        try:
            name, task = pipe.recv()
        except (EOFError, OSError):
            _wait(0)
            return
        _wait(os.WNOHANG)
        ours, theirs = socket.socketpair()
        own = given[name].pop()
        try:
            process = os.fork()
        except OSError:
            asked.send(b"\0")
            return
        if process == 0:
            try:
                _close(ours, asked, pipe)
                for each in given.values():
                    for other in each:
                        close(other)
                work(task, own, Connection(theirs.detach()))
            finally:
                os._exit(0)
        close(own)
        socket.send_fds(asked, [process.to_bytes(8, "big")], [ours.fileno()])
        _close(ours, theirs)


def _wait(how: int) -> None:
    """Let go of processes that have ended: of their ends whoever asked for them knows by the pipes."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, how)[0]:
            pass


def _close(*each: socket.socket | Connection) -> None:
    for one in each:
        one.close()
