"""``mmtt classify``: verdicts on captures, without Zeek."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path

import click


@click.command(short_help="Verdicts on capture files, without Zeek.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "tsv", "json"]),
    help="What to print.  [default: table on a terminal, else tsv]",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write mmtt.log there, print nothing.",
)
@click.option("--flows", default=20, show_default=True, type=click.IntRange(0), help="Flows in the table; 0 for all.")
@click.option(
    "-C",
    "--no-checksums",
    is_flag=True,
    help="Take packets with wrong checksums, too, as `zeek -C` does: for captures made with checksum offloading.",
)
@click.option("--bundle", metavar="DIR", help="The model to run.  [default: the one shipped with mmtt]")
@click.option(
    "--false-positives",
    metavar="SHARE",
    help="Call as many flows malicious as makes this share of harmless ones false alarms: 1%, 0.1%.  [default: the model's choice]",
)
def classify(
    files: tuple[str, ...],
    form: str | None,
    output: Path | None,
    flows: int,
    no_checksums: bool,
    bundle: str | None,
    false_positives: str | None,
) -> None:
    """Say of each connection in FILE... which service and application it is, and whether it looks malicious.

    FILE is a capture (pcap or pcapng, plain, .gz or .zst), a directory of them, or - for standard input. TSV and
    JSON are those of Zeek's mmtt.log. A capture that can't be read is reported, and the others still are.

    \b
    Exit status: 0 all captures read
                 1 some not
                 2 wrong usage or bundle: nothing was read
    """
    from .. import bundle as bundles
    from ..classifier import Classifier
    from . import run, sources

    terminal = sys.stdout.isatty()
    form = form or ("tsv" if output or not terminal else "table")
    if output and form == "table":
        raise click.UsageError("-o writes a log: use --format tsv or json with it")
    try:
        paths = sources.expand(files)
        classifier = Classifier(bundles.load(bundle, false_positives))
    except (sources.SourceError, bundles.BundleError) as error:
        raise _Unusable(str(error)) from None
    if None in paths and sys.stdin.isatty():
        raise click.UsageError("- reads a capture from standard input, which is a terminal; pipe one in")
    try:
        with run.destination(form, output, flows) as write, _progress(len(paths)) as progress:
            problems = run.classify(
                paths, classifier, write, progress, lambda text: click.echo(text, err=True), not no_checksums
            )
            if problems == len(paths):
                sys.exit(1)  # inside the block, so that no empty log comes of it
    except OSError as error:
        if output is None:
            raise  # click ends quietly when whoever reads the pipe has gone
        raise click.ClickException(f"{error.filename or output}: {error.strerror}") from None
    if problems:
        sys.exit(1)


class _Unusable(click.ClickException):
    exit_code = 2


@contextmanager
def _progress(captures: int):
    """A bar on a terminal's standard error, nothing elsewhere; gives what ``run.classify`` calls."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[packets]:,} packets"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task("", total=None, packets=0)

        def update(number: int, name: str, total: int | None, read: int, packets: int) -> None:
            which = f"{name} ({number}/{captures})" if captures > 1 else name
            bar.update(task, description=which, total=total, completed=read, packets=packets)

        yield update
