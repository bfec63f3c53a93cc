"""Hosts: network namespaces with addresses of their own and no way out. Root and iproute2 are needed."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from . import LabError
from .links import FIELDS, Profile
from .wire import DEVICE, enter

PREFIX = "mmttlab"
NETWORK = "10.77.0.0/16"
_PR_SET_PDEATHSIG = 1


def check_machine() -> None:
    """Raise LabError where the lab can't run: not root, no iproute2, no TUN, no namespaces."""
    if os.geteuid() != 0:
        raise LabError("the lab makes network namespaces, which only root may; run it as root (sudo mmtt lab run …)")
    if shutil.which("ip") is None:
        raise LabError("no `ip` program; type: apt-get install iproute2")
    if not Path("/dev/net/tun").exists():
        raise LabError("no /dev/net/tun: load the kernel's tun module (modprobe tun)")


def _ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode:
        raise LabError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def _namespaces() -> list[str]:
    folder = Path("/var/run/netns")
    return sorted(entry.name for entry in folder.iterdir()) if folder.exists() else []


def _remove(namespace: str) -> None:
    for pid in subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True).stdout.split():
        # Only what runs inside a namespace the lab made itself.
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    subprocess.run(["ip", "netns", "del", namespace], capture_output=True)


def remove_leftovers() -> int:
    """Remove namespaces, the processes in them and scratch files of runs that no longer exist. Returns how many."""
    removed = 0
    for namespace in _namespaces():
        match = re.fullmatch(rf"{PREFIX}-(\d+)-\d+", namespace)
        if match and not Path(f"/proc/{match[1]}").exists():
            _remove(namespace)
            removed += 1
    remove_dead_folders(Path(tempfile.gettempdir()), rf"{PREFIX}-(\d+)-.*")
    return removed


def remove_dead_folders(parent: Path, pattern: str) -> None:
    """Remove the folders whose name (the pattern's first group) is of a process that no longer exists."""
    for folder in parent.iterdir():
        match = re.fullmatch(pattern, folder.name)
        if match and folder.is_dir() and not Path(f"/proc/{match[1]}").exists():
            shutil.rmtree(folder, ignore_errors=True)


class Network:
    """The lab's hosts and their wire, as a context: whatever happens inside, nothing is left behind."""

    def __init__(self, hosts: dict[str, Profile], addresses: dict[str, list[str]], seed: int, scratch: Path,
                 captures: dict[str, Path], snaplen: int) -> None:
        """`addresses`: host -> its IPv4 addresses, the first its main one. `captures`: host -> pcap to write."""
        self.hosts, self.addresses, self.scratch = hosts, addresses, scratch
        self.namespaces = {name: f"{PREFIX}-{os.getpid()}-{number}" for number, name in enumerate(hosts)}
        self.plan = {
            "hosts": {
                name: {
                    "namespace": self.namespaces[name],
                    "link_name": link.name,
                    "link": {field: getattr(link, field) for field in FIELDS},
                    "seed": seed * 1000 + 2 * number,
                    "capture": str(captures[name]) if name in captures else None,
                }
                for number, (name, link) in enumerate(hosts.items())
            },
            "routes": {address: name for name in hosts for address in addresses[name]},
            "snaplen": snaplen,
        }
        self.processes: list[subprocess.Popen] = []
        self.wire: subprocess.Popen | None = None
        self.result: dict = {}

    def __enter__(self) -> Network:
        try:
            for namespace in self.namespaces.values():
                _ip("netns", "add", namespace)
            plan = self.scratch / "wire.json"
            plan.write_text(json.dumps(self.plan))
            self.wire = subprocess.Popen(
                [sys.executable, "-m", "mmtt_model.lab.wire", str(plan), str(self.scratch / "wire-result.json")],
                stdout=subprocess.PIPE, preexec_fn=_die_with_parent, stdin=subprocess.DEVNULL,
            )
            if self.wire.stdout.readline() != b"ready\n":
                raise LabError("the wire did not come up; its message is above")
            for name, namespace in self.namespaces.items():
                for knob in ("all", "default"):
                    subprocess.run(["ip", "netns", "exec", namespace, "sysctl", "-qw",
                                    f"net.ipv6.conf.{knob}.disable_ipv6=1"], capture_output=True)
                _ip("-n", namespace, "link", "set", "lo", "up")
                for number, address in enumerate(self.addresses[name]):
                    _ip("-n", namespace, "addr", "add", f"{address}/{16 if number == 0 else 32}", "dev", DEVICE)
                _ip("-n", namespace, "link", "set", DEVICE, "up", "mtu", "1500")
            for name in self.hosts:
                self._check_closed(name)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _check_closed(self, name: str) -> None:
        namespace = self.namespaces[name]
        devices = {entry["ifname"] for entry in json.loads(_ip("-j", "-n", namespace, "link", "show"))}
        # Kernels with tunnel modules built in give every namespace idle devices of their own; they are down.
        up = {entry["ifname"] for entry in json.loads(_ip("-j", "-n", namespace, "link", "show", "up"))}
        routes = {entry["dst"] for entry in json.loads(_ip("-j", "-n", namespace, "route", "show") or "[]")}
        if DEVICE not in devices or up - {"lo", DEVICE} or routes - {NETWORK}:
            raise LabError(
                f"host {name} has a way out of the lab (devices up: {', '.join(sorted(up))}; routes: "
                f"{', '.join(sorted(routes))}); refusing to start. Remove what adds them to new namespaces"
            )

    def spawn(self, host: str, command: list[str], **options) -> subprocess.Popen:
        """Start a program inside a host, in a process group of its own."""
        namespace = self.namespaces[host]

        def prepare() -> None:
            _die_with_parent()
            enter(namespace)

        process = subprocess.Popen(command, preexec_fn=prepare, start_new_session=True, **options)
        self.processes.append(process)
        return process

    def end(self, process: subprocess.Popen) -> None:
        """End a program and its children: asked first, then killed."""
        for signum, patience in ((signal.SIGTERM, 2.0), (signal.SIGKILL, 2.0)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signum)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience)
                break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            if process.poll() is None:
                self.end(process)
        if self.wire is not None:
            # What is still on its way (FINs) gets its time to arrive.
            time.sleep(0.3)
            self.wire.terminate()
            try:
                self.wire.wait(10)
            except subprocess.TimeoutExpired:
                self.wire.kill()
            self.wire.stdout.close()
        for namespace in self.namespaces.values():
            if namespace in _namespaces():
                _remove(namespace)
        result = self.scratch / "wire-result.json"
        if result.exists():
            self.result = json.loads(result.read_text())


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
