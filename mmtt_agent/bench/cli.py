"""``mmtt bench``."""

from __future__ import annotations

from pathlib import Path

import click

from .. import endings, paths


@click.group(short_help="How fast is it here?")
def bench() -> None:
    """Measure the agent and the Zeek package on this machine. Nothing else should run on it meanwhile."""


@bench.command()
@click.option("--seconds", default=10.0, show_default=True, type=click.FloatRange(1), help="Of each of the two loads.")
@click.option("--bundle", type=paths.PATH, help="The model.  [default: the shipped one]")
@click.option(
    "--threads", type=click.IntRange(1), multiple=True, default=(1,), show_default=True,
    help="Of the model; give it again for the ratio between them.",
)  # fmt: skip
@click.option("--record", is_flag=True, help="The agent records its windows meanwhile, as `mmtt learn` needs them.")
def agent(seconds: float, bundle: Path | None, threads: tuple[int, ...], record: bool) -> None:
    """Verdicts a second and core of `mmtt agent`, end to end; latency at half of it; memory; where the time goes."""
    from ..bundle import BundleError
    from ..record import RecordError, rows
    from . import agent as of

    try:
        if record:
            rows.arrow()  # rather than that the agent does not come up
        of.bench(bundle, threads, seconds, click.echo, record)
    except (BundleError, RecordError, of.BenchError) as error:
        raise click.ClickException(str(error)) from None


@bench.command()
@click.argument("captures", nargs=-1, type=paths.Named(path_type=Path, exists=True, dir_okay=False))
@click.option("--runs", default=5, show_default=True, type=click.IntRange(1), help="Of each kind; the median counts.")
@click.option(
    "--zeek",
    type=paths.TEXT,
    metavar="FILE",
    help="Zeek's program.  [default: ZEEK, PATH, /opt/zeek/bin, /usr/local/zeek/bin]",
)
@click.option(
    "--case", "cases", type=click.Choice(["no agent", "collecting", "verdicts"]), multiple=True, help="Only this."
)
@click.option(
    "--keep", type=paths.Named(path_type=Path, file_okay=False), help="Make the captures there, and use them again."
)
def zeek(captures: tuple[Path, ...], runs: int, zeek: str | None, cases: tuple[str, ...], keep: Path | None) -> None:
    """What the package costs Zeek, over a Zeek without it, on CAPTURES or on two that are made (1 GB): 60,000 short
    connections, and 60 long ones."""
    from ..zeek import find
    from . import zeek as of

    program = find(zeek)
    if program is None:
        raise click.ClickException(f"no Zeek {zeek or 'on PATH or at /opt/zeek/bin'}; name it with --zeek FILE")
    chosen = [title for title in of.CASES if not cases or title.startswith(cases)]
    try:
        with endings.cleaned_up():
            of.bench(program, captures, runs, chosen, keep, click.echo)
    except of.BenchError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename or keep or 'the captures'}: {error.strerror}") from None
