"""Verdicts per second and core of `mmtt agent`, end to end: a message in, a message out, over a real WebSocket.

    python tests/bench/bench_agent.py [--seconds 10] [--bundle DIR] [--threads N]

The agent runs as a program of its own; this process plays Zeek, with messages made beforehand, and keeps the
agent's credit used up. Counted is the agent's own CPU time, so that it does not matter what this process costs.
Then the same at half that rate, for the latency from a batch sent to its verdicts received. Beside it the stages
by themselves, and the peer: the network alone, on input prepared beforehand. Linux only (/proc).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from websockets.asyncio.server import serve

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
import fake_zeek

from mmtt_agent import bundle as bundles
from mmtt_agent import features
from mmtt_agent.agent import wire
from mmtt_agent.classifier import _OUTPUTS as OUTPUTS
from mmtt_agent.classifier import CHUNK, Classifier

AGENT = "bench"
TOPIC = f"mmtt/agent/{AGENT}"
BATCHES, FLOWS = 256, 64
_ID = re.compile(
    r'"MMTT::verdicts".{0,120}?"count","data":1\},\{"@data-type":"count","data":(\d+)\}', re.DOTALL
)
_BAR, _AIM = 5_000, 10_000


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> tuple[float, float]:
    """Resident MB now, and at most so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    return tuple(int(re.search(rf"{key}:\s+(\d+) kB", status)[1]) / 1000 for key in ("VmRSS", "VmHWM"))


class Driver:
    """Plays Zeek for one agent."""

    def __init__(self, messages: list[str]) -> None:
        # The batch id is all that differs from one round through the messages to the next.
        self._halves = [message.split("@BATCH@") for message in messages]
        self._sent_at: dict[int, float] = {}
        self.in_flight = 0
        self.answered = 0
        self.latencies: list[float] = []
        self._next = 0
        self.ready, self._changed = asyncio.Event(), asyncio.Event()

    async def serve(self, websocket) -> None:
        await websocket.recv()
        await websocket.send('{"type":"ack","endpoint":"bench","version":"8.2.2"}')
        self._websocket = websocket
        async for message in websocket:
            found = _ID.search(message, 0, 600)
            if found is None:
                self.ready.set()  # a hello or a tick
                continue
            now = time.perf_counter()
            verdicts = message.count('"data":"ok"')
            if verdicts != FLOWS:
                raise SystemExit(f"{verdicts} of {FLOWS} flows of batch {found[1]} are answered ok")
            self.latencies.append(now - self._sent_at.pop(int(found[1])))
            self.in_flight -= FLOWS
            self.answered += FLOWS
            self._changed.set()

    async def send(self) -> None:
        before, after = self._halves[self._next % len(self._halves)]
        self._sent_at[self._next] = time.perf_counter()
        self.in_flight += FLOWS
        text = f"{before}{self._next}{after}"
        self._next += 1
        await self._websocket.send(text)

    async def drained(self) -> None:
        while self.in_flight:
            self._changed.clear()
            await self._changed.wait()

    async def flood(self, seconds: float, credit: int = 4096) -> None:
        """Keep ``credit`` flows in flight."""
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            if self.in_flight + FLOWS > credit:
                self._changed.clear()
                await self._changed.wait()
            else:
                await self.send()
        await self.drained()

    async def paced(self, seconds: float, rate: float) -> None:
        """Send batches at random moments, ``rate`` flows a second on average, whatever comes back when."""
        draw = np.random.default_rng(1)
        due = time.perf_counter()
        end = due + seconds
        while due < end:
            due += draw.exponential(FLOWS / rate)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            await self.send()
        await self.drained()


async def run(arguments, messages: list[str]) -> tuple[list[tuple[str, str, str]], float]:
    """Lines of the table, and CPU microseconds a verdict."""
    driver = Driver(messages)
    rows = []
    async with serve(
        driver.serve, "127.0.0.1", 0, compression=None, max_size=None, ping_interval=None
    ) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/messages/json"
        command = ["agent", "--url", url, "--id", AGENT, "--threads", str(arguments.threads)]
        command += ["--bundle", str(arguments.bundle)] if arguments.bundle else []
        started = time.perf_counter()
        agent = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "from mmtt_agent.cli import main; main()",
            *command,
            stderr=subprocess.DEVNULL,
        )
        try:
            await asyncio.wait_for(driver.ready.wait(), 30)
            rows.append(("start to hello", f"{1e3 * (time.perf_counter() - started):.0f} ms", ""))
            rows.append(("CPU by then", f"{1e3 * cpu_seconds(agent.pid):.0f} ms", ""))
            await driver.flood(2)
            cpu, wall, answered = cpu_seconds(agent.pid), time.perf_counter(), driver.answered
            await driver.flood(arguments.seconds)
            answered = driver.answered - answered
            cpu, wall = cpu_seconds(agent.pid) - cpu, time.perf_counter() - wall
            per_core = answered / cpu
            verdict = (
                "aim reached" if per_core >= _AIM else "bar reached" if per_core >= _BAR else "BELOW THE BAR"
            )
            rows.append(
                ("verdicts per CPU second", f"{per_core:,.0f}", f"bar {_BAR:,}, aim {_AIM:,}: {verdict}")
            )
            rows.append(
                (
                    "verdicts per second",
                    f"{answered / wall:,.0f}",
                    f"{cpu / wall:.2f} cores, {answered:,} in all",
                )
            )
            driver.latencies.clear()
            cpu, wall = cpu_seconds(agent.pid), time.perf_counter()
            rate = per_core * arguments.threads / 2
            await driver.paced(arguments.seconds, rate)
            busy = (cpu_seconds(agent.pid) - cpu) / (time.perf_counter() - wall)
            p50, p99, most = (1e3 * np.quantile(driver.latencies, q) for q in (0.5, 0.99, 1))
            rows.append(
                (
                    "latency at half load",
                    f"p50 {p50:.1f}, p99 {p99:.1f}, most {most:.1f} ms",
                    f"{rate:,.0f} flows/s, {busy:.2f} cores",
                )
            )
            now, most = memory(agent.pid)
            rows.append(("memory", f"{now:.0f} MB", f"at most {most:.0f} MB"))
        finally:
            agent.terminate()
            await agent.wait()
    return rows, 1e6 / per_core


def stages(classifier: Classifier, messages: list[str], seconds: float) -> dict[str, float]:
    """CPU microseconds a verdict of each stage by itself."""
    spent = dict.fromkeys(("JSON parse", "features", "network", "calibration", "reply"), 0.0)
    texts = [message.replace("@BATCH@", "7") for message in messages]
    clock = time.process_time
    verdicts = 0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for text in texts[:16]:
            marks = [clock()]
            batch = wire.decode(text)
            marks.append(clock())
            inputs = features.model_input(batch.series)
            marks.append(clock())
            logits = classifier._session.run(OUTPUTS, inputs)
            marks.append(clock())
            answers = classifier._decide(*logits)
            marks.append(clock())
            wire.encode_verdicts(batch, answers)
            marks.append(clock())
            for stage, begin, finish in zip(spent, marks, marks[1:]):
                spent[stage] += finish - begin
            verdicts += len(batch)
    return {stage: 1e6 * value / verdicts for stage, value in spent.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10, help="of each of the two loads [10]")
    parser.add_argument("--bundle", type=Path, help="the model [the shipped one]")
    parser.add_argument("--threads", type=int, default=1, help="the agent's inference threads [1]")
    arguments = parser.parse_args()

    flows = fake_zeek.flows(BATCHES * FLOWS)
    marker = 987654321987
    messages = [
        fake_zeek.classify(TOPIC, marker, flows[start : start + FLOWS]).replace(str(marker), "@BATCH@")
        for start in range(0, len(flows), FLOWS)
    ]
    classifier = Classifier(bundles.load(arguments.bundle))
    assert FLOWS == CHUNK
    profile = stages(classifier, messages, 3)
    rows, whole = asyncio.run(run(arguments, messages))

    print(
        f"mmtt agent, model {classifier.model}, batches of {FLOWS} flows, {platform.machine()}, Python {platform.python_version()}\n"
    )
    for name, figure, remark in rows:
        print(f"{name:26}{figure:>36}   {remark}")
    print(f"\n{'stage, CPU time':26}{'µs a verdict':>14}{'share':>8}")
    profile["WebSocket, asyncio, rest"] = whole - sum(profile.values())
    for stage, micros in profile.items():
        print(f"{stage:26}{micros:14.1f}{micros / whole:8.0%}")
    print(f"{'all':26}{whole:14.1f}{1:8.0%}")
    network = 1e6 / profile["network"]
    print(
        f"\npeer: the network alone {network:,.0f} windows per CPU second; the agent reaches {1e6 / whole / network:.0%} of it"
    )


if __name__ == "__main__":
    main()
