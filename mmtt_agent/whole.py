"""A file that is there complete or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TextIO

#: Seconds after which a part that nobody writes is one that a killed run has left.
_LEFT = 60


@contextmanager
def written(path: Path, mode: int | None = None) -> Iterator[TextIO]:
    """A text file (UTF-8) that appears at ``path`` when the block under it has ended, in the place of one there.

    If the block fails nothing has changed; use it within :func:`.endings.cleaned_up`, and a signal makes no difference.
    A part that was left by a run that could not clean up (SIGKILL) goes when the same file is written again.

    Args:
        mode: who may read and write it; None: as the umask has it.

    Raises:
        OSError: it can't be written; ``filename`` is ``path``.
    """
    with written_together(path, mode=mode) as (out,):
        yield out


@contextmanager
def written_together(*paths: Path, mode: int | None = None) -> Iterator[list[TextIO]]:
    """As :func:`written`, several: all of them appear, or none. A write that fails may be told of another of them."""
    with ExitStack() as parts:
        opened = [parts.enter_context(_part(path)) for path in paths]
        yield [out for out, _ in opened]
        for path, (out, _) in zip(paths, opened, strict=True):
            with _named(path):
                _finish(out, mode)
        for path, (_, part) in zip(paths, opened, strict=True):
            with _named(path):
                os.replace(part, path)


def write(path: Path, content: bytes | memoryview) -> None:
    """A file of these bytes, as :func:`written`."""
    with _part(path, text=False) as (out, part), _named(path):
        out.write(content)
        _finish(out, None)
        os.replace(part, path)


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """While the block under it runs, nobody else changes what is in ``directory``, if they ask in the same way.

    Raises:
        OSError: it can't be opened.
    """
    handle = os.open(directory, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def lock(path: Path) -> int:
    """A descriptor of the file, made if need be, that holds it alone until it is closed, or the program ends.

    Raises:
        BlockingIOError: another holds it.
        OSError: it can't be opened.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        hold(handle)
    except BlockingIOError:
        os.close(handle)
        raise
    return handle


def hold(handle: int) -> None:
    """Hold an open file alone until it is closed; one on a file system without locks is not held.

    Raises:
        BlockingIOError: another holds it.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        pass


@contextmanager
def _part(path: Path, text: bool = True) -> Iterator[tuple[Any, str]]:
    """What is written, and its name until it is complete; if it is still called so in the end it is removed."""
    with _named(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        sweep(path.parent, path.name)
        handle, part = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(handle, "w" if text else "wb", encoding="utf-8" if text else None) as out:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(out, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield out, part
    except OSError as error:
        # A write does not say of what it was.
        error.filename = error.filename or str(path)
        raise
    finally:
        with suppress(OSError):
            os.unlink(part)


def _finish(out: IO[Any], mode: int | None) -> None:
    out.flush()
    # A disk that is full may not say so before; and what is complete is so after a power cut, too.
    os.fsync(out.fileno())
    if mode is None:
        # mkstemp makes files that only their owner may read; this one is as readable as any other.
        umask = os.umask(0)
        os.umask(umask)
        mode = 0o666 & ~umask
    os.fchmod(out.fileno(), mode)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """What goes wrong is about ``path``, whatever the part is called."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise


def sweep(directory: Path, name: str = "*") -> None:
    """Remove the parts that nobody writes any more of the file called so, or of all; as far as the directory may be
    read."""
    names: list[str] = []
    with suppress(OSError):
        names = os.listdir(directory)
    for each in names:
        of, _, letters = each.rpartition(".")
        if len(letters) != 8 or not of.startswith(".") or name not in ("*", of[1:]):  # mkstemp's letters
            continue
        part = directory / each
        with suppress(OSError):
            about = part.lstat()
            # One that is just being made may not be locked yet.
            if stat.S_ISREG(about.st_mode) and time.time() - about.st_mtime > _LEFT:
                with part.open("rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    part.unlink()
