"""Hosts: network namespaces with addresses of their own and no way out. Root and iproute2 are needed."""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from . import LabError
from .links import FIELDS, Profile
from .stack import stack_of
from .wire import DEVICE, enter

PREFIX = "mmttlab"
NETWORK = "10.77.0.0/16"
PATIENCE = 2.0
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
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def _namespaces() -> list[str]:
    folder = Path("/var/run/netns")
    return sorted(entry.name for entry in folder.iterdir()) if folder.exists() else []


def _remove(namespace: str) -> None:
    inside = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False)
    for pid in inside.stdout.split():
        # Only what runs inside a namespace the lab made itself.
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    subprocess.run(["ip", "netns", "del", namespace], capture_output=True, check=False)


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


class Forked:
    """A fork of this process inside a namespace, as far as it is used here like a Popen.

    `said` is the reading end of what it prints; its standard error goes to `log`. To be made only by a process without
    threads.
    """

    def __init__(self, namespace: str, function: Callable[[], None], folder: Path, log: Path) -> None:
        self.returncode: int | None = None
        said, says = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                os.setsid()
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                die_with_parent()
                enter(namespace)
                os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
                os.dup2(says, 1)
                os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), 2)
                os.closerange(3, 1024)
                # Whoever started us may have put something else in their places.
                sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - for as long as this process lasts
                sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - for as long as this process lasts
                os.chdir(folder)
                os.environ["HOME"] = str(folder)
                function()
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
                if isinstance(end.code, str):
                    print(end.code, file=sys.stderr)
            except BaseException:  # noqa: BLE001 - whatever it is, it must not reach what the parent was amid
                traceback.print_exc()
            finally:
                with contextlib.suppress(OSError):
                    sys.stdout.flush()
                    sys.stderr.flush()
                os._exit(code)
        os.close(says)
        self.said = io.FileIO(said)

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float) -> int:
        end = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("an activity", timeout)
            time.sleep(0.01)
        return code


class Network:
    """The lab's hosts and their wire, as a context: whatever happens inside, nothing is left behind."""

    def __init__(
        self,
        hosts: dict[str, Profile],
        addresses: dict[str, list[str]],
        seed: int,
        scratch: Path,
        captures: dict[str, Path],
        snaplen: int,
    ) -> None:
        """`addresses`: host -> its IPv4 addresses, the first its main one. `captures`: host -> pcap to write."""
        self.hosts, self.addresses, self.scratch = hosts, addresses, scratch
        self.stacks = {name: stack_of(link.name, Random(f"{seed} {name}")) for name, link in hosts.items()}
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
        self.processes: list[subprocess.Popen[bytes] | Forked] = []
        self.ending: list[tuple[subprocess.Popen[bytes] | Forked, float]] = []
        self.wire: subprocess.Popen[bytes] | None = None
        self.result: dict[str, Any] = {}

    def __enter__(self) -> Network:
        try:
            for namespace in self.namespaces.values():
                _ip("netns", "add", namespace)
            plan = self.scratch / "wire.json"
            plan.write_text(json.dumps(self.plan))
            self.wire = subprocess.Popen(
                [sys.executable, "-m", "mmtt_model.lab.wire", str(plan), str(self.scratch / "wire-result.json")],
                stdout=subprocess.PIPE,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - there are no threads here (see Forked)
                stdin=subprocess.DEVNULL,
            )
            assert self.wire.stdout, "a pipe"
            if self.wire.stdout.readline() != b"ready\n":
                raise LabError("the wire did not come up; its message is above")
            for name, namespace in self.namespaces.items():
                stack = self.stacks[name]
                settings = stack.settings() | {f"net.ipv6.conf.{knob}.disable_ipv6": 1 for knob in ("all", "default")}
                for setting, value in settings.items():
                    subprocess.run(
                        ["ip", "netns", "exec", namespace, "sysctl", "-qw", f"{setting}={value}"],
                        capture_output=True,
                        check=False,
                    )
                _ip("-n", namespace, "link", "set", "lo", "up")
                for number, address in enumerate(self.addresses[name]):
                    _ip("-n", namespace, "addr", "add", f"{address}/{16 if number == 0 else 32}", "dev", DEVICE)
                _ip("-n", namespace, "link", "set", DEVICE, "up", "mtu", str(stack.mtu))
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

    def spawn(self, host: str, command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        """Start a program inside a host, in a process group of its own; `options` are Popen's."""
        namespace = self.namespaces[host]

        def prepare() -> None:
            die_with_parent()
            enter(namespace)

        process: subprocess.Popen[bytes] = subprocess.Popen(
            command,
            preexec_fn=prepare,  # noqa: PLW1509 - there are no threads here (see Forked)
            start_new_session=True,
            **options,
        )
        self.processes.append(process)
        return process

    def fork(self, host: str, function: Callable[[], None], folder: Path, log: Path) -> Forked:
        """Run a function of ours inside a host, in a process group of its own, with `folder` as its home."""
        process = Forked(self.namespaces[host], function, folder, log)
        self.processes.append(process)
        return process

    def end(self, process: subprocess.Popen[bytes] | Forked) -> None:
        """Ask a program and its children to end; whoever has not within PATIENCE is killed by a later `reap`."""
        self.ending.append((process, time.monotonic() + PATIENCE))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)

    def reap(self) -> bool:
        """Kill what was asked to end and has not in time, and what those that have left behind. True if none is
        left.
        """
        for entry in list(self.ending):
            process, limit = entry
            if process.poll() is not None or time.monotonic() > limit:
                self.ending.remove(entry)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait(PATIENCE)
        return not self.ending

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            if process.poll() is None:
                self.end(process)
        while not self.reap():
            time.sleep(0.02)
        if self.wire is not None:
            # What is still on its way (FINs) gets its time to arrive.
            time.sleep(0.3)
            self.wire.terminate()
            try:
                self.wire.wait(10)
            except subprocess.TimeoutExpired:
                self.wire.kill()
            if self.wire.stdout:
                self.wire.stdout.close()
        for namespace in self.namespaces.values():
            if namespace in _namespaces():
                _remove(namespace)
        result = self.scratch / "wire-result.json"
        if result.exists():
            self.result = json.loads(result.read_text())


def die_with_parent(signum: int = signal.SIGKILL) -> None:
    """Ask the kernel to signal this process when the one that started it ends, however that ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signum)
