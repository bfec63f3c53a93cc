"""Where the tests' Zeek is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def find_zeek() -> Path | None:
    """Zeek by the environment's ZEEK, PATH, or where its own packages put it; None if there is none."""
    for candidate in (os.environ.get("ZEEK"), "zeek", "/opt/zeek/bin/zeek"):
        if candidate and (found := shutil.which(candidate)):
            return Path(found)
    return None
