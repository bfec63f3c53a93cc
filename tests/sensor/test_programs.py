"""Real clients and servers (HTTPS, SSH, DNS, video, a call) in the traffic lab, a real Zeek and an agent at the
client's link: verdicts come while connections are still open, and conn.log carries them."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest
import zstandard
from bed import PACKAGE, ZEEK, read_log, wait_for

pytest.importorskip("mmtt_model.cli.lab", reason="no traffic lab: ./bootstrap lab")
from mmtt_model.lab import LabError
from mmtt_model.lab.network import PREFIX, check_machine
from mmtt_model.lab.wire import DEVICE

#: Nothing begins before Zeek and the agent are up, and all but the last has ended before they are stopped: LAST seconds
#: after the laptop is there. The last is what the lab waits for before it takes its hosts away, and what runs on them.
LAST = 50
SCENARIO = """
seed: 5
length: 80 s
hosts:
  laptop: {link: cable}
  server: {link: datacentre}
activities:
  - {do: web, with: nginx/curl, from: laptop, to: server, at: 25 s, for: 12 s}
  - {do: shell, with: openssh/openssh, from: laptop, to: server, at: 25 s, for: 22 s}
  - {do: dns, with: dnsmasq/dig, from: laptop, to: server, at: 25 s, for: 15 s}
  - {do: streaming, with: nginx/curl, from: laptop, to: server, at: 27 s, for: 16 s}
  - {do: call, with: opus/opus, from: laptop, to: server, at: 27 s, for: 18 s}
  - {do: dns, with: dnsmasq/dig, from: laptop, to: server, at: 70 s, for: 8 s}
"""
SERVICES = {"web", "remote_access", "infrastructure", "streaming", "voip"}


def namespaces() -> set[str]:
    folder = Path("/var/run/netns")
    return {entry.name for entry in folder.iterdir() if entry.name.startswith(PREFIX)} if folder.exists() else set()


@pytest.fixture
def lab(why_not, tmp_path):
    """The lab under way; the namespace of its laptop, since when that is there, and how to wait for the lab's end."""
    if why_not:
        pytest.skip(why_not)
    try:
        check_machine()
    except LabError as error:
        pytest.skip(str(error))
    scenario = tmp_path / "live.yaml"
    scenario.write_text(SCENARIO)
    before = namespaces()
    with (tmp_path / "lab.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", "from mmtt_agent.cli import main; main()",
             "lab", "run", scenario, "-o", tmp_path / "lab"],
            stderr=log, stdout=log,
        )  # fmt: skip

    def laptop() -> str:
        if process.poll() is not None:
            text = (tmp_path / "lab.log").read_text()
            if "apt-get" in text:
                pytest.skip(f"the lab's programs are not installed: {' '.join(text.split())[:200]}")
            raise AssertionError(text)
        for name in sorted(namespaces() - before):
            shown = subprocess.run(
                ["ip", "-n", name, "addr", "show", DEVICE], capture_output=True, text=True, check=False
            )
            if "10.77.0.1/" in shown.stdout and ",UP," in shown.stdout:
                return name
        return ""

    yield wait_for(laptop, 60, "the lab's laptop"), time.monotonic(), process
    if process.poll() is None:
        process.terminate()
    process.wait(60)


def test_verdicts_come_while_connections_are_open(lab, tmp_path):
    namespace, begun, process = lab
    for name in ("zeek", "agent"):
        (tmp_path / name).mkdir()

    def run(name: str, *command) -> subprocess.Popen:
        with (tmp_path / name / "stderr").open("w") as err:
            return subprocess.Popen(
                ["ip", "netns", "exec", namespace, *map(str, command)],
                cwd=tmp_path / name, stdout=subprocess.DEVNULL, stderr=err, env=os.environ,
            )  # fmt: skip

    zeek = run("zeek", ZEEK, "-C", "-i", DEVICE, PACKAGE, "-e", "redef Log::default_rotation_interval = 0sec;")
    wait_for(lambda: "listening on" in (tmp_path / "zeek" / "stderr").read_text(), 30, "Zeek")
    agent = run(
        "agent", sys.executable, "-c", "from mmtt_agent.cli import main; main()", "agent", "--metrics-listen", "off"
    )
    logs = tmp_path / "zeek"
    early: dict[str, dict] = {}
    # From when the laptop came, not from when Zeek and the agent were up: how long these take is the machine's
    # business.
    while time.monotonic() - begun < LAST:
        ended = {row["uid"] for row in read_log(logs / "conn.log")}
        for row in read_log(logs / "mmtt.log"):
            if row["status"] == "ok" and row["uid"] not in ended:
                early.setdefault(row["uid"], row)
        time.sleep(0.5)
    zeek.terminate()
    assert zeek.wait(40) == 0, (logs / "stderr").read_text()
    agent.terminate()
    agent.wait(20)
    assert process.wait(120) == 0, (tmp_path / "lab.log").read_text()

    truth = (
        zstandard.ZstdDecompressor().stream_reader((tmp_path / "lab" / "flows.tsv.zst").read_bytes()).read().decode()
    )
    flows = list(csv.DictReader(io.StringIO(truth), delimiter="\t"))
    ports = {(flow["src_port"], flow["dst_port"]): flow for flow in flows}
    rows, connections = read_log(logs / "mmtt.log"), read_log(logs / "conn.log")
    verdicts, seen = defaultdict(list), set()
    for row in rows:
        if row["status"] == "ok" and (flow := ports.get((row["id.orig_p"], row["id.resp_p"]))):
            verdicts[flow["service"]].append(row)
            seen.add(row["uid"])
    assert set(verdicts) == SERVICES, {service: len(found) for service, found in verdicts.items()}
    long = {row["uid"] for service in ("remote_access", "streaming", "voip") for row in verdicts[service]}
    assert long & set(early), "a verdict while the connection was open"
    by_uid = {row["uid"]: row for row in connections}
    assert seen <= set(by_uid)
    assert all(by_uid[uid]["mmtt_service"] != "-" and by_uid[uid]["mmtt_malicious"] != "-" for uid in seen)
