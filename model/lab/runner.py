"""Running a scenario: its captures one by one (or several at once), each whole or not there at all."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import zstandard

from . import LabError, truth
from .activities import ACTIVITIES
from .network import PREFIX, Network, check_machine, remove_dead_folders, remove_leftovers
from .programs import missing, versions_of
from .scenario import Plan, Scenario, Step, plan
from .tunnels import TUNNELS

#: The wire carried a packet this late (99th percentile, ms): the machine was too busy to emulate links.
LATE_MS = 20.0


def run(scenario: Scenario, out: Path, say: Callable[[str], None], only: range | None = None) -> list[str]:
    """Run the captures that are not there yet, then write captures.tsv and flows.tsv.zst. Returns what failed."""
    check_machine()
    lacking = missing({name for entry in scenario.entries for both in entry.implementations for name in both.split("/")}
                      | {name for entry in scenario.entries for tunnel in entry.through
                         for name in TUNNELS[tunnel].programs})
    if lacking:
        raise LabError("; ".join(lacking))
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    removed = remove_leftovers()
    if removed:
        say(f"removed {removed} network namespaces left by a run that was killed")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    failed = []
    numbers = only if only is not None else range(scenario.captures)
    for number in numbers:
        made = plan(scenario, number)
        target = out / "captures" / scenario.name / f"{number:04d}"
        place = f"{scenario.name} {number + 1}/{scenario.captures}"
        if (target / "capture.json").exists():
            if json.loads((target / "capture.json").read_text())["seed"] != made.seed:
                raise LabError(f"{target}: made with another seed or scenario; remove it or choose another -o")
            say(f"{place}: there already")
            continue
        say(f"{place}: {len(made.steps)} activities in {made.length:g} s, links "
            + ", ".join(f"{host} {link.name}" for host, link in made.links.items()))
        try:
            summary = _capture(made, target)
        except LabError as error:
            say(f"{place}: FAILED: {error}")
            failed.append(f"{place}: {error}")
            continue
        say(f"{place}: {summary}")
    collect(out)
    return failed


def _capture(made: Plan, target: Path) -> str:
    """Make one capture in a directory of its own, then move it to where it belongs."""
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_dead_folders(target.parent, r"\.\d+-(\d+)-.*")
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}-{os.getpid()}-", dir=target.parent))
    scratch = Path(tempfile.mkdtemp(prefix=f"{PREFIX}-{os.getpid()}-"))
    try:
        pcaps = {host: scratch / f"{host}.pcap" for host in made.capture_at}
        network = Network(made.links, made.addresses(), made.seed, scratch, pcaps, made.snaplen)
        secrets = make_secrets(scratch / "secrets")
        with network:
            failures = _play(made, network, scratch, secrets)
        if failures:
            raise LabError("; ".join(failures[:3]) + (f" and {len(failures) - 3} more" if len(failures) > 3 else ""))
        rows, captures = _label(made, pcaps, work, target)
        late = network.result.get("late_ms_p99", 0.0)
        summary = {
            "seed": made.seed, "links": {host: link.name for host, link in made.links.items()},
            "steps": [asdict(step) for step in made.steps], "wire": network.result, "captures": captures,
            "wire_was_late": late > LATE_MS,
        }
        (work / "flows.tsv").write_text(truth.table(truth.COLUMNS, rows))
        (work / "capture.json").write_text(json.dumps(summary, indent=1))
        os.chmod(work, 0o755)
        os.rename(work, target)
        malicious = sum(row["malicious"] for row in rows)
        note = f"; the wire was late ({late:g} ms at the 99th percentile): this machine was too busy" if late > LATE_MS else ""
        return f"{len(rows)} flows, {malicious} malicious, {network.result.get('packets', 0)} packets{note}"
    finally:
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(scratch, ignore_errors=True)


def _label(made: Plan, pcaps: dict[str, Path], work: Path, target: Path) -> tuple[list[dict], list[dict]]:
    """Join flows to their truth and store the captures. Raises LabError on a flow or an activity without the other."""
    versions = versions_of({name for step in made.steps for name in (step.server, step.client)})
    rows, captures, seen = [], [], Counter()
    for host, pcap in pcaps.items():
        flows, packets = truth.flows_of(pcap)
        joined, unlabelled = truth.join(flows, made)
        if unlabelled:
            first = unlabelled[0]
            raise LabError(
                f"{len(unlabelled)} flows have no label, the first {first.orig}:{first.orig_port} to "
                f"{first.resp}:{first.resp_port} (protocol {first.proto}, {first.packets} packets)"
            )
        name = f"{target.parent.name}/{target.name}/{host}.pcap.zst"
        (work / f"{host}.pcap.zst").write_bytes(zstandard.compress(pcap.read_bytes(), 6))
        for flow, step in joined:
            rows.append(truth.row(name, flow, step, versions, made.links[step.client_host].name))
            seen[step.number] += flow.packets
        captures.append({"capture": name, "packets": packets, "flows": len(joined),
                         "usable": sum(flow.payload_packets >= 4 for flow, _ in joined),
                         "malicious": sorted({bool(ACTIVITIES[step.name].malicious) for _, step in joined})})
    silent = [step for step in made.steps if step.client_host in pcaps and not seen[step.number]]
    if silent:
        raise LabError(f"{len(silent)} activities left nothing in the capture, the first {_name(silent[0])}")
    return rows, captures


def _name(step: Step) -> str:
    return f"{step.name} ({step.server}/{step.client}, number {step.number})"


def make_secrets(folder: Path) -> Path:
    """A certificate and keys of this capture's own, used nowhere else."""
    folder.mkdir(mode=0o700)
    for command in (
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
         "-subj", "/CN=lab.test", "-keyout", "key.pem", "-out", "cert.pem"],
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "host"],
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "user"],
    ):
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        except FileNotFoundError:
            raise LabError(f"no `{command[0]}`; type: apt-get install openssl openssh-client") from None
        if done.returncode:
            raise LabError(f"{command[0]}: {done.stderr.strip().splitlines()[-1]}")
    if shutil.which("dropbearconvert") or shutil.which("dropbearkey"):
        for name in ("host", "user"):
            subprocess.run(["dropbearkey", "-t", "ed25519", "-f", f"{name}.dropbear"], cwd=folder, capture_output=True)
        public = subprocess.run(["dropbearkey", "-y", "-f", "user.dropbear"], cwd=folder, capture_output=True, text=True)
        keys = [line for line in public.stdout.splitlines() if line.startswith("ssh-")]
        with open(folder / "user.pub", "a") as file:
            file.writelines(line + "\n" for line in keys)
    return folder


def _play(made: Plan, network: Network, scratch: Path, secrets: Path) -> list[str]:
    """Run the plan's steps at their times. Returns a line for each that failed."""
    failures: list[str] = []
    logs = scratch / "logs"
    logs.mkdir()
    waiting = sorted(made.steps, key=lambda step: step.at)
    running: list[tuple[Step, subprocess.Popen, subprocess.Popen, float]] = []
    servers: dict[int, subprocess.Popen] = {}
    begun = time.monotonic()
    while waiting or running or servers:
        now = time.monotonic() - begun
        while waiting and waiting[0].at <= now:
            step = waiting.pop(0)
            servers[step.number] = _start(network, "serve", step, step.server_host, scratch, secrets, logs)
        for number, server in list(servers.items()):
            step = made.steps[number]
            if select.select([server.stdout], (), (), 0)[0]:
                del servers[number]
                if server.stdout.readline() != b"ready\n":
                    failures.append(f"{_name(step)}: server: {_last_line(logs / f'{number}-serve')}")
                    network.end(server)
                    continue
                client = _start(network, "act", step, step.client_host, scratch, secrets, logs)
                running.append((step, server, client, time.monotonic() + step.seconds + 15))
            elif now > step.at + 30:
                del servers[number]
                failures.append(f"{_name(step)}: server: not ready after 30 s")
                network.end(server)
        for entry in list(running):
            step, server, client, limit = entry
            late = time.monotonic() > limit
            code = client.poll()
            if code is None and not late:
                continue
            running.remove(entry)
            # What a client leaves behind of its own children goes with it.
            network.end(client)
            if not late and code:
                failures.append(f"{_name(step)}: client: {_last_line(logs / f'{step.number}-act')}")
            network.end(server)
            server.stdout.close()
        time.sleep(0.03)
    return failures


def _start(network: Network, role: str, step: Step, host: str, scratch: Path, secrets: Path, logs: Path):
    own = scratch / f"{step.number}-{role}"
    own.mkdir()
    spec = own / "spec.json"
    spec.write_text(json.dumps({
        "activity": step.name, "through": step.through, "server": step.server, "client": step.client, "address": step.address,
        "seconds": step.seconds, "seed": step.seed, "scratch": str(own), "secrets": str(secrets),
    }))
    with open(logs / f"{step.number}-{role}", "wb") as log:
        return network.spawn(host, [sys.executable, "-m", "mmtt_model.lab.play", role, str(spec)], stderr=log, cwd=own,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if role == "serve" else subprocess.DEVNULL,
                             env={**os.environ, "HOME": str(own)})


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "ended without a word"


def collect(out: Path) -> None:
    """Put together captures.tsv and flows.tsv.zst of all captures in the directory."""
    flows, captures = [], []
    for folder in sorted((out / "captures").glob("*/*/")):
        if not (folder / "capture.json").exists():
            continue
        summary = json.loads((folder / "capture.json").read_text())
        lines = (folder / "flows.tsv").read_text().splitlines(keepends=True)
        flows += lines if not flows else lines[1:]
        for entry in summary["captures"]:
            captures.append({
                "capture": entry["capture"], "group": "lab", "service": "see flows", "application": "see flows",
                "malicious": "see flows", "label_from": "construction", "packets": entry["packets"],
                "flows": entry["flows"], "usable_flows": entry["usable"], "source_repo": "lab",
                "source_commit": f"seed {summary['seed']}", "source_path": entry["capture"], "source_bytes": "",
                "source_sha256": "", "licence": "",
            })
    if not flows:
        return
    for name, data in (
        ("flows.tsv.zst", zstandard.compress("".join(flows).encode())),
        ("captures.tsv", truth.table(truth.CAPTURE_COLUMNS, captures).encode()),
    ):
        part = out / f".{name}.part"
        part.write_bytes(data)
        os.replace(part, out / name)
