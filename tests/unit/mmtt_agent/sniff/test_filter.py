"""Filters: libpcap's programs, and what keeps one from being had. That they filter is tested with the ring."""

from __future__ import annotations

import ctypes
import socket
import struct

import pytest

from mmtt_agent.sniff import filter as filters
from mmtt_agent.sniff.errors import SniffError

RETURN = 6


def instructions(program: bytes) -> list[tuple[int, int, int, int]]:
    return list(struct.iter_unpack("HBBI", program))


@pytest.fixture
def libpcap():
    try:
        filters._library()
    except SniffError:
        pytest.skip("no libpcap")


@pytest.mark.parametrize("text", ["", "  \n"])
def test_no_filter_needs_no_libpcap(text, monkeypatch):
    monkeypatch.setattr(filters, "_library", None)
    assert instructions(filters.program(text, "eth0", 1)) == [(RETURN, 0, 0, filters.LONGEST)]
    assert instructions(filters.program(text, "eth0", 1, 96)) == [(RETURN, 0, 0, 96)]


def test_a_filter_is_compiled_for_the_link_type(libpcap):
    ethernet, raw = (filters.program("udp port 53", "eth0", linktype) for linktype in (1, 12))
    assert ethernet != raw
    assert {value for code, _, _, value in instructions(ethernet) if code == RETURN} == {0, filters.LONGEST}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tcp port", r"the filter 'tcp port' has a mistake: .*syntax error.*; see: man pcap-filter"),
        ("host 10.0.0.1/33", "has a mistake"),
        ("ether host 10.0.0.1 or", "has a mistake"),
        ("tcp and udp and (", "has a mistake"),
    ],
)
def test_a_mistake_is_told_in_one_line(libpcap, text, said):
    with pytest.raises(SniffError, match=said) as error:
        filters.program(text, "eth0", 1)
    assert "\n" not in str(error.value)


def test_without_libpcap_it_is_said_what_to_install(monkeypatch):
    def missing(name):
        raise OSError(f"{name}: cannot open shared object file")

    filters._library.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", missing)
    try:
        with pytest.raises(SniffError, match=r"filters need libpcap, .*apt install libpcap0.8"):
            filters.program("tcp", "eth0", 1)
    finally:
        filters._library.cache_clear()


def test_a_filter_that_is_too_long_for_the_kernel():
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as any_socket,
        pytest.raises(SniffError, match=r"the filter is too long \(5,000 instructions\): the kernel takes 4,096"),
    ):
        filters.attach(any_socket, filters.NOTHING * 5000)


def test_a_program_is_attached():
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other:
        filters.attach(other, filters.NOTHING)
        one.send(b"lost")
        filters.attach(other, filters.program("", "eth0", 1, 3))
        one.send(b"kept")
        assert other.recv(100) == b"kep"
