"""What one side of an activity is told, and how it keeps to its time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random


@dataclass
class Part:
    """What serve() and act() get. `scratch` is this activity's own directory; `secrets` has cert.pem, its key.pem
    and the ca.pem that verifies it, and SSH's `host` and `user` keys.
    """

    activity: str
    through: str
    server: str
    client: str
    address: str
    seconds: float
    seed: int
    scratch: Path
    secrets: Path
    begun: float = field(default_factory=time.monotonic)
    #: What the client calls the server: a host name, which stands for `address` on the client's side alone.
    name: str = ""

    @property
    def loopback(self) -> str:
        """A loopback address of this activity's own, the same on both hosts: where a port forwarder takes and gives."""
        return self.address.replace("10.77.", "127.77.", 1)

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
