"""The file of what nobody wants to hear of again: Zeek reads it (``MMTT::muted_file``) whenever it changes."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import NamedTuple

from .. import whole
from ..classify.log import string
from ..logs import unescaped
from ..output import utc

#: Where Zeek looks for it, too.
FILE = Path("/var/lib/mmtt/muted.tsv")
#: Of a file that is new, whatever the umask.
_MODE = 0o644
_REMEDY = "; say what: an incident, or --orig, --resp, --port or --kind"
_COLUMNS = ("orig", "resp", "resp_p", "kind", "until", "note")
_PORT = re.compile(r"(\d{1,5})/(tcp|udp)", re.ASCII)
_KIND = re.compile(r"[!-~]{1,64}")
_UNTIL = re.compile(r"\d{1,11}(\.\d{1,6})?", re.ASCII)


class MuteError(Exception):
    """A line that can't be, or a file that can't be read; one line."""


class Mute(NamedTuple):
    """A line of the file; None stands for any.

    Attributes:
        orig, resp: an address or a network.
        resp_p: such as "443/tcp".
        until: seconds since 1970; None for always.
    """

    orig: str | None = None
    resp: str | None = None
    resp_p: str | None = None
    kind: str | None = None
    until: float | None = None
    note: str | None = None

    @property
    def what(self) -> tuple[str | None, ...]:
        """What it mutes, for how long ever and why ever."""
        return self[:4]

    @property
    def is_over(self) -> bool:
        return self.until is not None and self.until <= time.time()

    def __str__(self) -> str:
        hosts = f"{self.orig or 'any host'} → {self.resp or 'any host'}"
        port = f" {self.resp_p}" if self.resp_p else ""
        kind = f", {self.kind.replace('_', ' ')}" if self.kind else ""
        until = "" if self.until is None else f", until {utc(self.until, '%Y-%m-%d %H:%M')} UTC"
        return f"{hosts}{port}{kind}{until}"


def checked(mute: Mute) -> Mute:
    """As Zeek reads it.

    Raises:
        MuteError: it would mute nothing, or everything.
    """
    if not any(mute.what):
        raise MuteError(f"that would mute everything{_REMEDY}")
    orig, resp = (
        text if text is None else _network(name, text) for name, text in (("orig", mute.orig), ("resp", mute.resp))
    )
    port = mute.resp_p and _PORT.fullmatch(mute.resp_p)
    if mute.resp_p is not None and (not port or int(port[1]) > 65_535):
        raise MuteError(f"port can't be {mute.resp_p!r}; it is one such as 443/tcp or 53/udp")
    kind = mute.kind and mute.kind.replace(" ", "_")
    if kind is not None and not _KIND.fullmatch(kind):
        raise MuteError(f"kind can't be {kind!r}; it is one such as scan")
    if mute.note is not None and not mute.note.isprintable():
        raise MuteError("a note is one line of text")
    return mute._replace(orig=orig, resp=resp, kind=kind, note=mute.note or None)


def allowed(mute: Mute) -> Mute:
    """As :func:`checked`, and what a line that is new should not say, though Zeek would read it.

    Raises:
        MuteError: it would mute nothing, or everything, or for longer than the file can say.
    """
    mute = checked(mute)
    networks = [ip_network(text) for text in (mute.orig, mute.resp) if text]
    if not mute.resp_p and not mute.kind and all(not network.prefixlen for network in networks):
        raise MuteError(f"that would mute everything{_REMEDY}")
    if mute.resp_p and not int(mute.resp_p.partition("/")[0]):
        raise MuteError(f"port can't be {mute.resp_p!r}: nobody answers there; it is one such as 443/tcp or 53/udp")
    if mute.until is not None and not _UNTIL.fullmatch(f"{mute.until:.0f}"):
        raise MuteError("that is longer than the file can say; without --for it is for ever")
    return mute


def _network(name: str, text: str) -> str:
    if "%" in text:
        raise MuteError(f"{name} can't be {text!r}; Zeek knows no scopes: leave out what begins with %")
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise MuteError(f"{name} can't be {text!r}; it is an address or a network such as 10.0.0.0/8") from None
    return str(network.network_address) if network.num_addresses == 1 else str(network)


class Content:
    """What is in the file. Comments, other columns and lines that can't be read stay as they are when it is changed.

    Attributes:
        problems: a line for each that can't be read: which, and why.
    """

    def __init__(self, path: Path, text: str = "") -> None:
        self._path = path
        self._texts = text.removesuffix("\n").split("\n") if text else []
        self._columns: Sequence[str] = ()
        self._found: dict[int, Mute] = {}
        self.problems: list[str] = []
        for at, raw in enumerate(self._texts):
            line = raw.removesuffix("\r")
            if line.startswith("#fields\t"):
                self._columns = line.split("\t")[1:]
            elif line and not line.startswith("#"):
                try:
                    self._found[at] = _parsed(self._columns, line)
                except MuteError as error:
                    self.problems.append(f"{path}:{at + 1}: {error}; correct the line")

    @property
    def mutes(self) -> list[Mute]:
        """Those that can be read, in order."""
        return [*self._found.values()]

    @property
    def text(self) -> str:
        return "".join(f"{line}\n" for line in self._texts)

    def add(self, mute: Mute) -> None:
        """
        Raises:
            MuteError: its lines have other columns than the file's head says, or none.
        """
        if not self._columns and not self._found and not self.problems:
            self._columns = _COLUMNS
            self._texts.append("\t".join(("#fields", *_COLUMNS)))
        self._texts.append(self._line(mute))
        self._found[len(self._texts) - 1] = mute

    def replace(self, number: int, mute: Mute) -> None:
        """``number``: from 0, of :attr:`mutes`."""
        at = [*self._found][number]
        self._texts[at] = self._line(mute, self._texts[at])
        self._found[at] = mute

    def remove(self, numbers: Collection[int]) -> None:
        """``numbers``: from 0, of :attr:`mutes`."""
        gone = {at for number, at in enumerate(self._found) if number in numbers}
        left = [at for at in range(len(self._texts)) if at not in gone]
        self._found = {new: self._found[at] for new, at in enumerate(left) if at in self._found}
        self._texts = [self._texts[at] for at in left]

    def _line(self, mute: Mute, old: str = "") -> str:
        """``old``: has what columns other than ours say."""
        if {*_COLUMNS} - {*self._columns}:
            raise MuteError(f"{self._path}: #fields should say {', '.join(_COLUMNS)}; correct it")
        until = None if mute.until is None else f"{mute.until:.0f}"
        note = None if mute.note is None else string(mute.note)
        values: dict[str, str | None] = dict(zip(self._columns, old.removesuffix("\r").split("\t"), strict=False))
        values.update(zip(_COLUMNS, (*mute.what, until, note), strict=True))
        return "\t".join(values.get(name) or "-" for name in self._columns)


def read(path: Path) -> Content:
    """What is in the file; nothing where there is no file.

    Raises:
        MuteError: it is no file.
        OSError: it can't be read.
    """
    _there(path)
    try:
        # Zeek's lines end with \n alone.
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            return Content(path, file.read())
    except FileNotFoundError:
        return Content(path)


def _parsed(columns: Sequence[str], line: str) -> Mute:
    values = line.split("\t")
    if len(values) != len(columns) or {*_COLUMNS} - {*columns}:
        raise MuteError(f"{len(values)} columns, where #fields should have said {', '.join(_COLUMNS)}")
    texts = {name: value for name, value in zip(columns, values, strict=True) if name in _COLUMNS and value != "-"}
    until = texts.pop("until", None)
    if until is not None and not _UNTIL.fullmatch(until):
        raise MuteError(f"until can't be {until!r}; it is a time in seconds since 1970")
    if "note" in texts:
        try:
            texts["note"] = unescaped(texts["note"])
        except UnicodeError:
            raise MuteError("its note is not UTF-8") from None
    return checked(Mute(**texts, until=None if until is None else float(until)))


def write(path: Path, content: Content) -> None:
    """Put this in the place of the file's. Zeek sees the old or the new, never half of it; whoever may read the old may
    read the new: Zeek may run as another user.

    Raises:
        MuteError: it is no file, or another user's.
        OSError: it can't be written.
    """
    old = _there(path)
    with whole.written(path, mode=_MODE if old is None else stat.S_IMODE(old.st_mode)) as out:
        if old is not None:
            new = os.fstat(out.fileno())
            if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
                try:
                    os.fchown(out.fileno(), old.st_uid, old.st_gid)
                except PermissionError:
                    raise MuteError(f"{path}: it is another user's; only they and root can change it") from None
        # As bytes: a line that can't be read may not be UTF-8.
        out.buffer.write(content.text.encode("utf-8", "surrogateescape"))


def _there(path: Path) -> os.stat_result | None:
    """Of the file, if it is there.

    Raises:
        MuteError: it is something else, such as a device, which must be neither read nor replaced.
    """
    try:
        about = path.stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(about.st_mode):
        raise MuteError(f"{path}: not a regular file; name one, or one that is not there yet")
    return about


@contextmanager
def changing(path: Path) -> Iterator[Path]:
    """While the block under it runs, nobody else changes the file, if they ask in the same way. The directory of
    :data:`FILE` is made if need be; where ``path`` is a link, what it leads to is the file.

    Raises:
        MuteError: it is no file, or its directory is not there.
        OSError: its directory can't be made or opened.
    """
    is_usual = path == FILE
    try:
        path = path.resolve()
    except RuntimeError:  # before Python 3.13
        raise MuteError(f"{path}: a link that leads to itself") from None
    _there(path)
    if not path.parent.exists():
        # Elsewhere it is more likely a slip, and Zeek would never look there.
        if not is_usual:
            raise MuteError(f"{path.parent}: there is no such directory; make it first: mkdir -p {path.parent}")
        path.parent.mkdir(parents=True)
        path.parent.chmod(0o755)  # whatever the umask: Zeek may run as another user
    with whole.alone(path.parent):
        yield path
