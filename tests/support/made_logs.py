"""Logs as Zeek writes them, of made rows."""

from __future__ import annotations

from pathlib import Path

from mmtt_agent.classify.log import INCIDENTS, ROWS, JsonWriter, Log, TsvWriter
from mmtt_agent.classify.row import IncidentRow, Row

#: 2026-11-28 04:00 UTC, in µs.
BEGIN = 1_795_838_400_000_000
_TSV = (
    "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n"
    "#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tduration\torig_bytes\tresp_bytes\t"
    "conn_state\thistory\n"
    "#types\ttime\tstring\taddr\tport\taddr\tport\tenum\tstring\tinterval\tcount\tcount\tstring\tstring\n"
)


def window(uid: str, at: float = 0, **changes: object) -> Row:
    """``at``: seconds."""
    made = Row(
        BEGIN + round(at * 1e6), uid, "10.0.0.1", 40_000, "192.0.2.7", 443, "tcp", 0, 20, "web", 0.91, "Alpha", 0.74,
        False, 0.02, None, "ok", None, "tiny@12345678", None, "",
    )  # fmt: skip
    return made._replace(**changes)


def incident(id: str, state: str = "opened", at: float = 0, **changes: object) -> IncidentRow:
    ts = BEGIN + round(at * 1e6)
    made = IncidentRow(
        ts, id, state, "10.0.0.1", "192.0.2.7", 443, "scan", 0.91, 4, ts, ts, 100, 2000, "4 like connections in 10 min",
        (), "",
    )  # fmt: skip
    return made._replace(**changes)


def write(path: Path, rows: list[Row] | list[IncidentRow], *, json: bool = False, log: Log | None = None) -> Path:
    """A log of ``rows``; ``log`` where there are none."""
    log = log or (INCIDENTS if rows and isinstance(rows[0], IncidentRow) else ROWS)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as out:
        writer = (JsonWriter if json else TsvWriter)(out, log, several=any(row.capture for row in rows))
        for row in rows:
            writer.write(row)
        writer.close()
    return path


def conn(path: Path, *rows: tuple[str, ...]) -> Path:
    """A conn.log: of each connection its uid, Zeek's service, duration, bytes each way, state, as the log has them."""
    lines = [
        f"{BEGIN // 10**6}.000000\t{uid}\t10.0.0.1\t40000\t192.0.2.7\t443\ttcp\t{service}\t{duration}\t{sent}\t{got}\t"
        f"{state}\tShADadFf\n"
        for uid, service, duration, sent, got, state in rows
    ]
    path.write_text(_TSV + "".join(lines), encoding="utf-8")
    return path
