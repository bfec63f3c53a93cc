"""Reading what the lab recorded: each capture with the truth of each of its connections."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import zstandard

from mmtt_agent.capture import Capture, CaptureError, read_capture

from .errors import DatasetError


def read_truth(directory: Path) -> dict[str, list[dict[str, str]]]:
    """The rows of flows.tsv.zst by capture. Raises DatasetError."""
    path = directory / "flows.tsv.zst"
    try:
        text = zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes()).decode()
    except FileNotFoundError:
        raise DatasetError(f"{path}: not there; run `mmtt lab run SCENARIO -o {directory}` first") from None
    except (zstandard.ZstdError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"{path}: damaged ({error}); remove it and run the scenario again: captures are kept"
        ) from None
    found: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in csv.DictReader(io.StringIO(text), delimiter="\t"):
        found[row["capture"]].append(row)
    return found


def read_labelled(directory: Path) -> Iterator[tuple[str, Capture, np.ndarray]]:
    """Name, capture, and an array with the truth's row (a dict) of each connection, None where it has none.

    Raises:
        DatasetError: the directory is not a lab's, or a capture of it can't be read, or is damaged.
    """
    for name, rows in sorted(read_truth(directory).items()):
        try:
            capture = read_capture(directory / "captures" / name)
        except CaptureError as error:
            raise DatasetError(str(error)) from None
        if capture.problems:
            raise DatasetError(capture.problems[0])
        truth = {
            _key(
                row["first_seen_ms"], row["proto"], (row["src_ip"], row["src_port"]), (row["dst_ip"], row["dst_port"])
            ): row
            for row in rows
        }
        found = capture.connections
        originators, responders = found.addresses(np.arange(len(found.ts)))
        labels = np.array(
            [
                truth.get(
                    _key(
                        found.ts[i] // 1000,
                        found.proto[i],
                        (originators[i], found.orig_p[i]),
                        (responders[i], found.resp_p[i]),
                    )
                )
                for i in range(len(found.ts))
            ]
            or [None],
            object,
        )
        yield name, capture, labels


def _key(
    milliseconds: object, proto: object, one: tuple[object, object], other: tuple[object, object]
) -> tuple[object, ...]:
    ends = sorted((str(address), str(port)) for address, port in (one, other))
    return (str(milliseconds), str(proto), *ends)
