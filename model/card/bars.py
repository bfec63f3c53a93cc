"""What the model was meant to reach beside the others, and whether it does."""

from __future__ import annotations

import math

import numpy as np

from ..evaluation.breakdown import HALVES
from ..evaluation.evaluate import Figures

#: Test captures from which on a class's score is more than chance.
MANY = 5

_TASKS = {"service": "service F1", "application": "application F1", "malicious": "recall at 1 % FP"}


def reached(scores: Figures, task: str) -> float:
    """Of one run the figure that a bar is about: recall at 1 % false positives, or the mean F1 of the classes with
    enough test captures. NaN where there are none."""
    if task == "malicious":
        return float(scores[task]["recall_at_1_percent"])
    counted = [each["f1"] for each in scores[task].get("by_class", {}).values() if each["captures"] >= MANY]
    return float(np.mean(counted)) if counted else math.nan


def bars(name: str, compared: str, figures: Figures) -> list[str]:
    """A table in Markdown of the bars that ``figures``, those of `mmtt_model.run.run`, can tell of; of means over the
    seeds. ``compared`` is what the card calls ours where that is compared by halves."""
    rows = []
    peers = {peer: runs for peer, runs in figures["peers"].items() if not peer.startswith(name)}
    for task, words in _TASKS.items():
        mine, means = _mean(figures["seeds"], task), {peer: _mean(runs, task) for peer, runs in peers.items()}
        others = {peer: score for peer, score in means.items() if math.isfinite(score)}
        if others and math.isfinite(mine):
            best = max(others, key=lambda peer: others[peer])
            rows.append((f"{words} 2 points ahead of the best other's", f"{mine:.3f}", f"{others[best]:.3f} ({best})",
                         mine - others[best] - 0.02))  # fmt: skip
    alone = figures["peers"].get(f"{compared}, a model for each task")
    if alone:
        # Like with like: where one was not pretrained, the other wasn't.
        together = figures["peers"].get(compared, figures["seeds"])
        for task, words in _TASKS.items():
            mine, theirs = _mean(together, task), _mean(alone, task)
            if math.isfinite(mine - theirs):
                rows.append((f"{words} at most half a point behind a model of its own", f"{mine:.3f}", f"{theirs:.3f}",
                             mine - theirs + 0.005))  # fmt: skip
        time = figures["about peers"]["time"]
        rows.append(("time of one model, of that of three", f"{100 * time:.0f} %", "40 %", 0.4 - time))
    for task, words in _TASKS.items() if HALVES[0] in figures["mid-flow"][0] else ():
        early, late = (_mean([seed[half] for seed in figures["mid-flow"]], task) for half in HALVES)
        if math.isfinite(early - late):
            rows.append((f"{words} from the middle at most 3 points behind that from the start", f"{late:.3f}",
                         f"{early:.3f}", late - early + 0.03))  # fmt: skip
    if not rows:
        return []
    return [
        "",
        "### What it was meant to reach",
        "",
        f"F1 here over the classes in at least {MANY} test captures, means over the seeds.",
        "",
        "| | reached | against | |",
        "|---|---|---|---|",
        *[f"| {words} | {mine} | {against} | {_verdict(spare)} |" for words, mine, against, spare in rows],
    ]


def trained_on(about: Figures) -> list[str]:
    """A sentence on which data the others were trained on, where there was a choice."""
    chosen = about["trained on"]
    if not chosen:
        return []
    told = "; ".join(f"{peer}: {data}" for peer, data in chosen.items())
    return [f"What the others were trained on is what was better for them on the validation captures: {told}.", ""]


def _mean(runs: list[Figures], task: str) -> float:
    return float(np.mean([reached(run, task) for run in runs]))


def _verdict(spare: float) -> str:
    return "met" if spare >= 0 else f"missed by {-spare:.3f}"
