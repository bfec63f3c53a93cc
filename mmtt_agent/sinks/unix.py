"""Lines into a Unix socket that somebody listens on, as Suricata's ``unix_stream`` and ``unix_dgram``."""

from __future__ import annotations

import errno
import os
import pwd
import socket
import time
from collections import deque
from pathlib import Path

from .receiver import Away, Receiver

# Seconds between two looks at whether there is still time.
_LOOK = 0.2
# Seconds until the next try where the machine lacks room for a message.
_ROOM = 0.01


class _Unix(Receiver):
    _kind: socket.SocketKind

    def __init__(self, path: Path, patience: float) -> None:
        super().__init__(str(path), patience)
        self._path = path
        self._socket: socket.socket | None = None

    def _connect(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, self._kind)
        self._socket.settimeout(_LOOK)
        try:
            self._socket.connect(str(self._path))
        except OSError as error:
            raise Away(_why(error)) from None

    def _disconnect(self) -> None:
        if self._socket:
            self._socket.close()
        self._socket = None

    def _send(self, data: bytes | memoryview) -> int:
        """How many bytes of it are gone.

        Raises:
            Away: the listener is gone.
            OSError: EMSGSIZE: they are too many for a message.
        """
        assert self._socket
        while True:
            try:
                sent = self._socket.send(data, socket.MSG_NOSIGNAL)
            except TimeoutError:
                self._stalled()
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    time.sleep(_ROOM)
                    self._stalled()
                elif error.errno == errno.EMSGSIZE:
                    raise
                else:
                    raise Away(_why(error)) from None
            else:
                self._progress()
                return sent


class Stream(_Unix):
    """A stream. A line that was cut off with the connection is sent again in whole on the next."""

    _kind = socket.SOCK_STREAM

    def _hand_over(self, lines: deque[bytes]) -> None:
        while lines:
            block, sent = memoryview(lines[0]), 0
            try:
                while sent < len(block):
                    sent += self._send(block[sent:])
            except Away:
                lines[0] = lines[0][lines[0].rfind(b"\n", 0, sent) + 1 :]
                raise
            lines.popleft()


class Datagram(_Unix):
    """A message a line."""

    _kind = socket.SOCK_DGRAM

    def _hand_over(self, lines: deque[bytes]) -> None:
        while lines:
            block, begin = lines[0], 0
            try:
                while begin < len(block):
                    end = block.index(b"\n", begin) + 1
                    try:
                        self._send(block[begin:end])
                    except OSError as error:
                        self._lost(1, f"a line of {end - begin:,} bytes: {error.strerror}")
                    begin = end
            except Away:
                lines[0] = block[begin:]
                raise
            lines.popleft()


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def forbidden(path: Path) -> str:
    """Why this process may not connect to a socket that is there already; empty where it may, or there is none."""
    try:
        os.stat(path)
        may = os.access(path, os.W_OK, effective_ids=True)
    except OSError as error:
        may = error.errno != errno.EACCES  # of a directory on the way to it
    return "" if may else _why(PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


def _why(error: OSError) -> str:
    if error.errno == errno.EACCES:
        return (
            f"the user {_user()} may not connect to it; run this as another (mmtt sniff: --user), or have its "
            "listener let that one in (by its umask or group)"
        )
    if error.errno in (errno.ENOENT, errno.ECONNREFUSED):
        return "nobody listens there"
    if error.errno == errno.EPROTOTYPE:
        return "a socket of the other kind: unix: is for streams, unix_dgram: for datagrams"
    return error.strerror or str(error)
