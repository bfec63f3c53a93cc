"""``mmtt agent``: serve verdicts to Zeek."""

from __future__ import annotations

import asyncio
import sys

import click

from . import config as settings


class _Unusable(click.ClickException):
    """Wrong settings or bundle: starting again would not help."""

    exit_code = 2


@click.command(short_help="Serve verdicts to Zeek.")
@click.option("-c", "--config", "config_path", metavar="FILE", help="YAML file with settings; options override it.")
@click.option("--url", metavar="URL", help="Zeek's WebSocket API.  [default: ws://127.0.0.1:27759/v1/messages/json]")
@click.option("--bundle", metavar="DIR", help="The model to run.  [default: the one shipped with mmtt]")
@click.option("--threads", type=int, metavar="N", help="Classify on N cores.  [default: 1]")
@click.option("--id", "agent_id", metavar="NAME", help="This agent's name for Zeek.  [default: host and process id]")
@click.option("--log-format", type=click.Choice(["text", "json"]), help="Lines of the log.  [default: text]")
@click.option("--offline", is_flag=True, help="For `zeek -r`: verdicts don't depend on what arrives together.")
@click.option("--exit-with-zeek", is_flag=True, help="Stop when Zeek closes the connection, rather than wait for another.")
def agent(config_path, url, bundle, threads, agent_id, log_format, offline, exit_with_zeek) -> None:
    """Connect to Zeek, say hello, and answer its batches of flows until told to stop (SIGTERM).

    \b
    Exit status: 0 stopped, or Zeek ended (--exit-with-zeek)
                 1 Zeek can't be reached (--exit-with-zeek)
                 2 wrong settings or bundle
    """
    try:
        config = settings.load(
            config_path,
            {"url": url, "bundle": bundle, "threads": threads, "id": agent_id, "log.format": log_format},
        )
    except settings.ConfigError as error:
        raise _Unusable(str(error)) from None

    # Imported late: `--help` and wrong settings need no network runtime.
    from .. import bundle as bundles
    from ..classifier import Classifier
    from . import log, service

    log.configure(config.log.format, config.log.level)
    try:
        # One thread inside the network, and as many networks at once as there are threads: better than the reverse.
        classifier = Classifier(bundles.load(config.bundle), threads=1)

        async def serve() -> None:
            await service.Service(
                config, classifier.classify, classifier.model, offline=offline, exit_with_zeek=exit_with_zeek
            ).run()

        log.logger.info("agent %s with model %s", config.id, classifier.model)
        asyncio.run(serve())
    except (bundles.BundleError, settings.ConfigError) as error:
        raise _Unusable(str(error)) from None
    except service.ServiceError as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        sys.exit(1)
