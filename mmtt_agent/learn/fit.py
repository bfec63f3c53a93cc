"""From windows whose names are known to a site's own answers.

Of each task a linear layer and the nearest of some examples, on the embedding that the network gives, half and half
(sites left out of training are named best by both together: `mmtt study site`); then how much of the answer is the
site's and from which probability on it stands, by later windows than those it was fitted on. Where the network does as
well without, a site has no answers of its own.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..site import TASKS, Answers, Seen, Site, unit

#: Windows with the same name fewer than which teach nothing.
MIN_WINDOWS = 5
#: Windows of one label that are learnt from at most, spread over the time.
MAX_WINDOWS = 1000
#: Of the windows that are learnt from, the latest so many choose how much of the answer is the site's.
_CHOOSING = 0.25
_SHARES = (0.0, 0.25, 0.5, 0.75, 0.9)
_THRESHOLDS = np.arange(0.2, 0.96, 0.05).round(2)
#: Of the site's answers that are given, so many should be right.
_ACCURACY = 0.8
#: Directions of the embedding, of 256 numbers: 32 tell neighbours as well as all of them.
_DIRECTIONS = 32
#: Examples of all labels together, as each costs every window a product.
_EXAMPLES = 1024
_MOST_EXAMPLES = 64
#: What is nearly the same in all windows must not be blown up.
_LEAST_SCALE = 0.1


@dataclass(frozen=True)
class Lesson:
    """``n`` windows, in order of time.

    Attributes:
        group: int64 (n,), the connection of each: those of one are learnt from together, or not at all.
        embedding: float32 (n, width).
        network: by task, what the network says by itself: probabilities (n, labels), the ``labels`` of the task.
        names: by task, what each is called, "" where that is not known.
    """

    group: np.ndarray
    embedding: np.ndarray
    network: dict[str, np.ndarray]
    labels: dict[str, tuple[str, ...]]
    names: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.group)

    def part(self, rows: np.ndarray) -> Lesson:
        """Some of the windows."""
        return Lesson(
            self.group[rows],
            self.embedding[rows],
            {task: each[rows] for task, each in self.network.items()},
            self.labels,
            {task: each[rows] for task, each in self.names.items()},
        )

    def cut(self, share: float) -> tuple[np.ndarray, np.ndarray]:
        """The earlier and the later windows, the latest ``share`` of them; a connection is where it begins."""
        n = len(self)
        first = np.full(int(self.group.max(initial=-1)) + 1, n)
        np.minimum.at(first, self.group, np.arange(n))
        later = first[self.group] >= int(n * (1 - share))
        return np.flatnonzero(~later), np.flatnonzero(later)


@dataclass(frozen=True)
class Chosen:
    """What was chosen for a task, and by what: of the windows that it was chosen by, the share that is named right by
    the best label of the network alone and of both."""

    share: float
    threshold: float
    windows: int
    alone: float
    together: float


@dataclass
class Fitted:
    """A site, and how it came about.

    Attributes:
        too_few: by task, labels of fewer than MIN_WINDOWS windows, which are not learnt, and how many they had.
        windows: by task and label, how many it was learnt from.
    """

    site: Site
    chosen: dict[str, Chosen]
    too_few: dict[str, dict[str, int]] = field(default_factory=dict)
    windows: dict[str, dict[str, int]] = field(default_factory=dict)


def fit(
    lesson: Lesson,
    services_of: Mapping[str, Sequence[str]],
    judged: np.ndarray,
    judged_malicious: np.ndarray,
    unknown: float = 0.0,
    until: int = 0,
    seed: int = 1,
) -> Fitted:
    """Learn from windows whose names are known.

    Args:
        services_of: of the applications that the network knows, the services that each may have.
        judged: float32 (f, width), embeddings of windows that somebody has judged; ``judged_malicious``: bool (f,).
        unknown: the share of all windows that had no application, which is kept to tell when that changes.
        until: µs since 1970, the latest of them.
    """
    earlier, later = lesson.cut(_CHOOSING)
    trial = _Fit(lesson.part(earlier), seed)
    chosen = {}
    for task in TASKS:
        labels = trial.labels(task)
        if len(labels) > 1 and len(later):
            chosen[task] = _choose(trial.site({task: (1.0, 0.0)}, {}), lesson.part(later), task)
    taken = {task: (each.share, each.threshold) for task, each in chosen.items() if each.share > 0}
    whole = _Fit(lesson, seed)
    taken = {task: each for task, each in taken.items() if len(whole.labels(task)) > 1}
    site = dataclasses.replace(whole.site(taken, services_of, judged, judged_malicious), unknown=unknown, until=until)
    return Fitted(
        site,
        chosen,
        {task: whole.counts(task, enough=False) for task in TASKS},
        {task: whole.counts(task, enough=True) for task in taken},
    )


class _Fit:
    """Everything that is made of some windows."""

    def __init__(self, lesson: Lesson, seed: int) -> None:
        self._lesson, self._seed = lesson, seed
        self._mean = lesson.embedding.mean(axis=0).astype(np.float32)
        self._scale = (lesson.embedding.std(axis=0) + _LEAST_SCALE).astype(np.float32)
        standard = self._standard(lesson.embedding[_spread(np.arange(len(lesson)), 20_000)])
        _, _, directions = np.linalg.svd(standard, full_matrices=False)
        wide = np.zeros((_DIRECTIONS, standard.shape[1]), np.float32)
        wide[: len(directions)] = directions[:_DIRECTIONS]
        self._directions = np.ascontiguousarray(wide.T)
        self._spread = ((standard @ self._directions).std(axis=0) + 1e-3).astype(np.float32)

    def _standard(self, embedding: np.ndarray) -> np.ndarray:
        standard: np.ndarray = (embedding - self._mean) / self._scale
        return standard

    def counts(self, task: str, enough: bool) -> dict[str, int]:
        """Labels of MIN_WINDOWS windows, or of fewer, and how many each has."""
        names = self._lesson.names[task]
        labels, numbers = np.unique(names[names != ""], return_counts=True)
        pairs = zip(labels.tolist(), numbers.tolist(), strict=True)
        return {label: number for label, number in pairs if (number >= MIN_WINDOWS) == enough}

    def labels(self, task: str) -> list[str]:
        """What can be learnt."""
        return sorted(self.counts(task, enough=True))

    def site(
        self,
        taken: Mapping[str, tuple[float, float]],
        services_of: Mapping[str, Sequence[str]],
        judged: np.ndarray | None = None,
        judged_malicious: np.ndarray | None = None,
    ) -> Site:
        """With answers to the tasks that are ``taken``, with the share and the threshold of each."""
        width = self._lesson.embedding.shape[1]
        judged = np.zeros((0, width), np.float32) if judged is None else judged
        return Site(
            answers={task: self._answers(task, *chosen) for task, chosen in taken.items()},
            services_of=self._services_of(services_of, "service" in taken) if "application" in taken else {},
            mean=self._mean,
            scale=self._scale,
            directions=self._directions,
            judged=unit(self._standard(judged).astype(np.float32) @ self._directions),
            judged_malicious=np.zeros(0, bool) if judged_malicious is None else judged_malicious,
            spread=self._spread,
        )

    def _services_of(self, known: Mapping[str, Sequence[str]], own: bool) -> dict[str, tuple[str, ...]]:
        """Which services the windows of an application have; where none is named, those that the network allows it, or
        any. ``own``: the site has its own services, too."""
        names, services = self._lesson.names["application"], self._lesson.names["service"]
        possible = {*self._lesson.labels["service"], *(self.labels("service") if own else [])}
        found = {}
        for label in self.labels("application"):
            seen = {*services[names == label].tolist()} & possible
            found[label] = tuple(sorted(seen or known.get(label, ()) or possible))
        return found

    def _answers(self, task: str, share: float, threshold: float) -> Answers:
        from sklearn.linear_model import LogisticRegression

        names = self._lesson.names[task]
        labels = self.labels(task)
        of = [_spread(np.flatnonzero(names == label), MAX_WINDOWS) for label in labels]
        rows = np.concatenate(of)
        label = np.repeat(np.arange(len(labels)), [len(each) for each in of])
        standard = self._standard(self._lesson.embedding[rows]).astype(np.float32)
        # Between each window counting alike and each label: the former is surer, the latter names more labels.
        weights = np.bincount(label)[label] ** -0.5
        linear = LogisticRegression(C=1.0, max_iter=300)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it could still get better
            linear.fit(standard, label, sample_weight=weights / weights.mean())
        coefficients, bias = linear.coef_, linear.intercept_
        if len(labels) == 2:  # scikit-learn keeps one column for the two
            coefficients, bias = np.concatenate([-coefficients, coefficients]) / 2, np.concatenate([-bias, bias]) / 2
        directions = unit(standard @ self._directions)
        kept = self._examples(directions, label)
        return Answers(
            labels=tuple(labels),
            share=share,
            threshold=threshold,
            weights=np.ascontiguousarray(coefficients.T, np.float32),
            bias=bias.astype(np.float32),
            examples=directions[kept],
            label=label[kept],
        )

    def _examples(self, directions: np.ndarray, label: np.ndarray) -> np.ndarray:
        """Which windows are kept as examples: of each label some by chance, and those that the kept ones name wrongly
        (condensed nearest neighbours, Hart 1968)."""
        labels = int(label[-1]) + 1
        most = max(min(_MOST_EXAMPLES, _EXAMPLES // labels), 4)
        random = np.random.default_rng(self._seed)
        kept = []
        shuffled = [random.permutation(np.flatnonzero(label == each)) for each in range(labels)]
        begun = np.concatenate([each[: most // 2] for each in shuffled])
        rest = np.concatenate([each[most // 2 :] for each in shuffled])
        if len(rest):
            nearest = label[begun][(directions[rest] @ directions[begun].T).argmax(axis=1)]
            wrong = nearest != label[rest]
            # What is named wrongly first, then any.
            rest = rest[np.argsort(~wrong, kind="stable")]
        for each in range(labels):
            kept += [begun[label[begun] == each], rest[label[rest] == each][: most - most // 2]]
        return np.concatenate(kept)


def _choose(site: Site, lesson: Lesson, task: str) -> Chosen:
    """How much of the answer is to be the site's, and from when on it stands, by windows that it was not fitted on."""
    names, network = lesson.names[task], lesson.network[task]
    rows = np.flatnonzero(names != "")
    labels = [*lesson.labels[task], *(each for each in site.answers[task].labels if each not in lesson.labels[task])]
    place = {label: number for number, label in enumerate(labels)}
    truth = np.array([place.get(name, -1) for name in names[rows].tolist()], np.int64)
    own = np.zeros((len(rows), len(labels)))
    seen: Seen = site.seen(lesson.embedding[rows])
    own[:, [place[label] for label in site.answers[task].labels]] = seen.probabilities(task)
    theirs = np.zeros_like(own)
    theirs[:, : network.shape[1]] = network[rows]
    tried = []
    for share in _SHARES:
        both = share * own + (1 - share) * theirs
        best = both.argmax(axis=1)
        right = best == truth
        # Accuracy alone would leave out what is seldom.
        tried.append((right.mean() + _by_label(right, truth), share, both.max(axis=1), right))
    by_network, _, _, alone = tried[0]
    best_of = max(tried, key=lambda each: each[0])
    # A gain that a few windows may owe to chance is none.
    _, share, score, right = best_of if best_of[0] > by_network + len(rows) ** -0.5 else tried[0]
    threshold = float(_THRESHOLDS[-1])
    for each in _THRESHOLDS:
        given = score >= each
        if given.any() and right[given].mean() >= _ACCURACY:
            threshold = float(each)
            break
    return Chosen(share, threshold, len(rows), float(alone.mean()), float(right.mean()))


def _by_label(right: np.ndarray, truth: np.ndarray) -> float:
    """The mean over labels of the share that is right."""
    return float(np.mean([right[truth == label].mean() for label in np.unique(truth)]))


def _spread(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many of them, evenly."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
