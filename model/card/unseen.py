"""What the card leads with: scores on networks that the model has never seen, and what they mean for a user."""

from __future__ import annotations

import numpy as np

from ..config import Config
from ..data.dataset import Dataset
from ..evaluation.calibrate import Calibration
from ..evaluation.evaluate import MANY, Figures
from .tables import HEAD, interval_row, percent, row


def unseen(config: Config, dataset: Dataset, figures: Figures) -> list[str]:
    """The table that counts: networks of which nothing was trained on, chosen by, or calibrated with."""
    seeds, rows = config.evaluation.seeds, dataset.rows("test")
    by = dataset.report["split_by"]
    lines = [
        "## On networks that it has never seen",
        "",
        (
            f"{len(rows):,} windows of {len(np.unique(dataset.site[rows])):,} sites: networks, labs or data sets that "
            "lent nothing to training, to a choice, or to a threshold. At most "
            f"{config.data.max_scored} windows with the same labels count of a capture, and none without times. F1 is "
            f"the mean over the classes in the test, and after the stroke over those of at least {MANY} of its sites."
            if by == "site"
            else f"{len(rows):,} windows of captures that lent nothing to training. There are too few sites to leave "
            "some out, so that **these are captures of networks that it knows**: on another network expect less."
        ),
    ]
    for part in ("all", "encrypted"):
        lines += [
            "",
            f"{part.capitalize()} flows:",
            "",
            HEAD,
            "|---|---|---|---|---|---|---|",
            row(f"**{config.name}**, as shipped (seed {config.seed})", [figures["test"][part]]),
            interval_row(figures["intervals"].get(part, {})),
            *([row(f"{config.name}, mean of {seeds} seeds", [s[part] for s in figures["seeds"]])] if seeds > 1 else []),
            *[
                row(name + (f", mean of {len(runs)} seeds" if len(runs) > 1 else ""), [run[part] for run in runs])
                for name, runs in figures["peers"].items()
            ],
        ]
    lines += [
        "",
        "The interval is of 95 % over sites drawn anew; ± is half of that over the seeds, where there are several."
        if seeds > 1
        else "The interval is of 95 % over sites drawn anew. One seed was run, so there is none over seeds.",
    ]
    return lines


def relied_on(test: Figures, decisions: Figures) -> list[str]:
    """A sentence per task: what a user gets on another network."""
    lines = []
    for task in ("service", "application"):
        decision = decisions[task]
        best = sorted(
            (
                (each["f1"], name)
                for name, each in test[task].get("by_class", {}).items()
                if each["sites"] >= MANY and each["f1"] >= 0.7
            ),
            reverse=True,
        )
        told = f"; what is told best: {', '.join(name for _, name in best[:8])}" if best else ""
        lines.append(
            f"- **{task}**: given for {percent(decision['answered'])} of the flows, and then right in "
            f"{percent(decision['accuracy'])} of them{told}."
        )
    flags = decisions["malicious"]
    lines.append(
        f"- **malicious**: of what is malicious {percent(flags['recall'])} is flagged, and of what is harmless "
        f"{percent(flags['false_positives'])}: a flag is worth a look, and that there is none says little."
    )
    kind = decisions["malicious_kind"]
    lines.append(
        f"- **malicious_kind**: given for {percent(kind['answered'])} of what is malicious, and then right in "
        f"{percent(kind['accuracy'])}."
    )
    return lines


def by_transport(test: dict[str, Figures]) -> list[str]:
    return [
        "### By transport",
        "",
        HEAD.replace("| |", "| | windows with a service |", 1),
        "|---|---|---|---|---|---|---|---|",
        *[
            row(f"{name} | {scores['service']['windows']:,}", [scores])
            for name, scores in test.items()
            if name not in ("all", "encrypted")
        ],
    ]


def hidden(config: Config, figures: Figures, test: Figures) -> list[str]:
    """What a split by capture would have said."""
    other = figures["by capture"]
    if not other:
        return []
    return [
        "### What a split by capture would have said",
        "",
        (
            "The same training, with captures shared out instead of sites, so that most of what is tested is of "
            "networks that training knows. Such figures say how alike the windows of one lab are, not how good a "
            "model is."
        ),
        "",
        HEAD,
        "|---|---|---|---|---|---|---|",
        row(f"sites split (seed {config.seed})", [test]),
        row("captures split", [other["all"]]),
        row("captures split, encrypted flows", [other["encrypted"]]),
    ]


def answers_given(decisions: Figures, calibration: Calibration) -> list[str]:
    lines = [
        "### Answers given",
        "",
        (
            "Thresholds come from the answers of models for sites that they had not seen, training's and validation's. "
            "This is what they do on the test sites."
        ),
        "",
        "| | threshold | all flows | encrypted flows |",
        "|---|---|---|---|",
    ]
    every, encrypted = decisions["all"], decisions["encrypted"]
    for task, decision in every.items():
        if task == "malicious":
            lines.append(
                f"| malicious | {calibration.thresholds[task]:.4f} | {_flags(decision)} | {_flags(encrypted[task])} |"
            )
            lines += [
                f"| malicious, `--false-positives {share}` | {calibration.false_positives[share]:.4f} "
                f"| {_flags(chosen)} | {_flags(encrypted[task]['at'][share])} |"
                for share, chosen in decision["at"].items()
            ]
        else:
            energy = calibration.energies.get(task)
            threshold = f"{calibration.thresholds[task]:.4f}" if energy is None else f"energy {energy:.4f}"
            cells = [
                f"answers {percent(each['answered'])}, {percent(each['accuracy'])} of the answers are right"
                for each in (decision, encrypted[task])
            ]
            lines.append(f"| {words(task)} | {threshold} | {' | '.join(cells)} |")
    return lines


def _flags(decision: dict[str, float]) -> str:
    return f"finds {percent(decision['recall'])}, flags {percent(decision['false_positives'])} of the harmless"


def words(task: str) -> str:
    return task.replace("malicious_kind", "kind of what is malicious")
