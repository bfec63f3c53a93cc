"""``mmtt reputation``: update, list."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import click

from .. import endings, installing, logs, networks, paths
from ..output import Unusable, say, shown, utc

#: Where the files are if nothing else is said.
_DIRECTORY = Path("/var/lib/mmtt/reputation")
#: Of ``install``, by what they are called on the command line.
_FILES = {"unit": "mmtt-reputation.service", "timer": "mmtt-reputation.timer", "suricata": "suricata.yaml"}
#: In these the responder is the one to be wary of; in the others (scans, brute force, exploits, web attacks, denial of
#: service) it is the one that suffers.
_KINDS = ("command_and_control", "tunnel", "unknown")
_DAY = 86_400

_directory = click.option(
    "-o",
    "--output",
    "directory",
    type=paths.PATH,
    default=_DIRECTORY,
    show_default=True,
    metavar="DIR",
    help="Where the files are.",
)


@click.group(short_help="Who looks malicious, back into Suricata: IP reputation, dataset.")
@installing.prints(
    __package__,
    _FILES,
    "a systemd unit or timer that updates the list, or what suricata.yaml needs",
)
def reputation() -> None:
    """Tell Suricata of the responders of flows that look malicious, so that it alerts on whoever talks with them.

    It is for alerting and for what to look at first, not for blocking: a verdict is a probability, and several names
    may share an address. Of 5,271 public responders in harmless captures from 350 sources (the model has learned from
    many of them: expect more elsewhere) the defaults list 8, and 26 where one flow or one connection of an incident is
    enough. Nothing is written unless `mmtt reputation update` is run, by hand or by a timer.
    """


@reputation.command(short_help="Read verdicts, write the lists, tell a running Suricata.")
@click.argument("places", nargs=-1, required=True, metavar="LOG...", type=paths.PATH)
@_directory
@click.option(
    "--max-age",
    default=7.0,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    metavar="DAYS",
    help="Whose latest such flow is older is no longer listed.",
)
@click.option(
    "--min-flows",
    default=3,
    show_default=True,
    type=click.IntRange(1),
    metavar="N",
    help="Flows that look malicious, or connections of an incident, at least.",
)
@click.option(
    "--min-share",
    default=0.5,
    show_default=True,
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Without an incident, so many of the verdicts on flows to that responder must say malicious.",
)
@click.option(
    "--min-score",
    default=0.0,
    type=click.FloatRange(0, 1),
    metavar="SCORE",
    help="The surest of those flows has this score, at least.  [default: what is called malicious in the logs]",
)
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    default=_KINDS,
    show_default=True,
    metavar="KIND",
    help="Only flows and incidents of this kind, such as scan; unknown: whose kind is not known. May be repeated.",
)
@click.option(
    "--exempt",
    multiple=True,
    callback=networks.networks,
    metavar="NET",
    help="Addresses that are never listed, such as your own servers; may be repeated.",
)
@click.option("--private", is_flag=True, help="List addresses that are not public, too, such as 10.0.0.1.")
@click.option(
    "--max-entries",
    "most",
    default=10_000,
    show_default=True,
    type=click.IntRange(1),
    metavar="N",
    help="With more, those of incidents come first, then the surest.",
)
@click.option(
    "--category",
    default=58,
    show_default=True,
    type=click.IntRange(1, 59),
    metavar="N",
    help="The reputation list's category.",
)
@click.option(
    "--sid", default=1_900_190, show_default=True, type=click.IntRange(1), metavar="N", help="The first rule's number."
)
@click.option(
    "--suricata",
    type=paths.PATH,
    metavar="SOCKET",
    help="Tell the Suricata with this socket for commands, such as /run/suricata-command.socket, who comes and goes.",
)
@click.option("--reload", is_flag=True, help="With --suricata: have it load its rules anew if the list has changed.")
def update(
    places: tuple[Path, ...],
    directory: Path,
    max_age: float,
    min_flows: int,
    min_share: float,
    min_score: float,
    kinds: tuple[str, ...],
    exempt: list[networks.Network],
    private: bool,
    most: int,
    category: int,
    sid: int,
    suricata: Path | None,
    reload: bool,
) -> None:
    """List the responders of flows that look malicious, and those of incidents, by what LOG... say.

    LOG is a mmtt.log or mmtt_incidents.log, of Zeek's, of `mmtt sniff` or of `mmtt classify`, TSV or JSON, plain, .gz
    or .zst, or a file of our events in Suricata's form (EVE); or a directory: the logs of now and all rotated ones in
    it are read. All are read each time, as far back as --max-age; whose evidence has been rotated away stays until it
    is too old.

    \b
    Into DIR it writes, each file whole and only if it changes:
      mmtt-categories.txt, mmtt-iprep.list, mmtt-iprep.rules     for reputation (scores from 1 to 127)
      mmtt-responders.lst, mmtt-dataset.rules                    for a dataset
      mmtt-reputation.json                                       who is listed, and why

    Have Suricata load one of the two .rules: `mmtt reputation --print suricata` says how. A dataset changes at once in
    a Suricata that runs (--suricata); a reputation list is read with the rules (--suricata SOCKET --reload). Both alert
    once an hour for the same two hosts, and block nothing.

    \b
    Exit status: 0 written
                 1 some log can't be read, or not all of it, or holds no verdicts, or Suricata can't be told: what could
                   be done is; where no log can hold verdicts, nothing
                 2 wrong usage, or there is no log
    """
    from . import files
    from .entries import EntriesError, Rules
    from .evidence import EvidenceError
    from .update import update as updated

    if reload and not suricata:
        raise click.UsageError("--reload goes with --suricata SOCKET")
    rules = Rules(
        since=int((time.time() - max_age * _DAY) * 1e6),
        min_flows=min_flows,
        min_share=min_share,
        min_score=min_score,
        exempt=exempt,
        private=private,
        most=most,
    )
    wanted = _wanted(kinds)
    try:
        with endings.cleaned_up():
            change = updated(_logs(places), directory, rules, wanted, files.Numbers(category, sid), suricata, reload)
    except EntriesError as error:
        raise click.ClickException(str(error)) from None
    except EvidenceError as error:
        for line in str(error).splitlines():
            say(line)
        say(f"the list in {directory} is left as it was")
        sys.exit(1)
    for line in change.problems:
        say(line)
    if change.without_room:
        say(f"{change.without_room:,} more are not listed: --max-entries {most}")
    click.echo(
        f"{len(change.entries):,} {'address' if len(change.entries) == 1 else 'addresses'} listed in "
        f"{shown(directory)}: {len(change.added):,} new, {len(change.removed):,} gone"
    )
    if change.problems:
        sys.exit(1)


@reputation.command("list", short_help="Who is listed, and why.")
@_directory
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "tsv", "json"]),
    help="What to print.  [default: table on a terminal, else tsv]",
)
def list_(directory: Path, form: str | None) -> None:
    """Show who is listed in DIR, the surest first: since when, how sure, and by which flows and incidents.

    \b
    Exit status: 0 shown
                 1 there is no list, or it can't be read
    """
    from .entries import NAME, EntriesError, read

    if not (directory / NAME).exists():
        raise click.ClickException(
            f"{directory / NAME}: is not there; name the -o DIR of `mmtt reputation update`, or run that first"
        )
    try:
        entries = read(directory / NAME).entries
    except EntriesError as error:
        raise click.ClickException(str(error)) from None
    form = form or ("table" if sys.stdout.isatty() else "tsv")
    if form == "table":
        from . import screen

        screen.listed(entries)
    elif form == "json":
        for entry in entries:
            click.echo(
                json.dumps({**vars(entry), "first": entry.first / 1e6, "last": entry.last / 1e6, "why": entry.why})
            )
    else:
        click.echo("#address\tscore\tkind\tflows\tlast\tuids\tincidents\twhy")
        for entry in entries:
            told = utc(entry.last / 1e6, "%Y-%m-%dT%H:%M:%SZ")
            lists = (",".join(each) or "-" for each in (entry.uids, entry.incidents))
            fields = (entry.address, f"{entry.score:.4f}", entry.kind or "-", str(entry.flows), told, *lists, entry.why)
            click.echo("\t".join(map(shown, fields)))


def _wanted(kinds: tuple[str, ...]) -> set[str]:
    """What these kinds are called in logs; "" for those that are not known."""
    from .. import bundle

    wanted = {kind.replace(" ", "_").replace("-", "_") for kind in kinds}
    if wanted - {*_KINDS}:
        known = {*_KINDS, *bundle.load().malicious_kinds}
        if wrong := sorted(wanted - known):
            raise click.UsageError(f"--kind {shown(wrong[0])}: no such kind; there are {', '.join(sorted(known))}")
    return {"" if kind == "unknown" else kind for kind in wanted}


def _logs(places: tuple[Path, ...]) -> list[Path]:
    found: dict[Path, None] = {}
    for place in places:
        if place.is_dir():
            inside = [path for name in ("mmtt", "mmtt_incidents") for path in logs.files(place, name)]
            if not inside:
                raise Unusable(f"{place}: no mmtt.log or mmtt_incidents.log in there")
            found.update(dict.fromkeys(inside))
        elif not place.exists():
            raise Unusable(f"{place}: No such file or directory")
        else:
            found[place] = None
    return [*found]
