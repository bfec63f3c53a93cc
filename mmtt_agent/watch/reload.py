"""Has an agent load its bundle again, and waits for what comes of it."""

from __future__ import annotations

import os
import signal
import time
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
        ReloadError: it could not be told, or has kept its old model.
    """
    if where is None:
        if pid is None:
            raise ReloadError("metrics.listen is off, so the agent can't be found; name its process with --pid")
        _tell(pid)
        return f"process {pid} has been told; its log says what has come of it"
    before = client.status(where)
    _tell(pid or before["pid"])
    end = time.monotonic() + seconds
    while (now := client.status(where))["reloads"] == before["reloads"]:
        if time.monotonic() > end:
            raise ReloadError(f"the agent has not reloaded within {seconds:g} s; see its log")
        time.sleep(0.1)
    return _outcome(before, now)


def _tell(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGHUP)
    except (ProcessLookupError, OverflowError):
        raise ReloadError(f"there is no process {pid} here; is the agent in a container?") from None
    except PermissionError:
        raise ReloadError(f"process {pid} is another user's; type: sudo systemctl reload mmtt-agent") from None


def _outcome(before: dict[str, Any], now: dict[str, Any]) -> str:
    if now["reloads"]["failed"] > before["reloads"]["failed"]:
        raise ReloadError(f"not reloaded, model {now['model']} goes on: {now['reload_problem']}")
    return f"reloaded: model {now['model']} instead of {before['model']}"
