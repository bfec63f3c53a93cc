"""``mmtt dataset``."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from mmtt_agent import paths
from mmtt_agent.output import shown

#: Characters of a line of names: nothing without lines, as /dev/zero, fills the memory.
_LONGEST = 65_536


@click.group(short_help="Data sets to train on, from captures and labels.")
def dataset() -> None:
    """Data sets to train on, from captures and what is known of their flows."""


def _say(line: str) -> None:
    click.echo(shown(line), err=True)


@contextlib.contextmanager
def _plainly(out: Path) -> Iterator[None]:
    """What is wrong with what was given, as one line."""
    from ..data.errors import DatasetError

    try:
        yield
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"`mmtt dataset` needs {error.name}, which is not installed; type: pip install 'mmtt[train]'"
        ) from None
    except DatasetError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename or out}: {error.strerror}") from None


def _table(kind: str, classes: dict[str, dict[str, int]]) -> Iterator[str]:
    """The labels and sites of each class, and what the labels come from, as a table of tabs."""
    columns = next(iter(classes.values()), {}).keys()
    if columns:
        yield "\t".join((kind, *columns))
    for name, counts in classes.items():
        yield "\t".join((shown(name), *map(str, counts.values())))


@dataset.command(short_help="Public captures from their repositories, checked.")
@click.argument("table", type=paths.PATH)
@click.option("-o", "--out", type=paths.PATH, required=True, help="Directory for the captures.")
@click.option("-j", "--jobs", type=click.IntRange(1, 64), default=8, show_default=True, help="Downloads at a time.")
def fetch(table: Path, out: Path, jobs: int) -> None:
    """Download the captures that TABLE (a captures.tsv; the word public for the shipped one) names by repository,
    commit and path, and check each one's SHA-256. What is there already is not fetched again.

    Then: mmtt dataset name OUT; mmtt train small --data OUT -o BUNDLE. Mind each capture's licence (in captures.tsv).
    """
    with _plainly(out):
        from ..data import fetch as fetching

        rows = fetching.read_table(table)
        failed = fetching.fetch(rows, out, jobs, _say)
    for line in failed:
        _say(line)
    click.echo(f"{shown(out)}: {len(rows) - len(failed):,} of {len(rows):,} captures")
    if failed:
        raise click.ClickException(f"{len(failed):,} captures are not there; the same command tries them again")


@dataset.command(short_help="nDPI's names for the flows of captures.")
@click.argument("directory", type=paths.PATH)
@click.option(
    "-j", "--jobs", type=click.IntRange(1, 256), default=os.cpu_count() or 1, show_default="cores", help="Processes."
)
def name(directory: Path, jobs: int) -> None:
    """Write the flows.tsv.zst of DIRECTORY, which holds captures.tsv and captures/: nDPI's name for each flow, through
    nfstream.
    """
    with _plainly(directory):
        from ..data.naming import name_flows

        count, failed = name_flows(directory, jobs, _say)
    for line in failed:
        _say(line)
    click.echo(f"{shown(directory / 'flows.tsv.zst')}: {count:,} flows, {len(failed)} captures could not be read")


@dataset.command(short_help="Captures and labels to Parquet.")
@click.argument("manifest", type=paths.PATH)
@click.option("-o", "--out", type=paths.PATH, required=True, help="Directory for the data set.")
@click.option(
    "-j", "--jobs", type=click.IntRange(1, 256), default=os.cpu_count() or 1, show_default="cores", help="Processes."
)
def build(manifest: Path, out: Path, jobs: int) -> None:
    """Turn the captures that MANIFEST names (a YAML file, or a directory with captures.tsv) into rows of Parquet.

    \b
    kind: server_names     # Zeek's ssl.log, quic.log and dns.log say what is what
    directory: captures    # of your own network
    logs: logs             # of the same traffic
    malicious: false       # if you are sure of it
    domains: {intra.example.org: {service: web, application: Intranet}}

    Other kinds: iscx (the ISCX VPN-nonVPN and Tor collections, by their files' names), tables (captures.tsv and
    flows.tsv.zst). Then: mmtt train small --data OUT -o BUNDLE. The same command goes on where an interrupted one
    stopped.
    """
    with _plainly(out):
        from ..data.build import build as make
        from ..data.sources import read_manifest
        from ..data.taxonomy import Taxonomy

        report = make(read_manifest(manifest, Taxonomy()), out, jobs, _say)
    windows = report["windows"]
    told = {"windows", "kept", "labelled", "malicious", "harmless", "too short"}
    named = "".join(f"{count:,} {what}, " for what, count in windows.items() if what not in told)
    for kind in ("services", "applications", "kinds"):
        for row in _table(kind, report[kind]):
            click.echo(row)
    click.echo(
        f"{shown(out)}: {report['captures']:,} captures, {windows.get('kept', 0):,} windows, "
        f"{windows.get('labelled', 0):,} labelled, {named}{windows.get('too short', 0):,} too short, "
        f"{len(report['unreadable'])} captures could not be read (see dataset.yaml)"
    )


@dataset.command(short_help="What names of servers say.")
@click.argument("file", type=paths.PATH, default="-", metavar="[FILE]")
def hosts(file: Path) -> None:
    """Print each name of FILE (or of standard input), one a line, with the service that it stands for and the
    application: `host service application` with tabs between them, - where nothing can be told.

    \b
    $ echo rr3---sn-4g5e6nez.googlevideo.com | mmtt dataset hosts
    rr3---sn-4g5e6nez.googlevideo.com  streaming  YouTube

    By the table that labels captures (mmtt_agent/servers/*.yaml, which says how it is read), without a manifest's own
    domains. Names of servers of a network: cat ssl.log | zeek-cut server_name | sort -u | mmtt dataset hosts
    """
    with _plainly(file):
        from mmtt_agent.servers import shipped

        from ..data.errors import DatasetError

        named = shipped().named
        if str(file) == "-" and sys.stdin is None:
            raise DatasetError("standard input is closed; name a FILE, or pipe names into the command")
        with click.open_file(str(file), encoding="utf-8") as names:
            try:
                for number, line in enumerate(iter(lambda: names.readline(_LONGEST + 1), ""), 1):
                    if len(line) > _LONGEST:
                        raise DatasetError(
                            f"{shown(file)}: line {number} has more than {_LONGEST:,} characters; give a name a line"
                        )
                    # What some editors put before the text.
                    if name := (line.removeprefix("\ufeff") if number == 1 else line).strip():
                        service, application = named(name) or (None, None)
                        click.echo(f"{shown(name)}\t{service or '-'}\t{application or '-'}")
            except UnicodeDecodeError:
                raise DatasetError(f"{shown(file)}: is not text in UTF-8") from None
