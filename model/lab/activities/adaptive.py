"""Films and live programmes as HLS and DASH: ladders that ffmpeg encoded, players that read playlists and choose
rungs.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from random import Random

from .. import https_clients, https_site, recording
from ..activity import Activity, pairs
from ..part import Part

PORT = https_site.PORT
#: Segments a live playlist names.
_WINDOW = 5
_PLAYERS = ("ffmpeg", "mpv")
_SHAKA = "/usr/lib/node_modules/shaka-player/dist/shaka-player.compiled-es2021.js"

_HTTPS = pairs(https_site.SERVERS, (*https_clients.CLIENTS, *_PLAYERS, "shaka"))
_TLS = (PORT,)

ACTIVITIES = {
    "hls": Activity("streaming", _HTTPS, tcp_ports=_TLS),
    "hls_live": Activity("streaming", _HTTPS, tcp_ports=_TLS),
    "hls_http3": Activity("streaming", pairs(https_site.HTTP3_SERVERS, ("aioquic", "shaka-h3"))),
    "dash": Activity("streaming", _HTTPS, tcp_ports=_TLS),
    # mpv reads up to the edge, where FFmpeg's DASH reader does not wait but asks for what is not there yet, on and on.
    "dash_live": Activity(
        "streaming", pairs(https_site.SERVERS, (*https_clients.CLIENTS, "ffmpeg", "shaka")), tcp_ports=_TLS
    ),
}


class _Stream:
    """What both sides know of it without asking: nothing but the seed."""

    def __init__(self, part: Part) -> None:
        draw = part.draw
        # Segments of two (low latency), four and six seconds (Apple's recommendation) are what services use.
        self.count = draw.choice((1, 2, 3))
        self.seconds = self.count * recording.SECONDS
        self.rungs = sorted(draw.sample(list(recording.RUNGS), draw.randrange(3, 6)))
        self.first = draw.randrange(1000)
        self.live = part.activity.endswith("_live")
        self.length = int((part.seconds + 45) // self.seconds) + 1


# --- server ---


def serve(part: Part) -> None:
    root, stream = part.scratch / "site", _Stream(part)
    tracks = {f"v{rate}": recording.track(str(rate)) for rate in stream.rungs} | {"sound": recording.track("sound")}
    for name, track in tracks.items():
        (root / name).mkdir(parents=True)
        (root / name / "init.mp4").write_bytes(track.init)
    variants = "".join(
        f'#EXT-X-STREAM-INF:BANDWIDTH={(rate + recording.SOUND) * 1200},CODECS="avc1.42c01e,mp4a.40.2",RESOLUTION='
        f'{recording.RUNGS[rate]},AUDIO="sound"\nv{rate}/index.m3u8\n'
        for rate in stream.rungs
    )
    (root / "master.m3u8").write_text(
        '#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="sound",NAME="one",DEFAULT=YES,'
        f'URI="sound/index.m3u8"\n{variants}'
    )

    def add(numbers: range) -> None:
        for name, track in tracks.items():
            for number in numbers:
                (root / name / f"{number}.m4s").write_bytes(track.segment(number, stream.count))

    def tell(numbers: range) -> None:
        for name in tracks:
            text = "".join(f"#EXTINF:{stream.seconds:.3f},\n{number}.m4s\n" for number in numbers)
            new = root / name / ".index"
            new.write_text(
                f"#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{stream.seconds}\n"
                f"#EXT-X-MEDIA-SEQUENCE:{numbers[0]}\n"
                f'#EXT-X-MAP:URI="init.mp4"\n{text}{"" if stream.live else "#EXT-X-ENDLIST"}\n'
            )
            # In one step, so that nobody reads half of it.
            new.replace(root / name / "index.m3u8")

    def go_on() -> None:
        last = stream.first + _WINDOW
        while True:
            time.sleep(max(0.0, begun + (last + 1) * stream.seconds - time.time()))
            add(range(last, last + 1))
            last += 1
            tell(range(last - _WINDOW, last))

    if stream.live:
        # The programme began so long ago that its first window has just been complete.
        begun = time.time() - (stream.first + _WINDOW) * stream.seconds
        first = range(stream.first, stream.first + _WINDOW)
        # Segments are there when they end, which players reckon differently: so the clock is told one segment late.
        kind = (
            f'type="dynamic" availabilityStartTime="{_clock(begun + stream.seconds)}" '
            f'minimumUpdatePeriod="PT{stream.seconds}S" '
            f'timeShiftBufferDepth="PT{_WINDOW * stream.seconds}S" suggestedPresentationDelay="PT{2 * stream.seconds}S"'
        )
    else:
        first = range(stream.length)
        kind = f'type="static" mediaPresentationDuration="PT{stream.length * stream.seconds}S"'
    (root / "manifest.mpd").write_text(_manifest(stream, kind))
    if part.client.startswith("shaka"):
        (root / "player.html").write_text(
            _PAGE.format("/manifest.mpd" if part.activity.startswith("dash") else "/master.m3u8")
        )
        (root / "shaka.js").write_bytes(Path(_SHAKA).read_bytes())
    add(first)
    tell(first)
    if stream.live:
        threading.Thread(target=go_on, daemon=True).start()
    https_site.serve(part, root)


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _manifest(stream: _Stream, kind: str) -> str:
    def adapted(media: str, codec: str, entries: list[tuple[str, str]]) -> str:
        template = (
            f'<SegmentTemplate timescale="1" duration="{stream.seconds}" startNumber="0" '
            'initialization="$RepresentationID$/init.mp4" media="$RepresentationID$/$Number$.m4s"/>'
        )
        return (
            f'<AdaptationSet contentType="{media}" mimeType="{media}/mp4" codecs="{codec}" '
            f'segmentAlignment="true">{template}'
            + "".join(f'<Representation id="{name}" {more}/>' for name, more in entries)
            + "</AdaptationSet>"
        )

    pictures = []
    for rate in stream.rungs:
        width, height = recording.RUNGS[rate].split("x")
        pictures.append((f"v{rate}", f'bandwidth="{rate * 1200}" width="{width}" height="{height}" frameRate="25"'))
    sound = [("sound", f'bandwidth="{recording.SOUND * 1000}" audioSamplingRate="48000"')]
    return (
        '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" '
        'profiles="urn:mpeg:dash:profile:isoff-live:2011" '
        f'minBufferTime="PT{stream.seconds}S" {kind}><Period id="1" start="PT0S">'
        + adapted("video", "avc1.42c01e", pictures)
        + adapted("audio", "mp4a.40.2", sound)
        + "</Period></MPD>\n"
    )


# What services' own pages do: the player is part of the page, and so is its weight.
_PAGE = """<!doctype html><title>lab</title><video id=film muted></video><script src=/shaka.js></script><script>
const player = new shaka.Player(); window.state = "loading";
player.addEventListener("error", event => {{ window.state = "error " + event.detail.code; }});
player.attach(film).then(() => player.load("{}")).then(() => {{ window.state = "playing"; film.play(); }},
  error => {{ window.state = "error " + error.code; }});
</script>
"""

# --- players ---


def act(part: Part) -> None:
    if part.client in _PLAYERS:
        _player(part)
    elif part.client.startswith("shaka"):
        _shaka(part)
    else:
        https_clients.drive(part, _watch)


def player_command(part: Part, path: str, draw: Random) -> list[str]:
    """mpv and ffmpeg (as a recorder has it, at the film's own pace) on an address of the server's."""
    address = f"https://{part.name}{path}"
    if part.client == "mpv":
        return [
            "mpv",
            "--no-config",
            "--vo=null",
            "--ao=null",
            "--ytdl=no",
            "--really-quiet",
            "--tls-verify=no",
            "--vd-lavc-threads=1",
            f"--cache-secs={draw.randrange(8, 30)}",
            f"--hls-bitrate={draw.choice(('min', 'max', '900000'))}",
            address,
        ]
    return [
        "ffmpeg",
        "-nostdin",
        "-v",
        "error",
        "-tls_verify",
        "0",
        "-re",
        "-i",
        address,
        "-c",
        "copy",
        "-f",
        "null",
        "-",
    ]


def watch_for(part: Part, command: list[str]) -> None:
    """Run a player until it or the part's time ends. A player that gives up early does not work."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        code = process.wait(max(0.1, part.left()))
    except subprocess.TimeoutExpired:
        process.terminate()
        return
    if code and part.left() > 0.2 * part.seconds:
        sys.exit(f"{command[0]} ended with {code}")


def _player(part: Part) -> None:
    stream, draw = _Stream(part), part.draw
    draw.seed(part.seed + 1)
    if part.activity.startswith("dash"):
        path = "/manifest.mpd"
    else:
        # A link into the ladder, as people paste it, or all of it.
        path = draw.choice(("/master.m3u8", f"/v{draw.choice(stream.rungs)}/index.m3u8"))
    watch_for(part, player_command(part, path, draw))


def _shaka(part: Part) -> None:
    """A player as services have it, in a browser that decodes and shows the film."""
    from ..browser import Browser

    browser = Browser(part)
    browser.get(["/player.html"])
    part.pause(0.6 * part.seconds)
    state = browser.run("window.state + ' at ' + film.currentTime")
    if state.startswith("error"):
        sys.exit(f"shaka: {state}")
    part.pause(part.left())
    os._exit(0)


def _found(pattern: str, text: str) -> str:
    """What the pattern's group is in a playlist. Raises OSError."""
    match = re.search(pattern, text)
    if not match:
        raise OSError(f"a playlist without {pattern}")
    return match[1]


class _Playlists:
    """Where the segments are, as the server's own playlists say."""

    def __init__(self, fetch: Callable[[str], bytes], dash: bool) -> None:
        self.fetch, self.dash = fetch, dash
        #: Of HLS's playlists first and last segment, of DASH's the start of a programme or the last of a film's.
        self.known: dict[str, tuple[int, int]] = {}
        self.begun, self.last = 0.0, 0
        if dash:
            text = fetch("/manifest.mpd").decode()
            self.rungs = {int(rate): name for name, rate in re.findall(r'id="(v\d+)" bandwidth="(\d+)"', text)}
            self.seconds = int(_found(r' duration="(\d+)"', text))
            started = re.search(r'availabilityStartTime="([^"]+)"', text)
            self.live = started is not None
            if started:
                self.begun = datetime.fromisoformat(started[1].replace("Z", "+00:00")).timestamp()
            else:
                self.last = int(_found(r'mediaPresentationDuration="PT(\d+)S"', text)) // self.seconds - 1
        else:
            text = fetch("/master.m3u8").decode()
            self.rungs = {int(rate): name for rate, name in re.findall(r"BANDWIDTH=(\d+).*\n(.+)/index", text)}
            self.seconds, self.live = 0, False
            self.newest(min(self.rungs.values()))
        if not self.rungs:
            raise OSError("a playlist without rungs")

    def newest(self, name: str) -> tuple[int, int]:
        """First and last segment there is now; asked for anew where they change."""
        if self.dash:
            if not self.live:
                return 0, self.last
            now = int((time.time() - self.begun) // self.seconds)
            return now - _WINDOW + 1, now
        if name not in self.known or self.live:
            text = self.fetch(f"/{name}/index.m3u8").decode()
            numbers = [int(number) for number in re.findall(r"^(\d+)\.m4s", text, re.M)]
            self.seconds, self.live = int(_found(r"TARGETDURATION:(\d+)", text)), "ENDLIST" not in text
            self.known[name] = numbers[0], numbers[-1]
        return self.known[name]


def _watch(part: Part, client: https_clients.Client) -> None:
    """An adaptive player: rung by measured rate with a margin, so many seconds ahead (after Huang et al. 2014)."""
    draw = part.draw
    draw.seed(part.seed + 1)
    lists = _Playlists(client.fetch, part.activity.startswith("dash"))
    most, rate = draw.choice((12, 20, 30)), draw.choice((300e3, 1e6))
    begun: set[str] = set()
    number: int | None = None
    played_until = time.monotonic()
    while part.left() > 0:
        fitting = [kbit for kbit in lists.rungs if kbit < 0.8 * rate]
        rung = lists.rungs[max(fitting, default=min(lists.rungs))]
        first, last = lists.newest(rung)
        if number is None:
            # Viewers of a programme join three segments behind its edge, those of a film anywhere.
            number = max(first, last - 2) if lists.live else draw.randrange(0, 4)
        number = max(number, first)
        if number > last:
            if not lists.live or not part.pause(lists.seconds / 2):
                return
            continue
        for name in (rung, "sound"):
            if name not in begun:
                client.fetch(f"/{name}/init.mp4")
                begun.add(name)
        started = time.monotonic()
        size = len(client.fetch(f"/{rung}/{number}.m4s"))
        rate = 0.6 * rate + 0.4 * size * 8 / max(time.monotonic() - started, 1e-3)
        client.fetch(f"/sound/{number}.m4s")
        number += 1
        played_until = max(played_until, time.monotonic()) + lists.seconds
        ahead = played_until - time.monotonic()
        if ahead > most and not part.pause(ahead - most):
            return
