"""MQTT over TLS: sensors that report, and a chat over the same broker, which ends TLS itself or has a proxy do it."""

from __future__ import annotations

import os
import socket
import ssl
import struct
import subprocess
import threading
from random import Random

from .. import behaviour, tls_front
from ..activity import Activity, pairs
from ..part import Part
from ..serving import run_server, running, wait_for_port

PORT = 8883

_BOTH = pairs(("mosquitto", "stunnel", "nginx-stream"), ("mosquitto", "python", "paho-mqtt", "aiomqtt"))

ACTIVITIES = {
    "chat_mqtt": Activity("chat", _BOTH, application="MQTT", tcp_ports=(PORT,)),
    "sensor": Activity("iot", _BOTH, application="MQTT", tcp_ports=(PORT,)),
}


def serve(part: Part) -> None:
    config, alone = part.scratch / "mosquitto.conf", part.server == "mosquitto"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        inside = free.getsockname()[1]
    config.write_text(
        (
            f"listener {PORT} {part.address}\ncertfile {part.secrets}/cert.pem\nkeyfile {part.secrets}/key.pem\n"
            if alone
            else f"listener {inside} 127.0.0.1\n"
        )
        + "allow_anonymous true\npersistence false\nuser root\nlog_dest none\n"
    )
    command = ["mosquitto", "-c", str(config)]
    if alone:
        run_server(part, command, PORT)
        return
    with running(command):
        wait_for_port("127.0.0.1", inside)
        tls_front.front(part, part.server, PORT, inside)


def _next(part: Part, draw: Random) -> tuple[int, float]:
    """Payload bytes of the next message and seconds after it."""
    if part.activity == "sensor":
        # A reading each few seconds, as smart plugs and weather stations do; its text hardly varies.
        return draw.randrange(28, 64), 2.0 + draw.random() * 0.1
    return behaviour.message(draw), behaviour.message_gap(draw)


def act(part: Part) -> None:
    draw = part.draw
    topic = f"lab/{draw.randrange(1 << 30):x}"
    if part.client in ("python", "paho-mqtt", "aiomqtt"):
        {"python": _own, "paho-mqtt": _paho, "aiomqtt": _aiomqtt}[part.client](part, draw, topic)
        return
    common = ["-h", part.address, "-p", str(PORT), "--cafile", str(part.secrets / "ca.pem"), "--insecure", "-t", topic]
    listener = subprocess.Popen(["mosquitto_sub", *common], stdout=subprocess.DEVNULL)
    # mosquitto_pub -l sends each line as a message over one connection.
    talker = subprocess.Popen(["mosquitto_pub", "-l", "-q", "1", *common], stdin=subprocess.PIPE)
    assert talker.stdin, "a pipe"
    while True:
        size, gap = _next(part, draw)
        talker.stdin.write(os.urandom(size // 2 + 1).hex().encode() + b"\n")
        talker.stdin.flush()
        if not part.pause(gap):
            break
    talker.stdin.close()
    try:
        talker.wait(3)
    except subprocess.TimeoutExpired:
        talker.terminate()
    listener.terminate()


def _own(part: Part, draw: Random, topic: str) -> None:
    def length(count: int) -> bytes:
        made = bytearray()
        while True:
            count, digit = count >> 7, count & 127
            made.append(digit | (128 if count else 0))
            if not count:
                return bytes(made)

    def text(word: str) -> bytes:
        return struct.pack(">H", len(word)) + word.encode()

    context = ssl._create_unverified_context()
    connection = context.wrap_socket(socket.create_connection((part.address, PORT), 20), server_hostname=part.name)
    hello = text("MQTT") + b"\x04\x02" + struct.pack(">H", 30) + text(topic)
    connection.sendall(b"\x10" + length(len(hello)) + hello)
    connection.recv(64)
    wish = struct.pack(">H", 1) + text(topic) + b"\0"
    connection.sendall(b"\x82" + length(len(wish)) + wish)

    def read() -> None:
        try:
            while connection.recv(65536):
                pass
        except OSError:
            pass

    threading.Thread(target=read, daemon=True).start()
    while True:
        size, gap = _next(part, draw)
        body = text(topic) + os.urandom(size)
        connection.sendall(b"\x30" + length(len(body)) + body)
        if not part.pause(gap):
            break
    connection.sendall(b"\xe0\x00")
    connection.close()


def _paho(part: Part, draw: Random, topic: str) -> None:
    import paho.mqtt.client as mqtt
    from paho.mqtt.enums import CallbackAPIVersion

    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=draw.choice((mqtt.MQTTv311, mqtt.MQTTv5)))
    client.tls_set_context(ssl._create_unverified_context())

    def subscribe(*_: object) -> None:
        client.subscribe(topic, qos=1)

    client.on_connect = subscribe
    client.connect(part.address, PORT, keepalive=draw.choice((5, 15, 60)))
    client.loop_start()
    service = draw.choice((0, 1, 2))
    while True:
        size, gap = _next(part, draw)
        client.publish(topic, os.urandom(size), qos=service)
        if not part.pause(gap):
            break
    client.disconnect()
    client.loop_stop()


def _aiomqtt(part: Part, draw: Random, topic: str) -> None:
    import asyncio

    import aiomqtt

    async def run() -> None:
        async with aiomqtt.Client(
            part.address,
            PORT,
            tls_context=ssl._create_unverified_context(),
            timeout=30,
            keepalive=draw.choice((5, 15, 60)),
        ) as client:
            await client.subscribe(topic)
            while part.left() > 0:
                size, gap = _next(part, draw)
                await client.publish(topic, os.urandom(size), qos=1)
                await asyncio.sleep(max(0.0, min(gap, part.left())))

    asyncio.run(run())
