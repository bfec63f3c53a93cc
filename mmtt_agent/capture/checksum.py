"""The Internet checksum of many byte ranges at once.

Sums are kept modulo 65535 in little-endian order; whether one is valid doesn't depend on the byte order.
"""

from __future__ import annotations

import numpy as np

_HALF, _BYTE = np.uint64(0xFFFF), np.uint64(8)


def sum16(data: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Sum of the 16-bit words from ``start`` to ``stop``, a last odd byte padded with zero.

    Args:
        data: uint8; at least 8 bytes longer than any ``stop``.
        start, stop: int64 ``(n,)`` offsets.

    Returns:
        uint64 ``(n,)``, not reduced; the word at ``start`` counts as little-endian.
    """
    words = data[: len(data) // 4 * 4].view("<u4")
    first, last = start + 3 >> 2, stop >> 2
    ranges = np.empty(2 * len(start), np.int64)
    ranges[0::2], ranges[1::2] = first, last
    total = np.add.reduceat(words, np.minimum(ranges, len(words) - 1), dtype=np.uint64)[0::2]
    total[first >= last] = 0
    # What is before the first and after the last whole 32-bit word.
    head_stop = np.minimum(first * 4, stop)
    tail_start = np.maximum(last * 4, head_stop)
    for begin, end in ((start, head_stop), (tail_start, stop)):
        for step in range(3):
            at = begin + step
            value = np.where(at < end, data[at], 0).astype(np.uint64)
            total += np.where(at & 1, value << _BYTE, value)
    total = (total & np.uint64(0xFFFFFFFF)) + (total >> np.uint64(32))
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
