"""What the model was meant to reach beside the others, and whether it does."""

from __future__ import annotations

import math

import numpy as np

from ..evaluation.breakdown import HALVES
from ..evaluation.evaluate import MANY, Figures

#: What a bar is about, by what the card calls it: the part of the flows, the task, the figure.
_AHEAD = {
    f"{words}{of}": (part, task, figure)
    for part, of in (("all", ""), ("encrypted", ", encrypted flows"))
    for words, task, figure in (
        ("service F1", "service", "macro_f1_many"),
        ("application F1", "application", "macro_f1_many"),
        ("malicious AUROC", "malicious", "auroc"),
        ("recall at 1 % FP", "malicious", "recall_at_1_percent"),
    )
}
_TASKS = {"service": "service F1", "application": "application F1", "malicious": "recall at 1 % FP"}


def reached(scores: Figures, task: str) -> float:
    """Of one run's scores: recall at 1 % false positives, or the mean F1 of the classes with enough test sites. NaN
    where there are none."""
    figure = "recall_at_1_percent" if task == "malicious" else "macro_f1_many"
    return float(scores[task].get(figure, math.nan))


def bars(name: str, compared: str, figures: Figures) -> list[str]:
    """A table in Markdown of the bars that ``figures``, those of `mmtt_model.run.run`, can tell of; of means over the
    seeds. ``compared`` is what the card calls ours where that is compared by halves."""
    rows = []
    peers = {peer: runs for peer, runs in figures["peers"].items() if not peer.startswith(name)}
    for words, where in _AHEAD.items():
        mine, means = _figure(figures["seeds"], *where), {peer: _figure(runs, *where) for peer, runs in peers.items()}
        others = {peer: score for peer, score in means.items() if math.isfinite(score)}
        if others and math.isfinite(mine):
            best = max(others, key=lambda peer: others[peer])
            rows.append((f"{words} 3 points ahead of the best other's", f"{mine:.3f}", f"{others[best]:.3f} ({best})",
                         mine - others[best] - 0.03))  # fmt: skip
    alone = figures["peers"].get(f"{compared}, a model for each task")
    if alone:
        # Like with like: where one was not pretrained, the other wasn't.
        together = figures["peers"].get(compared, figures["seeds"])
        for task, words in _TASKS.items():
            mine, theirs = (_mean([run["all"] for run in runs], task) for runs in (together, alone))
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
    flags = figures["decisions"]["all"]["malicious"]
    for share, chosen in flags["at"].items():
        promised, flagged = float(share[:-1]) / 100, chosen["false_positives"]
        if math.isfinite(flagged):
            rows.append((f"at most twice the {share} promised of the harmless flagged", f"{100 * flagged:.2f} %",
                         f"{200 * promised:.2f} %", 2 * promised - flagged))  # fmt: skip
    if not rows:
        return []
    return [
        "",
        "### What it was meant to reach",
        "",
        f"F1 here over the classes in at least {MANY} test sites, means over the seeds.",
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
    return [f"What the others were trained on is what was better for them on the validation sites: {told}.", ""]


def _figure(runs: list[Figures], part: str, task: str, figure: str) -> float:
    return float(np.mean([run[part][task].get(figure, math.nan) for run in runs]))


def _mean(runs: list[Figures], task: str) -> float:
    return float(np.mean([reached(run, task) for run in runs]))


def _verdict(spare: float) -> str:
    return "met" if spare >= 0 else f"missed by {-spare:.3f}"
