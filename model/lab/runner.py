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
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from random import Random

import zstandard

from . import LabError, truth
from .activities import ACTIVITIES
from .certificates import KINDS, make_certificates
from .network import PREFIX, Forked, Network, check_machine, die_with_parent, remove_dead_folders, remove_leftovers
from .part import Part
from .play import play
from .programs import missing, versions_of
from .scenario import Plan, Scenario, Step, plan
from .tunnels import TUNNELS

#: The wire carried a packet this late (99th percentile, ms): the machine was too busy to emulate links.
LATE_MS = 20.0
#: Share of a capture's activities that may fail, on a bad link say, before the capture is given up.
MAX_FAILED = 0.05


def run(
    scenarios: list[Scenario], out: Path, say: Callable[[str], None], jobs: int = 1, only: set[int] | None = None
) -> list[str]:
    """Run the captures that are not there yet, `jobs` at a time, then write captures.tsv and flows.tsv.zst.

    Returns:
        A line for each capture that failed; the others are there.
    """
    check_machine()
    lacking = missing({name for scenario in scenarios for name in _programs(scenario)})
    if lacking:
        raise LabError(lacking)
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    removed = remove_leftovers()
    if removed:
        say(f"removed {removed} network namespaces left by a run that was killed")
    _stop.clear()
    signal.signal(signal.SIGTERM, lambda *_: _stop.append(True))
    waiting: list[tuple[Plan, Path]] = []
    failed: list[str] = []
    there = 0
    for scenario in scenarios:
        for number in range(scenario.captures):
            if only is None or number in only:
                made, target = plan(scenario, number), _place(out, scenario, number)
                if _is_there(made, target):
                    there += 1
                else:
                    waiting.append((made, target))
    if there:
        say(f"{there} captures are there already")
    begun, total = time.monotonic(), len(waiting)
    running: dict[int, Plan] = {}
    try:
        while waiting or running:
            _stop_if_told()
            while waiting and len(running) < jobs:
                made, target = waiting.pop(0)
                running[_begin(made, target)] = made
            for child in list(running):
                ended, status = os.waitpid(child, os.WNOHANG)
                if not ended:
                    continue
                made = running.pop(child)
                words = _word(out, made)
                text = words.read_text() if words.exists() else "ended without a word"
                words.unlink(missing_ok=True)
                if status:
                    failed.append(f"{made.name} {made.number + 1}: {text}")
                done = total - len(waiting) - len(running)
                left = (time.monotonic() - begun) / done * (total - done)
                say(
                    f"{done}/{total}, {left / 60:.0f} min to go: {made.name} {made.number + 1}: "
                    f"{'FAILED: ' if status else ''}{text}"
                )
            time.sleep(0.1)
    finally:
        for child in running:
            os.kill(child, signal.SIGTERM)
        for child, made in running.items():
            os.waitpid(child, 0)
            _word(out, made).unlink(missing_ok=True)
        collect(out)
        if waiting or running:
            say(f"stopped with {len(waiting) + len(running)} captures to go; the same command goes on there")
    return failed


# Not raised where the signal comes in: between a fork and what Python does after it, an exception would be lost.
_stop: list[bool] = []


def _stop_if_told() -> None:
    if _stop:
        sys.exit(143)


def _programs(scenario: Scenario) -> set[str]:
    return (
        {"certificates"}
        | {
            name
            for entry in scenario.entries
            for known in entry.names.values()
            for both in known
            for name in both.split("/")
        }
        | {name for entry in scenario.entries for tunnel in entry.through for name in TUNNELS[tunnel].programs}
    )


def _place(out: Path, scenario: Scenario | Plan, number: int) -> Path:
    return out / "captures" / scenario.name / f"{number:04d}"


def _word(out: Path, made: Plan) -> Path:
    """Where a capture's process leaves its last word."""
    place = _place(out, made, made.number)
    return place.with_name(f".{place.name}.word")


def _is_there(made: Plan, target: Path) -> bool:
    if not (target / "capture.json").exists():
        return False
    if json.loads((target / "capture.json").read_text())["seed"] != made.seed:
        raise LabError(f"{target}: made with another seed or scenario; remove it or choose another -o")
    return True


def _begin(made: Plan, target: Path) -> int:
    """Make a capture in a process of its own, which leaves its last word in a file. Returns its number."""
    target.parent.mkdir(parents=True, exist_ok=True)
    child = os.fork()
    if child:
        return child
    code, word = 1, "ended without a word"
    try:
        # Asked, not killed, so that it takes its namespaces with it.
        die_with_parent(signal.SIGTERM)
        word, code = _capture(made, target), 0
    except LabError as error:
        word = str(error)
    except OSError as error:
        word = f"{error.filename or target}: {error.strerror}"
    except SystemExit:
        word = "stopped"
    except Exception as error:  # noqa: BLE001 - the process ends here; what it was is told by the runner
        traceback.print_exc()
        word = f"{type(error).__name__}: {error}"
    finally:
        target.with_name(f".{target.name}.word").write_text(word)
        os._exit(code)


def _capture(made: Plan, target: Path) -> str:
    """Make one capture in a directory of its own, then move it to where it belongs."""
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_dead_folders(target.parent, r"\.\d+-(\d+)-.*")
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}-{os.getpid()}-", dir=target.parent))
    scratch = Path(tempfile.mkdtemp(prefix=f"{PREFIX}-{os.getpid()}-"))
    try:
        pcaps = {host: scratch / f"{host}.pcap" for host in made.capture_at}
        network = Network(made.links, made.addresses(), made.seed, scratch, pcaps, made.snaplen)
        secrets = make_secrets(scratch / "secrets", made.seed)
        with network:
            failures = _play(made, network, scratch, secrets)
        _bear(made, failures)
        rows, captures, silent = _label(made, pcaps, work, target, set(failures))
        failures |= {step.number: f"{_name(step)}: left nothing in the capture" for step in silent}
        _bear(made, failures)
        late = network.result.get("late_ms_p99", 0.0)
        summary = {
            "seed": made.seed,
            "links": {host: link.name for host, link in made.links.items()},
            "steps": [asdict(step) for step in made.steps],
            "wire": network.result,
            "captures": captures,
            "wire_was_late": late > LATE_MS,
            "failed": failures,
        }
        (work / "flows.tsv").write_text(truth.table(truth.COLUMNS, rows))
        (work / "capture.json").write_text(json.dumps(summary, indent=1))
        os.chmod(work, 0o755)
        os.rename(work, target)
        malicious = sum(row["malicious"] == 1 for row in rows)
        note = (
            f"; the wire was late ({late:g} ms at the 99th percentile): this machine was too busy"
            if late > LATE_MS
            else ""
        )
        if failures:
            note += (
                f"; without {len(failures)} of {len(made.steps)} activities, which failed: "
                f"{next(iter(failures.values()))}"
            )
        return f"{len(rows)} flows, {malicious} malicious, {network.result.get('packets', 0)} packets{note}"
    finally:
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(scratch, ignore_errors=True)


def _bear(made: Plan, failures: dict[int, str]) -> None:
    """Raises LabError if more activities failed than a capture can do without."""
    if len(failures) > max(1, MAX_FAILED * len(made.steps)):
        texts = list(failures.values())
        raise LabError("; ".join(texts[:3]) + (f" and {len(texts) - 3} more" if len(texts) > 3 else ""))


def _label(
    made: Plan, pcaps: dict[str, Path], work: Path, target: Path, failed: set[int]
) -> tuple[list[dict[str, object]], list[dict[str, object]], list[Step]]:
    """Join flows to their truth and store the captures. Raises LabError on a flow without a label.

    What `failed` activities left in a capture gets no row: it is not what its label would say.

    Returns:
        The rows of the truth, the captures, and the activities that left no flow in any.
    """
    versions = versions_of(
        {
            name
            for step in made.steps
            for name in (step.server, step.client, *(TUNNELS[step.through].programs if step.through else ()))
        }
    )
    rows: list[dict[str, object]] = []
    captures: list[dict[str, object]] = []
    seen: Counter[int] = Counter()
    for host, pcap in pcaps.items():
        flows, packets = truth.flows_of(pcap)
        joined, unlabelled = truth.join(flows, made)
        spoilt = sum(step.number in failed for _, step in joined)
        joined = [(flow, step) for flow, step in joined if step.number not in failed]
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
        captures.append(
            {
                "capture": name,
                "packets": packets,
                "flows": len(joined),
                "flows_of_failed_activities": spoilt,
                "usable": sum(flow.payload_packets >= 4 for flow, _ in joined),
                "malicious": sorted({bool(ACTIVITIES[step.name].malicious) for _, step in joined}),
            }
        )
    silent = [
        step for step in made.steps if step.client_host in pcaps and not seen[step.number] and step.number not in failed
    ]
    return rows, captures, silent


def _name(step: Step) -> str:
    return f"{step.name} ({step.server}/{step.client}, number {step.number})"


def make_secrets(folder: Path, seed: int) -> Path:
    """Certificates and keys of this capture's own, used nowhere else, in a folder for each kind of certificate."""
    folder.mkdir(mode=0o700)
    for command in (
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "host"],
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "user"],
    ):
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise LabError(f"no `{command[0]}`; type: apt-get install openssh-client") from None
        if done.returncode:
            raise LabError(f"{command[0]}: {done.stderr.strip().splitlines()[-1]}")
    if shutil.which("dropbearconvert") or shutil.which("dropbearkey"):
        for name in ("host", "user"):
            subprocess.run(
                ["dropbearkey", "-t", "ed25519", "-f", f"{name}.dropbear"], cwd=folder, capture_output=True, check=False
            )
        public = subprocess.run(
            ["dropbearkey", "-y", "-f", "user.dropbear"], cwd=folder, capture_output=True, text=True, check=False
        )
        lines = [line for line in public.stdout.splitlines() if line.startswith("ssh-")]
        with open(folder / "user.pub", "a") as file:
            file.writelines(line + "\n" for line in lines)
    keys = list(folder.iterdir())
    make_certificates(folder, Random(seed))
    for number in range(KINDS):
        for key in keys:
            (folder / str(number) / key.name).symlink_to(key)
    return folder


def _play(made: Plan, network: Network, scratch: Path, secrets: Path) -> dict[int, str]:
    """Run the plan's steps at their times. Returns a line for each that failed, by its number."""
    failures: dict[int, str] = {}
    logs = scratch / "logs"
    logs.mkdir()
    waiting = sorted(made.steps, key=lambda step: step.at)
    running: list[tuple[Step, Forked, Forked, float]] = []
    servers: dict[int, Forked] = {}
    begun = time.monotonic()
    while waiting or running or servers:
        _stop_if_told()
        now = time.monotonic() - begun
        while waiting and waiting[0].at <= now:
            step = waiting.pop(0)
            servers[step.number] = _start(network, "serve", step, step.server_host, scratch, secrets, logs)
        for number, server in list(servers.items()):
            step = made.steps[number]
            if select.select([server.said], (), (), 0)[0]:
                del servers[number]
                if server.said.readline() != b"ready\n":
                    failures[number] = f"{_name(step)}: server: {_last_line(logs / f'{number}-serve')}"
                    network.end(server)
                    continue
                client = _start(network, "act", step, step.client_host, scratch, secrets, logs)
                running.append((step, server, client, time.monotonic() + step.seconds + 15))
            elif now > step.at + 30:
                del servers[number]
                failures[number] = f"{_name(step)}: server: not ready after 30 s"
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
                failures[step.number] = f"{_name(step)}: client: {_last_line(logs / f'{step.number}-act')}"
            network.end(server)
            server.said.close()
        network.reap()
        time.sleep(0.03)
    return failures


def _start(network: Network, role: str, step: Step, host: str, scratch: Path, secrets: Path, logs: Path) -> Forked:
    own = scratch / f"{step.number}-{role}"
    own.mkdir()
    secrets /= str(step.seed % KINDS)

    def function() -> None:
        play(
            role,
            Part(
                step.name, step.through, step.server, step.client, step.address, step.seconds, step.seed, own, secrets
            ),
        )

    return network.fork(host, function, own, logs / f"{step.number}-{role}")


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "ended without a word"


def collect(out: Path) -> None:
    """Put together captures.tsv and flows.tsv.zst of all captures in the directory."""
    flows: list[str] = []
    captures: list[dict[str, object]] = []
    for folder in sorted((out / "captures").glob("*/*/")):
        if not (folder / "capture.json").exists():
            continue
        summary = json.loads((folder / "capture.json").read_text())
        lines = (folder / "flows.tsv").read_text().splitlines(keepends=True)
        flows += lines if not flows else lines[1:]
        for entry in summary["captures"]:
            captures.append(
                {
                    "capture": entry["capture"],
                    "group": "lab",
                    "service": "see flows",
                    "application": "see flows",
                    "malicious": "see flows",
                    "label_from": "construction",
                    "packets": entry["packets"],
                    "flows": entry["flows"],
                    "usable_flows": entry["usable"],
                    "source_repo": "lab",
                    "source_commit": f"seed {summary['seed']}",
                    "source_path": entry["capture"],
                    "source_bytes": "",
                    "source_sha256": "",
                    "licence": "",
                }
            )
    if not flows:
        return
    for name, data in (
        ("flows.tsv.zst", zstandard.compress("".join(flows).encode())),
        ("captures.tsv", truth.table(truth.CAPTURE_COLUMNS, captures).encode()),
    ):
        part = out / f".{name}.part"
        part.write_bytes(data)
        os.replace(part, out / name)
