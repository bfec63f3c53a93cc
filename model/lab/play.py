"""What runs inside a host: one side of one activity. `python -m mmtt_model.lab.play serve|act SPEC.json`."""

from __future__ import annotations

import importlib
import json
import signal
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from .activities import ACTIVITIES
from .part import Part
from .tunnels import TUNNELS


def main() -> None:
    role, spec = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
    part = Part(**{**spec, "scratch": Path(spec["scratch"]), "secrets": Path(spec["secrets"])})
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    module = importlib.import_module(ACTIVITIES[part.activity].module)
    around = nullcontext(part.address)
    if part.through:
        tunnel = importlib.import_module(TUNNELS[part.through].module)
        around = (tunnel.serve if role == "serve" else tunnel.connect)(part)
    with around as address:
        getattr(module, role)(replace(part, address=address))


if __name__ == "__main__":
    main()
