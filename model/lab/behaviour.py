"""How people and devices behave, as random draws from a seeded generator. Each names where its numbers come from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from random import Random


def page(draw: Random) -> list[int]:
    """Body sizes (bytes) of a page's objects, the document first.

    HTTP Archive, Web Almanac 2022: median page 2.3 MB in 70 requests, both log-normal; scaled to a fifth in count,
    as the lab's pages come from one server where a real one has a dozen.
    """
    count = min(1 + int(draw.lognormvariate(math.log(14), 0.8)), 60)
    return [int(min(draw.lognormvariate(math.log(30_000), 0.7), 400_000))] + [
        int(min(draw.lognormvariate(math.log(11_000), 1.4), 1_500_000)) for _ in range(count - 1)
    ]


def think(draw: Random) -> float:
    """Seconds between a page and the next: Liu, White, Dumais 2010 (dwell times Weibull, shape below 1)."""
    return min(1.0 + draw.weibullvariate(9.0, 0.75), 60.0)


def keystroke(draw: Random) -> float:
    """Seconds between keys: Dhakal et al. 2018 (136 million keystrokes: mean 0.24 s, log-normal), pauses between
    words.
    """
    if draw.random() < 0.12:
        return min(draw.lognormvariate(math.log(0.9), 0.8), 8.0)
    return draw.lognormvariate(math.log(0.19), 0.45)


def message_gap(draw: Random) -> float:
    """Seconds between chat messages: bursts and long waits, after Barabási 2005 and Aoki, Hayashi 2011 (heavy tail)."""
    return min(draw.paretovariate(0.9), 45.0)


def message(draw: Random) -> int:
    """Characters of a chat message: log-normal with median 25 (Rosenfeld et al. 2018); one in 20 is a picture."""
    if draw.random() < 0.05:
        return int(draw.lognormvariate(math.log(60_000), 0.6))
    return max(1, int(draw.lognormvariate(math.log(25), 0.9)))


def talk(draw: Random) -> Iterator[tuple[bool, float]]:
    """Talk spurts and silences (speaking?, seconds): ITU-T P.59 (spurt 1.004 s, pause 1.587 s, both exponential)."""
    while True:
        yield True, draw.expovariate(1 / 1.004)
        yield False, draw.expovariate(1 / 1.587)


#: Kilobits per second of each rung: Apple's HLS authoring specification for H.264, up to 720p.
LADDER = (145, 365, 730, 1100, 2000, 3000, 4500)


def segment(draw: Random, rung: int, seconds: float) -> int:
    """Bytes of a video segment: the rung's rate, varying as VBR does (Qin et al. 2018: up to twice the average)."""
    return int(LADDER[rung] * 125 * seconds * min(draw.lognormvariate(-0.06, 0.35), 2.2))


def mail(draw: Random) -> int:
    """Bytes of a mail: log-normal with median 20 kB; one in eight has an attachment (Bertolotti, Calzarossa 2001)."""
    if draw.random() < 0.125:
        return int(min(draw.lognormvariate(math.log(300_000), 1.0), 3_000_000))
    return int(draw.lognormvariate(math.log(20_000), 0.9))


def mail_wait(draw: Random) -> float:
    """Seconds to a mailbox's next mail: exponential (Bertolotti, Calzarossa 2001: arrivals in the working day are

    nearly Poisson), some two hundred times as often as an office worker's mail, so that a capture sees several.
    """
    return 1.0 + draw.expovariate(1 / 9)


def file(draw: Random) -> int:
    """Bytes of a file: log-normal body (Agrawal et al. 2007), kept below 8 MB."""
    return int(min(draw.lognormvariate(math.log(200_000), 1.8), 8_000_000))


def beacon(interval: float, jitter: float, draw: Random) -> float:
    """Seconds to the next check-in: the interval less up to `jitter` of it (Cobalt Strike's documented `sleep`)."""
    return interval * (1 - jitter * draw.random())


def typing(size: int, draw: Random) -> float:
    """Seconds a person types a message of `size` characters (see keystroke); a picture takes as long as choosing it."""
    return min(sum(keystroke(draw) for _ in range(min(size, 40))), 6.0)


def is_picture(size: int) -> bool:
    """Whether message() drew a picture: its texts stay far below."""
    return size > 4000


#: A distribution and its two numbers; see `game`.
Spread = tuple[str, float, float]
#: Games as published models give them: what carries them, then for the player's side and the server's side the seconds
#: between packets and the payload bytes.
GAMES: dict[str, tuple[str, tuple[Spread, Spread], tuple[Spread, Spread]]] = {
    # Faerber 2002, Counter-Strike: the server's burst each 62 ms, sizes extreme-value; players each 40 ms.
    "counter_strike": (
        "udp",
        (("normal", 0.0402, 0.004), ("extreme", 80, 5.7)),
        (("normal", 0.0621, 0.008), ("extreme", 120, 36)),
    ),
    # Lang, Branch, Armitage 2004, Quake 3: a snapshot each 50 ms, growing with what is seen; the player's rate is the
    # screen's.
    "quake3": (
        "udp",
        (("normal", 0.0125, 0.0016), ("normal", 62, 4)),
        (("normal", 0.05, 0.001), ("lognormal", 130, 0.45)),
    ),
    # Claypool, LaPoint, Winslow 2003, Unreal Tournament: 15 to 33 a second, far smaller.
    "unreal": ("udp", (("normal", 0.031, 0.006), ("normal", 36, 6)), (("normal", 0.045, 0.01), ("lognormal", 85, 0.5))),
    # Dainotti, Pescape, Ventre 2005, StarCraft: few sizes both ways, all players at the same pace.
    "starcraft": ("udp", (("normal", 0.115, 0.03), ("steps", 16, 33)), (("normal", 0.115, 0.03), ("steps", 16, 33))),
    # Chen, Huang, Lei 2006, ShenZhou Online: 8 commands a second of about 30 bytes over TCP, answers of 114 on average.
    "shenzhou": (
        "tcp",
        (("exponential", 0.125, 0), ("normal", 30, 4)),
        (("normal", 0.145, 0.04), ("lognormal", 85, 0.75)),
    ),
    # Svoboda, Karner, Rupp 2007, World of Warcraft: up mostly 6 to 60 bytes, down Weibull with a heavy tail.
    "warcraft": (
        "tcp",
        (("exponential", 0.35, 0), ("steps", 6, 53)),
        (("exponential", 0.22, 0), ("weibull", 200, 0.8)),
    ),
}


def game(kind: Spread, draw: Random) -> float:
    """A draw from one of the distributions of `GAMES`."""
    name, first, second = kind
    if name == "normal":
        return max(first / 5, draw.gauss(first, second))
    if name == "extreme":
        return first - second * math.log(-math.log(draw.random() * 0.999998 + 1e-6))
    if name == "lognormal":
        return draw.lognormvariate(math.log(first), second)
    if name == "exponential":
        return draw.expovariate(1 / first)
    if name == "weibull":
        return draw.weibullvariate(first, second)
    return draw.choice((first, first, first, first + 4, first + 10, first + 11, second))


def listen(draw: Random) -> float:
    """Seconds at one radio station: most leave soon, some stay; log-normal, its median chosen (not looked up) to fit
    captures.
    """
    return min(8.0 + draw.lognormvariate(math.log(15), 0.9), 600.0)


def clip(draw: Random) -> float:
    """Seconds of a clip that are watched: viewers leave early, log-normal (chosen, not looked up), at most the clip's
    48.
    """
    return min(5.0 + draw.lognormvariate(math.log(18), 0.7), 48.0)
