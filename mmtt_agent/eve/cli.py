"""``mmtt eve``."""

from __future__ import annotations

import click


@click.command(short_help="Not there yet.")
def eve() -> None:
    """Not there yet."""
