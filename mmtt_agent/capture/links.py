"""Link layers: what lies below IP, decoded as Zeek does."""

from __future__ import annotations

import numpy as np

from mmtt_agent.capture import names
from mmtt_agent.capture.frames import Frames, u16
from mmtt_agent.capture.records import rows
from mmtt_agent.capture.work import Layer, Work


def begin(work: Work, data: np.ndarray, frames: Frames, linktype: int) -> None:
    """Hand packets to the layer that their link type begins with."""
    layer = _LINK_TYPES.get(linktype)
    if layer is None:
        # Zeek takes what it doesn't know for IP without anything below; so does this, where it is IP indeed.
        layer, known = "ip", _look_like_ip(data, frames)
        work.count("link_type", np.count_nonzero(~known), names.linktype(linktype))
        frames = frames[known]
    work.push(layer, data, frames, 0)


def _look_like_ip(data: np.ndarray, frames: Frames) -> np.ndarray:
    size = frames.end - frames.at
    header = rows(data, frames.at, 20)
    words = header.view(">u2")
    room = frames.wire - frames.at
    total = words[:, 1].astype(np.int64)
    four = (header[:, 0] >> 4 == 4) & (header[:, 0] & 15 >= 5) & (size >= 20) & (total >= 20) & (total <= room)
    six = (header[:, 0] >> 4 == 6) & (size >= 40) & (words[:, 2].astype(np.int64) + 40 <= room)
    found: np.ndarray = four | six
    return found


def ethernet(work: Work, data: np.ndarray, frames: Frames, depth: int) -> None:
    frames = work.require(frames, 17)
    protocol = u16(data, frames.at + 12)
    if (fabric := protocol == 0x8903).any():  # Cisco FabricPath
        frames = frames.skip(np.where(fabric, 16, 0))
        frames = work.require(frames, 15)
        protocol = u16(data, frames.at + 12)
    _ethertype(work, data, frames.skip(14), protocol, _ETHERTYPES, depth)


def _ethertype(
    work: Work, data: np.ndarray, frames: Frames, protocol: np.ndarray, table: dict[int, str], depth: int
) -> None:
    """What follows an Ethernet or VLAN header: a protocol, or a length and an 802.2 header."""
    length = protocol <= 1500
    if length.any():
        of = frames[length]
        of = of.until(np.minimum(of.end, of.at + protocol[length]))
        _snap(work, data, of, depth)
        frames, protocol = frames[~length], protocol[~length]
    work.dispatch(data, frames, protocol, table, depth)


def _snap(work: Work, data: np.ndarray, frames: Frames, depth: int) -> None:
    service = u16(data, frames.at)
    is_snap = service == 0xAAAA
    for kind, those in (("STP", service == 0x4242), ("IPX", service == 0xFFFF)):
        work.count("not_ip", np.count_nonzero(those), kind)
        is_snap |= those
    work.count("not_ip", np.count_nonzero(~is_snap), "802.2")
    frames = work.require(frames[service == 0xAAAA], 9)
    frames = frames.skip(np.where(data[frames.at + 2] & 3 == 3, 3, 4))
    frames = work.require(frames, 5)
    vendor = u16(data, frames.at).astype(np.int64) << 8 | data[frames.at + 2]
    foreign = vendor != 0
    work.count("not_ip", np.count_nonzero(foreign), "802.2 of a vendor")
    frames = frames[~foreign]
    work.dispatch(data, frames.skip(5), u16(data, frames.at + 3), _COOKED, depth)


def vlan(work: Work, data: np.ndarray, frames: Frames, depth: int) -> None:
    frames = work.require(frames, 5)
    protocol = u16(data, frames.at + 2)
    _ethertype(work, data, frames.skip(4), protocol, _IN_VLAN, depth)


def vntag(work: Work, data: np.ndarray, frames: Frames, depth: int) -> None:
    frames = work.require(frames, 7)
    table = {0x8100: "vlan", 0x88A8: "vlan", 0x9100: "vlan"}
    work.dispatch(data, frames.skip(6), u16(data, frames.at + 4), table, depth)


def pbb(work: Work, data: np.ndarray, frames: Frames, depth: int) -> None:
    work.push("ethernet", data, work.require(frames, 19).skip(4), depth + 1)


def mpls(work: Work, data: np.ndarray, frames: Frames, depth: int) -> None:
    while len(frames):
        frames = work.require(frames, 5)
        bottom = data[frames.at + 2] & 1 == 1
        frames = frames.skip(4)
        # What lies below the labels isn't written anywhere; Zeek takes it for IP.
        inner, version = frames[bottom], data[frames.at[bottom]] >> 4
        is_ip = (version == 4) | (version == 6)
        work.count("not_decoded", np.count_nonzero(~is_ip), "MPLS pseudowire")
        work.push("ip", data, inner[is_ip], depth + 1)
        frames = frames[~bottom]


def pppoe(work: Work, data: np.ndarray, frames: Frames, depth: int) -> None:
    frames = work.require(frames, 9)
    length = np.maximum(u16(data, frames.at + 4).astype(np.int64) - 2, 0)
    protocol = u16(data, frames.at + 6)
    frames = frames.skip(8)
    work.dispatch(data, frames.until(np.minimum(frames.end, frames.at + length)), protocol, _PPP, depth, names.ppp)


def ppp(work: Work, data: np.ndarray, frames: Frames, depth: int) -> None:
    frames = work.require(frames, 3)
    framed = (data[frames.at] == 0xFF) & (data[frames.at + 1] == 0x03)
    frames = work.require(frames.skip(np.where(framed, 2, 0)), 3)
    work.dispatch(data, frames.skip(2), u16(data, frames.at), _PPP, depth, names.ppp)


def ppp_serial(work: Work, data: np.ndarray, frames: Frames, depth: int) -> None:
    frames = work.require(frames, 5)
    work.dispatch(data, frames.skip(4), u16(data, frames.at + 2), _PPP, depth, names.ppp)


def linux_cooked(work: Work, data: np.ndarray, frames: Frames, depth: int) -> None:
    frames = work.require(frames, 17)
    work.dispatch(data, frames.skip(16), u16(data, frames.at + 14), _COOKED, depth)


def linux_cooked2(work: Work, data: np.ndarray, frames: Frames, depth: int) -> None:
    frames = work.require(frames, 21)
    work.dispatch(data, frames.skip(20), u16(data, frames.at), _COOKED, depth)


def null(work: Work, data: np.ndarray, frames: Frames, depth: int) -> None:
    # The address family is in the byte order of the machine that captured: one of the two ends is zero.
    frames = work.require(frames, 5)
    family = rows(data, frames.at, 4).view("<u4")[:, 0]
    family = np.where(family >= 1 << 24, family.byteswap(), family)
    work.dispatch(data, frames.skip(4), family, {2: "ip", 24: "ip", 28: "ip", 30: "ip"}, depth, names.family)


def nflog(work: Work, data: np.ndarray, frames: Frames, depth: int) -> None:
    frames = work.require(frames, 5)
    family = data[frames.at]
    known = data[frames.at + 1] == 0
    work.count("not_ip", np.count_nonzero(~known), "NFLOG of another version")
    frames, family = frames[known].skip(4), family[known]
    while len(frames):
        enough = frames.end - frames.at > 4
        work.count("truncated_link_header", np.count_nonzero(~enough))
        frames, family = frames[enough], family[enough]
        length = rows(data, frames.at, 4).view("<u2").astype(np.int64)
        payload = length[:, 1] == 9
        work.dispatch(data, frames[payload].skip(4), family[payload], {2: "ip", 10: "ip"}, depth, names.family)
        rest = ~payload & (length[:, 0] >= 4) & (frames.at + (length[:, 0] + 3 & ~3) <= frames.end)
        work.count("truncated_link_header", np.count_nonzero(~rest & ~payload))
        frames, family = frames[rest].skip(length[rest, 0] + 3 & ~3), family[rest]


def fddi(work: Work, data: np.ndarray, frames: Frames, depth: int) -> None:
    work.push("ip", data, work.require(frames, 22).skip(21), depth + 1)


def radiotap(work: Work, data: np.ndarray, frames: Frames, depth: int) -> None:
    frames = work.require(frames, 4)
    length = rows(data, frames.at, 4).view("<u2")[:, 1].astype(np.int64)
    work.push("wifi", data, frames.skip(length), depth + 1)


def wifi(work: Work, data: np.ndarray, frames: Frames, depth: int) -> None:
    frames = work.require(frames, 25)
    control, flags = data[frames.at], data[frames.at + 1]
    with_data = (control >> 2 & 2 != 0) & (control >> 4 & 4 == 0)
    work.count("not_ip", np.count_nonzero(~with_data), "802.11 without data")
    frames, control, flags = frames[with_data], control[with_data], flags[with_data]
    qos = control >> 4 & 8 != 0
    length = np.where(flags & 3 == 3, 30, 24)
    aggregated = qos & (data[frames.at + length] & 0x80 != 0)
    protected = qos & (flags & 0x40 != 0)
    frames = frames.skip(length + np.where(qos, 2, 0))
    enough = frames.end > frames.at
    work.count("truncated_link_header", np.count_nonzero(~enough))
    work.count("not_decoded", np.count_nonzero(enough & protected), "encrypted 802.11")
    keep = enough & ~protected
    frames, aggregated = frames[keep], aggregated[keep]
    _wifi_llc(work, data, frames[~aggregated], depth)
    frames = frames[aggregated]
    while len(frames):
        frames = work.require(frames, 14)
        size = u16(data, frames.at + 12).astype(np.int64)
        inside = frames.at + 14 + size <= frames.end
        work.count("truncated_link_header", np.count_nonzero(~inside))
        frames, size = frames[inside].skip(14), size[inside]
        _wifi_llc(work, data, frames.until(frames.at + size), depth)
        following = frames.at + size
        padding = size % 4
        following += np.where(frames.end - following >= padding, padding, 0)
        frames = frames.skip(following - frames.at)
        frames = frames[frames.at < frames.end]


def _wifi_llc(work: Work, data: np.ndarray, frames: Frames, depth: int) -> None:
    frames = work.require(frames, 8)
    header = rows(data, frames.at, 8)
    snap = (header[:, :6] == (0xAA, 0xAA, 3, 0, 0, 0)).all(axis=1)
    work.count("not_ip", np.count_nonzero(~snap), "802.2")
    frames = frames[snap]
    work.dispatch(data, frames.skip(8), u16(data, frames.at + 6), _COOKED, depth)


_LINK_TYPES = {
    0: "null", 108: "null",
    1: "ethernet",
    12: "ip", 14: "ip", 101: "ip", 228: "ip", 229: "ip",
    9: "ppp", 50: "ppp_serial", 51: "pppoe",
    10: "fddi",
    105: "wifi", 127: "radiotap",
    113: "linux_cooked", 276: "linux_cooked2",
    239: "nflog",
}  # fmt: skip

_ETHERTYPES = {
    0x0800: "ip", 0x86DD: "ip",
    0x8100: "vlan", 0x88A8: "vlan", 0x9100: "vlan",
    0x8847: "mpls", 0x88E7: "pbb", 0x8864: "pppoe", 0x8926: "vntag",
}  # fmt: skip

#: Zeek knows fewer inside of a VLAN.
_IN_VLAN = {number: layer for number, layer in _ETHERTYPES.items() if number not in (0x88A8, 0x9100)}
_PPP = {0x0021: "ip", 0x0057: "ip", 0x0281: "mpls"}
_COOKED = {0x0800: "ip", 0x86DD: "ip"}

LAYERS: dict[str, Layer] = {
    "ethernet": ethernet, "vlan": vlan, "vntag": vntag, "pbb": pbb, "mpls": mpls, "pppoe": pppoe,
    "ppp": ppp, "ppp_serial": ppp_serial, "linux_cooked": linux_cooked, "linux_cooked2": linux_cooked2,
    "null": null, "nflog": nflog, "fddi": fddi, "radiotap": radiotap, "wifi": wifi,
}  # fmt: skip
