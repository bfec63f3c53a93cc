"""``mmtt reputation``."""

from __future__ import annotations

import click


@click.command(short_help="Not there yet.")
def reputation() -> None:
    """Not there yet."""
