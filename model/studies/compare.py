"""The table of peers: other methods, and ours by halves, on the same windows and captures, with the same seeds."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from .. import systems
from ..config import Config, Training
from ..data.dataset import Dataset
from ..evaluation import evaluate
from ..network.architecture import TASKS, Architecture, Network
from ..network.infer import infer
from ..training.train import Build
from ..training.trainings import Trainings

#: Scores of peers are not calibrated.
PLAIN = dict.fromkeys(TASKS, 1.0)
#: The tasks that a model of its own is trained for.
SINGLE = TASKS[:3]

_Key = TypeVar("_Key", bound=tuple[Any, ...])
#: Logits by task.
_Logits = dict[str, np.ndarray]


def compare(
    config: Config, architecture: Architecture, datasets: dict[str, Dataset], trainings: Trainings
) -> tuple[dict[str, list[evaluate.Figures]], evaluate.Figures]:
    """Train and score everything that ours is compared with.

    Args:
        datasets: by what the card calls them, first what ours is trained on. Peers are trained on what is better for
            them by the validation captures. Validation and test windows are the same in all, and first come the same
            classes.

    Returns:
        Name -> scores on the test sites, a dict per seed (one for what has no chance in it); and about them
        ``time``, what one model for all tasks takes of the time of single-task models together, and ``trained on``,
        peer -> data set, where there are several.
    """
    trainings.say("peers on the same captures")
    pretrained, ours, config = bool(config.training.pretraining), config.compared_name(), config.compared()
    dataset = next(iter(datasets.values()))
    about: evaluate.Figures = {"trained on": {}}
    validation, test = dataset.rows("validation"), dataset.rows("test")
    seeds = [
        dataclasses.replace(config, seed=seed)
        for seed in range(config.seed, config.seed + min(config.evaluation.seeds, config.evaluation.peer_seeds))
    ]

    def begin(
        name: str, build: Architecture | Build, data: Dataset, training: Training, of: list[Config] = seeds
    ) -> list[Callable[[], Network]]:
        return [
            trainings.begin(f"{name} seed{each.seed}", dataclasses.replace(each, training=training), build, data)
            for each in of
        ]

    def score(logits: _Logits) -> evaluate.Figures:
        return evaluate.by_part(dataset, test, logits, PLAIN)

    def ask(network: Network, rows: np.ndarray) -> _Logits:
        return infer(network, dataset.series[rows], dataset.timed[rows])

    def best(peer: str, on_validation: dict[_Key, _Logits]) -> _Key:
        """The key of the answers that score best on the validation sites; a key's first part is a data set."""
        chosen = max(on_validation, key=lambda key: evaluate.headline(
            evaluate.scores(dataset, validation, on_validation[key], PLAIN), TASKS))  # fmt: skip
        if len(datasets) > 1:
            about["trained on"][peer] = chosen[0]
        return chosen

    # What does not wait for a choice is begun first, and asked for last: with several processes none has nothing to do.
    without_seeds = {
        (peer, on): trainings.start(answers, data)
        for peer, answers in (("5 nearest neighbours", _nearest), ("LightGBM", _trees))
        for on, data in datasets.items()
    }

    # Like ours, but for what is ours: peers learn from the labels alone, and augmentation is theirs to take or leave.
    def plain(peer: str, augment: float) -> Training:
        epochs = max(1, round(systems.EPOCHS[peer] * config.training.epochs))
        return dataclasses.replace(
            config.training, teacher=0.0, teacher_network={}, weight_decay=0.01, epochs=epochs, augment=augment
        )

    choices: dict[tuple[str, str, float], Callable[[], Network]] = {}
    runs: dict[str, list[Callable[[], Network]]] = {}
    single: dict[str, list[Callable[[], Network]]] = {}
    for on, data in list(datasets.items())[1:] if config.evaluation.without_lab else ():
        runs[f"{ours}, trained on {on}"] = begin(f"ours {on}", architecture, data, config.training)
    if pretrained and (runs or config.evaluation.halves):
        runs[ours] = begin(ours, architecture, dataset, config.training)
    if config.evaluation.halves:
        for task in SINGLE:
            weights: dict[str, Any] = {each: 0.0 for each in TASKS if each != task}
            single[task] = begin(
                f"{task} alone", architecture, dataset, dataclasses.replace(config.training, **weights)
            )
        for reads in ("text", "image"):
            half = dataclasses.replace(architecture, reads=reads)
            runs[f"{ours}, {reads} only"] = begin(f"{reads} only", half, dataset, config.training)
    if config.evaluation.networks:
        for peer, build in systems.NETWORKS.items():
            for on, data in datasets.items():
                for augment in (0.0, config.training.augment):
                    choices[peer, on, augment] = begin(
                        f"{peer} {on} {augment}", build, data, plain(peer, augment), seeds[:1]
                    )[0]

    found: dict[str, list[evaluate.Figures]] = {}
    for peer in dict.fromkeys(peer for peer, _ in without_seeds):
        given: dict[tuple[str], dict[str, _Logits] | None] = {(on,): without_seeds[peer, on]() for on in datasets}
        parted = {key: parts for key, parts in given.items() if parts is not None}
        if len(parted) == len(given):
            chosen = best(peer, {key: parts["validation"] for key, parts in parted.items()})
            found[peer] = [score(parted[chosen]["test"])]
    for peer, build in systems.NETWORKS.items() if choices else ():
        on, augment = best(peer, {
            key[1:]: ask(result(), validation) for key, result in choices.items() if key[0] == peer
        })  # fmt: skip
        runs[peer] = begin(f"{peer} {on} {augment}", build, datasets[on], plain(peer, augment))
    for name, results in sorted(runs.items(), key=lambda each: each[0].startswith(config.name)):
        found[name] = [score(ask(result(), test)) for result in results]
    if single:
        networks = [{task: results[each]() for task, results in single.items()} for each in range(len(seeds))]
        took, alone = 0.0, []
        for each in networks:
            begun = time.process_time()
            logits = {task: ask(network, test)[task] for task, network in each.items()}
            took += time.process_time() - begun
            # A kind is told of what another head has flagged; it is not compared.
            logits["malicious_kind"] = np.zeros((len(test), len(dataset.kinds)))
            alone.append(score(logits))
        found[f"{ours}, a model for each task"] = alone
        begun = time.process_time()
        for each in networks:
            ask(each["malicious"], test)
        about["time"] = (time.process_time() - begun) / took
    return found, about


def _nearest(dataset: Dataset) -> dict[str, dict[str, np.ndarray]]:
    train = dataset.rows("train")
    return {split: systems.nearest_neighbours(dataset, train, dataset.rows(split)) for split in ("validation", "test")}


def _trees(dataset: Dataset) -> dict[str, dict[str, np.ndarray]] | None:
    train, validation, test = (dataset.rows(split) for split in ("train", "validation", "test"))
    logits = systems.boosted_trees(dataset, train, validation, np.concatenate([validation, test]), TASKS)
    if logits is None:
        return None
    return {
        "validation": {task: values[: len(validation)] for task, values in logits.items()},
        "test": {task: values[len(validation) :] for task, values in logits.items()},
    }
