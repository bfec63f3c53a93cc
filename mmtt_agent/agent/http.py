"""A service's port for those who watch it: /metrics, /health and /status, by GET, to be read only."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from .log import logger
from .metrics import CONTENT_TYPE

_JSON, _TEXT = "application/json", "text/plain; charset=utf-8"


async def listen(host: str, port: int, status: Callable[[], dict[str, Any]], metrics: Callable[[], bytes]) -> Server:
    """Answer there from now on. The server is that of websockets, which knows plain HTTP, too.

    Raises:
        OSError: the port can't be had.
    """

    def answer(_: ServerConnection, request: Request) -> Response:
        match request.path.partition("?")[0]:
            case "/metrics":
                return _response(HTTPStatus.OK, CONTENT_TYPE, metrics())
            case "/status":
                return _response(HTTPStatus.OK, _JSON, json.dumps(status()).encode() + b"\n")
            case "/health":
                problem = status()["problem"]
                code = HTTPStatus.SERVICE_UNAVAILABLE if problem else HTTPStatus.OK
                return _response(code, _TEXT, f"{problem or 'ok'}\n".encode())
        return _response(HTTPStatus.NOT_FOUND, _TEXT, b"mmtt: /metrics, /health, /status\n")

    async def never(_: ServerConnection) -> None:
        """Every request has been answered: none becomes a WebSocket."""

    server: Server = await serve(never, host, port, process_request=answer, compression=None, max_size=1024)
    return server


async def listen_if_possible(
    address: tuple[str, int] | None, status: Callable[[], dict[str, Any]], metrics: Callable[[], bytes]
) -> Server | None:
    """The same; where the port can't be had the log says so, and flows still get their verdicts. None: nowhere."""
    if address is None:
        return None
    try:
        return await listen(*address, status, metrics)
    except OSError as error:
        logger.warning(
            "no metrics and no `mmtt status`: can't listen on %s:%d: %s; is another agent there? Set metrics.listen",
            *address,
            why(error),
        )
        return None


def why(error: OSError) -> str:
    """Why a port can't be had."""
    # asyncio's own words name the address a second time; a name that can't be looked up has a number below 0.
    return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)


def _response(code: HTTPStatus, kind: str, body: bytes) -> Response:
    headers = {
        "Content-Type": kind,
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        "Connection": "close",
    }
    return Response(code.value, code.phrase, Headers(headers), body)
