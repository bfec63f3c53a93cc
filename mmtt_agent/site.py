"""A site's own answers, beside those of the network that came with mmtt: a part of a bundle, learnt from the embeddings
of the site's own windows. Arrays and names alone, so that it is safe to load.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

import numpy as np

#: The questions that a site may have answers of its own to.
TASKS = ("service", "application")
#: Rows that are multiplied at once: always so many, as sums of other shapes may be added in another order, and what is
#: said of a window must not depend on how many others it came with.
_ROWS = 8
# How much surer nearest neighbours are of what is a little nearer. Of 5, 10 and 20 it did best on sites left out.
_SHARPNESS = 20.0
#: Cosines from which on a window is like one that somebody has judged, up to that of the same.
_ALIKE = 0.9
#: What a judgement takes from the log-odds of malicious, or adds.
_JUDGED = 8.0
# A damaged file must not take all memory.
_MAX_BYTES = 64 * 1024 * 1024
#: What numpy and zipfile raise on damage; MemoryError where an array's head claims to be larger than the memory.
_UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
_Arrays: TypeAlias = "dict[str, np.ndarray]"


class SiteError(Exception):
    """Arrays that are no site's; the text says what is wrong, for after the file's name."""


@dataclass(frozen=True)
class Answers:
    """To one of TASKS, for ``c`` labels.

    Attributes:
        labels: their names, none twice.
        share: what of the answer is the site's, 0 to 1; the rest is the network's own.
        threshold: the least probability that is answered by; below it the network's own answer stands.
        alike: the least cosine with the nearest example: of what is less like all of them the site knows nothing, and
            the network's own answer stands, too.
        weights: float32 (width, c), ``bias``: float32 (c,), of the standardised embedding.
        examples: float32 (p, k), of length 1, in order of label; ``label``: int64 (p,), which each is of. Every label
            has one.
    """

    labels: tuple[str, ...]
    share: float
    threshold: float
    alike: float
    weights: np.ndarray = field(repr=False)
    bias: np.ndarray = field(repr=False)
    examples: np.ndarray = field(repr=False)
    label: np.ndarray = field(repr=False)

    def probabilities(self, linear: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The linear layer's logits (n, c) and unit vectors (n, k) -> float32 (n, c), half by the layer, half by the
        nearest example; and float32 (n,), how like that is: the cosine."""
        cosines = _product(directions, self._examples)
        nearest = np.maximum.reduceat(cosines, self._first, axis=1)
        return (_softmax(linear) + _softmax(_SHARPNESS * nearest)) / 2, nearest.max(axis=1)

    @cached_property
    def _examples(self) -> np.ndarray:
        return np.ascontiguousarray(self.examples.T)

    @cached_property
    def _first(self) -> np.ndarray:
        """The first example of each label."""
        return np.searchsorted(self.label, np.arange(len(self.labels)))


@dataclass(frozen=True)
class Site:
    """What a site has learnt.

    Attributes:
        answers: by task; of one that is not there the network's own stand.
        services_of: which services each of the site's applications may have.
        mean, scale: float32 (width,), of the site's embeddings.
        directions: float32 (width, k), in which the site's embeddings differ most, of these standardised.
        judged: float32 (f, k), of length 1: windows that somebody has judged; ``judged_malicious``: bool (f,).
        usual, spread: float32 (k,), means and standard deviations of all windows of that time in these directions;
            ``shift``: how far the mean of a part of them was from the usual one, at most (`mmtt_agent.drift`);
            ``unknown``: what share of them had no application; ``unknown_most``: of a part, at most. They say what the
            site was like.
        until: µs since 1970, the latest window that was learnt from.
        sha256: of the file that it was loaded from.
    """

    answers: dict[str, Answers]
    services_of: dict[str, tuple[str, ...]]
    mean: np.ndarray = field(repr=False)
    scale: np.ndarray = field(repr=False)
    directions: np.ndarray = field(repr=False)
    judged: np.ndarray = field(repr=False)
    judged_malicious: np.ndarray = field(repr=False)
    usual: np.ndarray = field(repr=False)
    spread: np.ndarray = field(repr=False)
    shift: float = 0.0
    unknown: float = 0.0
    unknown_most: float = 1.0
    until: int = 0
    sha256: str = ""

    @property
    def width(self) -> int:
        """Of the embeddings that it takes."""
        return len(self.mean)

    def seen(self, embedding: np.ndarray) -> Seen:
        """What the site says of windows, by their embeddings (n, width)."""
        matrix, offset = self._projection
        return Seen(self, _product(embedding.astype(np.float32, copy=False), matrix) + offset)

    @cached_property
    def _projection(self) -> tuple[np.ndarray, np.ndarray]:
        """All that is linear in the embedding, in one product: the directions, and the layer of each task."""
        layers = [self.directions, *(answers.weights for answers in self.answers.values())]
        scaled = np.concatenate(layers, axis=1) / self.scale[:, None]
        biases = [np.zeros(self.directions.shape[1]), *(answers.bias for answers in self.answers.values())]
        offset = np.concatenate(biases) - self.mean.astype(np.float64) @ scaled
        return np.ascontiguousarray(scaled, np.float32), offset.astype(np.float32)

    def arrays(self) -> _Arrays:
        """What :func:`site` makes a site of, with what :func:`about` says."""
        found = {name: getattr(self, name) for name in _OF_SITE}
        for task, answers in self.answers.items():
            found |= {f"{task}_{name}": getattr(answers, name) for name in _OF_ANSWERS}
        return found


@dataclass(frozen=True)
class Seen:
    """``n`` windows as a site sees them: float32 (n, k and the labels of each task)."""

    site: Site
    projected: np.ndarray

    @cached_property
    def plain(self) -> np.ndarray:
        """float32 (n, k), in the site's directions."""
        return self.projected[:, : len(self.site.spread)]

    @cached_property
    def unit(self) -> np.ndarray:
        """The same of length 1."""
        return unit(self.plain)

    def probabilities(self, task: str) -> tuple[np.ndarray, np.ndarray]:
        """float32 (n, labels of the site), and (n,), how like the nearest example is."""
        place = len(self.site.spread)
        for other, answers in self.site.answers.items():
            width = len(answers.labels)
            if other == task:
                return answers.probabilities(self.projected[:, place : place + width], self.unit)
            place += width
        raise KeyError(task)

    def judgement(self) -> np.ndarray:
        """float64 (n,): what to add to the log-odds of malicious, for what is like a window that somebody judged."""
        if not len(self.site.judged):
            return np.zeros(len(self.unit))
        cosines = _product(self.unit, self.site.judged.T)
        nearest = cosines.argmax(axis=1)
        alike = (cosines[np.arange(len(cosines)), nearest] - _ALIKE) / (1 - _ALIKE)
        sign = np.where(self.site.judged_malicious[nearest], _JUDGED, -_JUDGED)
        added: np.ndarray = sign * alike.clip(0, 1).astype(np.float64)
        return added


_OF_SITE = ("mean", "scale", "directions", "judged", "judged_malicious", "usual", "spread")
_OF_ANSWERS = ("weights", "bias", "examples", "label")


def packed(site: Site) -> bytes:
    """The arrays as a file, the same for the same site."""
    out = io.BytesIO()
    np.savez(out, **site.arrays())  # type: ignore[arg-type]
    return out.getvalue()


def unpacked(data: bytes) -> _Arrays:
    """The arrays of a file, nothing of which is run.

    Raises:
        SiteError: it is no such file.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(each.file_size for each in archive.infolist()) > _MAX_BYTES:
                raise SiteError("holds more than a site's part can be")
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = dict(file)
    except _UNREADABLE as error:
        raise SiteError(f"can't be read ({' '.join(str(error).split())})") from None
    if strange := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
        raise SiteError(f"can't be read ({strange[0]} is no array)")
    return arrays


def site(
    arrays: _Arrays,
    *,
    labels: dict[str, tuple[str, ...]],
    shares: dict[str, float],
    thresholds: dict[str, float],
    alike: dict[str, float],
    services_of: dict[str, tuple[str, ...]],
    shift: float,
    unknown: float,
    unknown_most: float,
    until: int,
    sha256: str,
) -> Site:
    """Put together what a bundle says of a site.

    Raises:
        SiteError: the arrays do not fit one another, or the labels.
    """
    want = {*_OF_SITE, *(f"{task}_{name}" for task in labels for name in _OF_ANSWERS)}
    if {*arrays} != want:
        odd = min({*arrays} ^ want)
        raise SiteError(f"{'lacks' if odd in want else 'has'} the array {odd}")
    for name, array in arrays.items():
        kind = "b" if name == "judged_malicious" else "i" if name.endswith("_label") else "f"
        if array.dtype.kind != kind or not np.isfinite(array).all():
            raise SiteError(f"has {name} of {array.dtype}, or with what is no number")
    if arrays["directions"].ndim != 2 or not arrays["directions"].size:
        raise SiteError(f"has directions of shape {arrays['directions'].shape}, not of two axes")
    width, k = arrays["directions"].shape
    shapes = {
        "mean": (width,),
        "scale": (width,),
        "directions": (width, k),
        "judged_malicious": (arrays["judged_malicious"].size,),
        "judged": (arrays["judged_malicious"].size, k),
        "usual": (k,),
        "spread": (k,),
    }
    for task, names in labels.items():
        shapes |= {
            f"{task}_weights": (width, len(names)),
            f"{task}_bias": (len(names),),
            f"{task}_label": (arrays[f"{task}_label"].size,),
            f"{task}_examples": (arrays[f"{task}_label"].size, k),
        }
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise SiteError(f"has {name} of shape {arrays[name].shape}, not {shape}")
    for name in ("scale", "spread"):
        if (arrays[name] <= 0).any():
            raise SiteError(f"has a {name} that is not above 0")
    for task, names in labels.items():
        label = arrays[f"{task}_label"]
        if (np.diff(label) < 0).any() or not np.array_equal(np.unique(label), np.arange(len(names))):
            raise SiteError(f"has {task}_label that does not name each of {len(names)} labels in order")
    answers = {
        task: Answers(
            names, shares[task], thresholds[task], alike[task], *(arrays[f"{task}_{name}"] for name in _OF_ANSWERS)
        )
        for task, names in labels.items()
    }
    return Site(
        answers=answers,
        services_of=services_of,
        mean=arrays["mean"],
        scale=arrays["scale"],
        directions=arrays["directions"],
        judged=arrays["judged"],
        judged_malicious=arrays["judged_malicious"],
        usual=arrays["usual"],
        spread=arrays["spread"],
        shift=shift,
        unknown=unknown,
        unknown_most=unknown_most,
        until=until,
        sha256=sha256,
    )


def unit(vectors: np.ndarray) -> np.ndarray:
    """Each row (n, k) of length 1; 0 where it has none."""
    lengths = np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
    short: np.ndarray = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return short


def _product(rows: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """(n, a) @ (a, b), row by row the same whatever n is."""
    n = len(rows)
    filled = np.concatenate([rows, np.zeros((-n % _ROWS, rows.shape[1]), rows.dtype)])
    parts = np.matmul(filled.reshape(-1, _ROWS, rows.shape[1]), matrix)
    product: np.ndarray = parts.reshape(len(filled), matrix.shape[1])[:n]
    return product


def mixture(
    network: np.ndarray, own: np.ndarray, places: Sequence[int] | np.ndarray, labels: int, share: float
) -> np.ndarray:
    """The network's probabilities and the site's as one, float64 (n, labels): ``share`` of it is the site's.

    Args:
        network: (n, k), of the first k labels; ``own``: (n, c), of those at ``places``.
    """
    both = np.zeros((len(network), labels))
    np.multiply(network, 1 - share, out=both[:, : network.shape[1]])
    both[:, places] += share * own
    return both


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: np.ndarray = exponent / exponent.sum(axis=1, keepdims=True)
    return probabilities
