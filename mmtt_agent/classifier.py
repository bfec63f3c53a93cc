"""Series in, verdicts out: features, the network, calibration, thresholds and the taxonomy in one place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from . import features, runtime
from .bundle import EMBEDDING, KIND, UNKNOWN, Bundle, BundleError
from .drift import Drift
from .likeness import WIDTH, likeness
from .runtime import onnxruntime
from .series import MAX_PAYLOAD_PACKETS, MIN_PACKETS, SeriesBatch
from .site import Seen, mixture

#: Windows the network sees at a time: on more it is no faster, as less of it stays in the cache.
CHUNK = 128
#: A chunk is filled up to a multiple of this. On fewer rows than a vector register holds the network may
#: add in another order, and a window's verdict must not depend on how many others it came with.
_FILL = 8
# Log-odds past which nothing is surer. What is no number counts as surely harmless.
_CERTAIN = 500.0

# Features are integer arithmetic: how many windows they are computed on together changes nothing.
_FEATURES_AT_A_TIME = 8 * CHUNK
_OUTPUTS = ["service_logits", "application_logits", "malicious_logits"]


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Answers for ``n`` windows. Scores are probabilities, rounded to 4 decimals; for service and application
    the score is that of the best label even where the label is "unknown". ``malicious_kind`` is empty where a window is
    not malicious, or the model not sure of what kind, or knows none.

    The next three are what evidence over connections is made of, and not rounded: ``log_odds`` float64 (n,), of
    malicious, calibrated; ``kind_scores`` float64 (n, kinds), the probabilities of the bundle's ``malicious_kinds`` if
    it is; ``likeness`` float32 (n, 16), see :func:`mmtt_agent.likeness.likeness`.

    ``embedding`` float32 (n, width): what the network knew of the windows; (n, 0) where it was not asked."""

    service: list[str]
    service_score: np.ndarray
    application: list[str]
    application_score: np.ndarray
    malicious: np.ndarray
    malicious_score: np.ndarray
    malicious_kind: list[str]
    log_odds: np.ndarray
    kind_scores: np.ndarray
    likeness: np.ndarray
    embedding: np.ndarray

    def __len__(self) -> int:
        return len(self.service)

    def __getitem__(self, rows: slice) -> Verdicts:
        """The verdicts of a slice of windows."""
        return Verdicts(*(getattr(self, name)[rows] for name in self.__slots__))


class Classifier:
    """Runs a bundle. ``classify`` may be called from several threads at once. ``width`` is that of the embeddings, 0
    where they are not asked for.

    Args:
        bundle: what to run.
        threads: threads inside the network; 1 is fastest per core.
        embeds: whether verdicts hold the embeddings of their windows.

    Raises:
        BundleError: the network can't be loaded, does not fit the taxonomy or the features, or has no embedding where
            that is asked for.
    """

    def __init__(self, bundle: Bundle, threads: int = 1, embeds: bool = False) -> None:
        self.bundle = bundle
        self.model = bundle.model
        self.incidents = bundle.incidents
        #: How far the windows are from what the site's own answers were learnt from, where the bundle has any.
        self.drift = Drift(bundle.site) if bundle.site else None
        self._path = bundle.path / "model.onnx"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Spinning threads would take a second core for nothing (where threads > 1).
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                bundle.onnx,
                sess_options=options,
                providers=["CPUExecutionProvider"],
                # What the runtime puts in its place is slower by a tenth of the whole network.
                disabled_optimizers=["SkipLayerNormFusion"],
            )
        except Exception as error:  # noqa: BLE001 - onnxruntime has no common base class for what it raises
            raise BundleError(f"{self._path}: the network {runtime.problem(error)}") from None
        inputs = {each.name: each.shape for each in self._session.get_inputs()}
        if set(inputs) != set(features.INPUT_NAMES):
            raise self._problem(
                f"takes {', '.join(sorted(inputs))}, the features are {', '.join(sorted(features.INPUT_NAMES))}"
            )
        # Networks of older bundles take all places: their second axis has a length, not a name.
        self._cuts = all([type(axis) for axis in inputs[name][1:2]] == [str] for name in features.CUT_NAMES)
        outputs = {each.name for each in self._session.get_outputs()}
        self._outputs = [*_OUTPUTS, f"{KIND}_logits"] if bundle.malicious_kinds else [*_OUTPUTS]
        self._site, self._embeds = bundle.site, embeds
        if embeds or self._site:
            if EMBEDDING not in outputs:
                raise BundleError(f"{self._path}: the network gives no {EMBEDDING}; those of mmtt 0.6.0 and later do")
            self._outputs.append(EMBEDDING)
        if missing := [name for name in self._outputs if name not in outputs]:
            raise self._problem(f"has no output {missing[0]}")

        # Those of the network, and after them what the site alone knows.
        services = [*bundle.services]
        services_of = {application.name: application.services for application in bundle.applications}
        if self._site:
            services += self._own("service", services)
            for name in self._own("application", [*services_of]):
                services_of[name] = ()
            for name, own in self._site.services_of.items():
                services_of[name] += own
        self._services = [*services, UNKNOWN]
        self._applications = [*services_of, UNKNOWN]
        # Of each task that the site has answers to: where its labels are among all, and how many these are.
        self._places = {
            task: (np.array([names.index(label) for label in self._site.answers[task].labels]), len(names))
            for task, names in (("service", services), ("application", [*services_of]))
            if self._site and task in self._site.answers
        }
        if strange := [name for name in bundle.of_services if name not in self._services]:
            raise BundleError(f"{bundle.path}: knows no service {strange[0]!r}, which there is a threshold for")
        self._malicious = np.array(
            [bundle.of_services.get(name, bundle.thresholds["malicious"]) for name in self._services]
        )
        # One row per service, and a last one for "unknown": the applications that it leaves possible.
        self._consistent = np.array(
            [[service in of for of in services_of.values()] for service in services] + [[True] * len(services_of)]
        )
        self._try_out()

    def classify(self, batch: SeriesBatch) -> Verdicts:
        """Verdicts of all windows of ``batch``, in order."""
        n = len(batch)
        if n == 0:
            nothing = np.zeros(0)
            kinds = np.zeros((0, len(self.bundle.malicious_kinds)))
            none_alike = np.zeros((0, WIDTH), np.float32)
            none = np.zeros((0, 0), np.float32)
            return Verdicts([], nothing, [], nothing, np.zeros(0, bool), nothing, [], nothing, kinds, none_alike, none)
        return self.decide(self.logits(batch))

    def logits(self, batch: SeriesBatch) -> list[np.ndarray]:
        """What the network says of at least one window, in the order of the bundle's tasks: (n, services),
        (n, applications), (n,), (n, kinds) where it has any; and (n, width), where its embedding is asked for."""
        logits = []
        for start in range(0, len(batch), _FEATURES_AT_A_TIME):
            part = batch[start : start + _FEATURES_AT_A_TIME]
            logits.append(self.run(features.model_input(part), part.lengths))
        return [np.concatenate(part) for part in zip(*logits, strict=True)]

    def decide(self, logits: list[np.ndarray]) -> Verdicts:
        """The verdicts that come of what :meth:`logits` gives."""
        tasks = len(self.bundle.tasks)
        embedding = logits[tasks] if len(logits) > tasks else np.zeros((len(logits[0]), 0), np.float32)
        return self._decide(embedding, *logits[:tasks])

    def run(self, inputs: dict[str, np.ndarray], lengths: np.ndarray) -> list[np.ndarray]:
        """What :meth:`logits` gives, for the input of ``features.model_input`` of windows of so many packets (n,)."""
        chunks = list(self._chunks(lengths))
        outputs = []
        for rows, places in chunks:
            chunk = {name: array[rows] for name, array in features.cut(inputs, places).items()}
            outputs.append(self._session.run(self._outputs, chunk))
        order = np.concatenate([rows for rows, _ in chunks])
        found = []
        for parts in zip(*outputs, strict=True):
            ordered = np.concatenate(parts)
            found.append(np.empty((len(lengths), *ordered.shape[1:]), ordered.dtype))
            found[-1][order] = ordered
        return found

    def _chunks(self, lengths: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
        """Which windows to run together, and how many places for packets they take. That hangs on a window's own
        length, so that its verdict does not depend on the others. A chunk is filled up with copies of its last one."""
        taken = features.places(lengths) if self._cuts else np.full_like(lengths, MAX_PAYLOAD_PACKETS)
        for places in np.unique(taken).tolist():
            rows = np.flatnonzero(taken == places)
            for start in range(0, len(rows), CHUNK):
                chunk = rows[start : start + CHUNK]
                yield np.append(chunk, chunk[-1:].repeat(-len(chunk) % _FILL)), places

    def _decide(
        self,
        embedding: np.ndarray,
        service_logits: np.ndarray,
        application_logits: np.ndarray,
        malicious_logits: np.ndarray,
        kind_logits: np.ndarray | None = None,
    ) -> Verdicts:
        temperatures = self.bundle.temperatures
        rows = np.arange(len(service_logits))
        seen = self._site.seen(embedding) if self._site else None

        services = softmax(service_logits / temperatures["service"])
        best = services.argmax(axis=1)
        service_score = services[rows, best].round(4)
        sure = self._sure("service", service_logits, service_score)
        service = np.where(sure, best, len(self._services) - 1)
        if seen:
            service, service_score = self._together("service", seen, services, service, service_score)

        # Not normalised again after the restriction: an application that the network thought unlikely stays so.
        unrestricted = softmax(application_logits / temperatures["application"])
        known = unrestricted.shape[1]
        applications = unrestricted * self._consistent[service, :known]
        best = applications.argmax(axis=1)
        application_score = applications[rows, best].round(4)
        sure = self._sure("application", application_logits, application_score)
        if "application" in self.bundle.energies:
            # Energy says that the window is of something known: of what the network thinks, not of what the service
            # leaves of that.
            sure &= best == application_logits.argmax(axis=1)
        possible = self._consistent[service, best] & sure
        application = np.where(possible, best, len(self._applications) - 1)
        if seen:
            application, application_score = self._together(
                "application", seen, unrestricted, application, application_score, self._consistent[service]
            )
            if self.drift:
                self.drift.take(seen.plain, application == len(self._applications) - 1)

        log_odds = (malicious_logits.reshape(len(rows)) / temperatures["malicious"]).astype(np.float64)
        if seen:
            log_odds += seen.judgement()
        log_odds = np.nan_to_num(np.clip(log_odds, -_CERTAIN, _CERTAIN), nan=-_CERTAIN)
        probability = 1 / (1 + np.exp(-log_odds))
        malicious_score = probability.round(4)
        malicious = malicious_score >= self._malicious[service]
        kinds = np.zeros((len(rows), 0)) if kind_logits is None else softmax(kind_logits / temperatures[KIND])
        answers = (services, unrestricted, np.column_stack((probability, 1 - probability)), kinds)
        return Verdicts(
            [self._services[i] for i in service.tolist()],
            service_score,
            [self._applications[i] for i in application.tolist()],
            application_score,
            malicious,
            malicious_score,
            self._kinds(malicious, kinds),
            log_odds,
            kinds,
            likeness(answers),
            embedding if self._embeds else embedding[:, :0],
        )

    def _own(self, task: str, labels: list[str]) -> list[str]:
        """The site's labels that are not among these."""
        assert self._site
        answers = self._site.answers.get(task)
        return [label for label in answers.labels if label not in labels] if answers else []

    def _together(
        self,
        task: str,
        seen: Seen,
        network: np.ndarray,
        decided: np.ndarray,
        score: np.ndarray,
        possible: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The network's probabilities (n, labels) and the site's as one: where their best label is sure, and the window
        like one that the site knows, it stands; else what the network ``decided`` by itself, with its ``score``.
        ``possible`` bool (n, labels of both): what may be."""
        answers = seen.site.answers.get(task)
        if answers is None:
            return decided, score
        places, labels = self._places[task]
        own, like = seen.probabilities(task)
        both = mixture(network, own, places, labels, answers.share)
        if possible is not None:
            both *= possible
        best = both.argmax(axis=1)
        of_both = both[np.arange(len(best)), best].round(4)
        sure = (of_both >= answers.threshold) & (like.round(4) >= answers.alike)
        return np.where(sure, best, decided), np.where(sure, of_both, score)

    def _kinds(self, malicious: np.ndarray, scores: np.ndarray) -> list[str]:
        """Of each window, empty where it is not malicious or the network is not sure."""
        kinds = [""] * len(malicious)
        rows = np.flatnonzero(malicious)
        if not scores.shape[1] or not len(rows):
            return kinds
        probabilities = scores[rows]
        sure = probabilities.max(axis=1).round(4) >= self.bundle.thresholds[KIND]
        for row, kind in zip(rows[sure].tolist(), probabilities[sure].argmax(axis=1).tolist(), strict=True):
            kinds[row] = self.bundle.malicious_kinds[kind]
        return kinds

    def _sure(self, task: str, logits: np.ndarray, score: np.ndarray) -> np.ndarray:
        """Which windows get a label, by what the bundle says it hangs on."""
        most = self.bundle.energies.get(task)
        if most is None:
            return np.asarray(score >= self.bundle.thresholds[task])
        return np.asarray(energy(logits, self.bundle.temperatures[task]).round(4) <= most)

    def _try_out(self) -> None:
        """Run the network once on plain windows, and look at what comes out."""
        window = SeriesBatch.from_lists([[1] * MIN_PACKETS] * _FILL, [[0] * MIN_PACKETS] * _FILL)
        try:
            outputs = self.run(features.model_input(window), window.lengths)
        except Exception as error:  # noqa: BLE001
            raise self._problem(f"does not run on this mmtt's features ({error})") from None
        kinds = self.bundle.malicious_kinds
        widths = (len(self.bundle.services), len(self.bundle.applications), 1, *([len(kinds)] if kinds else []))
        for name, output, width in zip(
            self._outputs, outputs, widths, strict=False
        ):  # an embedding is as wide as it is
            # Only the answer that is one number may lack the second axis.
            if output.shape not in ((_FILL, width), (_FILL,) if name == "malicious_logits" else None):
                raise self._problem(f"gives {name} of shape {output.shape}, the taxonomy wants ({_FILL}, {width})")

        self.width = outputs[-1].shape[1] if len(outputs) > len(self.bundle.tasks) else 0
        if self._site and self._site.width != self.width:
            raise self._problem(
                f"gives an {EMBEDDING} of {self.width} numbers, the site's own answers were learnt from "
                f"{self._site.width}"
            )

    def _problem(self, text: str) -> BundleError:
        # The file is as it was written, its SHA-256 was checked: to install it again would not help.
        return BundleError(f"{self._path}: the network {' '.join(text.split())}; take another bundle")


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities, float64; rows that hold no number at all become all zero, so that no label is sure."""
    logits = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):
        exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: np.ndarray = np.nan_to_num(exponent / exponent.sum(axis=1, keepdims=True), nan=0.0)
    return probabilities


def energy(logits: np.ndarray, temperature: float) -> np.ndarray:
    """(n, classes) -> (n,): the free energy, higher for what is unlike all that the network knows (Liu et al.,
    NeurIPS 2020). Infinite for rows that hold no number."""
    scaled = logits.astype(np.float64) / temperature
    most = scaled.max(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = -temperature * (most + np.log(np.exp(scaled - most[:, None]).sum(axis=1)))
    unlike: np.ndarray = np.nan_to_num(found, nan=np.inf)
    return unlike
