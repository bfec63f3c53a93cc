"""Days composed of what the lab recorded: connections stay as they were, at other times, and truth says where."""

from __future__ import annotations

import csv
import json
import socket
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import zstandard
from click.testing import CliRunner
from lab_run import udp
from tiny_bundle import make_bundle, with_incidents

from mmtt_agent.capture import read_capture
from mmtt_model.cli.lab import lab
from mmtt_model.lab import LabError, days
from mmtt_model.lab.again import again
from mmtt_model.lab.days import compose, plan
from mmtt_model.lab.recorded import read
from mmtt_model.lab.scenario import parse
from mmtt_model.lab.scenario import plan as lab_plan
from mmtt_model.lab.schedule import MACHINES, PEOPLE, attacks
from mmtt_model.lab.wire import Tap

_HOST, _BEGIN = "10.77.0.1", 1_700_000_000
_ACTIVITIES = sorted({attack.activity for attack in attacks()} | {"web", "ntp"})


def _sum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def tcp(source, target, ports, seq, ack, flags, payload=b"", options=b""):
    head = struct.pack(">HHIIBBHHH", *ports, seq, ack, (5 + len(options) // 4) << 4, flags, 64240, 0, 0) + options
    ends = socket.inet_aton(source) + socket.inet_aton(target)
    pseudo = ends + struct.pack(">BBH", 0, 6, len(head) + len(payload))
    head = head[:16] + struct.pack(">H", _sum(pseudo + head + payload)) + head[18:]
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(head) + len(payload), 7, 0, 64, 6, 0) + ends
    return ip[:10] + struct.pack(">H", _sum(ip)) + ip[12:] + head + payload


def _talk(server, port, at):
    """A TCP connection: a request, an answer whose first segment comes late, and a selective acknowledgement."""
    up, down = (_HOST, server, (port, 443)), (server, _HOST, (443, port))
    sack = b"\1\1\5\12" + struct.pack(">II", 9_000 + 1001, 9_000 + 1401)
    return [
        (at, tcp(*up, 4_294_967_290, 0, 2)),
        (at + 0.01, tcp(*down, 9_000, 4_294_967_291, 18)),
        (at + 0.02, tcp(*up, 4_294_967_291, 9_001, 16)),
        (at + 0.03, tcp(*up, 4_294_967_291, 9_001, 24, bytes(range(200)))),
        (at + 0.05, tcp(*down, 10_001, 195, 24, b"b" * 400)),
        (at + 0.06, tcp(*up, 195, 9_001, 16, options=sack)),
        (at + 0.09, tcp(*down, 9_001, 195, 24, b"a" * 1000)),
        (at + 0.10, tcp(*up, 195, 10_401, 17)),
        (at + 0.11, tcp(*down, 10_401, 196, 17)),
        (at + 0.12, tcp(*up, 196, 10_402, 16)),
    ]


@pytest.fixture
def parts(tmp_path):
    """What `mmtt lab run` leaves: six connections of each activity, some of TCP and some of UDP."""
    folder = tmp_path / "recorded" / "captures" / "day-parts" / "0000"
    folder.mkdir(parents=True)
    steps, packets = [], []
    for number, activity in enumerate(_ACTIVITIES):
        address = f"10.77.1.{number + 1}"
        steps.append(
            {
                "number": number,
                "name": activity,
                "client_host": "laptop",
                "server": "nginx",
                "client": "curl",
                "address": address,
            }
        )
        for turn in range(6):
            at, port = _BEGIN + number * 0.001 + turn * 4, 40_000 + turn
            if activity in ("ntp", "dns_tunnel"):
                packets += [
                    (at + reply * 0.2, udp(*ends, ports, 48 + turn + reply))
                    for reply, (ends, ports) in enumerate(
                        [((_HOST, address), (port, 53)), ((address, _HOST), (53, port))] * 2
                    )
                ]
            else:
                packets += _talk(address, port, at)
    tap = Tap(tmp_path / "laptop.pcap", 160)
    for time, data in sorted(packets, key=lambda each: each[0]):
        tap.packet(time, data)
    tap.file.close()
    (folder / "laptop.pcap.zst").write_bytes(zstandard.compress((tmp_path / "laptop.pcap").read_bytes()))
    (folder / "capture.json").write_text(json.dumps({"steps": steps, "failed": {}}))
    return tmp_path / "recorded"


def _table(path):
    with path.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def _windows(capture):
    """Sizes and times of each connection's windows."""
    series = capture.windows.series
    return Counter(
        (tuple(sizes[:length].tolist()), tuple(times[:length].tolist()))
        for sizes, times, length in zip(series.sizes, series.times, series.lengths.tolist(), strict=True)
    )


def test_a_connection_placed_again_keeps_sizes_and_gaps_and_its_packets_are_whole(parts):
    played = {each.activity: each for each in read(parts)}
    connection = played["web"].connections[2]
    packets = again(connection, 5_000_000, "10.77.0.9", 50_123, "198.18.0.7", (77, 4_000_000_000))
    assert (np.diff(packets.times) == np.diff(connection.times)).all() and packets.times[0] == 5_000_000
    assert (packets.lengths == connection.lengths).all()
    sack = packets.data[5].tobytes()
    assert struct.unpack_from(">II", sack, 24) == ((195 + 77), (9_001 + 4_000_000_000) % 2**32)
    assert struct.unpack_from(">II", sack, 44) == ((9_000 + 1001 + 4_000_000_000) % 2**32, 4_000_010_401 % 2**32)
    whole = packets.lengths == packets.kept
    assert whole.sum() == 7, "three are cut: a request and an answer of two"
    for data, kept in zip(packets.data[whole], packets.kept[whole], strict=True):
        packet = data[:kept].tobytes()
        assert _sum(packet[:20]) == 0
        assert _sum(packet[12:20] + struct.pack(">BBH", 0, 6, kept - 20) + packet[20:]) == 0
    # A cut packet's checksum is that of the packet made anew from the start.
    request = tcp("10.77.0.9", "198.18.0.7", (50_123, 443), 72, 4_000_009_001 % 2**32, 24, bytes(range(200)))
    assert packets.data[3, :160].tobytes() == request[:160]


def test_a_day_has_the_recordings_windows_and_no_other_and_nothing_of_it_is_left_out(parts, tmp_path):
    of_recording = set(_windows(read_capture(parts / "captures/day-parts/0000/laptop.pcap.zst")))
    compose(read(parts), tmp_path / "days", 1, 1, lambda _: None)
    for row in _table(tmp_path / "days" / "days.tsv")[:3]:
        capture = read_capture(tmp_path / "days" / "captures" / row["capture"])
        assert not capture.left_out and not capture.problems
        assert set(_windows(capture)) <= of_recording


def test_truth_fits_the_packets(parts, tmp_path):
    out = tmp_path / "days"
    compose(read(parts), out, 1, 1, lambda _: None)
    told_days, pairs = _table(out / "days.tsv"), _table(out / "pairs.tsv")
    assert [row["attack"] for row in told_days] == ["", *(attack.activity for attack in attacks())]
    for row in (told_days[0], told_days[1], told_days[-1]):
        connections = read_capture(out / "captures" / row["capture"]).connections
        seen = {}
        for orig, resp, port, ts in zip(
            *connections.addresses(np.arange(len(connections))),
            connections.resp_p.tolist(),
            connections.ts.tolist(),
            strict=True,
        ):
            seen.setdefault((orig, resp, str(port)), []).append(ts)
        told = [pair for pair in pairs if pair["capture"] == row["capture"]]
        assert {
            (pair["orig"], pair["resp"], pair["resp_p"].split("/")[0]): [
                int(pair["connections"]),
                int(pair["begin"]),
                int(pair["end"]),
            ]
            for pair in told
        } == {ends: [len(times), min(times), max(times)] for ends, times in seen.items()}
        assert {pair["kind"] for pair in told} - {""} == ({row["kind"]} if row["kind"] else set())


def test_an_attack_has_its_period_and_jitter(parts):
    played = read(parts)
    for day in plan(played, 3, 0)[:20]:
        rhythm = day.attack.rhythm
        gaps = np.diff([each.begin for each in day.placed if each.kind]) / 1e6
        assert len(gaps) > 20
        assert rhythm.period * (1 - rhythm.jitter) - 1e-3 <= gaps.min() <= gaps.max() <= rhythm.period + 1e-3
        assert gaps.max() - gaps.min() >= rhythm.period * rhythm.jitter * 0.8 - 1e-3


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(parts, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        compose(read(parts), tmp_path / name, seed, 1, lambda _: None)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*"))
    assert len(files) == 3 + len(list(attacks()))
    same = [(tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in files]
    other = [(tmp_path / "a" / file).read_bytes() == (tmp_path / "c" / file).read_bytes() for file in files]
    assert all(same) and not any(other)


def test_an_ordinary_day_has_all_that_was_recorded_of_its_host(parts):
    (day,) = [day for day in plan(read(parts), 1, 1) if day.attack is None]
    seen = Counter(each.played.activity for each in day.placed)
    assert seen["web"] == PEOPLE["web"] * 6
    assert 84 <= seen["ntp"] <= 87
    assert set(seen) == {"web", "ntp"}


def test_a_recording_without_an_attack_of_the_schedule_is_told(parts):
    with pytest.raises(LabError, match="recorded of guess_form"):
        plan([each for each in read(parts) if each.activity != "guess_form"], 1, 0)


def test_a_directory_without_captures_is_told(tmp_path):
    with pytest.raises(LabError, match="mmtt lab run day-parts"):
        read(tmp_path)


def test_the_commands_compose_days_and_say_what_is_found(parts, tmp_path, monkeypatch):
    def short():
        return [each for each in attacks() if each.activity in ("guess_form", "dns_tunnel")][:2]

    monkeypatch.setattr("mmtt_model.lab.days.attacks", short)
    out = tmp_path / "days"
    made = CliRunner().invoke(lab, ["days", str(parts), "-o", str(out), "--ordinary", "1"])
    assert made.exit_code == 0, made.output
    for threshold, found in ((0.0, 2), (1.0, 0)):
        bundle = make_bundle(tmp_path / f"bundle-{threshold}", **with_incidents(threshold))
        told = CliRunner().invoke(lab, ["incidents", str(out), "--bundle", str(bundle)])
        assert told.exit_code == 0, told.output
        assert f"{found} of 2 attacks found" in told.output
        assert ("Days without an attack: 0 false" in told.output) == (found == 0)


def test_what_cannot_be_done_is_told_in_a_line(parts, tmp_path):
    nothing = CliRunner().invoke(lab, ["days", str(tmp_path), "-o", str(tmp_path / "days")])
    assert nothing.exit_code == 1 and "mmtt lab run day-parts" in nothing.output
    plain = make_bundle(tmp_path / "plain")
    without = CliRunner().invoke(lab, ["incidents", str(tmp_path), "--bundle", str(plain)])
    assert without.exit_code == 1 and "finds no incidents" in without.output
    able = make_bundle(tmp_path / "able", **with_incidents())
    empty = CliRunner().invoke(lab, ["incidents", str(tmp_path), "--bundle", str(able)])
    assert empty.exit_code == 1 and "mmtt lab days" in empty.output


def test_the_shipped_scenario_records_all_that_days_are_made_of():
    scenario = parse((Path(days.__file__).parent / "scenarios" / "day-parts.yaml").read_text(), "day-parts")
    done = {step.name for number in range(scenario.captures) for step in lab_plan(scenario, number).steps}
    assert done == {*PEOPLE, *MACHINES, *(attack.activity for attack in attacks())}
