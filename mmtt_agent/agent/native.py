"""Broker itself as the way to Zeek, where Zeek's Python module ``broker`` can be imported: the agent listens, and
sensors connect to it (``@load mmtt/broker-agents``). To :class:`.connection.Connection` it is what a WebSocket is:
messages are the same text.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import Any
from urllib.parse import urlsplit

from . import broker as wire_format
from .config import Config, ConfigError
from .connection import ConnectionProblem
from .log import logger
from .wire import AGENTS_TOPIC, PROTOCOL, agent_topic

#: Messages that wait to be read at most; Broker holds back those who send more.
_QUEUE = 256


class Listener:
    """Listens where ``config.url`` says (broker://HOST:PORT), from the first :meth:`link` on.

    Raises:
        ConfigError: there is no module ``broker``.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        try:
            import broker  # type: ignore[import-not-found]  # Zeek's, of no package index
            import broker.zeek  # type: ignore[import-not-found]  # the same
        except ImportError as error:
            raise ConfigError(
                f"url: {config.url} needs Zeek's Python module broker, which can't be imported here ({error}); "
                "use ws://, or set PYTHONPATH to what `zeek-config --python_dir` says"
            ) from None
        self._broker: Any = broker
        self._endpoint: Any = None

    async def link(self) -> Link:
        """Wait until a sensor has connected.

        Raises:
            ConnectionProblem: the port can't be had.
        """
        if self._endpoint is None:
            self._listen()
        while not self._endpoint.peers():
            await asyncio.sleep(0.1)
        # What earlier sensors have left.
        for source in (self._messages, self._changes):
            if source.available():
                source.poll()
        return Link(self._config.url, self._broker, self._endpoint, self._messages, self._changes)

    def close(self) -> None:
        if self._endpoint is not None:
            self._messages.reset()
            self._changes.reset()
            # In this thread: it does not let go of Python meanwhile.
            self._endpoint.shutdown()
            self._endpoint = None

    def _listen(self) -> None:
        parts, tls, broker = urlsplit(self._config.url), self._config.tls, self._broker
        options = broker.BrokerOptions()
        options.ignore_broker_conf = True
        # What one sensor says is none of another's business.
        options.disable_forwarding = True
        settings = broker.Configuration(options)
        if tls.cert:
            settings.openssl_certificate, settings.openssl_key = tls.cert, tls.key
            settings.openssl_cafile = tls.ca or ""
        endpoint = broker.Endpoint(settings)
        # Subscribed before anybody can connect: Broker does not tell all of its peers of what comes later.
        self._changes = endpoint.make_status_subscriber(True)
        self._messages = endpoint.make_subscriber(agent_topic(self._config.id), _QUEUE)
        self._messages.add_topic(AGENTS_TOPIC, True)
        if not endpoint.listen(parts.hostname, parts.port):
            endpoint.shutdown()
            raise ConnectionProblem(
                f"can't listen on {parts.hostname}:{parts.port} for sensors; is another agent there?"
            )
        logger.info("listening on %s:%d for sensors", parts.hostname, parts.port)
        self._endpoint = endpoint


class Link:
    """From the first sensor that connects until the last one is gone."""

    def __init__(self, url: str, broker: Any, endpoint: Any, messages: Any, changes: Any) -> None:
        self._url, self._broker, self._endpoint = url, broker, endpoint
        self._messages, self._changes = messages, changes
        self._ready: deque[str] = deque()
        self._subscribed = False
        self._stirred = asyncio.Event()
        loop = asyncio.get_running_loop()
        for source in (messages, changes):
            loop.add_reader(source.fd(), self._stirred.set)

    async def recv(self) -> str:
        """The next message, as Zeek's WebSocket API would put it.

        Raises:
            ConnectionProblem: no sensor is connected any more.
        """
        while not self._ready or not self._subscribed:
            await self._stirred.wait()
            self._stirred.clear()
            if self._messages.available():
                self._ready.extend(_event_text(topic, data) for topic, data in self._messages.poll())
            if self._changes.available():
                self._sensors(self._changes.poll())
        return self._ready.popleft()

    def _sensors(self, changes: list[Any]) -> None:
        if any(
            isinstance(change, self._broker.Status) and change.code() == self._broker.SC.PeerAdded for change in changes
        ):
            # It may have asked for agents before it was connected.
            self._ready.append(_HELLO_REQUEST)
        if not self._endpoint.peers():
            raise ConnectionProblem(f"{self._url}: no sensor is connected any more")

    async def send(self, message: str) -> None:
        """Send what the session gives: first the topics to subscribe to, which the listener has done; then events."""
        content = json.loads(message)
        if not self._subscribed:
            self._subscribed = True
            version = f"by Broker {self._broker.Version.string()}"
            self._ready.appendleft(json.dumps({"type": "ack", "endpoint": self._url, "version": version}))
            self._stirred.set()
            return
        name, arguments = (_plain(self._broker, part) for part in content["data"][2]["data"])
        self._endpoint.publish(content["topic"], self._broker.zeek.Event(name, *arguments))
        await asyncio.sleep(0)

    async def close(self, code: int = 1000) -> None:
        loop = asyncio.get_running_loop()
        for source in (self._messages, self._changes):
            loop.remove_reader(source.fd())


_HELLO_REQUEST = wire_format.encode_event(AGENTS_TOPIC, "MMTT::hello_request", wire_format.count(PROTOCOL))


def _event_text(topic: str, data: Any) -> str:
    """A message of Broker's, wrapped as the WebSocket API wraps it; what is no event comes out as what no event is."""
    return json.dumps({"type": "data-message", "topic": topic, **_wrapped(data)})


def _wrapped(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return {"@data-type": "string", "data": value}
    if isinstance(value, bool):
        return {"@data-type": "boolean", "data": value}
    if isinstance(value, list | tuple):
        return {"@data-type": "vector", "data": [_wrapped(each) for each in value]}
    # Broker's count is a type of its own; a plain number is Zeek's int.
    if type(value).__name__ == "Count":
        return {"@data-type": "count", "data": value.value}
    if isinstance(value, int):
        return {"@data-type": "integer", "data": value}
    return {"@data-type": "none", "data": {}}


def _plain(broker: Any, value: dict[str, Any]) -> Any:
    """Broker's value for a wrapped one."""
    kind, data = value["@data-type"], value["data"]
    if kind == "vector":
        return [_plain(broker, each) for each in data]
    return broker.Count(data) if kind == "count" else data
