"""What a site's own answers are worth: a site is left out of training, the earlier half of its flows is learnt from as
`mmtt learn fit` does, and the later half is named, with the servers' names hidden. Beside it other ways to learn from
the same embedding, fewer windows of each label, and the whole network trained on.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from mmtt_agent.classifier import softmax
from mmtt_agent.learn.fit import MIN_WINDOWS, Lesson, fit, of_each_name
from mmtt_agent.learn.measure import f1
from mmtt_agent.learn.teach import MOST_NAMELESS
from mmtt_agent.series import SeriesBatch
from mmtt_agent.site import Site, mixture

from ..data.dataset import Dataset
from ..data.named import Named
from ..data.split import SPLITS
from ..network.architecture import Model
from .cross_site import LeftOut

#: A site takes part that has so many windows whose application is known, and labels in both halves.
FEWEST_WINDOWS, FEWEST_LABELS = 100, 2
#: Windows of a label that are learnt from, for what fewer of them are worth.
SHOTS = (5, 20, 100)
_EPOCHS, _BATCH, _RATE = 20, 64, 5e-4


@dataclass(frozen=True)
class Scores:
    """Of the windows of the later half whose application is known: macro-F1 over the labels that both halves have
    MIN_WINDOWS windows of, and the share named right, by the best label."""

    macro_f1: float
    right: float


@dataclass(frozen=True)
class SiteResult:
    """
    Attributes:
        windows: of the later half; ``labels``: that count; ``new``: the share of the windows that the network has no
            answer for.
        scores: by what named them.
    """

    site: str
    windows: int
    labels: int
    new: float
    scores: dict[str, Scores]


def study(
    named: Named, dataset: Dataset, left_out: LeftOut, shipped: Model, say: Callable[[str], None]
) -> list[SiteResult]:
    """All sites that have enough."""
    network_of = _networks(dataset, left_out, shipped)
    results = []
    for site in np.unique(named.site.astype(str)).tolist():
        rows = np.flatnonzero(named.site == site)
        if (named.application[rows] != "").sum() < FEWEST_WINDOWS:
            continue
        # A site that has no labels in the data set is in no training.
        found = _site(named, rows, dataset, network_of.get(site, shipped), site)
        if found is not None:
            results.append(found)
            say(f"{site}: {found.scores['before'].macro_f1:.2f} -> {found.scores['learnt'].macro_f1:.2f}")
    return results


def _networks(dataset: Dataset, left_out: LeftOut, shipped: Model) -> dict[str, Model]:
    """By site, the network that has not seen it."""
    found: dict[str, Model] = {}
    for parted, training in left_out.parts:
        network = training()
        assert isinstance(network, Model)
        sites = np.unique(parted.site[parted.split == SPLITS.index("test")])
        found |= {dataset.sites[site]: network for site in sites.tolist()}
    return found


def _site(named: Named, rows: np.ndarray, dataset: Dataset, network: Model, site: str) -> SiteResult | None:
    lesson, nameless = (
        _lesson(named, series[rows], rows, dataset, network) for series in (named.series, named.nameless)
    )
    earlier, later = lesson.cut(0.5)
    names = lesson.names["application"]
    labels = [
        label
        for label in np.unique(names[names != ""].astype(str)).tolist()
        if min((names[earlier] == label).sum(), (names[later] == label).sum()) >= MIN_WINDOWS
    ]
    if len(labels) < FEWEST_LABELS:
        return None
    asked = later[names[later] != ""]
    truth = names[asked]

    def scored(said: np.ndarray) -> Scores:
        return Scores(float(np.mean([f1(truth, said, label) for label in labels])), float((said == truth).mean()))

    known = np.array(lesson.labels["application"], object)
    network_says = lesson.network["application"][asked]
    shorter = (named.nameless.sizes[rows] != named.series.sizes[rows]).any(axis=1)

    def learnt_from(part: np.ndarray) -> Site:
        of = of_each_name({task: each[part] for task, each in lesson.names.items()}, MOST_NAMELESS, shorter[part])
        return _fit(lesson.part(part).joined(nameless.part(part[of]), of), dataset)

    site_of = learnt_from(earlier)
    scores = {
        "before": scored(known[network_says.argmax(axis=1)]),
        "learnt": scored(_best(site_of, lesson, asked)),
        "before, nameless": scored(known[nameless.network["application"][asked].argmax(axis=1)]),
        "learnt, nameless": scored(_best(site_of, nameless, asked)),
    }
    taught = earlier[names[earlier] != ""]
    scores |= {
        name: scored(way(lesson.embedding[taught], names[taught], lesson.embedding[asked]))
        for name, way in (("nearest", _nearest), ("linear", _linear), ("trees", _trees))
    }
    for shots in SHOTS:
        few = earlier[_shots(names[earlier], shots)]
        scores[f"{shots} a label"] = scored(_best(learnt_from(few), lesson, asked))
    series = named.series[rows]
    scores["whole network"] = scored(
        _trained_on(network, Model.inputs(series[taught]), names[taught], Model.inputs(series[asked]))
    )
    new = float((~np.isin(truth, known)).mean())
    return SiteResult(site, len(asked), len(labels), new, scores)


def _fit(lesson: Lesson, dataset: Dataset) -> Site:
    none = np.zeros((0, lesson.embedding.shape[1]), np.float32)
    return fit(lesson, dataset.applications, none, np.zeros(0, bool)).site


def _lesson(named: Named, series: SeriesBatch, rows: np.ndarray, dataset: Dataset, network: Model) -> Lesson:
    """Of ``series``, windows that are named as those at ``rows`` are."""
    network.eval()
    parts = []
    with torch.no_grad():
        for start in range(0, len(rows), 512):
            embedding = network.embed(*Model.inputs(series[start : start + 512]))
            service, application, *_ = network.answer(embedding)
            parts.append([each.numpy() for each in (embedding.flatten(1), service, application)])
    embeddings, services, applications = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Lesson(
        np.unique(named.connection[rows], return_inverse=True)[1],
        embeddings,
        {"service": softmax(services), "application": softmax(applications)},
        {"service": tuple(dataset.services), "application": tuple(dataset.applications)},
        {"service": named.service[rows], "application": named.application[rows]},
        np.zeros(len(rows), bool),
    )


def _best(site: Site, lesson: Lesson, rows: np.ndarray) -> np.ndarray:
    """The best label of the network and the site together, as the classifier puts them together."""
    known = [*lesson.labels["application"]]
    answers = site.answers.get("application")
    if answers is None:
        by_network: np.ndarray = np.array(known, object)[lesson.network["application"][rows].argmax(axis=1)]
        return by_network
    labels = [*known, *(label for label in answers.labels if label not in known)]
    places = [labels.index(label) for label in answers.labels]
    own, like = site.seen(lesson.embedding[rows]).probabilities("application")
    both = mixture(lesson.network["application"][rows], own, places, len(labels), answers.share)
    # What is unlike all that the site knows is the network's to name.
    alone = lesson.network["application"][rows].argmax(axis=1)
    best = np.where(like >= answers.alike, both.argmax(axis=1), alone)
    found: np.ndarray = np.array(labels, object)[best]
    return found


def _shots(names: np.ndarray, shots: int) -> np.ndarray:
    """The first so many windows of each label, in order of time."""
    rows = [np.flatnonzero(names == label)[:shots] for label in np.unique(names[names != ""].astype(str))]
    return np.sort(np.concatenate(rows))


def _standard(taught: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean, scale = taught.mean(axis=0), taught.std(axis=0) + 0.1
    return (taught - mean) / scale, (asked - mean) / scale


def _nearest(taught: np.ndarray, names: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """By the nearest window, by cosine."""
    one, other = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in _standard(taught, asked))
    named: np.ndarray = names[(other @ one.T).argmax(axis=1)]
    return named


def _linear(taught: np.ndarray, names: np.ndarray, asked: np.ndarray) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression

    one, other = _standard(taught, asked)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.array(LogisticRegression(max_iter=300).fit(one, names.astype(str)).predict(other), object)


def _trees(taught: np.ndarray, names: np.ndarray, asked: np.ndarray) -> np.ndarray:
    from sklearn.ensemble import HistGradientBoostingClassifier

    trees = HistGradientBoostingClassifier(
        max_iter=60, max_leaf_nodes=15, min_samples_leaf=3, early_stopping=False, random_state=1
    )
    return np.array(trees.fit(taught, names.astype(str)).predict(asked), object)


def _trained_on(
    network: Model, taught: tuple[torch.Tensor, ...], names: np.ndarray, asked: tuple[torch.Tensor, ...]
) -> np.ndarray:
    """The whole network trained on with answers of the site's own, as an upper bound: no sensor does that."""
    labels, truth = np.unique(names.astype(str), return_inverse=True)
    torch.manual_seed(1)
    model = copy.deepcopy(network)
    head = nn.Linear(model.application.in_features, len(labels))
    optimizer = torch.optim.AdamW([*model.parameters(), *head.parameters()], lr=_RATE, weight_decay=0.05)
    target = torch.from_numpy(truth)
    model.train()
    for _ in range(_EPOCHS):
        order = torch.randperm(len(target))
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            embedding = model.embed(*(each[rows] for each in taught))
            loss = functional.cross_entropy(head(embedding[:, 1]), target[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    model.eval()
    with torch.no_grad():
        parts = [
            head(model.embed(*(each[start : start + 512] for each in asked))[:, 1]).argmax(1)
            for start in range(0, len(asked[0]), 512)
        ]
    said: np.ndarray = np.array(labels.tolist(), object)[torch.cat(parts).numpy()]
    return said
