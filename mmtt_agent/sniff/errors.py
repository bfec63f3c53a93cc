"""What keeps ``mmtt sniff`` from its work."""

from __future__ import annotations


class SniffError(Exception):
    """Packets can't be had; the text is one line with the remedy."""


class LostError(Exception):
    """Not all verdicts could be written; the text is one line."""


class SettingsError(SniffError):
    """What it was told can't be done; starting again would not help."""
