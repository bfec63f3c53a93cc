"""``mmtt.log`` and ``mmtt_incidents.log`` as Zeek's ASCII writer writes them: TSV with a header, or JSON lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any, TextIO

from .row import IncidentRow, Row

#: Columns of ``mmtt.log`` and their Zeek types, in order: with ``COMMUNITY_ID`` the same as ``MMTT::Info`` in the Zeek
#: package.
COLUMNS = (
    ("ts", "time"),
    ("uid", "string"),
    ("id.orig_h", "addr"),
    ("id.orig_p", "port"),
    ("id.resp_h", "addr"),
    ("id.resp_p", "port"),
    ("proto", "enum"),
    ("window", "count"),
    ("packets", "count"),
    ("service", "string"),
    ("service_score", "double"),
    ("application", "string"),
    ("application_score", "double"),
    ("malicious", "bool"),
    ("malicious_score", "double"),
    ("malicious_kind", "string"),
    ("status", "string"),
    ("latency", "interval"),
    ("model", "string"),
    ("incident", "string"),
)
#: Of ``mmtt_incidents.log``: the same as ``MMTT::IncidentInfo``.
INCIDENT_COLUMNS = (
    ("ts", "time"),
    ("id", "string"),
    ("state", "string"),
    ("orig_h", "addr"),
    ("resp_h", "addr"),
    ("resp_p", "port"),
    ("kind", "string"),
    ("score", "double"),
    ("connections", "count"),
    ("first", "time"),
    ("last", "time"),
    ("orig_bytes", "count"),
    ("resp_bytes", "count"),
    ("reason", "string"),
    ("uids", "vector[string]"),
)
#: After those of ``mmtt.log`` where it is asked for.
COMMUNITY_ID = ("community_id", "string")
#: After them where rows may come of several captures, which Zeek's logs know nothing of.
CAPTURE = ("capture", "string")


@dataclass(frozen=True)
class Log:
    """What is written: the log's name, without ``.log``, its columns, and what its rows are."""

    name: str
    columns: tuple[tuple[str, str], ...]
    row: type[Row] | type[IncidentRow]

    def picked(self, columns: Sequence[tuple[str, str]]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
        """What takes the columns' values from a row."""
        return itemgetter(*(self.row._fields.index(name.removeprefix("id.")) for name, _ in columns))


ROWS = Log("mmtt", COLUMNS, Row)
ROWS_WITH_COMMUNITY_ID = Log("mmtt", (*COLUMNS, COMMUNITY_ID), Row)
INCIDENTS = Log("mmtt_incidents", INCIDENT_COLUMNS, IncidentRow)


class TsvWriter:
    """Zeek's default format, for ``zeek-cut``, zat and the like. Nothing is written before the first row or the close.

    Args:
        several: say in a last column which capture a row comes of.
    """

    def __init__(self, out: TextIO, log: Log, several: bool) -> None:
        self._out, self._name = out, log.name
        self._columns = (*log.columns, CAPTURE) if several else log.columns
        self._picked = log.picked(self._columns)
        self._texts = [_TEXTS.get(kind, _field) for _, kind in self._columns]
        self._begun = False

    def write(self, row: Row | IncidentRow) -> None:
        """One row of the log's kind."""
        self._begin()
        values = zip(self._texts, self._picked(row), strict=True)
        self._out.write("\t".join([text(value) for text, value in values]) + "\n")

    def close(self) -> None:
        self._begin()
        self._out.write(f"#close\t{_now()}\n")

    def _begin(self) -> None:
        if self._begun:
            return
        self._begun = True
        self._out.write(
            f"#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\t{self._name}\n"
            f"#open\t{_now()}\n"
            + "\t".join(("#fields", *(name for name, _ in self._columns)))
            + "\n"
            + "\t".join(("#types", *(kind for _, kind in self._columns)))
            + "\n"
        )

    def go_on(self) -> None:
        """What is written to has its head already."""
        self._begun = True


class JsonWriter:
    """Zeek's JSON format: an object a line, unset fields left out. ``several`` as in :class:`TsvWriter`."""

    def __init__(self, out: TextIO, log: Log, several: bool) -> None:
        self._out = out
        self._columns = (*log.columns, CAPTURE) if several else log.columns
        self._picked = log.picked(self._columns)

    def write(self, row: Row | IncidentRow) -> None:
        """As :meth:`TsvWriter.write`."""
        fields = {
            name: value / 1e6 if kind == "time" else value
            for (name, kind), value in zip(self._columns, self._picked(row), strict=True)
            if value is not None
        }
        if "capture" in fields:
            fields["capture"] = of_json(fields["capture"])
        self._out.write(json.dumps(fields, separators=(",", ":")) + "\n")

    def close(self) -> None:
        pass


def of_json(name: str) -> str:
    r"""A file's name for JSON, where bytes that are not UTF-8 have no place: they are ``\xff``."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _now() -> str:
    return datetime.now().strftime("%Y-%m-%d-%H-%M-%S")


def _field(value: str | float | bool | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, float):
        digits = f"{value:.6f}".rstrip("0")
        return digits + "0" if digits.endswith(".") else digits
    if isinstance(value, int):
        return str(value)
    return string(value)


def string(value: str) -> str:
    r"""As Zeek's ASCII writer has it, and its reader reads it: what would read as something else is ``\x2d`` and the
    like."""
    # A name that would read as an unset or an empty field, or as two of them.
    if value in ("-", "(empty)"):
        return f"\\x{ord(value[0]):02x}{value[1:]}"
    if value.isprintable() and "\\" not in value:
        return value or "(empty)"
    return "".join(
        c
        if c.isprintable() and c != "\\"
        else "".join(f"\\x{byte:02x}" for byte in c.encode("utf-8", "surrogateescape"))
        for c in value
    )


def _time(value: int | None) -> str:
    return "-" if value is None else f"{value // 1_000_000}.{value % 1_000_000:06d}"


def _vector(values: Sequence[str] | None) -> str:
    if values is None:
        return "-"
    return ",".join(string(value).replace(",", "\\x2c") for value in values) or "(empty)"


_TEXTS: dict[str, Callable[[Any], str]] = {"time": _time, "vector[string]": _vector}
