"""The ring on interfaces of a network of the test's own: what comes out is what went in."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from made_captures import A6, ACK, B6, A, B, ethernet, tcp, udp
from own_network import ip, make_wire, missing, own_network, send

from mmtt_agent.capture.files import CaptureFile
from mmtt_agent.capture.packets import Decoder
from mmtt_agent.sniff import interfaces
from mmtt_agent.sniff.errors import SniffError
from mmtt_agent.sniff.ring import BLOCK, Ring

DATA = Path(__file__).parents[3] / "data"
WHY_NOT = missing()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)


@pytest.fixture
def network():
    with own_network():
        make_wire()
        yield


def contents(records) -> list[bytes]:
    return [records.data[at : at + size].tobytes() for at, size in zip(records.start, records.captured, strict=True)]


def frames_of(capture: str) -> list[bytes]:
    return [frame for records in CaptureFile(DATA / capture) for frame in contents(records)]


def read(ring: Ring, wanted: int, seconds: float = 5) -> list[bytes]:
    """What comes until there is as much as wanted, and a little longer, as there might be more."""
    found: list[bytes] = []
    give_up = time.monotonic() + seconds
    while len(found) < wanted and time.monotonic() < give_up:
        for records in ring.blocks(0.1):
            found += contents(records)
    for records in ring.blocks(0.2):
        found += contents(records)
    return found


@pytest.mark.parametrize("capture", ["lab.pcap", "office.pcap", "midstream.pcap"])
def test_a_capture_that_is_replayed_comes_byte_for_byte_and_in_order(network, capture):
    wanted = frames_of(capture)
    before = time.time()
    with Ring("seen") as ring:
        assert (ring.trouble, ring.warnings, ring.linktype) == ("", [], 1)
        send(wanted)
        assert read(ring, len(wanted)) == wanted
        assert ring.statistics() == (len(wanted), 0)
        send(wanted[:1])
        (records,) = ring.blocks(1)
        assert before * 1e6 < records.time[0] < time.time() * 1e6
        assert ring.statistics() == (len(wanted) + 1, 0)
    assert ring.statistics() == (len(wanted) + 1, 0)
    assert ring.fileno() == -1


def test_a_quiet_link_s_packet_comes_soon(network):
    with Ring("seen") as ring:
        waits = []
        for _ in range(5):
            send([b"\xff" * 60])
            begin = time.monotonic()
            assert len(read_once(ring)) == 1
            waits.append(time.monotonic() - begin)
    assert sorted(waits)[2] < 0.11


def read_once(ring: Ring) -> list[bytes]:
    return [frame for records in ring.blocks(2) for frame in contents(records)]


def test_packets_of_a_busy_link_come_in_lots_and_the_ring_goes_round(network):
    rng = random.Random(1)
    sizes = [rng.randint(46, 1486 if number % 2 else 8986) for number in range(12_000)]
    frames = [bytes(12) + b"\x08\x00" + rng.randbytes(size) for size in sizes]  # another type might be a VLAN's
    with Ring("seen", ring_bytes=8 * BLOCK) as ring:
        found, lots, begin = [], 0, time.monotonic()
        for start in range(0, len(frames), 500):
            send(frames[start : start + 500])
            for records in ring.blocks(0.1):
                found += contents(records)
                lots += 1
        passed = time.monotonic() - begin
        assert lots <= passed / 0.04 + sum(map(len, frames)) / (4 * BLOCK) + 1  # of 40 ms, or of half the ring
        assert found + read(ring, 0) == frames
        assert ring.statistics() == (len(frames), 0)


def test_waiting_ends_without_packets(network):
    with Ring("seen") as ring:
        begin = time.monotonic()
        assert list(ring.blocks(0.1)) == []
        assert 0.09 < time.monotonic() - begin < 1


_SENDER = """
import socket, sys, time
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
out.bind(("wire", 0))
end = time.time() + 20
while time.time() < end:
    out.send(bytes.fromhex(sys.argv[1]))
"""


def test_a_filter_takes_its_packets_from_the_first_on(network):
    wanted = [ethernet(udp(A, 7, B, 53, 10 + number)) for number in range(20)]
    others = [ethernet(tcp(A, 7, B, 53, ACK, 10)) for _ in range(20)]
    mixed = [frame for pair in zip(others, wanted, strict=True) for frame in pair]
    sender = subprocess.Popen([sys.executable, "-c", _SENDER, others[0].hex()])
    try:
        for _ in range(5):  # while others come, too
            with Ring("seen", filter="udp port 53") as ring:
                send(mixed)
                assert read(ring, len(wanted)) == wanted
                assert ring.statistics() == (len(wanted), 0)
    finally:
        sender.kill()
        sender.wait()


def test_a_vlan_s_packets_come_without_their_tag_and_filters_know_it(network):
    frame = ethernet(udp(A, 7, B, 53, 20))
    tagged = [ethernet(udp(A, 7, B, 53, 20), bytes.fromhex(tag)) for tag in ("81000005", "81000006")]
    for text, wanted in (("", 3), ("udp", 3), ("vlan", 2), ("vlan 5 and udp port 53", 1), ("not vlan", 1)):
        with Ring("seen", filter=text) as ring:
            send([frame, *tagged])
            assert read(ring, wanted) == [frame] * wanted, text


def test_packets_are_cut_to_the_snapshot_length(network):
    frame = ethernet(udp(A, 7, B, 53, 500))
    for text in ("", "udp"):
        with Ring("seen", filter=text, snaplen=100) as ring:
            send([frame])
            (records,) = ring.blocks(2)
            assert contents(records) == [frame[:100]]
            assert records.wire.tolist() == [len(frame)]


def test_two_rings_share_connections_whole(network):
    wanted = []
    for number in range(200):
        one, other, more = ("10.0.0.1", "10.0.1.2", tcp) if number % 2 else (A6, B6, tcp)
        for size in (1, 2, 3):
            wanted.append(ethernet(more(one, 1000 + number, other, 443, ACK, size)))
            wanted.append(ethernet(more(other, 443, one, 1000 + number, ACK, size)))
    with Ring("seen", fanout=4242) as first, Ring("seen", fanout=4242) as second:
        send(wanted)
        found, keys = [], []
        for ring in (first, second):
            decoder, mine = Decoder(), set()
            packets = []
            for _ in range(5):
                for records in ring.blocks(0.2):
                    packets += contents(records)
                    segments = decoder.decode(records, 0, records.time)
                    mine |= set(zip(segments.address.tolist(), (segments.port & 0xFFFFFFFF).tolist(), strict=True))
            found.append(packets)
            keys.append(mine)
        assert sorted(found[0] + found[1]) == sorted(wanted)
        assert not keys[0] & keys[1]
        assert min(map(len, keys)) > 50
        assert first.statistics()[0] + second.statistics()[0] == len(wanted)


def test_a_fanout_group_of_another_interface_is_refused(network):
    with Ring("seen", fanout=4243), pytest.raises(SniffError, match=r"^wire: .*fanout group 4243.*another number"):
        Ring("wire", fanout=4243)


def test_fragments_are_put_together_where_rings_share(network):
    packet = udp(A, 7, B, 53, 3000)
    body, header = packet[20:], packet[:20]
    halves = []
    for offset, part, more in ((0, body[:1480], 0x2000), (1480, body[1480:], 0)):
        fragment = bytearray(header + part)
        fragment[2:4] = len(fragment).to_bytes(2, "big")
        fragment[6:8] = (more | offset // 8).to_bytes(2, "big")
        fragment[10:12] = b"\0\0"
        words = sum(struct.unpack(">10H", fragment[:20]))
        fragment[10:12] = (~((words & 0xFFFF) + (words >> 16)) & 0xFFFF).to_bytes(2, "big")
        halves.append(ethernet(bytes(fragment)))
    with Ring("seen", fanout=4244) as ring:
        send(halves)
        decoder, payloads = Decoder(), []
        for records in ring.blocks(2):
            payloads += decoder.decode(records, 0, records.time).payload.tolist()
        assert payloads == [3000]
        assert decoder.counts() == {}


def test_what_is_lost_is_counted(network):
    frames = [number.to_bytes(4, "big") * 250 for number in range(6 * BLOCK // 1000)]
    with Ring("seen", ring_bytes=2 * BLOCK) as ring:
        send(frames)
        packets, lost = ring.statistics()
        found = read_once(ring)
        assert packets == len(frames) and lost > 0
        assert found == frames[: len(frames) - lost]
        send(frames[:10])  # and it goes on
        assert read(ring, 10) == frames[:10]
        assert ring.statistics() == (packets + 10, lost)


def test_the_loopback_interface_shows_each_packet_once_and_unfinished_checksums_are_trusted(network):
    with (
        Ring("lo", filter="udp") as ring,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out,
    ):
        peer.bind(("127.0.0.1", 0))
        for size in range(100, 110):
            out.sendto(bytes(size), peer.getsockname())
        (records,) = ring.blocks(2)
        assert len(records) == 10 and records.trusted.all()
        decoder = Decoder()
        assert decoder.decode(records, 0, records.time).payload.tolist() == list(range(100, 110))
        assert decoder.counts() == {}


def test_packets_that_the_kernel_has_not_yet_split_come_whole(network):
    with Ring("lo", filter="tcp") as ring, socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        peer, _ = server.accept()
        client.sendall(bytes(1 << 20))
        got = 0
        while got < 1 << 20:
            got += len(peer.recv(1 << 20))
        client.close()
        peer.close()
        decoder, payload, longest = Decoder(), 0, 0
        for _ in range(3):
            for records in ring.blocks(0.2):
                assert (records.captured == records.wire).all()
                longest = max(longest, int(records.wire.max()))
                payload += int(decoder.decode(records, 0, records.time).payload.sum())
        assert payload >= 1 << 20  # some of it perhaps twice
        assert longest > 30_000


def test_an_interface_that_is_down_is_waited_for(network):
    ip("link set seen down")
    with Ring("seen") as ring:
        assert ring.trouble == "seen: is down; type: ip link set seen up"
        assert list(ring.blocks(0.1)) == []
        ip("link set seen up")
        assert list(ring.blocks(0.1)) == [] and ring.trouble == ""
        for _ in range(2):
            send([b"a" * 60])
            assert read(ring, 1) == [b"a" * 60]
            ip("link set seen down")
            assert list(ring.blocks(0.5)) == [] and "is down" in ring.trouble
            begin = time.monotonic()
            assert list(ring.blocks(0.2)) == [] and time.monotonic() - begin > 0.15
            ip("link set seen up")
            assert list(ring.blocks(0.1)) == [] and ring.trouble == ""


def test_an_interface_that_goes_is_waited_for(network):
    with Ring("seen", filter="ip") as ring:
        frame = ethernet(udp(A, 7, B, 53, 20))
        send([frame])
        assert read(ring, 1) == [frame]
        ip("link del seen")
        assert list(ring.blocks(0.2)) == [] and ring.trouble == "seen: is gone; waiting for it to come back"
        assert list(ring.blocks(0.1)) == [] and "is gone" in ring.trouble
        make_wire()
        assert list(ring.blocks(0.1)) == [] and ring.trouble == ""
        assert "promiscuity 1" in details("seen")
        send([b"\xff" * 60, frame])
        assert read(ring, 1) == [frame]
        assert ring.statistics() == (2, 0)


def test_a_ring_that_shares_an_interface_that_goes_says_that_it_can_t_go_on(network):
    with Ring("seen", fanout=4245) as ring:
        ip("link del seen")
        assert list(ring.blocks(0.2)) == [] and "is gone" in ring.trouble
        make_wire()
        with pytest.raises(SniffError, match=r"^seen: is back as a new interface, .*; start again$"):
            list(ring.blocks(0.1))


def details(interface: str) -> str:
    return subprocess.run(
        ["ip", "-d", "link", "show", interface], check=True, capture_output=True, text=True
    ).stdout  # fmt: skip


def test_the_network_card_is_told_to_take_all_packets_unless_it_shall_not(network):
    with Ring("seen"):
        assert "promiscuity 1" in details("seen")
    assert "promiscuity 0" in details("seen")
    with Ring("seen", promiscuous=False):
        assert "promiscuity 0" in details("seen")


@contextmanager
def tunnel(name: str):
    """A TUN device; IP packets written to the descriptor come in by it."""
    device = os.open("/dev/net/tun", os.O_RDWR)
    try:
        fcntl.ioctl(device, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x0001 | 0x1000))
        ip(f"link set {name} up")
        yield device
    finally:
        os.close(device)


@pytest.mark.skipif(not Path("/dev/net/tun").exists(), reason="no TUN devices here")
def test_a_tunnel_s_packets_are_ip(network):
    packets = [udp(A, 7, B, 53, 20), udp(A6, 7, B6, 53, 30), tcp(A, 7, B, 53, ACK, 10)]
    for text, wanted in (("", packets), ("udp", packets[:2]), ("ip6", packets[1:2])):
        with tunnel("tun7") as device, Ring("tun7", filter=text) as ring:
            assert ring.linktype == interfaces.RAW
            for packet in packets:
                os.write(device, packet)
            assert read(ring, len(wanted)) == wanted
            ip("addr add 10.9.0.1/24 dev tun7")  # and what goes out
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
                out.sendto(b"x" * 40, ("10.9.0.2", 99))
            records = next(ring.blocks(2), None)
            if text == "ip6":
                assert records is None
            else:
                assert Decoder().decode(records, 0, records.time).payload.tolist() == [40]


def test_merging_is_warned_of(network):
    name = "seen"
    value = np.frombuffer(struct.pack("II", 0x2C, 1), np.uint8).copy()  # ETHTOOL_SGRO
    request = struct.pack("16sP16x", name.encode(), value.ctypes.data)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asked:
        fcntl.ioctl(asked, 0x8946, request)
    with Ring(name) as ring:
        (warning,) = ring.warnings
        assert warning.endswith("type: ethtool -K seen gro off")


def test_there_is_no_such_interface(network):
    with pytest.raises(SniffError, match=r"^eth9: there is no such interface; there are: lo, seen, wire$"):
        Ring("eth9")


@pytest.mark.parametrize("name", ["", "a" * 40, "a\0b", "ä/\n"])
def test_a_name_that_can_t_be(network, name):
    with pytest.raises(SniffError, match="there is no such interface"):
        Ring(name)


def test_a_kind_of_interface_that_is_not_known(network, monkeypatch):
    monkeypatch.setattr(interfaces, "_ask", lambda *_: struct.pack("16sH22x", b"seen", 280))
    with pytest.raises(SniffError, match=r"^seen: .*ARPHRD 280"):
        Ring("seen")


def test_a_ring_that_is_too_large(network):
    with pytest.raises(SniffError, match=r"^seen: no memory for a ring of 1048576 MiB .*; choose a smaller one$"):
        Ring("seen", ring_bytes=1 << 40)


def test_a_mistake_in_the_filter(network):
    with pytest.raises(SniffError, match=r"'udp prot 5' has a mistake: .*syntax error"):
        Ring("seen", filter="udp prot 5")


_WITHOUT_PERMISSION = """
from mmtt_agent.sniff.ring import Ring, SniffError
try:
    Ring("seen")
except SniffError as error:
    print(error)
"""


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="no setpriv")
def test_without_permission_there_is_a_remedy(network):
    without = "setpriv", "--bounding-set", "-all", "--inh-caps", "-all"
    done = subprocess.run(
        [*without, sys.executable, "-c", _WITHOUT_PERMISSION], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("seen: no permission to capture: run this with sudo, or give it the capability CAP_N")


def test_a_ring_that_could_not_be_had_leaves_nothing_open(network):
    before = len(os.listdir("/proc/self/fd"))
    with Ring("seen", fanout=4246):
        for options in ({"fanout": 4246}, {"ring_bytes": 1 << 40}, {"filter": "x y z"}):
            with pytest.raises(SniffError):
                Ring("wire", **options)
    assert len(os.listdir("/proc/self/fd")) == before
