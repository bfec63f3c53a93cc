"""Network interfaces: which there are, what their packets begin with, and whether they are up.

All by ``ioctl``, and so of the network namespace that the process is in, whatever ``/sys`` shows.
"""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct
from dataclasses import dataclass

from .errors import SniffError

#: libpcap's numbers of link types (DLT), as on Linux.
ETHERNET, FDDI, RAW, WIFI, RADIOTAP = 1, 10, 12, 105, 127

_GET_FLAGS, _GET_HARDWARE, _ETHTOOL = 0x8913, 0x8927, 0x8946
_IFF_UP = 1
# What `ethtool -k` asks: a number of its own for GRO, a bit among flags for LRO.
_GET_GRO, _GET_OFFLOADS, _LRO = 0x2B, 0x25, 1 << 15

_LOOPBACK = 772
#: By the kernel's number (ARPHRD_…) of the interface's hardware, where packets are taken with their link header.
_WITH_HEADER = {1: ETHERNET, _LOOPBACK: ETHERNET, 774: FDDI, 801: WIFI, 803: RADIOTAP}
#: Of these the kernel hands out the IP packet alone: SLIP (two kinds, each with compressed headers, too), InfiniBand,
#: PPP, raw IP (modems), IP in IP, IPv6 in IPv6, SIT, GRE over IPv4 and IPv6, tun, WireGuard and other tunnels.
_WITHOUT_HEADER = frozenset((256, 257, 258, 259, 32, 512, 519, 768, 769, 776, 778, 823, 65534, 65535))


@dataclass(frozen=True, slots=True)
class Link:
    """How packets of an interface are taken.

    Attributes:
        index: the kernel's number of the interface.
        linktype: what they begin with, as a number of libpcap's.
        headless: without their link header, which the kernel takes off (``SOCK_DGRAM``).
        loopback: the kernel shows each twice, on its way out and on its way in.
    """

    index: int
    linktype: int
    headless: bool
    loopback: bool


def link(name: str) -> Link:
    """How to take an interface's packets.

    Raises:
        SniffError: there is no such interface, or nothing is known of its kind.
    """
    index = index_of(name)
    if not index:
        there = ", ".join(sorted(each for _, each in socket.if_nameindex())) or "none"
        raise SniffError(f"{name}: there is no such interface; there are: {there}")
    try:
        hardware = struct.unpack_from("H", _ask(_GET_HARDWARE, name), 16)[0]
    except OSError as error:
        raise SniffError(f"{name}: can't be asked for its kind: {error.strerror}") from None
    if hardware in _WITHOUT_HEADER:
        return Link(index, RAW, True, False)
    if (linktype := _WITH_HEADER.get(hardware)) is None:
        raise SniffError(
            f"{name}: packets of this kind of interface (ARPHRD {hardware}) can't be read; "
            "name one with Ethernet, Wi-Fi in monitor mode, or IP (a tunnel, PPP)"
        )
    return Link(index, linktype, False, hardware == _LOOPBACK)


def index_of(name: str) -> int:
    """The kernel's number of an interface; 0 if there is none of that name."""
    try:
        return socket.if_nametoindex(name)
    except (OSError, ValueError):
        return 0


def is_there(index: int) -> bool:
    """Whether the interface of this number still exists."""
    try:
        socket.if_indextoname(index)
    except OSError:
        return False
    return True


def is_up(name: str) -> bool:
    try:
        flags: int = struct.unpack_from("H", _ask(_GET_FLAGS, name), 16)[0]
    except OSError:
        return False
    return bool(flags & _IFF_UP)


def merges(name: str) -> list[str]:
    """What merges received packets before anybody sees them: ``gro``, ``lro``, as ``ethtool -K`` calls them."""
    found = []
    for number, bit, what in ((_GET_GRO, 1, "gro"), (_GET_OFFLOADS, _LRO, "lro")):
        value = bytearray(struct.pack("II", number, 0))
        try:
            _ask(_ETHTOOL, name, value)
        except OSError:
            continue
        if struct.unpack_from("I", value, 4)[0] & bit:
            found.append(what)
    return found


def _ask(request: int, name: str, value: bytearray | None = None) -> bytes:
    """The kernel's answer, 40 bytes with the name in front; what it writes elsewhere goes into ``value``."""
    pointer = ctypes.addressof((ctypes.c_char * len(value)).from_buffer(value)) if value is not None else 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asked:
        return fcntl.ioctl(asked, request, struct.pack("16sP16x", name.encode()[:15], pointer))
