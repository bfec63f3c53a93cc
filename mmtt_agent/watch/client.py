"""Asks an agent, or a `mmtt sniff`, that runs how it is."""

from __future__ import annotations

import json
import os
import urllib.request
from http.client import HTTPException
from typing import Any

from ..agent import config as settings
from ..sniff import config as of_sniff

#: Where the systemd units have their settings: the first of them that is there is read.
PLACES = ("/etc/mmtt-agent.yaml", "/etc/mmtt-sniff.yaml")
#: Where the agent's has them.
SETTINGS = PLACES[0]


class NoAgent(Exception):
    """Nobody answers, or not like an agent; the text is one line with the remedy."""


class Off(settings.ConfigError):
    """The agent answers nowhere."""


def address(path: str | None, given: str | None) -> tuple[str, int]:
    """Where the agent's status is.

    Args:
        path: the agent's settings, or those of ``mmtt sniff``; None takes those of the systemd unit where they are.
        given: HOST:PORT, which goes before.

    Raises:
        ConfigError: the settings or the address can't be used; ``Off`` where the agent answers nowhere.
    """
    if given is not None:
        try:
            found = settings.address(given)
        except ValueError:
            raise settings.ConfigError(f"--agent must be HOST:PORT, not {given!r}") from None
    else:
        path = place(path)
        found = loaded(path).metrics.listen
    if found is None:
        if given is not None:
            raise Off(f"--agent must be HOST:PORT for the agent to be asked, not {given!r}")
        raise Off(f"{path}: metrics.listen is off, so the agent can't be asked; set it")
    host, port = found
    # An agent that listens everywhere also listens here.
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port


def place(path: str | None) -> str | None:
    """The settings' file; without one that of a systemd unit, where there is any."""
    return path or next((each for each in PLACES if os.access(each, os.R_OK)), None)


def loaded(path: str | None) -> settings.Config | of_sniff.Config:
    """These settings, be they the agent's or those of ``mmtt sniff``.

    Raises:
        ConfigError: they are neither.
    """
    try:
        return settings.load(path)
    except settings.ConfigError:
        try:
            return of_sniff.load(path)
        except of_sniff.ConfigError as error:
            # Of two that fail, that of the settings which the file is like.
            if path is not None and of_sniff.is_like(path):
                raise settings.ConfigError(str(error)) from None
        raise


def status(where: tuple[str, int]) -> dict[str, Any]:
    """What the agent there says of itself.

    Raises:
        NoAgent: it can't be had.
    """
    host, port = where
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    # No proxy of the environment's: the agent is here.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{shown}/status", timeout=5) as answer:
            content = json.loads(answer.read(1 << 20))
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        reason = getattr(reason, "strerror", None) or str(reason) or type(error).__name__
        raise NoAgent(
            f"no agent answers at {shown}: {reason}; type `systemctl start mmtt-agent` (or mmtt-sniff), or name its "
            "settings with -c"
        ) from None
    if not isinstance(content, dict) or "windows" not in content:
        raise NoAgent(f"what answers at {shown} is no mmtt agent; name the agent's settings with -c")
    return content
