"""Talk on a Mumble server that exists; the voice clients are the lab's own.

Control by TLS, voice by encrypted UDP (OCB2, as Mumble has it), or by the TLS connection where a network lets no UDP
through. Who answers is a second client on the server's own host. Mumble sends constant-rate Opus, and only while one
talks.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
import sys
import threading
import time
from random import Random
from typing import TYPE_CHECKING

from .. import behaviour
from ..activity import Activity
from ..part import Part
from ..serving import running, wait_for_port

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers import CipherContext

PORT = 64738

ACTIVITIES = {
    "mumble": Activity("voip", ("mumble/speaker", "mumble/speaker-tcp"), application="Mumble"),
}


def serve(part: Part) -> None:
    config = part.scratch / "mumble.ini"
    config.write_text(
        f"""database={part.scratch}/mumble.sqlite
host={part.address}
port={PORT}
sslCert={part.secrets}/cert.pem
sslKey={part.secrets}/key.pem
bonjour=False
bandwidth=140000
autobanAttempts=0
logfile=
uname=root
pidfile={part.scratch}/mumble.pid
welcometext=Welcome to the lab.
[Ice]
Ice.Warn.UnknownProperties=1
"""
    )
    with running(["murmurd", "-fg", "-ini", str(config)]) as process:
        wait_for_port(part.address, PORT)
        other = _Speaker(part, "bob", part.seed + 1, by_udp=True)
        threading.Thread(target=other.talk, daemon=True).start()
        part.ready()
        process.wait()


def act(part: Part) -> None:
    speaker = _Speaker(part, "ann", part.seed, by_udp=part.client == "speaker")
    speaker.talk()
    if not speaker.heard:
        sys.exit("nobody was heard")


def _double(block: bytes) -> bytes:
    value = int.from_bytes(block, "big") << 1
    return ((value ^ (value >> 128) * 0x87) & ((1 << 128) - 1)).to_bytes(16, "big")


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def _varint(value: int) -> bytes:
    """Protocol Buffers' numbers."""
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    return bytes([*made, value])


def _field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _short(value: int) -> bytes:
    """Mumble's own variable-length numbers, up to 28 bits."""
    if value < 0x80:
        return bytes([value])
    if value < 0x4000:
        return struct.pack(">H", value | 0x8000)
    if value < 0x200000:
        return struct.pack(">I", value | 0xC00000)[1:]
    return struct.pack(">I", value | 0xE0000000)


class _Speaker:
    def __init__(self, part: Part, name: str, seed: int, by_udp: bool) -> None:
        self.part, self.draw, self.by_udp = part, Random(seed), by_udp
        self.heard, self.sending, self.synced = 0, threading.Lock(), threading.Event()
        #: There once the server has told the key, before it lets its client in.
        self.cipher: CipherContext
        connection = socket.create_connection((part.address, PORT), 20)
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.control = ssl._create_unverified_context().wrap_socket(connection, server_hostname=part.name)
        self.voice = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.voice.connect((part.address, PORT))
        self._tell(0, _field(1, 0x010304) + _field(2, b"1.3.4") + _field(3, b"X11") + _field(4, b"Debian GNU/Linux 12"))
        self._tell(2, _field(1, name.encode()) + _field(5, 1))
        threading.Thread(target=self._hear_control, daemon=True).start()
        threading.Thread(target=self._hear_voice, daemon=True).start()
        if not self.synced.wait(15):
            sys.exit("the server did not let its client in")

    def _tell(self, kind: int, body: bytes) -> None:
        with self.sending:
            self.control.sendall(struct.pack(">HI", kind, len(body)) + body)

    def _hear_control(self) -> None:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        data = bytearray()
        with contextlib.suppress(OSError, ValueError):
            while piece := self.control.recv(65536):
                data += piece
                while len(data) >= 6 and len(data) >= 6 + struct.unpack(">I", data[2:6])[0]:
                    kind, length = struct.unpack(">HI", data[:6])
                    body = bytes(data[6 : 6 + length])
                    del data[: 6 + length]
                    if kind == 1:
                        self.heard += 1
                    elif kind == 15 and len(body) >= 54:
                        # Three fields of 16 bytes: the key, our nonce, the server's.
                        self.cipher = Cipher(algorithms.AES(body[2:18]), modes.ECB()).encryptor()
                        self.nonce = int.from_bytes(body[20:36], "little")
                    elif kind == 5:
                        self.synced.set()

    def _hear_voice(self) -> None:
        while True:
            try:
                if len(self.voice.recv(2048)) > 20:
                    self.heard += 1
            except OSError:
                time.sleep(0.2)

    def _sealed(self, plain: bytes) -> bytes:
        """OCB2 with AES-128; of its tag three bytes are sent."""
        encrypt = self.cipher.update
        self.nonce = (self.nonce + 1) % (1 << 128)
        nonce = self.nonce.to_bytes(16, "little")
        delta, checksum, made = encrypt(nonce), bytes(16), b""
        while len(plain) > 16:
            delta = _double(delta)
            made += _xor(delta, encrypt(_xor(delta, plain[:16])))
            checksum, plain = _xor(checksum, plain[:16]), plain[16:]
        delta = _double(delta)
        pad = encrypt(_xor(delta, (len(plain) * 8).to_bytes(16, "big")))
        last = plain + pad[len(plain) :]
        made += _xor(pad, last)[: len(plain)]
        tag = encrypt(_xor(_xor(delta, _double(delta)), _xor(checksum, last)))
        return bytes(nonce[:1] + tag[:3] + made)

    def _speak(self, packet: bytes) -> None:
        if self.by_udp:
            with contextlib.suppress(OSError):
                self.voice.send(self._sealed(packet))
        else:
            self._tell(1, packet)

    def talk(self) -> None:
        part, draw = self.part, self.draw
        frames, rate = draw.choice((1, 2, 2, 2, 4, 6)), draw.choice((24_000, 40_000, 40_000, 72_000))
        size, each = rate * frames // 800, frames * 0.01
        begun = pinged = time.monotonic() - 5
        number, following = 0, time.monotonic()
        with contextlib.suppress(OSError):
            for speaking, seconds in behaviour.talk(draw):
                until = time.monotonic() + seconds
                while (now := time.monotonic()) < until:
                    if part.left() <= 0:
                        self.control.close()
                        return
                    if now - pinged >= 5:
                        pinged = now
                        self._tell(3, _field(1, int((now - begun) * 1e6)) + _field(2, self.heard) + _field(6, number))
                        if self.by_udp:
                            self._speak(b"\x20" + _short(int(now - begun)))
                    if speaking:
                        last = until - now < each
                        self._speak(b"\x80" + _short(number) + _short(size | last << 13) + os.urandom(size))
                        following = max(following + each, now)
                        time.sleep(max(0.0, following - time.monotonic()))
                    else:
                        time.sleep(max(0.0, min(0.2, until - now)))
                    number += frames
