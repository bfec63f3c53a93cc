"""What `--help` says, of every command."""

from __future__ import annotations

from collections.abc import Iterator

import click

from mmtt_agent.program import program

_WIDTH = 100


def text() -> str:
    parts = []
    for name, page in pages():
        parts += [f"## {name}", f"```text\n{page}\n```"]
    return "\n\n".join(parts)


def pages() -> Iterator[tuple[str, str]]:
    """Each command with its help, depth first."""
    yield from _of(program, click.Context(program, info_name="mmtt", terminal_width=_WIDTH, max_content_width=_WIDTH))


def _of(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    help_text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    yield context.command_path, help_text.strip()
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None and not inner.hidden:
                yield from _of(
                    inner,
                    click.Context(
                        inner, parent=context, info_name=name, terminal_width=_WIDTH, max_content_width=_WIDTH
                    ),
                )
