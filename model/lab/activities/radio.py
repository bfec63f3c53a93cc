"""Internet radio: Icecast over its own TLS or behind stunnel, a source that plays what ffmpeg encoded, listeners who
change stations.
"""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from random import Random

from .. import behaviour, recording
from ..activity import Activity, pairs
from ..part import Part
from ..serving import running, wait_for_port
from .adaptive import player_command

PORT = 443
_SOURCES = 8000
_CLIENTS = ("curl", "wget", "ffmpeg", "mpv", "requests", "chromium")
_STATIONS = {f"/{rate}{name[name.index('.') :]}": (rate, name) for rate, (name, _) in recording.RADIO.items()}
_TYPES = {".mp3": "audio/mpeg", ".aac": "audio/aac", ".ogg": "application/ogg"}

ACTIVITIES = {
    "radio": Activity("streaming", pairs(("icecast", "icecast-stunnel"), _CLIENTS), tcp_ports=(PORT,)),
}


def serve(part: Part) -> None:
    here, password = part.scratch, base64.b32encode(os.urandom(15)).decode()
    pem, config = here / "both.pem", here / "icecast.xml"
    pem.write_bytes((part.secrets / "cert.pem").read_bytes() + (part.secrets / "key.pem").read_bytes())
    own = part.server == "icecast"
    # Sources come over the host's own loopback, which is on no link.
    inside = part.address.replace("10.77.", "127.78.", 1).replace("127.77.", "127.78.", 1)
    listeners = (
        f"<listen-socket><port>{PORT}</port><bind-address>{part.address}</bind-address><ssl>1</ssl></listen-socket>"
    )
    config.write_text(
        f"""<icecast><hostname>lab.test</hostname>
<limits><clients>50</clients><sources>8</sources><burst-on-connect>1</burst-on-connect><burst-size>65535</burst-size></limits>
<authentication><source-password>{password}</source-password>
<admin-user>a</admin-user><admin-password>{password}</admin-password>
</authentication>
<listen-socket><port>{_SOURCES}</port><bind-address>{inside}</bind-address></listen-socket>{listeners if own else ""}
<paths><basedir>{here}</basedir><logdir>{here}</logdir><webroot>{here}</webroot><adminroot>{here}</adminroot>
<ssl-certificate>{pem}</ssl-certificate></paths>
<logging><accesslog>-</accesslog><errorlog>-</errorlog><loglevel>1</loglevel></logging>
<security><chroot>0</chroot><changeowner><user>nobody</user><group>nogroup</group></changeowner></security></icecast>
"""
    )
    # Icecast will not be root.
    for place in (here, here.parent, pem):
        place.chmod(place.stat().st_mode | (0o044 if place == pem else 0o011))
    with ExitStack() as stack:
        stack.enter_context(running(["icecast2", "-c", str(config)]))
        wait_for_port(inside, _SOURCES)
        for path, (rate, name) in _STATIONS.items():
            threading.Thread(target=_source, args=(inside, password, path, name, rate), daemon=True).start()
        if not own:
            (here / "stunnel.conf").write_text(
                f"foreground = yes\npid =\nsyslog = no\n[radio]\naccept = {part.address}:{PORT}\n"
                f"connect = {inside}:{_SOURCES}\ncert = {part.secrets}/cert.pem\nkey = {part.secrets}/key.pem\n"
            )
            stack.enter_context(running(["stunnel4", str(here / "stunnel.conf")]))
        wait_for_port(part.address, PORT)
        # The stations have been on for some seconds: Icecast has its burst for listeners who come.
        time.sleep(1.5)
        part.ready()
        threading.Event().wait()


def _source(address: str, password: str, path: str, name: str, rate: int) -> None:
    """Sends a station's recording round and round at its rate, some seconds' worth at once in the beginning."""
    body = (recording.folder() / name).read_bytes()
    login = base64.b64encode(f"source:{password}".encode()).decode()
    with socket.create_connection((address, _SOURCES), 20) as connection:
        connection.sendall(
            f"PUT {path} HTTP/1.1\r\nHost: lab.test\r\nAuthorization: Basic {login}\r\nContent-Type: "
            f"{_TYPES[path[path.index('.') :]]}\r\nIce-Public: 0\r\nIce-Name: lab\r\n"
            "Expect: 100-continue\r\n\r\n".encode()
        )
        connection.recv(1024)
        pace = len(body) / recording.LENGTH
        begun, sent = time.monotonic() - 8.0, 0
        while True:
            due = int((time.monotonic() - begun) * pace)
            while sent < due:
                at = sent % len(body)
                piece = body[at : at + min(1400, due - sent)]
                connection.sendall(piece)
                sent += len(piece)
            time.sleep(0.1)


def act(part: Part) -> None:
    draw = part.draw
    draw.seed(part.seed + 1)
    if part.client == "chromium":
        _browser(part, draw)
        return
    while part.left() > 1:
        path, until = draw.choice(list(_STATIONS)), time.monotonic() + behaviour.listen(draw)
        if part.client == "requests":
            _requests(part, path, until)
            continue
        address = f"https://{part.name}{path}"
        command = {
            "curl": ["curl", "-skN", address],
            "wget": ["wget", "-qO-", "--no-check-certificate", "--no-hsts", address],
        }.get(part.client) or player_command(part, path, draw)
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            code = process.wait(max(0.1, min(until - time.monotonic(), part.left())))
            if part.left() > 0.2 * part.seconds:
                sys.exit(f"{command[0]} ended with {code}")
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()


def _requests(part: Part, path: str, until: float) -> None:
    import requests
    import urllib3

    urllib3.disable_warnings()
    with requests.Session() as session:
        session.trust_env = False
        with session.get(f"https://{part.name}{path}", verify=False, stream=True, timeout=60) as answer:
            for _ in answer.iter_content(4096):
                if time.monotonic() > until or part.left() <= 0:
                    return


def _browser(part: Part, draw: Random) -> None:
    """The stations one after the other in one browser's audio element; from Icecast's own 404 page, as it must be of
    its site.
    """
    from ..browser import Browser

    browser = Browser(part)
    browser.get(["/"])
    while part.left() > 1:
        browser.run(
            f"window.radio && radio.pause(); window.radio = new Audio('{draw.choice(list(_STATIONS))}'); "
            "radio.play(); 1"
        )
        if not part.pause(behaviour.listen(draw)):
            break
    os._exit(0)
