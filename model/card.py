"""CARD.md: what a model was made of, what it scores, and where it loses. Everything in it is computed."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

import numpy as np

from .config import Config
from .dataset import MISSING, SPLITS, Dataset


def write(
    config: Config,
    dataset: Dataset,
    figures: dict,
    trained: dict,
    thresholds: dict[str, float],
    duplicate_shares: dict[str, float],
    minutes: float,
) -> str:
    """The card as Markdown. ``figures`` are those that ``mmtt_model.train.run`` collects."""
    test = figures["test"]
    lines = [
        f"# {config.name}",
        "",
        (
            f"{trained['parameters']:,} parameters, trained in {minutes:.0f} minutes with seed {config.seed}. "
            "Made by `mmtt train`, which also wrote this card."
        ),
        "",
        (
            "**A first model.** One seed was run, so there is no interval around any figure. It knows only what the "
            "captures below show, which come from few labs: on another network expect less."
        ),
        "",
        "## Scores on the test captures",
        "",
        (
            "Split by capture: no test capture lent a window to training or to any choice. "
            "F1 is the mean over the classes among the test captures."
        ),
        "",
        (
            "| | service F1 | service accuracy | application F1 | application accuracy "
            "| malicious AUROC | recall at 1 % FP | at 0.1 % FP |"
        ),
        "|---|---|---|---|---|---|---|---|",
        _row(f"**{config.name}**", test),
        *[_row(name, peer) for name, peer in figures["peers"].items()],
        *[
            _row(f"{config.name}, {name}", figures[name])
            for name in ("first windows", "later windows")
            if name in figures
        ],
        "",
        *_losses(config.name, test, figures["peers"]),
        "",
        (
            f"A warning: with windows split at random instead of by capture, the nearest neighbours score "
            f"{_number(figures['random split']['service'].get('macro_f1'))} on service, "
            f"{_number(figures['random split']['application'].get('macro_f1'))} on application and "
            f"{_number(figures['random split']['malicious']['auroc'])} AUROC on malicious. "
            "Such figures say how alike the windows of one capture are, not how good a model is."
        ),
        "",
        "Calibration error: "
        + ", ".join(f"{task} {_number(test[task].get('calibration_error'))}" for task in test)
        + ".",
        "",
        "## Answers given",
        "",
        "Thresholds were chosen on the validation captures. This is what they do on the test captures.",
        "",
        "| | threshold | |",
        "|---|---|---|",
    ]
    for task, decision in figures["decisions"].items():
        if task == "malicious":
            does = f"finds {_percent(decision['recall'])}, flags {_percent(decision['false_positives'])} of the harmless"
        else:
            does = f"answers {_percent(decision['answered'])}, {_percent(decision['accuracy'])} of the answers are right"
        lines.append(f"| {task} | {thresholds[task]:.4f} | {does} |")
    lines += ["", "## Data", "", *_data(dataset, duplicate_shares)]
    for task in ("service", "application"):
        lines += [
            "",
            f"## By {task}",
            "",
            "| | F1 | test windows | test captures | all captures |",
            "|---|---|---|---|---|",
        ]
        lines += _classes(dataset, task, test[task].get("by_class", {}))
    lines += ["", "## Left out", "", *_left_out(config, dataset)]
    return "\n".join(lines) + "\n"


def _row(name: str, scores: dict) -> str:
    service, application, malicious = scores["service"], scores["application"], scores["malicious"]
    values = [
        service.get("macro_f1"),
        service.get("accuracy"),
        application.get("macro_f1"),
        application.get("accuracy"),
        malicious["auroc"],
        malicious["recall_at_1_percent"],
        malicious["recall_at_0.1_percent"],
    ]
    return f"| {name} | {' | '.join(map(_number, values))} |"


def _losses(name: str, ours: dict, peers: dict[str, dict]) -> list[str]:
    """A sentence per peer, as plain for a loss as for a win."""
    lines = []
    wanted = [
        ("service", "macro_f1", "service F1"),
        ("application", "macro_f1", "application F1"),
        ("malicious", "auroc", "malicious AUROC"),
        ("malicious", "recall_at_1_percent", "recall at 1 %"),
    ]
    for peer, scores in peers.items():
        lost, won = [], []
        for task, figure, words in wanted:
            mine, theirs = ours[task].get(figure, math.nan), scores[task].get(figure, math.nan)
            if mine < theirs:
                lost.append(f"{words} ({_number(mine)} to {_number(theirs)})")
            elif mine > theirs:
                won.append(f"{words} ({_number(mine)} to {_number(theirs)})")
        lines.append(
            f"- Against {peer}, {name} loses on {', '.join(lost) or 'nothing'}; wins on {', '.join(won) or 'nothing'}."
        )
    return lines


def _data(dataset: Dataset, duplicate_shares: dict[str, float]) -> list[str]:
    counts = dataset.report["counts"]
    used = np.unique(dataset.capture)
    sources = Counter(dataset.sources[c] for c in used.tolist())
    lines = [
        (
            f"{len(dataset):,} labelled windows of {len(used):,} public captures from {len(sources)} repositories. "
            "Services and applications are nDPI's names per flow (what it only guessed from addresses or ports is not "
            "used), else what the capture was made of. TLS, QUIC and HTTP are protocols and count as no application. In "
            "malicious captures the host's ordinary business is not labelled."
        ),
        "",
        "| | captures | windows | with service | with application | malicious | harmless |",
        "|---|---|---|---|---|---|---|",
    ]
    for split in SPLITS:
        rows = dataset.rows(split)
        lines.append(
            f"| {split} | {len(np.unique(dataset.capture[rows])):,} | {len(rows):,} "
            f"| {(dataset.service[rows] != MISSING).sum():,} | {(dataset.application[rows] != MISSING).sum():,} "
            f"| {(dataset.malicious[rows] == 1).sum():,} | {(dataset.malicious[rows] == 0).sum():,} |"
        )
    lines += [
        "",
        "Windows with exactly the sizes and times of a training window: "
        + ", ".join(f"{100 * share:.1f} % of {split}" for split, share in duplicate_shares.items())
        + ".",
        "",
        "Read and kept: " + ", ".join(f"{n:,} {what}" for what, n in counts.items()) + ".",
        "",
        "Harmless and malicious captures come from different labs, so part of what tells them apart is the lab.",
        "",
        "Repositories (captures used): "
        + ", ".join(f"{name} ({n})" for name, n in sources.most_common())
        + ".",
    ]
    return lines


def _classes(dataset: Dataset, task: str, by_class: dict) -> list[str]:
    names = dataset.services if task == "service" else list(dataset.applications)
    values = dataset.targets()[task]
    captures = defaultdict(int)
    for each in range(len(names)):
        captures[names[each]] = len(np.unique(dataset.capture[values == each]))
    lines = []
    for name in names:
        found = by_class.get(name)
        score = (
            f"{found['f1']:.2f} | {found['windows']:,} | {found['captures']}"
            if found
            else "none tested | 0 | 0"
        )
        lines.append(f"| {name} | {score} | {captures[name]} |")
    return lines


def _left_out(config: Config, dataset: Dataset) -> list[str]:
    report = dataset.report
    lines = [
        (
            f"A service or application in fewer than {config.data.min_captures} captures can't be held out honestly and is "
            "not learnt (captures in brackets)."
        )
    ]
    for kind in ("services", "applications"):
        dropped = report[f"dropped_{kind}"]
        listed = ", ".join(f"{name} ({n})" for name, n in dropped.items()) or "none"
        lines += ["", f"{kind.capitalize()}: {listed}."]
    lines += ["", f"Captures that could not be read: {len(report['unreadable'])}."]
    return lines


def _number(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.3f}"


def _percent(value: float) -> str:
    return "–" if not math.isfinite(value) else f"{100 * value:.1f} %"
