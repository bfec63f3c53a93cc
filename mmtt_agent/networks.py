"""Networks on the command line."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

import click

Network = IPv4Network | IPv6Network


def networks(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> list[Network]:
    """What an option that may be repeated names: addresses stand for themselves (click's ``callback``)."""
    try:
        return [ip_network(value, strict=False) for value in values]
    except ValueError as error:
        raise click.BadParameter(f"{error}.", context, option) from None
