"""What runs inside a host: one side of one activity, as a fork of the runner (imports are paid once, not per activity)."""

from __future__ import annotations

import importlib
import signal
import sys
from contextlib import nullcontext
from dataclasses import replace

from .activities import ACTIVITIES
from .part import Part
from .tunnels import TUNNELS


def play(role: str, part: Part) -> None:
    """`role`: "serve" or "act"."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    module = importlib.import_module(ACTIVITIES[part.activity].module)
    around = nullcontext(part.address)
    if part.through:
        tunnel = importlib.import_module(TUNNELS[part.through].module)
        around = (tunnel.serve if role == "serve" else tunnel.connect)(part)
    with around as address:
        getattr(module, role)(replace(part, address=address))
