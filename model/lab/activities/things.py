"""Household devices: CoAP with and without DTLS, sensors that report by HTTPS, and a camera that sends its pictures
up.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import socket
import subprocess
import time
from collections.abc import Callable
from random import Random

from .. import behaviour, fronted, tls_pipe
from ..activity import Activity, pairs
from ..part import Part
from ..serving import running

COAP, COAPS, HTTPS = 5683, 5684, 443
_USER, _KEY = "lab", "lab-words-only-1"
_LIBCOAP = ("libcoap-openssl", "libcoap-gnutls")

ACTIVITIES = {
    "coap": Activity("iot", pairs(_LIBCOAP, (*_LIBCOAP, "aiocoap", "python")), application="COAP"),
    # openssl and gnutls: an own device that keeps its DTLS session, over those programs.
    "coap_dtls": Activity("iot", pairs(_LIBCOAP, (*_LIBCOAP, "openssl", "gnutls")), application="COAP"),
    "sensor_https": Activity("iot", pairs(fronted.SERVERS, fronted.CLIENTS), tcp_ports=(HTTPS,)),
    "camera": Activity(
        "iot", pairs(fronted.SERVERS, ("python", "openssl", "gnutls", "node", "socat")), tcp_ports=(HTTPS,)
    ),
}


def serve(part: Part) -> None:
    if not part.activity.startswith("coap"):
        fronted.serve(part)
        return
    # With a key it listens for DTLS too, one port higher.
    kind = part.server.removeprefix("libcoap-")
    with running(
        [f"coap-server-{kind}", "-A", part.address, "-p", str(COAP), "-d", "50", "-k", _KEY, "-h", "lab"]
    ) as process:
        end = time.monotonic() + 10
        while not _answers(part.address):
            if time.monotonic() > end or process.poll() is not None:
                raise ConnectionError("coap-server does not answer")
        part.ready()
        process.wait()


def _answers(address: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.3)
        try:
            asking.connect((address, COAP))
            asking.send(_message(0, 1, "time", b""))
            return bool(asking.recv(1500))
        except OSError:
            time.sleep(0.1)
            return False


def act(part: Part) -> None:
    if part.activity == "sensor_https":
        _report(part)
    elif part.activity == "camera":
        _film(part)
    elif part.client.startswith("libcoap"):
        _libcoap(part)
    elif part.client == "aiocoap":
        asyncio.run(_aiocoap(part))
    else:
        _own_coap(part)


# --- CoAP ---


def _reading(draw: Random) -> int:
    """Bytes of a reading as SenML or JSON: one value, or a record of several. Orders of magnitude, not measured."""
    return draw.choice((draw.randrange(12, 40), draw.randrange(50, 90), draw.randrange(110, 250)))


def _period(draw: Random) -> float:
    """Seconds between readings: devices report each some seconds to minutes; scaled to short captures. Not measured."""
    return draw.choice((0.8, 1.5, 2.5, 4.0))


def _libcoap(part: Part) -> None:
    """A device that sleeps between readings: a program, and with DTLS a handshake, for each; some are asked and
    observed.
    """
    draw, kind = part.draw, part.client.removeprefix("libcoap-")
    scheme, port = ("coaps", COAPS) if part.activity == "coap_dtls" else ("coap", COAP)
    secret = ["-k", _KEY, "-u", _USER] if scheme == "coaps" else []
    period, observed = _period(draw), draw.random() < 0.3
    while True:
        turn, where = draw.random(), f"{scheme}://{part.address}:{port}/"
        if observed:
            words = ["-s", str(draw.randrange(4, 9)), where + "time"]
        elif turn < 0.7:
            words = [
                "-G",
                str(draw.randrange(2, 6)),
                "-m",
                "put",
                "-e",
                os.urandom(_reading(draw) // 2 + 1).hex(),
                where + "reading",
            ]
        elif turn < 0.95:
            words = ["-G", str(draw.randrange(2, 5)), where + draw.choice(("time", ""))]
        else:
            words = [where + ".well-known/core"]
        subprocess.run(
            [f"coap-client-{kind}", *secret, "-B", "8", *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        if not part.pause(behaviour.beacon(period, 0.1, draw)):
            return


def _message(kind: int, code: int, path: str, payload: bytes) -> bytes:
    """A CoAP message (RFC 7252): `kind` 0 asks for a receipt, 1 does not; with a token and one step of a path."""
    token = os.urandom(4)
    option = bytes([0xB0 | len(path)]) + path.encode()
    return (
        bytes([0x40 | kind << 4 | 4, code]) + os.urandom(2) + token + option + (b"\xff" + payload if payload else b"")
    )


def _own_coap(part: Part) -> None:
    """A device that stays awake: one port, with DTLS one session, for all it says."""
    draw = part.draw
    period, kind = _period(draw) / 2, draw.choice((0, 0, 1))
    send: Callable[[bytes], object]
    if part.client == "python":
        link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        link.connect((part.address, COAP))
        send = link.send
    else:
        target = f"{part.address}:{COAPS}"
        # CCM_8 is the suite that RFC 7252 asks devices for.
        command = {
            "openssl": [
                "openssl",
                "s_client",
                "-quiet",
                "-dtls1_2",
                "-psk",
                _KEY.encode().hex(),
                "-psk_identity",
                _USER,
                "-cipher",
                "PSK-AES128-CCM8:PSK-AES128-GCM-SHA256:@SECLEVEL=0",
                "-connect",
                target,
            ],
            "gnutls": [
                "gnutls-cli",
                "--logfile=/dev/null",
                "--udp",
                "--pskusername",
                _USER,
                "--pskkey",
                _KEY.encode().hex(),
                "--priority",
                "NORMAL:-KX-ALL:+PSK:+AES-128-CCM-8",
                "-p",
                str(COAPS),
                part.address,
            ],
        }[part.client]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def write(message: bytes) -> None:
            assert process.stdin, "a pipe"
            # What is written at once becomes one record.
            os.write(process.stdin.fileno(), message)

        send = write
        part.pause(2.0)
    while True:
        if draw.random() < 0.75:
            send(_message(kind, 3, "reading", os.urandom(_reading(draw)).hex().encode()[: _reading(draw)]))
        else:
            send(_message(0, 1, "time", b""))
        if not part.pause(behaviour.beacon(period, 0.1, draw)):
            break
    if part.client != "python":
        process.terminate()


async def _aiocoap(part: Part) -> None:
    import aiocoap

    draw = part.draw
    # One kind of transport, so that it looks for no other.
    context = await aiocoap.Context.create_client_context(transports=["simple6"])
    period = _period(draw) / 2
    where = f"coap://{part.address}/"
    while part.left() > 0:
        put = draw.random() < 0.75
        message = aiocoap.Message(
            code=aiocoap.PUT if put else aiocoap.GET,
            uri=where + ("reading" if put else "time"),
            payload=os.urandom(_reading(draw)) if put else b"",
        )
        with contextlib.suppress(aiocoap.error.Error, asyncio.TimeoutError):
            await asyncio.wait_for(context.request(message).response, 8)
        await asyncio.sleep(max(0.0, min(behaviour.beacon(period, 0.1, draw), part.left())))
    await context.shutdown()


# --- HTTPS ---


def _report(part: Part) -> None:
    """Readings at a nearly fixed interval; now and then the answer brings settings. Some devices keep the
    connection.
    """
    draw = part.draw
    client = fronted.Client(part, draw.random() < 0.6)
    period, batch = draw.choice((1.0, 2.0, 3.0, 5.0)), draw.choice((1, 1, 4))
    while True:
        answer = draw.choice((2, 15, 15, 40, 40, 40, 600)) if draw.random() < 0.97 else draw.randrange(3_000, 30_000)
        body = os.urandom(sum(_reading(draw) for _ in range(batch)) // 2 + 1).hex().encode()
        client.request(
            "POST",
            f"/200/{answer}/reading",
            body,
            {"User-Agent": "ESP32 HTTP Client/1.0", "Content-Type": "application/json"},
        )
        if not part.pause(behaviour.beacon(period, 0.05, draw)):
            break
    client.close()
    os._exit(0)


def _film(part: Part) -> None:
    """One request whose body does not end: H.264 in groups of a picture and its changes, or JPEGs. Some
    0.1 to 0.9 Mbit/s, chosen and not measured. A quiet room changes little, movement much."""
    draw = part.draw
    pipe = tls_pipe.connect(part, part.client, HTTPS)
    pipe.send(
        f"POST /200/16/film HTTP/1.1\r\nHost: {part.address}\r\nUser-Agent: IPCamera/2.1\r\n"
        "Content-Type: video/mp4\r\nContent-Length: 90000000\r\n\r\n".encode()
    )
    jpeg, moves, frames = draw.random() < 0.3, 1.0, draw.choice((8, 10, 12, 15))
    if jpeg:
        frames = draw.choice((2, 3, 5))
    group, number, key = frames * 2, 0, draw.lognormvariate(math.log(18_000), 0.3)
    begun = time.monotonic()
    while part.left() > 0:
        if number % frames == 0:
            # Each second the room may start or stop moving.
            moves = draw.choice((1.0, 3.0)) if draw.random() < 0.2 else moves
        if jpeg or number % group == 0:
            size = key * draw.lognormvariate(0, 0.06)
        else:
            size = 900 * moves * draw.lognormvariate(0, 0.4)
        pipe.send(os.urandom(int(size)))
        number += 1
        if not part.pause(max(0.0, begun + number / frames - time.monotonic())):
            break
    pipe.close()
    os._exit(0)
