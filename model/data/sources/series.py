"""Flows of which only the series is public, no capture: ``series.jsonl.zst`` and ``sequences.jsonl.zst`` of a directory
of captures, a JSON object per line.

Each has ``source`` (a repository, and after a colon a part of it), ``service``, ``application``, ``malicious`` ("1",
"0"), ``sizes`` (signed, positive from the originator), ``times_us`` (since the first, or null where the source has
none) and ``size_kind``, which says what the sizes count.
"""

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

from mmtt_agent.series import MAX_PAYLOAD_PACKETS, MAX_SIZE, MAX_WAIT_US, MIN_PACKETS, SeriesBatch

from ..errors import DatasetError
from ..labels import CaptureLabels, Labels, Taxonomy

#: Files of a directory that hold series, where it has any.
FILES = ("series.jsonl.zst", "sequences.jsonl.zst")
#: Bytes of headers in each of the sizes that count them, and of what is padding or no more than an acknowledgement.
#: TCP's may have options in each packet (timestamps): by the smallest of a flow's sizes.
_FRAME, _PADDED = 54, 60
_IP, _IP_OPTIONS, _UDP = 40, 52, 28


def series_sources(directory: Path) -> dict[str, list[dict[str, Any]]]:
    """The flows of each source named in the directory's files, in their order.

    Raises:
        DatasetError: a file is damaged.
    """
    found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for name in FILES:
        path = directory / name
        if path.exists():
            for flow in _lines(path):
                found[flow["source"]].append(flow)
    return dict(found)


def windows(flows: list[dict[str, Any]], taxonomy: Taxonomy) -> tuple[SeriesBatch, np.ndarray, list[Labels], int]:
    """The first window of each flow that is long enough.

    Returns:
        The windows; bool (n,) whether their times are known (all zero where not); their labels; how many flows were too
        short.
    """
    sizes, times, timed, labels, short = [], [], [], [], 0
    for flow in flows:
        payload, when = _payload(flow)
        if len(payload) < MIN_PACKETS:
            short += 1
            continue
        sizes.append(payload)
        times.append(when or [0] * len(payload))
        timed.append(when is not None)
        labels.append(_labels(flow, taxonomy))
    return SeriesBatch.from_lists(sizes, times), np.array(timed, bool), labels, short


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as stream:
            for number, line in enumerate(io.TextIOWrapper(stream, encoding="utf-8"), 1):
                flow = json.loads(line)
                if not _is_series(flow):
                    raise DatasetError(f"{path}: line {number} is no series; fetch it again")
                yield flow
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from None
    except (ValueError, zstandard.ZstdError) as error:
        raise DatasetError(f"{path}: damaged ({error}); fetch it again") from None


def _is_series(flow: object) -> bool:
    if not isinstance(flow, dict) or not all(isinstance(flow.get(key), str) for key in ("source", "service")):
        return False
    sizes, times = flow.get("sizes"), flow.get("times_us")
    if times is None:
        times = sizes
    if not isinstance(sizes, list) or not isinstance(times, list) or len(sizes) != len(times):
        return False
    return "malicious" in flow and all(isinstance(each, int) for each in (*sizes, *times))


def _payload(flow: dict[str, Any]) -> tuple[list[int], list[int] | None]:
    """Signed payload sizes and times of the first window."""
    given, kind = np.array(flow["sizes"], np.int64), flow.get("size_kind") or ""
    if kind.endswith("frame_length"):
        payload = np.where(np.abs(given) <= _PADDED, 0, np.abs(given) - _FRAME)
    elif kind == "ip_length":
        smallest = int(np.abs(given).min()) if len(given) else _IP
        headers = _UDP if "/UDP_" in flow.get("flow", "") else _IP_OPTIONS if smallest == _IP_OPTIONS else _IP
        payload = np.abs(given) - headers
    else:
        payload = np.abs(given)
    times = flow.get("times_us")
    when = np.zeros(len(given), np.int64) if times is None else np.maximum.accumulate(np.array(times, np.int64))
    kept = np.flatnonzero(payload > 0)[:MAX_PAYLOAD_PACKETS]
    if len(kept):
        kept = kept[when[kept] - when[kept[0]] <= MAX_WAIT_US]
    signed = (np.sign(given) * payload.clip(0, MAX_SIZE))[kept]
    return signed.tolist(), None if times is None else (when[kept] - when[kept[:1]]).tolist()


def _labels(flow: dict[str, Any], taxonomy: Taxonomy) -> Labels:
    # Corrected flow by flow by who gathered them, so each is a capture of one thing.
    malicious = {"1": True, "0": False}.get(str(flow["malicious"]))
    about = CaptureLabels(
        "",
        "malicious" if malicious else "benign",
        flow["service"],
        flow.get("application") or "",
        str(flow["malicious"]),
    )
    service, application = taxonomy.of_series(about)
    return Labels(
        None if malicious else service,
        None if malicious else application,
        malicious,
        taxonomy.kind(about) if malicious else None,
        "capture" if service and not malicious else "",
        "capture" if application and not malicious else "",
    )
