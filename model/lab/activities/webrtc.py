"""Calls as browsers make them (WebRTC): ICE, DTLS-SRTP, Opus, VP8 or H.264, by aiortc; directly or by a TURN relay
(coturn).

Each side offers its one address in the lab, so that no path is tried that does not exist. A call has voice alone or
voice and a camera's picture. Signalling is JSON over TLS.
"""

from __future__ import annotations

import asyncio
import contextlib
import fractions
import json
import ssl
import sys
import time
from typing import TYPE_CHECKING

import numpy as np

from ..activity import Activity
from ..part import Part
from ..serving import own_address, running, wait_for_port
from ..voice import speech

if TYPE_CHECKING:
    import aiortc
    from aiortc.contrib.media import MediaBlackhole

SIGNALLING, TURN = 8443, 3478

ACTIVITIES = {
    "browser_call": Activity("voip", ("aiortc/aiortc", "coturn/aiortc"), application="RTP"),
    "browser_video_call": Activity("voip", ("aiortc/aiortc", "coturn/aiortc"), application="RTP"),
}


def _peer(part: Part, address: str, relayed: bool, seed: int) -> tuple[aiortc.RTCPeerConnection, MediaBlackhole]:
    """A connection that speaks, and shows a picture where the call has one."""
    import aioice.ice
    import aiortc
    import aiortc.codecs.opus as opus
    import av

    aioice.ice.get_host_addresses = lambda **_: [address]
    draw = part.draw
    rate, silence, carried = (
        draw.choice((20_000, 32_000, 48_000)),
        draw.choice("01"),
        draw.choice(("udp", "udp", "tcp")),
    )
    width, height, frames = draw.choice(((320, 240, 12), (320, 180, 15), (240, 180, 24)))
    video, codec = part.activity == "browser_video_call", draw.choice(("video/VP8", "video/VP8", "video/H264"))
    usual = opus.OpusEncoder.__init__

    def browserly(self: opus.OpusEncoder) -> None:
        # Browsers send speech at 20 to 50 kbit/s where the library would send music.
        usual(self)
        self.codec.bit_rate = rate
        self.codec.options = {"application": "voip", "dtx": silence}

    opus.OpusEncoder.__init__ = browserly  # type: ignore[method-assign]  # aiortc has no setting for it

    class Track(aiortc.MediaStreamTrack):
        begun, number = 0.0, -1

        async def paced(self, each: float) -> None:
            self.begun, self.number = self.begun or time.monotonic(), self.number + 1
            await asyncio.sleep(max(0.0, self.begun + self.number * each - time.monotonic()))

    class Voice(Track):
        kind, sound = "audio", speech(part.seconds + 10, 16_000, seed)

        async def recv(self) -> av.AudioFrame:
            await self.paced(0.02)
            at = self.number * 320 % (len(self.sound) - 320)
            frame = av.AudioFrame.from_ndarray(self.sound[None, at : at + 320], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 16_000, self.number * 320, fractions.Fraction(1, 16_000)
            return frame

    class Camera(Track):
        """A textured wall, a head that sways before it, and a sensor's noise."""

        kind, noise = "video", np.random.default_rng(seed)
        wall = np.kron(noise.integers(40, 200, (12, 16)), np.ones((height // 12, width // 16))).astype(np.uint8)
        rows, columns = np.mgrid[0 : wall.shape[0], 0 : wall.shape[1]]

        async def recv(self) -> av.VideoFrame:
            await self.paced(1 / frames)
            moment = self.number / frames
            x, y = width * (0.5 + 0.1 * np.sin(moment)), height * (0.55 + 0.03 * np.sin(2.3 * moment))
            head = ((self.columns - x) / width * 5) ** 2 + ((self.rows - y) / height * 3) ** 2 < 1
            picture = np.where(head, (120 + 40 * np.sin(self.columns / 5 + 3 * moment)).astype(np.uint8), self.wall)
            picture = picture + self.noise.integers(0, 5, picture.shape, np.uint8)
            whole = np.full((wall_rows * 3 // 2, picture.shape[1]), 128, np.uint8)
            whole[:wall_rows] = picture
            frame = av.VideoFrame.from_ndarray(whole, format="yuv420p")
            frame.pts, frame.time_base = int(moment * 90_000), fractions.Fraction(1, 90_000)
            return frame

    wall_rows = Camera.wall.shape[0]
    server = aiortc.RTCIceServer(f"turn:{part.address}:{TURN}?transport={carried}", "lab", "lab-words-only")
    policy = aiortc.RTCIceTransportPolicy.RELAY if relayed else aiortc.RTCIceTransportPolicy.ALL
    peer = aiortc.RTCPeerConnection(
        aiortc.RTCConfiguration(iceServers=[server] if relayed else [], iceTransportPolicy=policy)
    )
    peer.addTrack(Voice())
    if video:
        sender = peer.addTrack(Camera())
        transceiver = next(one for one in peer.getTransceivers() if one.sender == sender)
        known = aiortc.RTCRtpSender.getCapabilities("video").codecs
        transceiver.setCodecPreferences([one for one in known if one.mimeType in (codec, "video/rtx")])

    hole = aiortc.contrib.media.MediaBlackhole()
    peer.on("track", hole.addTrack)
    return peer, hole


async def _tell(writer: asyncio.StreamWriter, peer: aiortc.RTCPeerConnection) -> None:
    said = peer.localDescription
    writer.write(json.dumps({"sdp": said.sdp, "type": said.type}).encode() + b"\n")
    await writer.drain()


async def _hear(reader: asyncio.StreamReader, peer: aiortc.RTCPeerConnection) -> None:
    import aiortc

    await peer.setRemoteDescription(aiortc.RTCSessionDescription(**json.loads(await reader.readline())))


def serve(part: Part) -> None:
    import aiortc.contrib.media  # noqa: F401 - so that every call's imports find it there

    config = part.scratch / "turn.conf"
    config.write_text(
        f"""listening-ip={part.address}
relay-ip={part.address}
listening-port={TURN}
no-tls
no-dtls
no-cli
lt-cred-mech
user=lab:lab-words-only
realm=lab.test
log-file=stdout
simple-log
pidfile={part.scratch}/turn.pid
userdb={part.scratch}/turn.db
no-multicast-peers
relay-threads=1
"""
    )

    async def call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            peer, hole = _peer(part, part.address, False, part.seed + 1)
            await _hear(reader, peer)
            await peer.setLocalDescription(await peer.createAnswer())
            await hole.start()
            await _tell(writer, peer)
            await reader.read()
            await peer.close()

    async def listen() -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(part.secrets / "cert.pem", part.secrets / "key.pem")
        await asyncio.start_server(call, part.address, SIGNALLING, ssl=context, limit=1 << 20)
        part.ready()
        await asyncio.Event().wait()

    with running(["turnserver", "-c", str(config)]) if part.server == "coturn" else contextlib.nullcontext():
        if part.server == "coturn":
            wait_for_port(part.address, TURN)
        asyncio.run(listen())


def act(part: Part) -> None:
    import aiortc.contrib.media  # noqa: F401 - so that the call's imports find it there

    asyncio.run(_call(part))


async def _call(part: Part) -> None:
    reader, writer = await asyncio.open_connection(
        part.address, SIGNALLING, ssl=ssl._create_unverified_context(), limit=1 << 20
    )
    peer, hole = _peer(part, own_address(part), part.server == "coturn", part.seed)
    await peer.setLocalDescription(await peer.createOffer())
    await _tell(writer, peer)
    await _hear(reader, peer)
    await hole.start()
    await asyncio.sleep(max(0.0, part.left() - 0.3))
    state = peer.connectionState
    await peer.close()
    writer.close()
    if state != "connected":
        sys.exit(f"the call is {state} at its end")
