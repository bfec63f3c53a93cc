"""Lines into Redis, as Suricata's ``eve-log`` puts them there: a list, a channel or a stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .receiver import Away, Receiver
from .sink import SinkError

#: Entries that a stream holds at most, about; Suricata's own default.
STREAM_MOST = 100_000

# Lines that are put at once.
_BATCH = 500


def _publish(redis: Any, key: str, lines: list[bytes]) -> None:
    with redis.pipeline(transaction=True) as pipeline:
        for line in lines:
            pipeline.publish(key, line)
        pipeline.execute()


def _add(redis: Any, key: str, lines: list[bytes]) -> None:
    with redis.pipeline(transaction=True) as pipeline:
        for line in lines:
            pipeline.xadd(key, {"eve": line}, maxlen=STREAM_MOST, approximate=True)
        pipeline.execute()


#: How each mode puts lines there: all of them or none.
_PUTS: dict[str, Callable[[Any, str, list[bytes]], Any]] = {
    "list": lambda redis, key, lines: redis.lpush(key, *lines),
    "rpush": lambda redis, key, lines: redis.rpush(key, *lines),
    "channel": _publish,
    "stream": _add,
}
#: Suricata's names for the same.
_ALSO = {"lpush": "list", "publish": "channel", "xadd": "stream"}
MODES = (*_PUTS, *_ALSO)


@dataclass(frozen=True)
class Server:
    """Which one, and what of it."""

    host: str
    port: int
    key: str
    mode: str = "list"
    username: str | None = None
    password: str | None = None
    database: int = 0
    tls: bool = False

    def __str__(self) -> str:
        """Without what is secret."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"redis{'s' if self.tls else ''}://{host}:{self.port}/{self.key}"


class Redis(Receiver):
    """Lines are handed over many at a time, all or none of them. If the connection is lost between the last of them and
    the answer, nobody knows: they are handed over once more.

    Raises:
        SinkError: the library is not there.
    """

    def __init__(self, server: Server, patience: float) -> None:
        super().__init__(str(server), patience)
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError:
            raise SinkError(
                f"{server}: the library for Redis is not installed; type: pip install 'mmtt[suricata]'"
            ) from None
        self._error: type[Exception] = redis.RedisError
        self._key, self._put = server.key, _PUTS[_ALSO.get(server.mode, server.mode)]
        self._redis = redis.Redis(
            server.host,
            server.port,
            server.database,
            username=server.username,
            password=server.password,
            ssl=server.tls,
            socket_timeout=patience,
            socket_connect_timeout=patience,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )

    def _connect(self) -> None:
        try:
            self._redis.ping()
        except (self._error, OSError) as error:
            raise Away(_why(error)) from None

    def _disconnect(self) -> None:
        self._redis.close()
        self._redis.connection_pool.disconnect()

    def _hand_over(self, lines: deque[bytes]) -> None:
        while lines:
            of_block = lines[0][:-1].split(b"\n")
            for begin in range(0, len(of_block), _BATCH):
                try:
                    self._put(self._redis, self._key, of_block[begin : begin + _BATCH])
                except (self._error, OSError) as error:
                    lines[0] = b"".join(line + b"\n" for line in of_block[begin:])
                    raise Away(_why(error)) from None
                self._progress()
            lines.popleft()


def _why(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
