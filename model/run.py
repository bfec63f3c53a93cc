"""``mmtt train``: data set, training, calibration, scores, bundle, card."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .card import card
from .card.pictures import draw
from .config import Config, ConfigError
from .data.dataset import Dataset, load_or_build
from .data.lab_windows import with_lab
from .data.named import read as read_named
from .data.split import SPLITS, seen_before
from .evaluation import evaluate
from .evaluation.breakdown import by_packets, confusion, mid_flow, reliability
from .evaluation.calibrate import calibrate, decisions
from .evaluation.unknown import better
from .export.export import write_bundle
from .incidents.budget import Budget, budgets
from .incidents.make import connections, make
from .incidents.study import Study
from .network.architecture import Architecture, Model
from .network.infer import infer
from .studies import by_capture, cross_site, unknown_applications
from .studies import own_site as own_sites
from .studies.compare import compare
from .training.trainings import Trainings


def run(
    config: Config,
    data: Path,
    lab: Path | None,
    out: Path,
    say: Callable[[str], None],
    command: str,
    tensorboard: Path | None = None,
    processes: int = 1,
) -> dict[str, Any]:
    """Train on the captures in ``data``, and on the traffic lab's in ``lab``, and leave a bundle in ``out``, beside the
    data set and the checkpoints. ``command`` is what was typed, for the card. Each seed's training writes its figures
    to a directory in ``tensorboard``. With several ``processes`` so many trainings go on side by side.

    Returns:
        The figures that CARD.md shows.

    Raises:
        ConfigError, DatasetError, ExportError: one line each.
    """
    for key, sizes in (
        ("training: teacher_network", config.training.teacher_network),
        ("architecture", config.architecture),
    ):
        try:
            architecture = Architecture(**sizes)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{key}: {error}") from None
    new = [path for path in (out / "dataset.npz", out) if not path.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        datasets = _datasets(config, data, lab, out / "dataset.npz", say)
    except Exception:
        # Data that is refused leaves nothing behind; a run that is interrupted keeps what it has.
        for path in new:
            if path.is_dir():
                path.rmdir()
            else:
                path.unlink(missing_ok=True)
        raise
    with Trainings(out, say, processes, config.training.threads) as trainings:
        return _run(config, architecture, datasets, data, trainings, command, tensorboard)


def incidents(config: Config, data: Path, lab: Path | None, out: Path, say: Callable[[str], None]) -> Study:
    """The second model of a finished run in ``out``, from its checkpoints, with the figures of the card.

    Raises:
        ConfigError, DatasetError: one line each.
    """
    dataset, architecture = _finished(config, data, lab, out, say)
    with Trainings(out, say, 1, config.training.threads) as trainings:
        shipped = trainings.begin(f"seed{config.seed}", config, architecture, dataset)
        left_out = cross_site.left_out(config, architecture, dataset, trainings)
        known, logits = left_out.answers()
        temperatures = calibrate(config.decision, dataset, known, logits).temperatures
        return make(data, out, dataset, left_out, shipped(), temperatures, (known, logits), say)


def own_site(
    config: Config, data: Path, lab: Path | None, out: Path, say: Callable[[str], None]
) -> tuple[list[own_sites.SiteResult], list[Budget]]:
    """What sites' own answers are worth on the networks of a finished run in ``out``, and how many alerts a day they
    get by thresholds of their own.

    Raises:
        ConfigError, DatasetError: one line each.
    """
    dataset, architecture = _finished(config, data, lab, out, say)
    named = read_named(data, dataset, config.training.threads, say)
    with Trainings(out, say, 1, config.training.threads) as trainings:
        shipped = trainings.begin(f"seed{config.seed}", config, architecture, dataset)()
        assert isinstance(shipped, Model), "what an Architecture builds"
        left_out = cross_site.left_out(config, architecture, dataset, trainings)
        sites = own_sites.study(named, dataset, left_out, shipped, say)
        found = connections(data, out, dataset, left_out, shipped, say)
        if found is None:
            return sites, []
        temperature = calibrate(config.decision, dataset, *left_out.answers()).temperatures["malicious"]
        return sites, budgets(*found, temperature, [*dataset.services])


def _finished(
    config: Config, data: Path, lab: Path | None, out: Path, say: Callable[[str], None]
) -> tuple[Dataset, Architecture]:
    """The data set and the architecture of a finished run."""
    if not (out / f"checkpoint-seed{config.seed}.safetensors").exists():
        raise ConfigError(f"{out}: no finished run; type `mmtt train CONFIG --data DIR -o {out}` first")
    dataset = next(iter(_datasets(config, data, lab, out / "dataset.npz", say).values()))
    return dataset, Architecture(**config.architecture)


def _datasets(
    config: Config, data: Path, lab: Path | None, cache: Path, say: Callable[[str], None]
) -> dict[str, Dataset]:
    """By what they are of; what is to be trained on comes first."""
    dataset = load_or_build(data, cache, config.data, say)
    for task, names in (("services", dataset.services), ("applications", dataset.applications)):
        if names:
            continue
        if not dataset.report[f"dropped_{task}"]:
            what = task.removesuffix("s")
            raise ConfigError(
                f"{data}: the {what} of no flow is known; name some, or add captures whose flows have names"
            )
        raise ConfigError(f"data: min_sites {config.data.min_sites} leaves no {task}; lower it")
    datasets = {"the public captures": dataset}
    if lab:
        datasets = {"the public captures and the lab's": with_lab(dataset, lab, config.data, say), **datasets}
    return datasets


def _run(
    config: Config,
    architecture: Architecture,
    datasets: dict[str, Dataset],
    data: Path,
    trainings: Trainings,
    command: str,
    tensorboard: Path | None,
) -> dict[str, Any]:
    out, dataset = trainings.out, next(iter(datasets.values()))
    train, validation, test = (dataset.rows(split) for split in SPLITS)
    seeds = [
        trainings.begin(f"seed{seed}", dataclasses.replace(config, seed=seed), architecture, dataset,
                        tensorboard / f"seed{seed}" if tensorboard else None)
        for seed in range(config.seed, config.seed + config.evaluation.seeds)
    ]  # fmt: skip
    left_out = cross_site.left_out(config, architecture, dataset, trainings)
    unknown = unknown_applications.left_out(config.compared(), architecture, dataset, trainings)
    captures = by_capture.begin(config, architecture, dataset, trainings) if config.evaluation.by_capture else None
    figures: dict[str, Any] = {"seeds": []}
    figures["peers"], figures["about peers"] = compare(config, architecture, datasets, trainings)
    figures["unknown"] = unknown()
    by_energy = ("application",) if better(figures["unknown"]) == "energy" else ()
    # Sites that their models had not seen say how sure an answer must be; the test sites only what comes of it.
    known, logits = left_out.answers()
    calibration = calibrate(config.decision, dataset, known, logits, by_energy)
    temperatures = calibration.temperatures
    models = [training() for training in seeds]
    answered = [infer(model, dataset.series[test], dataset.timed[test]) for model in models]
    for model, answers in zip(models, answered, strict=True):
        figures["seeds"].append(evaluate.by_part(dataset, test, answers, temperatures))
        figures.setdefault("mid-flow", []).append(mid_flow(dataset, test, partial(infer, model), temperatures))
    model, answers = models[0], answered[0]
    figures["test"] = figures["seeds"][0]
    within = evaluate.within(dataset, test, answers)
    told_apart = {name: within[name] for name in ("all", "encrypted")}
    figures["intervals"] = {
        name: evaluate.site_intervals(dataset, rows, theirs) for name, (rows, theirs) in told_apart.items()
    }
    figures["shipped_seconds"] = trainings.seconds(f"seed{config.seed}", dataset)
    figures["decisions"] = {
        name: decisions(dataset, rows, theirs, calibration) for name, (rows, theirs) in told_apart.items()
    }
    figures["coverage"] = evaluate.coverage(dataset, test, answers)
    figures["packets seen"] = by_packets(dataset, test, partial(infer, model), temperatures)
    figures["confusion"] = confusion(dataset, test, answers["service"])
    figures["reliability"] = reliability(dataset, test, answers, temperatures)
    figures["by capture"] = captures() if captures else None
    second = make(data, out, dataset, left_out, model, temperatures, (known, logits), trainings.say)
    figures["incidents"] = second.figures
    figures["seconds"], figures["trained on"] = trainings.all_seconds(), trainings.trained_on
    figures["seen before"] = {
        split: seen_before(dataset.series[rows], dataset.series[train])
        for split, rows in (("validation", validation), ("test", test))
    }

    assert isinstance(model, Model), "what an Architecture builds"
    trained = {
        "seed": config.seed,
        "split_seed": config.data.split_seed,
        "windows": {split: len(dataset.rows(split)) for split in SPLITS},
        "captures": {split: len(np.unique(dataset.capture[dataset.rows(split)])) for split in SPLITS},
        "sites": {split: len(np.unique(dataset.site[dataset.rows(split)])) for split in SPLITS},
        "data_sha256": dataset.digest(),
        "parameters": sum(p.numel() for p in model.parameters()),
        "architecture": dataclasses.asdict(architecture),
        "test": {
            "service_macro_f1": round(figures["test"]["all"]["service"].get("macro_f1", float("nan")), 4),
            "application_macro_f1": round(figures["test"]["all"]["application"].get("macro_f1", float("nan")), 4),
            "malicious_auroc": round(figures["test"]["all"]["malicious"]["auroc"], 4),
        },
    }
    write_bundle(
        out,
        model,
        name=config.name,
        services=dataset.services,
        applications=dataset.applications,
        kinds=dataset.kinds,
        calibration=calibration,
        incidents=second.section,
        trained=trained,
    )
    text = card.write(config, command, dataset, figures, trained, calibration, draw(out, dataset.services, figures))
    new = out / ".CARD.md.new"
    new.write_text(text, encoding="utf-8")
    os.replace(new, out / "CARD.md")
    return figures
