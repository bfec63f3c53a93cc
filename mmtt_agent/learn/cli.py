"""``mmtt learn``: a site's own answers."""

from __future__ import annotations

import click


@click.group(short_help="Teach mmtt the applications of this network.")
def learn() -> None:
    """Learn a network's own applications and services from the windows that were recorded there and Zeek's logs."""
