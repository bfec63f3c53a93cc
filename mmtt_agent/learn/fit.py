"""From windows whose names are known to a site's own answers.

Of each task a linear layer and the nearest of some examples, on the embedding that the network gives, half and half
(sites left out of training are named best by both together: `mmtt study site`); then how much of the answer is the
site's and from which probability on it stands, by later windows than those it was fitted on. Where the network does as
well without, a site has no answers of its own.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from ..drift import shifted
from ..site import TASKS, Answers, Site, mixture, unit

#: Windows with the same name fewer than which teach nothing.
MIN_WINDOWS = 5
#: Windows of one label that are learnt from at most, spread over the time.
MAX_WINDOWS = 1000
#: Of the windows that are learnt from, the earlier so many name those up to the next: that chooses how much of the
#: answer is the site's.
_TURNS = (0.5, 0.75, 1.0)
#: And so many of a label must be there for that.
_LEAST_TRIED = 3
_SHARES = (0.0, 0.25, 0.5, 0.75, 0.9)
_THRESHOLDS = np.arange(0.3, 0.96, 0.05).round(2)
#: Of the site's answers that are given, so many should be right.
_ACCURACY = 0.8
#: Of the right ones so many are given up, for what is less like the site's examples than the others are. Most of other
#: sites' windows are, and the site must not give them its own names.
_UNLIKE = 0.1
#: Directions of the embedding, of 256 numbers: 32 tell neighbours as well as all of them.
_DIRECTIONS = 32
#: Examples of all labels together, as each costs every window a product.
_EXAMPLES = 1024
_MOST_EXAMPLES = 64
#: What is nearly the same in all windows must not be blown up.
_LEAST_SCALE = 0.1
_LEAST_SPREAD = 1e-3
#: What a site is like is told by so many parts of its time.
_PARTS = 10


@dataclass(frozen=True)
class Lesson:
    """``n`` windows, in order of time.

    Attributes:
        group: int64 (n,), the connection of each: those of one are learnt from together, or not at all.
        embedding: float32 (n, width).
        network: by task, what the network says by itself: probabilities (n, labels), the ``labels`` of the task.
        names: by task, what each is called, "" where that is not known.
        again: bool (n,), those that are the one before in another form: they teach, but are none of a label's windows.
    """

    group: np.ndarray
    embedding: np.ndarray
    network: dict[str, np.ndarray]
    labels: dict[str, tuple[str, ...]]
    names: dict[str, np.ndarray]
    again: np.ndarray

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
            self.again[rows],
        )

    def joined(self, other: Lesson, rows: np.ndarray) -> Lesson:
        """With ``other``, those at ``rows`` in another form, each behind its own."""
        n = len(self)
        place = np.empty(n + len(rows), np.int64)
        place[np.argsort(np.concatenate([np.arange(n), rows]), kind="stable")] = np.arange(len(place))

        def both(one: np.ndarray, another: np.ndarray) -> np.ndarray:
            # Not one behind the other and then in order: two of them are much memory.
            found = np.empty((len(place), *one.shape[1:]), one.dtype)
            found[place[:n]], found[place[n:]] = one, another
            return found

        return Lesson(
            both(self.group, self.group[rows]),
            both(self.embedding, other.embedding),
            {task: both(each, other.network[task]) for task, each in self.network.items()},
            self.labels,
            {task: both(each, each[rows]) for task, each in self.names.items()},
            both(self.again, np.ones(len(rows), bool)),
        )

    def cut(self, share: float) -> tuple[np.ndarray, np.ndarray]:
        """The earlier and the later windows, the latest ``share`` of them; a connection is where it begins."""
        later = self._begins() >= int(len(self) * (1 - share))
        return np.flatnonzero(~later), np.flatnonzero(later)

    def turns(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Earlier windows, and those that come next."""
        begins = self._begins()
        for until, to in pairwise(int(len(self) * each) for each in _TURNS):
            yield np.flatnonzero(begins < until), np.flatnonzero((begins >= until) & (begins < to))

    def mixed(self) -> tuple[np.ndarray, np.ndarray]:
        """Three quarters of the connections, and the others: where earlier ones are all of one name."""
        later = self.group % 4 == 3
        return np.flatnonzero(~later), np.flatnonzero(later)

    def _begins(self) -> np.ndarray:
        """(n,): where the connection of each window begins."""
        n = len(self)
        first = np.full(int(self.group.max(initial=-1)) + 1, n)
        np.minimum.at(first, self.group, np.arange(n))
        begins: np.ndarray = first[self.group]
        return begins


@dataclass(frozen=True)
class Chosen:
    """What was chosen for a task; see `mmtt_agent.site.Answers`."""

    share: float
    threshold: float
    alike: float


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
    seed: int = 1,
) -> Fitted:
    """Learn from windows whose names are known.

    Args:
        services_of: of the applications that the network knows, the services that each may have.
        judged: float32 (f, width), embeddings of windows that somebody has judged; ``judged_malicious``: bool (f,).
    """
    chosen = {}
    turns = [
        (_Fit(lesson.part(earlier), _LEAST_TRIED, seed), later) for earlier, later in lesson.turns() if len(earlier)
    ]
    for task in TASKS:
        tried = [found for trial, later in turns if (found := _tried(trial, lesson, later, task)) is not None]
        earlier, later = lesson.mixed()
        if not tried and len(earlier):
            found = _tried(_Fit(lesson.part(earlier), _LEAST_TRIED, seed), lesson, later, task)
            tried = [] if found is None else [found]
        if tried:
            chosen[task] = _choose(tried)
    whole = _Fit(lesson, MIN_WINDOWS, seed)
    taken = {task: each for task, each in chosen.items() if each.share > 0 and len(whole.labels(task)) > 1}
    return Fitted(
        whole.site(taken, services_of, judged, judged_malicious),
        chosen,
        {task: whole.too_few(task) for task in TASKS},
        {task: whole.enough(task) for task in taken},
    )


class _Fit:
    """Everything that is made of some windows."""

    def __init__(self, lesson: Lesson, least: int, seed: int) -> None:
        self._lesson, self._least, self._seed = lesson, least, seed
        self._mean = lesson.embedding.mean(axis=0).astype(np.float32)
        self._scale = (lesson.embedding.std(axis=0) + _LEAST_SCALE).astype(np.float32)
        standard = self._standard(lesson.embedding[spread(np.arange(len(lesson)), 20_000)])
        _, _, directions = np.linalg.svd(standard, full_matrices=False)
        wide = np.zeros((_DIRECTIONS, standard.shape[1]), np.float32)
        wide[: len(directions)] = directions[:_DIRECTIONS]
        self._directions = np.ascontiguousarray(wide.T)
        plain = standard @ self._directions
        self._usual = plain.mean(axis=0).astype(np.float32)
        self._spread = (plain.std(axis=0) + _LEAST_SPREAD).astype(np.float32)

    def _standard(self, embedding: np.ndarray) -> np.ndarray:
        standard: np.ndarray = (embedding - self._mean) / self._scale
        return standard

    def _counts(self, task: str) -> dict[str, int]:
        names = self._lesson.names[task][~self._lesson.again]
        labels, numbers = np.unique(names[names != ""].astype(str), return_counts=True)
        return dict(zip(labels.tolist(), numbers.tolist(), strict=True))

    def enough(self, task: str) -> dict[str, int]:
        """Labels that can be learnt, and how many windows each has."""
        return {label: number for label, number in self._counts(task).items() if number >= self._least}

    def too_few(self, task: str) -> dict[str, int]:
        """The others."""
        return {label: number for label, number in self._counts(task).items() if number < self._least}

    def labels(self, task: str) -> list[str]:
        """What can be learnt."""
        return sorted(self.enough(task))

    def site(
        self,
        taken: Mapping[str, Chosen],
        services_of: Mapping[str, Sequence[str]],
        judged: np.ndarray | None = None,
        judged_malicious: np.ndarray | None = None,
    ) -> Site:
        """With answers to the tasks that are ``taken``."""
        width = self._lesson.embedding.shape[1]
        judged = np.zeros((0, width), np.float32) if judged is None else judged
        return Site(
            answers={task: self._answers(task, chosen) for task, chosen in taken.items()},
            services_of=self._services_of(services_of, "service" in taken) if "application" in taken else {},
            mean=self._mean,
            scale=self._scale,
            directions=self._directions,
            judged=unit(self._standard(judged).astype(np.float32) @ self._directions),
            judged_malicious=np.zeros(0, bool) if judged_malicious is None else judged_malicious,
            usual=self._usual,
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

    def _answers(self, task: str, chosen: Chosen) -> Answers:
        from sklearn.linear_model import LogisticRegression
        from threadpoolctl import threadpool_limits

        names = self._lesson.names[task]
        labels = self.labels(task)
        of = [spread(np.flatnonzero(names == label), MAX_WINDOWS) for label in labels]
        rows = np.concatenate(of)
        label = np.repeat(np.arange(len(labels)), [len(each) for each in of])
        standard = self._standard(self._lesson.embedding[rows]).astype(np.float32)
        # Between each window counting alike and each label: the former is surer, the latter names more labels.
        weights = np.bincount(label)[label] ** -0.5
        linear = LogisticRegression(C=1.0, max_iter=300)
        # Products so small are slower on several cores, the more so where others work there.
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore")  # that it could still get better
            linear.fit(standard, label, sample_weight=weights / weights.mean())
        coefficients, bias = linear.coef_, linear.intercept_
        if len(labels) == 2:  # scikit-learn keeps one column for the two
            coefficients, bias = np.concatenate([-coefficients, coefficients]) / 2, np.concatenate([-bias, bias]) / 2
        directions = unit(standard @ self._directions)
        kept = self._examples(directions, label)
        return Answers(
            labels=tuple(labels),
            share=chosen.share,
            threshold=chosen.threshold,
            alike=chosen.alike,
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


@dataclass(frozen=True)
class _Tried:
    """What some windows would be called by a site that was fitted on others.

    Attributes:
        truth: their names.
        right: bool (shares, n), whether the best label is that, for each of _SHARES; ``score``: its probability.
        like: (n,), cosine with the nearest example.
    """

    truth: np.ndarray
    right: np.ndarray
    score: np.ndarray
    like: np.ndarray

    def worth(self) -> np.ndarray:
        """(shares,): accuracy and the mean over labels of it, as the former alone would leave out what is seldom."""
        by_label = [self.right[:, self.truth == label].mean(axis=1) for label in np.unique(self.truth)]
        worth: np.ndarray = self.right.mean(axis=1) + np.mean(by_label, axis=0)
        return worth


def _tried(trial: _Fit, lesson: Lesson, later: np.ndarray, task: str) -> _Tried | None:
    """Try what was fitted on one part on another; None where that has no names, or the one has not two."""
    rows = later[lesson.names[task][later] != ""]
    if len(trial.labels(task)) < 2 or not len(rows):
        return None
    site = trial.site({task: Chosen(1.0, 0.0, -1.0)}, {})
    names, network = lesson.names[task][rows].astype(str), lesson.network[task][rows]
    labels = [*lesson.labels[task], *(each for each in site.answers[task].labels if each not in lesson.labels[task])]
    places = [labels.index(label) for label in site.answers[task].labels]
    own, like = site.seen(lesson.embedding[rows]).probabilities(task)
    both = [mixture(network, own, places, len(labels), share) for share in _SHARES]
    best = np.array(labels)[np.array([each.argmax(axis=1) for each in both])]
    return _Tried(names, best == names, np.array([each.max(axis=1) for each in both]), like)


def _choose(tried: Sequence[_Tried]) -> Chosen:
    """How much of the answer is to be the site's, and from when on it stands."""
    truth, right, score, like = (
        np.concatenate([getattr(each, name) for each in tried], axis=-1) for name in ("truth", "right", "score", "like")
    )
    together = _Tried(truth, right, score, like)
    # A gain that a few windows may owe to chance is none, nor one that is there at one time and not at another.
    gains = together.worth() - together.worth()[0] - len(truth) ** -0.5
    steady = np.all([each.worth() >= each.worth()[0] for each in tried], axis=0)
    best = int(np.where(steady, gains, -np.inf).argmax())
    best = best if gains[best] > 0 else 0
    alike = float(np.quantile(like[right[best]], _UNLIKE).round(4)) if right[best].any() else 1.0
    threshold = float(_THRESHOLDS[-1])
    for each in _THRESHOLDS:
        given = (score[best] >= each) & (like >= alike)
        if given.any() and right[best][given].mean() >= _ACCURACY:
            threshold = float(each)
            break
    return Chosen(_SHARES[best], threshold, alike)


def spread(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many of them, evenly."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


def of_each_name(names: Mapping[str, np.ndarray], most: int, among: np.ndarray | None = None) -> np.ndarray:
    """Of each name, by task (n,), at most so many rows, in order; of ``among`` alone, bool (n,), if it is given."""
    numbers: dict[tuple[str, str], int] = {("", ""): 0}
    pairs = zip(names["application"].tolist(), names["service"].tolist(), strict=True)
    name = np.array([numbers.setdefault(pair, len(numbers)) for pair in pairs], np.int32)
    if among is not None:
        name[~among] = 0
    taken = [spread(np.flatnonzero(name == number), most) for number in range(1, len(numbers))]
    return np.sort(np.concatenate(taken)) if taken else np.zeros(0, np.int64)


def usual(site: Site, embedding: np.ndarray, unknown: np.ndarray) -> Site:
    """The site with what all of its windows are like, whether named or not.

    Args:
        embedding: float32 (n, width), of windows in order of time; ``unknown``: bool (n,), without an application.
    """
    plain = site.seen(embedding).plain
    told = dataclasses.replace(
        site,
        usual=plain.mean(axis=0).astype(np.float32),
        spread=(plain.std(axis=0) + _LEAST_SPREAD).astype(np.float32),
        unknown=float(unknown.mean()),
    )
    parts = [each for each in np.array_split(np.arange(len(plain)), _PARTS) if len(each)]
    return dataclasses.replace(
        told,
        shift=max(shifted(told, plain[each].mean(axis=0)) for each in parts),
        unknown_most=float(max(unknown[each].mean() for each in parts)),
    )
