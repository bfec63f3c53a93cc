"""The file of what nobody wants to hear of again: Zeek reads it (``MMTT::muted_file``) whenever it changes."""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from ipaddress import ip_network
from pathlib import Path
from typing import NamedTuple

from .. import whole
from ..classify.log import string
from ..output import utc
from .logs import unescaped

#: Where Zeek looks for it, too.
FILE = Path("/var/lib/mmtt/muted.tsv")
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
        raise MuteError("that would mute everything; say what: an incident, or --orig, --resp, --port or --kind")
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


def _network(name: str, text: str) -> str:
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise MuteError(f"{name} can't be {text!r}; it is an address or a network such as 10.0.0.0/8") from None
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def read(path: Path) -> list[Mute]:
    """The lines of the file, in order; none where there is no file.

    Raises:
        MuteError: a line can't be read.
        OSError: the file can't be.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return []
    columns: Sequence[str] = ()
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#fields\t"):
            columns = line.split("\t")[1:]
        elif line and not line.startswith("#"):
            try:
                found.append(_parsed(columns, line))
            except MuteError as error:
                raise MuteError(f"{path}:{number}: {error}; correct the line") from None
    return found


def _parsed(columns: Sequence[str], line: str) -> Mute:
    values = line.split("\t")
    if len(values) != len(columns) or {*_COLUMNS} - {*columns}:
        raise MuteError(f"{len(values)} columns, where #fields should have said {', '.join(_COLUMNS)}")
    texts = {name: value for name, value in zip(columns, values, strict=True) if name in _COLUMNS and value != "-"}
    until = texts.pop("until", None)
    if until is not None and not _UNTIL.fullmatch(until):
        raise MuteError(f"until can't be {until!r}; it is a time in seconds since 1970")
    if "note" in texts:
        texts["note"] = unescaped(texts["note"])
    return checked(Mute(**texts, until=None if until is None else float(until)))


def write(path: Path, mutes: Sequence[Mute]) -> None:
    """Put these lines in the place of the file's. Zeek sees the old ones or the new ones, never half of them.

    Raises:
        OSError: it can't be written.
    """
    with whole.written(path) as out:
        out.write("\t".join(("#fields", *_COLUMNS)) + "\n")
        for mute in mutes:
            until = None if mute.until is None else f"{mute.until:.0f}"
            note = None if mute.note is None else string(mute.note)
            out.write("\t".join(value or "-" for value in (*mute.what, until, note)) + "\n")


@contextmanager
def changing(path: Path) -> Iterator[Path]:
    """While the block under it runs, nobody else changes the file, if they ask in the same way. Its directory is made
    if need be; where ``path`` is a link, what it leads to is the file.

    Raises:
        OSError: its directory can't be made or opened.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield path
    finally:
        os.close(handle)
