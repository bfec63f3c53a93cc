"""Where Zeek is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_PLACES = ("zeek", "/opt/zeek/bin/zeek", "/usr/local/zeek/bin/zeek")


def find(given: str | None = None) -> Path | None:
    """Zeek's program: ``given``, or by the environment's ZEEK, PATH, or where its own packages put it; None if there is
    none."""
    wanted = [given] if given else [os.environ.get("ZEEK"), *_PLACES]
    found = next((found for each in wanted if each and (found := shutil.which(each))), None)
    return Path(found) if found else None
