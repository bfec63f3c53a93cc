"""Community ID: one name for a flow in the logs of Zeek, Suricata and others.

Version 1 of the specification (github.com/corelight/community-id-spec): of the two ends, the smaller first, so that it
is the same whoever began.
"""

from __future__ import annotations

import socket
from binascii import b2a_base64
from functools import lru_cache
from hashlib import sha1

#: Seeds have 16 bits.
MAX_SEED = 0xFFFF

_ICMP, _TCP, _UDP, _ICMPV6, _SCTP = 1, 6, 17, 58, 132
#: Numbers of protocols, by their names in small letters.
NUMBERS = {"icmp": _ICMP, "tcp": _TCP, "udp": _UDP, "ipv6-icmp": _ICMPV6, "sctp": _SCTP}
_WITH_PORTS = frozenset(NUMBERS.values())
#: Questions of ICMP by type, and their answers. What is neither of them has no other direction.
_PAIRS = {
    _ICMP: ((8, 0), (13, 14), (15, 16), (10, 9), (17, 18)),
    _ICMPV6: ((128, 129), (130, 131), (133, 134), (135, 136), (139, 140), (144, 145)),
}
_ANSWERS = {
    proto: {one: other for pair in pairs for one, other in (pair, pair[::-1])} for proto, pairs in _PAIRS.items()
}


def community_id(proto: int, src: str | bytes, sport: int, dst: str | bytes, dport: int, seed: int = 0) -> str:
    """The name of a flow, ``1:`` and the Base64 of a SHA-1.

    Args:
        proto: number of the protocol: 6 for TCP, 17 for UDP.
        src, dst: addresses, as text or as their 4 or 16 bytes.
        sport, dport: ports; the type and the code of ICMP and ICMPv6; of other protocols they don't matter.
        seed: below 65,536; who compares IDs uses the same.

    Raises:
        ValueError: no addresses, or not of one family, or a number that is too large.
    """
    one = _packed(src) if isinstance(src, str) else src
    other = _packed(dst) if isinstance(dst, str) else dst
    if len(one) != len(other) or len(one) not in (4, 16):
        raise ValueError(f"not two addresses of one family: {src!r}, {dst!r}")
    turned = False
    if proto in _ANSWERS:
        answer = _ANSWERS[proto].get(sport)
        if answer is not None:
            dport = answer
            turned = (one, sport) > (other, dport)
    elif proto in _WITH_PORTS:
        turned = (one, sport) > (other, dport)
    else:
        turned = one > other
    if turned:
        one, other, sport, dport = other, one, dport, sport
    try:
        head, ends = seed.to_bytes(2, "big"), bytes((proto, 0))
        ports = sport.to_bytes(2, "big") + dport.to_bytes(2, "big") if proto in _WITH_PORTS else b""
    except (OverflowError, ValueError):
        raise ValueError(f"a protocol, port or seed that can't be: {proto}, {sport}, {dport}, {seed}") from None
    digest = sha1(head + one + other + ends + ports, usedforsecurity=False).digest()
    return "1:" + b2a_base64(digest, newline=False).decode("ascii")


# The same few hosts over and over, in a site's events.
@lru_cache(maxsize=8192)
def _packed(address: str) -> bytes:
    """
    Raises:
        ValueError: it is none.
    """
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    except (OSError, ValueError):
        raise ValueError(f"no address: {address!r}") from None
