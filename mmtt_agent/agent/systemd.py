"""What the agent tells systemd (``Type=notify``) by the protocol of sd_notify(3): datagrams of ``KEY=value`` lines."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress


class Notifier:
    """Tells whoever listens at the environment's NOTIFY_SOCKET; nobody where there is none."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._socket = None
        if address[:1] in ("/", "@"):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
            # A leading @ stands for the abstract namespace's zero byte.
            self._address = address.replace("@", "\0", 1) if address[0] == "@" else address
        # systemd's deadline counts for the process that it names; without a name, for this one.
        ours = environment.get("WATCHDOG_PID") in (None, str(os.getpid()))
        usec = environment.get("WATCHDOG_USEC", "") if ours else ""
        #: Seconds in which systemd wants to hear from the agent; None where it doesn't.
        self.watchdog = int(usec) / 1e6 if self._socket and usec.isdecimal() and int(usec) else None

    def tell(self, **values: object) -> None:
        """Send ``KEY=value`` lines. What can't be sent is lost: the agent has other work than its supervisor."""
        if self._socket:
            with suppress(OSError):
                self._socket.sendto("\n".join(f"{k}={v}" for k, v in values.items()).encode(), self._address)

    def reloading(self) -> None:
        """To be followed by READY=1."""
        self.tell(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000)


async def feed_watchdog(feed: Callable[[], None], every: float, alive: Callable[[], bool]) -> None:
    """Feed it as long as this loop turns and ``alive`` says that the model's threads get on, too."""
    while True:
        if alive():
            feed()
        await asyncio.sleep(every)
