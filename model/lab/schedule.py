"""What a composed day is made of: people's activities at random, machines' at their periods, and one attack or none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle

HOUR = 3600.0
DAY = 24 * HOUR
#: People are up between these hours.
WAKING = (7 * HOUR, 23 * HOUR)

#: How often a host's people do an activity in a day, each time all that was recorded of it once.
PEOPLE = {
    "web": 12,
    "dns": 30,
    "mail_send": 6,
    "chat_irc": 4,
    "chat_mqtt": 4,
    "chat_websocket": 4,
    "streaming": 1,
    "shell": 3,
}


@dataclass(frozen=True)
class Rhythm:
    """A connection each `period` seconds, or up to a share of `jitter` sooner."""

    period: float
    jitter: float


#: What a host's programs do by themselves: clocks, monitoring, telemetry, a page that is asked again and again, mail,
#: backups, updates.
MACHINES = {
    "ntp": Rhythm(1024, 0.02),
    "snmp": Rhythm(300, 0),
    "sensor_https": Rhythm(300, 0.05),
    "chat_http": Rhythm(120, 0.02),
    "mail_collect": Rhythm(600, 0.05),
    "rsync": Rhythm(HOUR, 0.01),
    "download": Rhythm(4 * HOUR, 0.3),
}


@dataclass(frozen=True)
class Attack:
    """What one host does in one day besides.

    Attributes:
        activity: the lab's.
        kind: what a bundle would call it.
        rhythm: of its connections; None if it is a session now and then.
        sessions: so many, at random.
    """

    activity: str
    kind: str
    rhythm: Rhythm | None = None
    sessions: int = 0


#: Connections of an attack, at most: what has not been found by then is not found.
MOST = 300
_BEACONS = ("beacon_https", "beacon_cobalt_jquery", "beacon_empire", "beacon_sliver", "beacon_mythic")
_GUESSES = ("guess_ssh_password", "guess_form", "guess_imaps")
_SCANS = ("port_scan", "service_scan")


def attacks() -> Iterator[Attack]:
    """A day's each."""
    beacon = cycle(_BEACONS)
    for period in (5, 30, 120, 600, HOUR):
        for jitter in (0, 0.1, 0.3, 0.5):
            yield Attack(next(beacon), "command_and_control", Rhythm(period, jitter))
    for period in (30, 120, 300, 600):
        for activity in _GUESSES:
            yield Attack(activity, "brute_force", Rhythm(period, 0.1))
    for period in (20, 60, 300):
        for activity in _SCANS:
            yield Attack(activity, "scan", Rhythm(period, 0.1))
    for activity, sessions in (
        ("dns_tunnel", 2),
        ("dns_tunnel", 8),
        ("dns_tunnel_program", 2),
        ("dns_tunnel_program", 8),
    ):
        yield Attack(activity, "tunnel", sessions=sessions)
