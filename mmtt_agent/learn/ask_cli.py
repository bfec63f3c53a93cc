"""``mmtt learn ask`` and ``mmtt learn feedback``: what people know of their network is taken down."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from .. import endings, paths
from ..output import say, shown

#: Groups that are shown where nobody says how many.
_GROUPS = 12

_notebook = click.option(
    "--notebook",
    "file",
    type=paths.PATH,
    metavar="FILE",
    help="Where answers are.  [default: site.yaml in --windows]",
)


@click.command(short_help="Show what is unknown in groups, and take down what it is.")
@click.option(
    "--windows", required=True, type=paths.PATH, metavar="DIR", help="Where the agent records (record.directory)."
)
@click.option(
    "--logs", required=True, type=paths.PATH, metavar="DIR", help="Where its Zeek writes logs, rotated ones too."
)
@_notebook
@click.option(
    "--groups",
    "most",
    type=click.IntRange(0),
    default=_GROUPS,
    show_default=True,
    metavar="N",
    help="How many groups; 0: all.",
)
@click.option(
    "--answer",
    "answers",
    multiple=True,
    metavar="ID=NAME[/SERVICE]",
    help="Of the group with the flow ID, instead of asking; ID=leave: never ask of it again. May be repeated.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "tsv", "json"]),
    help="Only print the groups.  [default: ask on a terminal, else tsv]",
)
def ask(windows: Path, logs: Path, file: Path | None, most: int, answers: tuple[str, ...], form: str | None) -> None:
    """Group the flows whose application is unknown, and that no name in Zeek's logs explains, by what the network
    makes of them; show each group, the ones that would teach most first; and ask what it is.

    Answers go to the notebook at once, a file of YAML that may be edited, and `mmtt learn fit` learns from them. What
    was answered, or is to be left alone, is not asked again. In TSV and JSON, one group a line, `id` is the uid of its
    most typical flow; `--answer` takes the uid of any.

    \b
    Exit status: 0 asked, printed or answered, or there is nothing to ask
                 1 something can't be read or written, or an answer is to no group: nothing of --answer is written
                 2 wrong usage
    """
    if answers and form:
        raise click.UsageError("--answer prints no groups; leave --format out")
    from ..record import reading
    from ..record.rows import RecordError
    from . import ask as asking
    from . import notebook
    from .about import COLUMNS, as_json, as_row
    from .errors import LearnError

    file = file or windows / notebook.FILE
    try:
        noted = notebook.read(file)
        asked = asking.Asked(reading.read(windows, say), logs, noted, say)
        say(asked.summary)
        if answers:
            for group in asking.write(file, asking.parsed(asked, noted, answers)):
                click.echo(shown(f"{file}: {len(group.uids):,} flows {'' if group.leave else 'are '}{group}"))
            return
        found = asked.first(most)
        if form is None and _can_ask():
            from . import ask_screen

            ask_screen.dialogue(found, len(asked.clusters), file, asking.Vocabulary(noted))
        elif (form := form or ("table" if sys.stdout.isatty() else "tsv")) == "table":
            from . import ask_screen

            ask_screen.show(found, len(asked.clusters))
        elif form == "tsv":
            click.echo("\t".join(COLUMNS))
            for each in found:
                click.echo("\t".join(shown(cell) for cell in as_row(each)))
        else:
            for each in found:
                click.echo(json.dumps(as_json(each)))
    except (LearnError, RecordError, notebook.NotebookError) as error:
        raise click.ClickException(str(error)) from None


@click.command(short_help="Say of one flow that it is harmless, or malicious.")
@click.argument("uid", metavar="UID")
@click.argument("verdict", type=click.Choice(["harmless", "malicious"]))
@_notebook
@click.option(
    "--windows", type=paths.PATH, metavar="DIR", help="Where the agent records: whether the flow is there is said."
)
def feedback(uid: str, verdict: str, file: Path | None, windows: Path | None) -> None:
    """Take down in the notebook what the flow UID of a notice or of mmtt.log was; `mmtt learn fit` learns from it.

    \b
    Exit status: 0 it stands there
                 1 the windows or the notebook can't be read or written
                 2 wrong usage
    """
    from ..record import reading
    from ..record.rows import RecordError
    from . import notebook

    try:
        notebook.uid(uid)
    except ValueError as error:
        raise click.BadParameter(f"{error}, not {shown(uid)!r}.", param_hint="UID") from None
    if windows is None and file is None:
        raise click.UsageError("say where to write it: --windows DIR, for site.yaml there, or --notebook FILE")
    malicious = verdict == "malicious"
    try:
        if windows is not None:
            file = file or windows / notebook.FILE
            if uid not in reading.read(windows, say).uid:
                say(
                    f"{uid} is not among the windows recorded in {windows}, so that `mmtt learn fit` can't learn from "
                    "it; is it of another sensor, or was it removed as too old?"
                )
        assert file is not None
        with endings.cleaned_up(), notebook.changing(file) as noted:
            before = noted.flows.get(uid)
            noted.flows[uid] = malicious
    except (RecordError, notebook.NotebookError) as error:
        raise click.ClickException(str(error)) from None
    if before == malicious:
        click.echo(shown(f"{file}: {uid} is {verdict} already"))
    else:
        was = "" if before is None else f", no longer {'harmless' if malicious else 'malicious'}"
        click.echo(shown(f"{file}: {uid} is {verdict}{was}"))


def _can_ask() -> bool:
    return sys.stdout.isatty() and sys.stdin is not None and sys.stdin.isatty()
