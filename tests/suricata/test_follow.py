"""Captures that a real Suricata writes (pcap-log) are taken once each, whatever happens between."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import lz4.frame
import pytest
import sensor
from bed import Bed, missing, wait_for
from places import DATA
from program import MMTT, mmtt
from repeated import repeated
from tiny_bundle import make_bundle, with_incidents

OFFICE = (DATA / "office.pcap").read_bytes()
#: Puts a capture's frames on an interface, as fast as it takes them but for the time to look at them.
SEND = """
import socket, struct, sys, time
data, at = open(sys.argv[1], "rb").read(), 24
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.bind(("wire", 0))
sent = 0
while at < len(data):
    size = struct.unpack_from("<I", data, at + 8)[0]
    if size <= 1514:
        wire.send(data[at + 16 : at + 16 + size])
    at += 16 + size
    sent += 1
    if sent % 20 == 0:
        time.sleep(0.005)
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundle"), **with_incidents(0.0))


def config(directory: Path, captures: Path, compression: str, mode: str) -> Path:
    captures.mkdir()
    name = "log.pcap.%n.%t" if mode == "multi" else "log.pcap"
    path = directory / "suricata.yaml"
    path.write_text(
        "%YAML 1.1\n---\nvars:\n  address-groups: {HOME_NET: any, EXTERNAL_NET: any}\noutputs:\n  - pcap-log:\n"
        f"      enabled: yes\n      filename: {name}\n      limit: 4mb\n      mode: {mode}\n"
        f"      compression: {compression}\n      lz4-checksum: yes\n      dir: {captures}\n      ts-format: usec\n"
        "unix-command: {enabled: no}\n"
        "af-packet:\n  - interface: default\n    threads: 1\n    use-mmap: yes\n    tpacket-v3: yes\n"
    )
    return path


def rows(output: Path, but: int = -2) -> list[list[str]]:
    """By connection and window, without the incident and the capture."""
    path = output / "mmtt.log"
    lines = path.read_text().splitlines() if path.exists() else []
    found = [line.split("\t")[:but] for line in lines if not line.startswith("#")]
    return sorted(found, key=lambda row: (row[1], row[7]))


def joined(captures: Path, to: Path) -> Path:
    """The captures as one."""
    parts = []
    for path in sorted(captures.iterdir()):
        content = path.read_bytes()
        parts.append(lz4.frame.decompress(content) if path.suffix == ".lz4" else content)
    to.write_bytes(parts[0][:24] + b"".join(part[24:] for part in parts))
    return to


@pytest.mark.parametrize(("compression", "mode"), [("none", "normal"), ("lz4", "normal"), ("lz4", "multi")])
def test_what_suricata_has_written_of_a_capture_is_taken_once(tmp_path, bundle, compression, mode):
    (tmp_path / "big.pcap").write_bytes(repeated(OFFICE, 12))
    captures = tmp_path / "captures"
    done = subprocess.run(
        [sensor.find(), "-c", config(tmp_path, captures, compression, mode), "-r", tmp_path / "big.pcap",
         "-l", tmp_path, "-k", "none", "-S", "/dev/null", "--runmode", "single"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and len([*captures.iterdir()]) >= 3, done.stderr
    out = tmp_path / "out"
    command = ("classify", "--follow", captures, "--bundle", bundle, "-o", out, "--once")
    killed = subprocess.Popen([*map(str, (*MMTT, *command))], stderr=subprocess.DEVNULL)
    wait_for(lambda: (out / "mmtt_follow.json").exists() or killed.poll() is not None)
    time.sleep(0.1)
    killed.kill()
    killed.wait()
    assert mmtt(*command).returncode == 0
    for path in captures.iterdir():
        os.utime(path, (time.time() - 1000,) * 2)  # there will be no more
    assert mmtt(*command).returncode == 0
    assert mmtt("classify", tmp_path / "big.pcap", "--bundle", bundle, "-o", tmp_path / "whole").returncode == 0
    assert rows(out) == rows(tmp_path / "whole", -1) and len(rows(out)) == 12 * 25


@pytest.mark.skipif(bool(missing() and missing() != "no Zeek"), reason=f"no live link: {missing()}")
@pytest.mark.parametrize("compression", ["none", "lz4"])
def test_captures_are_taken_while_suricata_writes_the_next(tmp_path, bundle, compression):
    captures, out = tmp_path / "captures", tmp_path / "out"
    capture = tmp_path / "big.pcap"
    capture.write_bytes(repeated(OFFICE, 8))
    command = (*MMTT, "classify", "--follow", captures, "--bundle", bundle, "-o", out, "-C")
    with Bed(tmp_path / "bed") as bed:
        (tmp_path / "bed").mkdir(exist_ok=True)
        bed.start(
            "suricata", sensor.find(), "-c", config(tmp_path, captures, compression, "normal"), "--af-packet=seen",
            "-l", tmp_path, "-S", "/dev/null", "-k", "none",
        )  # fmt: skip
        stdout = tmp_path / "bed" / "suricata" / "stdout"
        wait_for(lambda: "Engine started" in stdout.read_text(errors="replace"))

        def send() -> None:
            bed.start("send", sys.executable, "-c", SEND, capture)
            assert bed.running.pop("send").wait(120) == 0

        bed.start("mmtt", *command)
        send()
        wait_for(lambda: rows(out), why="the first capture, while the second is being written")
        assert len([*captures.iterdir()]) >= 2
        bed.running["mmtt"].kill()
        bed.running.pop("mmtt").wait()
        send()
        bed.start("mmtt", *command)
        wait_for(lambda: len({row[-1] for row in rows(out, 99)}) >= 2)
        bed.stop("suricata")
        written = len([*captures.iterdir()])
        wait_for(lambda: (out / "mmtt_follow.json").read_text().count('"log.pcap.') >= written + 1)
        bed.stop("mmtt")
        assert "no longer there" not in bed.said("mmtt")
    for path in captures.iterdir():
        os.utime(path, (time.time() - 1000,) * 2)
    # What is open is told once there will be no more.
    assert mmtt(*command[len(MMTT) :], "--once").returncode == 0
    whole = joined(captures, tmp_path / "joined.pcap")
    assert mmtt("classify", whole, "-C", "--bundle", bundle, "-o", tmp_path / "whole").returncode == 0
    assert rows(out) == rows(tmp_path / "whole", -1) and len(rows(out)) > 100
