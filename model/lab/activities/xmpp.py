"""Chat over XMPP: one-to-one or in a room, with typing notices, receipts and pictures in the stream (XEP-0047)."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import socket
import ssl
import subprocess
import threading
from dataclasses import replace
from random import Random
from typing import Literal

from .. import behaviour, conversation, tls_pipe
from ..activity import Activity, pairs
from ..part import Part
from ..serving import running, wait_for_port

STARTTLS, DIRECT = 5222, 5223
HOST, ROOMS, _PASSWORD = "lab.test", "rooms.lab.test", "lab-words-only"

# The server's name says which port the client takes: prosody's with STARTTLS, prosody-tls's with TLS at once.
ACTIVITIES = {
    "chat_xmpp": Activity(
        "chat",
        (
            *pairs(("prosody", "prosody-tls"), ("slixmpp", "python", "go-sendxmpp")),
            *pairs(("prosody-tls",), ("gnutls", "openssl", "node")),
        ),
        application="Jabber",
        tcp_ports=(STARTTLS, DIRECT),
    ),
}


def serve(part: Part) -> None:
    data = part.scratch / "data"
    accounts = data / "lab%2etest" / "accounts"
    accounts.mkdir(parents=True)
    for name in ("ann", "bob", "cara", "dan"):
        (accounts / f"{name}.dat").write_text(f'return {{ ["password"] = "{_PASSWORD}"; }};\n')
    config = part.scratch / "prosody.cfg.lua"
    config.write_text(
        f"""run_as_root = true
daemonize = false
pidfile = "{part.scratch}/pid"
data_path = "{data}"
interfaces = {{ "{part.address}" }}
local_interfaces = {{ "{part.address}" }}
c2s_ports = {{ {STARTTLS} }}
c2s_direct_tls_ports = {{ {DIRECT} }}
s2s_ports = {{}}
http_ports = {{}}
https_ports = {{}}
modules_enabled = {{ "roster", "saslauth", "tls", "disco", "ping", "carbons", "smacks", "blocklist", "vcard4", "pep" }}
modules_disabled = {{ "s2s" }}
c2s_require_encryption = true
authentication = "internal_plain"
ssl = {{ key = "{part.secrets}/key.pem"; certificate = "{part.secrets}/cert.pem"; }}
c2s_direct_tls_ssl = {{ key = "{part.secrets}/key.pem"; certificate = "{part.secrets}/cert.pem"; }}
log = {{ error = "{part.scratch}/log" }}
VirtualHost "{HOST}"
Component "{ROOMS}" "muc"
  muc_room_locking = false
"""
    )
    with running(["prosody", "--config", str(config), "-F"]) as process:
        wait_for_port(part.address, STARTTLS)
        wait_for_port(part.address, DIRECT)
        conversation.people(part, _person)
        part.ready()
        process.wait()


def _whom(part: Part, me: str) -> str:
    """Where a person's messages go."""
    return f"room@{ROOMS}" if conversation.in_a_group(part) else f"{'bob' if me == 'ann' else 'ann'}@{HOST}"


class _Stream:
    """A client's stream: enough of RFC 6120 to log in, and what messengers send."""

    def __init__(self, part: Part, me: str, client: str, direct: bool) -> None:
        self.me, self.to, self.group = me, _whom(part, me), conversation.in_a_group(part)
        if direct:
            # The server knows itself by its domain alone, and refuses other names.
            self.pipe = tls_pipe.connect(replace(part, name=part.address), client, DIRECT)
            self._open()
        else:
            raw = socket.create_connection((part.address, STARTTLS), 30)
            self.pipe = tls_pipe.Pipe(raw.sendall, raw.makefile("rb"), raw.close)
            self._open()
            self.ask("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "<proceed")
            made = ssl._create_unverified_context().wrap_socket(raw)
            made.settimeout(None)
            self.pipe = tls_pipe.Pipe(made.sendall, made.makefile("rb"), made.close)
            self._open()
        secret = base64.b64encode(f"\0{me}\0{_PASSWORD}".encode()).decode()
        self.ask(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{secret}</auth>", "<success")
        self._open()
        self.ask(
            "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>lab</resource></bind></iq>",
            "</iq>",
        )
        self.ask("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>", "</iq>")
        self.send("<presence><priority>1</priority></presence>")
        if self.group:
            self.send(f"<presence to='{self.to}/{me}'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        threading.Thread(target=self._read, daemon=True).start()

    def send(self, text: str) -> None:
        self.pipe.send(text.encode())

    def ask(self, text: str, until: str) -> None:
        self.send(text)
        got = b""
        while until.encode() not in got:
            more = self.pipe.file.read1(65536)
            if not more or b"<failure" in more:
                raise ConnectionError(f"the server did not send {until}: {got + more!r}")
            got += more

    def _open(self) -> None:
        self.ask(
            f"<?xml version='1.0'?><stream:stream to='{HOST}' version='1.0' xmlns='jabber:client' "
            "xmlns:stream='http://etherx.jabber.org/streams'>",
            "</stream:features>",
        )

    def _read(self) -> None:
        """Answers receipts one-to-one, as messengers do."""
        try:
            while got := self.pipe.file.read1(65536):
                for number in re.findall(rb"id=['\"](m\d+)['\"][^>]*><body", got) if not self.group else ():
                    self.send(
                        f"<message to='{self.to}' type='chat'><received xmlns='urn:xmpp:receipts' "
                        f"id='{number.decode()}'/></message>"
                    )
        except (OSError, ValueError):
            pass

    def types(self) -> None:
        self._message("<composing xmlns='http://jabber.org/protocol/chatstates'/>")

    def say(self, size: int) -> None:
        if behaviour.is_picture(size) and not self.group:
            for block in range(0, size, 4096):
                self._message(
                    f"<data xmlns='http://jabber.org/protocol/ibb' sid='p' seq='{block // 4096}'>"
                    f"{base64.b64encode(os.urandom(min(4096, size - block))).decode()}</data>"
                )
            return
        # In a room a picture is an address where it lies.
        self._message(
            f"<body>{conversation.words(110 if behaviour.is_picture(size) else size)}</body>"
            "<active xmlns='http://jabber.org/protocol/chatstates'/>"
            + ("" if self.group else "<request xmlns='urn:xmpp:receipts'/>")
        )

    def _message(self, inside: str) -> None:
        kind = "groupchat" if self.group else "chat"
        self.send(
            f"<message to='{self.to}' type='{kind}' id='m{int.from_bytes(os.urandom(6), 'big')}'>{inside}</message>"
        )


def _person(part: Part, draw: Random, me: str) -> None:
    stream = _Stream(part, me, "python", direct=True)
    try:
        conversation.write(part, draw, stream.say, stream.types)
    finally:
        stream.pipe.close()


def act(part: Part) -> None:
    draw, direct = part.draw, part.server == "prosody-tls"
    if part.client == "slixmpp":
        _slixmpp(part, draw, direct)
        return
    if part.client == "go-sendxmpp":
        _go_sendxmpp(part, draw, direct)
        return
    stream = _Stream(part, "ann", part.client, direct)
    conversation.write(part, draw, stream.say, stream.types)
    stream.send("</stream:stream>")
    stream.pipe.close()


def _go_sendxmpp(part: Part, draw: Random, direct: bool) -> None:
    """A Go program that sends each line as a message."""
    port = DIRECT if direct else STARTTLS
    client = subprocess.Popen(
        [
            "go-sendxmpp",
            "-i",
            "-n",
            *(["-t"] if direct else []),
            *(["-c"] if conversation.in_a_group(part) else []),
            "--timeout",
            "30",
            "-j",
            f"{part.address}:{port}",
            "-u",
            f"ann@{HOST}",
            "-p",
            _PASSWORD,
            _whom(part, "ann"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    pipe = client.stdin
    assert pipe

    def say(size: int) -> None:
        pipe.write(conversation.words(110 if behaviour.is_picture(size) else size) + "\n")
        pipe.flush()

    conversation.write(part, draw, say)
    client.terminate()


def _slixmpp(part: Part, draw: Random, direct: bool) -> None:
    import slixmpp

    group, to = conversation.in_a_group(part), _whom(part, "ann")

    async def run() -> None:
        client = slixmpp.ClientXMPP(f"ann@{HOST}/lab", _PASSWORD)
        client.enable_direct_tls, client.enable_starttls = direct, not direct
        client.ssl_context.check_hostname = False
        client.ssl_context.verify_mode = ssl.CERT_NONE
        for plugin in ("xep_0030", "xep_0085", "xep_0184", "xep_0199", *(("xep_0045",) if group else ())):
            client.register_plugin(plugin)
        began = asyncio.Event()
        client.add_event_handler("session_start", lambda _: began.set())
        client.connect(part.address, DIRECT if direct else STARTTLS)
        await asyncio.wait_for(began.wait(), 30)
        client.send_presence()
        client.get_roster()
        if group:
            client["xep_0045"].join_muc(to, "ann")
        kind: Literal["groupchat", "chat"] = "groupchat" if group else "chat"

        def types() -> None:
            notice = client.make_message(mto=to, mtype=kind)
            notice["chat_state"] = "composing"
            notice.send()

        def say(size: int) -> None:
            message = client.make_message(mto=to, mtype=kind)
            message["body"] = conversation.words(min(size, 60_000))
            message["chat_state"] = "active"
            message["request_receipt"] = not group
            message.send()

        loop = asyncio.get_running_loop()
        await asyncio.to_thread(
            conversation.write,
            part,
            draw,
            lambda size: loop.call_soon_threadsafe(say, size),
            lambda: loop.call_soon_threadsafe(types),
        )
        await client.disconnect(wait=1.0)

    asyncio.run(run())
