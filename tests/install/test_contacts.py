"""Nobody but the configured Zeek is ever contacted, and nothing is written into the home directory: by the agent, by
`mmtt classify`, by programs that use mmtt as a library."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import alone
import pytest
from places import DATA

pytestmark = pytest.mark.skipif(alone.impossible() is not None, reason=str(alone.impossible()))
_ALL_AT_ONCE = Path(__file__).with_name("all_at_once.py")


def test_the_recorder_hears_a_name_and_a_contact(tmp_path):
    program = (
        "import socket; s = socket.socket(); s.settimeout(0.5)\n"
        "try: s.connect(('telemetry.example', 443))\n"
        "except OSError: pass\n"
        "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('203.0.113.9', 514))"
    )
    heard = alone.run([sys.executable, "-c", program], tmp_path)
    assert heard.status == 0, heard.output
    assert "telemetry.example" in heard.names
    assert set(heard.contacts) == {("tcp", alone.ELSEWHERE, 443), ("udp", "203.0.113.9", 514)}


@pytest.fixture(scope="module")
def used(tmp_path_factory):
    """What is heard of an agent that serves, a classify that runs, and a library in use, while ONNX Runtime's telemetry
    would have made its first calls (after 9 s)."""
    scratch = tmp_path_factory.mktemp("contacts")
    home = scratch / "home"
    home.mkdir()
    # A proxy is the environment's, and nothing of mmtt's business.
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "ws_proxy"), "http://proxy.example:3128")
    heard = alone.run(
        [sys.executable, _ALL_AT_ONCE, DATA / "office.pcap", scratch / "said.json"], scratch, HOME=str(home), **proxies
    )
    assert heard.status == 0, heard.output
    return heard, home, json.loads((scratch / "said.json").read_text())


def test_all_have_done_their_work(used):
    _, _, said = used
    assert said["agent"]["verdicts"] == 64 and said["agent"]["status"] == 0
    assert said["classify"]["rows"] > 10 and said["classify"]["status"] == 0
    assert said["library"]["status"] == 0


def test_no_name_is_looked_up_and_nobody_else_contacted(used):
    heard, _, _ = used
    assert (heard.names, heard.contacts) == ([], [])


def test_nothing_is_written_into_the_home_directory(used):
    _, home, _ = used
    assert [*home.rglob("*")] == []


def test_what_is_said_is_mmtts_own(used):
    _, _, said = used
    lines = [json.loads(line) for line in said["agent"]["stderr"].splitlines()]
    assert lines and all("message" in line for line in lines), said["agent"]["stderr"]
    assert said["library"]["stderr"] == ""
    assert "elemetry" not in said["classify"]["stderr"]


def test_an_agent_is_not_sent_elsewhere_by_a_redirect(tmp_path):
    program = (
        "import http.server, subprocess, sys, threading\n"
        "class Redirect(http.server.BaseHTTPRequestHandler):\n"
        "    protocol_version = 'HTTP/1.1'\n"
        "    def do_GET(self):\n"
        "        self.send_response(302)\n"
        "        self.send_header('Location', 'ws://elsewhere.example:27759/v1/messages/json')\n"
        "        self.send_header('Content-Length', '0')\n"
        "        self.end_headers()\n"
        "server = http.server.HTTPServer(('127.0.0.1', 0), Redirect)\n"
        "threading.Thread(target=server.serve_forever, daemon=True).start()\n"
        "url = f'ws://127.0.0.1:{server.server_port}/v1/messages/json'\n"
        "program = [sys.executable, '-c', 'from mmtt_agent.cli import main; main()']\n"
        "options = ['agent', '--url', url, '--exit-with-zeek', '--metrics-listen', 'off']\n"
        "sys.exit(subprocess.run([*program, *options], timeout=30).returncode)\n"
    )
    heard = alone.run([sys.executable, "-c", program], tmp_path)
    assert (heard.names, heard.contacts) == ([], []), heard.output
    assert "HTTP status 302" in heard.output
