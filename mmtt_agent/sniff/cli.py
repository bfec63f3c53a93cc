"""``mmtt sniff``."""

from __future__ import annotations

import click


@click.command(short_help="Not there yet.")
def sniff() -> None:
    """Not there yet."""
