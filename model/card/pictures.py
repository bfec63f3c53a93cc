"""The pictures of CARD.md, in the folder ``card`` beside it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..evaluation.evaluate import Figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(out: Path, services: list[str], figures: Figures) -> list[str]:
    """Lines of Markdown that show the pictures; none where matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        return []
    matplotlib.use("Agg")
    from matplotlib import pyplot

    folder = out / "card"
    folder.mkdir(exist_ok=True)

    def save(figure: Figure, name: str) -> None:
        new = folder / f".{name}.new.png"
        figure.savefig(new, dpi=80, bbox_inches="tight", metadata={"Software": None})
        os.replace(new, folder / f"{name}.png")
        pyplot.close(figure)

    lines = []
    packets = figures["packets seen"]
    if packets:
        figure, axes = pyplot.subplots(figsize=(5, 3))
        for task, which, label in (
            ("service", "macro_f1", "service F1"),
            ("application", "macro_f1", "application F1"),
            ("malicious", "auroc", "malicious AUROC"),
        ):
            axes.plot(
                list(packets), [scores[task].get(which, np.nan) for scores in packets.values()], "o-", label=label
            )
        axes.set(xlabel="packets seen", ylim=(0, 1))
        axes.legend()
        save(figure, "packets")
        lines.append("![Scores by packets seen](card/packets.png)")
    figure, axes = pyplot.subplots(figsize=(4, 4))
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    for task, bins in figures["reliability"].items():
        axes.plot([each[0] for each in bins], [each[1] for each in bins], "o-", label=task)
    axes.set(xlabel="confidence", ylabel="share that is right (malicious: malicious)", xlim=(0, 1), ylim=(0, 1))
    axes.legend()
    save(figure, "reliability")
    lines.append("![Reliability](card/reliability.png)")
    if figures["incidents"]:
        figure, panes = pyplot.subplots(1, 2, figsize=(9, 3.5), sharey=True)
        for axes, (part, curve) in zip(panes, figures["incidents"]["curve"].items(), strict=True):
            for name, recall in curve.items():
                if name != "shares":
                    axes.plot(curve["shares"], recall, linewidth=2 if name == "mmtt" else 1, label=name)
            axes.set(xscale="log", ylim=(0, 1), title=f"pairs of hosts, {part}", xlabel="share of harmless pairs")
        panes[0].set(ylabel="share of malicious pairs found")
        panes[0].legend(fontsize=7)
        save(figure, "incidents")
        lines.append("![Malicious pairs found](card/incidents.png)")
    matrix = figures["confusion"]
    there = np.flatnonzero(matrix.sum(axis=1) + matrix.sum(axis=0))
    shown = matrix[np.ix_(there, there)] / matrix[np.ix_(there, there)].sum(axis=1, keepdims=True).clip(1)
    figure, axes = pyplot.subplots(figsize=(6, 5.5))
    axes.imshow(shown, cmap="Blues", vmin=0, vmax=1)
    names = [services[each] for each in there]
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="answer", ylabel="service")
    for row, column in zip(*np.nonzero(shown >= 0.1), strict=True):
        axes.text(
            column,
            row,
            f"{shown[row, column]:.1f}",
            ha="center",
            va="center",
            fontsize=7,
            color="white" if shown[row, column] > 0.6 else "black",
        )
    save(figure, "confusion")
    lines.append("![What is taken for what](card/confusion.png)")
    return lines
