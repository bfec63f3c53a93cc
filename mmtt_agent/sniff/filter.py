"""Filters as tcpdump's, compiled by the machine's libpcap and run by the kernel.

They are compiled for a link type (``pcap_open_dead``), as tcpdump does it for a file. But the kernel takes a VLAN's tag
out of a packet before anybody sees it, so that a filter with the word ``vlan`` would match nothing: such a one is
compiled for the interface itself (``pcap_activate``), whereupon libpcap asks the kernel for the tag. Filters without
that word match what is in a VLAN, too, as no tag is in their way.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import re
import socket
import struct
from functools import cache

from .errors import SettingsError, SniffError

#: Longest packet, and what a filter returns for those that are to be had whole.
LONGEST = 262_144

_SO_ATTACH_FILTER = 26
#: Where the kernel's own instructions find the kind of a packet, and that of one that is on its way out.
_PACKET_TYPE, _OUTGOING = 0xFFFFF000 + 4, 4
# BPF: load a byte, jump where it is equal, return.
_LOAD, _JUMP_IF, _RETURN = 0x30, 0x15, 0x06
_INSTRUCTION = struct.Struct("HBBI")
#: As many as the kernel takes.
_MOST_INSTRUCTIONS = 4096

#: Lets nothing through.
NOTHING = _INSTRUCTION.pack(_RETURN, 0, 0, 0)
#: In front of another program: a packet on its way out is left out. The loopback interface shows all a second time.
INCOMING = (
    _INSTRUCTION.pack(_LOAD, 0, 0, _PACKET_TYPE)
    + _INSTRUCTION.pack(_JUMP_IF, 0, 1, _OUTGOING)
    + _INSTRUCTION.pack(_RETURN, 0, 0, 0)
)


class _Program(ctypes.Structure):
    """``bpf_program``."""

    _fields_ = [("length", ctypes.c_uint), ("instructions", ctypes.c_void_p)]


def program(text: str, interface: str, linktype: int, snaplen: int = LONGEST) -> bytes:
    """The instructions (``sock_filter``) that let through what the filter names, at most ``snaplen`` bytes of each.

    Args:
        text: the filter; an empty one lets everything through.
        interface: of which packets are to be had.
        linktype: what they begin with, as a number of libpcap's.

    Raises:
        SettingsError: a mistake in the filter.
        SniffError: no libpcap.
    """
    if not text.strip():
        return _INSTRUCTION.pack(_RETURN, 0, 0, snaplen)
    library = _library()
    if re.search(r"\bvlan\b", text):
        handle = _live(library, interface, snaplen)
    else:
        handle = library.pcap_open_dead(linktype, snaplen)
    try:
        return _compiled(library, handle, text)
    finally:
        library.pcap_close(handle)


def attach(packets: socket.socket, instructions: bytes) -> None:
    """Let through a socket what the instructions let through, in the place of what they have been before.

    Raises:
        SniffError: they are too many for the kernel.
    """
    count = len(instructions) // _INSTRUCTION.size
    kept = ctypes.create_string_buffer(instructions)
    try:
        if count > _MOST_INSTRUCTIONS:
            raise OSError(errno.EINVAL, "")
        packets.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", count, ctypes.addressof(kept)))
    except OSError as error:
        if error.errno == errno.ENOMEM:
            remedy = "let the kernel take longer ones (sysctl -w net.core.optmem_max=1048576), or shorten it"
        else:
            remedy = f"the kernel takes {_MOST_INSTRUCTIONS:,} at most; shorten it (networks instead of hosts)"
        raise SniffError(f"the filter is too long ({count:,} instructions): {remedy}") from None


@cache
def _library() -> ctypes.CDLL:
    for name in ("libpcap.so.1", "libpcap.so.0.8", "libpcap.so", ctypes.util.find_library("pcap")):
        try:
            library = ctypes.CDLL(name) if name else None
        except OSError:
            continue
        if library is not None:
            break
    else:
        raise SniffError(
            "filters need libpcap, which is not installed; type: apt install libpcap0.8 (Debian, Ubuntu; libpcap0.8t64 "
            "on later ones), dnf install libpcap (Fedora, RHEL), or leave the filter out"
        )
    library.pcap_open_dead.restype = library.pcap_create.restype = ctypes.c_void_p
    library.pcap_geterr.restype = library.pcap_statustostr.restype = ctypes.c_char_p
    library.pcap_geterr.argtypes = library.pcap_close.argtypes = library.pcap_activate.argtypes = [ctypes.c_void_p]
    library.pcap_set_snaplen.argtypes = [ctypes.c_void_p, ctypes.c_int]
    library.pcap_compile.argtypes = [
        ctypes.c_void_p, ctypes.POINTER(_Program), ctypes.c_char_p, ctypes.c_int, ctypes.c_uint32,
    ]  # fmt: skip
    return library


def _live(library: ctypes.CDLL, interface: str, snaplen: int) -> int:
    said = ctypes.create_string_buffer(256)
    handle: int | None = library.pcap_create(interface.encode(), said)
    if not handle:
        raise SniffError(f"{interface}: libpcap can't open it: {_text(said.value)}")
    library.pcap_set_snaplen(handle, snaplen)
    if (status := library.pcap_activate(handle)) < 0:
        why = _text(library.pcap_geterr(handle)) or _text(library.pcap_statustostr(status))
        library.pcap_close(handle)
        raise SniffError(f"{interface}: libpcap can't open it, as a filter with `vlan` needs: {why}")
    return handle


def _compiled(library: ctypes.CDLL, handle: int, text: str) -> bytes:
    made = _Program()
    optimize, unknown_netmask = 1, 0xFFFFFFFF
    if library.pcap_compile(handle, ctypes.byref(made), text.encode(), optimize, unknown_netmask):
        raise SettingsError(
            f"the filter {text!r} has a mistake: {_text(library.pcap_geterr(handle))}; see: man pcap-filter"
        )
    try:
        return ctypes.string_at(made.instructions, made.length * _INSTRUCTION.size)
    finally:
        library.pcap_freecode(ctypes.byref(made))


def _text(said: bytes) -> str:
    return " ".join(said.decode(errors="replace").split())
