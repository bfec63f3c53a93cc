"""A desktop seen and used from afar, by RDP or by VNC: plain, in TLS by VeNCrypt (GnuTLS) or wholly in TLS (stunnel).

Servers: TigerVNC's Xvnc, and x11vnc over a display of its own. Viewers: asyncvnc and two of the lab's own, one that
asks for the next update as soon as it has one, one that asks by its clock, as those for slow links do. RDP: FreeRDP's
shadow server and xfreerdp, on a display of its own where a VNC viewer is the hand. A terminal prints, a clock ticks,
eyes follow the mouse.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from random import Random

from .. import behaviour
from ..activity import Activity, pairs
from ..part import Part
from ..serving import running, wait_for_port

PORT, RDP = 5900, 3389

ACTIVITIES = {
    "desktop": Activity(
        "remote_access",
        pairs(("tigervnc", "tigervnc-tls", "x11vnc", "x11vnc-ssl"), ("viewer", "viewer-paced"))
        + pairs(("tigervnc", "x11vnc"), ("asyncvnc",)),
        application="VNC",
        tcp_ports=(PORT,),
    ),
    "desktop_rdp": Activity("remote_access", ("freerdp/freerdp",), application="RDP", tcp_ports=(RDP,)),
}

_SIZES = ((800, 600), (1024, 768), (1280, 720), (1366, 768))
_PASSWORD = b"lab-only"


def _des(key: bytes, data: bytes) -> bytes:
    """DES as RFB has it: the key's bits are mirrored."""
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
    from cryptography.hazmat.primitives.ciphers import Cipher, modes

    mirrored = bytes(int(f"{octet:08b}"[::-1], 2) for octet in key)
    return Cipher(TripleDES(mirrored * 3), modes.ECB()).encryptor().update(data)


def _password(part: Part) -> bool:
    """Whether this desktop wants a password (both sides draw the same)."""
    return part.client != "asyncvnc" and not part.server.endswith("-tls") and Random(part.seed + 7).random() < 0.5


def _display(address: str, width: int, height: int, *security: str) -> list[str]:
    """An X server that speaks RFB at the address, and DISPLAY for what is started after it.

    Displays are numbered for the whole machine: abstract sockets are the namespace's own, the lock file is not.
    """
    number = 1000 + os.getpid() % 50_000
    os.environ["DISPLAY"] = f":{number}"
    return [
        "Xvnc",
        f":{number}",
        "-geometry",
        f"{width}x{height}",
        "-depth",
        "24",
        "-nolisten",
        "tcp",
        "-nolisten",
        "unix",
        "-ac",
        "-interface",
        address,
        "-rfbport",
        str(PORT),
        "-SecurityTypes",
        *security,
    ]


def _windows(draw: Random) -> list[list[str]]:
    lines, gap = draw.choice((1, 3, 12)), draw.choice((0.3, 1, 4, 15))
    printing = f"while :; do head -c $((48 * {lines})) /dev/urandom | base64 -w 64; sleep {gap}; done"
    return [
        ["xterm", "-geometry", "90x30+20+20", "-e", "sh", "-c", printing],
        ["xclock", "-update", "1", "-geometry", "150x150-10+10"],
        ["xeyes", "-geometry", "120x80-10-10"],
    ]


def serve(part: Part) -> None:
    draw = part.draw
    secret = part.scratch / "password"
    # The file's own key is the same in every VNC.
    secret.write_bytes(_des(bytes((23, 82, 107, 6, 35, 78, 88, 7)), _PASSWORD))
    direct = part.server.startswith("tigervnc")
    security = ["None"]
    if part.server == "tigervnc-tls":
        security = ["X509None", "-X509Cert", str(part.secrets / "cert.pem"), "-X509Key", str(part.secrets / "key.pem")]
    elif direct and _password(part):
        security = ["VncAuth", "-PasswordFile", str(secret)]
    shown_at = part.address if direct else part.loopback
    with contextlib.ExitStack() as stack:
        stack.enter_context(running(_display(shown_at, *draw.choice(_SIZES), *security)))
        wait_for_port(shown_at, PORT)
        for program in _windows(draw):
            stack.enter_context(running(program))
        if part.server == "freerdp":
            stack.enter_context(
                running(["freerdp-shadow-cli", f"/bind-address:{part.address}", f"/port:{RDP}", "-auth"])
            )
            wait_for_port(part.address, RDP)
        elif not direct:
            behind = part.server == "x11vnc-ssl"
            stack.enter_context(
                running(
                    [
                        "x11vnc",
                        "-q",
                        "-display",
                        os.environ["DISPLAY"],
                        "-listen",
                        part.loopback if behind else part.address,
                        "-rfbport",
                        str(PORT + behind),
                        "-no6",
                        "-noipv6",
                        "-forever",
                        "-shared",
                        "-nodpms",
                        *(["-noxdamage"] if draw.random() < 0.3 else []),
                        # It takes a bell for the clipboard, and knows no message of the clipboard's.
                        *(["-nobell", "-nosel"] if part.client == "asyncvnc" else []),
                        *(["-rfbauth", str(secret)] if _password(part) else ["-nopw"]),
                    ]
                )
            )
            if behind:
                # x11vnc's own TLS does not start with OpenSSL 3.
                wait_for_port(part.loopback, PORT + 1)
                config = part.scratch / "stunnel.conf"
                config.write_text(
                    f"foreground = yes\npid =\nsyslog = no\n[vnc]\naccept = {part.address}:{PORT}\nconnect = "
                    f"{part.loopback}:{PORT + 1}\ncert = {part.secrets}/cert.pem\nkey = {part.secrets}/key.pem\n"
                )
                stack.enter_context(running(["stunnel4", str(config)]))
            wait_for_port(part.address, PORT)
        part.ready()
        while True:
            time.sleep(1)


def act(part: Part) -> None:
    if part.client == "asyncvnc":
        asyncio.run(_by_asyncvnc(part))
    elif part.client == "freerdp":
        _by_freerdp(part)
    else:
        _Viewer(part).use()


def _by_freerdp(part: Part) -> None:
    """xfreerdp on a display that nobody sees; its window lies where the display begins."""
    draw = Random(part.seed + 1)
    # With a graphics pipeline, with RemoteFX, or with plain bitmaps as old clients; RDP's own encryption is older
    # still.
    wishes = [
        draw.choice(("/sec:tls", "/sec:tls", "/sec:rdp")),
        f"/network:{draw.choice(('lan', 'broadband', 'wan', 'modem'))}",
        *draw.choice((["/gfx"], ["/rfx"], ["/bpp:16"], ["/bpp:24", "-wallpaper"])),
    ]
    with running(_display(part.loopback, 1400, 800, "None")):
        wait_for_port(part.loopback, PORT)
        with running(
            ["xfreerdp", f"/v:{part.address}:{RDP}", "/u:lab", "/p:lab-words-only", "/cert:ignore", *wishes]
        ) as viewer:
            _Viewer(replace(part, address=part.loopback, server="tigervnc", client="asyncvnc")).use(watching=False)
            if viewer.poll() is not None:
                sys.exit(f"xfreerdp ended with {viewer.returncode} before its time ({' '.join(wishes)})")


def _hand(
    part: Part, draw: Random, width: int, height: int
) -> Iterator[tuple[float, str, int, int] | tuple[float, str, int, int, int]]:
    """What a person does, without end: (seconds to wait, then "move", x, y, buttons) or (seconds, "key", symbol,
    down).
    """
    x, y = width // 2, height // 2
    while True:
        if draw.random() < 0.5:
            # A way of the hand takes 0.2 to 1 s (Fitts), at the mouse's 60 reports a second less what the viewer joins.
            to_x, to_y, steps = draw.randrange(width), draw.randrange(height), draw.randrange(8, 45)
            for step in range(1, steps + 1):
                share = 0.5 - 0.5 * (1 - 2 * min(step / steps, 1)) * abs(1 - 2 * min(step / steps, 1)) ** 0.5
                yield draw.uniform(0.015, 0.025), "move", int(x + (to_x - x) * share), int(y + (to_y - y) * share), 0
            x, y = to_x, to_y
            if draw.random() < 0.6:
                yield draw.uniform(0.1, 0.4), "move", x, y, 1
                yield draw.uniform(0.06, 0.14), "move", x, y, 0
        else:
            # The terminal takes what is typed where the mouse is.
            yield 0.2, "move", 200, 150, 0
            for _ in range(draw.randrange(5, 40)):
                key = draw.choice(b"abcdefghijklmnopqrstuvwxyz  ")
                yield behaviour.keystroke(draw), "key", key, 1
                yield draw.uniform(0.05, 0.12), "key", key, 0
            yield 0.3, "key", 0xFF0D, 1
            yield 0.1, "key", 0xFF0D, 0
            x, y = 200, 150
        yield min(draw.expovariate(1 / 2.5), 10.0), "move", x, y, 0


class _Viewer:
    """RFB 3.8 as a viewer speaks it; what is seen is read and forgotten."""

    def __init__(self, part: Part) -> None:
        self.part, self.draw, self.updates = part, part.draw, 0
        self.connection = socket.create_connection((part.address, PORT), 20)
        self.connection.settimeout(None)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        context = ssl._create_unverified_context()
        if part.server == "x11vnc-ssl":
            self.connection = context.wrap_socket(self.connection)
        self.sending = threading.Lock()
        self._read(12)
        self._send(b"RFB 003.008\n")
        kinds = self._read(self._read(1)[0])
        kind = next(kind for kind in (19, 2, 1) if kind in kinds)
        self._send(bytes([kind]))
        if kind == 19:
            self._read(2)
            self._send(b"\0\2")
            self._read(1)
            self._read(4 * self._read(1)[0])
            self._send(struct.pack(">I", 260))
            self._read(1)
            self.connection = context.wrap_socket(self.connection)
        elif kind == 2:
            self._send(_des(_PASSWORD, self._read(16)))
        if self._read(4) != b"\0\0\0\0":
            sys.exit("the desktop did not let its viewer in")
        self._send(b"\1")
        self.width, self.height = struct.unpack(">HH", self._read(4))
        self._read(16)
        self._read(struct.unpack(">I", self._read(4))[0])
        # True colour in 32 bits, and the encodings a viewer of our kind lists: Tight (with JPEG, for most) or ZRLE
        # first.
        self._send(struct.pack(">BxxxBBBBHHHBBBxxx", 0, 32, 24, 0, 1, 255, 255, 255, 16, 8, 0))
        listed = self.draw.choice(((7, 16, 6, 1, 0, -26, -247), (16, 6, 7, 1, 0), (7, 1, 0, -29, -250), (6, 1, 0)))
        self._send(struct.pack(f">BxH{len(listed)}i", 2, len(listed), *listed))

    def _read(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            piece = self.connection.recv(count - len(data))
            if not piece:
                raise ConnectionError("the desktop closed the connection")
            data += piece
        return bytes(data)

    def _send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def _ask(self, whole: bool = False) -> None:
        with self.sending:
            self._send(struct.pack(">BBHHHH", 3, not whole, 0, 0, self.width, self.height))

    def _compact(self) -> bytes:
        length = 0
        for shift in (0, 7, 14):
            octet = self._read(1)[0]
            length |= (octet & (255 if shift == 14 else 127)) << shift
            if not octet & 128:
                break
        return self._read(length)

    def _rectangle(self) -> None:
        _, _, width, height, encoding = struct.unpack(">HHHHi", self._read(12))
        if encoding == 0:
            self._read(width * height * 4)
        elif encoding == 1:
            self._read(4)
        elif encoding in (6, 16):
            self._read(struct.unpack(">I", self._read(4))[0])
        elif encoding == 7:
            control = self._read(1)[0] >> 4
            if control == 8:
                self._read(3)
            elif control == 9:
                self._compact()
            else:
                kind = self._read(1)[0] if control & 4 else 0
                size = width * height * 3
                if kind == 1:
                    colours = self._read(1)[0] + 1
                    self._read(3 * colours)
                    size = (width + 7) // 8 * height if colours == 2 else width * height
                if size < 12:
                    self._read(size)
                else:
                    self._compact()
        else:
            raise ConnectionError(f"an encoding that was not asked for: {encoding}")

    def _watch(self) -> None:
        try:
            while True:
                message = self._read(1)[0]
                if message == 0:
                    for _ in range(struct.unpack(">xH", self._read(3))[0]):
                        self._rectangle()
                    self.updates += 1
                    if self.part.client == "viewer":
                        self._ask()
                elif message == 1:
                    self._read(6 * struct.unpack(">xHH", self._read(5))[1])
                elif message == 3:
                    self._read(struct.unpack(">xxxI", self._read(7))[0])
        except (OSError, ValueError):
            pass

    def _clock(self) -> None:
        gap = self.draw.choice((0.1, 0.25, 0.5))
        with contextlib.suppress(OSError):
            while self.part.pause(gap):
                self._ask()

    def use(self, watching: bool = True) -> None:
        if watching:
            self._ask(whole=True)
        threading.Thread(target=self._watch, daemon=True).start()
        if watching and self.part.client != "viewer":
            threading.Thread(target=self._clock, daemon=True).start()
        for wait, what, first, second, *third in _hand(self.part, self.draw, self.width, self.height):
            if not self.part.pause(wait):
                break
            with self.sending:
                self._send(
                    struct.pack(">BBHH", 5, third[0], first, second)
                    if what == "move"
                    else struct.pack(">BBxxI", 4, second, first)
                )
        if watching and not self.updates:
            sys.exit("the desktop showed nothing")
        self.connection.close()


async def _by_asyncvnc(part: Part) -> None:
    import asyncvnc

    async with asyncvnc.connect(part.address, PORT) as client:

        async def watch() -> None:
            client.video.refresh()
            while True:
                if await client.read() is asyncvnc.UpdateType.VIDEO:
                    client.video.refresh()

        watching = asyncio.create_task(watch())
        for wait, what, first, second, *third in _hand(part, part.draw, client.video.width, client.video.height):
            if wait >= part.left():
                break
            await asyncio.sleep(wait)
            if watching.done():
                watching.result()
            if what == "key":
                if second:
                    client.keyboard.press("Return" if first > 255 else chr(first) if first != 32 else "space")
            else:
                client.mouse.move(first, second)
                if third[0]:
                    client.mouse.click()
        watching.cancel()
