"""A sensor on this machine: a network namespace with a link that Zeek watches, agents, a cluster, and traffic."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mmtt_agent.zeek import find as find_zeek

HERE = Path(__file__).parent
PACKAGE = HERE.parents[1] / "zeek-scripts"
ZEEK = find_zeek()
#: Where Zeek's metrics are; in a cluster, the first node's, the others' following.
METRICS = 9911
#: Of the test's cluster: each node's port, and which traffic a worker sees.
NODES = {
    "logger-1": "",
    "manager": "",
    "proxy-1": "",
    "proxy-2": "",
    "worker-1": "net 10.1.0.0/16",
    "worker-2": "net 10.2.0.0/16",
}
_BACKENDS = {"ZeroMQ": "frameworks/cluster/backend/zeromq", "Broker": "frameworks/cluster/backend/broker"}
#: Each place in the kernel's buffer is as long as a packet may be. With places for the traffic's own packets, Zeek may
#: be kept from the processor four times as long before it misses any.
_QUICK = "redef Log::default_rotation_interval = 0sec; redef MMTT::agent_timeout = 3sec; redef Pcap::snaplen = 2048;"


def missing() -> str:
    """Why there can be no bed here; empty if there can."""
    if ZEEK is None:
        return "no Zeek"
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return "needs root and iproute2"
    name = f"mmttprobe{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        return "network namespaces can't be made here"
    made = subprocess.run(
        ["ip", "-n", name, "link", "add", "one", "type", "veth", "peer", "name", "two"],
        capture_output=True,
        check=False,
    )
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return "virtual Ethernet can't be made here" if made.returncode else ""


def zeek_config(what: str) -> str:
    """What Zeek's installation says of itself."""
    done = subprocess.run([ZEEK.with_name("zeek-config"), what], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def wait_for(what: Callable, seconds: float = 30.0, why: str = ""):
    """The first true result of ``what()``."""
    give_up = time.monotonic() + seconds
    while not (result := what()):
        if time.monotonic() > give_up:
            raise AssertionError(f"waited {seconds:g} s in vain{' for ' + why if why else ''}")
        time.sleep(0.1)
    return result


def read_log(path: Path) -> list[dict[str, str]]:
    """A log's lines by field; none where there is no file. A last line that is not yet whole is left."""
    if not path.exists():
        return []
    rows, fields = [], []
    for line in path.read_text(errors="replace").split("\n")[:-1]:
        if line.startswith("#fields"):
            fields = line.split("\t")[1:]
        elif not line.startswith("#"):
            rows.append(dict(zip(fields, line.split("\t"), strict=False)))
    return rows


def _remove_leftovers() -> None:
    """Of runs that were killed: their namespaces, and what still runs in them."""
    for namespace in Path("/var/run/netns").glob("mmttbed*"):
        if not Path(f"/proc/{namespace.name.removeprefix('mmttbed')}").exists():
            pids = subprocess.run(["ip", "netns", "pids", namespace.name], capture_output=True, text=True, check=False)
            for pid in pids.stdout.split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            subprocess.run(["ip", "netns", "del", namespace.name], check=False, capture_output=True)


class Bed:
    """The namespace. ``directory`` gets a folder for each program, with its output and logs. To be closed.

    Traffic goes into the interface ``wire``, and is seen on ``seen``.
    """

    def __init__(self, directory: Path) -> None:
        _remove_leftovers()
        self.directory = directory
        self.name = f"mmttbed{os.getpid()}"
        self.running: dict[str, subprocess.Popen] = {}
        for words in (
            ["netns", "add", self.name],
            ["-n", self.name, "link", "set", "lo", "up"],
            ["-n", self.name, "link", "add", "wire", "type", "veth", "peer", "name", "seen"],
            ["-n", self.name, "link", "set", "wire", "up"],
            ["-n", self.name, "link", "set", "seen", "up", "promisc", "on"],
        ):
            subprocess.run(["ip", *words], check=True, capture_output=True)

    def __enter__(self) -> Bed:
        return self

    def __exit__(self, *_) -> None:
        for process in self.running.values():
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
        subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True)

    def start(self, name: str, *command, environment: dict[str, str] | None = None) -> subprocess.Popen:
        """Run a program in the namespace, in a folder of its name."""
        folder = self.directory / name
        folder.mkdir(exist_ok=True, parents=True)
        with (folder / "stdout").open("w") as out, (folder / "stderr").open("a") as err:
            self.running[name] = subprocess.Popen(
                ["ip", "netns", "exec", self.name, *map(str, command)],
                cwd=folder, stdout=out, stderr=err, env=os.environ | (environment or {}),
            )  # fmt: skip
        return self.running[name]

    def stop(self, name: str, number: int = signal.SIGTERM, seconds: float = 40.0) -> int:
        """Signal a program and wait for its end; its status."""
        process = self.running.pop(name)
        process.send_signal(number)
        return process.wait(seconds)

    def said(self, name: str) -> str:
        """What a program has written to standard error so far."""
        path = self.directory / name / "stderr"
        return path.read_text(errors="replace") if path.exists() else ""

    def zeek(self, script: str = "", environment=None, watch: tuple[str, ...] = ("-i", "seen")) -> subprocess.Popen:
        """A Zeek on the link, or what else it is told to ``watch``; waits until it listens."""
        script += f"redef Telemetry::metrics_port={METRICS}/tcp;"
        command = ZEEK, "-C", *watch, PACKAGE, "-e", _QUICK + script
        return self._begin("zeek", "listening on", *command, environment=environment)

    def _begin(self, name: str, says: str, *command, environment=None) -> subprocess.Popen:
        """Start a program, which may have run before, and wait until it says (again) that it is ready."""
        before = self.said(name).count(says)
        process = self.start(name, *command, environment=environment)
        wait_for(lambda: self.said(name).count(says) > before or process.poll() is not None, 60, name)
        assert process.poll() is None, self.said(name)
        return process

    def cluster(self, backend: str, script: str = "", packages: str = "") -> None:
        """Manager, logger, two proxies, two workers (`NODES`), each in a folder of its own; waits until the workers
        listen."""
        layout = "redef Cluster::manager_is_logger = F;\nredef Cluster::nodes = {\n"
        for place, node in enumerate(NODES):
            kind = node.split("-")[0].upper()
            manager = "" if kind == "MANAGER" else ', $manager="manager"'
            layout += f'["{node}"] = [$node_type=Cluster::{kind}, $ip=127.0.0.1, $p={47760 + place}/tcp{manager}],\n'
        scripts = self.directory / "layout"
        scripts.mkdir(exist_ok=True)
        (scripts / "cluster-layout.zeek").write_text(layout + "};\n")
        self.cluster_path = ":".join(filter(None, (str(scripts), packages, zeek_config("--zeekpath"))))
        for node in NODES:
            self.node(node, backend, script)
        for node, seen in NODES.items():
            if seen:
                wait_for(lambda node=node: "listening on" in self.said(node), 60, node)

    def node(self, node: str, backend: str, script: str = "") -> subprocess.Popen:
        """A node of the cluster."""
        loads = [_BACKENDS[backend], *(["frameworks/cluster/websocket/server"] if node == "manager" else [])]
        seen = NODES[node]
        script += f"redef Telemetry::metrics_port={METRICS + list(NODES).index(node)}/tcp;"
        return self.start(
            node, ZEEK, "-C", *(["-i", "seen", "-f", seen] if seen else []), *loads, PACKAGE, "-e", _QUICK + script,
            environment={"CLUSTER_NODE": node, "ZEEKPATH": self.cluster_path},
        )  # fmt: skip

    def agent(self, name: str = "agent", *arguments, first: str = "") -> subprocess.Popen:
        """An agent of the shipped model; waits until it is connected. ``first``: Python that comes before it."""
        program = f"{first}\nfrom mmtt_agent.cli import main; main()"
        return self._begin(
            name, "connected to Zeek", sys.executable, "-c", program, "agent",
            "--id", name, "--metrics-listen", "off", *arguments,
        )  # fmt: skip

    def traffic(self, flows: int | None, rate: float, name: str = "traffic", *arguments) -> Callable[[], dict]:
        """Begin; what is returned waits for the end, and gives what was sent.

        With None ``flows`` it goes on until that is called: where something has to come back under traffic, how long a
        busy machine takes for it is not known.
        """
        most = round(600 * rate) if flows is None else flows
        process = self.start(
            name, sys.executable, HERE / "traffic.py", "wire", "--flows", most, "--rate", rate, *arguments
        )

        def end() -> dict:
            if flows is None:
                assert process.poll() is None, f"the traffic ended by itself: {self.said(name)}"
                process.send_signal(signal.SIGTERM)
            assert process.wait(most / rate + 120) == 0, self.said(name)
            return json.loads((self.directory / name / "stdout").read_text())

        return end

    def use(self, agents: int) -> None:
        """Wait until every worker uses so many agents: a hello has to find its way through the cluster."""
        for place, node in enumerate(NODES):
            if NODES[node]:
                port = METRICS + place
                what = f"{agents} agents on {node}"
                wait_for(lambda port=port: self.metrics(port)["mmtt_agents"] == agents, 60, what)

    def metrics(self, port: int = METRICS) -> Counter[str]:
        """Of Zeek's port for Prometheus: samples by name and labels that matter, "mmtt_windows_total ok" say."""
        text = subprocess.run(
            ["ip", "netns", "exec", self.name, sys.executable, "-c",
             f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{port}/metrics').read().decode())"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        found: Counter[str] = Counter()
        for line in text.splitlines():
            if match := re.match(r"(mmtt_\w+)(\{.*\})? ([\d.e+]+)$", line):
                status = re.search(r'status="(\w+)"', match[2] or "")
                found[match[1] + (f" {status[1]}" if status else "")] += float(match[3])
        return found


def by_status(metrics: Counter[str]) -> dict[str, float]:
    """Of what `Bed.metrics` gives, the windows by their status, of which there were any."""
    return {name.split()[1]: n for name, n in metrics.items() if name.startswith("mmtt_windows_total ") and n}


def resident(process: subprocess.Popen) -> float:
    """MB of memory that a program of the bed has (the one that `ip netns exec` has become)."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1000
