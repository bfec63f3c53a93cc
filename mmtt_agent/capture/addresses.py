"""Numbers in place of addresses."""

from __future__ import annotations

import numpy as np


class Addresses:
    """Numbers for addresses: an IPv4 address is its own, IPv6 ones are numbered as they come."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._known: list[bytes] = []
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self._numbers)

    def numbers(self, addresses: np.ndarray) -> np.ndarray:
        """Numbers, uint32 ``(n,)``, of IPv6 addresses, uint8 ``(n, 16)``."""
        keys = np.ascontiguousarray(addresses).view("V16").ravel()
        unique, inverse = np.unique(keys, return_inverse=True)
        numbers = np.fromiter((self.number(key.tobytes()) for key in unique), np.uint32, len(unique))
        return numbers[inverse.ravel()]

    def number(self, address: bytes) -> int:
        number = self._numbers.get(address)
        if number is None:
            if self._free:
                number = self._free.pop()
                self._known[number] = address
            else:
                number = len(self._known)
                self._known.append(address)
            self._numbers[address] = number
        return number

    def forget(self, used: np.ndarray) -> None:
        """Forget all IPv6 addresses but those of these numbers; others are given the numbers that become free."""
        kept = set(used.tolist())
        self._numbers = {address: number for address, number in self._numbers.items() if number in kept}
        self._free = [number for number in range(len(self._known)) if number not in kept]
        for number in self._free:
            self._known[number] = b""

    def are_groups(self, family: int, numbers: np.ndarray) -> np.ndarray:
        """Which of a family's addresses are multicast ones: bool ``(n,)``."""
        if family == 0:
            found: np.ndarray = numbers >> np.uint32(28) == 14
            return found
        return np.fromiter((self._known[number][0] == 255 for number in numbers.tolist()), bool, len(numbers))

    def bytes_of(self, family: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """The addresses, uint8 ``(n, 16)``, IPv4 as IPv4-mapped."""
        result = np.zeros((len(numbers), 16), np.uint8)
        result[:, 10:12] = 255
        result[:, 12:] = numbers.astype(">u4").view(np.uint8).reshape(-1, 4)
        if family.any():
            known = self._known
            table = np.frombuffer(b"".join([known[number] for number in numbers[family].tolist()]), np.uint8)
            result[family] = table.reshape(-1, 16)
        return result
