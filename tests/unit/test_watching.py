"""Who watches the agent: its metrics, health and status by HTTP, what systemd hears, and the commands that show it."""

import asyncio
import json
import signal
import socket
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from agent_program import Agent
from fake_zeek import FakeZeek, classify, flow, flows
from prometheus_client.parser import text_string_to_metric_families
from tiny_bundle import make_bundle

from mmtt_agent import __version__
from mmtt_agent.agent.runner import Runner
from mmtt_agent.agent.systemd import feed_watchdog


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


def test_what_is_done_is_counted(bundle):
    async def story():
        address = free_address()
        async with FakeZeek() as zeek:
            agent = Agent("--url", zeek.url, "--bundle", bundle, "--id", "a1", "--metrics-listen", address)
            async with agent:
                model = (await zeek.next("MMTT::agent_hello"))[1][3]
                records = []
                for number in range(3):
                    await zeek.send(
                        classify("mmtt/agent/a1", number, flows(50, number), f"mmtt/node/n{number % 2}")
                    )
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
            assert found["mmtt_agent_connections_total",] >= 2
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
        watchdog = asyncio.ensure_future(
            feed_watchdog(lambda: fed.append(1), 0.05, lambda: runner.busy_for < 0.2)
        )
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
