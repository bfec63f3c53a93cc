"""Flows of which only the series is public, no capture: ``series.jsonl.zst`` and ``sequences.jsonl.zst`` of a directory
of captures, a JSON object per line.

Each has ``source`` (a repository, and after a colon a part of it), ``service``, ``application``, ``malicious`` ("1",
"0"; a word or null for not known), ``sizes`` (signed, positive from the originator), ``times_us`` (since the first, or
null where the source has none) and ``size_kind``, which says what the sizes count.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import zstandard

from mmtt_agent.series import MAX_PAYLOAD_PACKETS, MAX_SIZE, MAX_WAIT_US, MIN_PACKETS, SeriesBatch

from ..errors import DatasetError
from ..labels import CaptureLabels, Labels
from ..taxonomy import Taxonomy
from .compressed import open_text

#: Files of a directory that hold series, where it has any.
FILES = ("series.jsonl.zst", "sequences.jsonl.zst")
#: What sizes can count, beside all that ends in frame_length.
_SIZE_KINDS = ("tcp_payload", "udp_payload", "payload_from_frame", "tls_record", "ip_length")
#: Sizes and times are below this.
_MOST = 1 << 31
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
        with open_text(path) as file:
            for number, line in enumerate(file, 1):
                try:
                    flow = json.loads(line)
                except (ValueError, RecursionError):
                    raise DatasetError(f"{path}: line {number} is no JSON; fetch it again") from None
                if wrong := _wrong_in(flow):
                    raise DatasetError(f"{path}: line {number} is no series: {wrong}; fetch it again")
                yield flow
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from None
    except (ValueError, zstandard.ZstdError) as error:
        raise DatasetError(f"{path}: damaged ({error}); fetch it again") from None


def _wrong_in(flow: object) -> str:
    """What keeps it from being a series; empty where nothing does."""
    if not isinstance(flow, dict):
        return "it must be an object"
    if not isinstance(flow.get("source"), str) or not flow["source"]:
        return "source must be text"
    if not isinstance(flow.get("service"), str):
        return "service must be text"
    for key in ("application", "flow", "licence", "size_kind"):
        if not isinstance(flow.get(key), str | None):
            return f"{key} must be text or null"
    malicious = flow.get("malicious", False)
    if not isinstance(malicious, str | None) and (type(malicious) is not int or malicious not in (0, 1)):
        return 'malicious must be "1", "0", or a word or null for not known'
    kind = flow.get("size_kind")
    if kind and kind not in _SIZE_KINDS and not kind.endswith("frame_length"):
        return f"size_kind {kind!r} is none of {', '.join(_SIZE_KINDS)}, frame_length"
    sizes, times = flow.get("sizes"), flow.get("times_us")
    if not _whole_numbers(sizes) or not _whole_numbers(times if times is not None else []):
        return "sizes and times_us must be whole numbers below 2^31"
    if times is not None and (len(sizes) != len(times) or min(times, default=0) < 0):
        return "times_us must be as many as sizes, and none negative"
    return ""


def _whole_numbers(values: object) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(type(each) is int and -_MOST < each < _MOST for each in values)


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
