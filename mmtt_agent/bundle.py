"""Load and verify a bundle: the directory with ``model.onnx`` and ``bundle.yaml`` that an agent runs."""

from __future__ import annotations

import hashlib
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any, NoReturn

import yaml

from . import __version__
from . import site as sites
from .features import FEATURE_VERSION
from .incidents import FEATURES, OTHERS, UNITS, IncidentModel, UnitModel
from .site import Site, SiteError

#: The layout of ``bundle.yaml`` that this version reads.
FORMAT = 1
#: Longest label, and name of a model, in bytes; Zeek's package takes no longer ones.
MAX_LABEL = 64
#: The word written where no label is sure enough; no label may be called so.
UNKNOWN = "unknown"
#: The questions that every model answers, in the order of its outputs.
TASKS = ("service", "application", "malicious")
#: A fourth, of bundles that name ``malicious_kinds``: its calibration, threshold and output are called so.
KIND = "malicious_kind"
#: The output of a network, since 0.6.0, that says what it knew of a window when it gave its answers.
EMBEDDING = "window_embedding"
#: The file of a site's own answers, where ``bundle.yaml`` has a section ``site``.
SITE = "site.npz"
#: Of harmless units, how many may be called an incident where ``incidents`` does not say.
_INCIDENT_SHARE = "0.1%"
#: A share of false positives as bundles, options and settings spell it.
_SHARE = re.compile(r"\d{1,2}(\.\d{1,4})?%", re.ASCII)


class BundleError(Exception):
    """A bundle that can't be used; the text is one line that names the file, what is wrong and the remedy."""


@dataclass(frozen=True)
class Application:
    """An application and the services that its flows may belong to."""

    name: str
    services: tuple[str, ...]


@dataclass(frozen=True)
class Bundle:
    """A verified bundle.

    Attributes:
        onnx: the bytes of ``model.onnx`` whose SHA-256 was checked.
        temperatures: per task, what its logits are divided by.
        thresholds: per task, the least probability for a label (malicious: for "yes").
        malicious_kinds: what a malicious window may be: "scan", "tunnel" and so on; empty for a bundle that does not
            tell them apart.
        energies: service and application, where that is what a label hangs on instead of its probability: the
            most of it.
        false_positives: what the threshold for malicious may be instead, by the share of harmless windows that it flags
            ("1%"); empty where the bundle does not say.
        of_services: the least probability of malicious for windows of a service ("unknown", too) that has not
            ``thresholds``'; a site's.
        incidents: what makes incidents of evidence over connections; None for a bundle up to 0.4.0.
        site: answers that a site has learnt from its own traffic; None for what came with mmtt.
        mmtt: the version of mmtt that wrote it; None for one from before 0.2.0.
        trained: free-form provenance.
    """

    path: Path
    name: str
    feature_version: int
    model_sha256: str
    services: tuple[str, ...]
    applications: tuple[Application, ...]
    temperatures: dict[str, float]
    thresholds: dict[str, float]
    onnx: bytes = field(repr=False)
    energies: dict[str, float] = field(default_factory=dict)
    false_positives: dict[str, float] = field(default_factory=dict)
    malicious_kinds: tuple[str, ...] = ()
    of_services: dict[str, float] = field(default_factory=dict)
    incidents: IncidentModel | None = field(default=None, repr=False)
    site: Site | None = field(default=None, repr=False)
    mmtt: str | None = None
    trained: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def model(self) -> str:
        """The model column of ``mmtt.log``: ``<name>@<first 8 hex digits of the model's SHA-256>``, and behind a ``+``
        those of a site's own answers."""
        return f"{self.name}@{self.model_sha256[:8]}{f'+{self.site.sha256[:8]}' if self.site else ''}"

    @property
    def tasks(self) -> tuple[str, ...]:
        """The questions that its network answers: TASKS, and KIND where it has kinds."""
        return (*TASKS, KIND) if self.malicious_kinds else TASKS


def load(path: str | Path | None = None, false_positives: str | None = None) -> Bundle:
    """Load the bundle in directory ``path``; without one, the bundle that is shipped with mmtt.

    Args:
        false_positives: take the threshold for malicious that flags this share of harmless windows ("1%"), not the
            bundle's own.

    Raises:
        BundleError: a file is missing or damaged, or the bundle is for another version of mmtt, or has no such
            threshold.
    """
    directory = Path(path) if path is not None else _shipped()
    yaml_path = directory / "bundle.yaml"
    onnx_path = directory / "model.onnx"
    text = _read(yaml_path)
    onnx = _read(onnx_path)
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BundleError(f"{yaml_path}: not YAML ({_one_line(error)}); install the bundle again") from None
    fields = _Fields(yaml_path, content)

    written_by = fields.text("mmtt") if "mmtt" in content else None
    matching = f"install mmtt {written_by}, which wrote it, or" if written_by else "install a matching mmtt, or"
    for key, ours, does in (("format", FORMAT, "reads"), ("feature_version", FEATURE_VERSION, "computes")):
        if (theirs := fields.integer(key)) != ours:
            fields.fail(
                key, f"is {theirs}, this mmtt {__version__} {does} {ours}; {matching} a bundle for {__version__}"
            )
    sha256 = fields.text("model_sha256").lower()
    actual = hashlib.sha256(onnx).hexdigest()
    if sha256 != actual:
        raise BundleError(
            f"{onnx_path}: SHA-256 is {actual[:16]}…, {yaml_path.name} says {sha256[:16]}…; install the bundle again"
        )
    services = fields.labels("services")
    # Bundles up to 0.2.0 have none.
    kinds = fields.labels("malicious_kinds") if "malicious_kinds" in content else ()
    tasks = (*TASKS, KIND) if kinds else TASKS
    thresholds = {task: fields.threshold(f"thresholds.{task}") for task in tasks}
    shares = fields.shares("false_positives")
    if false_positives is not None:
        if false_positives not in shares:
            others = f"; there are {', '.join(shares)}" if shares else " nor any other share"
            fields.fail("false_positives", f"has no threshold for {false_positives}{others}")
        thresholds["malicious"] = shares[false_positives]
    return Bundle(
        path=directory,
        name=fields.text("name"),
        feature_version=FEATURE_VERSION,
        model_sha256=sha256,
        services=services,
        applications=fields.applications(services),
        temperatures={task: fields.temperature(task) for task in tasks},
        thresholds=thresholds,
        energies=fields.energies(),
        false_positives=shares,
        malicious_kinds=kinds,
        incidents=fields.incidents(kinds) if "incidents" in content else None,
        site=fields.site(directory / SITE, services) if "site" in content else None,
        onnx=onnx,
        mmtt=written_by,
        trained=content["trained"] if isinstance(content.get("trained"), dict) else {},
    )


def with_thresholds(bundle: Bundle, malicious: Mapping[str, float]) -> Bundle:
    """A bundle with a site's own thresholds for malicious, by service, and for OTHERS, which are not named."""
    of_services = {name: threshold for name, threshold in malicious.items() if name != OTHERS}
    thresholds = {**bundle.thresholds, "malicious": malicious.get(OTHERS, bundle.thresholds["malicious"])}
    return replace(bundle, thresholds=thresholds, of_services=of_services)


def _shipped() -> Path:
    """The directory of the data package ``mmtt_bundle``."""
    try:
        return Path(str(resources.files("mmtt_bundle")))
    except ModuleNotFoundError:
        raise BundleError(
            "mmtt_bundle: the shipped bundle is not installed; install mmtt again or name one with --bundle"
        ) from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror or error}; name a directory with a bundle") from None


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _is_label(value: Any) -> bool:
    """Whether it can stand in a column of Zeek's logs and mean nothing else there."""
    if not isinstance(value, str) or not value.isprintable() or value != value.strip():
        return False
    return 0 < len(value.encode()) <= MAX_LABEL and value not in (UNKNOWN, "-", "(empty)")


def _short(value: Any) -> str:
    """What was found, cut short: aliases in YAML can make a few lines stand for a billion words."""
    return reprlib.repr(value)[:100]


class _Fields:
    """Typed access to the content of ``bundle.yaml``; what is missing or wrong raises BundleError with its key."""

    def __init__(self, path: Path, content: Any) -> None:
        self._path = path
        if not isinstance(content, dict):
            raise BundleError(f"{path}: must be a mapping of keys; install the bundle again")
        self._content = content

    def fail(self, key: str, problem: str) -> NoReturn:
        raise BundleError(f"{self._path}: {key} {problem}")

    def _get(self, key: str) -> Any:
        value: Any = self._content
        for part in key.split("."):
            if not isinstance(value, dict) or part not in value:
                self.fail(key, "is missing; install the bundle again")
            value = value[part]
        return value

    def integer(self, key: str) -> int:
        value = self._get(key)
        if not isinstance(value, int) or isinstance(value, bool):
            self.fail(key, f"must be an integer, not {_short(value)}")
        return value

    def text(self, key: str) -> str:
        value = self._get(key)
        if not _is_label(value) or any(c.isspace() for c in value):
            self.fail(key, f"must be a word, not {_short(value)}")
        return str(value)

    def number(self, key: str) -> float:
        return self._number(key, self._get(key))

    def _number(self, key: str, value: Any) -> float:
        if type(value) not in (int, float) or not abs(value) < 1e6:
            self.fail(key, f"must be a number, not {_short(value)}")
        return float(value)

    def temperature(self, task: str) -> float:
        key = f"calibration.{task}.temperature"
        value = self.number(key)
        if value <= 0:
            self.fail(key, f"must be above 0, not {value}")
        return value

    def threshold(self, key: str) -> float:
        return self._probability(key, self.number(key))

    def energies(self) -> dict[str, float]:
        """By task, for those that ``abstain`` by energy; none in a bundle that does not say by what."""
        measures = self._content.get("abstain", {})
        if not isinstance(measures, dict) or not {*measures} <= {*TASKS[:2]}:
            self.fail("abstain", f"must say by what service and application are unknown, not {_short(measures)}")
        for task, measure in measures.items():
            if measure not in ("probability", "energy"):
                self.fail(f"abstain.{task}", f"must be probability or energy, not {_short(measure)}")
        return {task: self.number(f"energies.{task}") for task, by in measures.items() if by == "energy"}

    def shares(self, key: str) -> dict[str, float]:
        """Thresholds by share; none in a bundle that was made before there were any."""
        values = self._by_share(key, self._content.get(key, {}))
        return {share: self._probability(f"{key}: {share}", value) for share, value in values.items()}

    def _by_share(self, key: str, values: Any) -> dict[str, Any]:
        if not isinstance(values, dict):
            self.fail(key, f"must hold thresholds by share, not {_short(values)}")
        for share in values:
            if not isinstance(share, str) or not _SHARE.fullmatch(share):
                self.fail(key, f"must hold shares such as 0.1%, not {_short(share)}")
        return values

    def incidents(self, kinds: tuple[str, ...]) -> IncidentModel:
        """See :attr:`Bundle.incidents`."""
        section = self._mapping("incidents")
        units = [unit for unit in UNITS if unit in section]
        if not units or (strange := [key for key in section if key not in ("quantiles", "share", *UNITS)]):
            what = f"not {_short(strange[0])}" if units else "one at least"
            self.fail("incidents", f"must hold quantiles, share and {', '.join(UNITS)}, {what}")
        share = section.get("share", _INCIDENT_SHARE)
        quantiles = self._quantiles("incidents.quantiles")
        return IncidentModel({unit: self._unit(f"incidents.{unit}", share) for unit in units}, share, quantiles, kinds)

    def _quantiles(self, key: str) -> dict[str, float]:
        by_share = sorted(self._by_share(key, self._get(key)).items(), key=lambda item: float(item[0][:-1]))
        found = {share: self._number(f"{key}: {share}", value) for share, value in by_share}
        if [*found.values()] != sorted(found.values()):
            self.fail(key, "must grow with the share")
        return found

    def _unit(self, key: str, share: Any) -> UnitModel:
        weights = self._mapping(f"{key}.weights")
        if strange := [name for name in weights if name not in FEATURES]:
            self.fail(f"{key}.weights", f"holds {_short(strange[0])}, which is none of {', '.join(FEATURES)}")
        thresholds = self._by_share(f"{key}.thresholds", self._get(f"{key}.thresholds"))
        if share not in [*thresholds]:
            self.fail(f"{key}.thresholds", f"has none for {_short(share)}, the share that counts")
        return UnitModel(
            self.number(f"{key}.bias"),
            {name: self._number(f"{key}.weights.{name}", value) for name, value in weights.items()},
            {name: self._probability(f"{key}.thresholds: {name}", value) for name, value in thresholds.items()},
        )

    def _mapping(self, key: str) -> dict[Any, Any]:
        value = self._get(key)
        if not isinstance(value, dict) or not value:
            self.fail(key, f"must be a mapping of keys, not {_short(value)}")
        return value

    def _probability(self, key: str, value: Any) -> float:
        if not 0 <= self._number(key, value) <= 1:
            self.fail(key, f"must be from 0 to 1, not {value}")
        return float(value)

    def labels(self, key: str) -> tuple[str, ...]:
        values = self._get(key)
        if not isinstance(values, list) or not values:
            self.fail(key, "must be a list of names")
        return tuple(self._unique(key, [self._label(key, value) for value in values]))

    def site(self, path: Path, services: tuple[str, ...]) -> Site:
        """See :attr:`Bundle.site`; it may know services beside these."""
        data = _read(path)
        told = str(self._get("site.sha256"))
        if (actual := hashlib.sha256(data).hexdigest()) != told:
            raise BundleError(
                f"{path}: SHA-256 is {actual[:16]}…, bundle.yaml says {told[:16]}…; `mmtt learn fit` again"
            )
        labels: dict[str, tuple[str, ...]] = {}
        applications: tuple[Application, ...] = ()
        if "services" in self._mapping("site"):
            labels["service"] = self.labels("site.services")
            services = (*services, *(each for each in labels["service"] if each not in services))
        if "applications" in self._mapping("site"):
            applications = self.applications(services, "site.applications")
            labels["application"] = tuple(each.name for each in applications)
        try:
            return sites.site(
                sites.unpacked(data),
                labels=labels,
                shares={task: self.threshold(f"site.shares.{task}") for task in labels},
                thresholds={task: self.threshold(f"site.thresholds.{task}") for task in labels},
                alike={task: self.number(f"site.alike.{task}") for task in labels},
                services_of={each.name: each.services for each in applications},
                shift=self.number("site.shift"),
                unknown=self.threshold("site.unknown"),
                unknown_most=self.threshold("site.unknown_most"),
                until=self.integer("site.until"),
                sha256=actual,
            )
        except SiteError as error:
            raise BundleError(f"{path}: {error}; `mmtt learn fit` again") from None

    def applications(self, services: tuple[str, ...], where: str = "applications") -> tuple[Application, ...]:
        entries = self._get(where)
        if not isinstance(entries, list) or not entries:
            self.fail(where, "must be a list of name and services")
        found = []
        for entry in entries:
            if not isinstance(entry, dict) or not isinstance(entry.get("services"), list) or not entry["services"]:
                self.fail(where, f"must each have a name and a list of services, not {_short(entry)}")
            name = self._label(where, entry.get("name"))
            key = f"{where}: {name}"
            of = self._unique(key, [self._label(key, service) for service in entry["services"]])
            for service in of:
                if service not in services:
                    self.fail(key, f"names {service!r}, which is not among the services")
            found.append(Application(name, tuple(of)))
        self._unique(where, [application.name for application in found])
        return tuple(found)

    def _label(self, key: str, value: Any) -> str:
        if not _is_label(value):
            self.fail(key, f"holds {_short(value)}, which can't be a label")
        return str(value)

    def _unique(self, key: str, values: list[str]) -> list[str]:
        for place, value in enumerate(values):
            if value in values[:place]:
                self.fail(key, f"names {_short(value)} twice")
        return values
