"""The agent as a service: one connection to Zeek after the other, threads for the network, signals."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from ..classifier import Verdicts
from ..series import SeriesBatch
from .config import Config
from .connection import Connection, ConnectionProblem, NobodyListens, open_websocket, tls_context
from .log import log_counts, logger
from .session import MAX_JOB, Session


class ServiceError(Exception):
    """The agent can't go on; the text is one line."""


class Service:
    """Serves verdicts until told to stop.

    Args:
        classify: series in, verdicts out; called on ``config.threads`` threads at once.
        model: the model column of the log.
        offline: give each wire batch a run of its own, wait without limit for a Zeek that is busy.
        exit_with_zeek: stop when Zeek closes the connection rather than connect again.

    Raises:
        ConfigError: the certificates can't be used.
    """

    def __init__(
        self,
        config: Config,
        classify: Callable[[SeriesBatch], Verdicts],
        model: str,
        *,
        offline: bool = False,
        exit_with_zeek: bool = False,
    ) -> None:
        self._config, self._classify, self._model = config, classify, model
        self._offline, self._exit_with_zeek = offline, exit_with_zeek
        self._tls = tls_context(config)
        self._stop = asyncio.Event()
        self._counts: Counter[str] = Counter()  # of all connections so far

    async def run(self) -> None:
        """Serve until stopped (or, with ``exit_with_zeek``, until Zeek is gone).

        Raises:
            ServiceError: with ``exit_with_zeek``, Zeek can't be reached, or nobody listens for ``connect_timeout``
                seconds.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)
        pool = ThreadPoolExecutor(self._config.threads, thread_name_prefix="mmtt-model")
        try:
            await self._connections(partial(loop.run_in_executor, pool, self._classify))
        finally:
            # What still runs was lost with its connection; nobody waits for it.
            pool.shutdown(wait=False, cancel_futures=True)
            log_counts(self._counts, "in all")

    def _signalled(self) -> None:
        if self._stop.is_set():
            raise SystemExit(1)  # told twice: at once
        logger.info("stopping: answering what is in hand")
        self._stop.set()

    async def _connections(self, classify: Callable[[SeriesBatch], Awaitable[Verdicts]]) -> None:
        """One connection after the other."""
        now = asyncio.get_running_loop().time
        give_up = now() + self._config.connect_timeout
        failures, said = 0, ""
        while not self._stop.is_set():
            try:
                if await self._connection(classify):
                    failures, said = 0, ""
                    if self._exit_with_zeek:
                        return
            except ConnectionProblem as error:
                if self._exit_with_zeek:
                    # Zeek has started this agent, perhaps an instant before it listens.
                    if not isinstance(error, NobodyListens) or now() >= give_up:
                        raise ServiceError(str(error)) from None
                elif str(error) != said:
                    said = str(error)
                    logger.warning("%s; trying again", said)
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stop.wait(), self._pause(failures))
            failures += 1

    def _pause(self, failures: int) -> float:
        """Seconds before connecting again."""
        if self._exit_with_zeek:
            return 0.05
        reconnect = self._config.reconnect
        # Many agents that lose one Zeek must not come back in step.
        return min(reconnect.longest, reconnect.first * 2.0 ** min(failures, 30)) * random.uniform(0.5, 1)

    async def _connection(self, classify: Callable[[SeriesBatch], Awaitable[Verdicts]]) -> bool:
        """One connection from beginning to end; False where the agent was stopped before it was open.

        Raises:
            ConnectionProblem: it did not come about.
        """
        config = self._config
        opening = asyncio.ensure_future(open_websocket(config, self._tls, patient=self._offline))
        stopping = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait((opening, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not opening.done():
            opening.cancel()
            await asyncio.wait((opening,))
            return False
        session = Session(
            agent=config.id,
            model=self._model,
            credit=config.credit,
            max_queued=config.max_queued,
            max_job=1 if self._offline else MAX_JOB,
        )
        try:
            await Connection(
                config,
                session,
                opening.result(),
                classify,
                self._stop,
                parallel=config.threads,
                patient=self._offline,
            ).run()
        finally:
            self._counts.update(session.counts)
        return True
