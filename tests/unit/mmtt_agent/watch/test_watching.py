"""Who watches the agent: its metrics, health and status by HTTP, what systemd hears, and the commands that show it."""

import asyncio
import io
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

import pytest
from agent_program import PROGRAM, Agent
from all_metrics import all_metrics
from click.testing import CliRunner
from fake_zeek import FakeZeek, classify, flow, flows
from places import ZEEK_SCRIPTS
from program import mmtt
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from tiny_bundle import KINDS, make_bundle, with_kinds

from mmtt_agent import __version__
from mmtt_agent.agent.runner import Runner
from mmtt_agent.agent.systemd import feed_watchdog
from mmtt_agent.watch import cli, rates, reload, screen


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundle"))


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


async def get(address: str, path: str) -> tuple[int, str]:
    def ask():
        try:
            with urllib.request.urlopen(f"http://{address}{path}", timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    return await asyncio.to_thread(ask)


async def metrics(address: str) -> dict[tuple, float]:
    """Every sample as Prometheus itself would read it, by name and labels' values in their names' order."""
    _, text = await get(address, "/metrics")
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_thresholds_of_the_sites_own_are_shown(bundle, tmp_path):
    settings = tmp_path / "agent.yaml"
    settings.write_text("thresholds:\n  malicious: {web: 0.9, others: 0.95}\n  incidents: 0.8\n")

    async def story():
        address = free_address()
        async with (
            FakeZeek() as zeek,
            Agent("-c", settings, "--url", zeek.url, "--bundle", bundle, "--metrics-listen", address) as agent,
        ):
            await zeek.next("MMTT::agent_hello")
            status = json.loads((await get(address, "/status"))[1])
            assert status["thresholds"] == {"malicious": {"web": 0.9, "others": 0.95}, "incidents": {"others": 0.8}}
            shown = await asyncio.to_thread(mmtt, "status", "--agent", address, "--format", "table")
            assert "the site's own: malicious 0.9000 for web, 0.9500 for others; incidents 0.8000" in " ".join(
                shown.stdout.split()
            )
            settings.write_text("")
            agent.process.send_signal(signal.SIGHUP)
            await agent.says("reloaded")
            status = json.loads((await get(address, "/status"))[1])
            assert status["thresholds"] == {"malicious": None, "incidents": None}
            shown = await asyncio.to_thread(mmtt, "status", "--agent", address, "--format", "table")
            assert "thresholds" not in shown.stdout

    asyncio.run(story())


def test_what_is_done_is_counted(bundle):
    async def story():
        address = free_address()
        async with FakeZeek() as zeek:
            agent = Agent("--url", zeek.url, "--bundle", bundle, "--id", "a1", "--metrics-listen", address)
            async with agent:
                model = (await zeek.next("MMTT::agent_hello"))[1][3]
                records = []
                for number in range(3):
                    await zeek.send(classify("mmtt/agent/a1", number, flows(50, number), f"mmtt/node/n{number % 2}"))
                    records += (await zeek.next("MMTT::verdicts"))[1][2]
                await zeek.send(classify("mmtt/agent/a1", 9, [flow("C1"), "nonsense"]))
                records += (await zeek.next("MMTT::verdicts"))[1][2]
                await zeek.send("nonsense")
                await agent.says("is refused")
                found = await metrics(address)
                assert found["mmtt_agent_windows_received_total",] == 152
                assert found["mmtt_agent_windows_answered_total", "ok"] == 151
                assert found["mmtt_agent_windows_answered_total", "error"] == 1
                assert found["mmtt_agent_messages_refused_total", "malformed"] == 1
                assert found["mmtt_agent_batches_total",] == found["mmtt_agent_answer_seconds_count",] == 4
                assert found["mmtt_agent_zeek_connected",] == found["mmtt_agent_healthy",] == 1
                assert found["mmtt_agent_zeek_nodes",] == 3
                assert found["mmtt_agent_info", "a1", model, __version__] == 1
                assert found["process_resident_memory_bytes",] > 1e6
                ok = [record for record in records if record[2] == "ok"]
                for service in {record[3] for record in ok}:
                    expected = sum(record[3] == service for record in ok)
                    assert found["mmtt_agent_verdicts_total", service] == expected
                assert found["mmtt_agent_malicious_total",] == sum(record[7] for record in ok)
                status = json.loads((await get(address, "/status"))[1])
                worst = max(ok, key=lambda record: record[8])
                first = status["suspicious"][0]
                assert (first["uid"], first["malicious_score"]) == (worst[0], worst[8])
                assert (first["service"], first["application"]) == (worst[3], worst[5])
                assert (await get(address, "/health")) == (200, "ok\n")
                assert (await get(address, "/else"))[0] == 404

    asyncio.run(story())


def test_kinds_of_malicious_are_counted_and_shown(tmp_path):
    used, address = make_bundle(tmp_path, **with_kinds()), free_address()

    async def story():
        async with FakeZeek() as zeek:
            agent = Agent("--url", zeek.url, "--bundle", used, "--id", "a1", "--metrics-listen", address)
            async with agent:
                await zeek.next("MMTT::agent_hello")
                await zeek.send(classify("mmtt/agent/a1", 1, flows(64)))
                records = (await zeek.next("MMTT::verdicts"))[1][2]
                kinds = Counter(record[9] for record in records if record[9])
                assert kinds and {*kinds} <= {*KINDS} and all(record[7] for record in records if record[9])
                found = await metrics(address)
                for kind, number in kinds.items():
                    assert found["mmtt_agent_malicious_kinds_total", kind] == number
                status = json.loads((await get(address, "/status"))[1])
                assert status["malicious_kinds"] == kinds
                by_uid = {record[0]: record[9] for record in records}
                assert {f["uid"]: f["malicious_kind"] for f in status["suspicious"]}.items() <= by_uid.items()
                console = Console(file=io.StringIO(), width=140)
                console.print(screen.state(status), screen.live(status, rates.between(status, status), 10))
                shown = console.file.getvalue()
                (most, number), *_ = kinds.most_common(1)
                assert f", of these {most} {number}" in shown and re.search(r"application +kind", shown)
                # An agent up to 0.2.0 says nothing of kinds.
                del status["malicious_kinds"]
                for flow in status["suspicious"]:
                    del flow["malicious_kind"]
                console = Console(file=io.StringIO(), width=140)
                console.print(screen.state(status), screen.live(status, rates.between(status, status), 10))
                shown = console.file.getvalue()
                assert f"of these {most}" not in shown and not re.search(r"application +kind", shown)

    asyncio.run(story())


def test_counts_go_on_over_connections_and_health_tells_of_a_zeek_that_is_gone(bundle, tmp_path):
    settings = tmp_path / "agent.yaml"
    address = free_address()
    settings.write_text(f"reconnect: {{first: 0.05, longest: 0.1}}\nmetrics:\n  listen: {address}\n")

    async def story():
        port = int(free_address().partition(":")[2])
        url = f"ws://127.0.0.1:{port}/v1/messages/json"
        async with Agent("-c", settings, "--url", url, "--bundle", bundle, "--id", "a1") as agent:
            for _ in range(2):
                async with FakeZeek(port=port) as zeek:
                    await zeek.next("MMTT::agent_hello")
                    await zeek.send(classify("mmtt/agent/a1", 1, flows(3)))
                    await zeek.next("MMTT::verdicts")
            while "nobody listens" not in (health := await get(address, "/health"))[1]:
                await asyncio.sleep(0.05)
            assert health[0] == 503
            found = await metrics(address)
            assert found["mmtt_agent_windows_answered_total", "ok"] == 6
            assert found["mmtt_agent_connections_total",] == 2
            assert found["mmtt_agent_zeek_connected",] == found["mmtt_agent_healthy",] == 0
            agent.process.send_signal(signal.SIGTERM)
            assert await agent.ends() == 0

    asyncio.run(story())


def test_a_port_in_use_costs_the_metrics_and_not_the_verdicts(bundle):
    async def story():
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            async with FakeZeek() as zeek:
                options = ("--url", zeek.url, "--bundle", bundle, "--id", "a1", "--metrics-listen", address)
                async with Agent(*options) as agent:
                    await agent.says(f"can't listen on {address}: Address already in use")
                    await zeek.next("MMTT::agent_hello")
                    await zeek.send(classify("mmtt/agent/a1", 1, flows(3)))
                    assert {r[2] for r in (await zeek.next("MMTT::verdicts"))[1][2]} == {"ok"}

    asyncio.run(story())


class Systemd:
    """The other end of NOTIFY_SOCKET: takes what the agent tells, as one dictionary per message."""

    def __init__(self, address: str):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.settimeout(30)

    async def next(self, key: str) -> dict[str, str]:
        """The next message with that key; others before it are dropped."""

        def receive():
            while key not in (
                told := dict(line.split("=", 1) for line in self._socket.recv(4096).decode().splitlines())
            ):
                pass
            return told

        return await asyncio.to_thread(receive)


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_systemd_is_told(bundle, tmp_path, monkeypatch, kind):
    address = str(tmp_path / "notify") if kind == "path" else f"\0mmtt-test-{tmp_path}"
    monkeypatch.setenv("NOTIFY_SOCKET", address.replace("\0", "@"))
    monkeypatch.setenv("WATCHDOG_USEC", "300000")
    systemd = Systemd(address)

    async def story():
        async with (
            FakeZeek() as zeek,
            Agent("--url", zeek.url, "--bundle", bundle, "--metrics-listen", "off") as agent,
        ):
            assert (await systemd.next("READY"))["READY"] == "1"
            for _ in range(3):
                assert (await systemd.next("WATCHDOG"))["WATCHDOG"] == "1"
            while "connected to Zeek 8.2.2" not in (await systemd.next("STATUS"))["STATUS"]:
                pass
            agent.process.send_signal(signal.SIGHUP)
            assert int((await systemd.next("RELOADING"))["MONOTONIC_USEC"]) > 0
            assert (await systemd.next("READY"))["READY"] == "1"
            agent.process.send_signal(signal.SIGTERM)
            assert (await systemd.next("STOPPING"))["STOPPING"] == "1"
            assert await agent.ends() == 0

    asyncio.run(story())


def test_a_model_that_hangs_is_not_alive():
    """Neither healthy, nor is the watchdog fed, until it comes back."""

    class Model:
        model = "slow@1"

        def __init__(self):
            self.goes_on = threading.Event()

        def classify(self, batch):
            self.goes_on.wait(30)
            return "verdicts"

    async def story():
        model = Model()
        runner = Runner(model, threads=1)
        fed = []
        watchdog = asyncio.ensure_future(feed_watchdog(lambda: fed.append(1), 0.05, lambda: runner.busy_for < 0.2))
        running = asyncio.ensure_future(runner.classify(None))
        while runner.busy_for < 0.3:
            await asyncio.sleep(0.01)
        fed.clear()
        await asyncio.sleep(0.3)
        assert fed == []
        model.goes_on.set()
        assert await running == ("verdicts", "slow@1")
        while not fed:
            await asyncio.sleep(0.01)
        watchdog.cancel()
        runner.close()

    asyncio.run(story())


def type_in(command, *arguments) -> tuple[int, str, str]:
    """Run a command as in a pipe: its status, standard output and standard error."""
    done = CliRunner().invoke(command, [str(each) for each in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done.exit_code, done.stdout, done.stderr


def test_status_top_and_reload_show_and_steer_an_agent(tmp_path):
    used, address = make_bundle(tmp_path / "bundle"), free_address()

    async def story():
        async with FakeZeek() as zeek:
            options = ("--url", zeek.url, "--bundle", used, "--id", "a1", "--metrics-listen", address)
            async with Agent(*options) as agent:
                model = (await zeek.next("MMTT::agent_hello"))[1][3]
                await zeek.send(classify("mmtt/agent/a1", 1, flows(64)))
                worst = max((await zeek.next("MMTT::verdicts"))[1][2], key=lambda record: record[8])

                code, out, _ = await asyncio.to_thread(type_in, cli.status, "--agent", address)
                found = json.loads(out)
                assert (code, found["model"], found["windows"]["answered"]["ok"]) == (0, model, 64)
                code, out, _ = await asyncio.to_thread(type_in, cli.status, "--agent", address, "--format", "table")
                assert code == 0 and model in out and "64 with a verdict" in out

                watching = asyncio.create_task(
                    asyncio.to_thread(type_in, cli.top, "--agent", address, "-n", 2, "--interval", 0.5)
                )
                while not watching.done():
                    await zeek.send(classify("mmtt/agent/a1", 2, flows(8)))
                    await zeek.next("MMTT::verdicts")
                    await asyncio.sleep(0.01)
                code, out, _ = await watching
                header, *lines = (line.split("\t") for line in out.splitlines())
                assert (code, len(lines)) == (0, 2)
                assert all(float(dict(zip(header, line, strict=True))["ok"]) > 0 for line in lines)

                # What a terminal shows is made of the same status.
                later = found | {"now": found["now"] + 1, "malicious": found["malicious"] + 5}
                console = Console(file=io.StringIO(), width=140)
                console.print(screen.live(later, rates.between(found, later), 3))
                shown = console.file.getvalue()
                assert worst[0] in shown and f"{worst[8]:.3f}" in shown and "malicious 5.0/s" in shown

                make_bundle(used, name="tiny-2")
                code, out, _ = await asyncio.to_thread(type_in, cli.reload_, "--agent", address)
                assert code == 0 and out.startswith("reloaded: model tiny-2@")
                with subprocess.Popen(["sleep", "60"]) as stranger:
                    for where, says in (
                        (address, "is not the agent that answers"),
                        ("off", "is no mmtt agent but 'sleep"),
                    ):
                        told = "--agent", where, "--pid", stranger.pid
                        code, _, said = await asyncio.to_thread(type_in, cli.reload_, *told)
                        assert code == 1 and f"process {stranger.pid} {says}" in said and len(said.splitlines()) == 1
                    assert stranger.poll() is None
                    stranger.kill()
                code, out, _ = await asyncio.to_thread(
                    type_in, cli.reload_, "--agent", address, "--pid", agent.process.pid
                )
                assert code == 0 and out.startswith("reloaded: model tiny-2@")
                code, out, _ = await asyncio.to_thread(
                    type_in, cli.reload_, "--agent", "off", "--pid", agent.process.pid
                )
                assert (code, out) == (
                    0,
                    f"process {agent.process.pid} has been told; its log says what has come of it\n",
                )
                await agent.says("(?s)(reloaded: .*){3}")
                for command, status, begins in (
                    ("reload", 3, "Error: reloaded: model tiny-2@"),
                    ("status", 3, "Error: standard output: No space"),
                ):
                    done = await asyncio.to_thread(mmtt, command, "--agent", address, shell=">/dev/full")
                    assert done.returncode == status and done.stderr.startswith(begins)
                    assert done.stderr.endswith("standard output: No space left on device\n")
                (used / "model.onnx").write_bytes(b"")
                code, _, said = await asyncio.to_thread(type_in, cli.reload_, "--agent", address)
                assert code == 1 and "model tiny-2@" in said and "SHA-256" in said
                assert len(said.splitlines()) == 1

                await zeek.agent.close()
                while (code := (await asyncio.to_thread(type_in, cli.status, "--agent", address))[0]) == 0:
                    pass
                assert code == 1
                await agent.says("Zeek closed the connection")

    asyncio.run(story())


def test_with_no_agent_one_line_says_what_to_type():
    address = free_address()
    for command in (cli.status, cli.top, cli.reload_):
        code, _, said = type_in(command, "--agent", address)
        assert (code, len(said.splitlines())) == (2, 1)
        assert f"no agent answers at {address}: Connection refused; type `systemctl start mmtt-agent`" in said


@pytest.mark.parametrize("command", [cli.status, cli.top, cli.reload_], ids=lambda command: command.name)
def test_an_address_that_cant_be_is_told_by_the_option_that_gave_it(command):
    code, _, said = type_in(command, "--agent", "nonsense")
    assert (code, said) == (2, "Error: --agent must be HOST:PORT, not 'nonsense'\n")


@pytest.mark.parametrize(
    ("line", "it_is"),
    [
        (["/usr/local/bin/mmtt", "agent"], True),
        (["/opt/mmtt/bin/python3", "/opt/mmtt/bin/mmtt", "agent", "-c", "x.yaml"], True),
        ([*PROGRAM, "--offline"], True),
        (["/usr/bin/python3", "/opt/mmtt/bin/mmtt", "status", "--agent", "x"], False),
        (["vi", "mmtt", "agent"], False),
        (["python3", "other", "agent"], False),
        (["ssh-agent"], False),
        ([], False),
    ],
)
def test_which_processes_are_agents(line, it_is):
    assert reload._is_agent(line) == it_is


def test_a_process_that_is_gone_or_not_ready_is_not_told():
    with subprocess.Popen(["sleep", "0"]) as gone:
        gone.wait()
    code, _, said = type_in(cli.reload_, "--agent", "off", "--pid", gone.pid)
    assert code == 1 and f"there is no process {gone.pid} here" in said
    waits = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)", "mmtt", "agent"]
    with subprocess.Popen(waits, stdout=subprocess.PIPE) as starting:
        starting.stdout.readline()
        code, _, said = type_in(cli.reload_, "--agent", "off", "--pid", starting.pid)
        assert code == 1 and "not ready yet" in said and starting.poll() is None
        starting.kill()


def test_an_agent_that_has_been_restarted_has_no_negative_rates():
    before = {"started": 10.0, "now": 100.0, "malicious": 9, "services": {"web": 90}, "applications": {}}
    before["windows"] = {"received": 90, "answered": {"ok": 90, "shed": 0, "error": 0}}
    after = {"started": 98.0, "now": 100.0, "malicious": 1, "services": {"chat": 4}, "applications": {"A": 2}}
    after["windows"] = {"received": 6, "answered": {"ok": 4, "shed": 2, "error": 0}}
    found = rates.between(before, after)
    assert (found.received, found.ok, found.shed, found.malicious) == (3, 2, 1, 0.5)
    assert (found.services, found.applications) == ({"chat": 2}, {"A": 1})


def doctor(*arguments) -> tuple[int, dict[str, tuple[str, str]]]:
    """Its status, and per check the state and the text with what to type."""
    code, out, _ = type_in(cli.doctor, *arguments)
    found, what = {}, ""
    for line in out.splitlines():
        state, _, rest = line.partition(" ")
        if state:
            what, _, text = rest.strip().partition(" ")
            found[what] = state, text.strip()
        else:
            found[what] = found[what][0], f"{found[what][1]} {line.strip()}"
    return code, found


def test_doctor_names_what_is_wrong_and_what_to_type(tmp_path):
    used, zeek = make_bundle(tmp_path / "bundle"), tmp_path / "zeek"
    zeek.write_text("#!/bin/sh\necho zeek version 7.0.5\n")
    zeek.chmod(0o755)
    settings = tmp_path / "agent.yaml"
    port, address = free_address(), free_address()
    settings.write_text(f"url: ws://{port}/v1/messages/json\nbundle: {used}\nmetrics:\n  listen: {address}\n")
    code, found = doctor("-c", settings, "--zeek", zeek)
    assert code == 1
    assert found["libraries"][0] == found["settings"][0] == found["bundle"][0] == found["files"][0] == "ok"
    assert "tiny-1@" in found["bundle"][1] and "checksum right" in found["bundle"][1]
    assert found["zeek"][0] == "problem" and "7.0.5" in found["zeek"][1] and "needs 8.0" in found["zeek"][1]
    assert found["port"][0] == "problem" and f"{port}/v1/messages/json: nobody listens" in found["port"][1]
    assert found["agent"][0] == "problem" and "type: systemctl start mmtt-agent" in found["agent"][1]
    (used / "model.onnx").write_bytes(b"half")
    used.chmod(0o777)
    code, found = doctor("-c", settings, "--zeek", tmp_path / "absent")
    assert found["bundle"][0] == "problem" and "SHA-256" in found["bundle"][1]
    assert found["files"] == ("problem", f"{used} can be changed by everybody type: chmod o-w {used}")
    assert found["zeek"][0] == "problem" and "absent" in found["zeek"][1]
    settings.write_text("thread: 2\n")
    code, found = doctor("-c", settings, "--zeek", zeek)
    assert code == 1 and f"{settings}:1: unknown key 'thread'" in found["settings"][1] and "port" not in found


def test_doctor_finds_nothing_wrong_with_an_agent_that_serves(bundle, tmp_path):
    settings = tmp_path / "agent.yaml"

    async def story():
        async with FakeZeek() as zeek:
            address = free_address()
            settings.write_text(f"id: a1\nurl: {zeek.url}\nbundle: {bundle}\nmetrics:\n  listen: {address}\n")
            async with Agent("-c", settings):
                await zeek.next("MMTT::agent_hello")
                _, found = await asyncio.to_thread(doctor, "-c", settings, "--zeek", "/absent")
                assert found["agent"][0] == found["port"][0] == "ok"
                assert "Zeek 8.2.2 answers" in found["port"][1] and "a1 with tiny-1@" in found["agent"][1]

    asyncio.run(story())


def test_the_dashboard_asks_for_metrics_that_there_are(bundle):
    """Of the agent's, as it tells them; of Zeek's, as the package registers them; of `mmtt sniff`, as
    they are named."""
    done = subprocess.run([*PROGRAM, "--print", "dashboard"], capture_output=True, text=True, check=True)
    dashboard = json.loads(done.stdout)
    asked = {
        name: expression
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for expression in [target["expr"]]
        for name in re.findall(r"\b(?:mmtt|process)_\w+", expression)
    }
    assert len(asked) > 15
    script = (ZEEK_SCRIPTS / "telemetry.zeek").read_text()
    zeeks = {
        f"mmtt_{name}{'_total' * (kind == 'counter')}"
        for kind, name in re.findall(r'register_(counter|gauge)_family\([^;]*?\$name="(\w+)"', script)
    }
    assert {"mmtt_windows_total", "mmtt_agents"} <= zeeks

    async def story():
        address = free_address()
        async with FakeZeek() as zeek:
            agent = Agent("--url", zeek.url, "--bundle", bundle, "--id", "a1", "--metrics-listen", address)
            async with agent:
                await zeek.next("MMTT::agent_hello")
                await zeek.send(classify("mmtt/agent/a1", 1, flows(8)))
                await zeek.next("MMTT::verdicts")
                return {name for name, *_ in await metrics(address)}

    sniffs = {name for name in all_metrics() if re.match("mmtt_agent_(packets|flows)", name)}
    assert asked.keys() - zeeks - sniffs - asyncio.run(story()) == set()
    # No two panels lie on each other.
    places = [
        (x, y)
        for panel in dashboard["panels"]
        for at in [panel["gridPos"]]
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(places) == len(set(places)) and max(x for x, _ in places) == 23
