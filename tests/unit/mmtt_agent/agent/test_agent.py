"""The `mmtt agent` program against a server that speaks like Zeek: what it answers, and how it begins and ends."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from agent_program import PROGRAM, Agent, run
from fake_zeek import FakeZeek, classify, flow, flows
from places import DATA
from tiny_bundle import make_bundle, network, with_incidents


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundle"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_from_hello_to_goodbye(bundle):
    async def story():
        async with FakeZeek() as zeek, Agent("--url", zeek.url, "--bundle", bundle, "--id", "a1") as agent:
            assert await asyncio.wait_for(zeek.subscriptions.get(), 20) == ["mmtt/agent/a1", "mmtt/agents"]
            topic, (protocol, name, reply, model, credit) = await zeek.next("MMTT::agent_hello")
            assert (topic, protocol, name, reply, credit) == ("mmtt/sensor", 3, "a1", "mmtt/agent/a1", 4096)
            assert re.fullmatch(r"tiny-1@[0-9a-f]{8}", model)
            for number in range(5):
                await zeek.send(classify("mmtt/agent/a1", number, flows(64, number)))
            for number in range(5):
                topic, (protocol, batch_id, records) = await zeek.next("MMTT::verdicts")
                assert (topic, protocol, batch_id) == ("mmtt/node/zeek", 3, number)
                assert [r[0] for r in records] == [f"C{number:05d}{i:012d}" for i in range(64)]
                assert {r[2] for r in records} == {"ok"}
            assert (await zeek.next("MMTT::tick"))[1] == [3, "a1"]
            agent.process.send_signal(signal.SIGTERM)
            assert (await zeek.next("MMTT::agent_bye"))[1] == [3, "a1"]
            assert await agent.ends() == 0
            assert await zeek.closed.get() == 1000
            assert "320 flows answered ok" in agent.log

    asyncio.run(story())


def test_stopped_in_the_middle_everything_in_hand_is_answered(bundle):
    async def story():
        async with FakeZeek() as zeek, Agent("--url", zeek.url, "--bundle", bundle, "--id", "a1") as agent:
            await zeek.next("MMTT::agent_hello")
            for number in range(60):
                await zeek.send(classify("mmtt/agent/a1", number, flows(64)))
            await zeek.next("MMTT::verdicts")
            agent.process.send_signal(signal.SIGTERM)
            assert await agent.ends() == 0
            answered, last = {0}, None
            while not zeek.events.empty():
                _, last, arguments = zeek.events.get_nowait()
                if last == "MMTT::verdicts":
                    answered.add(arguments[1])
                    assert len(arguments[2]) == 64
            assert last == "MMTT::agent_bye"
            # What was read is answered; what still lay in the socket was never in hand.
            assert answered == set(range(len(answered)))

    asyncio.run(story())


def test_zeek_goes_away_and_comes_back(bundle, tmp_path):
    config = tmp_path / "agent.yaml"
    config.write_text("reconnect: {first: 0.05, longest: 0.1}\n")

    async def story():
        port = free_port()
        url = f"ws://127.0.0.1:{port}/v1/messages/json"
        async with Agent("-c", config, "--url", url, "--bundle", bundle, "--id", "a1") as agent:
            await agent.says("nobody listens there")
            for _ in range(2):
                async with FakeZeek(port=port) as zeek:
                    await zeek.next("MMTT::agent_hello")
                    await zeek.send(classify("mmtt/agent/a1", 1, flows(3)))
                    assert {r[2] for r in (await zeek.next("MMTT::verdicts"))[1][2]} == {"ok"}
            await agent.says("Zeek closed the connection")
            agent.process.send_signal(signal.SIGINT)
            assert await agent.ends() == 0

    asyncio.run(story())


def test_exit_with_zeek(bundle):
    async def story():
        async with FakeZeek() as zeek:
            agent = Agent("--offline", "--exit-with-zeek", "--url", zeek.url, "--bundle", bundle)
            async with agent:
                hello = (await zeek.next("MMTT::agent_hello"))[1]
                await zeek.send(classify(hello[2], 1, flows(3)))
                await zeek.next("MMTT::verdicts")
                await zeek.agent.close(1001, "Terminating")
                assert await agent.ends() == 0

    asyncio.run(story())


def test_exit_with_zeek_that_dies(bundle):
    async def story():
        async with (
            FakeZeek() as zeek,
            Agent("--exit-with-zeek", "--url", zeek.url, "--bundle", bundle) as agent,
        ):
            await zeek.next("MMTT::agent_hello")
            zeek.agent.transport.abort()
            assert await agent.ends() == 0

    asyncio.run(story())


@pytest.fixture
def impatient(tmp_path) -> Path:
    path = tmp_path / "agent.yaml"
    path.write_text("connect_timeout: 0.5\n")
    return path


def test_nobody_listens(bundle, impatient):
    port = free_port()
    status, lines = run("-c", impatient, "--exit-with-zeek", "--bundle", bundle, "--url", f"ws://127.0.0.1:{port}/")
    assert status == 1
    assert lines[-1] == f"Error: can't connect to ws://127.0.0.1:{port}/: nobody listens there (connection refused)"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "HTTP status 404"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not answer like Zeek's WebSocket API"),
        (b"", "does not answer like Zeek's WebSocket API"),
        (None, "no answer from .* in 0.5 s"),
    ],
)
def test_the_port_is_held_by_another_program(bundle, impatient, answer, says):
    async def serve(reader, writer):
        if answer is None:
            await asyncio.sleep(60)
        writer.write(answer)
        writer.close()

    async def story():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with Agent("-c", impatient, "--exit-with-zeek", "--bundle", bundle, "--url", url) as agent:
            assert await agent.ends() == 1
            assert re.search(says, agent.log.splitlines()[-1])
            assert len([line for line in agent.log.splitlines() if "Error" in line]) == 1

    asyncio.run(story())


def test_a_websocket_that_is_no_zeek(bundle, impatient):
    async def story():
        async with FakeZeek(acknowledge=False) as zeek:
            agent = Agent("-c", impatient, "--exit-with-zeek", "--bundle", bundle, "--url", zeek.url)
            async with agent:
                # The other side waits for more; here it goes on to wait for a message that never comes.
                assert await agent.ends() == 1
                assert "no acknowledgement in 0.5 s" in agent.log

    asyncio.run(story())


def test_offline_a_zeek_that_stands_still_before_it_answers_is_waited_for(bundle, impatient):
    """Its capture may be a pipe that pauses: then Zeek's loop waits for that."""

    async def story():
        async with FakeZeek(acknowledge=False) as zeek:
            options = ("-c", impatient, "--offline", "--exit-with-zeek", "--bundle", bundle, "--url", zeek.url)
            async with Agent(*options, "--id", "a1"):
                await asyncio.wait_for(zeek.subscriptions.get(), 20)
                await asyncio.sleep(1)  # the settings say 0.5 s
                await zeek.send(json.dumps({"type": "ack", "endpoint": "late", "version": "8.2.2"}))
                assert (await zeek.next("MMTT::agent_hello"))[1][1] == "a1"

    asyncio.run(story())


def test_zeeks_package_is_told_whether_the_capture_can_be_read_to_its_end(bundle, tmp_path):
    async def story():
        async with FakeZeek() as zeek:
            for size, said in ((-1, "whole"), (-5, "breaks off after 17")):
                capture = tmp_path / "a capture"
                capture.write_bytes((DATA / "lab.pcap").read_bytes()[: size if size < -1 else None])
                process = await asyncio.create_subprocess_exec(
                    *PROGRAM,
                    *("--offline", "--exit-with-zeek", "--url", zeek.url, "--bundle", str(bundle)),
                    env=os.environ | {"MMTT_CAPTURE": str(capture)},
                    stdout=subprocess.PIPE,
                )
                await zeek.next("MMTT::agent_hello")
                lines = [await asyncio.wait_for(process.stdout.readline(), 20) for _ in range(2)]
                assert lines[0] == b"mmtt: capture is read\n" and lines[1].startswith(f"mmtt: capture {said}".encode())
                process.terminate()
                await process.wait()

    asyncio.run(story())


def test_names_that_no_host_can_have_are_settings_that_cant_be():
    for option, value in (("--url", f"ws://{'a' * 70}:1/"), ("--metrics-listen", f"{'a' * 70}:1")):
        status, lines = run(option, value)
        assert status == 2 and len(lines) == 1 and f"{option} must be" in lines[0]


def test_messages_that_are_not_what_they_should_be(bundle):
    async def story():
        async with FakeZeek() as zeek, Agent("--url", zeek.url, "--bundle", bundle, "--id", "a1") as agent:
            await zeek.next("MMTT::agent_hello")
            await zeek.send("nonsense")
            await zeek.send(b"\xff\xfe")
            await zeek.send("[" * 500_000)
            await zeek.send(classify("mmtt/agent/a1", 5, flows(3), protocol=99))
            await zeek.send(classify("mmtt/agent/a1", 6, [flow("C1"), "nonsense", flow("C3")]))
            _, (_, batch_id, records) = await zeek.next("MMTT::verdicts")
            assert batch_id == 6 and [r[2] for r in records] == ["ok", "error", "ok"]
            await agent.says("Zeek's package speaks protocol 99, this agent speaks 3")
            await agent.says("flow 1 of a batch is answered as an error: flow is not JSON")
            await agent.says("Zeek's message is refused: message is not JSON")

    asyncio.run(story())


def test_a_message_past_the_bound_ends_the_connection_and_not_the_agent(bundle, tmp_path):
    config = tmp_path / "agent.yaml"
    config.write_text("reconnect: {first: 0.05, longest: 0.1}\n")

    async def story():
        async with FakeZeek() as zeek, Agent("-c", config, "--url", zeek.url, "--bundle", bundle) as agent:
            await zeek.next("MMTT::agent_hello")
            await zeek.send("x" * (1 << 21))
            await agent.says("Zeek sent a message of more than 1048576 bytes")
            await zeek.next("MMTT::agent_hello")

    asyncio.run(story())


def test_a_zeek_that_takes_nothing_for_a_while_loses_nothing(bundle):
    """Zeek stalls a client whose queue is full: both directions fill up, and then all of it must come through."""

    async def story():
        async with FakeZeek() as zeek, Agent("--url", zeek.url, "--bundle", bundle, "--id", "a1") as agent:
            await zeek.next("MMTT::agent_hello")
            zeek.agent.transport.pause_reading()
            made = flows(64)

            async def send():
                for number in range(800):
                    await zeek.send(classify("mmtt/agent/a1", number, made, f"mmtt/node/n{number % 100}"))

            sending = asyncio.ensure_future(send())
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.shield(sending), 2)
            zeek.agent.transport.resume_reading()
            await sending
            answered = [(await zeek.next("MMTT::verdicts"))[1] for _ in range(800)]
            assert [arguments[1] for arguments in answered] == list(range(800)) or sorted(
                arguments[1] for arguments in answered
            ) == list(range(800))
            assert agent.process.returncode is None

    asyncio.run(story())


def test_several_threads(bundle):
    async def story():
        async with FakeZeek() as zeek:
            agent = Agent("--url", zeek.url, "--bundle", bundle, "--id", "a1", "--threads", 3)
            async with agent:
                await zeek.next("MMTT::agent_hello")
                for number in range(50):
                    await zeek.send(classify("mmtt/agent/a1", number, flows(64)))
                answered = [(await zeek.next("MMTT::verdicts"))[1] for _ in range(50)]
                assert sorted(arguments[1] for arguments in answered) == list(range(50))
                assert len({json.dumps(arguments[2]) for arguments in answered}) == 1

    asyncio.run(story())


def test_another_bundle_is_loaded_and_no_flow_is_lost(tmp_path):
    first = make_bundle(tmp_path / "first")
    second = make_bundle(tmp_path / "second", network(scale=3.0), name="tiny-2")
    settings = tmp_path / "agent.yaml"
    settings.write_text(f"id: a1\nbundle: {first}\n")

    async def story():
        async with FakeZeek() as zeek, Agent("-c", settings, "--url", zeek.url) as agent:
            told, by_model = (await zeek.next("MMTT::agent_hello"))[1][3], {}

            async def send():
                for number in range(300):
                    await zeek.send(classify("mmtt/agent/a1", number, flows(8), f"mmtt/node/n{number % 30}"))
                    await asyncio.sleep(0.01)
                    if number == 50:
                        settings.write_text(f"id: a1\nthreads: 2\nbundle: {second}\n")
                        agent.process.send_signal(signal.SIGHUP)
                await agent.says("reloaded")
                for number in range(300, 320):
                    await zeek.send(classify("mmtt/agent/a1", number, flows(8)))

            sending = asyncio.ensure_future(send())
            answered = 0
            while answered < 320:
                _, name, arguments = await asyncio.wait_for(zeek.events.get(), 30)
                if name == "MMTT::agent_hello":
                    told = arguments[3]
                elif name == "MMTT::verdicts":
                    answered += 1
                    assert {r[2] for r in arguments[2]} == {"ok"}
                    by_model.setdefault(told, set()).add(json.dumps([r[3:] for r in arguments[2]]))
            await sending
            # The same flows all along: each model has one answer to them, under its own name.
            assert [name.split("@")[0] for name in by_model] == ["tiny-1", "tiny-2"]
            assert [len(answers) for answers in by_model.values()] == [1, 1]
            assert len(set.union(*by_model.values())) == 2
            await agent.says("restart the agent for threads\n")

    asyncio.run(story())


def test_a_bundle_that_cannot_be_used_leaves_the_old_one(tmp_path):
    used = make_bundle(tmp_path / "bundle")

    async def story():
        async with FakeZeek() as zeek, Agent("--url", zeek.url, "--bundle", used, "--id", "a1") as agent:
            model = (await zeek.next("MMTT::agent_hello"))[1][3]
            (used / "model.onnx").write_bytes(b"half of it")
            agent.process.send_signal(signal.SIGHUP)
            await agent.says(
                f"not reloaded, model {model} goes on: .*model.onnx: SHA-256 is .*install the bundle again"
            )
            await zeek.send(classify("mmtt/agent/a1", 1, flows(3)))
            assert {r[2] for r in (await zeek.next("MMTT::verdicts"))[1][2]} == {"ok"}
            make_bundle(used)
            agent.process.send_signal(signal.SIGHUP)
            await agent.says(f": reloaded: model {model} instead of {model}")

    asyncio.run(story())


def test_thresholds_of_a_sites_own_are_taken_at_a_reload(tmp_path):
    made = make_bundle(tmp_path / "bundle", **with_incidents())
    settings = tmp_path / "agent.yaml"
    settings.write_text("id: a1\nthresholds: {malicious: 0, incidents: {pair: 0.9}}\n")

    async def story():
        async with FakeZeek() as zeek, Agent("-c", settings, "--url", zeek.url, "--bundle", made) as agent:
            await zeek.next("MMTT::agent_hello")

            async def are_malicious(number: int) -> set[bool]:
                await zeek.send(classify("mmtt/agent/a1", number, flows(8)))
                return {row[7] for row in (await zeek.next("MMTT::verdicts"))[1][2]}

            assert await are_malicious(1) == {True}
            settings.write_text("id: a1\nthresholds: {malicious: 1}\n")
            agent.process.send_signal(signal.SIGHUP)
            await agent.says("reloaded")
            assert await are_malicious(2) == {False}
            settings.write_text("id: a1\nthresholds: {malicious: {wbe: 1}}\n")
            agent.process.send_signal(signal.SIGHUP)
            await agent.says("not reloaded, .*knows no service 'wbe', which there is a threshold for")
            assert await are_malicious(3) == {False}
            assert "restart the agent" not in agent.log and "begins anew" not in agent.log

    asyncio.run(story())


def test_the_log_as_json(bundle):
    async def story():
        async with FakeZeek() as zeek:
            async with Agent("--url", zeek.url, "--bundle", bundle, "--log-format", "json", "--id", "a1") as agent:
                await zeek.next("MMTT::agent_hello")
                await zeek.send(classify("mmtt/agent/a1", 1, flows(3)))
                await zeek.next("MMTT::verdicts")
                agent.process.send_signal(signal.SIGTERM)
                await agent.ends()
            lines = [json.loads(line) for line in agent.log.splitlines()]
            assert all({"ts", "level", "message"} <= line.keys() for line in lines)
            assert lines[-1]["counts"]["flows_answered_ok"] == 3

    asyncio.run(story())


def test_wrong_settings_and_bundles_end_with_status_2_and_one_line(bundle, tmp_path):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("threads: 1\nthread: 2\n")
    assert run("-c", wrong)[0] == 2
    (line,) = run("-c", wrong)[1]
    assert line.startswith(f"Error: {wrong}:2: unknown key 'thread'; known are url, id, bundle, ")
    status, lines = run("--bundle", tmp_path / "absent")
    assert status == 2 and len(lines) == 1 and "absent" in lines[0]
    (make_bundle(tmp_path / "damaged") / "model.onnx").write_bytes(b"")
    status, lines = run("--bundle", tmp_path / "damaged")
    assert status == 2 and len(lines) == 1 and "SHA-256" in lines[0]
    assert run("--threads", "0", "--bundle", bundle)[0] == 2
    wrong.write_text("thresholds: {incidents: {originator: 0.9}}\n")
    made = make_bundle(tmp_path / "incidents", **with_incidents())
    line = f"Error: thresholds.incidents: {made} judges pair, not originator"
    assert run("-c", wrong, "--bundle", made) == (2, [line])


_UNITS = {"unit": "mmtt-agent.service", "learn-unit": "mmtt-learn.service", "learn-timer": "mmtt-learn.timer"}


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze")
@pytest.mark.parametrize("names", [["unit"], ["learn-unit", "learn-timer"]])
def test_the_printed_units_are_some(tmp_path, names):
    for name in names:
        # Programs that exist: the printed one is wherever this program was started from.
        printed = subprocess.run([*PROGRAM, "--print", name], capture_output=True, text=True, check=True).stdout
        unit = tmp_path / _UNITS[name]
        unit.write_text(re.sub(r"(?m)^(Exec\w+)=(\+?)\S+", rf"\1=\2{sys.executable}", printed))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and str(tmp_path) not in done.stderr
    unit = next(tmp_path.glob("*.service"))
    # Tenths of systemd's exposure level: 20 is its word "OK", most services are at 90.
    rate = ["systemd-analyze", "security", "--offline=yes", "--threshold=20", unit]
    assert subprocess.run(rate, capture_output=True, text=True, check=False).returncode == 0


def test_the_printed_settings_are_taken(tmp_path):
    printed = tmp_path / "agent.yaml"
    printed.write_text(
        subprocess.run([*PROGRAM, "--print", "config"], capture_output=True, text=True, check=True).stdout
    )
    status, lines = run("-c", printed, "--bundle", tmp_path / "absent")
    assert status == 2 and len(lines) == 1 and "absent" in lines[0]
