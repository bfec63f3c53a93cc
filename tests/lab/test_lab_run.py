"""The lab for real: needs root, network namespaces and TUN; what its links do is measured from inside the hosts."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
import zstandard
from click.testing import CliRunner

from mmtt_model.cli.lab import lab
from mmtt_model.lab import network as lab_network
from mmtt_model.lab.links import profile_of
from mmtt_model.lab.network import Network, remove_leftovers


def _why_not() -> str:
    if os.geteuid() != 0:
        return "not root"
    if shutil.which("ip") is None or not Path("/dev/net/tun").exists():
        return "no iproute2 or no /dev/net/tun"
    if subprocess.run(["ip", "netns", "add", "mmttlab-probe"], capture_output=True, check=False).returncode:
        return "network namespaces can't be made here"
    subprocess.run(["ip", "netns", "del", "mmttlab-probe"], capture_output=True, check=False)
    return ""


_REASON = _why_not()
pytestmark = pytest.mark.skipif(bool(_REASON), reason=f"the lab can't run: {_REASON}")

_ECHO = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("10.77.0.2", 9)); print("ready", flush=True)
while True:
    data, peer = s.recvfrom(2048); s.sendto(data, peer)
"""
_ASK = """
import json, socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(0.5); s.connect(("10.77.0.2", 9))
times = []
for number in range(int(sys.argv[1])):
    t = time.monotonic(); s.send(number.to_bytes(4, "big") * 25); time.sleep(0.002)
    times.append(t)
    s.setblocking(False)
    while True:
        try: s.recv(2048)
        except BlockingIOError: break
time.sleep(0.4)
while True:
    try: s.recv(2048)
    except BlockingIOError: break
s.settimeout(1); alone = []
for number in range(25):
    t = time.monotonic(); s.send(bytes(100))
    try: s.recv(2048); alone.append(time.monotonic() - t)
    except TimeoutError: pass
print(json.dumps(alone))
"""


def test_delay_and_loss_are_what_was_asked_for(tmp_path):
    slow = profile_of("slow", {"delay": 40, "loss": 0.05, "burst": 2})
    none = profile_of("none", {})
    hosts = {"here": slow, "there": none}
    with Network(hosts, {"here": ["10.77.0.1"], "there": ["10.77.0.2"]}, 1, tmp_path, {}, 160) as network:
        echo = network.spawn("there", [sys.executable, "-c", _ECHO], stdout=subprocess.PIPE)
        assert echo.stdout.readline() == b"ready\n"
        asking = network.spawn("here", [sys.executable, "-c", _ASK, "2000"], stdout=subprocess.PIPE)
        answers = json.loads(asking.communicate(timeout=60)[0])
    # Both ways cross the slow host's link once: 80 ms, and what a busy machine adds.
    assert 0.080 <= min(answers) < 0.090
    assert statistics.median(answers) < 0.110
    sent = network.result["packets"]
    assert sent > 3500 and 0.03 < network.result["lost"] / sent < 0.07


def test_a_host_cannot_leave_the_lab(tmp_path):
    none = profile_of("none", {})
    with Network({"a": none, "b": none}, {"a": ["10.77.0.1"], "b": ["10.77.0.2"]}, 1, tmp_path, {}, 160) as network:
        code = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('192.0.2.1', 9))"
        process = network.spawn("a", [sys.executable, "-c", code], stderr=subprocess.PIPE)
        assert b"Network is unreachable" in process.communicate(timeout=20)[1]


_TAKE = """
import socket
s = socket.create_server(("10.77.0.2", 9)); print("ready", flush=True); s.accept()[0].recv(1)
"""
_SEGMENT = """
import socket
s = socket.create_connection(("10.77.0.2", 9)); print(s.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG))
"""


def test_segments_are_as_long_as_both_hosts_stacks_allow(tmp_path):
    hosts = {"here": profile_of("lte_still", {}), "there": profile_of("datacentre", {})}
    with Network(hosts, {"here": ["10.77.0.1"], "there": ["10.77.0.2"]}, 4, tmp_path, {}, 160) as network:
        taking = network.spawn("there", [sys.executable, "-c", _TAKE], stdout=subprocess.PIPE)
        assert taking.stdout.readline() == b"ready\n"
        told = network.spawn("here", [sys.executable, "-c", _SEGMENT], stdout=subprocess.PIPE).communicate(timeout=20)[
            0
        ]
        stacks = network.stacks.values()
    assert len({stack.mtu for stack in stacks}) == 2, "the seed is to give unlike hosts"
    assert int(told) == min(stack.mtu for stack in stacks) - 40 - 12 * all(stack.timestamps for stack in stacks)


def test_a_killed_run_is_cleaned_up_by_the_next():
    dead = subprocess.Popen(["true"])
    dead.wait()
    name = f"{lab_network.PREFIX}-{dead.pid}-0"
    subprocess.run(["ip", "netns", "add", name], check=True)
    assert remove_leftovers() >= 1
    assert not Path("/var/run/netns", name).exists()


def test_a_small_scenario_from_end_to_end(tmp_path):
    if shutil.which("ssh-keygen") is None:
        pytest.skip("the lab can't run: no ssh-keygen")
    pytest.importorskip("cryptography", reason="the lab's extra is not installed: pip install 'mmtt[lab]'")
    file, out = tmp_path / "tiny.yaml", tmp_path / "out"
    file.write_text(
        """length: 4 s
hosts:
  laptop: {link: cable}
  server: {link: datacentre}
activities:
  - {do: web, with: python/urllib, from: laptop, to: server, for: 3 s}
  - {do: call, with: opus/opus, from: laptop, to: server, for: 3 s}
  - {do: beacon_https, with: python/urllib, from: laptop, to: server, for: 3 s}
"""
    )
    result = CliRunner().invoke(lab, ["run", str(file), "-o", str(out)])
    assert result.exit_code == 0, result.output
    flows = list(
        csv.DictReader(io.StringIO(zstandard.decompress((out / "flows.tsv.zst").read_bytes()).decode()), delimiter="\t")
    )
    assert {(flow["service"], flow["malicious"]) for flow in flows} == {("web", "0"), ("voip", "0"), ("web", "1")}
    assert {flow["link"] for flow in flows} == {"cable"}
    assert (out / "captures" / flows[0]["capture"]).exists()
    assert not [entry for entry in os.listdir("/var/run/netns") if f"-{os.getpid()}-" in entry]
    again = CliRunner().invoke(lab, ["run", str(file), "-o", str(out)])
    assert again.exit_code == 0 and "there already" in again.output


def test_a_run_told_to_stop_leaves_nothing_behind_and_goes_on_later(tmp_path):
    if shutil.which("ssh-keygen") is None:
        pytest.skip("the lab can't run: no ssh-keygen")
    pytest.importorskip("cryptography", reason="the lab's extra is not installed: pip install 'mmtt[lab]'")
    file, out = tmp_path / "long.yaml", tmp_path / "out"
    file.write_text(
        """length: 60 s
captures: 2
hosts: {laptop: {link: cable}, server: {link: datacentre}}
activities:
  - {do: web, with: python/urllib, from: laptop, to: server, at: 0 s, for: 50 s, repeat: 3}
"""
    )
    command = [
        sys.executable,
        "-c",
        "from mmtt_agent.cli import main; main()",
        "lab",
        "run",
        str(file),
        "-o",
        str(out),
        "-j",
        "2",
    ]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while len([name for name in os.listdir("/var/run/netns") if _child_of(name, running.pid)]) < 4:
        assert time.monotonic() < deadline, "the captures did not begin"
        time.sleep(0.2)
    time.sleep(2)
    namespaces = [name for name in os.listdir("/var/run/netns") if _child_of(name, running.pid)]
    running.terminate()
    said = running.communicate(timeout=40)[1]
    assert "stopped with 2 captures to go" in said
    assert not set(namespaces) & set(os.listdir("/var/run/netns"))
    assert not list(os.listdir(out / "captures" / "long"))


def _child_of(namespace: str, parent: int) -> bool:
    if not namespace.startswith(lab_network.PREFIX):
        return False
    try:
        words = Path(f"/proc/{namespace.split('-')[1]}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return int(words[1]) == parent
