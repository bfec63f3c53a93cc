"""``--print``: what goes elsewhere on a machine, such as units for systemd and settings, printed by the command that it
is for. Each command has such files in a directory ``install`` beside it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import click

# Where the files have this program.
_PROGRAM = "/usr/local/bin/mmtt"
_Command = TypeVar("_Command", bound=Callable[..., Any])


def prints(package: str, files: Mapping[str, str], what: str) -> Callable[[_Command], _Command]:
    """The option for a command.

    Args:
        package: whose ``install`` they are in.
        files: names, by what they are called on the command line.
        what: they are, for the help.
    """

    def show(context: click.Context, _: click.Parameter, name: str | None) -> None:
        if name is None:
            return
        text = (resources.files(package) / "install" / files[name]).read_text(encoding="utf-8")
        click.echo(text.replace(_PROGRAM, str(Path(sys.argv[0]).absolute())), nl=False)
        context.exit()

    return click.option(
        "--print",
        type=click.Choice([*files]),
        is_eager=True,
        expose_value=False,
        callback=show,
        help=f"Print {what}, and exit.",
    )
