"""The ``mmtt`` program: a thin group whose commands are found by entry point and imported when called."""

from __future__ import annotations

from importlib.metadata import entry_points

import click

from . import __version__, output


class _EntryPointGroup(output.Program):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(entry.name for entry in entry_points(group="mmtt.commands"))

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        for entry in entry_points(group="mmtt.commands", name=name):
            try:
                return entry.load()
            except ModuleNotFoundError as error:
                if name == "lab":
                    raise click.ClickException(
                        "the traffic lab is not part of an installation; run `./mmtt lab` in a checkout, after "
                        "`./bootstrap lab`"
                    ) from error
                raise click.ClickException(
                    f"`mmtt {name}` needs {error.name}, which is not installed; type: pip install 'mmtt[train]'"
                ) from error
        return None


@click.command(cls=_EntryPointGroup)
@click.version_option(__version__, prog_name="mmtt")
def main() -> None:
    """Classify encrypted traffic by the sizes, directions and times of its packets."""
