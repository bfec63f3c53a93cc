"""Windows per second of the network alone on one core, as shipped and in faster forms, and what these cost in score.

    python tests/bench/bench_network.py [--data OUT/dataset.npz] [--bundle DIR] [--rounds 15]

Each round runs every form once, in turn, and is compared with the network as shipped of the same round; shown are
medians. The windows are those of the captures in tests/data; with --data, the data set that `mmtt train` left beside
the bundle, they are its validation windows, and the scores are shown, too. What int8 is to see of values comes from its
training windows. Then the network as shipped with what comes before and after it. Counted is CPU time.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mmtt_agent import bundle as bundles
from mmtt_agent import features
from mmtt_agent.capture import read_capture
from mmtt_agent.classifier import CHUNK, Classifier
from mmtt_agent.series import MIN_PACKETS, SeriesBatch
from mmtt_model.data.dataset import Dataset
from mmtt_model.export import variants

DATA = Path(__file__).parents[1] / "data"
CHUNKS = 16
SHOWN = 640
_BAR, _AIM = 5_000, 10_000
_SCORES = (
    ("service", "macro_f1"),
    ("application", "macro_f1"),
    ("malicious", "auroc"),
    ("malicious", "recall_at_1_percent"),
)


def recorded() -> SeriesBatch:
    """The windows of the captures in tests/data that get a verdict."""
    found = [read_capture(path).windows.series for path in sorted(DATA.glob("*.pcap"))]
    series = SeriesBatch.concatenate(found)
    return series[np.flatnonzero(series.lengths >= MIN_PACKETS)]


def rates(forms: dict[str, Callable[[], object]], rounds: int) -> dict[str, tuple[float, float]]:
    """By form: windows per CPU second, and times the first form's of the same round; medians."""
    spent: dict[str, list[float]] = {name: [] for name in forms}
    for run in forms.values():
        run()
    for _ in range(rounds):
        for name, run in forms.items():
            begun = time.process_time()
            run()
            spent[name].append(time.process_time() - begun)
    first = next(iter(spent.values()))
    return {
        name: (
            CHUNK * CHUNKS / statistics.median(each),
            statistics.median(a / b for a, b in zip(first, each, strict=True)),
        )
        for name, each in spent.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, metavar="FILE", help="dataset.npz of the run that made the bundle")
    parser.add_argument("--bundle", type=Path, metavar="DIR", help="the model [the shipped one]")
    parser.add_argument("--rounds", type=int, default=15, help="[15]")
    arguments = parser.parse_args()
    bundle = bundles.load(arguments.bundle)
    dataset, windows = None, recorded()
    shown = windows
    if arguments.data:
        dataset = Dataset.load(arguments.data)
        if dataset is None:
            sys.exit(f"{arguments.data}: no data set of this mmtt; name the dataset.npz that `mmtt train` left")
        services, applications = list(bundle.services), [each.name for each in bundle.applications]
        # What only the lab has comes after these.
        if (dataset.services, [*dataset.applications]) != (
            services[: len(dataset.services)],
            applications[: len(dataset.applications)],
        ):
            sys.exit(
                f"{arguments.data}: has other services or applications than {bundle.path}; name the one it was made of"
            )
        rows = dataset.rows("validation")
        train = dataset.rows("train")
        windows, shown = dataset.series[rows], dataset.series[train[:: max(1, len(train) // SHOWN)]]

    made = variants.make(bundle, shown)
    shipped = made["as shipped"]
    many = windows[np.arange(CHUNK * CHUNKS) % len(windows)]
    inputs = features.model_input(many)

    def alone(classifier: Classifier) -> Callable[[], object]:
        return lambda: classifier.run(inputs, many.lengths)

    speed = rates({name: alone(each) for name, each in made.items()}, arguments.rounds)
    per_second = speed["as shipped"][0]
    verdict = "aim reached" if per_second >= _AIM else "bar reached" if per_second >= _BAR else "BELOW THE BAR"
    print(
        f"{shipped.model}, one core of {platform.machine()}, load average {os.getloadavg()[0]:.1f}, "
        f"{arguments.rounds} rounds\n"
        f"the network alone: {per_second:,.0f} windows/s; bar {_BAR:,}, aim {_AIM:,}: {verdict}\n"
    )
    print(
        "network\twindows/s\tratio\tKB\tlargest logit difference\tother labels\tother in other company",
        end="",
    )
    print("\t" + "\t".join(f"{task} {figure}" for task, figure in _SCORES) if dataset else "")
    for name, each in made.items():
        cost = variants.compare(shipped, each, windows)
        line = [name, f"{speed[name][0]:.0f}", f"{speed[name][1]:.2f}", f"{len(each.bundle.onnx) / 1000:.0f}"]
        line += [f"{cost.difference:.2g}", f"{cost.changed:.1%}", f"{cost.company:.1%}"]
        if dataset:
            figures = variants.scores(each, dataset, rows)
            line += [f"{figures[task][figure]:.3f}" for task, figure in _SCORES]
        print("\t".join(line))

    stages = {
        "the network alone": alone(shipped),
        "with features before": lambda: shipped.logits(many),
        "with features before, verdicts after": lambda: shipped.classify(many),
    }
    print("\nas shipped\twindows/s\tratio")
    for name, (windows_per_second, ratio) in rates(stages, arguments.rounds).items():
        print(f"{name}\t{windows_per_second:.0f}\t{ratio:.2f}")


if __name__ == "__main__":
    main()
