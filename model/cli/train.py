"""``mmtt train``."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path

import click

from mmtt_agent import paths
from mmtt_agent.output import shown


@click.command(short_help="Train a model and write its bundle.")
@click.argument("config", type=paths.PATH)
@click.option(
    "--data",
    type=paths.PATH,
    required=True,
    help="Directory with captures.tsv, flows.tsv.zst and captures/, or one that `mmtt dataset build` made.",
)
@click.option(
    "--lab",
    type=paths.PATH,
    help="Directory of `mmtt lab run`: its captures are trained on, too, and never scored on.",
)
@click.option(
    "-o",
    "--out",
    type=paths.PATH,
    required=True,
    help="Directory for the bundle, and for what lets an interrupted run go on.",
)
@click.option("--quick", is_flag=True, help="Train only what ships: one seed, no repositories left out.")
@click.option(
    "--halves", is_flag=True, help="For the card's table train ours by one modality and for one task, too (hours)."
)
@click.option("--networks", is_flag=True, help="For the card's table train other networks, too (hours).")
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Trainings that go on side by side; what comes out is the same.",
)
@click.option(
    "--tensorboard",
    type=paths.Named(path_type=Path, file_okay=False, readable=False),
    help="Directory for TensorBoard: loss, learning rate and scores of each epoch, per seed.",
)
def train(
    config: Path,
    data: Path,
    lab: Path | None,
    out: Path,
    quick: bool,
    halves: bool,
    networks: bool,
    processes: int,
    tensorboard: Path | None,
) -> None:
    """Train the model that CONFIG (a YAML file, or the name of a shipped one: small, literature) describes.

    Writes model.onnx, bundle.yaml and CARD.md. The same command goes on where an interrupted one stopped.

    \b
    On several GPUs of a machine, or cores:
      torchrun --nproc-per-node 4 $(command -v mmtt) train CONFIG ...
    """
    try:
        from .. import run as training
        from ..config import ConfigError, Evaluation, read, shipped
        from ..data.errors import DatasetError
        from ..data.taxonomy import TaxonomyError
        from ..export.export import ExportError
        from ..training import distributed
        from ..training.train import help_out
        from ..training.trainings import TrainingError
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"`mmtt train` needs {error.name}, which is not installed; type: pip install 'mmtt[train]'"
        ) from None
    if tensorboard and not importlib.util.find_spec("tensorboard"):
        raise click.ClickException(
            "--tensorboard needs tensorboard, which is not installed; type: pip install 'mmtt[tensorboard]'"
        )
    if quick and (halves or networks):
        raise click.UsageError(
            "--quick trains only what ships, --halves and --networks what it is compared with; use one"
        )
    options = {"--lab DIR": lab, "--quick": quick, "--halves": halves, "--networks": networks}
    command = " ".join(
        ["mmtt train", config.name, "--data DIR", *(name for name, given in options.items() if given), "-o DIR"]
    )
    try:
        told = read(shipped(config))
        if quick:
            told = dataclasses.replace(told, evaluation=Evaluation())
        if halves or networks:
            asked = dataclasses.replace(told.evaluation, halves=halves, networks=networks)
            told = dataclasses.replace(told, evaluation=asked)
        with distributed.joined() as helping:
            if processes > 1 and distributed.size() > 1:
                raise click.ClickException(
                    "--processes is for trainings side by side, torchrun for one on many devices; use one"
                )
            if helping:
                help_out()
                return
            training.run(
                told, data, lab, out, lambda line: click.echo(shown(line), err=True), command, tensorboard, processes
            )
    except (ConfigError, DatasetError, ExportError, TaxonomyError, TrainingError) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename or out}: {error.strerror}") from None
    click.echo(f"{shown(out)}: model.onnx, bundle.yaml, CARD.md")
