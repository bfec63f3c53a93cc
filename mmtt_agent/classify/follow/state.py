"""What has been taken of a directory, and how far the logs were written then: a file that is written whole after each
capture, so that whoever goes on, after whatever end, takes none twice and leaves none out."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ... import whole
from .files import Seen, unpacked

#: What it is called beside the logs.
NAME = "mmtt_follow.json"
_VERSION = 1
#: Captures that are remembered though they are no longer there, so that none that comes back is taken again.
_KEPT = 2000
#: Bytes at a capture's begin that it is known by when it has grown.
_HEAD = 4096
#: µs of a sequence, and captures at most, that are read again to go on with the connections in them.
_REPLAYED, _MOST = 600_000_000, 100
#: Nanoseconds between the times of a capture and of what packs it: some programs keep whole seconds.
_SAME_TIME = 2_000_000_000


class StateError(Exception):
    """It can't be used; one line that names the file and the remedy."""


@dataclass(frozen=True, slots=True)
class Place:
    """How far a log was written.

    Attributes:
        inode: of the file, which may have another name by now.
        size: bytes of it.
        tail: a digest of the last of them, by which it is known.
        form: what its lines are.
    """

    inode: int
    size: int
    tail: str
    form: str


@dataclass(frozen=True, slots=True)
class _Taken:
    seen: Seen
    head: str


@dataclass
class State:
    """
    Attributes:
        directory: the captures'.
        places: by log.
        streams: by sequence, the captures that connections which go on may have begun in, in order, each with the time
            of the latest packet up to its end, in µs since 1970.
        counts: captures that were "taken", "damaged", "unreadable", "gone" or had "grown".
    """

    path: Path | None
    directory: Path
    places: dict[str, Place] = field(default_factory=dict)
    streams: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._by_name: dict[str, _Taken] = {}
        self._as_they_are: set[tuple[int, int, int]] = set()
        self._by_content: dict[str, Seen] = {}

    def is_done(self, seen: Seen) -> bool:
        """Whether it is one that has been taken, though touched, moved or packed since, or copied with its times."""
        if seen.as_it_is in self._as_they_are:
            return True
        if self._is_as_it_was(seen.name, seen.size, seen.mtime_ns):
            self._as_they_are.add(seen.as_it_is)
            return True
        other = self._by_content.get(unpacked(seen.name))
        return other is not None and other.name != seen.name and abs(other.mtime_ns - seen.mtime_ns) < _SAME_TIME

    def _is_as_it_was(self, name: str, size: int, mtime_ns: int) -> bool:
        """Whether the capture of that name, which is of so many bytes, is the one that was taken."""
        taken = self._by_name.get(name)
        return taken is not None and (
            taken.seen.size == size
            and (taken.seen.mtime_ns == mtime_ns or _head(self.directory / name, size) == taken.head)
        )

    def has_grown(self, seen: Seen) -> int:
        """By how many bytes a capture has grown since it was taken; 0 if it is another."""
        taken = self._by_name.get(seen.name)
        if taken is None or not 0 < taken.seen.size < seen.size:
            return 0
        same = _head(self.directory / seen.name, taken.seen.size) == taken.head
        return seen.size - taken.seen.size if same else 0

    def add(self, seen: Seen, result: str) -> None:
        """``result``: what it counts as."""
        self.counts[result] = self.counts.get(result, 0) + 1
        self._remember(_Taken(seen, _head(self.directory / seen.name, seen.size)))

    def goes_on(self, of: str, name: str, latest: int) -> None:
        """A capture's connections may go on in the next of its sequence; ``latest``: the time of its latest packet."""
        captures = [*self.streams.get(of, ()), (name, latest)]
        self.streams[of] = [each for each in captures[-_MOST:] if each[1] >= latest - _REPLAYED]

    def written(self, of: str) -> float:
        """When the last capture of a sequence that goes on was written to, in seconds since 1970."""
        name = self.streams[of][-1][0]
        try:
            return (self.directory / name).stat().st_mtime
        except OSError:
            taken = self._by_name.get(name)
            return taken.seen.mtime_ns / 1e9 if taken else 0.0

    def again(self, of: str) -> tuple[list[Path], list[str]]:
        """The captures that a sequence's connections may have begun in, as far as they are still there, in order; and
        the names of the others."""
        found: list[Path] = []
        lost: list[str] = []
        for name, _ in self.streams[of]:
            path = self.directory / name
            with suppress(OSError):
                about = path.stat()
                if self._is_as_it_was(name, about.st_size, about.st_mtime_ns):
                    found.append(path)
                    continue
            packed = [
                each for each in (Path(f"{path}{ending}") for ending in (".gz", ".zst", ".lz4")) if each.is_file()
            ]
            if packed:
                found.append(packed[0])
            else:
                lost.append(name)
        return found, lost

    def _remember(self, taken: _Taken) -> None:
        self._by_name.pop(taken.seen.name, None)  # the latest last
        self._by_name[taken.seen.name] = taken
        self._as_they_are.add(taken.seen.as_it_is)
        self._by_content[unpacked(taken.seen.name)] = taken.seen

    def forget(self, names: Collection[str]) -> None:
        """Of those that are no longer there, ``names`` being what is, keep the latest."""
        left = [name for name in self._by_name if name not in names]
        for name in left[:-_KEPT]:
            seen = self._by_name.pop(name).seen
            self._as_they_are.discard(seen.as_it_is)
            self._by_content.pop(unpacked(name), None)

    def write(self) -> None:
        """
        Raises:
            OSError: it can't be written.
        """
        if self.path is None:
            return
        content = {
            "version": _VERSION,
            "directory": str(self.directory),
            "counts": self.counts,
            "streams": self.streams,
            "logs": {name: asdict(place) for name, place in self.places.items()},
            "files": [[each.seen.name, *each.seen.as_it_is, each.head] for each in self._by_name.values()],
        }
        with whole.written(self.path) as out:
            json.dump(content, out, separators=(",", ":"))
            out.write("\n")

    @classmethod
    def read(cls, path: Path | None, directory: Path) -> State:
        """
        Args:
            path: None where nothing is to be remembered.
            directory: the captures', in full.

        Raises:
            StateError: it can't be read, or is another directory's.
        """
        state = cls(path, directory)
        if path is None:
            return state
        try:
            content = json.loads(path.read_bytes())
        except FileNotFoundError:
            return state
        except OSError as error:
            raise StateError(f"{path}: {error.strerror or error}") from None
        except (ValueError, RecursionError):
            raise StateError(
                f"{path}: damaged; remove it to take all captures anew, and what was written of them"
            ) from None
        try:
            state._fill(content)
        except (TypeError, ValueError, KeyError, AttributeError):
            raise StateError(
                f"{path}: not what `mmtt classify --follow` of this version writes; name another file"
            ) from None
        if content["directory"] != str(directory):
            raise StateError(f"{path}: of captures in {content['directory']}; name another -o DIR or --state FILE")
        return state

    def _fill(self, content: Any) -> None:
        if content["version"] != _VERSION:
            raise ValueError("another version")
        self.counts = {str(name): int(number) for name, number in content["counts"].items()}
        self.places = {
            str(name): Place(int(of["inode"]), int(of["size"]), str(of["tail"]), str(of["form"]))
            for name, of in content["logs"].items()
        }
        self.streams = {
            str(of): [(str(name), int(latest)) for name, latest in captures]
            for of, captures in content["streams"].items()
        }
        for name, inode, size, mtime_ns, head in content["files"]:
            self._remember(_Taken(Seen(str(name), int(inode), int(size), int(mtime_ns)), str(head)))


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """While the block under it runs, nobody else goes on from the same state.

    Raises:
        StateError: somebody does.
        OSError: it can't be said.
    """
    try:
        handle = whole.lock(path.with_name(f".{path.name}.lock"))
    except BlockingIOError:
        raise StateError(f"{path}: another mmtt classify --follow uses it; stop that, or name another") from None
    try:
        yield
    finally:
        os.close(handle)


def _head(path: Path, size: int) -> str:
    """A digest of what a file begins with, were it of so many bytes; empty where it can't be read."""
    try:
        with path.open("rb") as file:
            return hashlib.blake2b(file.read(min(_HEAD, size)), digest_size=16).hexdigest()
    except OSError:
        return ""
