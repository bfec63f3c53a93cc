"""What ``mmtt eve`` has done so far, for those who watch it: as Prometheus has it, and as JSON."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager, suppress
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from websockets.asyncio.server import Server

from ..agent import http

# Seconds that whoever is being answered may still take in the end.
_CLOSES = 2.0
# Name in the status, and help.
_COUNTERS = (
    ("events", "Events that came in, of whatever kind"),
    ("with_flow", "Events of TCP and UDP flows"),
    ("joined", "Events that passed with the verdict on their flow"),
    ("unanswered", "Events of flows that passed without a verdict"),
    ("several_vlans", "Events without a verdict as their end points were in use in several VLANs"),
    ("waited", "Events that did not pass at once"),
    ("hurried", "Events that passed before their time was over, as too much was held"),
    ("theirs", "Events that had an mmtt object when they came"),
    ("not_json", "Lines that are no JSON object"),
    ("ambiguous", "Events that name a field twice"),
    ("too_long", "Lines that were too long to be looked into"),
    ("truncated", "Lines that broke off"),
    ("verdicts", "Verdicts on windows"),
    ("not_verdicts", "Lines where verdicts come from that could not be read"),
    ("forgotten", "Connections whose verdicts were forgotten, as there were too many"),
    ("dropped", "Events that the output did not take"),
)
_GAUGES = (
    ("held", "Events that wait"),
    ("held_bytes", "Bytes of events that wait"),
    ("connections", "Connections whose verdicts are known"),
)


class _Status:
    """A collector of prometheus_client."""

    def __init__(self, status: Callable[[], dict[str, Any]]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        status = self._status()
        for name, text in _COUNTERS:
            yield CounterMetricFamily(f"mmtt_eve_{name}", text, value=status[name])
        for name, text in _GAUGES:
            yield GaugeMetricFamily(f"mmtt_eve_{name}", text, value=status[name])


async def _closed(server: Server) -> None:
    server.close()
    await server.wait_closed()


@contextmanager
def served(address: tuple[str, int] | None, status: Callable[[], dict[str, Any]]) -> Iterator[None]:
    """While the block under it runs, answer there what /metrics, /health and /status are asked for.

    Args:
        status: called from another thread.

    Raises:
        OSError: the port can't be had.
    """
    if address is None:
        yield
        return
    registry = CollectorRegistry()
    registry.register(_Status(status))
    ProcessCollector(registry=registry)
    loop = asyncio.new_event_loop()
    try:
        try:
            server = loop.run_until_complete(http.listen(*address, status, lambda: generate_latest(registry)))
        except OSError as error:
            raise OSError(error.errno, http.why(error), "--metrics-listen {}:{}".format(*address)) from None
        thread = threading.Thread(target=loop.run_forever, name="metrics", daemon=True)
        thread.start()
        try:
            yield
        finally:
            with suppress(futures.TimeoutError):
                asyncio.run_coroutine_threadsafe(_closed(server), loop).result(_CLOSES)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            if left := asyncio.all_tasks(loop):
                for task in left:
                    task.cancel()
                loop.run_until_complete(asyncio.wait(left))
    finally:
        loop.close()
