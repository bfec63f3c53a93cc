"""A film and a programme that ffmpeg really encodes, once per machine: what streams are made of.

Test pictures with noise that comes and goes, so that the coder's output varies as a film's does. Each track is cut into
fragments of SECONDS (CMAF: any number of fragments in a row is a segment), and goes round for as long as it is asked.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

SECONDS = 2
LENGTH = 48
#: Kilobits per second -> size. Rates as behaviour.LADDER has them; pictures small, as only their bytes travel.
RUNGS = {145: "256x144", 365: "426x240", 730: "512x288", 1100: "640x360", 2000: "640x360", 3000: "640x360"}
SOUND = 96
#: Kilobits per second -> what ffmpeg makes for an internet radio.
RADIO = {
    64: ("radio.ogg", "libvorbis"),
    96: ("radio.aac", "aac"),
    128: ("radio.mp3", "libmp3lame"),
    192: ("radio192.mp3", "libmp3lame"),
}
_CACHE = "mmttlab-cache-recording-1"


@dataclass(frozen=True)
class Track:
    """A track of the film. `clock`: its units per second."""

    init: bytes
    fragments: list[bytes]
    clock: int

    def segment(self, number: int, count: int) -> bytes:
        """Segment `number` (from 0), each of `count` fragments, with the times it has after so many rounds."""
        made = b""
        for turn in range(number * count, (number + 1) * count):
            fragment = bytearray(self.fragments[turn % len(self.fragments)])
            # tfdt, version 1: the fragment's time, 64 bits after its name, version and flags.
            at = fragment.index(b"tfdt") + 8
            time = struct.unpack_from(">Q", fragment, at)[0] + turn // len(self.fragments) * LENGTH * self.clock
            struct.pack_into(">Q", fragment, at, time)
            made += fragment
        return made


def folder() -> Path:
    """Where the encoded files are; made if they are not there yet."""
    there = Path(tempfile.gettempdir()) / _CACHE
    with open(f"{there}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not there.exists():
            made = Path(tempfile.mkdtemp(prefix=f"{_CACHE}-part-"))
            try:
                _encode(made)
                made.chmod(0o755)
                os.rename(made, there)
            finally:
                shutil.rmtree(made, ignore_errors=True)
    return there


def _encode(into: Path) -> None:
    noise = "noise=alls=30:allf=t:enable='gt(mod(t,11),4)',noise=alls=15:allf=t:enable='lt(mod(t,7),2)'"
    ends = "".join(f"[v{rate}]" for rate in RUNGS)
    graph = f"[0:v]{noise},split={len(RUNGS)}{ends};" + ";".join(
        f"[v{rate}]scale={size.replace('x', ':')}[o{rate}]" for rate, size in RUNGS.items()
    )
    fragmented = ["-f", "mp4", "-movflags", "empty_moov+default_base_moof"]
    words = [
        "nice",
        "ffmpeg",
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        f"testsrc2=size=640x360:rate=25:duration={LENGTH}",
        "-f",
        "lavfi",
        "-i",
        f"anoisesrc=color=pink:amplitude=0.3:duration={LENGTH}",
        "-filter_complex",
        graph,
    ]
    for rate in RUNGS:
        words += [
            "-map",
            f"[o{rate}]",
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-b:v",
            f"{rate}k",
            "-maxrate",
            f"{rate * 3 // 2}k",
            "-bufsize",
            f"{rate * 3}k",
            "-g",
            str(25 * SECONDS),
            "-sc_threshold",
            "0",
            *fragmented,
            "-frag_duration",
            str(SECONDS * 1_000_000),
            str(into / f"{rate}.mp4"),
        ]
    words += [
        "-map",
        "1:a",
        "-c:a",
        "aac",
        "-b:a",
        f"{SOUND}k",
        *fragmented,
        "-frag_duration",
        str(SECONDS * 1_000_000),
        str(into / "sound.mp4"),
    ]
    for rate, (name, coder) in RADIO.items():
        words += ["-map", "1:a", "-c:a", coder, "-b:a", f"{rate}k", str(into / name)]
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
    for rate in RUNGS:
        # The film in one file, its index first, for those who just download it.
        subprocess.run(
            [
                "ffmpeg",
                "-v",
                "error",
                "-i",
                str(into / f"{rate}.mp4"),
                "-i",
                str(into / "sound.mp4"),
                "-c",
                "copy",
                "-movflags",
                "faststart",
                str(into / f"film{rate}.mp4"),
            ],
            check=True,
            stdin=subprocess.DEVNULL,
        )


def track(name: str) -> Track:
    """`name`: a rung's rate, or "sound"."""
    data, at, boxes = (folder() / f"{name}.mp4").read_bytes(), 0, []
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        boxes.append((kind, data[at : at + size]))
        at += size
    init = b"".join(box for kind, box in boxes if kind in (b"ftyp", b"moov"))
    fragments = [box + boxes[number + 1][1] for number, (kind, box) in enumerate(boxes) if kind == b"moof"]
    # mdhd, version 0: its clock is 12 bytes after version and flags.
    return Track(init, fragments, struct.unpack_from(">I", init, init.index(b"mdhd") + 16)[0])
