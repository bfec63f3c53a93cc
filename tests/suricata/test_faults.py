"""What goes wrong beside Suricata: no event is lost or doubled that Suricata has written."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import threading
import time

import pytest
import sensor
from eve_program import Eve, wait_for
from places import DATA
from program import mmtt
from watched_link import RULES, stripped, suricata, traffic, whole


@pytest.fixture
def told(record_property):
    """Takes a row of the table."""

    def row(what: str, before: bytes, after: bytes, said: str) -> None:
        wanted, got = before.splitlines(), stripped(after).splitlines()
        lost = len(set(wanted) - set(got))
        twice = len(got) - len(set(got))
        record_property("eve fault", f"{what:52} {lost:5} {twice:6}  {said.strip().splitlines()[-1][:90]}")
        assert (lost, twice) == (0, 0)

    return row


@pytest.fixture
def verdicts(tmp_path):
    path = tmp_path / "mmtt.log"
    path.write_text(mmtt("classify", DATA / "office.pcap", "--format", "json").stdout)
    return path


@pytest.fixture(scope="session")
def events(tmp_path_factory) -> bytes:
    """Suricata's own, of a capture."""
    return sensor.on_capture(DATA / "office.pcap", tmp_path_factory.mktemp("events"), RULES).read_bytes()


def test_suricata_is_killed_and_comes_back_on_its_socket(bed, told, tmp_path, verdicts):
    path, out = tmp_path / "eve.sock", tmp_path / "out.json"
    outputs = [("unix_stream", str(path)), ("regular", "eve.json")]
    with Eve(f"unix:{path}", "--verdicts", verdicts, "-o", out, "--wait", 0.2, scratch=tmp_path) as eve:
        wait_for(path.exists)
        for life in range(2):
            folder = suricata(bed, outputs)
            traffic(bed, network=life + 1)
            wait_for(lambda: any(b'"alert"' in line for line in whole(folder / "eve.json")))  # noqa: B023
            bed.stop("suricata", signal.SIGKILL if life == 0 else signal.SIGTERM)
        wait_for(lambda: len(whole(out)) >= len(whole(folder / "eve.json")))
        assert eve.end() == 0
        # The same events have other times in its other output, where they are not of a packet.
        before, after = (
            [line[line.index(b",") :] for line in lines if b'"stats"' not in line]
            for lines in (whole(folder / "eve.json"), whole(out))
        )
        # It was killed between its two outputs, maybe.
        assert len(before) > 100 and len(set(before) ^ {*map(stripped, after)}) <= 1
        told("Suricata killed and started again (unix socket)", b"\n".join(before), b"\n".join(after), eve.said)


def test_eve_json_is_renamed_and_made_anew(bed, told, tmp_path, verdicts):
    out = tmp_path / "out.json"
    folder = suricata(bed, [("regular", "eve.json")])
    log = folder / "eve.json"
    with Eve(log, "--follow", "--verdicts", verdicts, "-o", out, "--wait", 0.2, scratch=tmp_path) as eve:
        traffic(bed, 30, 1)
        log.rename(folder / "eve.json.1")
        traffic(bed, 30, 2)  # still into the old one
        bed.running["suricata"].send_signal(signal.SIGHUP)
        wait_for(log.exists)
        traffic(bed, 30, 3)
        bed.stop("suricata")
        before = (folder / "eve.json.1").read_bytes() + log.read_bytes()
        wait_for(lambda: len(whole(out)) >= before.count(b"\n"))
        assert eve.end() == 0
        assert stripped(out.read_bytes()) == before
        told("eve.json rotated (renamed, SIGHUP)", before, out.read_bytes(), eve.said)


def test_eve_json_is_copied_and_truncated(told, tmp_path, verdicts, events):
    log, out = tmp_path / "eve.json", tmp_path / "out.json"
    half = events.index(b"\n", len(events) // 2) + 1
    log.write_bytes(events[: half // 2])
    with Eve(log, "--follow", "--verdicts", verdicts, "-o", out, scratch=tmp_path) as eve:
        wait_for(lambda: whole(out))
        with log.open("ab") as file:
            file.write(events[half // 2 : half])
        shutil.copy(log, tmp_path / "eve.json.1")
        os.truncate(log, 0)
        with log.open("ab") as file:
            file.write(events[half:])
        wait_for(lambda: len(whole(out)) >= events.count(b"\n"))
        assert eve.end() == 0
        assert stripped(out.read_bytes()) == events
        told("eve.json rotated (copytruncate)", events, out.read_bytes(), eve.said)


def test_a_line_that_was_cut_off_and_garbage(told, tmp_path, verdicts, events):
    """Suricata was killed within a line, and goes on behind it; a disk has made noise of another."""
    lines = events.splitlines(keepends=True)
    made = [
        *lines[:40],
        lines[40][:70] + lines[41],
        b"\x00" * 3000 + b"\xff\xfe\n",
        *lines[42:80],
        b"[[[[\n",
        *lines[80:],
    ]
    log = tmp_path / "eve.json"
    log.write_bytes(b"".join(made) + lines[0][:33])
    done = mmtt("eve", log, "--verdicts", verdicts)
    after = done.stdout.encode("utf-8", "surrogateescape")
    assert stripped(after) == log.read_bytes() and done.returncode == 0
    assert "3 not JSON, 1 broke off" in done.stderr
    told("a line cut off, garbage, half a line at the end", log.read_bytes(), after, done.stderr)


def test_a_reader_that_does_not_read(told, tmp_path, verdicts, events):
    """A full pipe: mmtt waits, so that Suricata's file is where events pile up."""
    log, made = tmp_path / "eve.json", b"".join(
        line.replace(b'"flow_id":', b'"number":%d,"flow_id":' % number)
        for number, line in enumerate(events.splitlines(keepends=True) * 60)
    )  # fmt: skip
    log.write_bytes(made)
    reader, writer = os.pipe()
    with Eve(log, "--follow", "--verdicts", verdicts, "--wait", 0.2, scratch=tmp_path, out=writer) as eve:
        os.close(writer)
        time.sleep(2)
        got: list[bytes] = []

        def read() -> None:
            while data := os.read(reader, 1 << 16):
                got.append(data)

        taking = threading.Thread(target=read)
        taking.start()
        wait_for(lambda: sum(data.count(b"\n") for data in got) >= made.count(b"\n"))
        memory = eve.memory
        assert eve.end() == 0
        taking.join(10)
        os.close(reader)
        assert memory < 100 << 20 and stripped(b"".join(got)) == made
        numbered = b"\n".join(line for line in made.splitlines() if b'"number"' in line)
        after = b"\n".join(line for line in b"".join(got).splitlines() if b'"number"' in line)
        told("the reader of a pipe does not read", numbered, after, eve.said)


@pytest.mark.parametrize(("number", "what"), [(signal.SIGTERM, "stopped"), (signal.SIGKILL, "killed")])
def test_mmtt_is_started_again(told, tmp_path, verdicts, events, number, what):
    log, out, state = tmp_path / "eve.json", tmp_path / "out.json", tmp_path / "state"
    third = events.index(b"\n", len(events) // 3) + 1
    log.write_bytes(events[: third + 50])
    arguments = (log, "--follow", "--state", state, "--verdicts", verdicts, "-o", out, "--wait", 0.2)
    with Eve(*arguments, scratch=tmp_path) as eve:
        wait_for(lambda: len(whole(out)) >= events[:third].count(b"\n"))
        eve.end(number)
    with log.open("ab") as file:
        file.write(events[third + 50 : 2 * third])
    log.rename(tmp_path / "eve.json.1")
    log.write_bytes(events[2 * third :])
    rest = (tmp_path / "eve.json.1").read_bytes()
    expected = rest + (b"" if rest.endswith(b"\n") else b"\n") + events[2 * third :]
    with Eve(*arguments, scratch=tmp_path) as eve:
        wait_for(lambda: len(whole(out)) >= expected.count(b"\n"))
        assert eve.end() == 0
        assert stripped(out.read_bytes()) == expected
        told(f"mmtt {what} and started again, rotated meanwhile", expected, out.read_bytes(), eve.said)


def test_the_verdicts_come_late_and_their_feed_goes_away(told, tmp_path, events):
    log, out, feed = tmp_path / "eve.json", tmp_path / "out.json", tmp_path / "feed"
    log.write_bytes(events)
    ours = mmtt("classify", DATA / "office.pcap", "--format", "eve").stdout.encode()
    options = ("--verdicts", f"unix:{feed}", "-o", out, "--wait", 2)
    with Eve(log, "--follow", *options, scratch=tmp_path) as eve:
        wait_for(feed.exists)
        for part in (ours[: len(ours) // 2], b"", ours[ours.index(b"\n", len(ours) // 2) + 1 :]):
            with socket.socket(socket.AF_UNIX) as sniff:
                sniff.connect(str(feed))
                sniff.sendall(part)
        wait_for(lambda: len(whole(out)) >= events.count(b"\n"))
        assert eve.end() == 0
        assert stripped(out.read_bytes()) == events
        assert sum("mmtt" in json.loads(line) for line in out.read_bytes().splitlines()) > 10
        told("the feed of verdicts goes away and comes back", events, out.read_bytes(), eve.said)
