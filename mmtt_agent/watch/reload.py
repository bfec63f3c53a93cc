"""Has an agent load its bundle again, and waits for what comes of it."""

from __future__ import annotations

import os
import signal
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from . import client


class ReloadError(Exception):
    """The agent could not be told, or goes on with its old model; the text is one line."""


def reload(where: tuple[str, int] | None, pid: int | None, seconds: float) -> str:
    """Send SIGHUP and wait; returns what has come of it.

    Args:
        where: the agent's status; None where it can't be asked, and the log alone tells.
        pid: the agent's process; None asks it.

    Raises:
        NoAgent: it can't be asked.
        ReloadError: it could not be told, or has kept its old model. No other process is ever told: SIGHUP ends most.
    """
    if where is None:
        if pid is None:
            raise ReloadError("metrics.listen is off, so the agent can't be found; name its process with --pid")
        _tell(pid)
        return f"process {pid} has been told; its log says what has come of it"
    before = client.status(where)
    if pid is not None and before["pid"] not in _numbers(pid):
        raise ReloadError(
            f"process {pid} is not the agent that answers, which is process {before['pid']}; leave --pid out, "
            "or name that agent with -c or --agent"
        )
    _tell(pid or before["pid"])
    end = time.monotonic() + seconds
    while (now := client.status(where))["reloads"] == before["reloads"]:
        if time.monotonic() > end:
            raise ReloadError(f"the agent has not reloaded within {seconds:g} s; see its log")
        time.sleep(0.1)
    return _outcome(before, now)


def _tell(pid: int) -> None:
    gone = f"there is no process {pid} here; is the agent in a container, or on another machine?"
    others = f"process {pid} is another user's; type: sudo systemctl reload mmtt-agent"
    try:
        words = (Path("/proc") / str(pid) / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")[:-1]
        about = _about(pid)
    except (FileNotFoundError, ProcessLookupError):
        raise ReloadError(gone) from None
    except PermissionError:  # where /proc hides other users' processes
        raise ReloadError(others) from None
    if not _is_agent(words):
        called = " ".join(words)[:80] or about.get("Name", "?")
        raise ReloadError(f"process {pid} is no mmtt agent but {called!r}; nothing was sent to it")
    # Not every sandbox tells which signals a process has a use for.
    if "SigCgt" in about and not int(about["SigCgt"], 16) >> (signal.SIGHUP - 1) & 1:
        raise ReloadError(f"process {pid} is an mmtt agent that is not ready yet; try again")
    try:
        os.kill(pid, signal.SIGHUP)
    except (ProcessLookupError, OverflowError):
        raise ReloadError(gone) from None
    except PermissionError:
        raise ReloadError(others) from None


def _is_agent(words: list[str]) -> bool:
    """Whether a command line is that of `mmtt agent` or `mmtt sniff`: the program itself, or Python with it."""
    if len(words) < 2 or not Path(words[0]).name.startswith(("mmtt", "python", "pypy")):
        return False
    return any(
        word in ("agent", "sniff") and (Path(before).name.startswith("mmtt") or "mmtt_agent" in before)
        for before, word in pairwise(words)
    )


def _about(pid: int) -> dict[str, str]:
    """What the kernel says of a process."""
    lines = (Path("/proc") / str(pid) / "status").read_text(encoding="utf-8", errors="replace").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _numbers(pid: int) -> set[int]:
    """The process's number here, and those it has in the containers that it is in."""
    try:
        inside = _about(pid).get("NSpid", "").split()
    except OSError:
        inside = []
    return {pid, *map(int, inside)}


def _outcome(before: dict[str, Any], now: dict[str, Any]) -> str:
    if now["reloads"]["failed"] > before["reloads"]["failed"]:
        raise ReloadError(f"not reloaded, model {now['model']} goes on: {now['reload_problem']}")
    return f"reloaded: model {now['model']} instead of {before['model']}"
