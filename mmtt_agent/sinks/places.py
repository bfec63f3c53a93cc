"""Where lines go, by what a command line or a setting calls it."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from .file import File
from .receiver import PATIENCE
from .redis import MODES, Redis, Server
from .sink import PlaceError, Sink, SinkError
from .stdout import Stdout
from .unix import Datagram, Stream, forbidden

#: What a place can be called, for help and messages.
FORMS = "-, PATH, unix:PATH, unix_dgram:PATH or redis://HOST:PORT/KEY?mode=list"

#: What the places that are Unix sockets begin with.
SOCKETS = ("unix:", "unix_stream:", "unix_dgram:")
#: The name of a Unix socket has room for so many bytes.
LONGEST = 107
_REDIS_PORT = 6379


def open_sink(where: str, patience: float = PATIENCE) -> Sink:
    """What takes lines for ``where``.

    ``-`` is standard output. ``PATH``, or ``file:PATH``, is a file that is added to. ``unix:PATH`` and
    ``unix_dgram:PATH`` are sockets that somebody listens on, now or later. ``redis://USER:PASSWORD@HOST:PORT/KEY``, or
    ``rediss://`` for TLS, may have ``?mode=``: ``list`` (``lpush``), ``rpush``, ``channel`` (``publish``) or ``stream``
    (``xadd``); and ``db=``, a number.

    Args:
        patience: seconds that a receiver is waited for that takes nothing.

    Raises:
        PlaceError: there is no such place.
        SinkError: nothing can be written to it.
    """
    if where == "-":
        return Stdout()
    if where.startswith(("redis://", "rediss://")):
        return Redis(_server(where), patience)
    kind, _, path = where.partition(":")
    if where.startswith(SOCKETS):
        return (Datagram if kind == "unix_dgram" else Stream)(_socket(path, where), patience)
    if "://" in where:
        raise PlaceError(f"{kind}://: no place that lines can go to; there are {FORMS}")
    path = path if kind == "file" else where
    if not path:
        raise PlaceError(f"'{where}': names no file; there are {FORMS}")
    try:
        return File(Path(path))
    except OSError as error:
        remedy = "; name a file in it" if error.errno == errno.EISDIR else ""
        raise SinkError(f"{path}: {error.strerror}{remedy}") from None


def _socket(path: str, where: str) -> Path:
    if not path:
        raise PlaceError(f"{where}: names no socket; write unix:/run/eve.sock, or what it is called")
    if len(os.fsencode(path)) > LONGEST:
        raise PlaceError(f"{path}: too long for a socket, which has {LONGEST} bytes for its name; use a shorter one")
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise PlaceError(f"{path}: not a socket; write file:{path} for a file")
    except OSError:
        pass  # it isn't there yet, and will be waited for
    if why := forbidden(Path(path)):
        raise SinkError(f"{path}: {why}")
    return Path(path)


def _server(where: str) -> Server:
    try:
        return _parsed(urlsplit(where))
    except ValueError as error:
        # Not the whole of it: there may be a password in it.
        raise PlaceError(f"{where.partition(':')[0]}://...: {error}") from None


def _parsed(url: SplitResult) -> Server:
    """
    Raises:
        ValueError: what is wrong with it.
    """
    if not url.hostname:
        raise ValueError("names no host; write redis://HOST:PORT/KEY")
    try:
        port = url.port or _REDIS_PORT
    except ValueError:
        raise ValueError("its port is no number up to 65535; in a password write %2F for / and %40 for @") from None
    key = unquote(url.path.removeprefix("/"))
    if not key:
        raise ValueError(f"names no key; write redis://{url.hostname}:{port}/KEY")
    options = {name: values[-1] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
    mode, database = options.pop("mode", "list"), options.pop("db", "0")
    if options:
        raise ValueError(f"no such option: {', '.join(options)}; there are mode and db")
    if mode not in MODES:
        raise ValueError(f"mode can't be {mode!r}; it is one of {', '.join(MODES)}")
    if not database.isascii() or not database.isdigit():
        raise ValueError(f"db can't be {database!r}; it is a number")
    return Server(
        url.hostname,
        port,
        key,
        mode,
        None if url.username is None else unquote(url.username) or None,
        None if url.password is None else unquote(url.password),
        int(database),
        url.scheme == "rediss",
    )
