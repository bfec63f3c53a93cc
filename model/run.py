"""``mmtt train``: data set, training, calibration, scores, bundle, card."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from . import card, evaluate, peers
from .architecture import TASKS, Architecture
from .breakdown import by_packets, confusion, mid_flow, reliability
from .calibrate import calibrate, decisions
from .card_pictures import draw
from .compare import PLAIN, compare
from .config import Config, ConfigError
from .dataset import Dataset, load_or_build
from .export import write_bundle
from .lab_windows import LAB, with_lab
from .labels import MISSING
from .split import SPLITS, seen_before, split_recordings
from .train import infer
from .trainings import Trainings
from .unknown import better, left_out


def run(
    config: Config,
    data: Path,
    lab: Path | None,
    out: Path,
    say: Callable[[str], None],
    command: str,
    tensorboard: Path | None = None,
    processes: int = 1,
) -> dict:
    """Train on the captures in ``data``, and on the traffic lab's in ``lab``, and leave a bundle in ``out``, beside the data set and the checkpoints.
    ``command`` is what was typed, for the card. Each seed's training writes its figures to a directory in ``tensorboard``. With
    several ``processes`` so many trainings go on side by side.

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
        return _run(config, architecture, datasets, trainings, command, tensorboard)


def _datasets(
    config: Config, data: Path, lab: Path | None, cache: Path, say: Callable[[str], None]
) -> dict[str, Dataset]:
    """By what they are of; what is to be trained on comes first."""
    dataset = load_or_build(data, cache, config.data, say)
    for task, names in (("services", dataset.services), ("applications", dataset.applications)):
        if not names:
            raise ConfigError(f"data: min_captures {config.data.min_captures} leaves no {task}; lower it")
    datasets = {"the public captures": dataset}
    if lab:
        datasets = {"the public captures and the lab's": with_lab(dataset, lab, config.data, say), **datasets}
    return datasets


def _run(
    config: Config,
    architecture: Architecture,
    datasets: dict[str, Dataset],
    trainings: Trainings,
    command: str,
    tensorboard: Path | None,
) -> dict:
    out, dataset = trainings.out, next(iter(datasets.values()))
    train, validation, test = (dataset.rows(split) for split in SPLITS)
    seeds = [
        trainings.begin(f"seed{seed}", dataclasses.replace(config, seed=seed), architecture, dataset,
                        tensorboard / f"seed{seed}" if tensorboard else None)
        for seed in range(config.seed, config.seed + config.evaluation.seeds)
    ]  # fmt: skip
    unknown = left_out(config.compared(), architecture, dataset, trainings)
    sources = _sources_left_out(config, architecture, datasets, trainings)
    figures: dict = {"seeds": []}
    figures["peers"], figures["about peers"] = compare(config, architecture, datasets, trainings)
    figures["unknown"] = unknown()
    by_energy = ("application",) if better(figures["unknown"]) == "energy" else ()
    chosen = -1.0
    for seed, training in enumerate(seeds, config.seed):
        model = training()
        logits = infer(model, dataset.series[validation])
        calibration = calibrate(config.decision, dataset, validation, logits, by_energy)
        temperatures = calibration.temperatures
        answers = infer(model, dataset.series[test])
        figures["seeds"].append(evaluate.scores(dataset, test, answers, temperatures))
        score = evaluate.headline(evaluate.scores(dataset, validation, logits, temperatures), TASKS)
        if score > chosen:
            chosen, shipped = score, (model, calibration, seed)
            figures["test"] = figures["seeds"][-1]
            figures["shipped_seconds"] = trainings.seconds(f"seed{seed}", dataset)
            figures["decisions"] = decisions(dataset, test, answers, calibration)
            figures["coverage"] = evaluate.coverage(dataset, test, answers)
            figures["packets seen"] = by_packets(dataset, test, partial(infer, model), temperatures)
            figures["confusion"] = confusion(dataset, test, answers["service"])
            figures["reliability"] = reliability(dataset, test, answers, temperatures)
        figures.setdefault("mid-flow", []).append(mid_flow(dataset, test, partial(infer, model), temperatures))

    order = np.random.default_rng(config.seed).permutation(len(dataset))
    cut = len(order) * 8 // 10
    figures["random split"] = evaluate.scores(
        dataset, order[cut:], peers.nearest_neighbours(dataset, order[:cut], order[cut:]), PLAIN
    )
    figures["sources left out"] = sources()
    figures["seconds"], figures["trained on"] = trainings.all_seconds(), trainings.trained_on
    figures["seen before"] = {
        split: seen_before(dataset.series[rows], dataset.series[train])
        for split, rows in (("validation", validation), ("test", test))
    }

    model, calibration, seed = shipped
    trained = {
        "seed": seed,
        "split_seed": config.data.split_seed,
        "windows": {split: len(dataset.rows(split)) for split in SPLITS},
        "captures": {split: len(np.unique(dataset.capture[dataset.rows(split)])) for split in SPLITS},
        "data_sha256": dataset.digest(),
        "parameters": sum(p.numel() for p in model.parameters()),
        "architecture": dataclasses.asdict(architecture),
        "test": {
            "service_macro_f1": round(figures["test"]["service"].get("macro_f1", float("nan")), 4),
            "application_macro_f1": round(figures["test"]["application"].get("macro_f1", float("nan")), 4),
            "malicious_auroc": round(figures["test"]["malicious"]["auroc"], 4),
        },
    }
    write_bundle(
        out,
        model,
        name=config.name,
        services=dataset.services,
        applications=dataset.applications,
        calibration=calibration,
        trained=trained,
    )
    text = card.write(config, command, dataset, figures, trained, calibration, draw(out, dataset.services, figures))
    new = out / ".CARD.md.new"
    new.write_text(text, encoding="utf-8")
    os.replace(new, out / "CARD.md")
    return figures


def _sources_left_out(
    config: Config, architecture: Architecture, datasets: dict[str, Dataset], trainings: Trainings
) -> Callable[[], dict[str, list[dict]]]:
    """Begin trainings without whole repositories; what is returned gives the scores on malicious, ours and LightGBM's, one entry
    per fold. What was trained on the first of ``datasets`` is called by its name alone."""
    folds, begun = config.evaluation.source_folds, []
    if not config.evaluation.without_lab:
        datasets = dict(list(datasets.items())[:1])
    for on, dataset in datasets.items() if folds else ():
        trained_on = f", trained on {on}" if begun else ""
        names = sorted({source for source in dataset.sources if source != LAB})
        source = np.array([MISSING if name == LAB else names.index(name) for name in dataset.sources])[dataset.capture]
        known = np.flatnonzero((dataset.malicious != MISSING) & (source != MISSING))
        fold_of = np.full(len(dataset), MISSING)
        fold_of[known] = split_recordings(
            source[known], [dataset.malicious[known]], names, (1.0,) * folds, config.data.split_seed
        )
        for fold in range(folds):
            left_out = fold_of == fold
            split = np.where(dataset.split == SPLITS.index("validation"), 1, 0)
            # A copy of a left-out recording in another repository teaches nothing either.
            split[np.isin(dataset.recording, dataset.recording[left_out])] = MISSING
            split[left_out] = SPLITS.index("test")
            parted = dataclasses.replace(dataset, split=split)
            name = f"without sources {fold + 1} of {folds}{trained_on}"
            begun.append((
                parted,
                config.compared_name() + trained_on, trainings.begin(name, config.compared(), architecture, parted),
                f"LightGBM{trained_on}",
                trainings.start(peers.boosted_trees, parted, *(parted.rows(each) for each in SPLITS), ("malicious",)),
            ))  # fmt: skip
    return partial(_without_sources, begun)


def _without_sources(begun: list) -> dict[str, list[dict]]:
    result: dict[str, list[dict]] = {}
    for parted, our_name, ours, their_name, trees in begun:
        rows = parted.rows("test")
        answers = {our_name: infer(ours(), parted.series[rows])["malicious"]}
        if trees() is not None:
            answers[their_name] = trees()["malicious"]
        for by, logits in answers.items():
            scores = evaluate.malicious_scores(parted, rows, logits, 1.0)
            scores["repositories"] = sorted({parted.sources[capture] for capture in parted.capture[rows].tolist()})
            result.setdefault(by, []).append(scores)
    return result
