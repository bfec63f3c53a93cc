"""Tunnels over GRE and UDP: where in a packet the inner one begins."""

from __future__ import annotations

import numpy as np

from mmtt_agent.capture import names
from mmtt_agent.capture.frames import Frames, u16
from mmtt_agent.capture.records import rows
from mmtt_agent.capture.work import Work

#: Tunnels in tunnels that are followed at most (Zeek: ``Tunnel::max_depth``).
MAX_TUNNELS = 4
#: UDP ports that Zeek's tunnel analyzers are registered for.
VXLAN, GENEVE, TEREDO, GTP, AYIYA = 4789, 6081, 3544, 2152, 5072
_IS_PORT = np.zeros(1 << 16, bool)
_IS_PORT[[VXLAN, GENEVE, TEREDO, GTP, AYIYA]] = True

#: A layer's name, the rows of the packets in it, and the offset at which it begins in each.
Found = tuple[str, np.ndarray, np.ndarray]


def gre_layout(kind: int) -> tuple[int, int, str] | str:
    """The layout of a GRE packet whose first four bytes are ``kind``.

    Returns:
        Bytes of headers before the payload, the least bytes of the whole, and what the payload is: ``ethernet``,
        ``wifi``, ``ip``, ``erspan3``, ``pptp``, or ``other``, which Zeek takes for IP. For what Zeek does not look
        into its name instead.
    """
    flags, protocol = kind >> 16, kind & 0xFFFF
    version = flags & 7
    if version > 1:
        return f"GRE version {version}"
    if flags & 0x4000 or flags & 0x0078:
        return "GRE with routing or unknown flags"
    header = 4
    if flags & 0x8000:  # checksum, and two reserved bytes
        header += 4
    if flags & 0x2000:  # key
        header += 4
    if flags & 0x1000:  # sequence number
        header += 4
    if version == 1:
        if protocol != 0x880B:
            return "GRE version 1 without PPP"
        if flags & 0x0080:  # acknowledgement
            header += 4
        return header + 4, header + 4, "pptp"
    if protocol == 0x6558:
        return header, header + 15, "ethernet"
    if protocol == 0x88BE:
        erspan = 8 if flags & 0x1000 else 0
        return header + erspan, max(header + 15, header + erspan + 14), "ethernet"
    if protocol == 0x22EB:
        return header + 12, header + 27, "erspan3"
    if (
        (protocol & 0x8200 == 0x8200 and protocol & 15 == 0)
        or (protocol & 0x8300 == 0x8300 and protocol & 15 == 0 and protocol <= 0x8370)
        or protocol == 0x9000
    ):
        return header, header + 1, "wifi"
    if protocol in (0x0800, 0x86DD):
        return header, header, "ip"
    return header, header, "other"


def candidates(data: np.ndarray, at: np.ndarray, end: np.ndarray, ports: np.ndarray) -> np.ndarray:
    """Which UDP datagrams may hold a packet: bool ``(n,)``.

    Args:
        at, end: int64 ``(n,)``, the payload's offsets.
        ports: ``(n, 2)``, source and destination.
    """
    found: np.ndarray = _IS_PORT[ports].any(axis=1) & (end - at >= 8)
    # AYIYA and Teredo are looked for at any port.
    found |= (data[at + 1] == 0x52) & (data[at + 2] == 0x11) & (end - at >= 8)
    six = (data[at] >> 4 == 6) & (end - at >= 40)
    if six.any():
        rows = np.flatnonzero(six)
        prefix = np.frombuffer(b"\x20\x01\x00\x00", np.uint8)
        for offset in (8, 24):
            match = (data[at[rows, None] + offset + np.arange(4)] == prefix).all(axis=1)
            found[rows[match]] = True
    return found


def inside(data: np.ndarray, at: np.ndarray, end: np.ndarray, ports: np.ndarray) -> tuple[list[Found], dict[str, int]]:
    """The packets in :func:`candidates`, and how many of these hold something else, by kind.

    The others are no tunnels: all there is to them is their own datagram.
    """
    port = np.where(_IS_PORT[ports[:, 1]], ports[:, 1], ports[:, 0])
    found: list[Found] = []
    other: dict[str, int] = {}
    vxlan = np.flatnonzero((port == VXLAN) & (data[at] & 8 != 0) & (end - at > 8))
    if len(vxlan):
        found.append(("ethernet", vxlan, at[vxlan] + 8))
    geneve = np.flatnonzero((port == GENEVE) & (data[at] >> 6 == 0))
    if len(geneve):
        begin = at[geneve] + 8 + (data[at[geneve]] & 63).astype(np.int64) * 4
        protocol = data[at[geneve] + 2].astype(np.int64) << 8 | data[at[geneve] + 3]
        fits = begin < end[geneve]
        for layer, numbers in (("ethernet", (0x6558,)), ("ip", (0x0800, 0x86DD))):
            of = fits & np.isin(protocol, numbers)
            if of.any():
                found.append((layer, geneve[of], begin[of]))
                fits &= ~of
        for number in np.unique(protocol[fits]):
            if number != 0x0806:
                name = f"{names.ethertype(int(number))[1]} in Geneve"
                other[name] = int(np.count_nonzero(fits & (protocol == number)))
    rest = np.flatnonzero((port != VXLAN) & (port != GENEVE))
    # Few captures have any of these, so one by one.
    of, begins = [], []
    for row in rest.tolist():
        payload = data[at[row] : end[row]].tobytes()
        if port[row] == GTP:
            begin = _gtp(payload)
        elif port[row] == AYIYA or (port[row] != TEREDO and payload[1:3] == b"\x52\x11"):
            begin = _ayiya(payload)
        else:
            begin = _teredo(payload)
        if begin is not None:
            of.append(row)
            begins.append(int(at[row]) + begin)
    if of:
        found.append(("ip", np.array(of), np.array(begins, np.int64)))
    return found, other


def _teredo(payload: bytes) -> int | None:
    at, origin, authentication = 0, False, False
    while len(payload) - at >= 2:
        if payload[at] >> 4 == 6:
            return at if _is_ipv6(payload, at) else None
        tag = payload[at] << 8 | payload[at + 1]
        if tag == 0 and not origin and len(payload) - at >= 8:
            origin, at = True, at + 8
        elif tag == 1 and not origin and not authentication and len(payload) - at >= 4:
            authentication, at = True, at + 13 + payload[at + 2] + payload[at + 3]
        else:
            return None
    return None


def _is_ipv6(payload: bytes, at: int) -> bool:
    if len(payload) - at < 40:
        return False
    length = payload[at + 4] << 8 | payload[at + 5]
    left = len(payload) - at - 40
    # A bubble, which holds nothing, may have something after it.
    return length == left or (length < left and payload[at + 6] == 59 and length == 0)


def _gtp(payload: bytes) -> int | None:
    """GTPv1 user data: its inner IP packet."""
    if len(payload) < 8 or payload[0] >> 4 != 3 or payload[1] != 0xFF:
        return None
    at = 8
    if payload[0] & 7:
        at += 4
        if payload[0] & 4:
            following = payload[at - 1] if len(payload) >= at else 0
            while following:
                if at >= len(payload) or payload[at] == 0:
                    return None
                at += payload[at] * 4
                if at > len(payload):
                    return None
                following = payload[at - 1]
    if len(payload) - at < 20 or payload[at] >> 4 not in (4, 6):
        return None
    # It must fill the rest, captured in full.
    if payload[at] >> 4 == 4:
        length = payload[at + 2] << 8 | payload[at + 3]
    else:
        length = (payload[at + 4] << 8 | payload[at + 5]) + 40
    return at if length == len(payload) - at else None


def _ayiya(payload: bytes) -> int | None:
    if len(payload) < 8:
        return None
    begin = 8 + (1 << (payload[0] >> 4)) + (payload[1] >> 4) * 4
    forwards = payload[2] & 15 == 1 and payload[3] in (4, 41)
    return begin if forwards and begin < len(payload) else None


def _enter(work: Work, frames: Frames) -> Frames:
    """The packets inside a tunnel, without those that are nested too deep."""
    if frames.tunnels >= MAX_TUNNELS:
        work.count("nested_too_deep", len(frames))
        return frames[:0]
    return Frames(frames.row, frames.at, frames.end, frames.captured, frames.wire, frames.tunnels + 1)


def ip_in_ip(work: Work, data: np.ndarray, frames: Frames, protocol: np.ndarray, depth: int) -> None:
    """A packet straight inside a packet: it must fill it exactly."""
    size = frames.end - frames.at
    good = size >= np.where(protocol == 4, 20, 40)
    frames, protocol, size = frames[good], protocol[good], size[good]
    work.count("bad_tunnel", np.count_nonzero(~good))
    version = data[frames.at] >> 4
    total = np.where(protocol == 4, u16(data, frames.at + 2), u16(data, frames.at + 4).astype(np.int64) + 40)
    good = (version == np.where(protocol == 4, 4, 6)) & (total == size)
    work.count("bad_tunnel", np.count_nonzero(~good))
    frames = _enter(work, frames[good])
    # The inner packet is a new one for Zeek, captured as it is.
    work.push("ip", data, _as_captured(frames), depth + 1)


def gre(work: Work, data: np.ndarray, frames: Frames, depth: int) -> None:
    frames = work.require(frames, 4, "bad_tunnel")
    if not len(frames):
        return
    kinds = rows(data, frames.at, 4).view(">u4")[:, 0]
    for kind in np.unique(kinds):
        of = frames[kinds == kind]
        layout = gre_layout(int(kind))
        if isinstance(layout, str):
            work.count("not_decoded", len(of), layout)
            continue
        header, minimum, layer = layout
        of = work.require(of, minimum, "bad_tunnel")
        if layer == "erspan3":
            optional = data[of.at + header - 1] & 1 == 1
            room = of.end - of.at > header + 8 + 14
            work.count("bad_tunnel", np.count_nonzero(optional & ~room))
            keep = ~optional | room
            of, optional = of[keep], optional[keep]
            of, layer = of.skip(header + np.where(optional, 8, 0)), "ethernet"
        elif layer == "pptp":
            protocol = u16(data, of.at + header - 2)
            known = (protocol == 0x21) | (protocol == 0x57)
            for number in np.unique(protocol[~known]):
                cause, name = names.ppp(int(number))
                work.count(cause, np.count_nonzero(protocol == number), f"{name} in GRE")
            of, protocol = of[known].skip(header), protocol[known]
            ip_in_ip(work, data, of, np.where(protocol == 0x21, 4, 41), depth)
            continue
        else:
            of = of.skip(header)
        if layer == "other":
            version = np.where(of.end > of.at, data[of.at] >> 4, 0)
            is_ip = (version == 4) | (version == 6)
            cause, name = names.ethertype(int(kind) & 0xFFFF)
            work.count(cause, np.count_nonzero(~is_ip), f"{name} in GRE")
            of, layer = of[is_ip], "ip"
        work.push(layer, data, _as_captured(_enter(work, of)), depth + 1)


def udp_tunnels(work: Work, data: np.ndarray, frames: Frames, ports: np.ndarray, depth: int) -> None:
    frames = _enter(work, frames)
    if not len(frames):
        return
    found, other = inside(data, frames.at, frames.end, ports)
    for kind, packets in other.items():
        work.count("not_decoded", packets, kind)
    for layer, pick, at in found:
        of = frames[pick].skip(at - frames.at[pick])
        # The part on the wire shrinks by what the tunnel's headers took.
        of.wire = of.end + (of.wire - of.captured)
        of.captured = of.end
        work.push(layer, data, of, depth + 1)


def _as_captured(frames: Frames) -> Frames:
    return Frames(frames.row, frames.at, frames.end, frames.end, frames.end, frames.tunnels)
