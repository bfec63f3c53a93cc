"""`mmtt sniff` on a wire: what it says of traffic, and what it does when things go wrong."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from own_network import ip, make_wire, missing, send
from program import mmtt
from sniffing import PROGRAM, Sniff, at_once, frames, read_log, replay, sniffing, until

WHY_NOT = missing()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)

#: What does not hang on when packets come.
_TIMELESS = ("id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto", "window", "packets", "status")


def of_file(capture: str, folder: Path) -> Counter:
    """The same of a file with the packets as they are replayed."""
    rows = mmtt("classify", "--format", "tsv", at_once(capture, folder / capture)).stdout
    lines = [line.split("\t") for line in rows.splitlines()]
    names = next(line[1:] for line in lines if line[0] == "#fields")
    return counted([dict(zip(names, line, strict=True)) for line in lines if not line[0].startswith("#")])


def fill(path: Path) -> None:
    """All that there is room for."""
    with path.open("wb", buffering=0) as out, suppress(OSError):
        while True:
            out.write(b"x" * 512)


def counted(rows) -> Counter:
    return Counter(tuple(row[name] for name in _TIMELESS) for row in rows)


@pytest.mark.parametrize("workers", [1, 2])
def test_windows_are_those_of_the_file(tmp_path, workers):
    with sniffing(tmp_path, "--user", "root", "--workers", workers) as sniff:
        replay("lab.pcap")
        until(lambda: sniff.status()["capture"]["packets"] >= len(frames("lab.pcap")))
        assert sniff.stop() == 0
    assert counted(sniff.rows()) == of_file("lab.pcap", tmp_path)
    rows = sniff.rows()
    assert all(float(row["latency"]) < 60 for row in rows)
    assert all(row["model"].startswith("mmtt-") for row in rows if row["status"] == "ok")
    packets = len(frames("lab.pcap"))
    assert f"{packets:,} packets, 0 of them lost by the kernel" in sniff.said
    assert (sniff.logs / "mmtt.log").read_text().splitlines()[-1].startswith("#close")


def test_verdicts_come_while_connections_are_open(tmp_path):
    with sniffing(tmp_path, "--user", "root") as sniff:
        replay("office.pcap")
        until(lambda: (sniff.logs / "mmtt.log").read_text().count("\tok\t") >= 5, seconds=10)
        until(lambda: sniff.status()["capture"]["flows"]["open"])
        full = [row for row in sniff.rows() if row["packets"] == "32"]
        assert full and all(float(row["latency"]) < 2 for row in full)


def test_events_of_suricatas_kind_and_a_filter(tmp_path):
    with sniffing(
        tmp_path, "--format", "eve", "--user", "root", "tcp", "and", "not", "port", "22", logs=False
    ) as sniff:
        replay("office.pcap")
        until(lambda: sniff.status()["capture"]["packets"] > 900)
        assert sniff.stop(signal.SIGINT) == 0
    events = [json.loads(line) for line in sniff.printed.splitlines()]
    assert events
    for event in events:
        assert event["event_type"] == "mmtt" and event["in_iface"] == "seen" and event["proto"] == "TCP"
        assert event["community_id"].startswith("1:") and 22 not in (event["src_port"], event["dest_port"])


def test_logs_are_made_anew_when_they_were_moved_away(tmp_path):
    with sniffing(tmp_path, "--user", "root") as sniff:
        replay("midstream.pcap")
        until(lambda: len(sniff.rows()) > 0 or sniff.status()["capture"]["flows"]["open"])
        until(lambda: sniff.status()["capture"]["packets"] >= len(frames("midstream.pcap")))
        log, old = sniff.logs / "mmtt.log", sniff.logs / "mmtt.log.1"
        log.rename(old)
        sniff.process.send_signal(signal.SIGHUP)
        sniff.says("reloaded: model")
        until(log.exists)
        replay("office.pcap")
        until(
            lambda: (
                sniff.status()["capture"]["packets"] >= sum(len(frames(f"{n}.pcap")) for n in ("midstream", "office"))
            )
        )
        # Without having been moved away it goes on as it is.
        sniff.process.send_signal(signal.SIGHUP)
        until(lambda: sniff.status()["reloads"]["ok"] == 2)
        assert sniff.stop() == 0
    for path in (log, old):
        lines = path.read_text().splitlines()
        assert lines[0].startswith("#separator") and lines[-1].startswith("#close")
    assert log.read_text().count("#fields") == 1
    assert len(read_log(log)) + len(read_log(old)) == sum(of_file("office.pcap", tmp_path).values()) + sum(
        of_file("midstream.pcap", tmp_path).values()
    )


def test_it_is_asked_and_told_like_an_agent(tmp_path):
    with sniffing(tmp_path, "--user", "root", "--id", "here") as sniff:
        replay("office.pcap")
        until(lambda: sniff.status()["windows"]["answered"]["ok"])
        until(lambda: sniff.status()["capture"]["packets"] == len(frames("office.pcap")))
        assert sniff.get("/health") == (200, "ok\n")
        metrics = sniff.get("/metrics")[1]
        packets = sniff.status()["capture"]["packets"]
        assert f"mmtt_agent_packets_total {float(packets)}" in metrics and "mmtt_agent_zeek" not in metrics
        shown = mmtt("status", "--format", "table")
        assert shown.returncode == 0
        assert f"{packets:,} on seen, 0 lost by the kernel" in " ".join(shown.stdout.split())
        top = mmtt("top", "-n", "1", "--interval", "0.1")
        assert top.returncode == 0 and top.stdout.startswith("ts\thealthy")
        done = mmtt("reload")
        assert done.returncode == 0 and "reloaded: model" in done.stdout
        (tmp_path / "empty").mkdir()


def test_a_bundle_that_cant_be_used_leaves_the_old_one(tmp_path):
    settings = tmp_path / "sniff.yaml"
    settings.write_text("interface: seen\nuser: root\n")
    with sniffing(tmp_path, "-c", settings):
        settings.write_text(f"interface: seen\nuser: root\nbundle: {tmp_path}/none\n")
        done = mmtt("reload", "-c", settings)
        assert done.returncode == 1 and "goes on" in done.stderr
        assert mmtt("status", "-c", settings).returncode == 0
        settings.write_text("interface: seen\nuser: root\n")
        assert mmtt("reload", "-c", settings).returncode == 0


@pytest.fixture
def everybodys():
    """A folder that everybody may write to; pytest's own are for who runs it."""
    with TemporaryDirectory() as made:
        Path(made).chmod(0o777)
        (Path(made) / "logs").mkdir()
        os.chown(Path(made) / "logs", 65534, 65534)
        yield Path(made)


def test_privileges_are_gone_once_sockets_are_open(everybodys):
    with sniffing(everybodys) as sniff:
        for pid in (sniff.process.pid, *sniff.workers()):
            about = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
            assert set(about["Uid"].split()) == {"65534"}, pid
            assert {about[name] for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {"0" * 16}, pid
        assert (sniff.logs / "mmtt.log").stat().st_uid == 65534
        replay("office.pcap")
        until(lambda: sniff.status()["windows"]["answered"]["ok"])
        # A worker that is gone has a successor without them.
        os.kill(sniff.workers()[0], signal.SIGKILL)
        sniff.says("another worker of seen has begun")
        replay("office.pcap")
        assert sniff.stop() == 0
    assert "a worker of seen is gone" in sniff.said
    assert "1 workers ended before their time" in sniff.said


def test_a_worker_that_ends_is_noticed_and_replaced(tmp_path):
    with sniffing(tmp_path, "--user", "root", "--workers", "2") as sniff:
        first = set(sniff.workers())
        os.kill(min(first), signal.SIGKILL)
        sniff.says("a worker of seen is gone")
        sniff.says("another worker of seen has begun")
        until(lambda: len(sniff.workers()) == 2)
        assert len(first & set(sniff.workers())) == 1
        replay("office.pcap")
        until(lambda: sniff.status()["windows"]["answered"]["ok"])
        assert sniff.status()["capture"]["restarts"] == 1 and sniff.status()["healthy"]


def test_workers_end_with_their_parent(tmp_path):
    with sniffing(tmp_path, "--user", "root") as sniff:
        workers = sniff.workers()
        sniff.kill()
        until(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in workers), seconds=10)


def test_a_full_disk_is_said_once_and_writing_goes_on_when_there_is_room(tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", logs], check=True)
    try:
        filler = logs / "filler"
        with sniffing(tmp_path, "--user", "root") as sniff:
            replay("office.pcap")
            until(sniff.rows)
            fill(filler)
            replay("lab.pcap")
            sniff.says("mmtt.log: can't be written: No space left on device")
            assert "mmtt.log: can't be written" in sniff.get("/health")[1]
            filler.unlink()
            replay("office.pcap")
            sniff.says("verdicts are written again")
            until(lambda: sniff.get("/health")[0] == 200)
            assert sniff.status()["output"]["lost"] > 0
            assert sniff.stop() == 1
        assert sniff.said.count("can't be written: No space left on device; verdicts are lost, and counted") == 1
        assert "rows could not be written" in sniff.said.splitlines()[-1]
        read_log(logs / "mmtt.log")  # whole lines, under a head
    finally:
        subprocess.run(["umount", "-l", logs], check=True)


def test_an_interface_that_goes_down_is_waited_for(tmp_path):
    with sniffing(tmp_path, "--user", "root") as sniff:
        ip("link set seen down")
        sniff.says("seen: is down")
        until(lambda: sniff.get("/health")[0] == 503)
        ip("link set seen up")
        until(lambda: sniff.get("/health")[0] == 200)
        replay("office.pcap")
        until(lambda: sniff.status()["windows"]["answered"]["ok"])


def test_what_cant_be_begun_is_one_line(tmp_path):
    with sniffing(tmp_path, "--user", "root"):
        for arguments, told, status in (
            (("-i", "none"), "none: there is no such interface; there are: lo, seen, wire", 1),
            (("-i", "seen", "nonsense"), "the filter 'nonsense' has a mistake", 2),
            ((), "name an interface with -i", 2),
            (("-i", "seen", "--workers", "0"), "--workers must be an integer from 1 to 64", 2),
            (("-i", "seen", "--bundle", tmp_path), "bundle.yaml", 2),
            (("-i", "seen", "--to", "x", "--format", "tsv"), "use json or eve for x", 2),
            (("-i", "seen", "--to", "redis://"), "names no host", 2),
            (("-i", "seen", "--user", "nobody-like-this"), "there is no such user", 2),
            (("-i", "seen", "-o", tmp_path / "stderr"), "stderr", 1),
        ):
            done = mmtt("sniff", "--metrics-listen", "off", "--duration", "1", *arguments)
            assert done.returncode == status, (arguments, done.stderr)
            assert told in done.stderr, done.stderr


def test_it_stops_after_a_while_if_told_so(tmp_path):
    with sniffing(tmp_path, "--user", "root", "--duration", "0.5") as sniff:
        begun = time.monotonic()
        assert sniff.process.wait(30) == 0
        assert time.monotonic() - begun < 10
    assert isinstance(sniff, Sniff)


def test_packets_that_the_kernel_loses_are_said_and_counted(tmp_path):
    with sniffing(tmp_path, "--user", "root") as sniff:
        worker = sniff.workers()[0]
        os.kill(worker, signal.SIGSTOP)
        packets = [bytes(12) + b"\x88\xb5" + bytes(1000)] * 1000
        # The ring has 64 MB.
        for _ in range(90):
            send(packets)
        os.kill(worker, signal.SIGCONT)
        sniff.says(r"seen: the kernel has lost [\d,]+ packets .* use more workers")
        lost = until(lambda: sniff.status()["capture"]["dropped"])
        assert f"mmtt_agent_packets_dropped_total {float(lost)}" in sniff.get("/metrics")[1]
        assert sniff.stop() == 0
    assert f"{lost:,} of them lost by the kernel" in sniff.said


def test_an_interface_that_is_made_anew_is_followed_by_several_workers(tmp_path):
    with sniffing(tmp_path, "--user", "root", "--workers", "2") as sniff:
        ip("link del seen")
        sniff.says("seen: is gone")
        make_wire()
        sniff.says("(another worker of seen has begun.*\n[^$]*){2}")
        until(lambda: sniff.get("/health")[0] == 200)
        replay("office.pcap")
        until(lambda: sniff.status()["windows"]["answered"]["ok"])


def test_lines_go_to_a_socket_that_somebody_listens_on(tmp_path):
    path, got = tmp_path / "eve.sock", []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with sniffing(tmp_path, "--user", "root", "--to", f"unix:{path}", logs=False) as sniff:
            replay("office.pcap")
            reader, _ = listener.accept()
            with reader.makefile("rb") as lines:
                got.append(json.loads(lines.readline()))
                status = sniff.stop()
                got += [json.loads(line) for line in lines]
    assert status == 0 and len(got) == sum(of_file("office.pcap", tmp_path).values())
    assert {event["event_type"] for event in got} <= {"mmtt", "mmtt_incident"}


def test_rows_that_nobody_took_are_said_in_the_end(tmp_path):
    with sniffing(tmp_path, "--user", "root", "--to", f"unix:{tmp_path}/none.sock", logs=False) as sniff:
        replay("office.pcap")
        sniff.says("none.sock: nobody listens there; verdicts wait")
        assert sniff.stop() == 1
    assert sniff.said.splitlines()[-1].endswith(
        f"rows could not be written: {tmp_path}/none.sock: nobody listens there"
    )


def test_a_reader_that_has_enough_ends_it_without_a_word(tmp_path):
    with sniffing(tmp_path, "--user", "root") as sniff:
        arguments = "-i seen --format json --user root --metrics-listen off"
        program = subprocess.Popen(
            ["sh", "-c", f'"$@" {arguments} | head -n 1', "sh", *PROGRAM, "sniff"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        # It says on standard error when it listens.
        assert "listening on" in program.stderr.readline()
        replay("office.pcap")
        out, said = program.communicate(timeout=30)
        assert json.loads(out)["uid"] and "rror" not in said and "Traceback" not in said
        assert sniff.stop() == 0


def test_a_reader_that_reads_nothing_holds_up_the_end_no_longer_than_allowed(tmp_path):
    settings = tmp_path / "sniff.yaml"
    settings.write_text("stop_timeout: 1\nmetrics: {listen: off}\ninterface: seen\nuser: root\n")
    with sniffing(tmp_path, "--user", "root") as sniff:
        ours, theirs = os.pipe()
        fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
        program = subprocess.Popen(
            [*PROGRAM, "sniff", "-c", settings, "--format", "json"], stdout=theirs, stderr=subprocess.PIPE, text=True
        )
        os.close(theirs)
        assert "listening on" in program.stderr.readline()
        for _ in range(3):
            replay("lab.pcap")
        program.terminate()
        _, said = program.communicate(timeout=30)
        assert program.returncode == 1 and "not all verdicts could be written" in said
        os.close(ours)
        assert sniff.stop() == 0


def test_wrong_checksums_are_said_with_what_to_do(tmp_path):
    wrong = [frame[:-1] + bytes([frame[-1] ^ 1]) for frame in frames("office.pcap")]
    with sniffing(tmp_path, "--user", "root") as sniff:
        send(wrong)
        sniff.says(r"seen: [\d,]+ of [\d,]+ packets have a wrong checksum and are left out: .* use -C")
        sniff.stop()
