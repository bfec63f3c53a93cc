"""Does the lab help? Trainings without it, with it and on it alone, scored on the *validation* captures of real
networks; and how well a classifier tells the lab's flows from real ones of the same service, which is how far it is
from life.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .. import systems
from ..config import Config
from ..data.dataset import Dataset, load_or_build
from ..data.lab_windows import lab_rows, with_lab
from ..data.split import SPLITS
from ..evaluation import evaluate
from ..network.architecture import TASKS, Architecture
from ..network.infer import infer
from ..training.teacher import fit_taught
from .compare import PLAIN

#: Flows of either side that a service needs to be compared.
_LEAST = 30


def measure(config: Config, data: Path, lab: Path, out: Path, say: Callable[[str], None]) -> str:
    """Train, score, compare; returns the tables as Markdown. Checkpoints and the data set stay in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    plain = load_or_build(data, out / "dataset.npz", config.data, say)
    services = with_lab(plain, lab, dataclasses.replace(config.data, lab_malicious=False), say)
    both = with_lab(plain, lab, dataclasses.replace(config.data, lab_malicious=True), say)
    lines = [
        "| trained on | by | service F1 | service accuracy | application F1 | malicious AUROC | recall at 1 % FP |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, dataset in (
        ("real captures", plain),
        ("real captures and the lab's services", services),
        ("real captures and all of the lab", both),
        ("the lab alone", _lab_alone(both)),
    ):
        validation = dataset.rows("validation")
        for by, answer in (("mmtt", _ours), ("LightGBM", _trees)):
            say(f"training {by} on {name}")
            logits = answer(
                config, dataset, validation, out / ("checkpoint-" + re.sub(r"\W+", "-", name) + ".safetensors"), say
            )
            if logits is None:
                continue
            figures = evaluate.scores(dataset, validation, logits, PLAIN)
            lines.append(
                f"| {name} | {by} | {figures['service']['macro_f1']:.3f} | {figures['service']['accuracy']:.3f} | "
                f"{figures['application']['macro_f1']:.3f} | {figures['malicious']['auroc']:.3f} | "
                f"{figures['malicious']['recall_at_1_percent']:.3f} |"
            )
    lines += ["", *_told_apart(both, say)]
    return "\n".join(lines) + "\n"


def _ours(
    config: Config, dataset: Dataset, rows: np.ndarray, checkpoint: Path, say: Callable[[str], None]
) -> dict[str, np.ndarray] | None:
    model, _ = fit_taught(config, Architecture(**config.architecture), dataset, checkpoint, say)
    return infer(model, dataset.series[rows], dataset.timed[rows])


def _trees(
    config: Config, dataset: Dataset, rows: np.ndarray, checkpoint: Path, say: Callable[[str], None]
) -> dict[str, np.ndarray] | None:
    return systems.boosted_trees(dataset, dataset.rows("train"), rows, rows, TASKS)


def _lab_alone(dataset: Dataset) -> Dataset:
    split = dataset.split.copy()
    split[(split == SPLITS.index("train")) & ~lab_rows(dataset)] = -1
    return dataclasses.replace(dataset, split=split)


def _told_apart(dataset: Dataset, say: Callable[[str], None]) -> list[str]:
    """A table: per service (harmless first windows of the training part) and for malicious ones, the AUROC of LightGBM
    at telling lab from real, in five folds by recording, and what it went by."""
    import lightgbm

    say("telling the lab from life")
    lab, usable = lab_rows(dataset), (dataset.split == SPLITS.index("train")) & (dataset.window == 0)
    groups = [
        (name, usable & (dataset.service == number) & (dataset.malicious != 1))
        for number, name in enumerate(dataset.services)
    ]
    groups.append(("malicious, all services", usable & (dataset.malicious == 1)))
    lines = [
        "| flows of | real | lab | AUROC of telling them apart | told by (share of gain) |",
        "|---|---|---|---|---|",
    ]
    for name, chosen in groups:
        rows = np.flatnonzero(chosen)
        label = lab[rows].astype(int)
        if min(label.sum(), (1 - label).sum()) < _LEAST:
            continue
        names, recording = np.unique(dataset.recording[rows], return_inverse=True)
        fold = np.random.default_rng(1).permutation(len(names))[recording] % 5
        points = systems.raw_points(dataset.series[rows])
        scores, gain = np.zeros(len(rows)), np.zeros(points.shape[1])
        weight = np.where(label == 1, (1 - label).sum() / label.sum(), 1.0)
        for part in range(5):
            inside = fold == part
            if not inside.any() or len(np.unique(label[~inside])) < 2:
                continue
            booster = lightgbm.train(
                {"objective": "binary", "verbose": -1, "num_threads": 1, "num_leaves": 15, "seed": 1},
                lightgbm.Dataset(points[~inside], label[~inside], weight=weight[~inside]),
                60,
            )
            scores[inside] = booster.predict(points[inside])
            gain += booster.feature_importance("gain")
        most = np.argsort(-gain)[:4]
        half = points.shape[1] // 2
        told = ", ".join(
            f"{'size' if at < half else 'gap'} {at % half + 1} ({gain[at] / gain.sum():.0%})" for at in most
        )
        lines.append(f"| {name} | {(1 - label).sum()} | {label.sum()} | {evaluate.auroc(label, scores):.3f} | {told} |")
    return lines
