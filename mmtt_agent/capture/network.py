"""IP: headers, checksums, and fragments put together."""

from __future__ import annotations

import numpy as np

from mmtt_agent.capture import checksum, ipv6, names
from mmtt_agent.capture.fragments import Key
from mmtt_agent.capture.frames import Frames
from mmtt_agent.capture.records import rows
from mmtt_agent.capture.transport import Datagrams, transport
from mmtt_agent.capture.work import Work


def ip(work: Work, data: np.ndarray, frames: Frames, depth: int) -> None:
    frames = work.require(frames, 20, "truncated_ip")
    version = data[frames.at] >> 4
    four = version == 4
    if four.all():
        _ipv4(work, data, frames, depth)
        return
    _ipv4(work, data, frames[four], depth)
    six = version == 6
    work.count("unknown_ip_version", np.count_nonzero(~(four | six)))
    _ipv6(work, data, work.require(frames[six], 40, "truncated_ip"), depth)


def _ipv4(work: Work, data: np.ndarray, frames: Frames, depth: int) -> None:
    if not len(frames):
        return
    header = rows(data, frames.at, 20)
    words = header.view(">u2")
    length = (header[:, 0] & 15).astype(np.int64) * 4
    total = words[:, 1].astype(np.int64)
    good = np.ones(len(frames), bool)
    trusted = work.trusts(frames)
    if (zero := total == 0).any():
        # Captured on its way to a network card that splits it and fills this in; its checksums are wrong, too.
        work.count("ip_length_zero", np.count_nonzero(zero & ~trusted))
        good &= ~zero | trusted
        zero &= trusted
        total[zero] = (frames.end - frames.at)[zero]
    for cause, bad in (
        ("truncated_ip", frames.wire < frames.at + total),
        ("bad_ip_header", (length > total) | (length < 20)),
        ("truncated_ip", frames.at + length > frames.end),
    ):
        if (bad & good).any():
            work.count(cause, np.count_nonzero(bad & good))
            good &= ~bad
    if not trusted.all():
        valid = checksum.valid(header.view(np.uint16).sum(axis=1, dtype=np.uint64)) | trusted
        if (long := (length > 20) & good & ~trusted).any():
            valid[long] = checksum.valid(checksum.sum16(data, frames.at[long], (frames.at + length)[long]))
        if not valid.all():
            work.count("bad_ip_checksum", np.count_nonzero(good & ~valid))
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
        work.count("cut_fragment", np.count_nonzero(fragmented & ~whole & (offset > 0)))
        for index in np.flatnonzero(fragmented & whole):
            at, size = int(frames.at[index]), int(total[index])
            _fragment(work,
                data[at : at + size].tobytes(), int(length[index]), int(offset[index]),
                bool(words[index, 3] & 0x2000), (0, header[index, 12:20].tobytes(), int(words[index, 2])),
                int(protocol[index]), frames[index : index + 1], depth,
            )  # fmt: skip
        keep = ~fragmented | (~whole & (offset == 0))
        frames, datagrams, protocol = frames[keep], datagrams[keep], protocol[keep]
        length = length[keep]
    frames = frames.skip(length)
    frames = frames.until(np.where(datagrams.size > 0, np.minimum(frames.end, frames.at + datagrams.size), frames.end))
    transport(work, data, frames, datagrams, protocol, depth)


def _ipv6(work: Work, data: np.ndarray, frames: Frames, depth: int) -> None:
    if not len(frames):
        return
    header = rows(data, frames.at, 40)
    total = header[:, 4:6].copy().view(">u2")[:, 0].astype(np.int64) + 40
    fits = frames.wire >= frames.at + total
    if not fits.all():
        work.count("truncated_ip", np.count_nonzero(~fits))
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
        cause = kind = None
        if total[index] == 40:
            cause = "ip6_length_zero"
        elif chain.length > total[index]:
            cause = "bad_ip_header"
        elif chain.length > frames.end[index] - at:
            cause = "truncated_ip"
        elif chain.fragment is not None:
            offset, more, identity = chain.fragment
            if frames.end[index] - at >= total[index]:
                good[index] = False
                _fragment(work,
                    data[at : at + int(total[index])].tobytes(), chain.length, offset, more,
                    (1, chain.source + chain.destination, identity), chain.protocol,
                    frames[index : index + 1], depth,
                )  # fmt: skip
            elif offset:
                cause = "cut_fragment"
        elif chain.last in (ipv6.ESP, ipv6.MOBILITY):
            cause, kind = names.protocol(chain.last)
        if cause:
            good[index] = False
            work.count(cause, 1, kind)
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
        work.addresses.numbers(address[:, :16]), work.addresses.numbers(address[:, 16:]), 1, size, pseudo
    )
    frames = frames.skip(length)
    frames = frames.until(np.where(size > 0, np.minimum(frames.end, frames.at + size), frames.end))
    transport(work, data, frames, datagrams, protocol, depth)


def _fragment(
    work: Work,
    packet: bytes,
    header: int,
    offset: int,
    more: bool,
    key: Key,
    protocol: int,
    frame: Frames,
    depth: int,
) -> None:
    """Take a fragment in; if it completes a datagram, decode that."""
    now = int(work.clock[frame.row[0]])
    whole = work.fragments.add(key, now, packet, header, offset, more, protocol)
    if whole is None:
        work.count("fragment", 1)
        return
    data = np.frombuffer(whole + bytes(256), np.uint8)
    end = np.array([len(whole)], np.int64)
    frame = Frames(frame.row, np.zeros(1, np.int64), end, end, end, frame.tunnels)
    work.push("reassembled", data, frame, depth + 1)


def reassembled(work: Work, data: np.ndarray, frames: Frames, depth: int) -> None:
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
        source = np.array([work.addresses.number(chain.source)], np.uint32)
        destination = np.array([work.addresses.number(chain.destination)], np.uint32)
        protocol = np.array([chain.protocol], np.uint8)
    if length > frames.end[0]:
        work.count("bad_ip_header", 1)
        return
    datagrams = Datagrams(
        source, destination, family, frames.end - length,
        address.copy().view(np.uint16).sum(dtype=np.uint64, keepdims=True),
    )  # fmt: skip
    transport(work, data, frames.skip(length), datagrams, protocol, depth)
