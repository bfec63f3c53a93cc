"""How far ``mmtt eve`` has come with a file, kept over a restart."""

from __future__ import annotations

import io
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from .. import whole
from .follow import Position

#: Bytes that are looked through at once.
_CHUNK = 1 << 20


class StateError(Exception):
    """A state that can't be used; one line that names the file and the remedy."""


@dataclass(frozen=True)
class Mark:
    """How long the file was that events went to, when a position was kept: what it holds more than that, after a
    program that was killed, are events that come after the position."""

    device: int
    inode: int
    size: int


@dataclass(frozen=True)
class State:
    """A position in the input, and the output's mark at that time, if that was a file."""

    position: Position | None = None
    mark: Mark | None = None


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """While the block under it runs, no other ``mmtt eve`` goes on from the same state.

    Raises:
        StateError: one does; or it can't be said.
    """
    lock = path.with_name(f".{path.name}.lock")
    try:
        handle = _locked(lock)
    except BlockingIOError:
        raise StateError(f"{path}: another mmtt eve keeps its state there; stop that, or name another file") from None
    except FileNotFoundError:
        raise StateError(f"{path}: there is no directory {path.parent}; make it") from None
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from None
    try:
        yield
    finally:
        with suppress(OSError):
            lock.unlink()
        os.close(handle)


def held(output: Path) -> int | None:
    """A lock on an output as it is now, until this is closed: no other ``mmtt eve`` that follows a file adds to it.
    None of what is no file, or not there.

    Raises:
        StateError: one does.
    """
    with suppress(OSError):
        if not stat.S_ISREG(output.stat().st_mode):
            return None
        handle = os.open(output, os.O_RDONLY | os.O_CLOEXEC)
        try:
            whole.hold(handle)
        except BlockingIOError:
            os.close(handle)
            raise StateError(
                f"{output}: another mmtt eve writes there; stop that, or name another file with -o"
            ) from None
        return handle
    return None


def _locked(lock: Path) -> int:
    while True:
        handle = whole.lock(lock)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.stat(lock), os.fstat(handle)):
                return handle
        os.close(handle)  # of one that has just ended, and removed it


def load(path: Path) -> State:
    """What was saved; nothing if nothing was.

    Raises:
        StateError: the file is something else.
    """
    try:
        fields = json.loads(path.read_bytes())
        position = None if fields["position"] is None else Position.read(fields["position"])
        mark = None if fields["output"] is None else Mark(**fields["output"])
        if mark and not all(type(each) is int for each in (mark.device, mark.inode, mark.size)):
            raise ValueError("not a mark")
        return State(position, mark)
    except FileNotFoundError:
        return State()
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise StateError(f"{path}: not a state of mmtt eve's; remove it to read the input from its begin") from None


def save(path: Path, state: State) -> None:
    """
    Raises:
        OSError: it can't be written.
    """
    fields = {
        "position": state.position._asdict() if state.position else None,
        "output": asdict(state.mark) if state.mark else None,
    }
    whole.write(path, json.dumps(fields).encode() + b"\n")


def marked(output: Path | None) -> Mark | None:
    """The mark of an output as it is now; None of one that is no file."""
    if output is not None:
        with suppress(OSError):
            about = output.stat()
            if stat.S_ISREG(about.st_mode):
                return Mark(about.st_dev, about.st_ino, about.st_size)
    return None


def beyond(mark: Mark | None, output: Path) -> int:
    """How many lines the output has beyond the mark: events that have passed already. Half a line there goes.

    Raises:
        OSError: it can't be read, or cut.
    """
    if mark is None:
        return 0
    try:
        about = output.stat()
    except FileNotFoundError:
        return 0
    if (about.st_dev, about.st_ino) != (mark.device, mark.inode) or about.st_size <= mark.size:
        return 0
    lines, end = 0, mark.size
    with output.open("rb") as file:
        file.seek(mark.size)
        at = mark.size
        while chunk := file.read(_CHUNK):
            lines += chunk.count(b"\n")
            if (last := chunk.rfind(b"\n")) >= 0:
                end = at + last + 1
            at += len(chunk)
        file.seek(0, io.SEEK_END)
        if end < file.tell():
            os.truncate(output, end)
    return lines
