"""The `mmtt agent` program that remembers its windows: what it records, and what it does where it can't."""

import asyncio
import json
import os
import re
import signal
import socket
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

import pyarrow.parquet
from agent_program import Agent, run
from fake_zeek import FakeZeek, classify, flow, flows
from rich.console import Console
from tiny_bundle import make_bundle, network, with_incidents

from mmtt_agent.record import parts, read
from mmtt_agent.watch import screen


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundle"), network(embedding=16))


@pytest.fixture
def memory(tmp_path) -> Path:
    return tmp_path / "windows"


@pytest.fixture
def config(tmp_path, memory) -> Path:
    path = tmp_path / "agent.yaml"
    path.write_text(f"record: {{directory: {memory}}}\nstop_timeout: 5\n")
    return path


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def nothing(line: str) -> None:
    raise AssertionError(line)


def test_every_verdict_is_remembered_with_the_scores_that_zeek_was_told(bundle, memory, config):
    told = []

    async def story():
        async with (
            FakeZeek() as zeek,
            Agent("-c", config, "--url", zeek.url, "--bundle", bundle, "--id", "a1") as agent,
        ):
            model = (await zeek.next("MMTT::agent_hello"))[1][3]
            wrong = flow("Cwrong", sizes=[1, 2])
            for number in range(5):
                await zeek.send(classify("mmtt/agent/a1", number, [*flows(50, number), wrong, flow(f"Cx{number}", 3)]))
            for _ in range(5):
                for uid, window, status, *said in (await zeek.next("MMTT::verdicts"))[1][2]:
                    assert status == ("error" if uid == "Cwrong" else "ok")
                    if status == "ok":
                        told.append((uid, window, *said, model))
            agent.process.send_signal(signal.SIGTERM)
            assert await agent.ends() == 0
            assert "255 windows recorded, 0 not" in agent.log

    asyncio.run(story())
    found = read(memory, nothing)
    columns = (
        found.uid, found.window, found.service, found.service_score, found.application, found.application_score,
        found.malicious, found.malicious_score, found.malicious_kind, found.incident, found.model,
    )  # fmt: skip
    remembered = sorted(zip(*(column.tolist() for column in columns), strict=True))
    for ours, theirs in zip(remembered, sorted(told), strict=True):
        for mine, other in zip(ours, theirs, strict=True):
            assert mine == (pytest.approx(other, abs=1e-6) if isinstance(other, float) else other)
    assert found.embedding.shape == (255, 16) and found.embedded.all()
    assert len(set(found.embedding[:, 0].tolist())) > 100
    assert {part.path.name for part in parts(memory)} == {"22-a1-0.parquet"}


def test_nothing_recorded_says_who_has_spoken_with_whom(tmp_path, memory, config):
    bundle = make_bundle(tmp_path / "b", **with_incidents())

    async def story():
        async with (
            FakeZeek() as zeek,
            Agent("-c", config, "--url", zeek.url, "--bundle", bundle, "--id", "a1", "--offline") as agent,
        ):
            await zeek.next("MMTT::agent_hello")
            whose = {"orig": "5e7asecretorig", "resp": "5e7asecretresp", "resp_p": "31337/tcp"}
            for number in range(2):
                mine = [flow(f"C{number}{n}", ts=1_700_000_000 + 600 * number, **whose) for n in range(32)]
                await zeek.send(classify("mmtt/agent/a1", number, mine))
                records = (await zeek.next("MMTT::verdicts"))[1][2]
            assert all(record[-1] for record in records)  # the first have made an incident of it
            agent.process.send_signal(signal.SIGTERM)
            assert await agent.ends() == 0
            # It has no embeddings, either.
            assert (
                "the network gives no embeddings, as those of mmtt 0.6.0 and later do: windows are recorded"
                in agent.log
            )

    asyncio.run(story())
    (part,) = parts(memory)
    everything = part.path.read_bytes() + repr(pyarrow.parquet.read_table(part.path).to_pylist()).encode()
    assert b"'C131'" in everything
    for who in (b"5e7a", b"secret", b"31337"):
        assert who not in everything
    found = read(memory, nothing)
    assert any(found.incident) and found.embedding.shape == (64, 0) and not found.embedded.any()


def test_a_memory_that_fails_costs_no_verdict_and_is_shown(bundle, memory, config):
    address = free_address()
    memory.mkdir()
    in_the_way = memory / "2023-11-14"  # where the windows of these flows would lie
    in_the_way.write_text("")

    def get(path: str) -> str:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
            return answer.read().decode()

    async def story():
        options = "-c", config, "--bundle", bundle, "--id", "a1", "--metrics-listen", address
        async with FakeZeek() as zeek, Agent("--url", zeek.url, *options) as agent:
            await zeek.next("MMTT::agent_hello")
            for number in range(400):  # more than a part, so that it is written
                await zeek.send(classify("mmtt/agent/a1", number, flows(64, number, packets=4)))
                if number % 50 == 49:
                    for _ in range(50):
                        assert {r[2] for r in (await zeek.next("MMTT::verdicts"))[1][2]} == {"ok"}
            await agent.says(
                r"error: .*/windows: \d+ windows are not recorded, nor others until this is mended: File exists"
            )
            status = json.loads(await asyncio.to_thread(get, "/status"))
            assert status["healthy"] and status["windows"]["answered"]["ok"] == 25_600
            record = status["record"]
            assert record["problem"] == "File exists" and record["problems"] >= 1 and record["dropped"] >= 16_384
            assert record["directory"] == str(memory) and record["dropped"] + record["waiting"] == 25_600
            counted = await asyncio.to_thread(get, "/metrics")
            assert f"mmtt_agent_windows_not_recorded_total {float(record['dropped'])}\n" in counted
            assert "mmtt_agent_windows_recorded_total 0.0\n" in counted
            console = Console(width=200)
            with console.capture() as shown:
                console.print(screen.state(status))
            assert re.search(r"recorded +0 windows in .*/windows, .* could not be; the latest were not: File exists",
                             shown.get())  # fmt: skip
            in_the_way.unlink()
            agent.process.send_signal(signal.SIGTERM)
            assert await agent.ends() == 0
            assert agent.log.count("are not recorded, nor others") == 1
            assert f"windows are recorded again; {record['dropped']} were not" in agent.log

    asyncio.run(story())
    assert 0 < len(read(memory, nothing)) < 25_600


def test_without_a_memory_there_are_zeros(bundle):
    address = free_address()

    async def story():
        async with FakeZeek() as zeek, Agent("--url", zeek.url, "--bundle", bundle, "--metrics-listen", address):
            await zeek.next("MMTT::agent_hello")

            def ask() -> str:
                with urllib.request.urlopen(f"http://{address}/status", timeout=10) as answer:
                    return answer.read().decode()

            record = json.loads(await asyncio.to_thread(ask))["record"]
            assert record.pop("directory") is None and not any(record.values())

    asyncio.run(story())


def test_a_reload_does_not_take_another_memory_and_says_so(bundle, config, memory):
    async def story():
        async with FakeZeek() as zeek, Agent("-c", config, "--url", zeek.url, "--bundle", bundle) as agent:
            await zeek.next("MMTT::agent_hello")
            config.write_text("record: {keep_days: 3}\nstop_timeout: 5\n")
            agent.process.send_signal(signal.SIGHUP)
            await agent.says("a reload does not take these: restart the agent for record")

    asyncio.run(story())


def test_what_cant_be_recorded_to_is_said_before_it_serves(bundle, config, memory):
    memory.write_text("a file")
    status, lines = run("-c", config, "--bundle", bundle)
    assert status == 2 and len(lines) == 1
    assert lines[0].startswith(f"Error: record.directory: {memory}: windows can't be recorded there: File exists; let")


def test_without_pyarrow_it_says_what_to_type(bundle, config, memory, tmp_path, monkeypatch):
    (tmp_path / "pyarrow.py").write_text("raise ImportError\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    status, lines = run("-c", config, "--bundle", bundle)
    assert status == 2 and len(lines) == 1 and lines[0].endswith("; type: pip install 'mmtt[learn]'")
    assert not memory.exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("record: {keep_days: 0}", "record.keep_days must be an integer from 1 to 36500, not '0'"),
        ("record: {keep_bytes: 10 GB}", "record.keep_bytes must be an integer from 1000000 to"),
        ("record: {keep: 3}", "unknown key 'record.keep'; known are directory, keep_days, keep_bytes"),
    ],
)
def test_wrong_settings_are_refused(tmp_path, text, says):
    (tmp_path / "agent.yaml").write_text(text + "\n")
    status, lines = run("-c", tmp_path / "agent.yaml")
    assert status == 2 and says in lines[-1]


def test_how_many_alerts_a_day_is_kept_over_a_restart(tmp_path, memory, config):
    made = make_bundle(tmp_path / "judging", **with_incidents())
    config.write_text(config.read_text() + "alerts_per_day: 20\n")
    kept = memory / "alerts.json"

    async def story(warning: str = "") -> None:
        async with FakeZeek() as zeek, Agent("-c", config, "--url", zeek.url, "--bundle", made, "--id", "a1") as agent:
            await zeek.next("MMTT::agent_hello")
            assert ("the alerts a day are learnt anew" in agent.log) == bool(warning) and warning in agent.log
            await zeek.send(classify("mmtt/agent/a1", 1, flows(8)))
            await zeek.next("MMTT::verdicts")
            agent.process.send_signal(signal.SIGTERM)
            await agent.says("windows recorded")
            await agent.process.wait()

    asyncio.run(story())
    assert json.loads(kept.read_text())["threshold"] is None
    asyncio.run(story())
    kept.write_text("half wri")
    asyncio.run(story(f"{kept}: "))
    assert json.loads(kept.read_text())["format"] == 1
