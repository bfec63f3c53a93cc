"""``mmtt incidents``: list, show, mute, unmute."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from io import TextIOWrapper
from pathlib import Path

import click

from .. import endings, logs, networks, paths, zeek
from ..classify.row import IncidentRow
from ..output import Unusable, say, shown
from . import evidence, found, mutes

#: Rows of a table where nobody says how many: many take long to lay out.
_LIMIT = 50
_SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def _seconds(text: str) -> float | None:
    """So many minutes, hours, days or weeks; None for what says something else."""
    parts = re.fullmatch(r"(\d{1,6})([mhdw])", text, re.ASCII)
    return float(int(parts[1]) * _SECONDS[parts[2]]) if parts else None


def _span(context: click.Context, option: click.Parameter, value: str | None) -> float | None:
    """So many minutes, hours, days or weeks, in seconds."""
    if value is None:
        return None
    seconds = _seconds(value)
    if seconds is None:
        raise click.BadParameter(f"{value!r} is not one such as 90m, 12h, 30d or 4w.", context, option)
    if not seconds:
        raise click.BadParameter(
            f"{value!r} is no time at all; it is one such as 90m, 12h, 30d or 4w.", context, option
        )
    return seconds


def _since(context: click.Context, option: click.Parameter, value: str | None) -> float | None:
    """So long ago, or a date or time of ISO 8601 (UTC where it doesn't say), as seconds since 1970."""
    if value is None:
        return None
    seconds = _seconds(value)
    if seconds is not None:
        return time.time() - seconds
    try:
        when = datetime.fromisoformat(value.replace("Z", "+00:00"))
        return (when if when.tzinfo else when.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, OverflowError):
        text = (
            f"{value!r} is neither a span such as 90m, 24h, 7d or 4w nor a date or time such as 2026-11-27 or "
            "2026-11-27T14:00 (UTC)."
        )
        raise click.BadParameter(text, context, option) from None


_file = click.option(
    "--file",
    type=paths.PATH,
    default=mutes.FILE,
    show_default=True,
    metavar="FILE",
    help="What Zeek reads (MMTT::muted_file).",
)
_logs = click.option(
    "--log",
    "places",
    multiple=True,
    type=paths.PATH,
    metavar="LOG",
    help="A mmtt_incidents.log, or a directory with some; more than once for several.  [default: the directory here, "
    "else Zeek's logs]",
)


@click.group(short_help="Incidents that Zeek or mmtt classify has found: list, show, mute.")
def incidents() -> None:
    """Look into incidents, from mmtt_incidents.log alone, and mute those that are known."""


@incidents.command("list", short_help="One line for each incident, the newest first.")
@click.argument("places", nargs=-1, metavar="[LOG...]", type=paths.PATH)
@click.option(
    "--kind", "kinds", multiple=True, metavar="KIND", help="Only of this kind, such as scan; may be repeated."
)
@click.option(
    "--host", "hosts", multiple=True, callback=networks.networks, metavar="NET", help="Only with an end in there."
)
@click.option("--since", callback=_since, metavar="WHEN", help="Only with connections since: 24h, 7d, 2026-11-27.")
@click.option("--open", "still_open", is_flag=True, help="Only those that are not closed.")
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(0),
    metavar="N",
    help=f"Only the newest N; 0: all.  [default: {_LIMIT} in a table, else all]",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "tsv", "json"]),
    help="What to print.  [default: table on a terminal, else tsv]",
)
def list_(
    places: tuple[Path, ...],
    kinds: tuple[str, ...],
    hosts: list[networks.Network],
    since: float | None,
    still_open: bool,
    limit: int | None,
    form: str | None,
) -> None:
    """Show the latest state of each incident in LOG..., the newest first.

    LOG is a mmtt_incidents.log of Zeek's or of `mmtt classify -o`, TSV or JSON, plain, .gz or .zst, or a directory:
    that of now and all rotated ones in it are read, as zeekctl keeps them. Without LOG the directory here, if it has
    any, else the logs of the Zeek that is installed.

    \b
    Exit status: 0 all logs were read
                 1 some not, or not all of their rows
                 2 wrong usage, or there is no log
    """
    wanted = {kind.replace(" ", "_") for kind in kinds}
    with _read(places) as all_found:
        chosen = [
            each.latest
            for each in all_found
            if (not wanted or each.latest.kind in wanted)
            and (not hosts or any(found.is_of_host(each.latest, network) for network in hosts))
            and (since is None or each.latest.last >= since * 1e6)
            and not (still_open and each.latest.state == "closed")
        ]
        form = form or ("table" if sys.stdout.isatty() else "tsv")
        if limit is None:
            limit = _LIMIT if form == "table" else 0
        newest = chosen[: limit or None]
        if form == "table":
            from . import screen

            screen.listed(newest, len(chosen), len(all_found))
        else:
            _lines(form, newest)
            if len(newest) < len(chosen):
                say(f"{len(chosen) - len(newest):,} more are older; -n 0 has all")
        _say_kinds(wanted, all_found)


@incidents.command(short_help="All that is known of one incident.")
@click.argument("id", metavar="ID")
@_logs
@click.option(
    "--format", "form", type=click.Choice(["table", "json"]), help="[default: table on a terminal, else json]"
)
def show(id: str, places: tuple[Path, ...], form: str | None) -> None:
    """Show what has been said of an incident over time, and its strongest flows as mmtt.log and conn.log have them,
    where those are beside mmtt_incidents.log.

    \b
    Exit status: 0 shown
                 1 some log can't be read, or not all of its rows
                 2 wrong usage, or there is no such incident
    """
    with _read(places) as all_found:
        chosen = _of_id(all_found, id)
        about, problems = evidence.of(chosen)
        for line in problems:
            say(line)
        if (form or ("table" if sys.stdout.isatty() else "json")) == "table":
            from . import screen

            screen.shown_all(chosen, about)
        else:
            click.echo(json.dumps(evidence.as_json(chosen, about)))
    if problems:
        sys.exit(1)


@incidents.command(short_help="Have Zeek raise no notice of what is known.")
@click.argument("id", metavar="[ID]", required=False)
@click.option("--orig", metavar="NET", help="Who began it: an address or a network.")
@click.option("--resp", metavar="NET", help="With whom.")
@click.option("--port", metavar="PORT", help="The responder's, such as 443/tcp.")
@click.option("--kind", metavar="KIND", help="Such as scan.")
@click.option("--for", "span", callback=_span, metavar="SPAN", help="Such as 12h or 30d.  [default: for ever]")
@click.option("--note", metavar="TEXT", help="Why, for whoever reads the file.")
@click.option("--list", "only_list", is_flag=True, help="Show what is muted, and change nothing.")
@_file
@_logs
def mute(
    id: str | None,
    orig: str | None,
    resp: str | None,
    port: str | None,
    kind: str | None,
    span: float | None,
    note: str | None,
    only_list: bool,
    file: Path,
    places: tuple[Path, ...],
) -> None:
    """Mute what is like the incident ID, or what --orig, --resp, --port and --kind say, all of it together; what is not
    said may be anything.

    Like an incident of two hosts are those of the same two and the same port, of whatever kind; like one of a host with
    many, those of the same kind that begin at that host, or end there. `mute ID --kind scan` has it of that kind.

    A line is added to the file that Zeek reads, which raises no notice of such incidents from then on, without a
    restart. The logs have them all the same. What is muted already gets what --for and --note say.

    \b
    Exit status: 0 muted, or listed
                 1 it is muted already, or the file, or a line to list, can't be read or written
                 2 wrong usage, or there is no such incident
    """
    asked = mutes.Mute(orig, resp, port, kind, None if span is None else time.time() + span, note)
    if only_list:
        if id or any(asked):
            raise click.UsageError("--list changes nothing; leave the rest out")
        _list_mutes(file)
        return
    if id and (orig or resp):
        raise click.UsageError("an ID says which hosts; leave it out, or --orig and --resp")
    try:
        if id:
            # What is wrong with an option is said before logs are read.
            mutes.allowed(asked._replace(kind=kind or "any"))
            with _read(places, all_matters=False) as all_found:
                asked = _like(_of_id(all_found, id), asked)
        asked = mutes.allowed(asked)
    except mutes.MuteError as error:
        raise click.UsageError(str(error)) from None
    with endings.cleaned_up(), _changing(file) as (path, there):
        asked = _muted(there, asked, id, file)
        mutes.write(path, there)
    click.echo(shown(f"muted in {file}: {asked}"))


def _muted(there: mutes.Content, asked: mutes.Mute, id: str | None, file: Path) -> mutes.Mute:
    """Put a line among those that are there; as it is then."""
    same = [number for number, each in enumerate(there.mutes) if each.what == asked.what]
    now = next((number for number in same if not there.mutes[number].is_over), None)
    if now is None:
        there.remove(same)  # what is over makes room
        asked = asked._replace(note=asked.note or (f"incident {id}" if id else None))
        there.add(asked)
        return asked
    old = there.mutes[now]
    # What is not said stays: a new note makes nothing last for ever.
    asked = old._replace(until=asked.until or old.until, note=asked.note or old.note)
    if asked == old:
        raise click.ClickException(
            f"muted already, by line {now + 1} of {file}: {old}; another --for or --note changes that, "
            f"`mmtt incidents unmute {now + 1}` takes it back"
        )
    there.replace(now, asked)
    there.remove([number for number in same if number != now])
    return asked


@incidents.command(short_help="Take back what was muted.")
@click.argument("numbers", nargs=-1, required=True, metavar="NUMBER...", type=click.IntRange(1))
@_file
def unmute(numbers: tuple[int, ...], file: Path) -> None:
    """Remove the lines NUMBER... of those that `mmtt incidents mute --list` shows.

    \b
    Exit status: 0 removed
                 1 the file can't be read or written
                 2 wrong usage, or there are not so many lines
    """
    with endings.cleaned_up(), _changing(file) as (path, there):
        if max(numbers) > len(there.mutes):
            raise Unusable(f"{file}: there is no line {max(numbers)}; `mmtt incidents mute --list` shows them")
        gone = [there.mutes[number - 1] for number in sorted({*numbers})]
        there.remove([number - 1 for number in numbers])
        mutes.write(path, there)
    for each in gone:
        click.echo(shown(f"no longer muted in {file}: {each}"))


@contextmanager
def _read(places: Iterable[Path], *, all_matters: bool = True) -> Iterator[list[found.Found]]:
    """The incidents of logs; what can't be read is said in the end, where a table does not push it out of sight.

    Args:
        all_matters: it makes the status 1, too.

    Raises:
        click.ClickException: there is no log at all.
    """
    all_found, problems = found.read(_files(places))
    try:
        yield all_found
    finally:
        for line in problems:
            say(line)
    if problems and all_matters:
        sys.exit(1)


def _files(places: Iterable[Path]) -> list[Path]:
    """The logs that were named, or those that are where they use to be."""
    named = [*places]
    tried = named or [Path(), *_of_zeek()]
    all_files: dict[Path, None] = {}
    for place in tried:
        if place.is_dir():
            below = logs.files(place, found.LOG)
        else:
            below = [place]
            if not place.exists():
                raise Unusable(f"{place}: No such file or directory")
        all_files.update(dict.fromkeys(below))
        if below and not named:
            break
    if not all_files:
        where = ", ".join(str(place) if str(place) != "." else "the directory here" for place in tried)
        raise Unusable(f"no {found.LOG}.log in {where}; name one, or a directory with some")
    return [*all_files]


def _of_zeek() -> list[Path]:
    """Where the Zeek that is installed keeps its logs."""
    program = zeek.find()
    place = program.resolve().parent.parent / "logs" if program else None
    return [place] if place and place.is_dir() else []


def _of_id(all_found: list[found.Found], id: str) -> found.Found:
    chosen = [each for each in all_found if each.latest.id == id]
    if not chosen:
        raise Unusable(f"no incident {id} in these logs; `mmtt incidents list` shows those that there are")
    if len(chosen) > 1:
        # The same connection in two captures: it is as good as one.
        chosen.sort(key=lambda each: len(each.rows))
    return chosen[-1]


def _like(chosen: found.Found, asked: mutes.Mute) -> mutes.Mute:
    """What mutes those like an incident, with the port and the kind that were asked for."""
    row, port = chosen.latest, asked.resp_p
    if row.orig_h is None and row.resp_h is None:
        raise Unusable(f"{row.id} names no host; say which, without ID: --orig or --resp")
    if row.orig_h is None or row.resp_h is None:
        if port:
            raise Unusable(f"{row.id} is of one host with many, on whatever port; leave --port out")
        kind = asked.kind or row.kind
        if not kind:
            # Everything of a host is more than was seen.
            option = f"--orig {row.orig_h}" if row.orig_h else f"--resp {row.resp_h}"
            raise Unusable(
                f"{row.id} is of one host with many, and its kind is not known: say which with --kind, or mute all "
                f"incidents of that host, without ID: {option}"
            )
        return asked._replace(orig=row.orig_h, resp=row.resp_h, kind=kind)
    if row.resp_p is None:
        if port:
            raise Unusable(f"{row.id} names no port; leave --port out")
        return asked._replace(orig=row.orig_h, resp=row.resp_h)
    protocol = evidence.protocol(chosen)
    if not port and not protocol:
        raise Unusable(f"the log does not say whether port {row.resp_p} is TCP's or UDP's: add --port {row.resp_p}/tcp")
    known = f"{row.resp_p}/{protocol or str(port).partition('/')[2]}"
    if port and port != known:
        raise Unusable(f"{row.id} is of port {known if protocol else row.resp_p}, not {port}; leave --port out")
    return asked._replace(orig=row.orig_h, resp=row.resp_h, resp_p=known)


@contextmanager
def _changing(file: Path) -> Iterator[tuple[Path, mutes.Content]]:
    """The file and what is in it, which nobody else changes meanwhile; lines that can't be read are said."""
    try:
        with mutes.changing(file) as path:
            there = mutes.read(path)
            for line in there.problems:
                say(line)
            yield path, there
    except mutes.MuteError as error:
        raise click.ClickException(str(error)) from None


def _list_mutes(file: Path) -> None:
    try:
        there = mutes.read(file)
    except mutes.MuteError as error:
        raise click.ClickException(str(error)) from None
    for number, each in enumerate(there.mutes, 1):
        over = " (over)" if each.is_over else ""
        click.echo(shown(f"{number:3}  {each}{over}{f': {each.note}' if each.note else ''}"))
    for line in there.problems:
        say(line)
    if there.problems:
        sys.exit(1)


def _say_kinds(wanted: Collection[str], all_found: list[found.Found]) -> None:
    """Which kinds there are, where one was asked for that no incident has."""
    there = {each.latest.kind for each in all_found if each.latest.kind}
    for kind in sorted({*wanted} - there):
        say(f"no incident is of the kind {kind}; there are: {', '.join(sorted(there)) or 'none whose kind is known'}")


def _lines(form: str, rows: list[IncidentRow]) -> None:
    from ..classify.log import INCIDENTS, JsonWriter, TsvWriter

    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    writer = (TsvWriter if form == "tsv" else JsonWriter)(sys.stdout, INCIDENTS, any(row.capture for row in rows))
    for row in rows:
        writer.write(row)
    writer.close()
