"""CARD.md: what a model was made of, what it scores, and where it loses. Everything in it is computed."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np

from ..config import Config
from ..data.dataset import Dataset
from ..data.lab_windows import lab_rows
from ..data.labels import EVIDENCE, MISSING
from ..data.split import SPLITS
from ..evaluation.calibrate import Calibration
from ..evaluation.evaluate import Figures, mean_and_interval
from ..evaluation.unknown import MEASURES, Part, better
from .audit import audit
from .bars import bars, trained_on
from .incidents import incidents
from .tables import NONE, interval, number, percent
from .unseen import answers_given, by_transport, hidden, relied_on, unseen, words

#: Repositories in the table of what was flagged where.
_REPOSITORIES_SHOWN = 30


def write(
    config: Config,
    command: str,
    dataset: Dataset,
    figures: Figures,
    trained: dict[str, Any],
    calibration: Calibration,
    pictures: list[str],
) -> str:
    """The card as Markdown. ``figures`` are those that ``mmtt_model.run.run`` collects with ``command``; ``pictures``
    are lines that show them."""
    test = figures["test"]
    lines = [
        f"# {config.name}",
        "",
        (
            f"{trained['parameters']:,} parameters, trained in {_minutes(figures['shipped_seconds'])} on "
            f"{figures['trained on']} (all that this card needed to be trained: {_minutes(figures['seconds'])}). "
            f"`{command}` makes the model, every figure below, and this card."
        ),
        "",
        *unseen(config, dataset, figures),
        "",
        "## What to rely on",
        "",
        *relied_on(test["all"], figures["decisions"]["all"]),
        "",
        *answers_given(figures["decisions"], calibration),
        "",
        *by_transport(test),
        "",
        *hidden(config, figures, test["all"]),
        *bars(config.name, config.compared_name(), figures),
        *_losses(config.name, figures["seeds"], figures["peers"]),
        "",
        *trained_on(figures["about peers"]),
        *_pretrained(config),
        *_unknown(figures["unknown"]),
        *_packets_seen(figures["packets seen"]),
        *_mid_flow(figures["mid-flow"]),
        *_confused(dataset.services, figures["confusion"]),
        *(["", *pictures] if pictures else []),
        "",
        "Calibration error: "
        + ", ".join(f"{task} {number(scores.get('calibration_error'))}" for task, scores in test["all"].items())
        + ".",
        "",
        "Accuracy of the surest part of all answers:",
        "",
        "| | 25 % | 50 % | 75 % | all |",
        "|---|---|---|---|---|",
        *[
            f"| {task} | {' | '.join(percent(accuracy) for accuracy in shares.values())} |"
            for task, shares in figures["coverage"].items()
        ],
        "",
        "Flagged as malicious, by where the test windows come from (the repositories with most of them):",
        "",
        "| | malicious windows | harmless windows |",
        "|---|---|---|",
        *_by_source(figures["decisions"]["all"]["malicious"]["by_source"]),
        *incidents(config.name, figures["incidents"]),
        "",
        "## Data",
        "",
        *_data(config, dataset, figures["seen before"]),
    ]
    for task in ("service", "application", "malicious_kind"):
        lines += [
            "",
            f"## By {words(task)}",
            "",
            "| | F1 | test windows | test sites | all sites |",
            "|---|---|---|---|---|",
        ]
        lines += _classes(dataset, task, test["all"][task].get("by_class", {}))
    lines += ["", "## Left out", "", *_left_out(config, dataset)]
    return "\n".join(lines) + "\n"


def _unknown(parts: list[Part]) -> list[str]:
    if not parts:
        return []

    def mean(split: str, measure: str) -> str:
        scores = np.array([getattr(part, split)[measure] for part in parts])
        return number(float(scores[np.isfinite(scores)].mean())) if np.isfinite(scores).any() else NONE

    return [
        "",
        "### Applications that it does not know",
        "",
        (
            "Each part of the applications was left out of a training of its own; the AUROC of telling their test "
            "windows from the others'."
        ),
        "",
        f"| left out | {' | '.join(f'by {name}' for name in MEASURES)} |",
        "|---|" + "---|" * len(MEASURES),
        *[
            f"| {', '.join(part.names)} | {' | '.join(number(part.test[name]) for name in MEASURES)} |"
            for part in parts
        ],
        f"| mean | {' | '.join(mean('test', name) for name in MEASURES)} |",
        f"| mean, validation sites | {' | '.join(mean('validation', name) for name in MEASURES)} |",
        "",
        f"On the validation sites the {better(parts)} is the better one; applications are `unknown` by that.",
    ]


def _packets_seen(found: dict[int, Figures]) -> list[str]:
    if not found:
        return []
    windows = next(iter(found.values()))["service"]["windows"]
    return [
        "",
        "### By packets seen",
        "",
        f"Windows of all their packets, as they were after the first of these ({windows:,} with a service).",
        "",
        "| packets | service F1 | application F1 | malicious AUROC | recall at 1 % FP |",
        "|---|---|---|---|---|",
        *[
            f"| {seen} | {number(scores['service'].get('macro_f1'))} "
            f"| {number(scores['application'].get('macro_f1'))} "
            f"| {number(scores['malicious']['auroc'])} | {number(scores['malicious']['recall_at_1_percent'])} |"
            for seen, scores in found.items()
        ],
    ]


def _mid_flow(seeds: list[dict[str, Figures]]) -> list[str]:
    lines = [
        "",
        "### From the middle of a flow",
        "",
        (
            "Each window is read for itself, so a capture may begin anywhere. F1 over the classes among the later "
            "windows is not that over all: compare the halves."
        ),
        "",
        "| | windows with a service | service F1 | application F1 | malicious AUROC | recall at 1 % FP |",
        "|---|---|---|---|---|---|",
    ]
    for name, scores in seeds[0].items():
        cells = [
            interval([each[name][task].get(figure, math.nan) for each in seeds])
            for task, figure in (("service", "macro_f1"), ("application", "macro_f1"), ("malicious", "auroc"),
                                 ("malicious", "recall_at_1_percent"))
        ]  # fmt: skip
        lines.append(f"| {name} | {scores['service']['windows']:,} | {' | '.join(cells)} |")
    return lines if seeds[0] else []


def _confused(services: list[str], matrix: np.ndarray) -> list[str]:
    """The services most often taken for another, as shares of their test windows."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    most = np.argsort(-wrong, axis=None, kind="stable")[:8]
    pairs = [
        (row, column) for row, column in zip(*np.unravel_index(most, wrong.shape), strict=True) if wrong[row, column]
    ]
    if not pairs:
        return []
    told = [
        f"{services[row]} as {services[column]} ({wrong[row, column]:,} of {matrix[row].sum():,} windows)"
        for row, column in pairs
    ]
    return ["", f"Most often taken for another service: {'; '.join(told)}."]


def _by_source(flagged: dict[str, dict[str, tuple[int, int]]]) -> list[str]:
    lines = []
    windows = Counter({
        source: flagged["malicious"].get(source, (0, 0))[1] + flagged["harmless"].get(source, (0, 0))[1]
        for source in {*flagged["malicious"], *flagged["harmless"]}
    })  # fmt: skip
    for source, _ in sorted(windows.most_common(_REPOSITORIES_SHOWN)):
        cells = [
            f"{hit:,} of {windows:,}" if windows else NONE
            for hit, windows in (flagged[kind].get(source, (0, 0)) for kind in ("malicious", "harmless"))
        ]
        lines.append(f"| {source} | {' | '.join(cells)} |")
    return lines


def _pretrained(config: Config) -> list[str]:
    if not config.training.pretraining:
        return []
    return [
        (
            f"What ships was pretrained on all training windows, labelled or not, {config.training.pretraining} epochs "
            "long. Ours by halves, for one task or on less data was not, nor was what is trained without a part of the "
            "applications: pretraining would have seen their windows."
        ),
        "",
    ]


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds:.0f} seconds"


def _losses(name: str, seeds: list[Figures], peers: dict[str, list[Figures]]) -> list[str]:
    """A sentence per peer, as plain for a loss as for a win; of means over the seeds."""
    lines = []
    wanted = [
        ("service", "macro_f1", "service F1"),
        ("application", "macro_f1", "application F1"),
        ("malicious", "auroc", "malicious AUROC"),
        ("malicious", "recall_at_1_percent", "recall at 1 %"),
    ]

    def mean(runs: list[Figures], task: str, figure: str) -> float:
        return mean_and_interval([run["all"][task].get(figure, math.nan) for run in runs])[0]

    for peer, runs in peers.items():
        lost, won = [], []
        for task, figure, called in wanted:
            mine, theirs = mean(seeds, task, figure), mean(runs, task, figure)
            if mine < theirs:
                lost.append(f"{called} ({number(mine)} to {number(theirs)})")
            elif mine > theirs:
                won.append(f"{called} ({number(mine)} to {number(theirs)})")
        lines.append(
            f"- Against {peer}, {name} loses on {', '.join(lost) or 'nothing'}; wins on {', '.join(won) or 'nothing'}."
        )
    return lines


def _data(config: Config, dataset: Dataset, seen: dict[str, dict[str, float]]) -> list[str]:
    counts = dataset.report["counts"]
    made = lab_rows(dataset)
    used = np.unique(dataset.capture[~made])
    sources = Counter(dataset.sources[c] for c in used.tolist())
    lines = [
        (
            f"{np.count_nonzero(~made):,} labelled windows of {len(used):,} public captures from {len(sources)} "
            "repositories. The service says what a connection carries, the application whose it is: by the server's "
            "name and its role, else by the protocol that nDPI recognised (what it only guessed from addresses or "
            "ports is not used), else, seldom, by what the capture was made of. TLS, QUIC and HTTP are no "
            "applications. In malicious captures the host's ordinary business is not labelled, but for connections to "
            "servers that are known to be harmless. What nDPI recognises in captures that show protocols at work "
            "counts as harmless, "
            "except where the capture may show an attack."
        ),
        "",
        "| | sites | captures | windows | with service | with application | malicious | harmless |",
        "|---|---|---|---|---|---|---|---|",
    ]
    parts = {split: dataset.rows(split)[~made[dataset.rows(split)]] for split in SPLITS}
    if made.any():
        parts["train, from the lab"] = np.flatnonzero(made)
    for part, rows in parts.items():
        lines.append(
            f"| {part} | {len(np.unique(dataset.site[rows])):,} | {len(np.unique(dataset.capture[rows])):,} "
            f"| {len(rows):,} "
            f"| {(dataset.service[rows] != MISSING).sum():,} | {(dataset.application[rows] != MISSING).sum():,} "
            f"| {(dataset.malicious[rows] == 1).sum():,} | {(dataset.malicious[rows] == 0).sum():,} |"
        )
    if made.any():
        lines += [
            "",
            (
                "The lab's windows are of traffic that this project's own traffic lab made and recorded (`mmtt lab run "
                f"standard`); {config.training.lab:.0%} of what training drew were these. They are in no score. "
                "Another run of the lab does the same at other times, so figures come back to about a point, not to "
                "the last digit."
            ),
        ]
    lines += [
        "",
        "What the labels come from (windows):",
        "",
        "| | name | protocol | capture |",
        "|---|---|---|---|",
        *[
            f"| {task} | "
            + " | ".join(
                f"{int((~made & (values != MISSING) & (by == each)).sum()):,}" for each in range(len(EVIDENCE))
            )
            + " |"
            for task, values, by in (
                ("service", dataset.service, dataset.service_by),
                ("application", dataset.application, dataset.application_by),
            )
        ],
        *audit(dataset),
        "",
        (
            f"{dataset.report['copies']:,} windows that are in several captures to the microsecond are kept once, and "
            f"{dataset.report['copied_captures']:,} captures that hold copies of another's are of its site. So no "
            "test window has the sizes and times of a training window. The same sizes at other times have "
            + ", ".join(f"{percent(share['sizes'])} of {split}" for split, share in seen.items())
            + ": the same device or program, at another time."
        ),
        "",
        "Read and kept: " + ", ".join(f"{n:,} {what}" for what, n in counts.items()) + ".",
        "",
        "Repositories (captures used; their licence): "
        + ", ".join(f"{name} ({n}; {', '.join(dataset.report['licences'][name])})" for name, n in sources.most_common())
        + ".",
    ]
    return lines


def _classes(dataset: Dataset, task: str, by_class: Figures) -> list[str]:
    names = {"service": dataset.services, "application": list(dataset.applications)}.get(task, dataset.kinds)
    values = dataset.targets()[task]
    sites: dict[str, int] = {}
    made = lab_rows(dataset)
    for each in range(len(names)):
        sites[names[each]] = len(np.unique(dataset.site[(values == each) & ~made]))
    lines = []
    for name in names:
        found = by_class.get(name)
        score = f"{found['f1']:.2f} | {found['windows']:,} | {found['sites']}" if found else "none tested | 0 | 0"
        lines.append(f"| {name} | {score} | {sites[name]} |")
    return lines


def _left_out(config: Config, dataset: Dataset) -> list[str]:
    report = dataset.report
    lines = [
        (
            f"A service or application of fewer than {config.data.min_sites} sites can't be held out honestly and is "
            "not learnt (sites in brackets)."
        )
    ]
    for kind in ("services", "applications"):
        dropped = report[f"dropped_{kind}"]
        listed = ", ".join(f"{name} ({n})" for name, n in dropped.items()) or "none"
        lines += ["", f"{kind.capitalize()}: {listed}."]
    lines += ["", f"Captures that could not be read: {len(report['unreadable'])}."]
    return lines
