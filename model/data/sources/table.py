"""A directory of captures with tables: ``captures.tsv`` (a row per capture with what it was made of),
``flows.tsv.zst`` (nDPI's name per flow), and the captures at the paths that ``captures.tsv`` names, under
``captures/``; where there are any, ``hosts.tsv`` (what servers are, judged one by one, ahead of all else), and series
without captures (see `series`).
"""

from __future__ import annotations

import csv
import hashlib
import ipaddress
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import zstandard

from mmtt_agent import servers
from mmtt_agent.capture import Capture, Connections, Windows
from mmtt_agent.series import SeriesBatch

from .. import tables
from ..errors import DatasetError
from ..labels import CaptureLabels, FlowName, Labels
from ..taxonomy import CHOSEN, UNLABELLED_GROUPS, Taxonomy
from .compressed import open_text
from .series import FILES, series_sources, windows
from .source import Entry

CAPTURE_COLUMNS = ("capture", "group", "service", "application", "malicious", "source_repo")
FLOW_COLUMNS = [
    "capture",
    "first_seen_ms",
    "last_seen_ms",
    "proto",
    "src_ip",
    "src_port",
    "dst_ip",
    "dst_port",
    "ndpi_app",
    "ndpi_category",
    "ndpi_guessed",
    "sni",
]
#: Address (16 bytes) and port.
_End = tuple[bytes, int]
#: A capture's flows: (protocol, end, end) -> [(first, last, name)], times in microseconds.
_Flows = dict[tuple[int, _End, _End], list[tuple[int, int, FlowName]]]


class TableSource:
    """See the module. Raises DatasetError where a table is not there or not what it must be."""

    checksums = False

    def __init__(self, directory: Path, taxonomy: Taxonomy) -> None:
        self.directory, self.taxonomy = directory, taxonomy
        self._captures = {row.labels.path: row for row in read_captures(directory)}
        self._hosts = _read_hosts(directory / "hosts.tsv", taxonomy.services)

    def digest(self) -> str:
        digest = hashlib.sha256(f"{self.taxonomy.digest} {servers.shipped().digest}".encode())
        for name in ("captures.tsv", "flows.tsv.zst"):
            try:
                digest.update((self.directory / name).read_bytes())
            except OSError as error:
                raise DatasetError(
                    f"{self.directory / name}: {error.strerror}; --data must name a directory with captures.tsv, "
                    "flows.tsv.zst and captures/"
                ) from None
        for name in ("hosts.tsv", *FILES):
            if (self.directory / name).exists():
                digest.update((self.directory / name).read_bytes())
        return digest.hexdigest()

    def entries(self) -> list[Entry]:
        # Before hours are spent on captures: can the names be read?
        _ = self._names
        return [
            Entry(
                path,
                self.directory / "captures" / path,
                row.repository,
                row.labels.group not in UNLABELLED_GROUPS,
                row.licence,
                row.site,
            )
            for path, row in self._captures.items()
        ] + [
            Entry(
                f"series/{source}",
                self.directory,
                source.partition(":")[0],
                licence=flows[0].get("licence") or "",
                series=True,
            )
            for source, flows in self._series.items()
        ]

    def series(self, entry: Entry) -> tuple[SeriesBatch, np.ndarray, list[Labels], int]:
        return windows(self._series[entry.name.partition("/")[2]], self.taxonomy)

    def labels(self, entry: Entry, capture: Capture, rows: np.ndarray) -> tuple[list[Labels], dict[str, int]]:
        about = self._captures[entry.name].labels
        flows = self._names.get(entry.name, {})
        found = [_name_of(flows, capture.connections, capture.windows, row) for row in rows.tolist()]
        named = sum(flow is not None for flow in found)
        labels = [self.taxonomy.labels(about, flow, self._server) for flow in found]
        counts = {"named by nDPI": named, "not named by nDPI": len(found) - named}
        if self.taxonomy.lacks_service_of(about):
            counts[f"in captures of {about.service!r}, which is no service"] = len(found)
        return labels, counts

    def tls_names(self, entry: Entry, capture: Capture, rows: np.ndarray) -> list[str]:
        """The server's name that the flow of each window says in TLS over TCP, "" where it says none."""
        flows = self._names.get(entry.name, {})
        found = [_name_of(flows, capture.connections, capture.windows, row) for row in rows.tolist()]
        return [flow.server_name if flow and flow.protocol == 6 and _is_of(flow, "TLS") else "" for flow in found]

    def names_servers(self, entry: Entry) -> bool:
        """Whether a server's name is known of any flow of a capture."""
        return any(flow.server_name for flows in self._names.get(entry.name, {}).values() for _, _, flow in flows)

    def _server(self, name: str) -> tuple[str | None, str | None, bool] | None:
        answer = self._hosts.get(name.lower().rstrip(".")) or servers.named(name)
        return (*answer, servers.shipped().knows(name)) if answer else None

    @cached_property
    def _series(self) -> dict[str, list[dict[str, Any]]]:
        return series_sources(self.directory)

    @cached_property
    def _names(self) -> dict[str, _Flows]:
        names = _read_flow_names(self.directory)
        repositories: defaultdict[str, list[_Flows]] = defaultdict(list)
        for path, row in self._captures.items():
            # Behind an attack's names may be anybody: there each flow speaks for itself.
            if path in names and row.labels.malicious != "1" and row.labels.group not in UNLABELLED_GROUPS:
                repositories[row.repository].append(names[path])
        for captures in repositories.values():
            _name_by_address(captures)
        return names


def _name_by_address(captures: list[_Flows]) -> None:
    """Tell encrypted flows without a server's name which names others have for the same address and port."""
    known: defaultdict[_End, set[str]] = defaultdict(set)
    for flows in captures:
        for (_, *ends), found in flows.items():
            for end in filter(_is_a_server, ends):
                known[end].update(flow.server_name for *_, flow in found if flow.server_name and _encrypted(flow))
    for flows in captures:
        for (_, *ends), found in flows.items():
            if all(flow.server_name or not _encrypted(flow) for *_, flow in found):
                continue
            others = tuple(sorted({name for end in filter(_is_a_server, ends) for name in known.get(end, ())}))
            if others:
                found[:] = [
                    (first, last, flow if flow.server_name or not _encrypted(flow) else replace(flow, others=others))
                    for first, last, flow in found
                ]


def _is_a_server(end: _End) -> bool:
    """A public address, which is the same wherever it is seen, and a port that no system chooses by chance."""
    return end[1] < CHOSEN and _public(end[0])


@cache
def _public(address: bytes) -> bool:
    whole = ipaddress.IPv6Address(address)
    return (whole.ipv4_mapped or whole).is_global


def _encrypted(flow: FlowName) -> bool:
    return _is_of(flow, "TLS", "QUIC")


def _is_of(flow: FlowName, *protocols: str) -> bool:
    return flow.name.partition(".")[0] in protocols


def _key(protocol: int, one: _End, other: _End) -> tuple[int, _End, _End]:
    first, second = sorted((one, other))
    return protocol, first, second


def _name_of(flows: _Flows, connections: Connections, windows: Windows, row: int) -> FlowName | None:
    """nDPI's name of the flow that a window belongs to: same addresses and ports, closest in time."""
    c = int(windows.connection[row])
    one = (connections.orig_h[c].tobytes(), int(connections.orig_p[c]))
    other = (connections.resp_h[c].tobytes(), int(connections.resp_p[c]))
    candidates = flows.get(_key(int(connections.proto[c]), one, other))
    if not candidates:
        return None
    begin = int(windows.ts[row])
    end = begin + int(windows.series.times[row].max())

    def distance(candidate: tuple[int, int, FlowName]) -> int:
        first, last, _ = candidate
        return max(first - end, begin - last, 0)

    nearest = min(candidates, key=distance)
    # nDPI's times are cut to milliseconds.
    return nearest[2] if distance(nearest) <= 2_000 else None


class TableRow(NamedTuple):
    """A capture in captures.tsv; ``licence`` is empty where the table has no such column, and ``site`` the
    repository."""

    labels: CaptureLabels
    repository: str
    licence: str
    site: str


def read_captures(directory: Path) -> list[TableRow]:
    """What captures.tsv says of each capture. Raises DatasetError."""
    path = directory / "captures.tsv"
    rows = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for _, row in tables.read_captures(path, file, CAPTURE_COLUMNS):
                labels = CaptureLabels(
                    row["capture"],
                    row["group"],
                    row["service"],
                    row["application"],
                    row["malicious"],
                    row.get("note") or "",
                )
                repository = row["source_repo"]
                rows.append(TableRow(labels, repository, row.get("licence") or "", row.get("site") or repository))
    except OSError as error:
        raise DatasetError(
            f"{path}: {error.strerror}; --data must name a directory with captures.tsv, flows.tsv.zst and captures/"
        ) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path}: not a table of tabs in UTF-8 ({error}); save it as one") from None
    if not rows:
        raise DatasetError(f"{path}: names no capture")
    return rows


def _read_hosts(path: Path, services: Sequence[str]) -> dict[str, tuple[str | None, str | None]]:
    """Service and application of each server in the table; none where there is no table."""
    if not path.exists():
        return {}
    hosts: dict[str, tuple[str | None, str | None]] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for line, row in tables.read(path, file, ("host", "service", "application")):
                host = row["host"].strip().lower().rstrip(".").removeprefix("*.")
                answer = _told(row["service"]), _told(row["application"])
                if not host:
                    raise DatasetError(f"{path}: line {line}: has no host; name one, or remove the line")
                if hosts.setdefault(host, answer) != answer:
                    raise DatasetError(
                        f"{path}: line {line}: {host} is there already with another answer; remove one of them"
                    )
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path}: not a table of tabs in UTF-8 ({error}); save it as one") from None
    for host, (service, _) in hosts.items():
        if service is not None and service not in services:
            raise DatasetError(f"{path}: {host} has the service {service!r}; known: {', '.join(services)}")
    return hosts


def _told(value: str) -> str | None:
    return None if value in ("-", "") else value


def _read_flow_names(directory: Path) -> dict[str, _Flows]:
    """The named flows of each capture."""
    path = directory / "flows.tsv.zst"
    names: defaultdict[str, _Flows] = defaultdict(lambda: defaultdict(list))
    try:
        with open_text(path, newline="") as text:
            for line, row in tables.read(path, text, FLOW_COLUMNS):
                try:
                    key, flow = _flow(row)
                except ValueError as error:
                    raise DatasetError(f"{path}: line {line}: {error}; fetch it again") from None
                names[row["capture"]][key].append(flow)
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}; --data must name a directory that holds it") from None
    except (ValueError, csv.Error, zstandard.ZstdError) as error:
        raise DatasetError(f"{path}: damaged ({error}); fetch it again") from None
    return {capture: dict(flows) for capture, flows in names.items()}


def _flow(row: dict[str, str]) -> tuple[tuple[int, _End, _End], tuple[int, int, FlowName]]:
    """Raises ValueError for what is no number, or no address."""
    protocol = int(row["proto"])
    source = (_address(row["src_ip"]), int(row["src_port"]))
    target = (_address(row["dst_ip"]), int(row["dst_port"]))
    name = FlowName(
        row["ndpi_app"],
        row["ndpi_category"],
        row["ndpi_guessed"] == "1",
        row["sni"],
        protocol,
        (source[1], target[1]),
        int(row.get("bytes") or 0),
    )
    first, last = int(row["first_seen_ms"]) * 1000, int(row["last_seen_ms"]) * 1000 + 999
    return _key(protocol, source, target), (first, last, name)


def _address(text: str) -> bytes:
    """16 bytes, IPv4 as IPv4-mapped."""
    address = ipaddress.ip_address(text)
    return address.packed if address.version == 6 else b"\0" * 10 + b"\xff\xff" + address.packed
