"""Can a capture file be read to its end? Zeek ends at once where it can't, so its package wants to know before that.

What is doubtful is said to be unclear: the package is careful then, which costs time and no verdict. As a program it
tells the package, on standard output. It knows nothing of mmtt, so that it starts fast.
"""

from __future__ import annotations

import mmap
import os
import stat
import struct
import subprocess
import sys
from pathlib import Path

#: In the environment of an agent that Zeek's package has started: the capture file that Zeek reads.
VARIABLE = "MMTT_CAPTURE"
#: The longest packet that libpcap takes, whatever the file's header allows, of these link types: loopback, Ethernet,
#: raw IP, Linux cooked.
_MAX_PACKET = 262_144
_LINKS = {0, 1, 101, 113, 228, 229, 276}
#: The longest block of pcapng that it takes.
_MAX_BLOCK = 16 << 20
#: The byte order and the units of time in a second, by a pcap's first bytes.
_PCAP = {
    b"\xa1\xb2\xc3\xd4": (">", 10**6),
    b"\xd4\xc3\xb2\xa1": ("<", 10**6),
    b"\xa1\xb2\x3c\x4d": (">", 10**9),
    b"\x4d\x3c\xb2\xa1": ("<", 10**9),
}
_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _PACKET = 0x0A0D0D0A, 1, 2, 3, 6

WHOLE, UNCLEAR = "whole", "unclear"


class _Unclear(Exception):
    """What libpcap or Zeek would make of it is not certain."""


def look(path: str) -> str:
    """``whole``, ``unclear``, or ``breaks off after SECONDS``: the time of the last packet that libpcap reads.

    Raises:
        OSError: the file can't be read.
    """
    with Path(path).open("rb") as file:
        before = os.fstat(file.fileno())
        if not stat.S_ISREG(before.st_mode) or before.st_size < 24:
            return UNCLEAR
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                found = _look_at_pcapng(data) if data[:4] == b"\n\r\r\n" else _look_at_pcap(data)
            except _Unclear:
                return UNCLEAR
        # One that is still written to may be cut off anywhere when Zeek comes to its end.
        return found if os.stat(path).st_size == before.st_size else UNCLEAR


def _breaks_off(last: int, latest: int, units: int) -> str:
    """After a packet of that time, where ``latest`` is the latest of all so far."""
    if last != latest or last < 0:
        # Zeek's clock never goes back: it would not tell which packet is the last.
        raise _Unclear
    return f"breaks off after {last // units}.{last % units * 10**6 // units:06d}"


def _look_at_pcap(data: mmap.mmap) -> str:
    if (form := _PCAP.get(data[:4])) is None:
        raise _Unclear
    order, units = form
    (link,) = struct.unpack_from(f"{order}I", data, 20)
    record = struct.Struct(f"{order}IIII").unpack_from
    at, end, last, latest = 24, len(data), -1, -1
    try:
        while at < end:
            seconds, fraction, captured, length = record(data, at)
            if captured > _MAX_PACKET:
                if link & 0xFFFF not in _LINKS:
                    raise _Unclear
                return _breaks_off(last, latest, units)
            at += 16 + captured
            if at > end:
                return _breaks_off(last, latest, units)
            if seconds >= 1 << 31:
                raise _Unclear
            if captured and length:
                last = seconds * units + fraction
                if last > latest:
                    latest = last
    except struct.error:
        return _breaks_off(last, latest, units)
    return WHOLE


def _look_at_pcapng(data: mmap.mmap) -> str:
    order = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}.get(data[8:12])
    if order is None:
        raise _Unclear
    head, number = struct.Struct(order + "II").unpack_from, struct.Struct(order + "I").unpack_from
    packet, interface = struct.Struct(order + "IIIII").unpack_from, struct.Struct(order + "HxxI").unpack_from
    at, end, last, latest = 0, len(data), -1, -1
    units: list[int] = []
    first: tuple[int, int] | None = None
    while at < end:
        if end - at < 8:
            return _breaks_off(last, latest, 10**9)
        kind, length = head(data, at)
        if length % 4 or not 12 <= length <= _MAX_BLOCK:
            raise _Unclear
        if at + length > end:
            return _breaks_off(last, latest, 10**9)
        if number(data, at + length - 4) != (length,):
            raise _Unclear
        if kind == _PACKET:
            if length < 32:
                raise _Unclear
            which, high, low, captured, original = packet(data, at + 8)
            if which >= len(units) or captured > min(length - 32, _MAX_PACKET):
                raise _Unclear
            if captured and original:
                last = (high << 32 | low) * (10**9 // units[which])
                if last > latest:
                    latest = last
        elif kind == _INTERFACE:
            if length < 20:
                raise _Unclear
            # libpcap takes one link type and one snapshot length.
            link, snapshot = interface(data, at + 8)
            first = first or (link, snapshot)
            if (link, snapshot) != first or link not in _LINKS:
                raise _Unclear
            units.append(_units(data[at + 16 : at + length - 4], order))
        elif kind == _SECTION:
            if length < 28 or data[at + 8 : at + 16] != data[8:16]:
                raise _Unclear
            units = []
        elif kind in (_SIMPLE_PACKET, _OLD_PACKET):
            raise _Unclear  # rare, and with rules of their own
        at += length
    return WHOLE


def _units(options: bytes, order: str) -> int:
    """An interface's units of time in a second, by its options: a power of ten up to nanoseconds."""
    at, units = 0, 10**6
    while at + 4 <= len(options):
        kind, length = struct.unpack_from(f"{order}HH", options, at)
        if kind == 0:
            return units
        if at + 4 + length > len(options) or kind == 14:
            raise _Unclear
        if kind == 9:
            if length != 1 or options[at + 4] > 9:
                raise _Unclear
            units = 10 ** options[at + 4]
        at += 4 + (length + 3) // 4 * 4
    return units


def tell(path: str) -> subprocess.Popen[bytes] | None:
    """Look at the file in a process of its own, which tells Zeek's package; None where that can't be started."""
    try:
        print("mmtt: capture is read", flush=True)
        return subprocess.Popen(
            [sys.executable, "-I", __file__, path], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    except (OSError, ValueError):  # nobody reads it; or a path that no file can have
        return None


def main() -> None:
    """Tell Zeek's package."""
    try:
        found = look(sys.argv[1])
    except (OSError, ValueError):  # mmap's, of a file that has become empty
        found = UNCLEAR
    print(f"mmtt: capture {found}", flush=True)


if __name__ == "__main__":
    main()
