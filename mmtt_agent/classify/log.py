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
    ("status", "string"),
    ("latency", "interval"),
    ("model", "string"),
)


class TsvWriter:
    """Zeek's default format, for ``zeek-cut``, zat and the like. Nothing is written before the first row or the close."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._begun = False

    def write(self, row: Row) -> None:
        self._begin()
        self._out.write(f"{row.ts // 1_000_000}.{row.ts % 1_000_000:06d}\t" + "\t".join(map(_field, row[1:])) + "\n")

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
            + "\t".join(("#fields", *(name for name, _ in COLUMNS)))
            + "\n"
            + "\t".join(("#types", *(kind for _, kind in COLUMNS)))
            + "\n"
        )


class JsonWriter:
    """Zeek's JSON format: an object a line, unset fields left out."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, row: Row) -> None:
        fields = {name: value for (name, _), value in zip(COLUMNS, row) if value is not None}
        fields["ts"] = row.ts / 1e6
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
    return "".join(c if c >= " " and c != "\\" else f"\\x{ord(c):02x}" for c in value) or "(empty)"
