"""What keeps ``mmtt sniff`` from its work."""

from __future__ import annotations


class SniffError(Exception):
    """Packets can't be had; the text is one line with the remedy."""
