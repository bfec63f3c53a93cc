"""One connection to Zeek: opening the WebSocket, and the tasks that move messages, windows and time for a Session."""

from __future__ import annotations

import asyncio
import ssl
import time
from contextlib import suppress
from typing import Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    InvalidURI,
)

from .. import __version__
from .broker import MAX_MESSAGE
from .config import Config, ConfigError, is_loopback
from .evidence import Evidence
from .log import log_counts, logger
from .runner import Runner
from .session import Session, State
from .tally import Tally

#: A Zeek that for so many seconds takes nothing, or answers no ping, is given up.
STALLED = 120.0
# Seconds between two steps of judging evidence, of a few milliseconds each.
_BETWEEN_STEPS = 0.01


class ConnectionProblem(Exception):
    """Connecting failed, what answered is no Zeek, or Zeek hangs; the text is one line."""


class NobodyListens(ConnectionProblem):
    """Nobody listens there, perhaps not yet."""


def tls_context(config: Config) -> ssl.SSLContext | None:
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
    context.check_hostname = not is_loopback(config.url)
    if tls.cert:
        try:
            # Without a password here, OpenSSL would ask for one on the terminal.
            context.load_cert_chain(tls.cert, tls.key, password=lambda: "")
        except (ssl.SSLError, OSError, ValueError) as error:
            raise ConfigError(
                f"tls.cert, tls.key: {tls.cert}, {tls.key}: not a certificate and its key in PEM without a password "
                f"({_reason(error)})"
            ) from None
    return context


class _Straight(connect):
    """Nobody but the configured Zeek is contacted: a redirect is not followed."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def open_websocket(config: Config, tls: ssl.SSLContext | None, *, patient: bool) -> ClientConnection:
    """Connect to Zeek. A ``patient`` one does not give up a Zeek that stands still, as while its capture pauses.

    Raises:
        ConnectionProblem: nobody answers, or not like Zeek.
    """
    url = config.url
    try:
        return await _Straight(
            url,
            ssl=tls,
            proxy=None,
            compression=None,
            additional_headers={"X-Application-Name": f"mmtt/{__version__}"},
            user_agent_header=None,
            open_timeout=None if patient else config.connect_timeout,
            close_timeout=2,
            ping_interval=None if patient else 20,
            ping_timeout=None if patient else STALLED,
            max_size=MAX_MESSAGE,
            max_queue=16,
        )
    except (TimeoutError, asyncio.TimeoutError):  # two before Python 3.11
        raise ConnectionProblem(f"no answer from {url} in {config.connect_timeout:g} s") from None
    except OSError as error:
        # asyncio joins the errors of several addresses to one without a type.
        if isinstance(error, ConnectionRefusedError) or "refused" in str(error).lower():
            raise NobodyListens(f"can't connect to {url}: nobody listens there (connection refused)") from None
        problem = f"can't connect to {url}: {_reason(error)}"
        hint = "does it speak TLS?" if tls and isinstance(error, ConnectionResetError) else ""
    except InvalidStatus as error:
        problem = f"{url} is not Zeek's WebSocket API: HTTP status {error.response.status_code}"
        hint = ""
    except (InvalidHandshake, InvalidMessage, InvalidURI, ConnectionClosed, EOFError) as error:
        problem = f"{url} does not answer like Zeek's WebSocket API: {error}"
        # In TLS 1.3 a server refuses a certificate only after the handshake, and asyncio does not tell.
        hint = "does it accept the certificate in tls.cert?" if tls else ""
    raise ConnectionProblem(f"{problem}; {hint}" if hint else problem)


def _reason(error: BaseException) -> str:
    """An OSError's reason."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: Zeek's certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or error}"
    if isinstance(error, ConnectionResetError):
        return "connection reset"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


class Link(Protocol):
    """What a Connection needs of the way to Zeek: a WebSocket, or Broker itself (native.py)."""

    async def recv(self) -> str | bytes: ...

    async def send(self, message: str) -> None: ...

    async def close(self, code: int) -> None: ...


class Connection:
    """Serves one open link to its end.

    Args:
        runner: runs a job's windows off the event loop.
        tally: takes what the model says, and how long it took.
        evidence: the session's; it is told each second what time it is, unless ``patient``: a capture has its own.
        stopping: set when the agent is to answer what is in hand and say goodbye.
        parallel: jobs that run at once.
        patient: wait without limit for a Zeek that takes nothing, and for its acknowledgement.
    """

    def __init__(
        self,
        config: Config,
        session: Session,
        link: Link,
        runner: Runner,
        tally: Tally,
        evidence: Evidence,
        stopping: asyncio.Event,
        *,
        parallel: int,
        patient: bool,
    ) -> None:
        self._config, self._session, self._link = config, session, link
        self._runner, self._tally, self._stopping, self._evidence = runner, tally, stopping, evidence
        self._parallel, self._patient = parallel, patient
        self._to_send, self._to_run, self._to_read = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._served = False

    async def run(self) -> None:
        """Until Zeek ends the connection, or everything in hand is answered after ``stopping``.

        Raises:
            ConnectionProblem: the connection ended before Zeek acknowledged it.
        """
        work = (
            self._read(),
            self._send(),
            self._tick(),
            self._drain(),
            *([] if self._patient else [self._judge()]),
            *(self._run_jobs() for _ in range(self._parallel)),
        )
        tasks = [asyncio.ensure_future(each) for each in work]
        self._stir()
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            problem = next((error for task in done if (error := task.exception())), None)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            said_goodbye = self._session.state is State.CLOSED
            if not said_goodbye:
                self._session.lost()
            with suppress(asyncio.TimeoutError):  # a Zeek that hangs must not hold us
                await asyncio.wait_for(self._link.close(1000 if said_goodbye else 1001), 2)
            self._log_notes()
        if problem is not None:
            self._explain(problem)
        elif self._served:
            logger.info("stopped: everything in hand is answered")

    def model_changed(self) -> None:
        """The runner has another model: tell Zeek."""
        self._session.use_model(self._runner.model)
        self._stir()

    def _explain(self, problem: BaseException) -> None:
        """Say why the connection ended; what is no end of a connection goes on as it is."""
        log = logger.warning
        if isinstance(problem, ConnectionClosed):
            problem, log = ConnectionProblem(f"{self._config.url}: {_end(problem)}"), logger.info
        if not self._served or not isinstance(problem, ConnectionProblem):
            raise problem
        log("%s", problem)

    def _stir(self) -> None:
        """The session has changed: wake whoever has something to do, and log what there is to log."""
        session = self._session
        if session.has_messages or session.state is State.CLOSED:
            self._to_send.set()
        if session.has_jobs:
            self._to_run.set()
        if session.wants_messages:
            self._to_read.set()
        self._log_notes()

    def _log_notes(self) -> None:
        while self._session.notes:
            note = self._session.notes.popleft()
            getattr(logger, note.level)("%s", note.text)

    async def _read(self) -> None:
        session, seconds = self._session, self._config.connect_timeout
        try:
            await asyncio.wait_for(self._acknowledgement(), None if self._patient else seconds)
        except asyncio.TimeoutError:
            raise ConnectionProblem(
                f"{self._config.url}: no acknowledgement in {seconds:g} s; is it Zeek's WebSocket API?"
            ) from None
        self._served = True
        while True:
            await self._receive()
            if not session.wants_messages:
                self._to_read.clear()
                await self._to_read.wait()
            # Messages may lie ready for long: others have work too.
            await asyncio.sleep(0)

    async def _acknowledgement(self) -> None:
        while self._session.state is State.SUBSCRIBING:
            await self._receive()

    async def _receive(self) -> None:
        message = await self._link.recv()
        self._session.receive(message, time.monotonic())
        self._stir()

    async def _send(self) -> None:
        session = self._session
        while session.state is not State.CLOSED:
            message = session.next_message()
            if message is None:
                self._to_send.clear()
                await self._to_send.wait()
                continue
            try:
                await asyncio.wait_for(self._link.send(message), None if self._patient else STALLED)
            except asyncio.TimeoutError:
                raise ConnectionProblem(f"{self._config.url}: Zeek took nothing for {STALLED:g} s") from None
            self._stir()

    async def _run_jobs(self) -> None:
        session = self._session
        while True:
            job = session.take()
            if job is None:
                self._to_run.clear()
                await self._to_run.wait()
                continue
            begun = time.monotonic()
            try:
                verdicts, model = await self._runner.classify(job.series)
            except Exception as error:  # noqa: BLE001 - whatever the network raises, its flows get an answer
                session.finish(job, None, f"{type(error).__name__}: {error}"[:300])
            else:
                session.finish(job, verdicts, model=model)
                self._tally.job(job, verdicts, begun, time.monotonic(), time.time())
            self._stir()

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        started, seconds = loop.time(), 0
        while True:
            # By the clock and not by sleeping 1 s each time, so that the ticks don't drift.
            seconds += 1
            await asyncio.sleep(max(0, started + seconds - loop.time()))
            self._session.tick()
            if seconds % self._config.log.counts_every == 0:
                log_counts(self._session.counts, "on this connection")
            self._stir()

    async def _judge(self) -> None:
        """Judge the evidence over connections, by the clock."""
        while True:
            await asyncio.sleep(1)
            for _ in self._evidence.steps(time.time_ns() // 1000):
                # Flows wait for their verdicts meanwhile, and this is in no hurry.
                await asyncio.sleep(_BETWEEN_STEPS)
            self._stir()

    async def _drain(self) -> None:
        await self._stopping.wait()
        self._session.drain()
        self._stir()
        seconds = self._config.stop_timeout
        await asyncio.sleep(seconds)
        raise ConnectionProblem(f"{self._session.in_hand} flows are not answered after {seconds:g} s; stopping")


def _end(closed: ConnectionClosed) -> str:
    """How a connection ended: who closed it, and why."""
    sent, received = closed.sent, closed.rcvd
    if sent and not closed.rcvd_then_sent and sent.code != 1000:
        what = {
            1009: f"Zeek sent a message of more than {MAX_MESSAGE} bytes",
            1011: "Zeek does not answer pings",
        }
        return f"connection closed: {what.get(sent.code, f'WebSocket error {sent.code}: {sent.reason}')}"
    if received is None:
        return "connection lost"
    return f"Zeek closed the connection{f' ({received.reason})' if received.reason else ''}"
