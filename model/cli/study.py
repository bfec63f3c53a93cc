"""``mmtt study``."""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from mmtt_agent import paths
from mmtt_agent.output import shown

_HEAD = (
    "sites",
    "what",
    "part",
    "malicious",
    "harmless",
    "AUROC",
    "recall at 1%",
    "95 %",
    "recall at 0.1%",
    "95 % of it",
)
_BY_SITE = ("sites", "site", "malicious", "found", "harmless", "flagged")
_AT = (
    "sites",
    "share",
    "finds",
    "of encrypted",
    "flags",
    "connections",
    "false incidents in 8 host-hours",
    "95 %",
    "hours",
)


@click.group(short_help="Measure a finished run's model.")
def study() -> None:
    """What a finished run's model is worth, by sites that it has not seen."""


def _of_run(command: Callable[..., None]) -> Callable[..., None]:
    """What all studies of a run are told."""
    for option in reversed(_OF_RUN):
        command = option(command)
    return command


_OF_RUN = (
    click.argument("run", type=paths.PATH),
    click.option(
        "--data", type=paths.PATH, required=True, help="Directory with captures.tsv, flows.tsv.zst and captures/."
    ),
    click.option("--lab", type=paths.PATH, help="As for the run, if it had one."),
    click.option("--config", type=paths.PATH, default=Path("small"), show_default=True, help="What the run was told."),
    click.option(
        "--format",
        "form",
        type=click.Choice(["table", "tsv", "json"]),
        help="How to print it; a table on a terminal, else TSV, if not given.",
    ),
)


@study.command(short_help="Incidents: evidence over connections, beside what needs none.")
@_of_run
@click.option("--by-site", is_flag=True, help="What is found and flagged at 1 % on each site instead.")
def incidents(run: Path, data: Path, lab: Path | None, config: Path, by_site: bool, form: str | None) -> None:
    """Recall of malicious pairs of hosts, false incidents, and time to detection of the second model of RUN (a
    directory of `mmtt train`), beside the highest flow score, the mean, the number of connections, and regularity.
    """
    found = _measured("incidents", run, data, lab, config).figures
    if not found:
        raise click.ClickException(f"{data}: too few pairs of hosts with a label to learn from")
    form = form or ("table" if sys.stdout.isatty() else "tsv")
    if form == "json":
        click.echo(json.dumps(found))
        return
    tables = [_sites(found)] if by_site else [_scores(found), _thresholds(found)]
    for number, table in enumerate(tables):
        if number:
            click.echo("")
        for line in _laid_out(list(table), form == "table"):
            click.echo(line)


@study.command(short_help="What a site's own answers are worth.")
@_of_run
def site(run: Path, data: Path, lab: Path | None, config: Path, form: str | None) -> None:
    """Macro-F1 of applications on sites that the networks of RUN have not seen, before and after learning from the
    earlier half of each site's own flows, as `mmtt learn fit` does, on its later half; beside it other ways to learn
    from the same embedding, fewer windows of each label, and the whole network trained on. "Nameless" is the later half
    as it would be if clients said no server's name. Then the alerts that a site asks for and gets: of single flows, by
    the thresholds that `mmtt learn threshold` finds by the earlier half of its windows, counted on the later half.
    """
    found, alerts = _measured("own_site", run, data, lab, config)
    if not found:
        raise click.ClickException(f"{data}: no site there has enough flows with a server's name")
    form = form or ("table" if sys.stdout.isatty() else "tsv")
    if form == "json":
        parts = {"answers": found, "alerts": alerts}
        click.echo(json.dumps({name: [dataclasses.asdict(each) for each in part] for name, part in parts.items()}))
        return
    tables = [_by_own_site(found), *([_by_budget(alerts)] if alerts else [])]
    for number, table in enumerate(tables):
        if number:
            click.echo("")
        for line in _laid_out(list(table), form == "table"):
            click.echo(line)


def _measured(what: str, run: Path, data: Path, lab: Path | None, config: Path) -> Any:
    """What a function of `mmtt_model.run` finds."""
    try:
        from .. import run as training
        from ..config import ConfigError, read, shipped
        from ..data.errors import DatasetError
        from ..training.trainings import TrainingError
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"`mmtt study` needs {error.name}, which is not installed; type: pip install 'mmtt[train]'"
        ) from None
    try:
        return getattr(training, what)(read(shipped(config)), data, lab, run, _say)
    except (ConfigError, DatasetError, TrainingError) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename or run}: {error.strerror}") from None


def _say(line: str) -> None:
    click.echo(shown(line), err=True)


def _by_own_site(found: list[Any]) -> Iterator[tuple[str, ...]]:
    """A row for each site, and their mean."""
    ways = [*found[0].scores]
    right = ("before", "learnt", "before, nameless", "learnt, nameless")
    yield ("site", "windows", "labels", "new", *ways, *(f"right {way}" for way in right))
    for each in found:
        yield (
            each.site,
            str(each.windows),
            str(each.labels),
            _number(each.new, 2),
            *(_number(each.scores[way].macro_f1) for way in ways),
            *(_number(each.scores[way].right) for way in right),
        )
    yield (
        f"mean of {len(found)}",
        "",
        "",
        "",
        *(_number(statistics.mean(each.scores[way].macro_f1 for each in found)) for way in ways),
        *(_number(statistics.mean(each.scores[way].right for each in found)) for way in right),
    )


def _by_budget(found: list[Any]) -> Iterator[tuple[str, ...]]:
    """A row for each site; then all together, and how many get about what they asked for."""
    yield ("site", "windows", "possible", "asked", "given", "got", "times")
    for each in found:
        counts = (each.windows, each.possible, each.asked, each.given, each.got)
        yield (each.site, *map(str, counts), _number(each.got / each.asked, 2))
    near = sum(2 * each.asked <= 3 * each.got and 2 * each.got <= 3 * each.asked for each in found)
    asked, got = (sum(getattr(each, name) for each in found) for name in ("asked", "got"))
    yield (f"all, {near} of {len(found)} within 1.5 times", "", "", str(asked), "", str(got), _number(got / asked, 2))


def _scores(found: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    yield _HEAD
    for unit in ("pair", "originator", "responder"):
        for sites, systems in found.get(unit, {}).items():
            for name, scores in systems.items():
                if name == "at":
                    continue
                for part, each in scores.items():
                    yield (
                        sites,
                        f"{unit}s" if name == "mmtt" else f"{unit}s, {name}",
                        part,
                        str(each["malicious"]),
                        str(each["harmless"]),
                        _number(each["auroc"]),
                        _number(each["recall_at_1_percent"]),
                        _interval(each["intervals"]["recall_at_1_percent"]),
                        _number(each["recall_at_0.1_percent"]),
                        _interval(each["intervals"]["recall_at_0.1_percent"]),
                    )


def _thresholds(found: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    yield _AT
    for sites, systems in found["pair"].items():
        for share, each in systems["at"].items():
            false = found["false"][share][sites]
            yield (
                sites,
                share + " (default)" * (share == found["share"]),
                _number(each["recall"]),
                _number(each["encrypted"]["recall"]),
                _number(each["false_positives"], 4),
                _number(each["connections"][1], 0),
                _number(false["rate"], 2),
                _interval(false["interval"], 2),
                _number(false["hours"], 0),
            )


def _sites(found: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    yield _BY_SITE
    for sites, each in found["sites"].items():
        for site, counts in each.items():
            (hits, malicious), (flagged, harmless) = counts["malicious"], counts["harmless"]
            yield sites, site, str(malicious), str(hits), str(harmless), str(flagged)


def _laid_out(rows: list[tuple[str, ...]], aligned: bool) -> Iterator[str]:
    cells = [[shown(cell) for cell in row] for row in rows]
    if not aligned:
        yield from ("\t".join(row) for row in cells)
        return
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _number(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "-"


def _interval(found: tuple[float, float], digits: int = 3) -> str:
    low, high = found
    return f"{low:.{digits}f} to {high:.{digits}f}" if math.isfinite(low) else "-"
