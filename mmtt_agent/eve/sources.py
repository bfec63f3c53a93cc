"""Where lines come from: a file, one that is written to, a pipe, a Unix socket that others connect to.

None of them waits for what isn't there yet.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from ..sinks.places import LONGEST, SOCKETS
from .follow import Follower, Position
from .lines import Lines

if TYPE_CHECKING:
    from ..capture.packed import Unpacked

#: Bytes that are read at once.
CHUNK = 1 << 18
#: Of Suricata's connections, as one is closed and another made.
_BACKLOG = 16
#: What files begin with that are packed by gzip, zstd, lz4.
_PACKED = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18"


class SourceError(Exception):
    """What can't be read from; one line that names it and the remedy."""


class Source(Protocol):
    """What lines come from.

    Attributes:
        over: no more lines will come.
        stood: when it was last read there was nothing more.
        filenos: descriptors to wait on; None for a file, which has to be looked at again and again.
    """

    over: bool
    stood: bool

    @property
    def filenos(self) -> list[int] | None: ...

    def lines(self) -> list[bytes]:
        """What is there now, as :class:`.lines.Lines` has it: a part of it, so that others have their turn.

        Raises:
            OSError: it can't be read any more.
        """

    def close(self) -> None: ...


class Once:
    """A file, from its begin to its end, or whatever else can be read so.

    Args:
        file: is closed in the end.
        is_pipe: it may have nothing for a while.
        unpacked: what it holds, if it is packed.
        name: its, for :attr:`problem`.

    Attributes:
        problem: why it could not be read to its end; empty if it could, or has not been.
    """

    def __init__(self, file: BinaryIO, is_pipe: bool, unpacked: Unpacked | None = None, name: str = "") -> None:
        self.over = self.stood = False
        self.problem = ""
        self._unpacked, self._name = unpacked, name
        self.is_pipe = is_pipe
        self._file = file
        self._lines = Lines()

    @property
    def filenos(self) -> list[int] | None:
        return [self._file.fileno()]

    def lines(self) -> list[bytes]:
        if self.is_pipe and not select.select([self._file], [], [], 0)[0]:
            self.stood = True
            return []
        self.stood = False
        try:
            data = self._read()
        except BlockingIOError:  # who shares it has made it so, and has read it meanwhile
            self.stood = True
            return []
        if data:
            return self._lines.feed(data)
        self.over = True
        return self._lines.end(more=False)

    def _read(self) -> bytes:
        if self._unpacked is None:
            return os.read(self._file.fileno(), CHUNK)
        from ..capture.packed import PackedError

        try:
            return self._unpacked.read(CHUNK)
        except (EOFError, PackedError) as error:
            self.problem = f"{self._name}: damaged, and read as far as that goes: {str(error) or 'it ends early'}"
            return b""

    def close(self) -> None:
        self._file.close()


class Followed:
    """A file on and on."""

    def __init__(self, path: Path, position: Position | None, say: Callable[[str], None]) -> None:
        self.over = False
        self.stood = False
        self._follower = Follower(path, position, say)
        self._lines = Lines()

    @property
    def filenos(self) -> list[int] | None:
        return None

    def lines(self) -> list[bytes]:
        data, another = self._follower.read(CHUNK)
        self.stood = not data
        found = self._lines.end(more=True) if another else []
        return found + self._lines.feed(data) if data else found

    def position(self, passed: int) -> Position | None:
        """Where to go on when so many bytes of it are done with."""
        return self._follower.position(passed)

    def close(self) -> None:
        self._follower.close()


class Socket:
    """A Unix socket: of streams, several if need be, or of datagrams of a line each.

    Raises:
        SourceError: it can't be had.
    """

    def __init__(self, path: Path, datagrams: bool = False) -> None:
        self.over = False
        self.stood = False
        self._path, self._datagrams = path, datagrams
        self._open: dict[int, tuple[socket.socket, Lines]] = {}
        self._socket = _bound(path, socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM)
        self._made = os.stat(path).st_ino
        if not datagrams:
            self._socket.listen(_BACKLOG)

    @property
    def filenos(self) -> list[int] | None:
        return [self._socket.fileno(), *self._open]

    def lines(self) -> list[bytes]:
        if self._datagrams:
            return self._messages()
        with suppress(BlockingIOError):
            while True:
                connection, _ = self._socket.accept()
                connection.setblocking(False)
                self._open[connection.fileno()] = connection, Lines()
        found: list[bytes] = []
        self.stood = True
        # Nobody comes between the parts of a line that is too long to be held.
        inside = [number for number, (_, lines) in self._open.items() if lines.inside]
        for number in inside or [*self._open]:
            connection, lines = self._open[number]
            found += self._take(number, connection, lines)
            if lines.inside:
                break
        return found

    def _take(self, number: int, connection: socket.socket, lines: Lines) -> list[bytes]:
        """What there is of one: to its end, if that is near, so that what comes after it does come after it."""
        found: list[bytes] = []
        size = 0
        while size < CHUNK:
            try:
                data = connection.recv(CHUNK)
            except BlockingIOError:
                break
            except ConnectionError:
                data = b""
            self.stood = False
            if not data:
                found += lines.end(more=True)
                del self._open[number]
                connection.close()
                break
            size += len(data)
            found += lines.feed(data)
        return found

    def _messages(self) -> list[bytes]:
        found: list[bytes] = []
        size = 0
        self.stood = False
        while size < CHUNK:
            try:
                message = self._socket.recv(CHUNK * 4)
            except BlockingIOError:
                self.stood = True
                break
            size += len(message)
            lines = Lines()
            found += lines.feed(message if message.endswith(b"\n") else message + b"\n") if message else []
        return found

    def close(self) -> None:
        for connection, _ in self._open.values():
            connection.close()
        self._socket.close()
        with suppress(OSError):
            if os.stat(self._path).st_ino == self._made:
                self._path.unlink()


def source(
    where: str, follow: bool, position: Position | None, say: Callable[[str], None], may_lack: bool = False
) -> Source:
    """What lines come from for ``where``: ``-``, ``unix:PATH``, ``unix_dgram:PATH``, or a file's path.

    Args:
        follow: go on with a file as it is written to.
        position: of it, to go on at.
        may_lack: a file that is followed may lack its directory, too: whoever writes there has not begun.

    Raises:
        SourceError: it can't be read.
    """
    if where == "-":
        with suppress(OSError):
            return Once(os.fdopen(os.dup(0), "rb", buffering=0), not stat.S_ISREG(os.fstat(0).st_mode))
        raise SourceError("standard input: closed; pipe events in")
    kind, _, path = where.partition(":")
    if where.startswith(SOCKETS):
        if not path or len(os.fsencode(path)) > LONGEST:
            raise SourceError(f"{where}: no name that a socket can have; write unix:/run/mmtt/eve.sock")
        return Socket(Path(path), kind == "unix_dgram")
    named = Path(path if kind == "file" else where)
    try:
        mode = named.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
            raise SourceError(f"{named}: neither a file nor a pipe" + _remedy(mode, named))
        is_packed = stat.S_ISREG(mode) and _is_packed(named)
        if follow and stat.S_ISREG(mode):
            if is_packed:
                raise SourceError(f"{named}: packed, and can't be followed; leave out --follow")
            return Followed(named, position, say)
        if is_packed:
            return _packed(named)
        return Once(named.open("rb", buffering=0), stat.S_ISFIFO(mode))
    except FileNotFoundError:
        if follow and named.parent.is_dir():
            return Followed(named, position, say)  # it will be there
        if follow and may_lack:
            say(f"{named}: there is no directory {named.parent} yet; waits for it")
            return Followed(named, position, say)
        raise SourceError(f"{named}: No such file or directory") from None
    except OSError as error:
        raise SourceError(f"{named}: {error.strerror}") from None


def _is_packed(path: Path) -> bool:
    """
    Raises:
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        return file.read(4).startswith(_PACKED)


def _packed(path: Path) -> Once:
    """A packed file, unpacked.

    Raises:
        SourceError: there is nothing to unpack it by.
        OSError: it can't be read.
    """
    # With it comes numpy, which nothing else here needs.
    from ..capture.packed import GZIP_MAGIC, ZSTD_MAGIC, Unpacked, gzip_parts, lz4_parts, zstd_parts

    file = path.open("rb")
    magic = file.peek(4)[:4]
    try:
        parts = gzip_parts if magic.startswith(GZIP_MAGIC) else zstd_parts if magic == ZSTD_MAGIC else lz4_parts
        return Once(file, False, Unpacked(parts(file)), str(path))
    except ImportError:
        file.close()
        raise SourceError(
            f"{path}: packed with lz4, which is not installed; type: pip install 'mmtt[suricata]'"
        ) from None


def _remedy(mode: int, path: Path) -> str:
    return f"; for a socket that others connect to write unix:{path}" if stat.S_ISSOCK(mode) else ""


def _bound(path: Path, kind: socket.SocketKind) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, kind)
    made.setblocking(False)
    if kind is socket.SOCK_DGRAM:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, CHUNK * 16)
    try:
        try:
            made.bind(str(path))
        except OSError as error:
            if error.errno != errno.EADDRINUSE or _is_used(path, kind):
                raise
            path.unlink()  # left by one that was killed
            made.bind(str(path))
    except OSError as error:
        made.close()
        what = {
            errno.EADDRINUSE: "is in use by another program, or is no socket; stop that, or name another path",
            errno.ENOENT: f"there is no directory {path.parent}; make it",
        }
        raise SourceError(f"{path}: {what.get(error.errno or 0) or error.strerror}") from None
    return made


def _is_used(path: Path, kind: socket.SocketKind) -> bool:
    """Whether somebody listens there, or it is something else."""
    if not stat.S_ISSOCK(os.stat(path).st_mode):
        return True
    with socket.socket(socket.AF_UNIX, kind) as knock:
        try:
            knock.connect(str(path))
        except OSError as error:
            return error.errno != errno.ECONNREFUSED
    return True
