"""The table of why packets of a capture are left out, as `mmtt classify` words it."""

from __future__ import annotations

from pages import cell

from mmtt_agent.capture.left_out import CAUSES


def table() -> str:
    return "\n".join(("| left out: packets … |", "|---|", *(f"| {cell(text)} |" for text in CAUSES.values())))
