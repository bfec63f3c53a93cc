"""How the card writes figures: numbers, shares, and the rows of its tables of scores."""

from __future__ import annotations

import math

from ..evaluation.evaluate import Figures, mean_and_interval

#: An en dash, where there is no figure.
NONE = "\u2013"
#: Of the tables of scores.
HEAD = (
    "| | service F1 | service accuracy | application F1 | application accuracy | malicious AUROC | recall at 1 % FP |"
)


def number(value: float | None) -> str:
    return NONE if value is None or not math.isfinite(value) else f"{value:.3f}"


def interval(values: list[float]) -> str:
    mean, half = mean_and_interval(values)
    return number(mean) + (f" ± {half:.3f}" if math.isfinite(half) else "")


def percent(value: float) -> str:
    return NONE if not math.isfinite(value) else f"{100 * value:.1f} %"


def row(name: str, runs: list[Figures]) -> str:
    """A row of the table: the figures of one run, or the mean and interval of several."""
    cells = []
    for task, figure in (
        ("service", "macro_f1"),
        ("service", "accuracy"),
        ("application", "macro_f1"),
        ("application", "accuracy"),
        ("malicious", "auroc"),
        ("malicious", "recall_at_1_percent"),
    ):
        cell = interval([run[task].get(figure, math.nan) for run in runs])
        if figure == "macro_f1":
            cell += f" / {number(mean_and_interval([run[task].get('macro_f1_many', math.nan) for run in runs])[0])}"
        cells.append(cell)
    return f"| {name} | {' | '.join(cells)} |"


def interval_row(found: Figures) -> str:
    def cell(task: str, figure: str) -> str:
        low, high = found.get(task, {}).get(figure, (math.nan, math.nan))
        return f"{number(low)} to {number(high)}" if math.isfinite(low) else NONE

    cells = [
        cell("service", "macro_f1"), cell("service", "accuracy"), cell("application", "macro_f1"),
        cell("application", "accuracy"), cell("malicious", "auroc"), cell("malicious", "recall_at_1_percent"),
    ]  # fmt: skip
    return f"| 95 % of it | {' | '.join(cells)} |"
