"""The agent's I/O: a WebSocket to Zeek, threads for the network, signals, and connecting again."""

from __future__ import annotations

import asyncio
import random
import signal
import ssl
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    InvalidURI,
)

from .. import __version__
from ..classifier import Verdicts
from ..series import SeriesBatch
from . import wire
from .config import Config, ConfigError, is_loopback
from .flow import Session, State
from .log import logger

#: A connection on which nothing could be sent for so many seconds is given up.
STALLED = 120.0


class ServiceError(Exception):
    """The agent can't go on; the text is one line."""


class _NoConnection(Exception):
    """Connecting failed, or what answered is no Zeek; the text is one line."""


class Service:
    """Serves verdicts until told to stop.

    Args:
        classify: series in, verdicts out; called on ``config.threads`` threads at once.
        model: the model column of the log.
        offline: give each wire batch a run of its own, wait without limit for a Zeek that is busy.
        exit_with_zeek: stop when Zeek closes the connection rather than connect again.
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
        self._tls = _tls(config)
        self._stop = asyncio.Event()
        self._pool = ThreadPoolExecutor(config.threads, thread_name_prefix="mmtt-model")
        #: Counts of all connections so far.
        self.counts: Counter[str] = Counter()

    def stop(self) -> None:
        """Answer what is in hand, say goodbye, and come back from :meth:`run`."""
        self._stop.set()

    async def run(self) -> None:
        """Serve until stopped (or, with ``exit_with_zeek``, until Zeek is gone).

        Raises:
            ServiceError: with ``exit_with_zeek``, Zeek could not be reached in ``connect_timeout`` seconds.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)
        try:
            await self._connections()
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
            # What still runs was lost with its connection; nobody waits for it.
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._log_counts(self.counts, "in all")

    def _signalled(self) -> None:
        if self._stop.is_set():
            raise SystemExit(1)  # told twice: at once
        logger.info("stopping: answering what is in hand")
        self.stop()

    async def _connections(self) -> None:
        """One connection after the other."""
        failures = 0
        said = ""
        give_up = asyncio.get_running_loop().time() + self._config.connect_timeout
        while not self._stop.is_set():
            problem = ""
            try:
                if await self._connection():
                    failures = 0
                    said = ""
                    if self._exit_with_zeek:
                        return
            except _NoConnection as error:
                problem = str(error)
            if self._stop.is_set():
                return
            if self._exit_with_zeek:
                # Zeek has started this agent, perhaps an instant before it listens.
                if asyncio.get_running_loop().time() >= give_up:
                    raise ServiceError(problem)
                wait = 0.1
            else:
                reconnect = self._config.reconnect
                wait = min(reconnect.longest, reconnect.first * 2.0 ** min(failures, 30))
                # Many agents that lose one Zeek must not come back in step.
                wait *= 1 - random.random() / 2
                if problem and problem != said:
                    logger.warning("%s; trying again", problem)
                    said = problem
                logger.debug("connecting again in %.1f s", wait)
            failures += 1
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stop.wait(), wait)

    async def _connection(self) -> bool:
        """One connection from beginning to end; whether Zeek served on it at all.

        Raises:
            _NoConnection: it did not come about.
        """
        config = self._config
        opening = asyncio.ensure_future(self._open())
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait((opening, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not opening.done():
                return False
            websocket = opening.result()
        finally:
            for task in (opening, stopping):
                if not task.done():
                    task.cancel()
                    with suppress(asyncio.CancelledError, _NoConnection):
                        await task
        session = Session(
            agent=config.id,
            model=self._model,
            credit=config.credit,
            max_queued=config.max_queued,
            max_job=config.max_job,
            alone=self._offline,
        )
        connection = _Connection(self, session, websocket)
        try:
            return await connection.run()
        finally:
            self.counts.update(session.counts)

    async def _open(self) -> ClientConnection:
        config = self._config
        try:
            return await connect(
                config.url,
                ssl=self._tls,
                proxy=None,
                compression=None,
                additional_headers={"X-Application-Name": f"mmtt/{__version__}"},
                user_agent_header=None,
                open_timeout=config.connect_timeout,
                close_timeout=2,
                # Zeek pings; its answer to ours waits for its main loop, which may be busy for long.
                ping_interval=None if self._offline else 20,
                ping_timeout=None if self._offline else STALLED,
                max_size=wire.MAX_MESSAGE,
                max_queue=16,
            )
        except TimeoutError:
            raise _NoConnection(f"no answer from {config.url} in {config.connect_timeout:g} s") from None
        except ssl.SSLError as error:
            raise _NoConnection(f"can't connect to {config.url}: TLS: {error.reason or error}") from None
        except OSError as error:
            raise _NoConnection(f"can't connect to {config.url}: {_reason(error)}") from None
        except InvalidStatus as error:
            raise _NoConnection(
                f"{config.url} is not Zeek's WebSocket API: HTTP status {error.response.status_code}"
            ) from None
        except (InvalidHandshake, InvalidMessage, InvalidURI, ConnectionClosed, EOFError) as error:
            raise _NoConnection(f"{config.url} is not Zeek's WebSocket API: {error}") from None

    def _log_counts(self, counts: Counter[str], when: str) -> None:
        if counts:
            shown = ", ".join(f"{counts[key]} {key}" for key in sorted(counts))
            fields = {key.replace(" ", "_"): counts[key] for key in sorted(counts)}
            logger.info("%s: %s", when, shown, extra={"fields": {"counts": fields}})


class _Connection:
    """The tasks of one open connection: reading, sending, ticking, running the network."""

    def __init__(self, service: Service, session: Session, websocket: ClientConnection) -> None:
        self._service, self._session, self._websocket = service, session, websocket
        self._to_send, self._to_run, self._to_read = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._acknowledged = False
        self._served = False

    async def run(self) -> bool:
        """Until the connection ends; whether Zeek acknowledged it."""
        service, session = self._service, self._session
        work = [asyncio.ensure_future(self._run_jobs()) for _ in range(service._config.threads)]
        ends = [asyncio.ensure_future(each) for each in (self._read(), self._send(), self._tick(), self._drain())]
        self._stir()
        problem: Exception | None = None
        try:
            done, _ = await asyncio.wait((*ends, *work), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if error := task.exception():
                    problem = error
                    break
        finally:
            for task in (*ends, *work):
                task.cancel()
            await asyncio.gather(*ends, *work, return_exceptions=True)
            finished = session.finished
            if finished:
                await self._websocket.close(1000, "agent stopped")
            else:
                session.lost()
                # Not `close`: a Zeek that hangs would hold us.
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._websocket.close(1001), 1)
            self._notes()
        self._explain(problem, finished)
        return self._served

    def _explain(self, problem: Exception | None, finished: bool) -> None:
        """Say why the connection ended; anything that is not an end by Zeek or us goes on as it is."""
        url = self._service._config.url
        if isinstance(problem, ConnectionClosed):
            code = problem.rcvd.code if problem.rcvd else None
            if problem.sent and not problem.rcvd_then_sent and problem.sent.code != 1000:
                what = {
                    1009: f"Zeek sent a message of more than {wire.MAX_MESSAGE} bytes",
                    1011: "Zeek does not answer pings",
                }.get(problem.sent.code, f"WebSocket error {problem.sent.code}: {problem.sent.reason}")
                text = f"{url}: connection closed: {what}"
            elif code is None:
                text = f"{url}: connection lost"
            else:
                reason = f" ({problem.rcvd.reason})" if problem.rcvd.reason else ""
                text = f"{url}: Zeek closed the connection{reason}"
            if not self._served:
                raise _NoConnection(text)
            logger.info(text)
        elif isinstance(problem, _NoConnection):
            if not self._served:
                raise problem
            logger.warning("%s", problem)
        elif problem is not None:
            raise problem
        elif finished:
            logger.info("stopped: everything in hand is answered")

    def _stir(self) -> None:
        """The session has changed: wake whoever has something to do, and log what there is to log."""
        session = self._session
        if session.has_messages or session.finished:
            self._to_send.set()
        if session.queued:
            self._to_run.set()
        if session.wants_messages:
            self._to_read.set()
        self._notes()

    def _notes(self) -> None:
        while self._session.notes:
            note = self._session.notes.popleft()
            getattr(logger, note.level)("%s", note.text)

    async def _read(self) -> None:
        session, timeout = self._session, self._service._config.connect_timeout
        deadline = asyncio.get_running_loop().time() + timeout
        while True:
            if session.state is State.SUBSCRIBING:
                left = deadline - asyncio.get_running_loop().time()
                try:
                    message = await asyncio.wait_for(self._websocket.recv(), max(0, left))
                except asyncio.TimeoutError:
                    raise _NoConnection(
                        f"{self._service._config.url}: no acknowledgement in {timeout:g} s; is it Zeek's WebSocket API?"
                    ) from None
            else:
                message = await self._websocket.recv()
            session.receive(message)
            self._served = self._served or session.state is not State.SUBSCRIBING
            self._stir()
            if not session.wants_messages:
                self._to_read.clear()
                await self._to_read.wait()
            # Messages may lie ready for long: others have work too.
            await asyncio.sleep(0)

    async def _send(self) -> None:
        session = self._session
        while not session.finished:
            message = session.next_message()
            if message is None:
                self._to_send.clear()
                await self._to_send.wait()
                continue
            sending = self._websocket.send(message)
            if self._service._offline:
                await sending
                continue
            try:
                await asyncio.wait_for(sending, STALLED)
            except asyncio.TimeoutError:
                raise _NoConnection(f"{self._service._config.url}: Zeek took nothing for {STALLED:g} s") from None
            self._stir()

    async def _run_jobs(self) -> None:
        session, service = self._session, self._service
        loop = asyncio.get_running_loop()
        while True:
            job = session.take()
            if job is None:
                self._to_run.clear()
                await self._to_run.wait()
                continue
            try:
                verdicts = await loop.run_in_executor(service._pool, service._classify, job.series)
            except Exception as error:  # noqa: BLE001 - whatever the network raises, its flows get an answer
                session.finish(job, None, f"{type(error).__name__}: {error}"[:300])
            else:
                session.finish(job, verdicts)
            self._stir()

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        counts_every, seconds = self._service._config.log.counts_every, 0
        while True:
            # By the clock and not by sleeping 1 s each time, so that the ticks don't drift.
            seconds += 1
            await asyncio.sleep(max(0, started + seconds - loop.time()))
            self._session.tick()
            if seconds % round(counts_every) == 0:
                self._service._log_counts(self._session.counts, "on this connection")
            self._stir()

    async def _drain(self) -> None:
        await self._service._stop.wait()
        self._session.drain()
        self._stir()
        await asyncio.sleep(self._service._config.stop_timeout)
        raise _NoConnection(
            f"{self._session.in_hand} flows are not answered after {self._service._config.stop_timeout:g} s; stopping"
        )


def _tls(config: Config) -> ssl.SSLContext | None:
    """For wss://: Zeek's certificate is always verified; only on loopback its name may be another.

    Raises:
        ConfigError: a file holds no certificate or key.
    """
    if not config.url.startswith("wss:"):
        return None
    tls = config.tls
    try:
        context = ssl.create_default_context(cafile=tls.ca)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(f"tls.ca: {tls.ca}: no certificates in PEM ({_reason(error)})") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = not is_loopback(config.url)
    if tls.cert:
        try:
            context.load_cert_chain(tls.cert, tls.key, password=lambda: "")
        except (ssl.SSLError, OSError, ValueError) as error:
            raise ConfigError(
                f"tls.cert, tls.key: {tls.cert}, {tls.key}: not a certificate and its key in PEM without a password "
                f"({_reason(error)})"
            ) from None
    return context


def _reason(error: BaseException) -> str:
    """An OSError's reason; asyncio joins those of several addresses to one text without."""
    if isinstance(error, ssl.SSLError):
        return str(error.reason or error)
    if isinstance(error, ConnectionRefusedError) or "refused" in str(error).lower():
        return "nobody listens there (connection refused)"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
