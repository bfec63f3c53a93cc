"""Runs `mmtt sniff` on a wire of a test's own network, and replays captures into it."""

from __future__ import annotations

import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from own_network import make_wire, own_network, send

from mmtt_agent.capture.files import CaptureFile

DATA = Path(__file__).parents[1] / "data"
_ETHERNET = 1
PROGRAM = [sys.executable, "-c", "from mmtt_agent.cli import main; main()"]


def frames(capture: str) -> list[bytes]:
    """A capture's packets, in order, each with a header of Ethernet."""
    return [
        _headed(records.data[at : at + size].tobytes(), linktype)
        for records in CaptureFile(DATA / capture)
        for at, size, linktype in zip(records.start, records.captured, records.linktype, strict=True)
    ]


def at_once(capture: str, path: Path) -> Path:
    """The capture as it is when it is replayed: a packet every 20 µs."""
    out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, _ETHERNET)]
    for number, frame in enumerate(frames(capture)):
        seconds, microseconds = divmod(20 * number, 1_000_000)
        out += struct.pack("<IIII", 1_700_000_000 + seconds, microseconds, len(frame), len(frame)), frame
    path.write_bytes(b"".join(out))
    return path


def _headed(packet: bytes, linktype: int) -> bytes:
    if linktype == _ETHERNET:
        return packet
    return bytes(12) + (b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00") + packet


def until(what: Callable[[], Any], why: str = "", seconds: float = 30.0) -> Any:
    """The first true result of ``what()``."""
    give_up = time.monotonic() + seconds
    while not (result := what()):
        assert time.monotonic() < give_up, f"waited {seconds:g} s in vain for {why or what}"
        time.sleep(0.02)
    return result


class Sniff:
    """The program on the interface ``seen``; waits until it listens. Its directory is ``folder / "logs"``."""

    def __init__(self, folder: Path, *arguments: object, before: Sequence[str] = (), logs: bool = True) -> None:
        self.logs = folder / "logs"
        if logs:
            self.logs.mkdir(exist_ok=True)
            arguments = ("-o", self.logs, *arguments)
        self._err, self._out = folder / "stderr", folder / "stdout"
        with self._err.open("w") as err, self._out.open("w") as out:
            self.process = subprocess.Popen(
                [*before, *PROGRAM, "sniff", *([] if "-c" in arguments else ["-i", "seen"]), *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=os.environ | {"SUDO_USER": ""},
            )
        try:
            until(lambda: "listening on" in self.said or self.process.poll() is not None, "the program")
            assert self.process.poll() is None, self.said
        except BaseException:
            self.kill()
            raise

    @property
    def said(self) -> str:
        return self._err.read_text()

    @property
    def printed(self) -> str:
        return self._out.read_text()

    def says(self, pattern: str) -> None:
        until(lambda: re.search(pattern, self.said), f"{pattern!r} in {self.said}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        status = self.process.wait(60)
        assert "Traceback" not in self.said, self.said
        return status

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def status(self) -> dict[str, Any]:
        return json.loads(self.get("/status")[1])

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:27760{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def rows(self, name: str = "mmtt.log") -> list[dict[str, str]]:
        return read_log(self.logs / name)

    def workers(self) -> list[int]:
        return [each["pid"] for each in self.status()["capture"]["workers"]]


def read_log(path: Path) -> list[dict[str, str]]:
    """A TSV log's rows, each by the head above it."""
    rows, fields = [], []
    for line in path.read_text().splitlines():
        if line.startswith("#fields"):
            fields = line.split("\t")[1:]
        elif not line.startswith("#"):
            rows.append(dict(zip(fields, line.split("\t"), strict=True)))
    return rows


@contextmanager
def sniffing(folder: Path, *arguments: object, **options: Any) -> Iterator[Sniff]:
    """In a network of its own, with the wire."""
    with own_network():
        make_wire()
        made = Sniff(folder, *arguments, **options)
        try:
            yield made
        finally:
            made.kill()


def replay(capture: str) -> None:
    """All of its packets, as fast as they go."""
    send(frames(capture))
