"""``mmtt lab``."""

from __future__ import annotations

from pathlib import Path

import click

from mmtt_agent import paths
from mmtt_agent.output import shown

# Without it, in an installation, there is no such command.
from ..lab import LabError

_SCENARIOS = Path(__file__).parents[1] / "lab" / "scenarios"


@click.group(short_help="Record labelled captures in a lab of network namespaces.")
def lab() -> None:
    """Real programs over emulated links on this machine; every flow's truth is known. Nothing leaves the lab."""


@lab.command()
@click.argument("scenario", type=paths.PATH)
@click.option("-o", "--out", type=paths.PATH, required=True, help="Directory for captures and truth.")
@click.option("-j", "--jobs", type=click.IntRange(1, 64), default=1, show_default=True, help="Captures made at a time.")
@click.option("--only", metavar="N,N…", help="Only these captures of each scenario, by number from 1.")
def run(scenario: Path, out: Path, jobs: int, only: str | None) -> None:
    """Run SCENARIO (a YAML file, a directory of them, or a shipped set: five-minutes, standard). Needs root.

    Writes captures.tsv, flows.tsv.zst and captures/. The same command goes on where an interrupted one stopped.
    """
    from ..lab import runner as lab_runner
    from ..lab.scenario import read

    shipped = _SCENARIOS / scenario.name
    if not scenario.exists() and scenario.name == str(scenario):
        scenario = shipped.with_suffix(".yaml") if shipped.with_suffix(".yaml").exists() else shipped
    if not scenario.exists():
        raise click.ClickException(f"{scenario}: no such scenario")
    files = sorted(scenario.glob("*.yaml")) if scenario.is_dir() else [scenario]
    try:
        # All are read before the first one runs: a mistake in the last file is not to show hours later.
        scenarios = [read(file) for file in files]
        if not scenarios:
            raise LabError(f"{scenario}: no .yaml file in it")
        failed = lab_runner.run(scenarios, out, lambda line: click.echo(shown(line), err=True), jobs, _numbers(only))
    except LabError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename or out}: {error.strerror}") from None
    if failed:
        raise click.ClickException(f"{len(failed)} captures failed (type the command again to retry them): {failed[0]}")
    click.echo(f"{shown(out)}: captures.tsv, flows.tsv.zst, captures/")


def _numbers(text: str | None) -> set[int] | None:
    if text is None:
        return None
    words = text.split(",")
    if not all(word.isdigit() and int(word) for word in words):
        raise click.UsageError(f"--only must be numbers from 1 such as 1,5,9, not {text!r}")
    return {int(word) - 1 for word in words}


@lab.command()
@click.argument("directory", type=paths.PATH)
@click.option("--pictures/--no-pictures", default=True, help="Also write a picture per service into DIRECTORY/report.")
def report(directory: Path, pictures: bool) -> None:
    """What a lab's DIRECTORY holds: flows per service, implementation, link and malicious kind."""
    from ..data.errors import DatasetError
    from ..lab.report import counts, draw

    try:
        click.echo(counts(directory))
        if pictures:
            for path in draw(directory):
                click.echo(shown(path))
    except (DatasetError, LabError) as error:
        raise click.ClickException(str(error)) from None


@lab.command()
@click.argument("recorded", type=paths.PATH)
@click.option("-o", "--out", type=paths.PATH, required=True, help="Directory for the days and their truth.")
@click.option("--seed", default=1, show_default=True, help="Other days of the same recording.")
@click.option("--ordinary", type=click.IntRange(0, 1000), default=10, show_default=True, help="Days without an attack.")
def days(recorded: Path, out: Path, seed: int, ordinary: int) -> None:
    """Compose days of the hosts in RECORDED, what `mmtt lab run day-parts` left, each with one slow attack or none.

    Connections are placed at other times; what they are of stays known. Writes captures/, pairs.tsv and days.tsv.
    """
    from ..lab.days import compose
    from ..lab.recorded import read

    try:
        compose(read(recorded), out, seed, ordinary, lambda line: click.echo(shown(line), err=True))
    except LabError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename or out}: {error.strerror}") from None
    click.echo(f"{shown(out)}: days.tsv, pairs.tsv, captures/")


@lab.command()
@click.argument("directory", type=paths.PATH)
@click.option(
    "--bundle", type=paths.TEXT, metavar="DIR", help="The model to run.  [default: the one shipped with mmtt]"
)
def incidents(directory: Path, bundle: str | None) -> None:
    """What is found of the attacks in DIRECTORY, the days of `mmtt lab days`: each after how long, and as what; and how
    many false incidents there are.
    """
    from mmtt_agent import bundle as bundles
    from mmtt_agent.classifier import Classifier

    from ..lab.found import look, report

    try:
        results = look(directory, Classifier(bundles.load(bundle)), lambda line: click.echo(shown(line), err=True))
    except (LabError, bundles.BundleError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(report(results))


@lab.command()
@click.argument("directory", type=paths.PATH)
@click.option("--data", type=paths.PATH, required=True, help="Real captures, as for `mmtt train`.")
@click.option(
    "--config", type=paths.TEXT, default="small", show_default=True, help="What to train: as for `mmtt train`."
)
@click.option("-o", "--out", type=paths.PATH, required=True, help="Directory for effect.md.")
def effect(directory: Path, data: Path, config: str, out: Path) -> None:
    """Does DIRECTORY help a model? Train without it, with it and on it alone; score on real validation captures.

    Also how well a classifier tells its flows from real ones of the same service: 0.5 is not at all.
    """
    try:
        from ..config import ConfigError, read, shipped
        from ..data.errors import DatasetError
        from ..studies.lab_effect import measure
    except ModuleNotFoundError as error:
        raise click.ClickException(f"this needs {error.name}; type: pip install 'mmtt[train]'") from None
    try:
        text = measure(
            read(shipped(Path(config))), data, directory, out, lambda line: click.echo(shown(line), err=True)
        )
    except (ConfigError, DatasetError) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename or out}: {error.strerror}") from None
    (out / "effect.md").write_text(text)
    click.echo(text)
