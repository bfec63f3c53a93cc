"""Verdicts as they come, for a person at a terminal: a line each."""

from __future__ import annotations

from typing import TextIO

import click

from ..classify.row import IncidentRow, Row
from ..classify.table import endpoint, who
from ..output import shown, utc

_COLUMNS = (("time (UTC)", 10), ("score", 6), ("service", 16), ("application", 20))


class ScreenWriter:
    """Rows with a verdict, and incidents. The head comes with the first."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._begun = False

    def write(self, row: Row | IncidentRow) -> None:
        if not self._begun:
            self._begun = True
            self._line([name for name, _ in _COLUMNS], "flow", bold=True)
        if isinstance(row, IncidentRow):
            told = f"incident {row.id} {row.state}: {who(row)}: {row.reason}"
            self._line([_time(row.ts), f"{row.score:.3f}", f"({row.state})", row.kind or ""], told, fg="red", bold=True)
        elif row.status == "ok":
            kind = f"  {row.malicious_kind}" if row.malicious_kind else ""
            flow = f"{endpoint(row.orig_h, row.orig_p)} → {endpoint(row.resp_h, row.resp_p)}/{row.proto}{kind}"
            cells = [_time(row.ts), f"{row.malicious_score:.3f}", row.service or "", row.application or ""]
            self._line(cells, flow, fg="red" if row.malicious else None)

    def close(self) -> None:
        """A terminal goes on below."""

    def _line(self, cells: list[str], last: str, fg: str | None = None, bold: bool | None = None) -> None:
        widths = (width for _, width in _COLUMNS)
        padded = (f"{shown(cell)[:width]:{width}}" for cell, width in zip(cells, widths, strict=True))
        self._out.write(click.style("  ".join((*padded, shown(last))), fg=fg, bold=bold) + "\n")


def _time(ts: int) -> str:
    return utc(ts / 1e6, "%H:%M:%S")
