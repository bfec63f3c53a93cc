"""The checks of ``mmtt doctor``: each says what it found and, where something is wrong, what to type."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from .. import __version__, zeek
from .. import bundle as bundles
from ..agent import broker, chosen, wire
from ..agent import config as settings
from ..agent.connection import ConnectionProblem, NobodyListens, open_websocket, tls_context
from ..features import FEATURE_VERSION
from ..sniff import config as sniffing
from ..sniff import interfaces
from . import client

COLOURS = {"ok": "green", "note": "yellow", "problem": "red"}
_LIBRARIES = (
    "numpy",
    "onnxruntime",
    "websockets",
    "click",
    "PyYAML",
    "rich",
    "prometheus_client",
    "zstandard",
)
_LEAST_ZEEK = (8, 0)
# Read after the sensor's own scripts; Zeek names the line that it does not know. The port of its metrics is the running
# sensor's.
_PROBE = f"""
@ifdef ( Telemetry::metrics_port )
redef Telemetry::metrics_port = 0/unknown;
@endif
@ifndef ( MMTT::protocol_version )
mmtt_not_loaded;
@else
@if ( MMTT::protocol_version != {wire.PROTOCOL} )
mmtt_other_protocol;
@endif
@endif
@ifdef ( Cluster::CLUSTER_BACKEND_NONE )
@if ( Cluster::backend == Cluster::CLUSTER_BACKEND_NONE )
mmtt_no_backend;
@endif
@endif
"""


@dataclass(frozen=True)
class Check:
    """A line: ``state`` is "ok", "note" (worth knowing, nothing is broken) or "problem"."""

    state: str
    what: str
    text: str
    remedy: str = ""


def checks(config_path: str | None, agent: str | None, program: str | None, scripts: str) -> Iterator[Check]:
    """All checks, one after the other; one that depends on another that failed is left out. A sensor whose settings are
    those of ``mmtt sniff`` needs no Zeek."""
    yield _libraries()
    if (of_sniff := _of_sniff(config_path)) is not None:
        yield from _without_zeek(config_path, of_sniff, agent)
        return
    config, found = _settings(config_path)
    yield found
    yield from _bundle(config)
    yield from _files(config_path, config)
    program, found = _zeek(program)
    yield found
    if program:
        yield from _package(program, scripts)
        yield from _zeekctl(program)
    if config:
        yield _port(config)
    yield _agent(config_path, agent)
    yield _clock()


def _libraries() -> Check:
    found, missing = [], []
    for name in _LIBRARIES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Check("problem", "libraries", f"without {', '.join(missing)}", f"{sys.executable} -m pip install mmtt")
    return Check("ok", "libraries", f"mmtt {__version__}, Python {sys.version.split()[0]}, {', '.join(found)}")


def _of_sniff(path: str | None) -> sniffing.Config | None:
    """The settings of ``mmtt sniff``, if these are."""
    try:
        found = client.loaded(client.place(path))
    except settings.ConfigError:
        return None
    return found if isinstance(found, sniffing.Config) else None


def _without_zeek(path: str | None, config: sniffing.Config, agent: str | None) -> Iterator[Check]:
    named = ", ".join(config.interfaces)
    yield Check(
        "ok", "settings", f"{client.place(path)}; mmtt sniff listens on {named or 'what the command line says'}"
    )
    yield from _bundle(config)
    for name in config.interfaces:
        if not interfaces.index_of(name):
            yield Check(
                "problem", "interface", f"{name}: there is none of that name", "ip link   # shows which there are"
            )
        elif not interfaces.is_up(name):
            yield Check("problem", "interface", f"{name}: is down", f"ip link set {name} up")
        elif merging := interfaces.merges(name):
            off = " ".join(f"{what} off" for what in merging)
            told = f"{name}: packets are merged before they are seen: sizes are not those on the wire"
            yield Check("note", "interface", told, f"ethtool -K {name} {off}")
        else:
            yield Check("ok", "interface", f"{name} is up")
    yield _agent(path, agent, "mmtt-sniff")
    yield _clock()


def _settings(path: str | None) -> tuple[settings.Config | None, Check]:
    if path is None and os.path.exists(client.SETTINGS):
        path = client.SETTINGS
    try:
        config = settings.load(path)
    except settings.ConfigError as error:
        return None, Check("problem", "settings", str(error), "mmtt agent --print config   # shows every setting")
    return config, Check("ok", "settings", f"{path or 'none: the defaults'}; Zeek is at {config.url}")


def _bundle(config: chosen.Chosen | None) -> Iterator[Check]:
    from ..classifier import Classifier

    try:
        bundle = chosen.bundle(config) if config else bundles.load()
        Classifier(bundle)
    except settings.ConfigError as error:
        yield Check("problem", "settings", str(error), "mmtt agent --print config   # shows every setting")
        return
    except bundles.BundleError as error:
        yield Check(
            "problem",
            "bundle",
            str(error),
            "mmtt agent --help   # --bundle, or pip install --force-reinstall mmtt",
        )
        return
    yield Check(
        "ok",
        "bundle",
        f"{bundle.model} at {bundle.path}: checksum right, runs, {len(bundle.services)} services, "
        f"{len(bundle.applications)} applications, features {FEATURE_VERSION}",
    )


def _files(path: str | None, config: settings.Config | None) -> Iterator[Check]:
    """Nobody but their owner should be able to change what the agent runs, or read its key."""
    if path is None and os.path.exists(client.SETTINGS):
        path = client.SETTINGS
    ours = [each for each in (path, config and config.bundle) if each]
    open_to = [(name, "changed", stat.S_IWOTH, "o-w") for name in ours]
    open_to += [(config.tls.key, "read", stat.S_IROTH, "o-r")] if config and config.tls.key else []
    wrong = [each for each in open_to if os.path.exists(each[0]) and os.stat(each[0]).st_mode & each[2]]
    for name, verb, _, mode in wrong:
        yield Check("problem", "files", f"{name} can be {verb} by everybody", f"chmod {mode} {name}")
    if not wrong:
        yield Check("ok", "files", f"{', '.join(each[0] for each in open_to) or 'none of its own'}")


def _zeek(given: str | None) -> tuple[str | None, Check]:
    found = zeek.find(given)
    if found is None:
        place = given or "on PATH or at /opt/zeek/bin"
        return None, Check(
            "problem",
            "zeek",
            f"no Zeek {place}",
            "mmtt doctor --zeek FILE   # or install it: https://zeek.org/get-zeek",
        )
    program = str(found)
    status, said = _run(program, "--version")
    version = said.split()[-1] if status == 0 and said.split() else ""
    try:
        number = tuple(int(part) for part in version.split("-")[0].split(".")[:2])
    except ValueError:
        return None, Check(
            "problem", "zeek", f"{program} does not tell its version: {said[:200]}", f"{program} --version"
        )
    least = ".".join(map(str, _LEAST_ZEEK))
    if number < _LEAST_ZEEK:
        return None, Check(
            "problem",
            "zeek",
            f"{version} at {program}; mmtt needs {least}",
            "install a newer one: https://zeek.org/get-zeek",
        )
    return program, Check("ok", "zeek", f"{version} at {program}")


def _package(program: str, scripts: str) -> Iterator[Check]:
    """Does this sensor's Zeek load the package, of this agent's protocol, and can it exchange messages?"""
    status, said = _parse(program, scripts)
    if status == 0:
        yield Check("ok", "package", f"{scripts} loads it; protocol {wire.PROTOCOL}, as this agent speaks")
        yield Check("ok", "backend", "Zeek has one to exchange messages")
    elif "mmtt_not_loaded" in said:
        if _parse(program, "mmtt")[0] == 0:
            yield Check(
                "problem",
                "package",
                f"is installed, and {scripts} does not load it",
                f"echo '@load packages' >> {_site(program)}",
            )
        else:
            yield Check(
                "problem",
                "package",
                f"{scripts} does not load it, and it is not installed",
                "zkg install mmtt && zkg load mmtt",
            )
    elif "mmtt_other_protocol" in said:
        yield Check(
            "problem",
            "package",
            f"speaks another protocol than this agent ({wire.PROTOCOL})",
            "zkg upgrade mmtt; pip install --upgrade mmtt",
        )
    elif "mmtt_no_backend" in said:
        yield Check(
            "problem",
            "backend",
            "Zeek has none, so no agent can reach it",
            f"echo '@load frameworks/cluster/backend/broker' >> {_site(program)}",
        )
    else:
        yield Check("problem", "package", f"Zeek can't read {scripts}: {said[:300]}", f"{program} -a {scripts}")


def _parse(program: str, scripts: str) -> tuple[int, str]:
    # In an empty directory: Zeek takes names for files where it stands; what is a file from here is named in full.
    try:
        if os.sep in scripts and Path(scripts).exists():
            scripts = str(Path(scripts).resolve())
        with tempfile.TemporaryDirectory() as empty:
            probe = Path(empty) / "probe.zeek"
            probe.write_text(_PROBE)
            return _run(program, "--parse-only", scripts, str(probe), cwd=empty)
    except OSError as error:
        return 1, f"{error.filename or tempfile.gettempdir()}: {error.strerror}"


def _site(program: str) -> str:
    """The sensor's local.zeek."""
    return str(_prefix(program) / "share/zeek/site/local.zeek")


def _prefix(program: str) -> Path:
    """Where Zeek is installed."""
    return Path(program).resolve().parent.parent


def _zeekctl(program: str) -> Iterator[Check]:
    """In a zeekctl cluster the manager listens for agents only if told to."""
    etc = _prefix(program) / "etc"
    try:
        text = "\n".join((etc / name).read_text(errors="replace") for name in ("node.cfg", "zeekctl.cfg"))
    except OSError:
        return
    lines = [line.strip().lower().replace(" ", "") for line in text.splitlines()]
    if "type=manager" not in lines:
        return
    if any(line in ("usewebsocket=1", "usewebsocket=on", "usewebsocket=true") for line in lines):
        yield Check("ok", "cluster", "its manager listens for agents")
    else:
        yield Check(
            "problem",
            "cluster",
            "its manager does not listen for agents",
            f"echo 'UseWebSocket = 1' >> {etc}/zeekctl.cfg && zeekctl deploy",
        )


def _port(config: settings.Config) -> Check:
    """Is it Zeek that listens there?"""
    if config.url.startswith("broker:"):
        return Check(
            "note", "port", f"the agent itself listens at {config.url}, for Zeeks that load mmtt/broker-agents"
        )
    try:
        version = asyncio.run(_acknowledged(config))
    except NobodyListens as error:
        return Check("problem", "port", str(error), "zeekctl deploy   # or start Zeek with the package on an interface")
    except (
        ConnectionProblem,
        settings.ConfigError,
        broker.WireError,
        OSError,
        TimeoutError,
        asyncio.TimeoutError,
    ) as error:
        return Check(
            "problem",
            "port",
            str(error) or f"no acknowledgement from {config.url}",
            "ss -ltnp   # what listens there?",
        )
    return Check("ok", "port", f"Zeek {version} answers at {config.url}")


async def _acknowledged(config: settings.Config) -> str:
    """Zeek's version, from a connection that subscribes to nothing."""
    websocket = await open_websocket(config, tls_context(config), patient=False)
    try:
        await websocket.send(json.dumps([]))
        message = broker.decode(await asyncio.wait_for(websocket.recv(), config.connect_timeout))
    finally:
        await websocket.close()
    if not isinstance(message, broker.Ack):
        raise ConnectionProblem(f"{config.url} does not answer like Zeek's WebSocket API")
    return message.version[:40]


def _agent(path: str | None, given: str | None, unit: str = "mmtt-agent") -> Check:
    try:
        status = client.status(client.address(path, given))
    except client.Off as error:
        return Check("note", "agent", str(error))
    except settings.ConfigError as error:
        return Check("problem", "agent", f"can't be asked: {error}")
    except client.NoAgent as error:
        return Check("problem", "agent", str(error).partition(";")[0], f"systemctl start {unit}")
    if not status["healthy"]:
        return Check(
            "problem",
            "agent",
            f"{status['agent']} is not healthy: {status['problem']}",
            f"journalctl -u {unit} -e",
        )
    if status["version"] != __version__:
        return Check(
            "problem",
            "agent",
            f"runs version {status['version']}; installed is {__version__}",
            f"systemctl restart {unit}",
        )
    answered = status["windows"]["answered"]
    total = sum(answered.values())
    if total and answered["shed"] > total / 100:
        return Check(
            "note",
            "agent",
            f"{answered['shed']:,} of {total:,} windows were shed: it can't keep up; give it more threads",
        )
    return Check("ok", "agent", f"{status['agent']} with {status['model']}: {answered['ok']:,} verdicts")


def _clock() -> Check:
    """Zeek's latencies and an agent's time-outs are by the clock; one that is far off also breaks certificates."""
    made = Path(__file__).stat().st_mtime
    if time.time() < made - 86400:
        return Check(
            "problem",
            "clock",
            f"shows {time.strftime('%Y-%m-%d %H:%M')}, before mmtt was installed",
            "timedatectl set-ntp true",
        )
    if shutil.which("timedatectl"):
        status, said = _run("timedatectl", "show", "-p", "NTPSynchronized", "--value")
        if status == 0 and said == "no":
            return Check("note", "clock", "is not kept right by NTP", "timedatectl set-ntp true")
    return Check("ok", "clock", time.strftime("%Y-%m-%d %H:%M:%S %Z"))


def _run(*command: str, cwd: str | None = None) -> tuple[int, str]:
    """Exit status and what a program said, on one line."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=60, cwd=cwd, check=False
        )
    except OSError as error:
        return 1, f"{error.filename or command[0]}: {error.strerror}"
    except subprocess.TimeoutExpired:
        return 1, f"{command[0]} has not answered within 60 s"
    return done.returncode, " ".join((done.stdout + done.stderr).split())
