"""Captures of one's own network, their flows named by what Zeek saw: the server names of ssl.log and quic.log, and for
flows without one the name that the host had looked up for the address before (dns.log).

A name stands for a service and an application by the table of servers (mmtt_agent.servers), and the user's domains.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import itertools
import json
import math
import zlib
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mmtt_agent import servers
from mmtt_agent.capture import Capture
from mmtt_agent.series import SeriesBatch

from ..errors import DatasetError
from ..labels import Labels
from .directory import captures_below
from .source import Entry

_LOGS = {"ssl": "server_name", "quic": "server_name", "dns": "query"}
#: Seconds for which an answer to a look-up names its address.
_REMEMBERED = 3600.0
#: Seconds by which a log's time may differ from the packets'.
_SLACK = 2.0
#: A name, and when it was seen.
_Named = tuple[float, str]


class ServerNameSource:
    """``directory`` of captures, ``logs`` that Zeek made of the same traffic (TSV or JSON, plain or .gz), ``domains``:
    suffixes beside the shipped table (see `servers.own_domains`). ``malicious`` is what all of it is: False for a
    network that is known to be clean, else None.

    Raises:
        DatasetError: a directory or a table that can't be used.
    """

    checksums = True

    def __init__(
        self,
        directory: Path,
        logs: Path,
        origin: str,
        domains: Mapping[str, servers.Answer] | None = None,
        malicious: bool | None = None,
    ) -> None:
        self.directory, self.logs, self.origin, self.malicious = directory, logs, origin, malicious
        self._paths = captures_below(directory)
        self._files = sorted(
            path for path in logs.rglob("*") if path.name.partition(".")[0] in _LOGS and ".log" in path.name
        )
        if not self._files:
            raise DatasetError(f"{logs}: holds no ssl.log, quic.log or dns.log; run `zeek -r` on the captures there")
        self._own = dict(domains or {})

    def digest(self) -> str:
        answers = servers.shipped().with_domains(self._own).digest
        digest = hashlib.sha256(repr((answers, self.origin, self.malicious)).encode())
        for path in (*self._paths, *self._files):
            digest.update(f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}".encode())
        return digest.hexdigest()

    def entries(self) -> list[Entry]:
        _ = self._seen
        return [Entry(str(path.relative_to(self.directory)), path, self.origin) for path in self._paths]

    def series(self, entry: Entry) -> tuple[SeriesBatch, np.ndarray, list[Labels], int]:
        raise NotImplementedError("all that this source has is captures")

    def labels(self, entry: Entry, capture: Capture, rows: np.ndarray) -> tuple[list[Labels], dict[str, int]]:
        found = capture.connections
        connection = capture.windows.connection[rows]
        originators, responders = found.addresses(connection)
        labels, named = [], 0
        for row, c, orig, resp in zip(rows.tolist(), connection.tolist(), originators, responders, strict=True):
            begin = found.ts[c] / 1e6
            end = (capture.windows.ts[row] + capture.windows.series.times[row].max()) / 1e6
            name = self._name(str(orig), int(found.orig_p[c]), str(resp), int(found.resp_p[c]), begin, end)
            about = self._servers.named(name) if name else None
            named += about is not None
            service, application = about or (None, None)
            labels.append(
                Labels(
                    service,
                    application,
                    self.malicious,
                    service_by="name" if service else "",
                    application_by="name" if application else "",
                )
            )
        return labels, {"named by a server name": named, "without a known name": len(labels) - named}

    def _name(self, orig: str, orig_p: int, resp: str, resp_p: int, begin: float, end: float) -> str | None:
        flows, looked_up = self._seen
        for ts, name in flows.get((orig, orig_p, resp, resp_p), ()):
            if begin - _SLACK <= ts <= end + _SLACK:
                return name
        answers = looked_up.get((orig, resp), [])
        before = bisect_right(answers, (begin + _SLACK, "\U0010ffff")) - 1
        return answers[before][1] if before >= 0 and begin - answers[before][0] < _REMEMBERED else None

    @cached_property
    def _servers(self) -> servers.Servers:
        """Made where labels are, so that no process hands it to another."""
        return servers.shipped().with_domains(self._own)

    @cached_property
    def _seen(self) -> tuple[dict[tuple[str, int, str, int], list[_Named]], dict[tuple[str, str], list[_Named]]]:
        """(originator, port, responder, port) -> [(time, name)], (host, address) -> the same; in order of time."""
        flows: defaultdict[tuple[str, int, str, int], list[_Named]] = defaultdict(list)
        looked_up: defaultdict[tuple[str, str], list[_Named]] = defaultdict(list)
        for path in self._files:
            kind = path.name.partition(".")[0]
            for row in _rows(path):
                try:
                    name, ts = row.get(_LOGS[kind]), float(row["ts"])
                    ends = (row["id.orig_h"], int(row["id.orig_p"]), row["id.resp_h"], int(row["id.resp_p"]))
                    answers = row.get("answers") or []
                    texts = [name or "", ends[0], ends[2], *(answers if isinstance(answers, list) else [answers])]
                    if wrong := next((text for text in texts if not isinstance(text, str)), None):
                        raise ValueError(f"{wrong!r} is no text")
                    if not math.isfinite(ts):
                        raise ValueError(f"ts is {ts}")
                except (KeyError, ValueError, TypeError, OverflowError) as error:
                    why = f"it has no {error}" if isinstance(error, KeyError) else str(error)
                    raise DatasetError(
                        f"{path}: not a {kind}.log of Zeek's ({why}); make it again, or move it elsewhere"
                    ) from None
                if not name or name in ("-", "(empty)"):
                    continue
                if kind == "dns":
                    for address in answers if isinstance(answers, list) else answers.split(","):
                        looked_up[ends[0], address].append((ts, name))
                else:
                    flows[ends].append((ts, name))
        for names in (*flows.values(), *looked_up.values()):
            names.sort()
        return dict(flows), dict(looked_up)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a log of Zeek's, TSV or JSON: values are text, or what JSON has."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            first = file.readline()
            if first.startswith("{"):
                for line in itertools.chain((first,), file):
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise ValueError("a line is no object")
                    yield row
                return
            fields: list[str] = []
            while first.startswith("#"):
                if first.startswith("#fields"):
                    fields = first.rstrip("\n").split("\t")[1:]
                first = file.readline()
            lines = [line for line in (first, *file) if not line.startswith("#")]
            if lines and not lines[-1].endswith("\n") and lines[-1].count("\t") + 1 < len(fields):
                # Half a line: Zeek is still writing the log.
                lines.pop()
            for row in csv.DictReader(lines, fields, delimiter="\t", quoting=csv.QUOTE_NONE):
                if None in row or None in row.values():
                    raise ValueError(f"the row of ts {row.get('ts')} has not as many values as there are fields")
                yield row
    except (OSError, EOFError, ValueError, RecursionError, csv.Error, zlib.error) as error:
        raise DatasetError(f"{path}: can't be read as a log of Zeek's ({error}); make it again") from None
