"""CARD.md: what a model was made of, what it scores, and where it loses. Everything in it is computed."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np

from ..config import Config
from ..data.dataset import Dataset
from ..data.lab_windows import lab_rows
from ..data.labels import MISSING
from ..data.split import SPLITS
from ..evaluation.calibrate import Calibration
from ..evaluation.evaluate import Figures, mean_and_interval
from ..evaluation.unknown import MEASURES, Part, better
from .bars import bars, trained_on

#: An en dash, where there is no figure.
_NONE = "\u2013"


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
    test, seeds = figures["test"], config.evaluation.seeds
    lines = [
        f"# {config.name}",
        "",
        (
            f"{trained['parameters']:,} parameters, trained in {_minutes(figures['shipped_seconds'])} on "
            f"{figures['trained on']} (all that this card needed to be trained: {_minutes(figures['seconds'])}). "
            f"`{command}` makes the model, every figure below, and this card."
        ),
        "",
        "**It knows only what the captures below show**: on another network expect less.",
        "",
        "## Scores on the test captures",
        "",
        (
            "Split by recording: no test capture, nor a copy of one, lent a window to training or to any choice. "
            "F1 is the mean over the classes among the test captures."
        ),
        "",
        (
            "| | service F1 | service accuracy | application F1 | application accuracy "
            "| malicious AUROC | recall at 1 % FP | at 0.1 % FP |"
        ),
        "|---|---|---|---|---|---|---|---|",
        _row(
            f"**{config.name}**, as shipped" + (f" (seed {trained['seed']}, best on validation)" if seeds > 1 else ""),
            [test],
        ),
        *([_row(f"{config.name}, mean of {seeds} seeds", figures["seeds"])] if seeds > 1 else []),
        *[_row(name, runs) for name, runs in figures["peers"].items()],
        "",
        *trained_on(figures["about peers"]),
        (
            f"± is half the 95 % interval over {seeds} seeds; between test captures the spread is wider."
            if seeds > 1
            else "One seed was run, so there is no interval around any figure."
        ),
        "",
        *_pretrained(config),
        *_losses(config.name, figures["seeds"], figures["peers"]),
        *bars(config.name, config.compared_name(), figures),
        "",
        (
            f"{_negatives(dataset):,} test windows are harmless, so that 0.1 % false positives are "
            f"{_negatives(dataset) // 1000} of them, and recall at 0.1 % is little more than chance."
        ),
        "",
        (
            f"A warning: with windows split at random instead of by capture, the nearest neighbours score "
            f"{_number(figures['random split']['service'].get('macro_f1'))} on service, "
            f"{_number(figures['random split']['application'].get('macro_f1'))} on application and "
            f"{_number(figures['random split']['malicious']['auroc'])} AUROC on malicious. "
            "Such figures say how alike the windows of one capture are, not how good a model is."
        ),
        *_sources_left_out(figures["sources left out"]),
        *_unknown(figures["unknown"]),
        *_packets_seen(figures["packets seen"]),
        *_mid_flow(figures["mid-flow"]),
        *_confused(dataset.services, figures["confusion"]),
        *(["", *pictures] if pictures else []),
        "",
        *answers_given(dataset, figures["decisions"], calibration),
        "",
        "Calibration error: "
        + ", ".join(f"{task} {_number(test[task].get('calibration_error'))}" for task in test)
        + ".",
        "",
        "Accuracy of the surest part of all answers:",
        "",
        "| | 25 % | 50 % | 75 % | all |",
        "|---|---|---|---|---|",
        *[
            f"| {task} | {' | '.join(_percent(accuracy) for accuracy in shares.values())} |"
            for task, shares in figures["coverage"].items()
        ],
        "",
        "Flagged as malicious, by where the test captures come from:",
        "",
        "| | malicious windows | harmless windows |",
        "|---|---|---|",
        *_by_source(figures["decisions"]["malicious"]["by_source"]),
        "",
        "## Data",
        "",
        *_data(config, dataset, figures["seen before"]),
    ]
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


def answers_given(dataset: Dataset, decisions: Figures, calibration: Calibration) -> list[str]:
    harmless = int((dataset.malicious[dataset.rows("validation")] == 0).sum())
    lines = [
        "## Answers given",
        "",
        "Thresholds were chosen on the validation captures. This is what they do on the test captures.",
        "",
        "| | threshold | |",
        "|---|---|---|",
    ]
    for task, decision in decisions.items():
        if task == "malicious":
            lines.append(f"| malicious | {calibration.thresholds[task]:.4f} | {_flags(decision)} |")
            lines += [
                f"| malicious, `--false-positives {share}` | {calibration.false_positives[share]:.4f} "
                f"| {_flags(chosen)} |"
                for share, chosen in decision["at"].items()
            ]
        else:
            does = (
                f"answers {_percent(decision['answered'])}, {_percent(decision['accuracy'])} of the answers are right"
            )
            energy = calibration.energies.get(task)
            threshold = f"{calibration.thresholds[task]:.4f}" if energy is None else f"energy {energy:.4f}"
            lines.append(f"| {task} | {threshold} | {does} |")
    few = [share for share in decisions["malicious"]["at"] if harmless * float(share[:-1]) < 100]
    if few:
        lines += [
            "",
            (
                f"{harmless:,} harmless windows are among the validation captures, less than one of which is "
                f"{' or '.join(few)}: that threshold is just above the most suspicious of them, and elsewhere may flag "
                "more."
            ),
        ]
    return lines


def _flags(decision: dict[str, float]) -> str:
    return f"finds {_percent(decision['recall'])}, flags {_percent(decision['false_positives'])} of the harmless"


def _sources_left_out(folds: dict[str, list[Figures]]) -> list[str]:
    if not folds:
        return []
    names = list(folds)
    lines = [
        "",
        "### Malicious, with whole repositories left out of training",
        "",
        (
            "Harmless and malicious captures come from different labs, so part of what tells them apart is the lab. "
            "Here every repository in turn is one that training never saw. The nearest thing to a network of your own."
        ),
        "",
        f"| left out | windows malicious, harmless | {' | '.join(f'{n}: AUROC, recall at 1 % FP' for n in names)} |",
        "|---|---|" + "---|" * len(names),
    ]
    for number, each in enumerate(zip(*folds.values(), strict=True), 1):
        windows = f"{each[0]['positives']:,}, {each[0]['windows'] - each[0]['positives']:,}"
        values = [f"{_number(s['auroc'])}, {_number(s['recall_at_1_percent'])}" for s in each]
        lines.append(f"| {number}: {', '.join(each[0]['repositories'])} | {windows} | {' | '.join(values)} |")
    means = [
        f"{_number(float(np.mean([s['auroc'] for s in folds[name]])))}, "
        f"{_number(float(np.mean([s['recall_at_1_percent'] for s in folds[name]])))}"
        for name in names
    ]
    return [*lines, f"| mean | | {' | '.join(means)} |"]


def _unknown(parts: list[Part]) -> list[str]:
    if not parts:
        return []

    def mean(split: str, measure: str) -> str:
        scores = np.array([getattr(part, split)[measure] for part in parts])
        return _number(float(scores[np.isfinite(scores)].mean())) if np.isfinite(scores).any() else _NONE

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
            f"| {', '.join(part.names)} | {' | '.join(_number(part.test[name]) for name in MEASURES)} |"
            for part in parts
        ],
        f"| mean | {' | '.join(mean('test', name) for name in MEASURES)} |",
        f"| mean, validation captures | {' | '.join(mean('validation', name) for name in MEASURES)} |",
        "",
        f"On the validation captures the {better(parts)} is the better one; applications are `unknown` by that.",
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
            f"| {seen} | {_number(scores['service'].get('macro_f1'))} "
            f"| {_number(scores['application'].get('macro_f1'))} "
            f"| {_number(scores['malicious']['auroc'])} | {_number(scores['malicious']['recall_at_1_percent'])} |"
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
            _interval([each[name][task].get(figure, math.nan) for each in seeds])
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
    for source in sorted({*flagged["malicious"], *flagged["harmless"]}):
        cells = [
            f"{hit:,} of {windows:,}" if windows else _NONE
            for hit, windows in (flagged[kind].get(source, (0, 0)) for kind in ("malicious", "harmless"))
        ]
        lines.append(f"| {source} | {' | '.join(cells)} |")
    return lines


def _negatives(dataset: Dataset) -> int:
    return int((dataset.malicious[dataset.rows("test")] == 0).sum())


def _pretrained(config: Config) -> list[str]:
    if not config.training.pretraining:
        return []
    return [
        (
            f"What ships was pretrained on all training windows, labelled or not, {config.training.pretraining} epochs "
            "long. Ours by halves, for one task or on less data was not, nor was what is trained without a part of the "
            "repositories or of the applications: pretraining would have seen their windows."
        ),
        "",
    ]


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds:.0f} seconds"


def _row(name: str, runs: list[Figures]) -> str:
    """A row of the table: the figures of one run, or the mean and interval of several."""
    cells = []
    for task, figure in (
        ("service", "macro_f1"),
        ("service", "accuracy"),
        ("application", "macro_f1"),
        ("application", "accuracy"),
        ("malicious", "auroc"),
        ("malicious", "recall_at_1_percent"),
        ("malicious", "recall_at_0.1_percent"),
    ):
        cells.append(_interval([run[task].get(figure, math.nan) for run in runs]))
    return f"| {name} | {' | '.join(cells)} |"


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
        return mean_and_interval([run[task].get(figure, math.nan) for run in runs])[0]

    for peer, runs in peers.items():
        lost, won = [], []
        for task, figure, words in wanted:
            mine, theirs = mean(seeds, task, figure), mean(runs, task, figure)
            if mine < theirs:
                lost.append(f"{words} ({_number(mine)} to {_number(theirs)})")
            elif mine > theirs:
                won.append(f"{words} ({_number(mine)} to {_number(theirs)})")
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
            "repositories. Services and applications are nDPI's names per flow (what it only guessed from addresses or "
            "ports is not used), else what the capture was made of. TLS, QUIC and HTTP are protocols and count as no "
            "application. In malicious captures the host's ordinary business is not labelled. What nDPI recognises in "
            "captures that show protocols at work counts as harmless, except where the capture may show an attack."
        ),
        "",
        "| | captures | windows | with service | with application | malicious | harmless |",
        "|---|---|---|---|---|---|---|",
    ]
    parts = {split: dataset.rows(split)[~made[dataset.rows(split)]] for split in SPLITS}
    if made.any():
        parts["train, from the lab"] = np.flatnonzero(made)
    for part, rows in parts.items():
        lines.append(
            f"| {part} | {len(np.unique(dataset.capture[rows])):,} | {len(rows):,} "
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
        (
            f"{dataset.report['copies']:,} windows that are in several captures to the microsecond are kept once, and "
            f"{dataset.report['copied_captures']:,} captures that hold copies of another's are split with it. So no "
            "test window has the sizes and times of a training window. The same sizes at other times have "
            + ", ".join(f"{_percent(share['sizes'])} of {split}" for split, share in seen.items())
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
    names = dataset.services if task == "service" else list(dataset.applications)
    values = dataset.targets()[task]
    captures: dict[str, int] = {}
    made = lab_rows(dataset)
    for each in range(len(names)):
        captures[names[each]] = len(np.unique(dataset.capture[(values == each) & ~made]))
    lines = []
    for name in names:
        found = by_class.get(name)
        score = f"{found['f1']:.2f} | {found['windows']:,} | {found['captures']}" if found else "none tested | 0 | 0"
        lines.append(f"| {name} | {score} | {captures[name]} |")
    return lines


def _left_out(config: Config, dataset: Dataset) -> list[str]:
    report = dataset.report
    lines = [
        (
            f"A service or application in fewer than {config.data.min_captures} captures can't be held out honestly "
            "and is not learnt (captures in brackets)."
        )
    ]
    for kind in ("services", "applications"):
        dropped = report[f"dropped_{kind}"]
        listed = ", ".join(f"{name} ({n})" for name, n in dropped.items()) or "none"
        lines += ["", f"{kind.capitalize()}: {listed}."]
    lines += ["", f"Captures that could not be read: {len(report['unreadable'])}."]
    return lines


def _number(value: float | None) -> str:
    return _NONE if value is None or not math.isfinite(value) else f"{value:.3f}"


def _interval(values: list[float]) -> str:
    mean, half = mean_and_interval(values)
    return _number(mean) + (f" ± {half:.3f}" if math.isfinite(half) else "")


def _percent(value: float) -> str:
    return _NONE if not math.isfinite(value) else f"{100 * value:.1f} %"
