"""``mmtt learn threshold``: thresholds for a number of notices a day."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import endings, paths, whole
from ..networks import Network, networks
from ..output import Unusable, say, shown

if TYPE_CHECKING:
    from .scores import Scores
    from .threshold import Answer, Row

#: The columns of TSV and JSON.
_COLUMNS = ("of", "possible", "now", "now_a_day", "proposed", "a_day", "low", "high")


@click.command(short_help="The thresholds that give so many alerts a day here.")
@click.argument("places", nargs=-1, required=True, metavar="LOG...", type=paths.PATH)
@click.option(
    "--alerts-per-day",
    "per_day",
    required=True,
    type=click.FloatRange(0, 1_000_000, min_open=True),
    metavar="N",
    help="So many notices a day; 0.5 is one in two days.",
)
@click.option(
    "--incidents/--flows",
    "of_incidents",
    default=None,
    help="Notices of incidents (MMTT::Incident), or of single flows (MMTT::Malicious_Flow).  [default: of incidents, "
    "where there is a log of them]",
)
@click.option(
    "--exempt",
    multiple=True,
    callback=networks,
    metavar="NET",
    help="Leave out what has an end in there, as Zeek does by MMTT::exempt_subnets; may be repeated.",
)
@click.option(
    "--windows",
    type=paths.PATH,
    metavar="DIR",
    help="Where the agent has recorded windows (record.directory): thresholds of incidents can be lowered by these.",
)
@click.option(
    "--bundle",
    type=paths.TEXT,
    metavar="DIR",
    help="With --windows: the model to judge by.  [default: the one shipped]",
)
@click.option(
    "-o", "--output", type=paths.PATH, metavar="FILE", help="Write there what is to go into the agent's settings."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "tsv", "json"]),
    help="What to print.  [default: table on a terminal, else tsv]",
)
def threshold(
    places: tuple[Path, ...],
    per_day: float,
    of_incidents: bool | None,
    exempt: list[Network],
    windows: Path | None,
    bundle: str | None,
    output: Path | None,
    form: str | None,
) -> None:
    """Work out, from the scores that this network's own traffic had, the thresholds that give about N notices a day.

    LOG is a mmtt.log, TSV or JSON, plain, .gz or .zst, or a directory: that of now and all rotated ones in it are read,
    and for incidents mmtt_incidents.log beside them. What Zeek does not repeat within an hour
    (Notice::default_suppression_interval) counts once. What is muted or exempt there counts here, but for --exempt.

    Of each service the same share raises a notice, so that a noisy one does not take all; of incidents, of pairs,
    originators and responders. Incidents below the thresholds that run are in no log, so these can only be raised;
    with --windows, and conn.log beside mmtt.log, all of them are judged anew.

    \b
    Exit status: 0 there are such thresholds, or those that run give no more than N
                 1 none gives about N, too little was seen, or not all rows could be read
                 2 wrong usage, or there is no log
    """
    from . import budget, scores
    from . import threshold as thresholds

    if windows and of_incidents is False:
        raise click.UsageError("single flows are all in mmtt.log: leave --windows out")
    if bundle and not windows:
        raise click.UsageError("--bundle is for --windows: the logs say what their model found")
    if not math.isfinite(per_day):
        raise click.BadParameter("it must be a number", param_hint="'--alerts-per-day'")
    problems: list[str] = []
    try:
        if of_incidents is None:
            of_incidents = bool(windows) or _has_incidents(places)
        if windows:
            answer = _replayed(places, exempt, windows, bundle, per_day, output, problems)
        else:
            answer = thresholds.answer(_scores(places, exempt, of_incidents, output, problems), per_day, of_incidents)
    except scores.NoLog as error:
        raise Unusable(str(error)) from None
    except budget.BudgetError as error:
        raise click.ClickException(str(error)) from None
    finally:
        for line in problems:
            say(line)
    text = thresholds.as_yaml(answer, per_day, of_incidents)
    form = form or ("table" if sys.stdout.isatty() else "tsv")
    if form == "table":
        _table(answer)
    elif form == "tsv":
        _tsv(answer)
    else:
        click.echo(json.dumps(_as_json(answer, of_incidents)))
    for line in answer.notes:
        say(line)
    if not answer.settings:
        if output:
            say(f"nothing is to change: {output} is not written")
    elif output:
        with endings.cleaned_up(), whole.written(output) as out:
            out.write(text)
        say(f"{output}: {thresholds.where(of_incidents)}")
    elif form == "table":
        click.echo(f"\n# {thresholds.where(of_incidents)}\n{text}", nl=False)
    if problems:
        sys.exit(1)


def _scores(
    places: tuple[Path, ...], exempt: list[Network], of_incidents: bool, output: Path | None, problems: list[str]
) -> Scores:
    """What the logs say; ``problems`` takes a line for what can't be read.

    Raises:
        BudgetError: nothing.
    """
    from . import scores

    rows = scores.find(places, scores.FLOWS)
    found = scores.find(places, scores.INCIDENTS) if of_incidents else []
    _not_written_over((*rows, *found), output)
    flows = scores.Flows(rows, say, scores.Exempt(exempt))
    problems += flows.problems
    return scores.incidents(found, flows, problems, say) if of_incidents else flows.scores()


def _has_incidents(places: tuple[Path, ...]) -> bool:
    """Whether there is a log of them; where there is none, but one of flows, that is said."""
    from . import scores

    try:
        scores.find(places, scores.INCIDENTS)
    except scores.NoLog as error:
        scores.find(places, scores.FLOWS)
        say(f"{error}: these are thresholds of single flows, as by --flows")
        return False
    return True


def _replayed(
    places: tuple[Path, ...],
    exempt: list[Network],
    windows: Path,
    bundle: str | None,
    per_day: float,
    output: Path | None,
    problems: list[str],
) -> Answer:
    """As the recorded windows have it.

    Raises:
        BudgetError: they say nothing.
    """
    from .. import bundle as bundles
    from ..classifier import Classifier
    from ..record import reading
    from ..record.rows import RecordError
    from . import budget, replay, scores
    from . import threshold as thresholds

    rows, connections = scores.find(places, scores.FLOWS), scores.find(places, scores.CONNECTIONS)
    _not_written_over((*rows, *connections), output)
    try:
        classifier = Classifier(bundles.load(bundle))
        recorded = reading.read(windows, say)
    except bundles.BundleError as error:
        raise Unusable(str(error)) from None
    except RecordError as error:
        raise budget.BudgetError(str(error)) from None
    flows = scores.Flows(rows, say, scores.Exempt(exempt))
    found = replay.Replay(recorded, classifier, rows, connections, flows, problems, say)
    return thresholds.answer(found.scores(), per_day, of_incidents=True, found_with=found.found_with)


def _not_written_over(logs: tuple[Path, ...], output: Path | None) -> None:
    if output and output.exists() and any(output.samefile(log) for log in logs):
        raise Unusable(f"{output} is one of the logs: name another file")


def _table(answer: Answer) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("", "now", "alerts a day", "proposed", "alerts a day", "from", "to"):
        table.add_column(name, justify="right" if name else "left")
    for row in (*answer.rows, answer.total):
        scores = [
            "" if row is answer.total else "-" if score is None else f"{score:.4f}" for score in (row.now, row.proposed)
        ]
        rates = [f"{rate:,.1f}" for rate in (row.now_a_day.mean, row.a_day.mean, row.a_day.low, row.a_day.high)]
        if row is answer.total:
            table.add_section()
        table.add_row(shown(row.of), scores[0], rates[0], scores[1], *rates[1:])
    console = Console()
    console.print(table)
    console.print(
        f"[dim]{answer.days:.1f} days of {shown(answer.model) or 'traffic'}; from and to: nine in ten such intervals "
        "hold what it is over a long time[/]"
    )


def _values(row: Row) -> tuple[str | int | float | None, ...]:
    rates = (row.now_a_day.mean, row.a_day.mean, row.a_day.low, row.a_day.high)
    now, mean, low, high = (round(rate, 3) for rate in rates)
    return row.of, row.possible, row.now, now, row.proposed, mean, low, high


def _tsv(answer: Answer) -> None:
    click.echo("\t".join(_COLUMNS))
    for row in (*answer.rows, answer.total):
        click.echo("\t".join("-" if value is None else shown(value) for value in _values(row)))


def _as_json(answer: Answer, of_incidents: bool) -> dict[str, object]:
    return {
        "model": answer.model,
        "days": round(answer.days, 3),
        "rows": [dict(zip(_COLUMNS, _values(row), strict=True)) for row in (*answer.rows, answer.total)],
        "thresholds": {"incidents" if of_incidents else "malicious": answer.settings},
        "notes": answer.notes,
    }
