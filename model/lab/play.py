"""What runs inside a host: one side of one activity. `python -m mmtt_model.lab.play serve|act SPEC.json`."""

from __future__ import annotations

import importlib
import json
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from .activities import ACTIVITIES


@dataclass
class Part:
    """What serve() and act() get. `scratch` is this activity's own directory; `secrets` has cert.pem, key.pem, id."""

    activity: str
    server: str
    client: str
    address: str
    seconds: float
    seed: int
    scratch: Path
    secrets: Path
    begun: float = field(default_factory=time.monotonic)

    @property
    def draw(self) -> Random:
        """A generator of the activity's own; each call starts it anew."""
        return Random(self.seed)

    def left(self) -> float:
        """Seconds until the activity is to end."""
        return self.begun + self.seconds - time.monotonic()

    def pause(self, seconds: float) -> bool:
        """Wait; False if the activity's time ends before that."""
        if seconds >= self.left():
            time.sleep(max(0.0, self.left()))
            return False
        time.sleep(seconds)
        return True

    def ready(self) -> None:
        """Tell the runner that the server listens."""
        print("ready", flush=True)


def main() -> None:
    role, spec = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
    part = Part(**{**spec, "scratch": Path(spec["scratch"]), "secrets": Path(spec["secrets"])})
    module = importlib.import_module(f"mmtt_model.lab.activities.{ACTIVITIES[part.activity].module}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    getattr(module, role)(part)


if __name__ == "__main__":
    main()
