"""``mmtt agent``: serve verdicts to Zeek."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import click

from .. import installing, paths
from ..output import Unusable
from . import capture_end
from . import config as settings

#: Of ``install``, by what they are called on the command line.
_FILES = {
    "config": "mmtt-agent.yaml",
    "unit": "mmtt-agent.service",
    "learn-unit": "mmtt-learn.service",
    "learn-timer": "mmtt-learn.timer",
    "dashboard": "mmtt-dashboard.json",
}


@click.command(short_help="Serve verdicts to Zeek.")
@click.option(
    "-c",
    "--config",
    "config_path",
    type=paths.TEXT,
    metavar="FILE",
    help="YAML file with settings; options override it.",
)
@click.option("--url", metavar="URL", help=f"Zeek's WebSocket API.  [default: {settings.Config.url}]")
@click.option(
    "--bundle", type=paths.TEXT, metavar="DIR", help="The model to run.  [default: the one shipped with mmtt]"
)
@click.option(
    "--false-positives",
    metavar="SHARE",
    help="Flag so many of the harmless flows as malicious: 1%, 0.1%.  [default: the model's choice]",
)
@click.option("--threads", type=int, metavar="N", help=f"Classify on N cores.  [default: {settings.Config.threads}]")
@click.option("--id", "agent_id", metavar="NAME", help="This agent's name for Zeek.  [default: host and process id]")
@click.option("--log-format", metavar="text|json", help=f"Lines of the log.  [default: {settings.Log.format}]")
@click.option(
    "--log-level",
    metavar="debug|info|warning|error",
    help=f"What is logged.  [default: {settings.Log.level}; with --offline: warning]",
)
@click.option(
    "--metrics-listen",
    metavar="HOST:PORT|off",
    help="Where /metrics, /health and /status are.  [default: 127.0.0.1:27760]",
)
@click.option("--offline", is_flag=True, help="For `zeek -r`: verdicts don't depend on what arrives together.")
@click.option(
    "--exit-with-zeek",
    is_flag=True,
    help="Stop when Zeek closes the connection, rather than wait for another.",
)
@installing.prints(
    __package__,
    _FILES,
    "an example of the settings, a systemd unit (the agent's, or for learning once a week), or a dashboard for Grafana",
)
def agent(
    config_path: str | None,
    url: str | None,
    bundle: str | None,
    false_positives: str | None,
    threads: int | None,
    agent_id: str | None,
    log_format: str | None,
    log_level: str | None,
    metrics_listen: str | None,
    offline: bool,
    exit_with_zeek: bool,
) -> None:
    """Connect to Zeek, say hello, and answer its batches of flows until told to stop (SIGTERM).

    SIGHUP loads the bundle again, or the one that the settings now name, and runs it from the next flow on. Where it
    can't be used the old one goes on, and the log says why.

    \b
    As a service of systemd:
      mmtt agent --print config > /etc/mmtt-agent.yaml
      mmtt agent --print unit > /etc/systemd/system/mmtt-agent.service
      systemctl enable --now mmtt-agent

    \b
    Exit status: 0 stopped, or Zeek ended (--exit-with-zeek)
                 1 Zeek can't be reached (--exit-with-zeek)
                 2 wrong settings or bundle
    """
    options: dict[str, Any] = {"url": url, "bundle": bundle, "threads": threads, "id": agent_id}
    options["log.format"] = log_format
    options["false_positives"] = false_positives
    options["metrics.listen"] = "off" if offline else metrics_listen
    options["log.level"] = log_level or ("warning" if offline else None)

    def read() -> settings.Config:
        return settings.load(config_path, options)

    try:
        config = read()
    except settings.ConfigError as error:
        raise Unusable(str(error)) from None

    capture = os.environ.get(capture_end.VARIABLE) if exit_with_zeek else None
    looks = capture_end.tell(capture) if capture else None  # noqa: F841 - held for as long as the agent runs

    # numpy would start a thread per core, for algebra that is not done here.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Imported late: `--help` and wrong settings need no network runtime.
    from .. import bundle as bundles
    from ..classifier import Classifier
    from ..record import Recorder, RecordError
    from ..record.model import embedding
    from . import chosen, log, service

    def load(config: settings.Config) -> Classifier:
        bundle = chosen.bundle(config)
        # One thread inside the network, and as many networks at once as there are threads: better than the reverse.
        return embedding(bundle, log.logger.warning) if memory else Classifier(bundle, threads=1)

    log.configure(config.log.format, config.log.level)
    memory = None
    try:
        if config.record.directory:
            memory = Recorder(
                Path(config.record.directory),
                config.id,
                config.record.keep_days,
                config.record.keep_bytes,
                log.logger.error,
                log.logger.info,
                waits=offline,  # nobody is late for it
            )
        serve = service.Service(config, load, read, offline=offline, exit_with_zeek=exit_with_zeek, memory=memory)
        asyncio.run(serve.run())
    except RecordError as error:
        raise Unusable(f"record.directory: {error}") from None
    except (bundles.BundleError, settings.ConfigError) as error:
        raise Unusable(str(error)) from None
    except service.ServiceError as error:
        raise click.ClickException(str(error)) from None
