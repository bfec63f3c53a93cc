"""``mmtt learn``: a site's own answers."""

from __future__ import annotations

import click

from .budget_cli import threshold


@click.group(short_help="Teach mmtt the applications of this network.")
def learn() -> None:
    """Learn a network's own applications and services from the windows that were recorded there and Zeek's logs."""


learn.add_command(threshold)
