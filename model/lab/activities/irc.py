"""Chat over IRC with TLS: a channel or a private talk. Clients: an own one over several TLS stacks, a library,
WeeChat.
"""

from __future__ import annotations

import os
import re
import ssl
import subprocess
import threading
import time
from random import Random

from .. import conversation, tls_pipe
from ..activity import Activity, pairs
from ..part import Part
from ..serving import running, wait_for_port

PORT = 6697

ACTIVITIES = {
    "chat_irc": Activity(
        "chat",
        pairs(("ngircd", "inspircd"), ("python", "irc", "weechat", "gnutls", "openssl", "node")),
        application="IRC",
        tcp_ports=(PORT,),
    ),
}


def serve(part: Part) -> None:
    config = part.scratch / "ircd.conf"
    config.write_text(
        {"ngircd": _NGIRCD, "inspircd": _INSPIRCD}[part.server].format(
            address=part.address, port=PORT, secrets=part.secrets, scratch=part.scratch
        )
    )
    command = {
        "ngircd": ["ngircd", "-n", "-f", str(config)],
        "inspircd": ["inspircd", "--nofork", "--runasroot", f"--config={config}"],
    }[part.server]
    with running(command) as process:
        wait_for_port(part.address, PORT)
        conversation.people(part, _person)
        part.ready()
        process.wait()


_NGIRCD = """[Global]
Name = irc.lab.test
Info = lab
AdminEMail = admin@lab.test
MotdPhrase = "Be kind."
Listen = {address}
Ports =
ServerUID = root
ServerGID = root
PidFile = {scratch}/pid
[Limits]
MaxConnectionsIP = 0
PingTimeout = 20
[Options]
DNS = no
Ident = no
PAM = no
IncludeDir = {scratch}/none
SyslogFacility = local7
[SSL]
CertFile = {secrets}/cert.pem
KeyFile = {secrets}/key.pem
Ports = {port}
"""

_INSPIRCD = """<server name="irc.lab.test" description="lab" network="Lab" id="1AB">
<admin name="lab" nick="lab" email="admin@lab.test">
<module name="ssl_gnutls"><module name="sslinfo">
<sslprofile name="lab" provider="gnutls" certfile="{secrets}/cert.pem" keyfile="{secrets}/key.pem" mincertlifetime="1">
<bind address="{address}" port="{port}" type="clients" sslprofile="lab">
<connect allow="*" timeout="60" pingfreq="20" resolvehostnames="no" useident="no" localmax="100" globalmax="100"
 recvq="16384" softsendq="65536" hardsendq="1048576" commandrate="100000" fakelag="no" threshold="100">
<dns server="127.0.0.1" timeout="1">
<pid file="{scratch}/pid">
<log method="file" type="* -USERINPUT -USEROUTPUT" level="default" target="{scratch}/log">
<path configdir="{scratch}" datadir="{scratch}" logdir="{scratch}" runtimedir="{scratch}">
<options prefixquit="Quit: " syntaxhints="no">
<performance quietbursts="yes">
"""


def _whom(part: Part, me: str) -> str:
    return "#lab" if conversation.in_a_group(part) else "bob" if me == "ann" else "ann"


def _lines(size: int) -> list[str]:
    """What is said, as IRC clients cut it; a picture is an address where it lies."""
    text = conversation.words(size if size < 2000 else 90)
    return [text[at : at + 400] for at in range(0, len(text), 400)]


def _own(part: Part, draw: Random, me: str, client: str) -> None:
    """A client that says what it is asked to and answers PING."""
    pipe = tls_pipe.connect(part, client, PORT)
    welcome = threading.Event()

    def read() -> None:
        try:
            for line in pipe.file:
                if line.startswith(b"PING"):
                    pipe.send(b"PONG" + line[4:])
                elif re.match(rb"\S+ (376|422) ", line):
                    welcome.set()
        except (OSError, ValueError):
            pass

    threading.Thread(target=read, daemon=True).start()
    pipe.send(b"CAP LS 302\r\n")
    pipe.send(f"NICK {me}\r\nUSER {me} 0 * :{me}\r\nCAP END\r\n".encode())
    if not welcome.wait(20):
        raise ConnectionError("the server did not welcome")
    to = _whom(part, me)
    if to.startswith("#"):
        pipe.send(f"JOIN {to}\r\n".encode())

    def say(size: int) -> None:
        for line in _lines(size):
            pipe.send(f"PRIVMSG {to} :{line}\r\n".encode())

    try:
        conversation.write(part, draw, say)
        pipe.send(b"QUIT :bye\r\n")
    finally:
        pipe.close()


def _person(part: Part, draw: Random, me: str) -> None:
    _own(part, draw, me, "python")


def act(part: Part) -> None:
    if part.client == "irc":
        _library(part)
    elif part.client == "weechat":
        _weechat(part)
    else:
        _own(part, part.draw, "ann", part.client)


def _library(part: Part) -> None:
    import functools

    import irc.client
    import irc.connection

    reactor, to, welcome = irc.client.Reactor(), _whom(part, "ann"), threading.Event()
    context = ssl._create_unverified_context()
    connection = reactor.server().connect(
        part.address,
        PORT,
        "ann",
        connect_factory=irc.connection.Factory(wrapper=functools.partial(context.wrap_socket)),
    )
    connection.add_global_handler("welcome", lambda *_: welcome.set())
    threading.Thread(target=reactor.process_forever, daemon=True).start()
    if not welcome.wait(20):
        raise ConnectionError("the server did not welcome")
    if to.startswith("#"):
        connection.join(to)
    conversation.write(part, part.draw, lambda size: [connection.privmsg(to, line) for line in _lines(size)])
    connection.quit("bye")
    time.sleep(0.3)
    os._exit(0)


def _weechat(part: Part) -> None:
    """WeeChat without a terminal, which takes its commands from a named pipe."""
    to, home = _whom(part, "ann"), part.scratch / "weechat"
    join = f" -autojoin={to}" if to.startswith("#") else ""
    client = subprocess.Popen(
        # With /dev/null as its output some of several that start at once ended by themselves.
        [
            "weechat-headless",
            "--stdout",
            "-d",
            str(home),
            "-r",
            "/set fifo.file.path " + str(part.scratch / "fifo"),
            "-r",
            "/fifo enable",
            "-r",
            f"/server add lab {part.address}/{PORT} -ssl -ssl_verify=off -nicks=ann{join}",
            "-r",
            "/set irc.server_default.ipv6 off",
            "-r",
            "/set irc.server.lab.ipv6 off",
            "-r",
            "/connect lab",
        ],
        stdin=subprocess.DEVNULL,
        stdout=(part.scratch / "stdout").open("w"),
    )
    fifo = part.scratch / "fifo"
    end = time.monotonic() + 15
    while not fifo.exists():
        if time.monotonic() > end or client.poll() is not None:
            raise ConnectionError("WeeChat did not start " + (part.scratch / "stdout").read_text()[-300:])
        time.sleep(0.1)
    part.pause(2.0)

    def say(size: int) -> None:
        with open(fifo, "w") as pipe:
            for line in _lines(size):
                pipe.write(f"irc.server.lab */msg {to} {line}\n")

    conversation.write(part, part.draw, say)
    with open(fifo, "w") as pipe:
        pipe.write("*/quit\n")
    try:
        client.wait(3)
    except subprocess.TimeoutExpired:
        client.kill()
