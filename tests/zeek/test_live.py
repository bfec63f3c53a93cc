"""The package on live traffic of the loopback interface: an agent comes, answers, and is lost; a port in use."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from mmtt_agent.zeek import find as find_zeek

HERE = Path(__file__).parent
PACKAGE = HERE.parents[1] / "zeek-scripts"
ZEEK = find_zeek()


def can_capture() -> bool:
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()
    except (AttributeError, PermissionError):
        return False
    return True


pytestmark = [
    pytest.mark.skipif(ZEEK is None, reason="no Zeek"),
    pytest.mark.skipif(not can_capture(), reason="may not capture on the loopback interface"),
]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def wait_for(what, seconds: float = 20.0):
    """The first true result of ``what()``."""
    give_up = time.monotonic() + seconds
    while not (result := what()):
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.1)
    return result


def converse(server: socket.socket) -> int:
    """A short conversation over TCP, from its first packet to its last; returns the client's port."""
    client = socket.create_connection(server.getsockname())
    peer, _ = server.accept()
    port = client.getsockname()[1]
    for size in (101, 202, 303, 404):
        client.sendall(b"x" * size)
        peer.recv(10_000)
        peer.sendall(b"y" * (size + 1))
        client.recv(10_000)
    client.close()
    peer.close()
    return port


def read_log(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    lines = path.read_text().splitlines()
    fields = next((line for line in lines if line.startswith("#fields")), "").split("\t")[1:]
    return [dict(zip(fields, line.split("\t"), strict=False)) for line in lines if not line.startswith("#")]


@pytest.fixture
def zeek(tmp_path):
    """Starts Zeek on one port's traffic, with agents on another's."""
    running = []

    def start(traffic_port: int, agents_port: int, directory: str = "zeek") -> subprocess.Popen:
        (tmp_path / directory).mkdir()
        with (tmp_path / directory / "stderr").open("w") as said:
            process = subprocess.Popen(
                [
                    ZEEK,
                    *("-C", "-i", "lo", "-f", f"tcp port {traffic_port}", PACKAGE),
                    f"MMTT::listen_port={agents_port}/tcp",
                    *("-e", "redef MMTT::agent_timeout = 3sec; redef Log::default_rotation_interval = 0sec;"),
                ],
                cwd=tmp_path / directory,
                stderr=said,
            )
        running.append(process)
        return process

    yield start
    for process in running:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()


def listens(port: int) -> bool:
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", port)).close()
        return True
    return False


def test_agent_comes_answers_and_is_lost(zeek, tmp_path):
    agents_port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = zeek(server.getsockname()[1], agents_port)
        wait_for(lambda: listens(agents_port))
        wait_for(lambda: "listening on lo" in (tmp_path / "zeek" / "stderr").read_text())
        time.sleep(1)
        before = converse(server)
        # A busy machine's Zeek may be behind: not before it is done with this comes the agent.
        wait_for(lambda: before in {int(line["id.orig_p"]) for line in read_log(tmp_path / "zeek" / "conn.log")}, 40)

        seen = tmp_path / "seen"
        agent = subprocess.Popen(
            [
                *(sys.executable, HERE / "fake_agent.py", "--log", seen),
                *("--url", f"ws://127.0.0.1:{agents_port}/v1/messages/json"),
            ]
        )
        # The agent is in use a moment after its hello.
        ports = []

        def asked():
            ports.append(converse(server))
            return seen.exists() and "batch" in seen.read_text()  # Zeek collects

        try:
            wait_for(asked)
            during = converse(server)
            # Zeek keeps a connection for 5 s after its end, and a window that isn't full is open until then.
            time.sleep(8)
        finally:
            agent.kill()
            agent.wait()
        notices = tmp_path / "zeek" / "notice.log"
        wait_for(lambda: notices.exists() and "MMTT::Agent_Lost" in notices.read_text(), 40)
        after = converse(server)
        time.sleep(7)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0

    rows = {int(row["id.orig_p"]): row for row in read_log(tmp_path / "zeek" / "mmtt.log")}
    assert before not in rows and after not in rows
    row = rows[during]
    assert (row["status"], row["packets"], row["service"], row["model"]) == ("ok", "8", "chat", "fake@00000000")
    assert 0 < float(row["latency"]) < 1
    lines = {int(line["id.orig_p"]): line for line in read_log(tmp_path / "zeek" / "conn.log")}
    assert {before, during, after} | set(ports) <= set(lines)
    assert lines[during]["mmtt_service"] == "chat"
    assert lines[before]["mmtt_service"] == lines[after]["mmtt_service"] == "-"
    lost = [notice["msg"] for notice in read_log(tmp_path / "zeek" / "notice.log")]
    assert lost == ["Agent fake is not used any more: nothing has come from it for 3.0 secs"]


def test_stopped_while_lines_wait_for_verdicts_none_is_lost(zeek, tmp_path):
    agents_port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = zeek(server.getsockname()[1], agents_port)
        wait_for(lambda: listens(agents_port))
        wait_for(lambda: "listening on lo" in (tmp_path / "zeek" / "stderr").read_text())
        seen = tmp_path / "seen"
        url = f"ws://127.0.0.1:{agents_port}/v1/messages/json"
        agent = subprocess.Popen(
            [sys.executable, HERE / "fake_agent.py", "--mode", "mute", "--log", seen, "--url", url]
        )
        ports = []

        def asked():
            # A connection every half second: whenever Zeek is stopped, lines of some wait.
            ports.append(converse(server))
            time.sleep(0.5)
            return seen.exists() and "batch" in seen.read_text()

        try:
            wait_for(asked, 40)
            for _ in range(4):
                asked()
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            agent.kill()
            agent.wait()
    lines = [int(line["id.orig_p"]) for line in read_log(tmp_path / "zeek" / "conn.log")]
    assert sorted(lines) == sorted(ports)
    # Windows that were with the agent; the others ended with Zeek.
    statuses = {row["status"] for row in read_log(tmp_path / "zeek" / "mmtt.log")}
    assert "timeout" in statuses and statuses <= {"timeout", "no_agent"}


def test_port_in_use(zeek, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        process = zeek(free_port(), port)
        said = tmp_path / "zeek" / "stderr"
        wait_for(lambda: "mmtt: can't listen on 127.0.0.1" in said.read_text())
        wait_for(lambda: "listening on lo" in said.read_text())
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
