"""What a host's own IP and TCP are like: how long its packets may be, and whether they carry the time."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

# What access networks leave of 1500 bytes: PPPoE takes 8, mobile cores' tunnels and satellite modems' more, and so do
# clouds' own networks. Custura, Fairhurst, Learmonth, "Exploring Usable Path MTU in the Internet", TMA 2018.
_MTUS = {
    "dsl": (1492, 1492, 1500),
    "lte_still": (1500, 1430, 1420, 1400),
    "lte_moving": (1500, 1430, 1420, 1400),
    "satellite": (1500, 1500, 1400),
    "transcontinental": (1500, 1500, 1420),
    "datacentre": (1500, 1500, 1500, 1460, 1420),
}


@dataclass(frozen=True)
class Stack:
    """`mtu`: bytes; `timestamps`: TCP's option (RFC 7323), which takes 12 bytes of each segment."""

    mtu: int
    timestamps: bool

    def settings(self) -> dict[str, int]:
        """Kernel settings of the host's namespace."""
        return {"net.ipv4.tcp_timestamps": int(self.timestamps)}


def stack_of(link: str, draw: Random) -> Stack:
    """A host on such a link. Windows sends no timestamps, and is what most people's hosts run; most servers do."""
    server = link == "datacentre"
    return Stack(draw.choice(_MTUS.get(link, (1500,))), draw.random() < (0.9 if server else 0.4))
