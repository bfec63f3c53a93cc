"""From records to TCP segments and UDP datagrams, as Zeek's packet analysis would deliver them to connections.

Every layer is decoded for all of a block's packets at once. A layer takes :class:`Frames`, drops (and counts) what
Zeek would not pass on, and hands the rest to the next layer; a tunnel hands its inner packets back to the start.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mmtt_agent.capture import checksum, ipv6, tunnels
from mmtt_agent.capture.addresses import Addresses
from mmtt_agent.capture.files import Records, rows
from mmtt_agent.capture.fragments import Fragments
from mmtt_agent.capture.frames import Frames, u16
from mmtt_agent.capture.segments import ALIVE, ANSWER, COUNTED, STATELESS, TCP, TO_MANY, UDP, ZERO_WINDOW, Segments

#: Layers inside layers that are followed at most (Zeek: ``PacketAnalyzer::max_depth`` and ``Tunnel::max_depth``).
MAX_LAYERS = 24
MAX_TUNNELS = 4


@dataclass(slots=True)
class Datagrams:
    """What the IP layer hands on, beside the frames (whose ``at`` is the transport header, ``end`` its end).

    ``source``, ``destination``: uint32 address numbers; ``family``: 0 IPv4, 1 IPv6; ``size``: int64, bytes of payload
    by the IP header; ``pseudo``: uint64, checksum of the pseudo header's addresses; ``sum``: uint64, that of what was
    captured of the segment or datagram, None until it is needed.
    """

    source: np.ndarray
    destination: np.ndarray
    family: int
    size: np.ndarray
    pseudo: np.ndarray
    sum: np.ndarray | None = None

    def __getitem__(self, pick) -> Datagrams:
        return Datagrams(
            self.source[pick], self.destination[pick], self.family, self.size[pick], self.pseudo[pick],
            None if self.sum is None else self.sum[pick],
        )  # fmt: skip


class Decoder:
    """Decodes a capture's records, block by block, remembering fragments and tunnels between them.

    Args:
        checksums: leave out packets with a wrong checksum, as Zeek does where it isn't told ``-C``.
    """

    def __init__(self, checksums: bool = True):
        self._checked = checksums
        self.counts: dict[str, int] = {}
        self.addresses = Addresses()
        self.fragments = Fragments()
        self._parts: list[tuple[int, Segments]] = []
        self._work: deque[tuple[Callable, np.ndarray, Frames, int]] = deque()

    def decode(self, records: Records, first_row: int, clock: np.ndarray) -> Segments:
        """The block's segments.

        Args:
            records: the block.
            first_row: number of its first record in the capture.
            clock: int64 ``(n,)``, network time of each record, microseconds.
        """
        self._clock, self._first_row = clock, first_row
        self._parts = []
        everything = Frames(
            np.arange(len(records), dtype=np.int64),
            records.start,
            records.start + records.captured,
            records.start + records.captured,
            records.start + records.wire,
        )
        types = np.unique(records.linktype)
        for linktype in types:
            frames = everything if len(types) == 1 else everything[records.linktype == linktype]
            self._push(self._link(int(linktype)), records.data, frames, 0)
        while self._work:
            layer, data, frames, depth = self._work.popleft()
            if depth > MAX_LAYERS:
                self._count("nested_too_deep", len(frames))
            else:
                layer(data, frames, depth)
        parts = self._parts
        segments = Segments.concatenate([part for _, part in parts])
        if len(parts) > 1:
            inner = np.concatenate([np.full(len(part), level) for level, part in parts])
            segments = segments[np.lexsort((inner, segments.row))]
        segments.row = segments.row + first_row
        return segments

    # Bookkeeping

    def _count(self, cause: str, packets: int) -> None:
        if packets:
            self.counts[cause] = self.counts.get(cause, 0) + int(packets)

    def _push(self, layer: Callable, data: np.ndarray, frames: Frames, depth: int) -> None:
        if len(frames):
            self._work.append((layer, data, frames, depth))

    def _require(self, frames: Frames, size: int, cause: str = "truncated_link_header") -> Frames:
        """Those with at least `size` bytes left; the others are counted."""
        enough = frames.end - frames.at >= size
        if enough.all():
            return frames
        self._count(cause, len(frames) - np.count_nonzero(enough))
        return frames[enough]

    def _dispatch(self, data: np.ndarray, frames: Frames, protocol: np.ndarray, table: dict, depth: int) -> None:
        """Hand each frame to the layer its protocol number names."""
        if not len(frames):
            return
        first = int(protocol[0])
        if (protocol == first).all():
            layer = table.get(first)
            if layer is None:
                self._count("not_ip", len(frames))
            else:
                self._push(getattr(self, layer), data, frames, depth + 1)
            return
        rest = np.ones(len(frames), bool)
        for number in np.unique(protocol):
            if (layer := table.get(int(number))) is not None:
                of = protocol == number
                rest &= ~of
                self._push(getattr(self, layer), data, frames[of], depth + 1)
        self._count("not_ip", np.count_nonzero(rest))

    # Link layers

    def _link(self, linktype: int) -> Callable:
        # Zeek takes what it doesn't know for raw IP; so does this.
        return getattr(self, _LINK_TYPES.get(linktype, "_ip"))

    def _ethernet(self, data: np.ndarray, frames: Frames, depth: int) -> None:
        frames = self._require(frames, 17)
        protocol = u16(data, frames.at + 12)
        if (fabric := protocol == 0x8903).any():  # Cisco FabricPath
            frames = frames.skip(np.where(fabric, 16, 0))
            frames = self._require(frames, 15)
            protocol = u16(data, frames.at + 12)
        self._ethertype(data, frames.skip(14), protocol, depth)

    def _ethertype(self, data: np.ndarray, frames: Frames, protocol: np.ndarray, depth: int) -> None:
        """What follows an Ethernet or VLAN header: a protocol, or a length and an 802.2 header."""
        length = protocol <= 1500
        if length.any():
            of = frames[length]
            of = of.until(np.minimum(of.end, of.at + protocol[length]))
            self._snap(data, of, depth)
            frames, protocol = frames[~length], protocol[~length]
        self._dispatch(data, frames, protocol, _ETHERTYPES, depth)

    def _snap(self, data: np.ndarray, frames: Frames, depth: int) -> None:
        frames = self._require(frames, 9)
        is_snap = (data[frames.at] == 0xAA) & (data[frames.at + 1] == 0xAA)
        self._count("not_ip", np.count_nonzero(~is_snap))
        frames = frames[is_snap]
        frames = frames.skip(np.where(data[frames.at + 2] & 3 == 3, 3, 4))
        frames = self._require(frames, 5)
        vendor = u16(data, frames.at).astype(np.int64) << 8 | data[frames.at + 2]
        protocol = np.where(vendor == 0, u16(data, frames.at + 3), 0)
        table = {0x0800: "_ip", 0x86DD: "_ip"}
        self._dispatch(data, frames.skip(5), protocol, table, depth)

    def _vlan(self, data: np.ndarray, frames: Frames, depth: int) -> None:
        frames = self._require(frames, 5)
        protocol = u16(data, frames.at + 2)
        self._ethertype(data, frames.skip(4), protocol, depth)

    def _vntag(self, data: np.ndarray, frames: Frames, depth: int) -> None:
        frames = self._require(frames, 7)
        table = {0x8100: "_vlan", 0x88A8: "_vlan", 0x9100: "_vlan"}
        self._dispatch(data, frames.skip(6), u16(data, frames.at + 4), table, depth)

    def _pbb(self, data: np.ndarray, frames: Frames, depth: int) -> None:
        self._push(self._ethernet, data, self._require(frames, 19).skip(4), depth + 1)

    def _mpls(self, data: np.ndarray, frames: Frames, depth: int) -> None:
        while len(frames):
            frames = self._require(frames, 5)
            bottom = data[frames.at + 2] & 1 == 1
            frames = frames.skip(4)
            self._push(self._ip, data, frames[bottom], depth + 1)
            frames = frames[~bottom]

    def _pppoe(self, data: np.ndarray, frames: Frames, depth: int) -> None:
        frames = self._require(frames, 9)
        length = np.maximum(u16(data, frames.at + 4).astype(np.int64) - 2, 0)
        protocol = u16(data, frames.at + 6)
        frames = frames.skip(8)
        self._dispatch(data, frames.until(np.minimum(frames.end, frames.at + length)), protocol, _PPP, depth)

    def _ppp(self, data: np.ndarray, frames: Frames, depth: int) -> None:
        frames = self._require(frames, 3)
        framed = (data[frames.at] == 0xFF) & (data[frames.at + 1] == 0x03)
        frames = self._require(frames.skip(np.where(framed, 2, 0)), 3)
        self._dispatch(data, frames.skip(2), u16(data, frames.at), _PPP, depth)

    def _ppp_serial(self, data: np.ndarray, frames: Frames, depth: int) -> None:
        frames = self._require(frames, 5)
        self._dispatch(data, frames.skip(4), u16(data, frames.at + 2), _PPP, depth)

    def _linux_cooked(self, data: np.ndarray, frames: Frames, depth: int) -> None:
        frames = self._require(frames, 17)
        self._dispatch(data, frames.skip(16), u16(data, frames.at + 14), _COOKED, depth)

    def _linux_cooked2(self, data: np.ndarray, frames: Frames, depth: int) -> None:
        frames = self._require(frames, 21)
        self._dispatch(data, frames.skip(20), u16(data, frames.at), _COOKED, depth)

    def _null(self, data: np.ndarray, frames: Frames, depth: int) -> None:
        # The address family is in the byte order of the machine that captured: one of the two ends is zero.
        frames = self._require(frames, 5)
        family = rows(data, frames.at, 4).view("<u4")[:, 0]
        family = np.where(family >= 1 << 24, family.byteswap(), family)
        self._dispatch(data, frames.skip(4), family, {2: "_ip", 24: "_ip", 28: "_ip", 30: "_ip"}, depth)

    def _nflog(self, data: np.ndarray, frames: Frames, depth: int) -> None:
        frames = self._require(frames, 5)
        family = data[frames.at]
        known = data[frames.at + 1] == 0
        self._count("not_ip", np.count_nonzero(~known))
        frames, family = frames[known].skip(4), family[known]
        while len(frames):
            enough = frames.end - frames.at > 4
            self._count("truncated_link_header", np.count_nonzero(~enough))
            frames, family = frames[enough], family[enough]
            length = rows(data, frames.at, 4).view("<u2").astype(np.int64)
            payload = length[:, 1] == 9
            self._dispatch(data, frames[payload].skip(4), family[payload], {2: "_ip", 10: "_ip"}, depth)
            rest = ~payload & (length[:, 0] >= 4) & (frames.at + (length[:, 0] + 3 & ~3) <= frames.end)
            self._count("truncated_link_header", np.count_nonzero(~rest & ~payload))
            frames, family = frames[rest].skip(length[rest, 0] + 3 & ~3), family[rest]

    def _fddi(self, data: np.ndarray, frames: Frames, depth: int) -> None:
        self._push(self._ip, data, self._require(frames, 22).skip(21), depth + 1)

    def _radiotap(self, data: np.ndarray, frames: Frames, depth: int) -> None:
        frames = self._require(frames, 4)
        length = rows(data, frames.at, 4).view("<u2")[:, 1].astype(np.int64)
        self._push(self._wifi, data, frames.skip(length), depth + 1)

    def _wifi(self, data: np.ndarray, frames: Frames, depth: int) -> None:
        frames = self._require(frames, 25)
        control, flags = data[frames.at], data[frames.at + 1]
        with_data = (control >> 2 & 2 != 0) & (control >> 4 & 4 == 0)
        self._count("not_ip", np.count_nonzero(~with_data))
        frames, control, flags = frames[with_data], control[with_data], flags[with_data]
        qos = control >> 4 & 8 != 0
        length = np.where(flags & 3 == 3, 30, 24)
        aggregated = qos & (data[frames.at + length] & 0x80 != 0)
        protected = qos & (flags & 0x40 != 0)
        frames = frames.skip(length + np.where(qos, 2, 0))
        enough = frames.end > frames.at
        self._count("truncated_link_header", np.count_nonzero(~enough))
        self._count("not_ip", np.count_nonzero(enough & protected))
        keep = enough & ~protected
        frames, aggregated = frames[keep], aggregated[keep]
        self._wifi_llc(data, frames[~aggregated], depth)
        frames = frames[aggregated]
        while len(frames):
            frames = self._require(frames, 14)
            size = u16(data, frames.at + 12).astype(np.int64)
            inside = frames.at + 14 + size <= frames.end
            self._count("truncated_link_header", np.count_nonzero(~inside))
            frames, size = frames[inside].skip(14), size[inside]
            self._wifi_llc(data, frames.until(frames.at + size), depth)
            following = frames.at + size
            padding = size % 4
            following += np.where(frames.end - following >= padding, padding, 0)
            frames = frames.skip(following - frames.at)
            frames = frames[frames.at < frames.end]

    def _wifi_llc(self, data: np.ndarray, frames: Frames, depth: int) -> None:
        frames = self._require(frames, 8)
        header = rows(data, frames.at, 8)
        snap = (header[:, :6] == (0xAA, 0xAA, 3, 0, 0, 0)).all(axis=1)
        self._count("not_ip", np.count_nonzero(~snap))
        frames = frames[snap]
        self._dispatch(data, frames.skip(8), u16(data, frames.at + 6), _COOKED, depth)

    # IP

    def _ip(self, data: np.ndarray, frames: Frames, depth: int) -> None:
        frames = self._require(frames, 20, "truncated_ip")
        version = data[frames.at] >> 4
        four = version == 4
        if four.all():
            self._ipv4(data, frames, depth)
            return
        self._ipv4(data, frames[four], depth)
        six = version == 6
        self._count("unknown_ip_version", np.count_nonzero(~(four | six)))
        self._ipv6(data, self._require(frames[six], 40, "truncated_ip"), depth)

    def _ipv4(self, data: np.ndarray, frames: Frames, depth: int) -> None:
        if not len(frames):
            return
        header = rows(data, frames.at, 20)
        words = header.view(">u2")
        length = (header[:, 0] & 15).astype(np.int64) * 4
        total = words[:, 1].astype(np.int64)
        good = total > 0
        for cause, bad in (
            ("ip_length_zero", total == 0),
            ("truncated_ip", frames.wire < frames.at + total),
            ("bad_ip_header", (length > total) | (length < 20)),
            ("truncated_ip", frames.at + length > frames.end),
        ):
            if (bad & good).any():
                self._count(cause, np.count_nonzero(bad & good))
                good &= ~bad
        valid = checksum.valid(header.view(np.uint16).sum(axis=1, dtype=np.uint64))
        if (long := (length > 20) & good).any():
            valid[long] = checksum.valid(checksum.sum16(data, frames.at[long], (frames.at + length)[long]))
        if self._checked and not valid.all():
            self._count("bad_ip_checksum", np.count_nonzero(good & ~valid))
            good &= valid
        if not good.all():
            frames, header, words = frames[good], header[good], words[good]
            length, total = length[good], total[good]
        if not len(frames):
            return
        address = header[:, 12:20]
        pseudo = np.ascontiguousarray(address).view(np.uint16).sum(axis=1, dtype=np.uint64)
        numbers = np.ascontiguousarray(address).view(">u4").astype(np.uint32)
        datagrams = Datagrams(numbers[:, 0], numbers[:, 1], 0, total - length, pseudo)
        protocol = header[:, 9]
        fragment = words[:, 3] & 0x3FFF
        if fragment.any():
            fragmented = fragment != 0
            whole = frames.end - frames.at >= total
            offset = (fragment & 0x1FFF).astype(np.int64) * 8
            # Of a fragment that was cut short only the first is of use.
            self._count("cut_fragment", np.count_nonzero(fragmented & ~whole & (offset > 0)))
            for index in np.flatnonzero(fragmented & whole):
                at, size = int(frames.at[index]), int(total[index])
                self._fragment(
                    data[at : at + size].tobytes(), int(length[index]), int(offset[index]),
                    bool(words[index, 3] & 0x2000), (0, header[index, 12:20].tobytes(), int(words[index, 2])),
                    int(protocol[index]), frames[index : index + 1], depth,
                )  # fmt: skip
            keep = ~fragmented | (~whole & (offset == 0))
            frames, datagrams, protocol = frames[keep], datagrams[keep], protocol[keep]
            length = length[keep]
        frames = frames.skip(length)
        frames = frames.until(
            np.where(datagrams.size > 0, np.minimum(frames.end, frames.at + datagrams.size), frames.end)
        )
        self._transport(data, frames, datagrams, protocol, depth)

    def _ipv6(self, data: np.ndarray, frames: Frames, depth: int) -> None:
        if not len(frames):
            return
        header = rows(data, frames.at, 40)
        total = header[:, 4:6].copy().view(">u2")[:, 0].astype(np.int64) + 40
        fits = frames.wire >= frames.at + total
        if not fits.all():
            self._count("truncated_ip", np.count_nonzero(~fits))
            frames, header, total = frames[fits], header[fits], total[fits]
        if not len(frames):
            return
        protocol = header[:, 6].copy()
        length = np.full(len(frames), 40, np.int64)
        address = header[:, 8:40].copy()
        extended = np.flatnonzero(ipv6.IS_EXTENSION[protocol])
        good = np.ones(len(frames), bool)
        for index in extended:
            at = int(frames.at[index])
            chain = ipv6.chain(data[at : int(frames.end[index])].tobytes())
            cause = None
            if chain.length > total[index]:
                cause = "bad_ip_header"
            elif chain.length > frames.end[index] - at:
                cause = "truncated_ip"
            elif chain.fragment is not None:
                offset, more, identity = chain.fragment
                if frames.end[index] - at >= total[index]:
                    good[index] = False
                    self._fragment(
                        data[at : at + int(total[index])].tobytes(), chain.length, offset, more,
                        (1, chain.source + chain.destination, identity), chain.protocol,
                        frames[index : index + 1], depth,
                    )  # fmt: skip
                elif offset:
                    cause = "cut_fragment"
            elif chain.last in (ipv6.ESP, ipv6.MOBILITY):
                cause = "other_transport"
            if cause:
                good[index] = False
                self._count(cause, 1)
            protocol[index], length[index] = chain.protocol, chain.length
            address[index] = np.frombuffer(chain.source + chain.destination, np.uint8)
        if not good.all():
            frames, protocol, length = frames[good], protocol[good], length[good]
            address, total = address[good], total[good]
        if not len(frames):
            return
        pseudo = address.view(np.uint16).sum(axis=1, dtype=np.uint64)
        size = total - length
        datagrams = Datagrams(
            self.addresses.numbers(address[:, :16]), self.addresses.numbers(address[:, 16:]), 1, size, pseudo
        )
        frames = frames.skip(length)
        frames = frames.until(np.where(size > 0, np.minimum(frames.end, frames.at + size), frames.end))
        self._transport(data, frames, datagrams, protocol, depth)

    def _fragment(self, packet, header, offset, more, key, protocol, frame, depth) -> None:
        """Take a fragment in; if it completes a datagram, decode that."""
        now = int(self._clock[frame.row[0]])
        whole = self.fragments.add(key, now, packet, header, offset, more, protocol)
        if whole is None:
            self._count("fragment", 1)
            return
        data = np.frombuffer(whole + bytes(256), np.uint8)
        end = np.array([len(whole)], np.int64)
        frame = Frames(frame.row, np.zeros(1, np.int64), end, end, end, frame.tunnels)
        self._push(self._reassembled, data, frame, depth + 1)

    def _reassembled(self, data: np.ndarray, frames: Frames, depth: int) -> None:
        """A datagram put together: its header has been checked with the first fragment."""
        if data[0] >> 4 == 4:
            length = int(data[0] & 15) * 4
            address = data[12:20]
            numbers = address.view(">u4").astype(np.uint32)
            source, destination, family, protocol = numbers[:1], numbers[1:], 0, data[9:10]
        else:
            chain = ipv6.chain(data[: int(frames.end[0])].tobytes())
            length, family = chain.length, 1
            address = np.frombuffer(chain.source + chain.destination, np.uint8)
            source = np.array([self.addresses.number(chain.source)], np.uint32)
            destination = np.array([self.addresses.number(chain.destination)], np.uint32)
            protocol = np.array([chain.protocol], np.uint8)
        if length > frames.end[0]:
            self._count("bad_ip_header", 1)
            return
        datagrams = Datagrams(
            source, destination, family, frames.end - length,
            address.copy().view(np.uint16).sum(dtype=np.uint64, keepdims=True),
        )  # fmt: skip
        self._transport(data, frames.skip(length), datagrams, protocol, depth)

    # Transport

    def _transport(self, data, frames: Frames, datagrams: Datagrams, protocol: np.ndarray, depth: int) -> None:
        if self._checked:
            # For all protocols at once, as each time goes through all the bytes.
            size = np.where(datagrams.size == 0, frames.end - frames.at, datagrams.size)
            datagrams.sum = checksum.sum16(data, frames.at, np.minimum(frames.at + size, frames.end))
        tcp, udp = protocol == TCP, protocol == UDP
        if tcp.all():
            self._tcp(data, frames, datagrams)
            return
        if tcp.any():
            self._tcp(data, frames[tcp], datagrams[tcp])
        if udp.any():
            self._udp(data, frames[udp], datagrams[udp], depth)
        rest = ~(tcp | udp)
        if not rest.any():
            return
        tunnel = (protocol == 4) | (protocol == 41)
        gre = protocol == 47
        self._count("other_transport", np.count_nonzero(rest & ~tunnel & ~gre))
        if tunnel.any():
            self._ip_in_ip(data, frames[tunnel], protocol[tunnel], depth)
        if gre.any():
            self._gre(data, frames[gre], depth)

    def _headers(self, data, frames: Frames, datagrams: Datagrams, size: int):
        """Drop what has no whole transport header."""
        short = (datagrams.size > 0) & (datagrams.size < size) | (frames.end - frames.at < size)
        if short.any():
            self._count("truncated_header", np.count_nonzero(short))
            frames, datagrams = frames[~short], datagrams[~short]
        return frames, datagrams, rows(data, frames.at, 20)

    def _tcp(self, data: np.ndarray, frames: Frames, datagrams: Datagrams) -> None:
        frames, datagrams, header = self._headers(data, frames, datagrams, 20)
        if not len(frames):
            return
        length = (header[:, 12] >> 4).astype(np.int64) * 4
        remaining = frames.end - frames.at
        readable = (length >= 20) & (length <= datagrams.size) & (length <= remaining)
        whole = remaining >= datagrams.size
        valid = self._valid(frames, datagrams, TCP, readable & whole)
        self._count("bad_tcp_header", np.count_nonzero(~readable))
        self._count("bad_tcp_checksum", np.count_nonzero(~valid))
        words = header.view(">u4")
        counted = readable & valid
        state = np.where(counted, COUNTED | ALIVE, STATELESS).astype(np.uint8)
        state |= np.where(header[:, 14:16].any(axis=1), 0, ZERO_WINDOW).astype(np.uint8)
        flags = header[:, 13].copy()
        # Reuse is looked for even where the header is not to be trusted, unless its length can't be.
        flags[length < 20] = 0
        self._emit(
            frames, datagrams, header, TCP, flags, words[:, 1].astype(np.uint32), words[:, 2].astype(np.uint32),
            np.where(readable, datagrams.size - length, 0), state,
        )  # fmt: skip

    def _udp(self, data: np.ndarray, frames: Frames, datagrams: Datagrams, depth: int) -> None:
        frames, datagrams, header = self._headers(data, frames, datagrams, 8)
        if not len(frames):
            return
        remaining = frames.end - frames.at
        size = np.where(datagrams.size == 0, remaining, datagrams.size)
        words = header.view(">u2")
        check = (remaining >= size) & (frames.wire <= frames.captured)
        if datagrams.family == 0:
            check &= words[:, 3] != 0
        else:
            # VXLAN's outer checksum may be zero on IPv6, too.
            vxlan = (words[:, 1] == 4789) & (header[:, 8] & 8 != 0) & (size > 30)
            check &= ~(vxlan & (words[:, 3] == 0))
        valid = self._valid(frames, datagrams, UDP, check)
        self._count("bad_udp_checksum", np.count_nonzero(~valid))
        state = np.where(valid, COUNTED | ALIVE, 0).astype(np.uint8)
        state |= self._answers(data, frames, datagrams, header, words[:, :2])
        zero = np.zeros(len(frames), np.uint32)
        self._emit(
            frames, datagrams, header, UDP, zero.astype(np.uint8), zero, zero,
            np.maximum(words[:, 2].astype(np.int64) - 8, 0), state,
        )  # fmt: skip
        inside = frames.skip(8).until(np.minimum(frames.end, frames.at + size))
        candidates = valid & tunnels.candidates(data, inside.at, inside.end, words[:, :2])
        if candidates.any():
            self._udp_tunnels(data, inside[candidates], words[candidates, :2], depth)

    def _answers(self, data, frames: Frames, datagrams: Datagrams, header: np.ndarray, ports: np.ndarray):
        """ANSWER where DNS or NTP sees one. DNS leaves answers to groups (multicast DNS) alone."""
        room = frames.end - frames.at
        dns = np.flatnonzero(_IS_DNS_PORT[ports].any(axis=1) & (room >= 20))
        answers = np.zeros(len(frames), np.uint8)
        if len(dns):
            code = header[dns, 10] >> 3 & 15
            known = np.isin(code, (0, 4, 5)) | (ports[dns] == 137).any(axis=1)
            response = dns[(header[dns, 10] & 0x80 != 0) & known]
            groups = self.addresses.are_groups(datagrams.family, datagrams.destination[response])
            answers[response[~groups]] = ANSWER
        ntp = (ports == 123).any(axis=1) & (room >= 56) & (header[:, 8] & 7 == 4)
        # Up to 24 bytes after the message are a digest, more begin with extension fields.
        for index in np.flatnonzero(ntp & (room > 56 + 24)).tolist():
            at = int(frames.at[index])
            ntp[index] = _ntp_extensions_fit(data[at + 56 : int(frames.end[index])].tobytes())
        answers[ntp] = ANSWER
        return answers

    def _valid(self, frames: Frames, datagrams: Datagrams, protocol: int, check: np.ndarray) -> np.ndarray:
        """Which checksums are right, or not to be checked."""
        if not self._checked:
            return np.ones(len(frames), bool)
        size = np.where(datagrams.size == 0, frames.end - frames.at, datagrams.size)
        total = datagrams.sum + datagrams.pseudo + checksum.swapped(size)
        return checksum.valid(total + np.uint64(protocol << 8)) | ~check

    def _emit(self, frames, datagrams: Datagrams, header, protocol, flags, seq, ack, payload, state) -> None:
        ports = header[:, :4].copy().view(">u2").astype(np.uint64)
        source, destination = datagrams.source.astype(np.uint64), datagrams.destination.astype(np.uint64)
        one, other = source << np.uint64(16) | ports[:, 0], destination << np.uint64(16) | ports[:, 1]
        forward = one <= other
        if datagrams.family == 0:
            state |= np.where(destination == 0xFFFFFFFF, TO_MANY, 0).astype(np.uint8)
        low, high = np.where(forward, one, other), np.where(forward, other, one)
        sixteen, mask = np.uint64(16), np.uint64(0xFFFF)
        address = (low >> sixteen) << np.uint64(32) | high >> sixteen
        port = (low & mask) << sixteen | high & mask | np.uint64(datagrams.family << 40 | protocol << 32)
        segments = Segments(frames.row, address, port, forward, flags, seq, ack, payload.astype(np.int32), state)
        self._parts.append((frames.tunnels, segments))

    # Tunnels

    def _enter(self, frames: Frames) -> Frames:
        """The packets inside a tunnel, without those that are nested too deep."""
        if frames.tunnels >= MAX_TUNNELS:
            self._count("nested_too_deep", len(frames))
            return frames[:0]
        return Frames(frames.row, frames.at, frames.end, frames.captured, frames.wire, frames.tunnels + 1)

    def _ip_in_ip(self, data: np.ndarray, frames: Frames, protocol: np.ndarray, depth: int) -> None:
        """A packet straight inside a packet: it must fill it exactly."""
        size = frames.end - frames.at
        good = size >= np.where(protocol == 4, 20, 40)
        frames, protocol, size = frames[good], protocol[good], size[good]
        self._count("bad_tunnel", np.count_nonzero(~good))
        version = data[frames.at] >> 4
        total = np.where(protocol == 4, u16(data, frames.at + 2), u16(data, frames.at + 4).astype(np.int64) + 40)
        good = (version == np.where(protocol == 4, 4, 6)) & (total == size)
        self._count("bad_tunnel", np.count_nonzero(~good))
        frames = self._enter(frames[good])
        # The inner packet is a new one for Zeek, captured as it is.
        self._push(self._ip, data, _as_captured(frames), depth + 1)

    def _gre(self, data: np.ndarray, frames: Frames, depth: int) -> None:
        frames = self._require(frames, 4, "bad_tunnel")
        if not len(frames):
            return
        kinds = rows(data, frames.at, 4).view(">u4")[:, 0]
        for kind in np.unique(kinds):
            of = frames[kinds == kind]
            layout = tunnels.gre(int(kind))
            if layout is None:
                self._count("bad_tunnel", len(of))
                continue
            header, minimum, layer = layout
            of = self._require(of, minimum, "bad_tunnel")
            if layer == "erspan3":
                optional = data[of.at + header - 1] & 1 == 1
                room = of.end - of.at > header + 8 + 14
                self._count("bad_tunnel", np.count_nonzero(optional & ~room))
                keep = ~optional | room
                of, optional = of[keep], optional[keep]
                of, layer = of.skip(header + np.where(optional, 8, 0)), "ethernet"
            elif layer == "pptp":
                protocol = u16(data, of.at + header - 2)
                known = (protocol == 0x21) | (protocol == 0x57)
                self._count("bad_tunnel", np.count_nonzero(~known))
                of, protocol = of[known].skip(header), protocol[known]
                self._ip_in_ip(data, of, np.where(protocol == 0x21, 4, 41), depth)
                continue
            else:
                of = of.skip(header)
            layer = {"ethernet": self._ethernet, "wifi": self._wifi, "ip": self._ip}[layer]
            self._push(layer, data, _as_captured(self._enter(of)), depth + 1)

    def _udp_tunnels(self, data: np.ndarray, frames: Frames, ports: np.ndarray, depth: int) -> None:
        frames = self._enter(frames)
        if not len(frames):
            return
        found, rejected = tunnels.inside(data, frames.at, frames.end, ports)
        self._count("bad_tunnel", rejected)
        for layer, pick, at in found:
            of = frames[pick].skip(at - frames.at[pick])
            # The part on the wire shrinks by what the tunnel's headers took.
            of.wire = of.end + (of.wire - of.captured)
            of.captured = of.end
            self._push({"ethernet": self._ethernet, "ip": self._ip}[layer], data, of, depth + 1)


def _as_captured(frames: Frames) -> Frames:
    return Frames(frames.row, frames.at, frames.end, frames.end, frames.end, frames.tunnels)


def _ntp_extensions_fit(rest: bytes) -> bool:
    """Whether Zeek's NTP analyzer can read what follows a message as extension fields; else it sees no answer."""
    while len(rest) > 24:
        length, value = int.from_bytes(rest[2:4], "big"), int.from_bytes(rest[14:18], "big")
        if length < 22 or value > length - 22 or len(rest) < 22 + value:
            return False
        end = 22 + value + int.from_bytes(rest[18 + value : 22 + value], "big")
        if max(end, length) > len(rest):
            return False
        rest = rest[max(end, length) :]
    return True


_LINK_TYPES = {
    0: "_null", 108: "_null",
    1: "_ethernet",
    9: "_ppp", 50: "_ppp_serial", 51: "_pppoe",
    10: "_fddi",
    105: "_wifi", 127: "_radiotap",
    113: "_linux_cooked", 276: "_linux_cooked2",
    239: "_nflog",
}  # fmt: skip

_ETHERTYPES = {
    0x0800: "_ip", 0x86DD: "_ip",
    0x8100: "_vlan", 0x88A8: "_vlan", 0x9100: "_vlan",
    0x8847: "_mpls", 0x88E7: "_pbb", 0x8864: "_pppoe", 0x8926: "_vntag",
}  # fmt: skip

_IS_DNS_PORT = np.zeros(1 << 16, bool)
_IS_DNS_PORT[[53, 137, 5353, 5355]] = True

_PPP = {0x0021: "_ip", 0x0057: "_ip", 0x0281: "_mpls"}
_COOKED = {0x0800: "_ip", 0x86DD: "_ip"}
