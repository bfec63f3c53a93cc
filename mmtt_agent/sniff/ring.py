"""Packets of an interface from a ring in memory that the kernel fills (AF_PACKET, TPACKET_V3).

The kernel hands out blocks of many packets, full or some milliseconds old. Each is copied and given back at once, so
that the whole of the ring is free for what comes while packets are looked into.
"""

from __future__ import annotations

import mmap
import select
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mmtt_agent.capture.records import Records

from . import filter as filters
from . import interfaces
from .blocks import BLOCK_STATUS, READY, Blocks
from .errors import SniffError

#: Bytes of a block: room for many of the longest packets, which are of 64 KiB where the kernel merges them.
BLOCK = 1 << 20
#: Milliseconds after which a block that isn't full is handed out; the kernel may take as much again.
RETIRE = 40
#: Blocks that are made records of together: what is done for many packets at once costs less for each.
_TOGETHER = 8
#: Seconds from one such lot to the next, unless there are as many blocks before; and how often that is looked for.
_GATHER, _GLANCE = 0.04, 0.005

_ALL_PROTOCOLS = 3
_SOL_PACKET = 263
_ADD_MEMBERSHIP, _RX_RING, _STATISTICS, _VERSION, _FANOUT = 1, 5, 6, 10, 18
_TPACKET_V3 = 2
_PROMISCUOUS = 1
# By a hash that is the same for both directions, of fragments put together.
_HASH, _DEFRAGMENT = 0, 0x8000


@dataclass(frozen=True, slots=True)
class Opened:
    """What only a process with privileges gets: a socket, which is bound to no interface yet, and the instructions of a
    filter."""

    packets: socket.socket
    program: bytes

    def close(self) -> None:
        """Where no ring has taken it."""
        self.packets.close()


def opened(interface: str, filter: str = "", snaplen: int = filters.LONGEST) -> Opened:
    """What a ring of this interface needs; see :class:`Ring`.

    Raises:
        SniffError: it can't be had.
    """
    return _opened(interface, interfaces.link(interface), filter, snaplen)


def _opened(interface: str, link: interfaces.Link, filter: str, snaplen: int) -> Opened:
    instructions = filters.program(filter, interface, link.linktype, snaplen)
    try:
        # Without a protocol it gets no packets until it is bound.
        packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM if link.headless else socket.SOCK_RAW, 0)
    except PermissionError:
        raise SniffError(
            f"{interface}: no permission to capture: run this with sudo, or give it the capability CAP_NET_RAW, as "
            "the unit mmtt-sniff.service does (systemctl start mmtt-sniff)"
        ) from None
    except (OSError, AttributeError):
        raise SniffError("this system has no packet sockets (AF_PACKET): Linux is needed, and no sandbox") from None
    return Opened(packets, instructions)


class Ring:
    """A ring of one interface's packets.

    Packets come as they are on the wire, less a VLAN's tag (the outer one where there are two), which the kernel takes
    out, and less the link header where that is the kernel's own business (tunnels, PPP): they are IP then.

    Several rings of one fanout group share the interface's packets: both directions of a connection come to the same
    one. The kernel puts IPv4's fragments together for that, but not IPv6's; and of what it doesn't look into (VXLAN,
    Geneve, GTP), it is the directions of the outer packets that stay together, which may have ports of their own.

    Args:
        interface: its name.
        filter: as tcpdump's; empty: all packets.
        fanout: number of the group (1 to 65535), the same in all of it and in no other program's; None: all packets.
        snaplen: bytes to take of a packet at most. Fewer make no sums to check and no fragments to put together.
        ring_bytes: how much the ring holds; made a multiple of a block, and no fewer than two.
        promiscuous: let the network card take packets for others, too.
        opened: what needs privileges, from a time when there were some (:func:`opened`, with the same filter); the
            ring closes its socket.

    Attributes:
        interface: its name.
        linktype: what packets begin with, as a number of libpcap's.
        trouble: why no packets can come, in one line: the interface is down, or gone. Empty while they can. It passes
            by itself; see :meth:`blocks`.
        warnings: what the user should know, one line each.

    Raises:
        SniffError: it can't be had.
    """

    def __init__(
        self,
        interface: str,
        *,
        filter: str = "",
        fanout: int | None = None,
        snaplen: int = filters.LONGEST,
        ring_bytes: int = 64 << 20,
        promiscuous: bool = True,
        opened: Opened | None = None,
    ) -> None:
        self.interface = interface
        self._fanout, self._promiscuous = fanout, promiscuous
        self._count = max(ring_bytes // BLOCK, 2)
        self._link = interfaces.link(interface)
        self.linktype = self._link.linktype
        if opened is None:
            opened = _opened(self.interface, self._link, filter, snaplen)
        self._socket, self._program = opened.packets, opened.program
        if self._link.loopback:
            self._program = filters.INCOMING + self._program
        self._blocks = Blocks(_TOGETHER * BLOCK, self.linktype)
        self._taken = 0.0  # when, by the monotonic clock
        self._packets = self._drops = 0
        self.trouble = ""
        self.warnings = self._warnings()
        self._open()

    def __enter__(self) -> Ring:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """Of the socket, to wait for packets with others (readable). -1 once it is closed."""
        return self._socket.fileno()

    def blocks(self, timeout: float) -> Iterator[Records]:
        """The packets that are there, some blocks at a time; more than once only where this falls behind.

        If there are none, waits for the first; if there are few, and were some just before, a moment for more
        (:data:`_GATHER`). Where none can come (:attr:`trouble`) it waits as well, and looks whether the interface is
        back; no more has to be done about it than to call this again.

        Args:
            timeout: seconds to wait at most.

        Yields:
            Records whose data is valid until the next ones are asked for.

        Raises:
            SniffError: the interface is back but its packets can't be had any more.
        """
        if not self._status[self._at]:
            self._wait(timeout)
        self._gather()
        # No more than the ring holds: whoever asks has other things to do, too.
        for _ in range(max(self._count // _TOGETHER, 2)):
            if (records := self._take()) is None:
                return
            yield records
            if not self._many():
                return

    def statistics(self) -> tuple[int, int]:
        """Packets that have passed the filter since the start, and how many of them were lost, as the ring was full."""
        if self._socket.fileno() >= 0:
            # Read, the kernel begins anew. Its number of packets has the lost ones in it.
            packets, drops, _ = struct.unpack("III", self._socket.getsockopt(_SOL_PACKET, _STATISTICS, 12))
            self._packets += packets
            self._drops += drops
        return self._packets, self._drops

    def close(self) -> None:
        """Let go of the ring. The statistics stay."""
        if self._socket.fileno() < 0:
            return
        self.statistics()
        del self._memory, self._status
        self._map.close()
        self._socket.close()

    def _open(self) -> None:
        try:
            self._make_ring()
            try:
                # Let in is what the filter takes once the packets are shared: none unfiltered, none of others' share.
                filters.attach(self._socket, filters.NOTHING)
                self._bind()
                if self._fanout is not None:
                    self._join(self._fanout)
                filters.attach(self._socket, self._program)
                self._look()
            except BaseException:
                del self._memory, self._status
                self._map.close()
                raise
        except BaseException:
            self._socket.close()
            raise
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN | select.POLLERR)
        self._at = 0

    def _make_ring(self) -> None:
        interface, size = self.interface, self._count * BLOCK
        try:
            self._socket.setsockopt(_SOL_PACKET, _VERSION, _TPACKET_V3)
        except OSError:
            raise SniffError(f"{interface}: the kernel has no TPACKET_V3 rings: Linux 3.2 or later is needed") from None
        # The size of a frame matters to earlier versions alone, but has to fit.
        frame = 2048
        request = struct.pack("7I", BLOCK, self._count, frame, size // frame, RETIRE, 0, 0)
        try:
            self._socket.setsockopt(_SOL_PACKET, _RX_RING, request)
            self._map = mmap.mmap(self._socket.fileno(), size)
        except OSError as error:
            raise SniffError(
                f"{interface}: no memory for a ring of {size >> 20} MiB ({error.strerror}); choose a smaller one"
            ) from None
        self._memory = np.frombuffer(self._map, np.uint8)
        self._status = np.ndarray(self._count, np.uint32, self._map, BLOCK_STATUS * 4, (BLOCK,))

    def _bind(self) -> None:
        try:
            self._socket.bind((self.interface, _ALL_PROTOCOLS))
            if self._promiscuous:
                membership = struct.pack("iHH8x", self._link.index, _PROMISCUOUS, 0)
                self._socket.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, membership)
        except OSError as error:
            raise SniffError(f"{self.interface}: can't be captured from: {error.strerror}") from None

    def _join(self, group: int) -> None:
        try:
            self._socket.setsockopt(_SOL_PACKET, _FANOUT, struct.pack("I", group | (_HASH | _DEFRAGMENT) << 16))
        except OSError as error:
            raise SniffError(
                f"{self.interface}: its packets can't be shared in fanout group {group} ({error.strerror}); "
                "choose another number, as another program may have it"
            ) from None

    def _warnings(self) -> list[str]:
        found = []
        if not self._link.loopback and (merging := interfaces.merges(self.interface)):
            off = " ".join(f"{what} off" for what in merging)
            found.append(
                f"{self.interface}: packets are merged before they are seen, and so have other sizes than on the wire; "
                f"type: ethtool -K {self.interface} {off}"
            )
        return found

    def _wait(self, timeout: float) -> None:
        events = self._poll.poll(max(timeout, 0) * 1000)
        failed = any(event & (select.POLLERR | select.POLLHUP) for _, event in events)
        if failed:
            # Read, it is gone; else there'd be no waiting any more.
            self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failed or self.trouble:
            self._look()

    def _gather(self) -> None:
        """Where there is something, let it become more, if the last has only just been taken."""
        while self._status[self._at] and not self._many() and time.monotonic() - self._taken < _GATHER:
            time.sleep(_GLANCE)

    def _many(self) -> bool:
        """Whether there are as many blocks as are taken together."""
        return bool(self._status[(self._at + min(_TOGETHER, self._count // 2) - 1) % self._count])

    def _look(self) -> None:
        """Find out whether packets can come; if the interface went and is back, take them from there."""
        interface = self.interface
        if not interfaces.is_there(self._link.index):
            self.trouble = f"{interface}: is gone; waiting for it to come back"
            if not interfaces.index_of(interface):
                return
            self._again()
        up = interfaces.is_up(interface)
        self.trouble = "" if up else f"{interface}: is down; type: ip link set {interface} up"

    def _again(self) -> None:
        """Turn to the new interface of the old name."""
        link = interfaces.link(self.interface)
        if (link.linktype, link.headless) != (self._link.linktype, self._link.headless):
            raise SniffError(f"{self.interface}: is back as another kind of interface; start again")
        if self._fanout is not None:
            # The kernel binds none that shares a second time, and to open another may no longer be allowed.
            raise SniffError(
                f"{self.interface}: is back as a new interface, which several rings can't follow; start again"
            )
        self._link = link
        self._bind()

    def _take(self) -> Records | None:
        """What is ready, and fits the buffer."""
        at, status, blocks = self._at, self._status, self._blocks
        while status[at] & READY and blocks.add(self._memory[at * BLOCK : (at + 1) * BLOCK]):
            status[at] = 0
            at = (at + 1) % self._count
        self._at = at
        self._taken = time.monotonic()
        return blocks.records()
