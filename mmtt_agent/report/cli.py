"""``mmtt report``: verdicts and incidents as one page."""

from __future__ import annotations

import os
import sys
from datetime import datetime, timezone
from pathlib import Path

import click

from .. import __version__, endings, paths
from ..output import Unusable, say, shown

_FLOWS = 10_000


@click.command(short_help="Captures or logs as one page to read offline and hand on.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "-o", "--output", required=True, type=paths.PATH, metavar="PAGE", help="The page to write, such as report.html."
)
@click.option("--title", metavar="TEXT", help="What stands above it.  [default: the names of FILE...]")
@click.option(
    "--flows",
    default=_FLOWS,
    show_default=True,
    type=click.IntRange(1, 100_000),
    help="Flows in its list, the most suspicious; what it counts and draws is of all.",
)
@click.option(
    "-C",
    "--no-checksums",
    is_flag=True,
    help="Take packets with wrong checksums, too, as `zeek -C` does: for captures made with checksum offloading.",
)
@click.option(
    "--bundle", type=paths.TEXT, metavar="DIR", help="The model for captures.  [default: the one shipped with mmtt]"
)
@click.option(
    "--false-positives",
    metavar="SHARE",
    help="Call as many flows of captures malicious as makes this share of harmless ones false alarms: 1%, 0.1%.  "
    "[default: the model's choice]",
)
def report(
    files: tuple[str, ...],
    output: Path,
    title: str | None,
    flows: int,
    no_checksums: bool,
    bundle: str | None,
    false_positives: str | None,
) -> None:
    """Write a page that shows what is in FILE...: services and applications over time, who talks most, what is
    suspicious and why, and the flows, to be filtered and searched. It is one file that opens without a network.

    FILE is a capture, a mmtt.log, a mmtt_incidents.log or a conn.log of Zeek or of `mmtt classify -o` (TSV or JSON,
    plain, .gz or .zst, of now or rotated), a directory, or - for a capture on standard input. Of a directory the logs
    in it are read, as zeekctl keeps them, or all captures below it if there are none. With a mmtt.log comes the
    mmtt_incidents.log beside it, and the conn.log, which says how many bytes and how long. Name captures or the logs
    that Zeek has made of them, not both: each would count.

    \b
    Exit status: 0 all was read, and the page written
                 1 some could not be, or not all of its rows: the page says what; or it can't be written
                 2 wrong usage or bundle, or nothing in FILE... to read
    """
    from . import inputs, library

    try:
        library.check()
    except library.LibraryError as error:
        raise Unusable(str(error)) from None
    found = inputs.expand(files)
    if None in found.captures and sys.stdin is not None and sys.stdin.isatty():
        raise click.UsageError("- reads a capture from standard input, which is a terminal; pipe one in")
    if lost := [path for path in found.files if _same(path, output)]:
        raise click.UsageError(f"{shown(lost[0])} would be written over; give -o another name")
    for line in (*found.problems, *found.notes):
        say(line)
    if None not in found.captures and not found.files:
        sys.exit(Unusable.exit_code)
    from .. import bundle as bundles
    from ..classifier import Classifier
    from ..classify.progress import progress
    from .make import Unmade, make

    try:
        classifier = Classifier(bundles.load(bundle, false_positives)) if found.captures else None
    except bundles.BundleError as error:
        raise Unusable(str(error)) from None
    about = {"title": title or _named(files), "made": _now(), "version": __version__}
    count = len(found.captures) + len(found.windows) + len(found.incidents) + len(found.connections)
    with endings.cleaned_up(), progress(count) as told:
        try:
            read, problems = make(found, classifier, output, about, flows, told, say, not no_checksums)
        except (Unmade, library.LibraryError) as error:
            raise click.ClickException(str(error)) from None
    if not read and output.exists():
        say(f"nothing could be read: {output} is left as it was")
    if problems or found.problems or not read:
        sys.exit(1)


def _named(files: tuple[str, ...]) -> str:
    names = [shown(os.path.basename(os.path.abspath(file)) if file != "-" else "standard input") for file in files]
    return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")


def _now() -> int:
    """In milliseconds since 1970."""
    return round(datetime.now(timezone.utc).timestamp() * 1000)


def _same(path: Path, other: Path) -> bool:
    return os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other)
