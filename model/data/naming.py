"""``mmtt dataset name``: nDPI's names for the flows of captures, through nfstream, as the flows.tsv.zst of their
directory.
"""

from __future__ import annotations

import csv
import gzip
import io
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING

import zstandard

from .errors import DatasetError
from .sources.table import FLOW_COLUMNS, read_captures

if TYPE_CHECKING:
    from nfstream.flow import NFlow

#: Seconds without a packet after which nfstream begins a new flow.
IDLE = 60


def name_flows(directory: Path, jobs: int, say: Callable[[str], None]) -> tuple[int, list[str]]:
    """Name all flows of the captures in ``directory``. Returns how many, and a line for each capture that could not be
    read.

    Raises:
        DatasetError: nfstream is not installed, or the directory is none of captures.
    """
    try:
        import nfstream  # noqa: F401 - whether it can be loaded, before the processes that use it start
    except ImportError:
        raise DatasetError(
            "nDPI's names need nfstream, which is not installed; type: pip install 'mmtt[ndpi]'"
        ) from None
    names = [row.labels.path for row in read_captures(directory)]
    failed: list[str] = []
    count = 0
    new = directory / ".flows.tsv.zst.new"
    with new.open("wb") as raw, zstandard.ZstdCompressor(9).stream_writer(raw) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
        writer = csv.DictWriter(text, FLOW_COLUMNS, delimiter="\t", quoting=csv.QUOTE_NONE, lineterminator="\n")
        writer.writeheader()
        # nfstream starts processes of its own, which a pool's daemons may not.
        with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
            for done, (name, rows, error) in enumerate(pool.map(_flows, [(name, directory) for name in names]), 1):
                writer.writerows({"capture": name, **row} for row in rows)
                count += len(rows)
                if error:
                    failed.append(f"{name}: {error}")
                if done % 50 == 0 or done == len(names):
                    say(f"naming flows: {done:,} of {len(names):,} captures, {count:,} flows")
        text.flush()
        text.detach()
    if not count:
        new.unlink()
        raise DatasetError(f"{directory}: no flow in {len(names)} captures{f' ({failed[0]})' if failed else ''}")
    os.replace(new, directory / "flows.tsv.zst")
    return count, failed


def _flows(task: tuple[str, Path]) -> tuple[str, list[dict[str, object]], str]:
    import nfstream

    name, directory = task
    # nfstream reads plain files alone.
    try:
        with tempfile.NamedTemporaryFile(suffix=".pcap") as plain, _open(directory / "captures" / name) as file:
            shutil.copyfileobj(file, plain)
            plain.flush()
            streamer = nfstream.NFStreamer(
                source=plain.name, idle_timeout=IDLE, n_meters=1, n_dissections=20, statistical_analysis=False
            )
            return name, [_row(flow) for flow in streamer], ""
    except Exception as error:  # noqa: BLE001 - nfstream raises what it likes; one bad capture must not end the others
        return name, [], " ".join(str(error).split())


def _open(path: Path) -> IO[bytes] | io.BufferedIOBase | zstandard.ZstdDecompressionReader:
    if path.suffix == ".gz":
        return gzip.open(path)
    return zstandard.open(path) if path.suffix == ".zst" else path.open("rb")


def _row(flow: NFlow) -> dict[str, object]:
    clean = str.maketrans("\t\r\n", "   ")
    return {
        "first_seen_ms": flow.bidirectional_first_seen_ms, "last_seen_ms": flow.bidirectional_last_seen_ms,
        "proto": flow.protocol,
        "src_ip": flow.src_ip, "src_port": flow.src_port, "dst_ip": flow.dst_ip, "dst_port": flow.dst_port,
        "ndpi_app": flow.application_name, "ndpi_category": flow.application_category_name,
        "ndpi_guessed": int(flow.application_is_guessed), "sni": (flow.requested_server_name or "").translate(clean),
    }  # fmt: skip
