"""The Internet checksum of many byte ranges at once.

Sums are kept modulo 65535 in little-endian order; whether one is valid doesn't depend on the byte order.
"""

from __future__ import annotations

import numpy as np

_HALF, _BYTE = np.uint64(0xFFFF), np.uint64(8)
_LOW_WORD, _HALF_WORD, _ALL = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(0xFFFFFFFFFFFFFFFF)


def sum16(data: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Sum of the 16-bit words from ``start`` to ``stop``, a last odd byte padded with zero.

    Args:
        data: uint8; at least 8 bytes longer than any ``stop``.
        start, stop: int64 ``(n,)`` offsets.

    Returns:
        uint64 ``(n,)``, not reduced; the word at ``start`` counts as little-endian.
    """
    words = data[: len(data) // 8 * 8].view("<u8")
    # The two halves of each word, added: no sum of them overflows.
    halves = words >> _HALF_WORD
    halves += words.view("<u4")[0::2]
    first, last = start + 7 >> 3, stop >> 3
    ranges = np.empty(2 * len(start), np.int64)
    ranges[0::2], ranges[1::2] = first, last
    total = np.add.reduceat(halves, np.minimum(ranges, len(halves) - 1))[0::2]
    total[first >= last] = 0
    # What is before the first and after the last whole word.
    from_start = _ALL << ((start & 7) << 3).astype(np.uint64)
    to_stop = ~(_ALL << ((stop & 7) << 3).astype(np.uint64))
    head = np.where(start & 7, words[start >> 3] & from_start, np.uint64(0))
    tail = words[last] & to_stop
    in_one = first > last
    head[in_one] &= to_stop[in_one]
    tail[in_one] = 0
    for part in (head, tail):
        total += (part & _LOW_WORD) + (part >> _HALF_WORD)
    total = (total & _LOW_WORD) + (total >> _HALF_WORD)
    total = fold(total)
    # From an odd offset every byte stood in the other half of its word.
    odd = (start & 1).astype(bool)
    return np.where(odd, (total & np.uint64(0xFF)) << _BYTE | total >> _BYTE, total)


def fold(total: np.ndarray) -> np.ndarray:
    """Carry the bits above the lower 16 around, until there are none."""
    for _ in range(3):
        total = (total & _HALF) + (total >> np.uint64(16))
    return total


def valid(total: np.ndarray) -> np.ndarray:
    """Whether sums that include the checksum itself are right."""
    return fold(total) == _HALF


def swapped(numbers: np.ndarray) -> np.ndarray:
    """16-bit numbers in the sums' byte order (larger ones as two words): uint64."""
    wide = numbers.astype(np.uint64)
    low, high = wide & _HALF, wide >> np.uint64(16)
    return ((low & np.uint64(0xFF)) << _BYTE | low >> _BYTE) + (
        (high & np.uint64(0xFF)) << _BYTE | high >> _BYTE
    )
