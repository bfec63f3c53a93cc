"""The agent as a service: one connection to Zeek after the other, threads for the network, signals."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields

from .config import Config
from .connection import Connection, ConnectionProblem, NobodyListens, open_websocket, tls_context
from .log import log_counts, logger
from .runner import Model, Runner
from .session import MAX_JOB, Session


class ServiceError(Exception):
    """The agent can't go on; the text is one line."""


class Service:
    """Serves verdicts until told to stop.

    Args:
        load: loads the bundle of some settings.
        read: reads the settings again, for SIGHUP; it and ``load`` raise what makes a reload fail.
        offline: give each wire batch a run of its own, wait without limit for a Zeek that is busy.
        exit_with_zeek: stop when Zeek closes the connection rather than connect again.

    Raises:
        ConfigError: the certificates can't be used.
        BundleError: the bundle can't.
    """

    def __init__(
        self,
        config: Config,
        load: Callable[[Config], Model],
        read: Callable[[], Config],
        *,
        offline: bool = False,
        exit_with_zeek: bool = False,
    ) -> None:
        self._config, self._load, self._read = config, load, read
        self._offline, self._exit_with_zeek = offline, exit_with_zeek
        self._tls = tls_context(config)
        self._runner = Runner(load(config), config.threads)
        self._stop, self._reload = asyncio.Event(), asyncio.Event()
        self._serving: Connection | None = None
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
        if not self._exit_with_zeek:
            loop.add_signal_handler(signal.SIGHUP, self._reload.set)
        logger.info("agent %s with model %s", self._config.id, self._runner.model)
        reloading = asyncio.ensure_future(self._reloads())
        try:
            await self._connections()
        finally:
            reloading.cancel()
            self._runner.close()
            log_counts(self._counts, "in all")

    def _signalled(self) -> None:
        if self._stop.is_set():
            raise SystemExit(1)  # told twice: at once
        logger.info("stopping: answering what is in hand")
        self._stop.set()

    async def _reloads(self) -> None:
        """Replace the model each time that SIGHUP says so."""
        while True:
            await self._reload.wait()
            self._reload.clear()
            old = self._runner.model
            try:
                # What a restart would read, too: a bundle may have been named there anew.
                config = self._read()
                await self._runner.replace(self._load, config)
            except Exception as error:  # noqa: BLE001 - whatever it is, the old model goes on
                logger.error("not reloaded, model %s goes on: %s", old, error)
                continue
            logger.info("reloaded: model %s instead of %s", self._runner.model, old)
            if changed := _changed(self._config, config):
                logger.warning("a reload takes the bundle alone: restart the agent for %s", changed)
            if self._serving:
                self._serving.model_changed()

    async def _connections(self) -> None:
        """One connection after the other."""
        now = asyncio.get_running_loop().time
        give_up = now() + self._config.connect_timeout
        failures, said = 0, ""
        while not self._stop.is_set():
            try:
                if await self._connection():
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

    async def _connection(self) -> bool:
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
            model=self._runner.model,
            credit=config.credit,
            max_queued=config.max_queued,
            max_job=1 if self._offline else MAX_JOB,
        )
        try:
            self._serving = Connection(
                config,
                session,
                opening.result(),
                self._runner,
                self._stop,
                parallel=config.threads,
                patient=self._offline,
            )
            await self._serving.run()
        finally:
            self._serving = None
            self._counts.update(session.counts)
        return True


def _changed(old: Config, new: Config) -> str:
    """The settings that differ and that a reload does not take, by their keys."""
    names = (each.name for each in fields(Config) if each.name != "bundle")
    return ", ".join(name for name in names if getattr(old, name) != getattr(new, name))
