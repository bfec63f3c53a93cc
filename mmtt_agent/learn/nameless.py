"""Windows as they would be if the client said no server's name: those are what a site learns its answers for, and the
windows that have names to learn from are not quite like them.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ..series import SeriesBatch

#: Of the TLS extension, beside the name: two types, three lengths.
_BESIDE = 9
#: A ClientHello that was padded to this (RFC 7685), with the record's head, is so without a name, too.
_PADDED = 517


def without_name(series: SeriesBatch, lengths: np.ndarray) -> SeriesBatch:
    """First windows of TLS over TCP, their ClientHello without the name that it says.

    It is what the originator sends before the first answer, and its last packet is shorter. Where that packet holds no
    more than the name the window stays as it is. (QUIC pads, so that a name makes nothing longer.)

    Args:
        lengths: int64 (n,), of each name; 0: there is none, and the window stays as it is.
    """
    first = np.cumsum(series.sizes <= 0, axis=1) == 0  # what comes before the first answer, or the window's end
    flight = first.sum(axis=1)
    rows = np.flatnonzero((lengths > 0) & (flight > 0))
    last = flight[rows] - 1
    shorter = series.sizes[rows, last] - lengths[rows] - _BESIDE
    hello = (series.sizes[rows] * first[rows]).sum(axis=1)
    possible = (shorter > 0) & (hello != _PADDED)
    sizes = series.sizes.copy()
    sizes[rows[possible], last[possible]] = shorter[possible]
    return dataclasses.replace(series, sizes=sizes)
