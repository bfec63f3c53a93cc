"""What programs do to web and mail servers in bulk: search directories, look for weak places, try stolen log-ins,
scrape, click, send unwanted mail. Shapes only: the paths are random words, at most 300 requests, to the lab's own
servers.
"""

from __future__ import annotations

import base64
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from random import Random

from .. import fronted
from ..activity import Activity, pairs
from ..fence import check
from ..part import Part
from ..workers import side_by_side
from . import mail

_HTTPS = pairs(fronted.SERVERS, fronted.CLIENTS)
_TLS = (fronted.PORT,)
_MOST = 300

ACTIVITIES = {
    "web_enumeration": Activity(
        "web",
        pairs(fronted.SERVERS, ("gobuster", "ffuf", "dirb", "urllib", "httpx", "aiohttp")),
        malicious="web_enumeration",
        tcp_ports=_TLS,
    ),
    "web_probing": Activity("web", _HTTPS, malicious="web_probing", tcp_ports=_TLS),
    "credential_stuffing": Activity("web", _HTTPS, malicious="credential_stuffing", tcp_ports=_TLS),
    "scraping": Activity("web", _HTTPS, malicious="scraping", tcp_ports=_TLS),
    "click_fraud": Activity("web", _HTTPS, malicious="click_fraud", tcp_ports=_TLS),
    "spam_bot": Activity(
        "email",
        pairs(("python", "stunnel"), ("smtplib", "curl", "msmtp", "openssl")),
        application="SMTPS",
        malicious="spam_bot",
        tcp_ports=(mail.PORT,),
    ),
}


def serve(part: Part) -> None:
    (mail if part.activity == "spam_bot" else fronted).serve(part)


def act(part: Part) -> None:
    check(part)
    draw = part.draw
    if part.client in ("gobuster", "ffuf", "dirb"):
        _enumerate(part, draw)
        return
    play = globals()[f"_{part.activity}"]
    workers = 1 if part.activity == "click_fraud" else draw.randrange(1, 4)
    # curl makes a connection for each request: as many as show the shape.
    counted = iter(range(40 if part.client == "curl" else _MOST))

    side_by_side(part, [partial(play, part, Random(draw.random()), counted) for _ in range(workers)])


def _word(draw: Random) -> str:
    return "".join(draw.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(draw.randrange(3, 14)))


def _words(draw: Random) -> list[str]:
    """Mostly nothing is there; where something is, the path tells the server so."""
    return [
        f"{draw.choice((200, 301, 403))}/{draw.randrange(150, 9000)}/{_word(draw)}"
        if draw.random() < 0.03
        else _word(draw)
        for _ in range(_MOST)
    ]


def _enumerate(part: Part, draw: Random) -> None:
    words = part.scratch / "words"
    words.write_text("\n".join(_words(draw)) + "\n")
    base, threads, delay = f"https://{part.name}/", draw.choice((1, 2, 4)), draw.choice((50, 100, 200))
    if part.client == "gobuster":
        command = [
            "gobuster",
            "dir",
            "-k",
            "-q",
            "-z",
            "-t",
            str(threads),
            "--delay",
            f"{delay}ms",
            "-u",
            base,
            "-w",
            str(words),
        ]
    elif part.client == "ffuf":
        command = [
            "ffuf",
            "-k",
            "-s",
            "-t",
            str(threads),
            "-p",
            f"{delay / 1000}",
            "-u",
            base + "FUZZ",
            "-w",
            str(words),
        ]
    else:
        command = ["dirb", base, str(words), "-S", "-w", "-r", "-z", str(delay // 2)]
    tool = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        if tool.wait(max(1.0, part.left())) not in (0, 255):
            sys.exit(f"{part.client} ended with {tool.returncode}")
    except subprocess.TimeoutExpired:
        tool.terminate()


def _batches(part: Part, counted: Iterator[int], least: int, most: int, draw: Random) -> Iterator[fronted.Client]:
    """A client for some requests, then the next one: connections are kept for a while, as such tools do."""
    while part.left() > 0:
        client = fronted.Client(part, part.client != "curl")
        for _ in range(draw.randrange(least, most)):
            if next(counted, None) is None:
                client.close()
                return
            yield client
        client.close()


def _web_enumeration(part: Part, draw: Random, counted: Iterator[int]) -> None:
    words, pace = _words(draw), draw.choice((0.02, 0.05, 0.15))
    for number, client in enumerate(_batches(part, counted, 20, 60, draw)):
        client.request("GET", "/" + words[number])
        if not part.pause(pace):
            return


def _web_probing(part: Part, draw: Random, counted: Iterator[int]) -> None:
    """As scanners for weak places ask: methods and header sizes vary, most answers are short errors, no payloads."""
    pace = draw.choice((0.03, 0.1, 0.3))
    for client in _batches(part, counted, 3, 25, draw):
        kind = draw.random()
        method = "HEAD" if kind < 0.15 else "POST" if kind < 0.3 else "GET"
        status = draw.choice((404, 404, 404, 403, 400, 200, 500))
        size = draw.randrange(800, 12_000) if status == 200 else draw.choice((0, 146, 150, 320, 548))
        words = "/".join(_word(draw) for _ in range(draw.randrange(1, 8)))
        headers = {"X-" + _word(draw): draw.randbytes(draw.randrange(4, 300)).hex()} if draw.random() < 0.4 else None
        client.request(
            method,
            f"/{status}/{size}/{words}",
            os.urandom(draw.randrange(20, 900)) if method == "POST" else b"",
            headers,
        )
        if not part.pause(draw.expovariate(1 / pace)):
            return


def _credential_stuffing(part: Part, draw: Random, counted: Iterator[int]) -> None:
    """The log-in page, a name and password, the refusal; each account once, after some a new connection."""
    page, refusal, pace = draw.randrange(1500, 30_000), draw.randrange(60, 2500), draw.choice((0.1, 0.4, 1.0))
    for client in _batches(part, counted, 2, 8, draw):
        if draw.random() < 0.5:
            client.request("GET", f"/200/{page}/login")
        right = draw.random() < 0.02
        client.request(
            "POST",
            f"/{302 if right else 401}/{0 if right else refusal}/login",
            os.urandom(draw.randrange(40, 130)),
            {"Cookie": draw.randbytes(20).hex()},
        )
        if not part.pause(draw.uniform(0.7, 1.3) * pace):
            return


def _scraping(part: Part, draw: Random, counted: Iterator[int]) -> None:
    """Documents of one kind one after the other, without their pictures, at a machine's pace."""
    size, pace, jitter = draw.uniform(15_000, 90_000), draw.choice((0.2, 0.5, 1.0, 2.0)), draw.choice((0.0, 0.1, 0.5))
    for number, client in enumerate(_batches(part, counted, 8, 40, draw)):
        # Every twentieth page is the list that names the next.
        bytes_ = int(size * (1.8 if number % 20 == 0 else draw.lognormvariate(0, 0.15)))
        client.request("GET", f"/200/{bytes_}/item/{number:06d}")
        if not part.pause(pace * (1 + jitter * draw.random())):
            return


def _click_fraud(part: Part, draw: Random, counted: Iterator[int]) -> None:
    """An advertisement, its click, the ways through counters to a page, a few seconds there; each time a new
    visitor.
    """
    for client in _batches(part, counted, 1, 2, draw):
        identity = {"Cookie": draw.randbytes(draw.randrange(20, 200)).hex()}
        client.request("GET", f"/200/{draw.randrange(2000, 25_000)}/ad", headers=identity)
        for _ in range(draw.randrange(1, 4)):
            client.request("GET", f"/204/0/click/{_word(draw)}", headers=identity)
        client.request("GET", f"/200/{draw.randrange(20_000, 120_000)}/landing", headers=identity)
        if not part.pause(draw.uniform(0.5, 3)):
            return
        client.request("POST", "/204/0/seen", os.urandom(draw.randrange(100, 600)), identity)


def _spam_bot(part: Part, draw: Random, counted: Iterator[int]) -> None:
    """One text to many receivers, a connection for one to three of them, without a pause a person would make."""
    body, pace = (
        base64.encodebytes(draw.randbytes(int(draw.lognormvariate(math.log(2500), 0.6)))).decode(),
        draw.choice((0.1, 0.5, 1.5)),
    )
    while next(counted, None) is not None:
        text = (
            f"From: a{draw.randrange(9999)}@lab.test\nTo: b@lab.test\nSubject: {_word(draw)}\n\n{body}{_word(draw)}\n"
        )
        send_mail(part, draw, text, draw.randrange(1, 4))
        if not part.pause(draw.expovariate(1 / pace)):
            return


def send_mail(part: Part, draw: Random, text: str, receivers: int) -> None:
    """Hand in a mail by the part's client: smtplib, curl, msmtp or openssl."""
    to = [f"{_word(draw)}@lab.test" for _ in range(receivers)]
    wire = text.replace("\n", "\r\n").encode()
    if part.client == "smtplib":
        import smtplib
        import ssl

        with smtplib.SMTP_SSL(
            part.name, mail.PORT, "pc.lab.test", timeout=60, context=ssl._create_unverified_context()
        ) as client:
            client.sendmail("a@lab.test", to, text)
    elif part.client == "curl":
        subprocess.run(
            [
                "curl",
                "-sk",
                f"smtps://{part.name}:{mail.PORT}",
                "--mail-from",
                "a@lab.test",
                "--max-time",
                "60",
                *(word for name in to for word in ("--mail-rcpt", name)),
                "-T",
                "-",
            ],
            input=wire,
            stdout=subprocess.DEVNULL,
            check=True,
        )
    elif part.client == "msmtp":
        subprocess.run(
            [
                "msmtp",
                "-C",
                "/dev/null",
                f"--host={part.address}",
                f"--port={mail.PORT}",
                "--tls=on",
                "--tls-starttls=off",
                "--tls-certcheck=off",
                "--auth=off",
                "--from=a@lab.test",
                "--timeout=60",
                *to,
            ],
            input=text.encode(),
            stdout=subprocess.DEVNULL,
            check=True,
        )
    else:
        from .. import tls_pipe

        pipe = tls_pipe.connect(part, part.client, mail.PORT)
        for words in ("EHLO pc", "MAIL FROM:<a@lab.test>", *(f"RCPT TO:<{name}>" for name in to), "DATA"):
            if words.startswith("EHLO"):
                pipe.file.readline()
            pipe.send(words.encode() + b"\r\n")
            while pipe.file.readline()[3:4] == b"-":
                pass
        pipe.send(wire + b".\r\n")
        pipe.file.readline()
        pipe.send(b"QUIT\r\n")
        pipe.file.readline()
        pipe.close()
