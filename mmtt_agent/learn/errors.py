"""What ends a command of ``mmtt learn``."""

from __future__ import annotations


class LearnError(Exception):
    """It can't be learnt; the text is one line that names the place and the remedy."""
