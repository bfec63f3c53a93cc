"""``mmtt bench agent``: verdicts per second and core of the agent, end to end, over a real WebSocket.

The agent runs as a program of its own; this process plays Zeek, with messages made beforehand, and keeps the agent's
credit used up. Counted is the agent's own CPU time, so that it does not matter what this process costs. Then the same
at half that rate, for the latency from a batch sent to its verdicts received. Beside it the stages by themselves, and
the peer: the network alone, on input prepared beforehand. Linux only (/proc).
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from websockets.asyncio.server import ServerConnection, serve

from .. import bundle as bundles
from .. import features
from ..agent import wire
from ..agent.evidence import Evidence
from ..classifier import Classifier
from ..record import parts, read
from . import messages as made

_AGENT = "bench"
_TOPIC = f"mmtt/agent/{_AGENT}"
_BATCHES, _FLOWS = 256, wire.MAX_FLOWS
_ID = re.compile(
    rf'"MMTT::verdicts".{{0,120}}?"count","data":{wire.PROTOCOL}\}},\{{"@data-type":"count","data":(\d+)\}}', re.DOTALL
)


class BenchError(Exception):
    """It can't be measured; the text is one line."""


def _family(pid: int) -> list[int]:
    """A process and those that it has started, as the one that makes files of windows."""
    children = (path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    return [pid, *(int(each) for some in children for each in some)]


def _cpu_seconds(pid: int) -> float:
    """User and system time of a process and those that it has started, all their threads."""
    fields = [Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split() for each in _family(pid)]
    return sum(int(each[11]) + int(each[12]) for each in fields) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> tuple[float, float]:
    """Resident MB of the same now, and at most so far."""
    texts = [Path(f"/proc/{each}/status").read_text() for each in _family(pid)]
    lines = [dict(line.split(":", 1) for line in text.splitlines()) for text in texts]
    now, most = (sum(int(each[name].split()[0]) for each in lines) / 1000 for name in ("VmRSS", "VmHWM"))
    return now, most


class _Driver:
    """Plays Zeek for one agent."""

    def __init__(self, messages: list[str]) -> None:
        # The batch id, uids and times are all that differs from one round through the messages to the next.
        self._halves = [message.split("@BATCH@") for message in messages]
        self._sent_at: dict[int, float] = {}
        self.in_flight = 0
        self.answered = self.refused = 0
        self.latencies: list[float] = []
        self._next = 0
        self.ready, self._changed = asyncio.Event(), asyncio.Event()

    async def serve(self, websocket: ServerConnection) -> None:
        await websocket.recv()
        await websocket.send('{"type":"ack","endpoint":"bench","version":"8.2.2"}')
        self._websocket = websocket
        async for message in websocket:
            assert isinstance(message, str)
            found = _ID.search(message, 0, 600)
            if found is None:
                self.ready.set()  # a hello or a tick
                continue
            now = time.perf_counter()
            self.refused += _FLOWS - message.count('"data":"ok"')
            self.latencies.append(now - self._sent_at.pop(int(found[1])))
            self.in_flight -= _FLOWS
            self.answered += _FLOWS
            self._changed.set()

    async def send(self) -> None:
        before, after = self._halves[self._next % len(self._halves)]
        self._sent_at[self._next] = time.perf_counter()
        self.in_flight += _FLOWS
        text = made.later(f"{before}{self._next}{after}", self._next // len(self._halves))
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
            if self.in_flight + _FLOWS > credit:
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
            due += draw.exponential(_FLOWS / rate)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            await self.send()
        await self.drained()


Row = tuple[str, str, str]


async def _run(
    messages: list[str], bundle: Path | None, threads: int, seconds: float, memory: Path | None
) -> tuple[list[Row], float, float]:
    """Lines of the table, CPU microseconds a verdict, and verdicts a second by the clock.

    Args:
        memory: an empty directory in which the agent records windows.
    """
    driver = _Driver(messages)
    rows = []
    async with serve(driver.serve, "127.0.0.1", 0, compression=None, max_size=None, ping_interval=None) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/messages/json"
        command = ["agent", "--url", url, "--id", _AGENT, "--threads", str(threads), "--metrics-listen", "off"]
        command += ["--bundle", str(bundle)] if bundle else []
        if memory:
            settings = memory / "agent.yaml"
            settings.write_text(json.dumps({"record": {"directory": str(memory)}}))
            command += ["-c", str(settings)]
        started = time.perf_counter()
        agent = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "from mmtt_agent.cli import main; main()", *command,
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            try:
                await asyncio.wait_for(driver.ready.wait(), 30)
            except (TimeoutError, asyncio.TimeoutError):  # two before Python 3.11
                raise BenchError("the agent has not connected within 30 s; does `mmtt agent` start?") from None
            rows.append(("start to hello", f"{1e3 * (time.perf_counter() - started):.0f} ms", ""))
            rows.append(("CPU by then", f"{1e3 * _cpu_seconds(agent.pid):.0f} ms", ""))
            await driver.flood(min(2, seconds))
            cpu, wall, answered = _cpu_seconds(agent.pid), time.perf_counter(), driver.answered
            await driver.flood(seconds)
            answered = driver.answered - answered
            cpu, wall = _cpu_seconds(agent.pid) - cpu, time.perf_counter() - wall
            per_core = answered / cpu
            rows.append(("verdicts per CPU second", f"{per_core:,.0f}", "that is, on one core"))
            rows.append(
                ("verdicts per second", f"{answered / wall:,.0f}", f"{cpu / wall:.2f} cores, {answered:,} in all")
            )
            driver.latencies.clear()
            rate = answered / wall / 2
            before, began = _cpu_seconds(agent.pid), time.perf_counter()
            await driver.paced(seconds, rate)
            busy = (_cpu_seconds(agent.pid) - before) / (time.perf_counter() - began)
            p50, p99, most = (1e3 * np.quantile(driver.latencies, q) for q in (0.5, 0.99, 1))
            rows.append(("latency at half load", f"p50 {p50:.1f}, p99 {p99:.1f}, most {most:.1f} ms",
                         f"{rate:,.0f} flows/s, {busy:.2f} cores"))  # fmt: skip
            if driver.refused:
                rows.append(("without a verdict", f"{driver.refused:,}", "shed, or errors: is the machine busy?"))
            resident, highest = _memory(agent.pid)
            rows.append(("memory", f"{resident:.0f} MB", f"at most {highest:.0f} MB"))
        finally:
            agent.terminate()
            await agent.wait()
    if memory:
        there, size = driver.answered - driver.refused, sum(part.size for part in parts(memory))
        recorded = len(read(memory, lambda _: None))
        rows.append(("recorded", f"{recorded / there:.2%} of the windows", f"{size / recorded:.0f} bytes each"))
    return rows, 1e6 / per_core, answered / wall


def _stages(classifier: Classifier, messages: list[str], seconds: float) -> dict[str, float]:
    """CPU microseconds a verdict of each stage by itself."""
    spent = dict.fromkeys(("JSON parse", "features", "network", "calibration", "evidence", "reply"), 0.0)
    texts = [message.replace("@BATCH@", "7") for message in messages]
    evidence = Evidence(classifier.incidents)
    clock = time.process_time
    verdicts = 0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for _ in range(16):
            rounds, number = divmod(verdicts // _FLOWS, len(texts))
            text = made.later(texts[number], rounds)
            marks = [clock()]
            batch = wire.decode(text)
            assert isinstance(batch, wire.Classify)
            marks.append(clock())
            inputs = features.model_input(batch.series)
            marks.append(clock())
            logits = classifier.run(inputs, batch.series.lengths)
            marks.append(clock())
            answers = classifier.decide(logits)
            marks.append(clock())
            incidents = evidence.flows(batch, answers)
            marks.append(clock())
            wire.encode_verdicts(batch, answers, incidents=incidents)
            marks.append(clock())
            for stage, begin, finish in zip(spent, marks, marks[1:], strict=False):
                spent[stage] += finish - begin
            verdicts += len(batch)
    return {stage: 1e6 * value / verdicts for stage, value in spent.items()}


def bench(
    bundle: Path | None, threads: Sequence[int], seconds: float, say: Callable[[str], None], record: bool = False
) -> None:
    """Measure with each number of ``threads`` (of the model), and say the tables.

    Args:
        record: the agent records its windows, in a directory that is removed.

    Raises:
        BenchError: the agent does not come up.
        BundleError: the bundle can't be used.
    """
    flows = made.flows(_BATCHES * _FLOWS)
    marker = 987654321987
    messages = [
        made.classify(_TOPIC, marker, flows[start : start + _FLOWS]).replace(str(marker), "@BATCH@")
        for start in range(0, len(flows), _FLOWS)
    ]
    classifier = Classifier(bundles.load(bundle), threads=1)
    profile = _stages(classifier, messages, min(3, seconds))
    say(
        f"mmtt agent, model {classifier.model}, batches of {_FLOWS} flows, {platform.machine()}, "
        f"Python {platform.python_version()}"
    )
    reached = {}
    for number in threads:
        with tempfile.TemporaryDirectory(prefix="mmtt-bench-") as directory:
            memory = Path(directory) if record else None
            rows, whole, per_second = asyncio.run(_run(messages, bundle, number, seconds, memory))
        reached[number] = per_second, whole
        say(f"\n{number} thread{'s' if number > 1 else ''}")
        for name, figure, remark in rows:
            say(f"{name:26}{figure:>36}   {remark}")
    whole = reached[threads[0]][1]
    say(f"\n{'stage, CPU time':26}{'µs a verdict':>14}{'share':>8}")
    for line in shares(profile, whole):
        say(line)
    network = 1e6 / profile["network"]
    say(
        f"\npeer: the network alone {network:,.0f} windows per CPU second; "
        f"the agent reaches {1e6 / whole / network:.0%} of it"
    )
    for number in threads[1:]:
        times = reached[number][0] / reached[threads[0]][0]
        say(
            f"{number} threads answer {times:.2f} times as much a second as {threads[0]}, on {os.cpu_count()} cores "
            "that this process shares"
        )


def shares(profile: dict[str, float], whole: float) -> list[str]:
    """The table of stages, each measured by itself, and what is left of the whole; microseconds a verdict."""
    rest = whole - sum(profile.values())
    lines = [f"{stage:26}{micros:14.1f}{micros / whole:8.0%}" for stage, micros in profile.items()]
    if rest >= 0:
        lines.append(f"{'WebSocket, asyncio, rest':26}{rest:14.1f}{rest / whole:8.0%}")
    lines.append(f"{'all':26}{whole:14.1f}{1:8.0%}")
    if rest < 0:
        lines.append("the stages by themselves took longer than the whole: something else ran meanwhile; measure again")
    return lines
