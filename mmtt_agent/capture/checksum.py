"""The Internet checksum of many byte ranges at once.

Sums are kept modulo 65535 in little-endian order; whether one is valid doesn't depend on the byte order.
"""

from __future__ import annotations

import numpy as np

_HALF, _BYTE = np.uint64(0xFFFF), np.uint64(8)
_SIXTEEN, _LOW_WORD, _HALF_WORD = np.uint64(16), np.uint64(0xFFFFFFFF), np.uint64(32)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


def sum16(data: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Sum of the 16-bit words from ``start`` to ``stop``, a last odd byte padded with zero.

    Args:
        data: uint8; at least 16 bytes longer than any ``stop``.
        start, stop: int64 ``(n,)`` offsets, ``start`` not after ``stop``, no more than 64 KiB apart.

    Returns:
        uint64 ``(n,)``, less than 2**44, right modulo 65535; the word at ``start`` counts as little-endian.
    """
    words = data[: len(data) // 8 * 8].view("<u8")
    first, last = start >> 3, stop >> 3
    ranges = np.empty(2 * len(start), np.int64)
    ranges[0::2], ranges[1::2] = first, last + 1
    # Whole words, of which the sum overflows: that of their upper 48 bits does not, and tells what is lost.
    upper = np.add.reduceat(words >> _SIXTEEN, ranges)[0::2]
    lower = np.add.reduceat(words, ranges)[0::2] - (upper << _SIXTEEN)
    # Less what is before `start` and from `stop` on: adding a word's complement takes the word away.
    before = ~words[first] | _ALL << ((start & 7) << 3).astype(np.uint64)
    after = ~(words[last] & _ALL << ((stop & 7) << 3).astype(np.uint64))
    total = lower
    for part in (upper, before, after):
        total += part & _LOW_WORD
        total += part >> _HALF_WORD
    # From an odd offset every byte stood in the other half of its word.
    total <<= ((start & 1) << 3).astype(np.uint64)
    found: np.ndarray = total
    return found


def fold(total: np.ndarray) -> np.ndarray:
    """Carry the bits above the lower 16 around, until there are none."""
    for _ in range(3):
        total = (total & _HALF) + (total >> np.uint64(16))
    return total


def valid(total: np.ndarray) -> np.ndarray:
    """Whether sums that include the checksum itself are right."""
    found: np.ndarray = fold(total) == _HALF
    return found


def swapped(numbers: np.ndarray) -> np.ndarray:
    """16-bit numbers in the sums' byte order (larger ones as two words): uint64."""
    wide = numbers.astype(np.uint64)
    low, high = wide & _HALF, wide >> np.uint64(16)
    found: np.ndarray = ((low & np.uint64(0xFF)) << _BYTE | low >> _BYTE) + (
        (high & np.uint64(0xFF)) << _BYTE | high >> _BYTE
    )
    return found
