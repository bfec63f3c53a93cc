"""`mmtt eve` as a user runs it: what comes out, what is said, and what becomes of it when things go wrong."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.request

import pytest
import zstandard
from eve_program import Eve, wait_for
from made_events import event, logged, row, said, stamp, told, verdict
from places import DATA
from program import MMTT, mmtt

from mmtt_agent.eve.service import Settings

TSV = (
    "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tmmtt\n"
    "#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\twindow\tservice\tmalicious\tstatus\n"
    "#types\ttime\tstring\taddr\tport\taddr\tport\tenum\tcount\tstring\tbool\tstring\n"
)


def stripped(data: bytes) -> bytes:
    return re.sub(rb',"mmtt":\{[^}]*\}', b"", data)


@pytest.fixture
def verdicts(tmp_path):
    """Of ports 1 to 4."""
    path = tmp_path / "mmtt.log"
    path.write_bytes(logged(*(row(port=port, uid=f"C{port}") for port in range(1, 5))))
    return path


def events(first: int, last: int) -> list[bytes]:
    """Of flows that have verdicts, one each."""
    return [event(number, port=1 + number % 4, flow_id=number % 4, note=number) for number in range(first, last)]


def test_a_file_and_a_log_of_zeeks_become_a_file(tmp_path):
    seconds = event()[14:40].decode()
    assert seconds == stamp(0)[:26]
    ts = f"{verdict().ts / 1e6:.6f}"
    log = tmp_path / "mmtt.log"
    log.write_text(TSV + f"{ts}\tC1\t10.0.0.1\t40000\t10.0.0.2\t443\ttcp\t0\tweb\tF\tok\n")
    (tmp_path / "eve.json").write_bytes(event(1) + event(1, port=2, flow_id=2))
    done = mmtt("eve", tmp_path / "eve.json", "--verdicts", log)
    first, second = done.stdout.encode().splitlines(keepends=True)
    assert told(first) == {"uid": "C1", "window": 0, "service": "web", "malicious": False, "status": "ok"}
    assert second == event(1, port=2, flow_id=2) and done.returncode == 0
    assert done.stderr == "mmtt: 2 events, 2 of flows: 1 with their verdict, 1 without one\n"
    log.with_suffix(".log.gz").write_bytes(gzip.compress(log.read_bytes()))
    assert mmtt("eve", tmp_path / "eve.json", "--verdicts", log.with_suffix(".log.gz")).stdout == done.stdout
    with (tmp_path / "eve.json").open("rb") as file:
        assert mmtt("eve", "--verdicts", log, "-o", tmp_path / "out", stdin=file).returncode == 0
    assert (tmp_path / "out").read_text() == done.stdout


def test_packed_events_are_unpacked(tmp_path, verdicts):
    import lz4.frame

    made = b"".join(events(0, 30_000))
    for name, pack in (("gz", gzip.compress), ("zst", zstandard.compress), ("lz4", lz4.frame.compress)):
        path = tmp_path / f"eve.json.{name}"
        path.write_bytes(pack(made))
        done = mmtt("eve", path, "--verdicts", verdicts)
        assert done.returncode == 0 and stripped(done.stdout.encode()) == made
        path.write_bytes(pack(made)[:-1000])
        done = mmtt("eve", path, "--verdicts", verdicts)
        assert done.returncode == 1 and made.startswith(stripped(done.stdout.encode()))
        assert f"{path}: damaged, and read as far as that goes" in done.stderr
        done = mmtt("eve", path, "--verdicts", verdicts, "--follow")
        assert done.returncode == 2 and f"{path}: packed, and can't be followed" in done.stderr


def test_what_goes_to_a_file_is_not_read_from_it(tmp_path, verdicts):
    log, made = tmp_path / "eve.json", b"".join(events(0, 5))
    log.write_bytes(made)
    before = verdicts.read_bytes()
    for arguments, shell in (([log], f">>{log}"), ([], f"<{log} >>{log}"), ([log], f">>{verdicts}")):
        done = mmtt("eve", *arguments, "--verdicts", verdicts, shell=shell)
        assert done.returncode == 2 and "can't be read while standard output goes there" in done.stderr
        assert log.read_bytes() == made and verdicts.read_bytes() == before


def test_events_of_ours_are_verdicts_too(tmp_path):
    ours = json.loads(event(kind="mmtt")) | {"mmtt": said()}
    other = {"event_type": "mmtt_incident", "mmtt_incident": {"id": "I1"}}
    (tmp_path / "ours").write_text(json.dumps(ours) + "\n" + json.dumps(other) + "\n" + event(2).decode())
    (tmp_path / "eve.json").write_bytes(event(1))
    done = mmtt("eve", tmp_path / "eve.json", "--verdicts", tmp_path / "ours")
    assert told(done.stdout.encode()) == said() and done.returncode == 0


def test_captures_are_classified_first(tmp_path):
    ends = {"src_ip": "10.77.0.1", "src_port": 34118, "dest_ip": "10.77.0.2", "dest_port": 53, "proto": "UDP"}
    line = json.dumps({"timestamp": "2026-11-23T14:15:14.900000+0000", "event_type": "dns", **ends}) + "\n"
    rows = [json.loads(each) for each in mmtt("classify", DATA / "office.pcap", "--format", "json").stdout.splitlines()]
    ok = next(each for each in rows if each["status"] == "ok")
    other = json.loads(line) | {
        "src_ip": ok["id.orig_h"], "src_port": ok["id.orig_p"], "dest_ip": ok["id.resp_h"],
        "dest_port": ok["id.resp_p"], "proto": ok["proto"].upper(), "timestamp": "2026-11-23T14:15:15.000000+0000",
    }  # fmt: skip
    (tmp_path / "eve.json").write_text(line + json.dumps(other) + "\n")
    done = mmtt("eve", tmp_path / "eve.json", "--capture", DATA / "office.pcap")
    first, second = done.stdout.splitlines()
    assert first + "\n" == line and json.loads(second)["mmtt"]["uid"] == ok["uid"]
    damaged = tmp_path / "x.pcap"
    damaged.write_bytes(b"no capture")
    done = mmtt("eve", tmp_path / "eve.json", "--capture", damaged)
    assert done.returncode == 2 and done.stdout == "" and str(damaged) in done.stderr


def test_rows_that_cant_be_read_are_said_and_the_others_used(tmp_path, verdicts):
    (tmp_path / "eve.json").write_bytes(b"".join(events(0, 4)))
    verdicts.write_bytes(b'{"ts":1}\n' + verdicts.read_bytes() + b"{\n")
    done = mmtt("eve", tmp_path / "eve.json", "--verdicts", verdicts)
    assert done.returncode == 1 and all(told(line.encode()) for line in done.stdout.splitlines())
    assert f"{verdicts}: 2 rows could not be read, and are left out; the first, line 1" in done.stderr
    verdicts.write_bytes(b"")
    done = mmtt("eve", tmp_path / "eve.json", "--verdicts", verdicts)
    assert "holds no verdicts" in done.stderr and done.stdout.encode() == b"".join(events(0, 4))
    assert done.returncode == 0
    verdicts.write_bytes(event(1))
    done = mmtt("eve", tmp_path / "eve.json", "--verdicts", verdicts)
    assert "holds no verdicts" in done.stderr and done.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x.json"], "name where verdicts come from"),
        (["x.json", "--verdicts", "v.log"], "x.json: No such file or directory"),
        (["eve.json", "--verdicts", "v.log"], "v.log: No such file or directory"),
        (["eve.json", "--verdicts", "mmtt.log", "--state", "s"], "add --follow"),
        (["--follow", "--verdicts", "mmtt.log"], "--follow is for a file"),
        (["-", "--verdicts", "-"], "not both"),
        (["eve.json", "--verdicts", "mmtt.log", "-C"], "-C are for --capture"),
        (["eve.json", "--verdicts", "mmtt.log", "--metrics-listen", "x"], "HOST:PORT"),
        (["eve.json", "--verdicts", "mmtt.log", "-o", "redis://h"], "names no key"),
        (["eve.json", "--verdicts", "mmtt.log", "-o", "/nowhere/x"], "/nowhere/x: No such file or directory"),
        (["eve.json", "--verdicts", "mmtt.log", "--follow", "--state", "/nowhere/x"], "there is no directory /nowhere"),
        (["eve.json", "--verdicts", "mmtt.log", "--follow", "--state", "eve.json"], "not a state of mmtt eve's"),
        (["eve.json", "--verdicts", "mmtt.log", "-o", "./eve.json"], "eve.json: can't be read and written to"),
        (["unix:/nowhere/x", "--verdicts", "mmtt.log"], "there is no directory /nowhere"),
        (["unix:eve.json", "--verdicts", "mmtt.log"], "in use by another program, or is no socket"),
        (["unix:" + "x" * 200, "--verdicts", "mmtt.log"], "no name that a socket can have"),
        (["/dev/null", "--verdicts", "mmtt.log"], "/dev/null: neither a file nor a pipe"),
        (["eve.json", "--capture", "v.pcap"], "v.pcap: No such file or directory"),
        (["eve.json", "--capture", "eve.json", "--bundle", "/nowhere"], "/nowhere"),
    ],
)
def test_what_cant_be_is_said_in_a_line(tmp_path, verdicts, arguments, message):
    (tmp_path / "eve.json").write_bytes(b"".join(events(0, 4)))
    before = {path.name for path in tmp_path.iterdir()}
    done = mmtt("eve", *arguments, cwd=tmp_path)
    assert done.returncode in (1, 2) and message in done.stderr and done.stdout == ""
    assert {path.name for path in tmp_path.iterdir()} == before


def test_by_itself_an_event_waits_for_as_long_as_a_closed_connection_takes_to_be_told():
    assert "[default: 8.0;" in mmtt("eve", "--help").stdout  # it is told 5.3 to 5.5 s after its last packet
    assert Settings("eve.json", ()).wait == 8.0


def test_help_needs_neither_numpy_nor_the_model():
    done = subprocess.run(
        [*MMTT[:-1], MMTT[-1].replace("main()", "main(['eve','--help'])"), "x"], capture_output=True, text=True,
        env=os.environ | {"PYTHONPROFILEIMPORTTIME": "1"}, check=True,
    )  # fmt: skip
    assert "--verdicts" in done.stdout
    for name in ("numpy", "onnxruntime", "redis", "lz4", "prometheus_client", "websockets"):
        assert f"| {name}\n" not in done.stderr.replace(" " * 2, "")


def test_a_followed_file_goes_on_over_rotation_and_restart(tmp_path, verdicts):
    log, out, state = tmp_path / "eve.json", tmp_path / "out.json", tmp_path / "state"
    arguments = (log, "--verdicts", verdicts, "--follow", "--state", state, "-o", out)
    made = [*events(0, 400)]
    log.write_bytes(b"".join(made[:100]))
    with Eve(*arguments, scratch=tmp_path) as eve:
        wait_for(lambda: out.exists() and out.read_bytes().count(b"\n") == 100)
        log.rename(tmp_path / "eve.json.1")
        log.write_bytes(b"".join(made[100:200]) + made[200][:50])
        wait_for(lambda: out.read_bytes().count(b"\n") == 200)
        assert eve.end() == 0
        assert "200 events" in eve.said
    with log.open("ab") as file:
        file.write(made[200][50:] + b"".join(made[201:250]))
    log.rename(tmp_path / "eve.json.2")
    log.write_bytes(b"".join(made[250:300]))
    with Eve(*arguments, scratch=tmp_path) as eve:
        wait_for(lambda: out.read_bytes().count(b"\n") == 300)
        with log.open("ab") as file:
            file.write(b"".join(made[300:350]))
        wait_for(lambda: out.read_bytes().count(b"\n") == 350)
        eve.end(signal.SIGKILL)
    with log.open("ab") as file:
        file.write(b"".join(made[350:]))
    with Eve(*arguments, scratch=tmp_path) as eve:
        wait_for(lambda: out.read_bytes().count(b"\n") >= 400)
        time.sleep(0.3)
        assert eve.end(signal.SIGINT) == 0
    assert stripped(out.read_bytes()) == b"".join(made)
    assert all(told(line) for line in out.read_bytes().splitlines())


def test_one_that_is_killed_at_any_time_doubles_nothing(tmp_path, verdicts):
    log, out, state = tmp_path / "eve.json", tmp_path / "out.json", tmp_path / "state"
    made = events(0, 60_000)
    log.write_bytes(b"".join(made))
    out.touch()
    for after in (0.0, 0.15, 0.4):
        before = out.stat().st_size
        with Eve(log, "--verdicts", verdicts, "--follow", "--state", state, "-o", out, scratch=tmp_path) as eve:
            wait_for(lambda before=before: out.stat().st_size > before or out.read_bytes().count(b"\n") == len(made))
            time.sleep(after)
            eve.end(signal.SIGKILL)
    with out.open("ab") as file:
        file.write(b'{"half a li')
    with Eve(log, "--verdicts", verdicts, "--follow", "--state", state, "-o", out, scratch=tmp_path) as eve:
        wait_for(lambda: out.read_bytes().count(b"\n") >= len(made))
        eve.end()
    assert stripped(out.read_bytes()) == b"".join(made)


def test_one_that_is_killed_after_half_a_line_of_a_rotated_file_goes_on_where_it_was(tmp_path, verdicts):
    log, out, state = tmp_path / "eve.json", tmp_path / "out.json", tmp_path / "state"
    arguments = (log, "--verdicts", verdicts, "--follow", "--state", state, "-o", out)
    made = events(0, 3)
    log.write_bytes(made[0])
    with Eve(*arguments, scratch=tmp_path) as eve:
        wait_for(lambda: out.exists() and out.read_bytes())
        eve.end()
    with log.open("ab") as file:
        file.write(b'{"half')
    log.rename(tmp_path / "eve.json.1")
    with out.open("ab") as file:
        file.write(b'{"half\n')  # as far as it came; its state is older
    log.write_bytes(made[1])
    for lines in (3, 4):
        with Eve(*arguments, scratch=tmp_path) as eve:
            wait_for(lambda lines=lines: out.read_bytes().count(b"\n") >= lines)
            eve.end()
            assert "is gone" not in eve.said
        with log.open("ab") as file:
            file.write(made[2])
    assert stripped(out.read_bytes()) == made[0] + b'{"half\n' + made[1] + made[2]


def test_a_second_one_with_the_same_state_or_output_is_refused(tmp_path, verdicts):
    log, out, state = tmp_path / "eve.json", tmp_path / "out.json", tmp_path / "state"
    log.write_bytes(b"".join(events(0, 10)))
    follows = (log, "--verdicts", verdicts, "--follow")
    with Eve(*follows, "--state", state, "-o", out, scratch=tmp_path) as eve:
        wait_for(lambda: out.exists() and out.read_bytes().count(b"\n") == 10)
        done = mmtt("eve", *follows, "--state", state)
        assert done.returncode == 2 and f"{state}: another mmtt eve keeps its state there" in done.stderr
        done = mmtt("eve", *follows, "-o", out)
        assert done.returncode == 2 and f"{out}: another mmtt eve writes there" in done.stderr
        out.rename(tmp_path / "out.json.1")
        os.kill(eve.process.pid, signal.SIGHUP)
        wait_for(out.exists)
        time.sleep(0.3)
        done = mmtt("eve", *follows, "-o", out)
        assert done.returncode == 2 and f"{out}: another mmtt eve writes there" in done.stderr
        eve.end(signal.SIGKILL)
    with Eve(*follows, "--state", state, "-o", out, scratch=tmp_path) as eve:
        time.sleep(1)
        assert eve.end() == 0 and out.read_bytes() == b""
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".lock")]


def test_sighup_makes_the_output_anew(tmp_path, verdicts):
    log, out = tmp_path / "eve.json", tmp_path / "out.json"
    log.write_bytes(b"".join(events(0, 10)))
    with Eve(log, "--verdicts", verdicts, "--follow", "-o", out, scratch=tmp_path) as eve:
        wait_for(lambda: out.exists() and out.read_bytes().count(b"\n") == 10)
        out.rename(tmp_path / "out.json.1")
        os.kill(eve.process.pid, signal.SIGHUP)
        wait_for(out.exists)
        with log.open("ab") as file:
            file.write(b"".join(events(10, 20)))
        wait_for(lambda: out.read_bytes().count(b"\n") == 10)
        eve.end()
    assert stripped((tmp_path / "out.json.1").read_bytes() + out.read_bytes()) == b"".join(events(0, 20))


def test_verdicts_that_come_later_over_a_socket_are_waited_for(tmp_path):
    log, out = tmp_path / "eve.json", tmp_path / "out.json"
    log.write_bytes(event(1) + event(1, port=2, flow_id=2) + event(1, port=1, flow_id=3))
    feed, port = tmp_path / "feed", 1
    with Eve(log, "--verdicts", f"unix:{feed}", "--follow", "-o", out, "--wait", 60, scratch=tmp_path) as eve:
        wait_for(feed.exists)
        time.sleep(0.5)
        assert not out.exists() or out.read_bytes() == b""
        with socket.socket(socket.AF_UNIX) as sniff:
            sniff.connect(str(feed))
            for port, uid in ((40_000, "C1"), (2, "C2")):
                ours = json.loads(event(0, port=port, kind="mmtt")) | {"mmtt": said(uid)}
                sniff.sendall(json.dumps(ours).encode() + b"\n")
        wait_for(lambda: out.read_bytes().count(b"\n") == 2)
        eve.end()  # passes on what waits
        assert "3 had to wait" in eve.said
    assert [told(line) and told(line)["uid"] for line in out.read_bytes().splitlines()] == ["C1", "C2", None]
    assert not feed.exists()


def test_a_log_of_zeeks_is_followed_over_its_rotation(tmp_path):
    log, out, zeek = tmp_path / "eve.json", tmp_path / "out.json", tmp_path / "later" / "mmtt.log"
    log.write_bytes(event(1) + event(2, port=2, flow_id=2))
    line = "{ts}\t{uid}\t10.0.0.1\t{port}\t10.0.0.2\t443\ttcp\t0\tweb\tF\tok\n".format
    with Eve(log, "--verdicts", zeek, "--follow", "-o", out, "--wait", 60, scratch=tmp_path) as eve:
        wait_for(lambda: "there is no directory" in eve.said)
        zeek.parent.mkdir()
        zeek.write_text(TSV + line(ts=f"{verdict().ts / 1e6:.6f}", uid="C1", port=40_000))
        wait_for(lambda: out.exists() and out.read_bytes().count(b"\n") == 1)
        zeek.rename(zeek.with_name("mmtt.2026-11-28-04-00-00.log"))
        other = TSV.replace("\tservice", "\tserv").replace("#fields\tts\tuid", "#fields\tts\tuid")
        zeek.write_text(other + line(ts=f"{verdict().ts / 1e6:.6f}", uid="C2", port=2) + "#close\tx\n")
        wait_for(lambda: out.read_bytes().count(b"\n") == 2)
        eve.end()
    assert [told(each)["uid"] for each in out.read_bytes().splitlines()] == ["C1", "C2"]


def test_a_log_that_was_rotated_just_before_the_start_still_gives_its_verdicts(tmp_path):
    zeek, log, out = tmp_path / "logs" / "current", tmp_path / "eve.json", tmp_path / "out.json"
    day = tmp_path / "logs" / "2026-11-28"
    zeek.mkdir(parents=True)
    day.mkdir()
    names = ["mmtt.log.1", "mmtt.log.2.gz", "mmtt.log-20261128.zst", "mmtt.2026-11-28-04-00-00.log"]
    paths = [*(zeek / name for name in names), day / "mmtt.04:00:00-05:00:00.log.gz"]
    pack = {".gz": gzip.compress, ".zst": zstandard.compress}
    for port, path in enumerate(paths, 1):
        path.write_bytes(pack.get(path.suffix, bytes)(logged(row(port=port, uid=f"C{port}"))))
    old = zeek / "mmtt.log.9"
    old.write_bytes(logged(row(port=9, uid="C9")))
    os.utime(old, (1, 1))
    (zeek / "mmtt.log").write_bytes(logged(row(port=6, uid="C6")))
    log.write_bytes(b"".join(event(1, port=port, flow_id=port) for port in (1, 2, 3, 4, 5, 6, 9)))
    arguments = ("--verdicts", zeek / "mmtt.log", "--follow", "-o", out, "--wait", 0.3)
    with Eve(log, *arguments, scratch=tmp_path) as eve:
        wait_for(lambda: out.exists() and out.read_bytes().count(b"\n") == 7)
        assert eve.end() == 0
    found = [told(each) for each in out.read_bytes().splitlines()]
    assert [each and each["uid"] for each in found] == ["C1", "C2", "C3", "C4", "C5", "C6", None]


def test_suricatas_socket_with_a_connection_that_breaks_off(tmp_path, verdicts):
    path, out = tmp_path / "eve.sock", tmp_path / "out.json"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))  # by one that was killed
    made = events(0, 20)
    with Eve(f"unix:{path}", "--verdicts", verdicts, "-o", out, scratch=tmp_path) as eve:
        for part in (b"".join(made[:10]) + made[10][:60], b"".join(made[11:])):
            with socket.socket(socket.AF_UNIX) as suricata:
                wait_for(lambda: suricata.connect_ex(str(path)) == 0)
                suricata.sendall(part)
        wait_for(lambda: out.exists() and out.read_bytes().count(b"\n") == 20)
        done = mmtt("eve", f"unix:{path}", "--verdicts", verdicts)
        assert done.returncode == 2 and "in use by another program" in done.stderr
        assert eve.end() == 0 and "1 broke off" in eve.said
    assert stripped(out.read_bytes()) == b"".join(made[:10]) + made[10][:60] + b"\n" + b"".join(made[11:])
    assert not path.exists()


def test_datagrams_are_an_event_each(tmp_path, verdicts):
    path, out = tmp_path / "eve.sock", tmp_path / "out.json"
    made = [*events(0, 20), event(1, port=1, payload="x" * 100_000)]
    with Eve(f"unix_dgram:{path}", "--verdicts", verdicts, "-o", out, scratch=tmp_path) as eve:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as suricata:
            wait_for(lambda: suricata.connect_ex(str(path)) == 0)
            for number, line in enumerate(made):
                suricata.send(line if number % 2 else line.rstrip(b"\n"))
        wait_for(lambda: out.exists() and out.read_bytes().count(b"\n") == 21)
        assert eve.end() == 0
    assert stripped(out.read_bytes()) == b"".join(made)


def test_to_a_socket_go_whole_lines(tmp_path, verdicts):
    path, got = tmp_path / "out.sock", []
    (tmp_path / "eve.json").write_bytes(b"".join(events(0, 20)) + event(1, port=1)[:50])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reader:
        reader.bind(str(path))
        reader.settimeout(20)
        with Eve(tmp_path / "eve.json", "--verdicts", verdicts, "-o", f"unix_dgram:{path}", scratch=tmp_path) as eve:
            got = [reader.recv(1 << 20) for _ in range(21)]
            assert eve.process.wait(20) == 0
    assert stripped(b"".join(got)) == (tmp_path / "eve.json").read_bytes() + b"\n"


def test_a_reader_that_is_slow_slows_down_and_nothing_is_lost_or_piles_up(tmp_path, verdicts):
    path, made = tmp_path / "eve.sock", events(0, 40_000)
    made = [line[:-2] + b',"payload":"' + b"x" * 1000 + b'"}\n' for line in made]
    reader, writer = os.pipe()
    got: list[bytes] = []
    with Eve(f"unix:{path}", "--verdicts", verdicts, scratch=tmp_path, out=writer) as eve:
        os.close(writer)
        with socket.socket(socket.AF_UNIX) as suricata:
            wait_for(lambda: suricata.connect_ex(str(path)) == 0)
            sender = threading.Thread(target=suricata.sendall, args=(b"".join(made),))
            sender.start()
            sender.join(2)
            assert sender.is_alive()  # it can't get rid of them

            def read() -> None:
                while data := os.read(reader, 1 << 16):
                    got.append(data)

            taking = threading.Thread(target=read)
            taking.start()
            sender.join(60)
        wait_for(lambda: sum(data.count(b"\n") for data in got) == len(made))
        assert eve.memory < 120 << 20
        assert eve.end() == 0
        taking.join(10)
    os.close(reader)
    assert stripped(b"".join(got)) == b"".join(made)


def test_a_reader_that_has_stopped_reading_is_not_waited_for_in_the_end_and_nothing_is_lost(tmp_path, verdicts):
    log, made = tmp_path / "eve.json", b"".join(events(0, 20_000))
    log.write_bytes(made)
    arguments = (log, "--verdicts", verdicts, "--follow", "--state", tmp_path / "state")
    reader, writer = os.pipe()
    with Eve(*arguments, scratch=tmp_path, out=writer) as eve:
        os.close(writer)
        time.sleep(3)
        began = time.monotonic()
        assert eve.end() == 1 and 10 < time.monotonic() - began < 20
        assert re.search(r"[0-9,]+ events were not written: standard output: nobody", eve.said)
    with os.fdopen(reader, "rb") as pipe:
        first = pipe.read()
    with (tmp_path / "out").open("wb") as out, Eve(*arguments, scratch=tmp_path, out=out) as eve:
        wait_for(lambda: b'"note":19999' in (tmp_path / "out").read_bytes())
        assert eve.end() == 0
    whole = first[: first.rfind(b"\n") + 1]
    assert whole and stripped(whole + (tmp_path / "out").read_bytes()) == made


def test_a_line_of_100_mb_passes_through_little_memory(tmp_path, verdicts):
    log, out = tmp_path / "eve.json", tmp_path / "out.json"
    long = event(1, port=1)[:-3] + b"x" * 100_000_000 + b'"}\n'
    log.write_bytes(event(1, port=1) + long + event(2, port=2, flow_id=2) + b"\x00" * 30_000_000)
    with Eve(log, "--verdicts", verdicts, "--follow", "-o", out, scratch=tmp_path) as eve:
        wait_for(lambda: out.exists() and out.stat().st_size > log.stat().st_size - 30_000_000)
        memory = eve.memory
        eve.end()
    with log.open("rb") as before, out.open("rb") as after:
        first = after.readline()
        assert told(first) and stripped(first) == before.readline()
        assert before.readline() == after.readline()
        assert told(after.readline())["uid"] == "C2"
    assert memory < 120 << 20


def test_whoever_stops_reading_ends_it_without_a_word(tmp_path, verdicts):
    (tmp_path / "eve.json").write_bytes(b"".join(events(0, 20_000)))
    reader, writer = os.pipe()
    with Eve(tmp_path / "eve.json", "--verdicts", verdicts, scratch=tmp_path, out=writer) as eve:
        os.close(writer)
        os.read(reader, 100)
        os.close(reader)
        assert eve.process.wait(20) == -signal.SIGPIPE and eve.said == ""


def test_a_full_disk_is_said(tmp_path, verdicts):
    (tmp_path / "eve.json").write_bytes(b"".join(events(0, 20)))
    for where in ("/dev/full", "-"):
        done = mmtt("eve", tmp_path / "eve.json", "--verdicts", verdicts, "-o", where, shell=">/dev/full")
        assert done.returncode == 1 and "No space left on device" in done.stderr


def test_a_port_for_numbers_that_is_taken_is_said(tmp_path, verdicts):
    (tmp_path / "eve.json").write_bytes(event())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = mmtt("eve", tmp_path / "eve.json", "--verdicts", verdicts, "--metrics-listen", f"127.0.0.1:{port}")
    assert done.returncode != 0 and done.stdout == ""
    assert done.stderr == f"Error: --metrics-listen 127.0.0.1:{port}: Address already in use\n"


def test_numbers_for_whoever_watches(tmp_path, verdicts):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    log, out = tmp_path / "eve.json", tmp_path / "out.json"
    log.write_bytes(b"".join(events(0, 20)) + b"garbage\n")
    options = ("--follow", "-o", out, "--metrics-listen", f"127.0.0.1:{port}")
    with Eve(log, "--verdicts", verdicts, *options, scratch=tmp_path) as eve:
        wait_for(lambda: out.exists() and out.read_bytes().count(b"\n") == 21)

        def page(name: str) -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{name}", timeout=10) as answer:
                return answer.read().decode()

        metrics = page("metrics")
        for line in ("mmtt_eve_events_total 21.0", "mmtt_eve_joined_total 20.0", "mmtt_eve_not_json_total 1.0",
                     "mmtt_eve_connections 4.0"):  # fmt: skip
            assert line in metrics
        status = json.loads(page("status"))
        assert status["events"] == 21 and status["held"] == 0 and status["problem"] == ""
        assert page("health") == "ok\n"
        with socket.create_connection(("127.0.0.1", port)):  # one that asks for nothing
            assert eve.end() == 0
        assert eve.said.count("\n") == 1
