"""Runs the `mmtt agent` program for the tests that play Zeek."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import sys

PROGRAM = [sys.executable, "-c", "from mmtt_agent.cli import main; main()", "agent"]


class Agent:
    """The program as a child; its standard error is collected in ``log``."""

    def __init__(self, *arguments):
        self._arguments = [str(each) for each in arguments]
        self.log = ""

    async def __aenter__(self):
        self.process = await asyncio.create_subprocess_exec(
            *PROGRAM, *self._arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        self._reader = asyncio.ensure_future(self._read())
        return self

    async def _read(self):
        while line := await self.process.stderr.readline():
            self.log += line.decode()

    async def __aexit__(self, *_):
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
        await self.process.wait()
        await self._reader

    async def ends(self) -> int:
        status = await asyncio.wait_for(self.process.wait(), 30)
        await self._reader
        assert "Traceback" not in self.log
        return status

    async def says(self, pattern: str) -> None:
        async def look():
            while not re.search(pattern, self.log):
                await asyncio.sleep(0.02)

        try:
            await asyncio.wait_for(look(), 30)
        except asyncio.TimeoutError:
            raise AssertionError(f"{pattern} not in:\n{self.log}") from None


def run(*arguments) -> tuple[int, list[str]]:
    """Run the program to its end: its status, and the lines of its standard error."""
    done = subprocess.run([*PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr.splitlines()
