"""TCP and UDP: from datagrams to segments."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from mmtt_agent.capture import checksum, names, tunnels
from mmtt_agent.capture.frames import Frames
from mmtt_agent.capture.records import rows
from mmtt_agent.capture.segments import (
    ALIVE,
    ANSWER,
    BAD_CHECKSUM,
    COUNTED,
    MESSAGE,
    REQUEST,
    SSH_BANNER,
    STATELESS,
    TCP,
    TO_MANY,
    UDP,
    VIOLATION,
    WHOLE,
    ZERO_WINDOW,
    Segments,
)
from mmtt_agent.capture.work import Work

_IS_DNS_PORT = np.zeros(1 << 16, bool)
_IS_DNS_PORT[[53, 137, 5353, 5355]] = True
_SSH_BANNER = re.compile(rb"[sS][sS][hH]-[12]\.")
#: What claims more is none of DNS's (``dns_max_queries``).
_MOST_QUESTIONS = 25


@dataclass(slots=True)
class Datagrams:
    """What the IP layer hands on, beside the frames (whose ``at`` is the transport header, ``end`` its end).

    ``source``, ``destination``: uint32 address numbers; ``family``: 0 IPv4, 1 IPv6; ``size``: int64, bytes of payload
    by the IP header; ``pseudo``: uint64, checksum of the pseudo header's addresses; ``sum``: uint64, that of what was
    captured of the segment or datagram, None where none is to be checked.
    """

    source: np.ndarray
    destination: np.ndarray
    family: int
    size: np.ndarray
    pseudo: np.ndarray
    sum: np.ndarray | None = None

    def __getitem__(self, pick: slice | np.ndarray) -> Datagrams:
        return Datagrams(
            self.source[pick], self.destination[pick], self.family, self.size[pick], self.pseudo[pick],
            None if self.sum is None else self.sum[pick],
        )  # fmt: skip


def transport(
    work: Work, data: np.ndarray, frames: Frames, datagrams: Datagrams, protocol: np.ndarray, depth: int
) -> None:
    tcp, udp = protocol == TCP, protocol == UDP
    if ((tcp | udp) & ~work.trusts(frames)).any():
        # For all protocols at once, as each time goes through all the bytes.
        size = np.where(datagrams.size == 0, frames.end - frames.at, datagrams.size)
        datagrams.sum = checksum.sum16(data, frames.at, np.minimum(frames.at + size, frames.end))
    if tcp.all():
        _tcp(work, data, frames, datagrams)
        return
    if tcp.any():
        _tcp(work, data, frames[tcp], datagrams[tcp])
    if udp.any():
        _udp(work, data, frames[udp], datagrams[udp], depth)
    rest = ~(tcp | udp)
    if not rest.any():
        return
    tunnel = (protocol == 4) | (protocol == 41)
    gre = protocol == 47
    for number in np.unique(protocol[rest & ~tunnel & ~gre]):
        cause, kind = names.protocol(int(number))
        work.count(cause, np.count_nonzero(protocol == number), kind)
    if tunnel.any():
        tunnels.ip_in_ip(work, data, frames[tunnel], protocol[tunnel], depth)
    if gre.any():
        tunnels.gre(work, data, frames[gre], depth)


def _headers(
    work: Work, data: np.ndarray, frames: Frames, datagrams: Datagrams, size: int
) -> tuple[Frames, Datagrams, np.ndarray]:
    """Drop what has no whole transport header."""
    short = (datagrams.size > 0) & (datagrams.size < size) | (frames.end - frames.at < size)
    if short.any():
        work.count("truncated_header", np.count_nonzero(short))
        frames, datagrams = frames[~short], datagrams[~short]
    return frames, datagrams, rows(data, frames.at, 20)


def _tcp(work: Work, data: np.ndarray, frames: Frames, datagrams: Datagrams) -> None:
    frames, datagrams, header = _headers(work, data, frames, datagrams, 20)
    if not len(frames):
        return
    length = (header[:, 12] >> 4).astype(np.int64) * 4
    remaining = frames.end - frames.at
    readable = (length >= 20) & (length <= datagrams.size) & (length <= remaining)
    whole = remaining >= datagrams.size
    valid = _valid(work, frames, datagrams, TCP, readable & whole)
    if not readable.all():
        zero = ~readable & (datagrams.size == 0)
        cut = ~readable & (length >= 20) & (length <= datagrams.size)
        work.count("ip6_length_zero", np.count_nonzero(zero))
        work.count("cut_tcp_options", np.count_nonzero(cut))
        work.count("bad_tcp_header", np.count_nonzero(~readable & ~zero & ~cut))
    work.count("bad_tcp_checksum", np.count_nonzero(~valid))
    words = header.view(">u4")
    counted = readable & valid
    state = np.where(counted, COUNTED | ALIVE, STATELESS).astype(np.uint8)
    state |= (header.view(np.uint16)[:, 7] == 0) * np.uint8(ZERO_WINDOW)
    state |= whole * np.uint8(WHOLE)
    if not valid.all():
        state |= ~valid * np.uint8(BAD_CHECKSUM)
    begin = frames.at + length
    if not readable.all():
        begin[~readable] = 0
    for index in np.flatnonzero(data[begin] | 32 == ord("s")).tolist():
        start = int(begin[index])
        if _SSH_BANNER.match(data[start : min(start + 6, int(frames.end[index]))].tobytes()):
            state[index] |= SSH_BANNER
    flags = header[:, 13].copy()
    # Reuse is looked for even where the header is not to be trusted, unless its length can't be.
    flags[length < 20] = 0
    _emit(work,
        frames, datagrams, header, TCP, flags, words[:, 1].astype(np.uint32), words[:, 2].astype(np.uint32),
        np.where(readable, datagrams.size - length, 0), state,
    )  # fmt: skip


def _udp(work: Work, data: np.ndarray, frames: Frames, datagrams: Datagrams, depth: int) -> None:
    frames, datagrams, header = _headers(work, data, frames, datagrams, 8)
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
    valid = _valid(work, frames, datagrams, UDP, check)
    work.count("bad_udp_checksum", np.count_nonzero(~valid))
    state = np.where(valid, COUNTED | ALIVE, 0).astype(np.uint8)
    state |= np.where(valid, _messages(work, data, frames, datagrams, header, words[:, :2]), 0).astype(np.uint8)
    zero = np.zeros(len(frames), np.uint32)
    _emit(work,
        frames, datagrams, header, UDP, zero.astype(np.uint8), zero, zero,
        np.maximum(words[:, 2].astype(np.int64) - 8, 0), state,
    )  # fmt: skip
    inside = frames.skip(8).until(np.minimum(frames.end, frames.at + size))
    candidates = valid & tunnels.candidates(data, inside.at, inside.end, words[:, :2])
    if candidates.any():
        tunnels.udp_tunnels(work, data, inside[candidates], words[candidates, :2], depth)


def _messages(
    work: Work, data: np.ndarray, frames: Frames, datagrams: Datagrams, header: np.ndarray, ports: np.ndarray
) -> np.ndarray:
    """What DNS and NTP make of datagrams to or from their ports: MESSAGE, ANSWER, REQUEST, VIOLATION."""
    room = frames.end - frames.at
    found = np.zeros(len(frames), np.uint8)
    dns = np.flatnonzero(_IS_DNS_PORT[ports].any(axis=1) & (room >= 20))
    if len(dns):
        code = header[dns, 10] >> 3 & 15
        dns = dns[np.isin(code, (0, 4, 5)) | (ports[dns] == 137).any(axis=1)]
        found[dns] = MESSAGE
        # Answers to groups (multicast DNS) don't make DNS turn a connection round.
        answers = dns[header[dns, 10] & 0x80 != 0]
        groups = work.addresses.are_groups(datagrams.family, datagrams.destination[answers])
        found[answers[~groups]] |= ANSWER
        found[dns[header[dns, 12].astype(np.int64) << 8 | header[dns, 13] > _MOST_QUESTIONS]] |= VIOLATION
    for index in np.flatnonzero((ports == 123).any(axis=1)).tolist():
        mode = header[index, 8] & 7 if room[index] > 8 else 1
        if not 1 <= mode <= 5:
            continue
        # Up to 24 bytes after the message are a digest, more begin with extension fields.
        at, end = int(frames.at[index]) + 56, int(frames.end[index])
        if end < at or (end > at + 24 and not _ntp_extensions_fit(data[at:end].tobytes())):
            found[index] = VIOLATION
        else:
            found[index] = MESSAGE | {3: REQUEST, 4: ANSWER}.get(int(mode), 0)
    return found


def _valid(work: Work, frames: Frames, datagrams: Datagrams, protocol: int, check: np.ndarray) -> np.ndarray:
    """Which checksums are right, or not to be checked."""
    if datagrams.sum is None:
        return np.ones(len(frames), bool)
    size = np.where(datagrams.size == 0, frames.end - frames.at, datagrams.size)
    total = datagrams.sum + datagrams.pseudo + checksum.swapped(size)
    found: np.ndarray = checksum.valid(total + np.uint64(protocol << 8)) | ~check | work.trusts(frames)
    return found


def _emit(
    work: Work,
    frames: Frames,
    datagrams: Datagrams,
    header: np.ndarray,
    protocol: int,
    flags: np.ndarray,
    seq: np.ndarray,
    ack: np.ndarray,
    payload: np.ndarray,
    state: np.ndarray,
) -> None:
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
    work.parts.append((frames.tunnels, segments))


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
