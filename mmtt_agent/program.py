"""The ``mmtt`` program: a thin group whose commands are found by entry point and imported when called."""

from __future__ import annotations

import click

from . import __version__, commands, output


class _EntryPointGroup(output.Program):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return commands.names()

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return commands.load(name)


@click.command("mmtt", cls=_EntryPointGroup)
@click.version_option(__version__, prog_name="mmtt")
def program() -> None:
    """Classify encrypted traffic by the sizes, directions and times of its packets."""
