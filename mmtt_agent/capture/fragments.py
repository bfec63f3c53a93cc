"""Fragments of IP packets, put together as Zeek does it."""

from __future__ import annotations

from dataclasses import dataclass, field

from mmtt_agent.capture import ipv6

#: A packet whose fragments have not all come this long after the first is given up (``frag_timeout``), in µs.
TIMEOUT = 300_000_000
#: Bytes that a fragment takes beside its own.
_OVERHEAD = 256

#: Of a packet in pieces: IPv4 (0) or IPv6 (1), addresses, identification.
Key = tuple[int, bytes, int]


@dataclass(slots=True)
class _Partial:
    header: bytes
    protocol: int
    started: int
    fragments: int = 0
    #: Bytes of memory that it takes, about.
    held: int = 0
    #: Where the last fragment ends; 0 while it isn't known.
    size: int = 0
    #: Blocks that don't overlap, by where they begin.
    blocks: dict[int, bytes] = field(default_factory=dict)


class Fragments:
    """Packets of which some fragments are still missing.

    Args:
        most: bytes of memory that they take at most, about; beyond that the oldest are given up. None: no limit.

    Attributes:
        given_up: fragments of packets that were given up.
    """

    def __init__(self, most: int | None = None) -> None:
        self.given_up = 0
        self._most, self._held = most, 0
        # In order of their first fragments.
        self._partial: dict[Key, _Partial] = {}

    def waiting(self) -> int:
        """Fragments whose packets are not whole."""
        return sum(partial.fragments for partial in self._partial.values())

    def add(
        self, key: Key, now: int, packet: bytes, header: int, offset: int, more: bool, protocol: int
    ) -> bytes | None:
        """Take a fragment in.

        Args:
            key: addresses and identification.
            now: network time in µs.
            packet: the fragment from its IP header on.
            header: bytes of its headers (for IPv6 up to and with the fragment header).
            offset: where in the packet it belongs.
            more: whether others follow.
            protocol: what its header says follows.

        Returns:
            The whole packet, if this was what it lacked.
        """
        self._expire(now)
        partial = self._partial.get(key)
        if partial is None:
            kept = header if key[0] == 0 else header - 8
            partial = self._partial[key] = _Partial(packet[:kept], protocol, now)
        partial.fragments += 1
        body = packet[header:]
        partial.held += len(body) + _OVERHEAD
        self._held += len(body) + _OVERHEAD
        upper = offset + len(body)
        if offset == 0:
            partial.protocol = protocol
        if not more or partial.size:
            partial.size = max(partial.size, upper)
        self._insert(partial.blocks, offset, body)
        whole = self._assemble(partial)
        if whole is not None:
            self._held -= self._partial.pop(key).held
        return whole

    def _expire(self, now: int) -> None:
        while self._partial:
            key, oldest = next(iter(self._partial.items()))
            if now - oldest.started < TIMEOUT and (self._most is None or self._held <= self._most):
                break
            del self._partial[key]
            self.given_up += oldest.fragments
            self._held -= oldest.held

    @staticmethod
    def _insert(blocks: dict[int, bytes], at: int, body: bytes) -> None:
        """Fill in what is still missing; what came first stays."""
        for begin in sorted(blocks):
            if not body:
                return
            end = begin + len(blocks[begin])
            if end <= at:
                continue
            if begin > at:
                blocks[at] = body[: begin - at]
            body = body[max(end - at, 0) :]
            at = max(end, at)
        if body:
            blocks[at] = body

    @staticmethod
    def _assemble(partial: _Partial) -> bytes | None:
        blocks = partial.blocks
        if not partial.size or 0 not in blocks:
            return None
        reached = 0
        parts = []
        for begin in sorted(blocks):
            if begin != reached:
                break
            parts.append(blocks[begin])
            reached += len(blocks[begin])
        if reached < partial.size:
            return None
        body = b"".join(parts)
        header = bytearray(partial.header)
        if header[0] >> 4 == 4:
            header[2:4] = (len(header) + len(body) & 0xFFFF).to_bytes(2, "big")
            header[6:8] = b"\0\0"
        else:
            header[4:6] = (len(header) + len(body) - 40 & 0xFFFF).to_bytes(2, "big")
            _replace_next(header, partial.protocol)
        return bytes(header) + body


def _replace_next(header: bytearray, protocol: int) -> None:
    """Let the header that pointed at the fragment header point at what followed it."""
    at, pointer = 40, 6
    while at < len(header):
        following = header[pointer]
        if following == ipv6.FRAGMENT or not ipv6.IS_EXTENSION[following]:
            break
        pointer = at
        at += 8 + header[at + 1] * (4 if following == ipv6.AUTHENTICATION else 8)
    header[pointer] = protocol
