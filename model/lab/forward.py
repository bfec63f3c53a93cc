"""TCP ports taken on a host's loopback and led elsewhere: what tunnels need that carry connections, not packets."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from functools import partial
from typing import Any, Protocol

from .activities import ACTIVITIES
from .part import Part


class Reader(Protocol):
    """What is needed of asyncio's StreamReader."""

    async def read(self, size: int, /) -> bytes: ...


class Writer(Protocol):
    """What is needed of asyncio's StreamWriter; write_eof() only where can_write_eof() says so."""

    def write(self, data: bytes, /) -> None: ...

    async def drain(self) -> None: ...

    def can_write_eof(self) -> bool: ...

    def write_eof(self) -> None: ...

    def close(self) -> None: ...


#: What a dialler gives.
Ends = tuple[Reader, Writer]
#: Such ends that are asyncio's own.
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def ports(part: Part) -> tuple[int, ...]:
    """The ports that the activity inside the tunnel listens at."""
    return ACTIVITIES[part.activity].tcp_ports


def background(coroutine: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine beside the activity, to the process's end; returns when the coroutine sets its event."""
    begun = threading.Event()

    async def run() -> None:
        ready = asyncio.Event()
        task = asyncio.create_task(coroutine(ready))
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
        if ready.is_set():
            begun.set()
        await task

    threading.Thread(target=asyncio.run, args=(run(),), daemon=True).start()
    if not begun.wait(20):
        raise SystemExit("the tunnel's forwarder did not come up")


async def join(one: Ends, other: Ends) -> None:
    """Carry bytes both ways until both have ended."""

    async def carry(reader: Reader, writer: Writer) -> None:
        with contextlib.suppress(OSError, EOFError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        with contextlib.suppress(OSError, RuntimeError):
            writer.write_eof() if writer.can_write_eof() else writer.close()

    await asyncio.gather(carry(one[0], other[1]), carry(other[0], one[1]))
    for _, writer in (one, other):
        writer.close()


@contextlib.contextmanager
def forwarding(part: Part, dial: Callable[[int], Awaitable[Ends]]) -> Iterator[str]:
    """Take the activity's ports at its loopback address; each connection goes on over what `dial` opens for its
    port.
    """

    async def take(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            other = await dial(port)
        except (OSError, EOFError, ValueError):
            writer.close()
            return
        await join((reader, writer), other)

    async def run(ready: asyncio.Event) -> None:
        for port in ports(part):
            await asyncio.start_server(partial(take, port), part.loopback, port)
        ready.set()
        await asyncio.Event().wait()

    background(run)
    yield part.loopback
