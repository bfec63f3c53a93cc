"""What a worker and the process that has started it tell each other."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TypeAlias

from ..bundle import Bundle
from ..classifier import Verdicts
from ..classify.evidence import About
from ..drift import Drifted
from ..incidents import Flows, Try

# A worker tells:


@dataclass(slots=True)
class Ready:
    """It takes packets now; ``warnings``: what the user should know of them, one line each."""

    warnings: list[str]


@dataclass(slots=True)
class Refused:
    """It can't take any, and ends."""

    problem: str


@dataclass(slots=True)
class Told:
    """Windows of which it is clear what becomes of them; lists are one element a window.

    Attributes:
        status: of all of them, as in ``mmtt.log``.
        last: µs since 1970, the window's last packet.
        verdicts, flows, model: where there are verdicts.
        arrived: when each batch that they came in was found, by the machine's monotonic clock; ``begun`` and ``done``:
            when the model began and was done.
    """

    status: str
    connections: list[About]
    ts: list[int]
    window: list[int]
    packets: list[int]
    last: list[int]
    model: str | None = None
    verdicts: Verdicts | None = None
    flows: Flows | None = None
    arrived: list[float] = field(default_factory=list)
    begun: float = 0.0
    done: float = 0.0

    def __len__(self) -> int:
        return len(self.ts)

    def flow(self, row: int) -> tuple[str, int]:
        """The uid and the window's number of one of them."""
        return self.connections[row].uid, self.window[row]


@dataclass(slots=True)
class Without:
    """Connections without a verdict."""

    tries: list[Try]


@dataclass(slots=True)
class State:
    """How it is: about once a second while it lives and gets on.

    Attributes:
        problem: why it gets no packets now; empty if it does.
        packets, drops: of its socket: what the kernel has counted.
        taken: packets that were looked into; ``left_out``: of these left out, by cause; ``kinds``, of some causes by
            kind.
        seen, open, evicted: connections.
        windows: by what has become of them: ``received``, and of these ``queued`` and ``in_hand`` now; ``lost``.
        failed: the latest problem of the model.
        over: it says no more.
    """

    problem: str = ""
    packets: int = 0
    drops: int = 0
    taken: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, dict[str, int]] = field(default_factory=dict)
    seen: int = 0
    open: int = 0
    evicted: int = 0
    windows: Counter[str] = field(default_factory=Counter)
    failed: str = ""
    drift: Drifted | None = None
    over: bool = False


@dataclass(slots=True)
class Loaded:
    """It has tried to load a bundle."""

    problem: str


FromWorker: TypeAlias = Ready | Refused | Told | Without | State | Loaded

# A worker is told:


@dataclass(slots=True)
class Load:
    """Load this bundle, beside the one that runs."""

    bundle: Bundle


@dataclass(slots=True)
class Use:
    """Run what was loaded from now on; or, where ``forget``, don't."""

    forget: bool = False


@dataclass(slots=True)
class Stop:
    """Take no more packets, finish what is open, and end; for verdicts there are so many seconds."""

    seconds: float


ToWorker: TypeAlias = Load | Use | Stop
