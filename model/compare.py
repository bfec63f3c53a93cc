"""The table of peers: other methods, and ours by halves, on the same windows and captures, with the same seeds."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from . import evaluate, peers
from .architecture import TASKS, Architecture
from .config import Config
from .dataset import Dataset
from .train import Build, fit, infer

#: Scores of peers are not calibrated.
PLAIN = dict.fromkeys(TASKS, 1.0)


def compare(config: Config, architecture: Architecture, dataset: Dataset, out: Path, say: Callable[[str], None]) -> tuple[dict, dict]:
    """Train and score everything that ours is compared with.

    Returns:
        Name -> scores on the test captures, a dict per seed (one for what has no chance in it); and about the single-task
        models: ``time``, what one model for all tasks takes of their time together.
    """
    train, validation, test = (dataset.rows(split) for split in ("train", "validation", "test"))

    def scores(logits: dict[str, np.ndarray]) -> dict:
        return evaluate.scores(dataset, test, logits, PLAIN)

    say("peers on the same captures")
    found = {"5 nearest neighbours": [scores(peers.nearest_neighbours(dataset, train, test))]}
    trees = peers.boosted_trees(dataset, train, validation, test, TASKS)
    if trees is not None:
        found["LightGBM"] = [scores(trees)]
    about: dict = {}
    if not config.evaluation.networks:
        return found, about

    def trained(name: str, build: Architecture | Build, seeded: Config):
        return fit(seeded, build, dataset, out / f"checkpoint-{re.sub(r'[^a-z0-9]+', '-', name.lower())}-seed{seeded.seed}.safetensors", say)[0]

    seeds = [dataclasses.replace(config, seed=seed) for seed in range(config.seed, config.seed + config.evaluation.seeds)]
    for name, build in peers.NETWORKS.items():
        plain = dataclasses.replace(config.training, teacher=0.0, teacher_network={}, weight_decay=0.01)
        choices = [dataclasses.replace(plain, augment=share) for share in (0.0, config.training.augment)]
        chosen = max(choices, key=lambda choice: _on_validation(
            trained(f"{name} {choice.augment}", build, dataclasses.replace(config, training=choice)), dataset, validation))
        for seeded in seeds:
            say(f"training {name}, seed {seeded.seed}")
            network = trained(f"{name} {chosen.augment}", build, dataclasses.replace(seeded, training=chosen))
            found.setdefault(name, []).append(scores(infer(network, dataset.series[test])))
    for reads in ("text", "image"):
        name = f"{config.name}, {reads} only"
        for seeded in seeds:
            say(f"training {name}, seed {seeded.seed}")
            network = trained(name, dataclasses.replace(architecture, reads=reads), seeded)
            found.setdefault(name, []).append(scores(infer(network, dataset.series[test])))
    name, alone, took = f"{config.name}, a model for each task", {}, 0.0
    for seeded in seeds:
        for task in TASKS:
            say(f"training for {task} alone, seed {seeded.seed}")
            weights = {each: getattr(config.training, each) if each == task else 0.0 for each in TASKS}
            network = trained(f"{task} alone", architecture,
                              dataclasses.replace(seeded, training=dataclasses.replace(config.training, **weights)))
            begun = time.process_time()
            alone[task] = infer(network, dataset.series[test])[task]
            took += time.process_time() - begun
        found.setdefault(name, []).append(scores(alone))
    begun = time.process_time()
    for _ in seeds:
        infer(network, dataset.series[test])
    about["time"] = (time.process_time() - begun) / took
    return found, about


def _on_validation(network, dataset: Dataset, rows: np.ndarray) -> float:
    return evaluate.headline(evaluate.scores(dataset, rows, infer(network, dataset.series[rows]), PLAIN), TASKS)
