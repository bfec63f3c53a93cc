"""`mmtt eve` as it runs beside Suricata."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from program import MMTT


def wait_for(what: Callable[[], Any], seconds: float = 20.0) -> Any:
    """The first true result of ``what()``."""
    give_up = time.monotonic() + seconds
    while not (result := what()):
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.05)
    return result


class Eve:
    """One that runs until it is told to end; a context that ends it.

    Args:
        out: a file for what it writes to standard output.
    """

    def __init__(self, *arguments: object, scratch: Path, out: Any = None, input_: Any = subprocess.DEVNULL) -> None:
        self.stderr = scratch / f"eve-{time.monotonic_ns()}.stderr"
        with self.stderr.open("wb") as said:
            self.process = subprocess.Popen(
                [*MMTT, "eve", *map(str, arguments)], stdin=input_, stdout=out or subprocess.DEVNULL, stderr=said
            )

    def __enter__(self) -> Eve:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    @property
    def said(self) -> str:
        return self.stderr.read_text()

    def end(self, by: int = signal.SIGTERM) -> int:
        """Its status, when it has ended."""
        os.kill(self.process.pid, by)
        status = self.process.wait(30)
        assert "Traceback" not in self.said, self.said
        return status

    @property
    def memory(self) -> int:
        """The most it has had, in bytes."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
