"""``mmtt sniff``: verdicts on an interface's traffic, without Zeek."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import click

from .. import installing, paths
from ..output import Unusable
from .config import FORMATS, Config, ConfigError, load

#: Of ``install``, by what they are called on the command line.
_FILES = {"config": "mmtt-sniff.yaml", "unit": "mmtt-sniff.service"}


@click.command(short_help="Verdicts on an interface's traffic, without Zeek.")
@click.argument("filter_", nargs=-1, metavar="[FILTER]...")
@click.option("-i", "--interface", multiple=True, metavar="NAME", help="Listen there; may be given more than once.")
@click.option(
    "-c",
    "--config",
    "config_path",
    type=paths.TEXT,
    metavar="FILE",
    help="YAML file with settings; options override it.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="What to write.  [default: eve with --to, table on a terminal, else tsv]",
)
@click.option(
    "-o",
    "--output",
    "directory",
    type=paths.TEXT,
    metavar="DIR",
    help="Add to mmtt.log and mmtt_incidents.log there, or with eve to eve.json, print nothing.",
)
@click.option(
    "--to",
    metavar="PLACE",
    help="Where lines of json or eve go: -, FILE, unix:PATH, unix_dgram:PATH or redis://HOST:PORT/KEY?mode=list.",
)
@click.option("--community-id", is_flag=True, default=None, help="Add the column community_id.")
@click.option("--community-id-seed", type=int, metavar="N", help="Its seed, where others have one, too.  [default: 0]")
@click.option(
    "--workers",
    type=int,
    metavar="N",
    help=f"Processes for each interface, which share its flows.  [default: {Config.workers}]",
)
@click.option(
    "--max-connections",
    type=int,
    metavar="N",
    help=f"Follow so many at once; beyond, the longest idle are given up.  [default: {Config.max_connections}]",
)
@click.option(
    "-C",
    "--no-checksums",
    "checksums",
    flag_value=False,
    default=None,
    help="Take packets with wrong checksums, too.",
)
@click.option(
    "--user",
    metavar="NAME",
    help="Become that user once the sockets are open.  [default: for root, who has called sudo, or nobody]",
)
@click.option(
    "--bundle", type=paths.TEXT, metavar="DIR", help="The model to run.  [default: the one shipped with mmtt]"
)
@click.option(
    "--false-positives",
    metavar="SHARE",
    help="Flag so many of the harmless flows as malicious: 1%, 0.1%.  [default: the model's choice]",
)
@click.option(
    "--id", "id_", metavar="NAME", help="This sensor's name in status and metrics.  [default: host and process id]"
)
@click.option("--log-format", metavar="text|json", help="Lines of the log on standard error.  [default: text]")
@click.option("--log-level", metavar="debug|info|warning|error", help="What is logged.  [default: info]")
@click.option(
    "--metrics-listen",
    metavar="HOST:PORT|off",
    help="Where /metrics, /health and /status are.  [default: 127.0.0.1:27760]",
)
@click.option("--duration", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Stop after so long.")
@installing.prints(
    __package__,
    _FILES,
    "an example of the settings, or a systemd unit",
)
def sniff(
    filter_: tuple[str, ...],
    interface: tuple[str, ...],
    config_path: str | None,
    form: str | None,
    duration: float | None,
    **options: Any,
) -> None:
    """Say of each connection on an interface which service and application it is, and whether it looks malicious: as
    soon as its first packets tell, until told to stop (SIGTERM, Ctrl-C).

    FILTER is tcpdump's: "tcp and not port 22". The columns are those of Zeek's mmtt.log. What is open in the end is
    finished, and counts say what became of all. SIGHUP makes logs anew that were rotated away, and loads the bundle
    again.

    It needs the capability CAP_NET_RAW, or root, until its sockets are open.

    \b
    As a service of systemd:
      mmtt sniff --print config > /etc/mmtt-sniff.yaml
      mmtt sniff --print unit > /etc/systemd/system/mmtt-sniff.service
      systemctl enable --now mmtt-sniff

    \b
    Exit status: 0 stopped
                 1 packets can't be had, or verdicts not be written, all or some
                 2 wrong settings or bundle, a mistake in FILTER, no such user
    """
    options["id"] = options.pop("id_")
    options["interface"] = ",".join(interface) or None
    options["filter"] = " ".join(filter_) or None
    options["format"] = form
    for group in ("log", "metrics"):
        for name in [name for name in options if name.startswith(f"{group}_")]:
            options[f"{group}.{name.removeprefix(f'{group}_')}"] = options.pop(name)

    def read() -> Config:
        return load(config_path, options)

    try:
        config = read()
    except ConfigError as error:
        raise Unusable(str(error)) from None
    if not config.interfaces:
        raise click.UsageError("name an interface with -i, or in the settings; `ip link` shows which there are")
    by_itself = "table" if sys.stdout.isatty() and config.directory is None else "tsv"
    form = config.format or (by_itself if config.to == "-" else "eve")

    # numpy would start a thread per core, for algebra that is not done here; and privileges can't be given up then.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Imported late: `--help` and wrong settings need no network runtime.
    from ..agent import log
    from ..bundle import BundleError
    from ..sinks import PlaceError, SinkError
    from .crew import CrewError
    from .errors import LostError, SettingsError, SniffError
    from .nursery import NurseryError
    from .service import Service

    log.configure(config.log.format, config.log.level, "sniff")

    try:
        asyncio.run(Service(config, read, form, duration).run())
    except (BundleError, ConfigError, PlaceError, SettingsError) as error:
        raise Unusable(str(error)) from None
    except (CrewError, LostError, NurseryError, SniffError, SinkError) as error:
        raise click.ClickException(str(error)) from None
