"""``mmtt eve``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from .. import installing, paths
from ..output import Unusable, say


@click.command(short_help="Put verdicts into Suricata's events.")
@click.argument("input_", default="-", metavar="[INPUT]")
@click.option(
    "--verdicts",
    multiple=True,
    metavar="WHERE",
    help="Verdicts: an mmtt.log (TSV or JSON) or a file of `mmtt sniff --format eve`; or unix:PATH, to which "
    "`mmtt sniff --to unix:PATH` connects. Several if given several times.",
)
@click.option(
    "--capture",
    "captures",
    multiple=True,
    metavar="FILE",
    help="Classify these captures first. Several if given several times.",
)
@click.option(
    "-o",
    "--output",
    default="-",
    metavar="WHERE",
    help="Where the events go: a file, which is added to; unix:PATH or unix_dgram:PATH, where somebody listens; "
    "redis://HOST:PORT/KEY?mode=list|rpush|channel|stream.  [default: standard output]",
)
@click.option("--follow", is_flag=True, help="Go on with INPUT as it is written to and rotated, as tail -F does.")
@click.option(
    "--state",
    type=paths.PATH,
    metavar="FILE",
    help="With --follow: keep there how far INPUT has been read, and go on from there.",
)
@click.option(
    "--wait",
    default=8.0,
    show_default=True,
    type=click.FloatRange(0, 3600),
    metavar="SECONDS",
    help="How long an event, and those behind it, may wait for its verdict, where verdicts are still to come. That on "
    "a connection of a few packets comes some 5.5 s after its end.",
)
@click.option(
    "--connections",
    default=500_000,
    show_default=True,
    type=click.IntRange(1),
    metavar="N",
    help="Keep the verdicts on so many; some 700 bytes each.",
)
@click.option(
    "--community-id-seed",
    "seed",
    default=0,
    show_default=True,
    type=click.IntRange(0, 65535),
    metavar="N",
    help="Suricata's community-id-seed, for events without proto, addresses and ports that can be used: all others are "
    "joined by these.",
)
@click.option("-C", "--no-checksums", is_flag=True, help="With --capture: take packets with wrong checksums, too.")
@click.option(
    "--bundle", type=paths.TEXT, metavar="DIR", help="With --capture: the model.  [default: the one shipped with mmtt]"
)
@click.option("--metrics-listen", metavar="HOST:PORT", help="Serve /metrics, /health and /status there.")
@installing.prints(__package__, {"unit": "mmtt-eve.service"}, "a systemd unit")
def eve(
    input_: str,
    verdicts: tuple[str, ...],
    captures: tuple[str, ...],
    output: str,
    follow: bool,
    state: Path | None,
    wait: float,
    connections: int,
    seed: int,
    no_checksums: bool,
    bundle: str | None,
    metrics_listen: str | None,
) -> None:
    """Pass on Suricata's events (EVE), each with an object `mmtt` if its flow has a verdict.

    INPUT is a file such as eve.json; unix:PATH or unix_dgram:PATH, a socket that is made there for the eve-log of
    Suricata to connect to (filetype: unix_stream, or unix_dgram); or - for standard input.

    Events come out in the order in which they came, each once, and byte for byte as they were but for the object. It
    is that of `mmtt classify --format eve`: the service and application that the flow's first window has, and
    `malicious`, with its score, kind and incident, of the window that looks most so. An event and a verdict belong
    together if their protocol, addresses and ports are the same (what a community ID is made of, so that none is
    needed), and their times fit.

    While verdicts are still to come (INPUT is followed, a socket or standard input) an event of a flow that none is
    known of waits for it, and what is behind it waits, too; none for longer than --wait. SIGHUP makes the output's
    file anew; SIGTERM passes on what waits, and ends.

    \b
    Exit status: 0 all went well
                 1 something could not be read or delivered
                 2 wrong usage, or INPUT, verdicts or output can't be opened
    """
    from .. import bundle as bundles
    from .. import logs
    from ..agent.config import address
    from ..sinks import SinkError
    from ..sinks.places import SOCKETS
    from . import service
    from .sources import SourceError
    from .state import StateError

    if not verdicts and not captures:
        raise click.UsageError("name where verdicts come from: --verdicts WHERE, or --capture FILE")
    if state and not follow:
        raise click.UsageError("--state keeps the position in a file that is followed: add --follow")
    if follow and (input_ == "-" or input_.startswith(SOCKETS)):
        raise click.UsageError(f"--follow is for a file; {input_} is read as it comes anyway")
    if input_ == "-" and "-" in verdicts:
        raise click.UsageError("standard input can be the events or the verdicts, not both")
    if input_ == "-" and sys.stdin is not None and sys.stdin.isatty():
        raise click.UsageError("INPUT is standard input, which is a terminal; pipe events in, or name a file")
    if (bundle or no_checksums) and not captures:
        raise click.UsageError("--bundle and -C are for --capture")
    try:
        listen = address(metrics_listen) if metrics_listen else None
    except ValueError as error:
        raise click.UsageError(f"--metrics-listen can't be {metrics_listen!r}: {error}") from None
    settings = service.Settings(input_, verdicts, output, follow, state, wait, seed, connections, listen)
    try:
        rows = service.captured(captures, bundle, not no_checksums, say) if captures else None
        running = service.Service(settings, rows, say)
    except (SourceError, SinkError, StateError, logs.LogError, bundles.BundleError) as error:
        raise Unusable(str(error)) from None
    if status := running.run():
        sys.exit(status)
