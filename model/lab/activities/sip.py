"""Calls between SIP telephones that exist: baresip and SIPp, with real codecs and, at baresip's, SRTP (SDES and DTLS).

A baresip calls another directly, over UDP, TCP or TLS; each speaks a voice made of spurts and silences. SIPp calls with
streamed payload bytes, and alone makes signalling: many calls without media, as an exchange's trunk has.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import wave

from ..activity import Activity
from ..part import Part
from ..serving import own_address, running, speaking_from, wait_for_port, wait_for_udp
from ..voice import speech

PORT = 5060
_MODULES = "/usr/lib/baresip/modules"

#: Codec and its clock; G.711 twice, as trunks and desk telephones still have it most.
_CODECS = (
    ("opus/48000/2", 48_000),
    ("opus/48000/2", 48_000),
    ("PCMU/8000/1", 8_000),
    ("PCMA/8000/1", 8_000),
    ("G722/16000/1", 16_000),
    ("GSM/8000/1", 8_000),
)

ACTIVITIES = {
    "sip_call": Activity(
        "voip", ("baresip/baresip", "baresip-srtp/baresip-srtp", "sipp/sipp", "baresip/sipp"), application="RTP"
    ),
    "sip_trunk": Activity("voip", ("sipp/sipp",), application="SIP"),
}


def _voice(part: Part, rate: int, seed: int) -> str:
    file = part.scratch / "voice.wav"
    with wave.open(str(file), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(speech(part.seconds + 20, rate, seed).tobytes())
    return str(file)


def _media_port(part: Part) -> int:
    """The first of a hundred ports of this activity's own: baresip binds them at all addresses."""
    third, fourth = (int(word) for word in part.address.split(".")[2:])
    return 10_000 + (third * 256 + fourth) % 220 * 100


def _baresip(part: Part, address: str, port: int, encrypted: bool, seed: int) -> tuple[list[str], str]:
    """A configured baresip, and how SIP is carried."""
    draw = part.draw
    codec, rate = draw.choice(_CODECS)
    carried = draw.choice(("udp", "udp", "tcp", "tls"))
    bitrate, silence, frame = (
        draw.choice((12_000, 20_000, 28_000, 40_000)),
        draw.choice(("yes", "no")),
        draw.choice((20, 20, 20, 40)),
    )
    secure = draw.choice(("srtp-mand", "dtls_srtp")) if encrypted else ""
    if part.client == "sipp":
        codec, rate, carried = "PCMA/8000/1", 8_000, "udp"
    media = _media_port(part) + (50 if address == part.address else 0)
    both = part.scratch / "both.pem"
    both.write_bytes((part.secrets / "key.pem").read_bytes() + (part.secrets / "cert.pem").read_bytes())
    (part.scratch / "contacts").touch()
    (part.scratch / "accounts").write_text(
        f"<sip:lab@{address}:{port}>;answermode=auto;regint=0;ptime={frame};audio_codecs={codec}"
        + (f";mediaenc={secure}" if secure else "")
        + "\n"
    )
    modules = "".join(
        f"module {name}.so\n" for name in ("opus", "g711", "g722", "gsm", "aufile", "aubridge", "srtp", "dtls_srtp")
    )
    (part.scratch / "config").write_text(
        f"""poll_method epoll
net_interface {address}
sip_listen {address}:{port}
sip_certificate {both}
audio_player aubridge,none
audio_source aufile,{_voice(part, rate, seed)}
audio_alert aubridge,none
ausrc_srate {rate}
auplay_srate {rate}
ausrc_channels 1
auplay_channels 1
rtp_ports {media}-{media + 48}
module_path {_MODULES}
{modules}module_tmp account.so
module_app menu.so
opus_bitrate {bitrate}
opus_dtx {silence}
opus_complexity 3
"""
    )
    return ["baresip", "-4", "-f", str(part.scratch)], carried


#: What SIPp's caller sends: a call with streamed payload. Its own `uac` has no media but from recordings.
_CALLER = """<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="lab">
<send retrans="500"><![CDATA[
INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: ann <sip:ann@[local_ip]:[local_port]>;tag=[pid]SIPpTag00[call_number]
To: bob <sip:[service]@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: sip:ann@[local_ip]:[local_port]
Max-Forwards: 70
Content-Type: application/sdp
Content-Length: [len]

v=0
o=ann 53655765 2353687637 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio [rtpstream_audio_port] RTP/AVP {number}
a=rtpmap:{number} {codec}
]]></send>
<recv response="100" optional="true"/>
<recv response="180" optional="true"/>
<recv response="183" optional="true"/>
<recv response="200" rtd="true"/>
<send><![CDATA[
ACK sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: ann <sip:ann@[local_ip]:[local_port]>;tag=[pid]SIPpTag00[call_number]
To: bob <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 1 ACK
Contact: sip:ann@[local_ip]:[local_port]
Max-Forwards: 70
Content-Length: 0

]]></send>
<nop><action><exec rtp_stream="{file},-1,{number}"/></action></nop>
<pause milliseconds="{milliseconds}"/>
<send retrans="500"><![CDATA[
BYE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: ann <sip:ann@[local_ip]:[local_port]>;tag=[pid]SIPpTag00[call_number]
To: bob <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 2 BYE
Contact: sip:ann@[local_ip]:[local_port]
Max-Forwards: 70
Content-Length: 0

]]></send>
<recv response="200" crlf="true"/>
</scenario>
"""


def _carrying(part: Part) -> str:
    """SIPp's word for what carries its signalling."""
    return part.draw.choice(("u1", "u1", "t1")) if part.activity == "sip_trunk" else "u1"


def serve(part: Part) -> None:
    if part.server == "sipp":
        command = [
            "sipp",
            "-sn",
            "uas",
            "-i",
            part.address,
            "-mi",
            part.address,
            "-p",
            str(PORT),
            "-mp",
            str(_media_port(part)),
            "-rtp_echo",
            "-t",
            _carrying(part),
            "-nostdin",
        ]
        with running(command) as process:
            (wait_for_port if _carrying(part) == "t1" else wait_for_udp)(part.address, PORT)
            part.ready()
            process.wait()
        return
    command, _ = _baresip(part, part.address, PORT, part.server == "baresip-srtp", part.seed + 1)
    with running(speaking_from(part, command)) as process:
        wait_for_port(part.address, PORT)
        part.ready()
        process.wait()


def act(part: Part) -> None:
    draw, own = part.draw, own_address(part)
    port = _media_port(part) + 90
    if part.client != "sipp":
        command, carried = _baresip(part, own, port, part.client == "baresip-srtp", part.seed)
        _end_well(
            part,
            [
                *command,
                "-t",
                str(int(part.seconds)),
                "-e",
                f"/dial sip:lab@{part.address}:{PORT + (carried == 'tls')};transport={carried}",
            ],
        )
        return
    common = [
        "sipp",
        f"{part.address}:{PORT}",
        "-i",
        own,
        "-mi",
        own,
        "-p",
        str(port),
        "-s",
        "lab",
        "-t",
        _carrying(part),
        "-nostdin",
    ]
    if part.activity == "sip_trunk":
        _end_well(
            part,
            [
                *common,
                "-sn",
                "uac",
                "-r",
                str(draw.choice((1, 2, 4))),
                "-rp",
                "1500",
                "-d",
                str(draw.randrange(800, 4000)),
                "-m",
                "10000",
            ],
        )
        return
    number, codec, octets = draw.choice(((0, "PCMU/8000", 160), (8, "PCMA/8000", 160), (18, "G729/8000", 20)))
    if part.server != "sipp":
        number, codec, octets = 8, "PCMA/8000", 160
    file, scenario = part.scratch / "voice.bin", part.scratch / "caller.xml"
    file.write_bytes(os.urandom(octets * 50 * 20))
    scenario.write_text(
        _CALLER.format(number=number, codec=codec, file=file, milliseconds=int(part.seconds * 1000 - 1500))
    )
    _end_well(part, [*common, "-sf", str(scenario), "-m", "1", "-mp", str(_media_port(part))])


def _end_well(part: Part, command: list[str]) -> None:
    """Run it until the activity's time is over, then let it say good-bye."""
    with open(part.scratch / "said", "wb") as said:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd=part.scratch)
        begun = time.monotonic()
        try:
            process.wait(max(1.0, part.left() + 1))
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait(5)
        if time.monotonic() - begun < part.seconds / 3:
            sys.exit(
                (part.scratch / "said").read_text(errors="replace")[-300:].strip() or f"{command[0]} ended at once"
            )
