"""``mmtt.log`` as Zeek's ASCII writer writes it: TSV with a header, or JSON lines."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TextIO

from .rows import Row

#: Columns and their Zeek types, in order: the same as ``MMTT::Info`` in the Zeek package.
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
)
#: After them where rows may come of several captures, which Zeek's log knows nothing of.
CAPTURE = ("capture", "string")


class TsvWriter:
    """Zeek's default format, for ``zeek-cut``, zat and the like. Nothing is written before the first row or the close.

    Args:
        several: say in a last column which capture a row comes of.
    """

    def __init__(self, out: TextIO, several: bool) -> None:
        self._out = out
        self._columns = (*COLUMNS, CAPTURE) if several else COLUMNS
        self._begun = False

    def write(self, row: Row) -> None:
        self._begin()
        fields = map(_field, row[1 : len(self._columns)])
        self._out.write(f"{row.ts // 1_000_000}.{row.ts % 1_000_000:06d}\t" + "\t".join(fields) + "\n")

    def close(self) -> None:
        self._begin()
        self._out.write(f"#close\t{_now()}\n")

    def _begin(self) -> None:
        if self._begun:
            return
        self._begun = True
        self._out.write(
            "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tmmtt\n"
            f"#open\t{_now()}\n"
            + "\t".join(("#fields", *(name for name, _ in self._columns)))
            + "\n"
            + "\t".join(("#types", *(kind for _, kind in self._columns)))
            + "\n"
        )


class JsonWriter:
    """Zeek's JSON format: an object a line, unset fields left out. ``several`` as in :class:`TsvWriter`."""

    def __init__(self, out: TextIO, several: bool) -> None:
        self._out = out
        self._names = [name for name, _ in (*COLUMNS, CAPTURE)[: len(COLUMNS) + several]]

    def write(self, row: Row) -> None:
        fields = {name: value for name, value in zip(self._names, row, strict=False) if value is not None}
        fields["ts"] = row.ts / 1e6
        if "capture" in fields:
            # Bytes of a name that are not UTF-8 have no place in JSON.
            fields["capture"] = row.capture.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        self._out.write(json.dumps(fields, separators=(",", ":")) + "\n")

    def close(self) -> None:
        pass


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
