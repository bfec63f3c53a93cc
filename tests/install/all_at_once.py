"""Runs an agent, `mmtt classify` and a program that uses mmtt as a library, side by side and long enough for whatever
would report from them. Usage: all_at_once.py CAPTURE SAID. What became of them is written to SAID, as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from fake_zeek import FakeZeek, classify, flows

#: ONNX Runtime's telemetry waits for 9 s before its first call.
LONG_ENOUGH = 12
MMTT = [sys.executable, "-c", "from mmtt_agent.cli import main; main()"]
LIBRARY = """
import sys, time
from mmtt_agent import bundle
import onnxruntime  # by someone else, after the first import from mmtt
from mmtt_agent.classifier import Classifier
from mmtt_agent.series import SeriesBatch
assert len(Classifier(bundle.load()).classify(SeriesBatch.from_lists([[100, -200, 300, -400]], [[0, 1, 2, 3]]))) == 1
time.sleep(float(sys.argv[1]))
"""


async def agent() -> dict:
    async with FakeZeek() as zeek:
        options = ["agent", "--url", zeek.url, "--id", "a1", "--log-format", "json"]
        program = await asyncio.create_subprocess_exec(*MMTT, *options, stdout=DEVNULL, stderr=PIPE)
        await zeek.next("MMTT::agent_hello", timeout=60)
        await zeek.send(classify("mmtt/agent/a1", 1, flows(64)))
        _, (_, _, verdicts) = await zeek.next("MMTT::verdicts")
        await asyncio.sleep(LONG_ENOUGH)
        program.send_signal(signal.SIGTERM)
        _, said = await program.communicate()
        return {"status": program.returncode, "stderr": said.decode(), "verdicts": len(verdicts)}


async def from_a_pipe(capture: Path) -> dict:
    """The capture, and a pipe with the same that is long in coming."""
    with tempfile.TemporaryDirectory() as directory:
        pipe = Path(directory, "pipe")
        os.mkfifo(pipe)
        program = await asyncio.create_subprocess_exec(
            *MMTT, "classify", str(capture), str(pipe), stdout=PIPE, stderr=PIPE
        )
        feed = asyncio.create_subprocess_shell(f"(sleep {LONG_ENOUGH}; cat '{capture}') >'{pipe}'")
        feeder = await feed
        out, said = await program.communicate()
        await feeder.wait()
        rows = sum(not line.startswith(b"#") for line in out.splitlines())
        return {"status": program.returncode, "stderr": said.decode(), "rows": rows}


async def library() -> dict:
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-c", LIBRARY, str(LONG_ENOUGH), stderr=PIPE
    )
    _, said = await program.communicate()
    return {"status": program.returncode, "stderr": said.decode()}


async def main(capture: Path, said: Path) -> None:
    found = await asyncio.gather(agent(), from_a_pipe(capture), library())
    said.write_text(json.dumps(dict(zip(("agent", "classify", "library"), found, strict=True))))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
