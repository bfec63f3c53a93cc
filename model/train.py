"""Training: from a configuration and captures to a bundle, in steps that can be interrupted and taken up again."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from mmtt_agent import features
from mmtt_agent.series import SeriesBatch

from . import card, evaluate
from .architecture import TASKS, Architecture, Model
from .augment import augment
from .config import Config, ConfigError, Training
from .dataset import MISSING, Dataset, duplicates, load_or_build
from .export import write_bundle


def run(config: Config, data: Path, out: Path, say: Callable[[str], None]) -> dict:
    """Train on the captures in ``data`` and leave a bundle in ``out``, beside the cached data set and the checkpoint.

    Returns:
        The figures on the test captures, as in CARD.md.

    Raises:
        ConfigError, DatasetError, ExportError: one line each.
    """
    begun = time.monotonic()
    torch.set_num_threads(config.training.threads)
    try:
        architecture = Architecture(**config.architecture)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"architecture: {error}") from None
    out.mkdir(parents=True, exist_ok=True)
    dataset = load_or_build(data, out / "dataset.npz", config.data, say)
    for task, names in (("services", dataset.services), ("applications", dataset.applications)):
        if not names:
            raise ConfigError(f"data: min_captures {config.data.min_captures} leaves no {task}; lower it")
    model = fit(config, architecture, dataset, out / "checkpoint.pt", say)

    validation, test = dataset.rows("validation"), dataset.rows("test")
    logits = infer(model, dataset.series[validation])
    temperatures, thresholds = decide(config, dataset, validation, logits)
    say("scoring on the test captures, which nothing was chosen by")
    figures = {
        "validation": evaluate.scores(dataset, validation, logits, temperatures),
        "test": evaluate.scores(dataset, test, infer(model, dataset.series[test]), temperatures),
        "peers": {},
    }
    figures["decisions"] = decisions(
        dataset, test, infer(model, dataset.series[test]), temperatures, thresholds
    )
    for window, rows in (
        ("first windows", test[dataset.window[test] == 0]),
        ("later windows", test[dataset.window[test] > 0]),
    ):
        if len(rows):
            figures[window] = evaluate.scores(dataset, rows, infer(model, dataset.series[rows]), temperatures)
    plain = dict.fromkeys(TASKS, 1.0)
    train = dataset.rows("train")
    say("peers on the same captures")
    figures["peers"]["5 nearest neighbours"] = evaluate.scores(
        dataset, test, evaluate.nearest_neighbours(dataset, train, test), plain
    )
    trees = evaluate.boosted_trees(dataset, train, test)
    if trees is not None:
        figures["peers"]["LightGBM, 32 sizes and gaps"] = evaluate.scores(dataset, test, trees, plain)
    order = np.random.default_rng(config.seed).permutation(len(dataset))
    cut = len(order) * 8 // 10
    figures["random split"] = evaluate.scores(
        dataset, order[cut:], evaluate.nearest_neighbours(dataset, order[:cut], order[cut:]), plain
    )

    trained = {
        "seed": config.seed,
        "split_seed": config.data.split_seed,
        "windows": {split: len(dataset.rows(split)) for split in ("train", "validation", "test")},
        "captures": {
            split: len(np.unique(dataset.capture[dataset.rows(split)]))
            for split in ("train", "validation", "test")
        },
        "data_sha256": hashlib.sha256((data / "captures.tsv").read_bytes()).hexdigest(),
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
        temperatures=temperatures,
        thresholds=thresholds,
        trained=trained,
    )
    minutes = (time.monotonic() - begun) / 60
    text = card.write(config, dataset, figures, trained, thresholds, duplicates(dataset), minutes)
    new = out / ".CARD.md.new"
    new.write_text(text, encoding="utf-8")
    os.replace(new, out / "CARD.md")
    return figures


def fit(
    config: Config, architecture: Architecture, dataset: Dataset, checkpoint: Path, say: Callable[[str], None]
) -> Model:
    """The model of the epoch that scored best on the validation captures."""
    settings = config.training
    torch.manual_seed(config.seed)
    model = Model(architecture, len(dataset.services), len(dataset.applications))
    average = copy.deepcopy(model).eval().requires_grad_(False)
    train, validation = dataset.rows("train"), dataset.rows("validation")
    steps = max(1, len(train) // settings.batch)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        lr=settings.learning_rate,
    )
    total = steps * settings.epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: _learning_rate(step, total, settings.warm_up)
    )
    weights = class_weights(dataset, train)
    chance = sampling(dataset, train)
    key = hashlib.sha256(
        repr((config, architecture, dataset.services, dataset.applications, len(dataset))).encode()
    )
    state = {
        "key": key.hexdigest(),
        "epoch": 0,
        "best": -1.0,
        "best_epoch": 0,
        "best_model": model.state_dict(),
    }
    saved = _load_checkpoint(checkpoint, state["key"])
    if saved:
        state = saved
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        say(f"{checkpoint}: going on after epoch {state['epoch']}")

    for epoch in range(state["epoch"] + 1, settings.epochs + 1):
        if epoch - 1 - state["best_epoch"] >= settings.patience:
            break
        # Seeded per epoch, so that a run that was interrupted goes on as it would have.
        rng = np.random.default_rng((config.seed, epoch))
        torch.manual_seed(config.seed * 100_003 + epoch)
        begun, losses = time.monotonic(), []
        model.train()
        drawn = rng.choice(train, steps * settings.batch, p=chance)
        for start in range(0, len(drawn), settings.batch):
            rows = drawn[start : start + settings.batch]
            windows = augment(dataset.series[rows], settings.augment, rng)
            loss = multitask_loss(model(*tensors(windows)), dataset, rows, weights, settings)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
            # Early on the mean follows closely; later it is as long as asked for.
            done = (epoch - 1) * steps + len(losses)
            _follow(average, model, min(settings.average, done / (done + 10)))
        figures = evaluate.scores(
            dataset, validation, infer(average, dataset.series[validation]), dict.fromkeys(TASKS, 1.0)
        )
        score = evaluate.headline(figures)
        better = score > state["best"]
        if better:
            state |= {"best": score, "best_epoch": epoch, "best_model": copy.deepcopy(average.state_dict())}
        say(
            f"epoch {epoch}/{settings.epochs}: loss {np.mean(losses):.3f}; validation: "
            f"service F1 {figures['service'].get('macro_f1', math.nan):.3f}, "
            f"application F1 {figures['application'].get('macro_f1', math.nan):.3f}, "
            f"malicious AUROC {figures['malicious']['auroc']:.3f}"
            f"{' (best)' if better else ''}; {time.monotonic() - begun:.0f} s"
        )
        state |= {
            "epoch": epoch,
            "model": model.state_dict(),
            "average": average.state_dict(),
            "optimizer": optimizer.state_dict(),
            "schedule": schedule.state_dict(),
        }
        new = checkpoint.with_name(f".{checkpoint.name}.new")
        torch.save(state, new)
        os.replace(new, checkpoint)
    model.load_state_dict(state["best_model"])
    return model.eval()


def multitask_loss(
    logits: tuple[torch.Tensor, ...], dataset: Dataset, rows: np.ndarray, weights: dict, settings: Training
) -> torch.Tensor:
    """The tasks' losses, weighted; a window without a label for a task takes no part in that task's."""
    total = torch.zeros(())
    for task, output in zip(TASKS, logits):
        labels = torch.from_numpy(dataset.targets()[task][rows])
        known = labels != MISSING
        if not known.any():
            continue
        labels, output = labels[known], output[known]
        weight = weights[task][labels]
        if task == "malicious":
            smooth = labels.to(output.dtype) * (1 - settings.label_smoothing) + settings.label_smoothing / 2
            losses = functional.binary_cross_entropy_with_logits(output, smooth, reduction="none")
        else:
            losses = functional.cross_entropy(
                output, labels, reduction="none", label_smoothing=settings.label_smoothing
            )
        # By the share of labelled windows, so that a lone label in a batch does not shout.
        part = (losses * weight).sum() / weight.sum() * min(1.0, 4 * known.float().mean().item())
        total = total + getattr(settings, task) * part
    return total


def class_weights(dataset: Dataset, rows: np.ndarray) -> dict[str, torch.Tensor]:
    """Per task, a weight per class: the inverse root of its windows among ``rows``, 1 on average."""
    sizes = {"service": len(dataset.services), "application": len(dataset.applications), "malicious": 2}
    weights = {}
    for task, values in dataset.targets().items():
        known = values[rows][values[rows] != MISSING]
        count = np.bincount(known, minlength=sizes[task]).clip(1)
        weight = 1 / np.sqrt(count)
        weights[task] = torch.tensor(weight / weight.mean(), dtype=torch.float32)
    return weights


def sampling(dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """The chance of each of ``rows`` to be drawn: a capture counts by the root of its windows, not by their number."""
    _, capture, count = np.unique(dataset.capture[rows], return_inverse=True, return_counts=True)
    chance = 1 / np.sqrt(count[capture])
    return chance / chance.sum()


def infer(model: Model, series: SeriesBatch, batch: int = 512) -> dict[str, np.ndarray]:
    """Logits of all windows, by task."""
    was_training = model.training
    model.eval()
    parts = []
    with torch.no_grad():
        for start in range(0, max(len(series), 1), batch):
            parts.append(model(*tensors(series[start : start + batch])))
    model.train(was_training)
    return {task: torch.cat(outputs).numpy() for task, outputs in zip(TASKS, zip(*parts))}


def tensors(windows: SeriesBatch) -> tuple[torch.Tensor, ...]:
    """The model's input, in the order of its arguments."""
    arrays = features.model_input(windows)
    return tuple(torch.from_numpy(arrays[name]) for name in features.INPUT_NAMES)


def decide(
    config: Config, dataset: Dataset, rows: np.ndarray, logits: dict[str, np.ndarray]
) -> tuple[dict[str, float], dict[str, float]]:
    """Temperatures and thresholds, from the validation windows ``rows`` and their logits alone."""
    temperatures, thresholds = {}, {}
    for task, labels in dataset.targets().items():
        known = labels[rows] != MISSING
        labels, output = labels[rows][known], logits[task][known]
        temperatures[task] = round(evaluate.fit_temperature(labels, output), 4)
        if task == "malicious":
            # Rounded up, as verdicts carry four decimals.
            threshold = evaluate.threshold_at(
                labels,
                evaluate.sigmoid(output / temperatures[task]).round(4),
                config.decision.false_positives,
            )
            thresholds[task] = min(1.0, math.ceil(threshold * 10_000) / 10_000)
        else:
            probability = evaluate.softmax(output / temperatures[task])
            right = probability.argmax(axis=1) == labels
            threshold = evaluate.abstention_threshold(
                right, probability.max(axis=1), config.decision.accuracy
            )
            thresholds[task] = math.floor(threshold * 10_000) / 10_000
    return temperatures, thresholds


def decisions(
    dataset: Dataset, rows: np.ndarray, logits: dict[str, np.ndarray], temperatures: dict, thresholds: dict
) -> dict:
    """What the thresholds do: share answered and accuracy of the answers; malicious: recall and false positives."""
    result = {}
    for task, labels in dataset.targets().items():
        known = labels[rows] != MISSING
        labels, output = labels[rows][known], logits[task][known] / temperatures[task]
        if task == "malicious":
            flagged = evaluate.sigmoid(output).round(4) >= thresholds[task]
            result[task] = {
                "recall": float(flagged[labels == 1].mean()) if (labels == 1).any() else float("nan"),
                "false_positives": float(flagged[labels == 0].mean())
                if (labels == 0).any()
                else float("nan"),
            }
        else:
            probability = evaluate.softmax(output)
            given = probability.max(axis=1).round(4) >= thresholds[task]
            right = probability.argmax(axis=1) == labels
            result[task] = {
                "answered": float(given.mean()) if len(given) else float("nan"),
                "accuracy": float(right[given].mean()) if given.any() else float("nan"),
            }
    return result


def _learning_rate(step: int, total: int, warm_up: float) -> float:
    rising = max(1, int(total * warm_up))
    if step < rising:
        return (step + 1) / rising
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1, total - rising))))


@torch.no_grad()
def _follow(average: Model, model: Model, decay: float) -> None:
    for mean, value in zip(average.parameters(), model.parameters()):
        mean.lerp_(value, 1 - decay)


def _load_checkpoint(path: Path, key: str) -> dict | None:
    """The state in ``path``, if it is of the same run."""
    try:
        state = torch.load(path, weights_only=True)
    except FileNotFoundError:
        return None
    except Exception:  # noqa: BLE001 a damaged checkpoint may raise anything; training begins anew
        return None
    return state if isinstance(state, dict) and state.get("key") == key else None
