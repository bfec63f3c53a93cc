"""``mmtt status``, ``mmtt top``, ``mmtt reload`` and ``mmtt doctor``."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, TypeVar

import click

from .. import endings, paths
from ..agent.config import ConfigError
from ..output import OutputError, shown
from . import client, rates

_Command = TypeVar("_Command", bound=Callable[..., None])
_Display = Callable[[dict[str, Any], rates.Rates], None]


class _Problem(click.ClickException):
    """Nobody to ask, or wrong settings."""

    exit_code = 2


class _Unsaid(click.ClickException):
    """What was found out or done can't be said: neither of the statuses that would say it."""

    exit_code = 3


@contextmanager
def _said(done: str = "") -> Iterator[None]:
    """Around what is written to standard output by a command whose status 1 says something else than that it failed.

    Args:
        done: what is so nevertheless.
    """
    try:
        yield
        sys.stdout.flush()
    except OutputError as error:
        if error.reader_gone:
            raise
        raise _Unsaid(f"{done}{'; ' if done else ''}{error.message}") from None


class _Seconds(click.FloatRange):
    """Those that can be waited for: none of the comparisons of FloatRange leaves "nan" out."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        seconds: float = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value} is not a number of seconds.", param, ctx)
        return seconds


def _where(command: _Command) -> _Command:
    """The options that say which agent."""
    command = click.option("--agent", metavar="HOST:PORT", help="Its metrics.listen, whatever the settings say.")(
        command
    )
    return click.option(
        "-c",
        "--config",
        type=paths.TEXT,
        metavar="FILE",
        help=f"The agent's settings.  [default: {client.SETTINGS} if there, else the defaults]",
    )(command)


def _address(config: str | None, agent: str | None) -> tuple[str, int]:
    try:
        return client.address(config, agent)
    except ConfigError as error:
        raise _Problem(str(error)) from None


def _ask(where: tuple[str, int]) -> dict[str, Any]:
    try:
        return client.status(where)
    except client.NoAgent as error:
        raise _Problem(str(error)) from None


@click.command(short_help="How the agent is.")
@_where
@click.option(
    "--format", "form", type=click.Choice(["table", "json"]), help="[default: table on a terminal, else json]"
)
def status(config: str | None, agent: str | None, form: str | None) -> None:
    """Show an agent's health, model, counts and lag, once. `mmtt top` shows them live.

    \b
    Exit status: 0 it is healthy
                 1 it is not: no Zeek is connected, or the model hangs
                 2 no agent answers, or wrong settings
                 3 standard output takes nothing
    """
    found = _ask(_address(config, agent))
    with _said():
        if (form or ("table" if sys.stdout.isatty() else "json")) == "json":
            click.echo(json.dumps(found))
        else:
            from rich.console import Console

            from . import screen

            Console().print(screen.state(found))
    if not found["healthy"]:
        sys.exit(1)


@click.command(short_help="What the agent does, live.")
@_where
@click.option("--interval", default=1.0, show_default=True, type=_Seconds(0.1, 3600), help="Seconds.")
@click.option("-n", "--count", type=click.IntRange(1), help="End after so many.")
@click.option("--once", is_flag=True, help="The same as -n 1.")
@click.option("--flows", default=10, show_default=True, type=click.IntRange(0, 20), help="Suspicious flows shown.")
def top(config: str | None, agent: str | None, interval: float, count: int | None, once: bool, flows: int) -> None:
    """Show services, applications, rates, lag and the most suspicious flows, until Ctrl-C.

    The agent knows no addresses: look a uid up in conn.log. In a pipe it writes tab-separated lines, with a header.

    \b
    Exit status: 0 ended by -n or Ctrl-C
                 2 no agent answers (any more), or wrong settings
    """
    where = _address(config, agent)
    display: AbstractContextManager[_Display] = _screen(flows) if sys.stdout.isatty() else _lines()
    count = 1 if once else count
    with suppress(KeyboardInterrupt), endings.cleaned_up():
        before = _ask(where)
        with display as show:
            while count is None or (count := count - 1) >= 0:
                time.sleep(interval)
                after = _ask(where)
                show(after, rates.between(before, after))
                before = after


@contextmanager
def _lines() -> Iterator[_Display]:
    """``mmtt top`` in a pipe."""
    begun = False

    def show(found: dict[str, Any], now: rates.Rates) -> None:
        nonlocal begun
        windows, latency = found["windows"], found["latency"]
        row = {
            "ts": f"{found['now']:.3f}",
            "healthy": "T" if found["healthy"] else "F",
            **{name: f"{getattr(now, name):.1f}" for name in ("received", "ok", "shed", "error", "malicious")},
            "in_hand": windows["in_hand"],
            "queued": windows["queued"],
            "lag_p50": "-" if latency["p50"] is None else latency["p50"],
            "lag_p99": "-" if latency["p99"] is None else latency["p99"],
        }
        if not begun:
            click.echo("\t".join(row))
            begun = True
        click.echo("\t".join(map(str, row.values())))

    yield show


@contextmanager
def _screen(flows: int) -> Iterator[_Display]:
    """``mmtt top`` on a terminal: leaves its last picture there."""
    from rich.live import Live

    from . import screen

    with Live(auto_refresh=False) as live:
        yield lambda found, now: live.update(screen.live(found, now, flows), refresh=True)


@click.command("reload", short_help="Have the agent load its bundle again.")
@_where
@click.option("--pid", type=click.IntRange(1), help="The agent's process.  [default: it is asked]")
@click.option("--timeout", default=60.0, show_default=True, type=_Seconds(0), help="Seconds to wait.")
def reload_(config: str | None, agent: str | None, pid: int | None, timeout: float) -> None:
    """Have an agent load its bundle again, or the one that its settings now name, without losing a flow.

    The new model is checked and tried beside the old one. Where it can't be used the old one goes on.

    \b
    Exit status: 0 reloaded
                 1 the old model goes on
                 2 no agent answers, or wrong settings
                 3 reloaded, but standard output takes nothing
    """
    from . import reload

    try:
        where = client.address(config, agent)
    except client.Off:
        where = None
    except ConfigError as error:
        raise _Problem(str(error)) from None
    try:
        done = reload.reload(where, pid, timeout)
    except client.NoAgent as error:
        raise _Problem(str(error)) from None
    except reload.ReloadError as error:
        raise click.ClickException(str(error)) from None
    with _said(done):
        click.echo(shown(done))


@click.command(short_help="What is wrong on this sensor, and what to type.")
@_where
@click.option(
    "--zeek",
    type=paths.TEXT,
    metavar="FILE",
    help="Zeek's program.  [default: ZEEK, PATH, /opt/zeek/bin, /usr/local/zeek/bin]",
)
@click.option(
    "--scripts",
    type=paths.TEXT,
    default="local",
    show_default=True,
    metavar="NAME",
    help="What this sensor's Zeek loads.",
)
def doctor(config: str | None, agent: str | None, zeek: str | None, scripts: str) -> None:
    """Check all that verdicts on live traffic need, each in a line, with what to type where something is wrong.

    Nothing is changed, and Zeek is only asked to read its scripts.

    \b
    Exit status: 0 nothing is wrong
                 1 something is
                 3 standard output takes nothing
    """
    from . import doctor

    broken = 0
    with endings.cleaned_up(), _said():
        for check in doctor.checks(config, agent, zeek, scripts):
            broken += check.state == "problem"
            state = click.style(f"{check.state:8}", doctor.COLOURS[check.state])
            click.echo(f"{state} {check.what:12} {shown(check.text)}")
            if check.remedy:
                click.echo(f"{'':8} {'':12} type: {shown(check.remedy)}")
    if broken:
        click.echo(f"{broken} {'problem' if broken == 1 else 'problems'}", err=True)
        sys.exit(1)
