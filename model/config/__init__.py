"""What ``mmtt train`` is told: a YAML file of a few sections, every key checked."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..data.dataset import Selection


class ConfigError(Exception):
    """A configuration that can't be used; one line that names the file, the key and what it may be."""


@dataclass(frozen=True)
class Training:
    """How the weights are found.

    Attributes:
        epochs: how often ``windows`` are drawn; a choice made by cross-validation over sites.
        windows: drawn in an epoch, by the weights of `mmtt_model.data.weights`.
        batch: windows per step.
        warm_up: share of all steps in which the learning rate rises to ``learning_rate``; then it falls as a cosine.
        average: decay per step of the running mean of the weights, which is what is scored and shipped; 0 for none.
        augment: share of the training windows that are changed before each use.
        other_mtu: share of these in which what was sent in full packets is cut anew for another MTU.
        prior: how far the answers are moved from the classes' shares in training to those that there are, 0 to 1.
        no_gaps: share of the training windows whose times are not shown, besides those that have none.
        lab: share of the training windows that come from the traffic lab, where its captures are given.
        teacher: share of the loss that is the distance from boosted trees' answers; 0 to learn from the labels alone.
        teacher_network: the architecture of a network that teaches beside the trees, by the mean of both; empty for
            none.
        pretraining: epochs of guessing hidden packets before that, on all windows, labelled or not; 0 for none.
        hidden: share of the packets that are hidden then.
        service, application, malicious, malicious_kind: weight of each task's loss.
        threads: cores to use.
    """

    epochs: int = 10
    windows: int = 20_480
    batch: int = 256
    learning_rate: float = 0.002
    weight_decay: float = 0.05
    warm_up: float = 0.05
    average: float = 0.995
    augment: float = 0.7
    other_mtu: float = 0.0
    no_gaps: float = 0.0
    prior: float = 0.0
    lab: float = 0.5
    teacher: float = 0.0
    teacher_network: dict[str, Any] = field(default_factory=dict)
    pretraining: int = 0
    hidden: float = 0.25
    label_smoothing: float = 0.05
    service: float = 1.0
    application: float = 1.0
    malicious: float = 1.0
    malicious_kind: float = 0.3
    threads: int = 1

    def __post_init__(self) -> None:
        for name in ("epochs", "windows", "batch", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        shares = ("warm_up", "average", "augment", "other_mtu", "lab", "label_smoothing", "teacher", "hidden")
        for name in (*shares, "no_gaps", "prior"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1")
        if self.teacher_network and not self.teacher:
            raise ValueError("teacher_network teaches nothing where teacher is 0")
        for name in ("service", "application", "malicious", "malicious_kind"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more")
        if self.pretraining < 0:
            raise ValueError("pretraining must be 0 or more epochs")
        if self.lab == 1:
            raise ValueError("lab must be below 1; train on the lab alone with `mmtt lab effect`")
        if self.learning_rate <= 0:
            raise ValueError("learning_rate must be above 0")


@dataclass(frozen=True)
class Decision:
    """When an answer is given.

    Attributes:
        accuracy: service, application and kind: answers above the threshold are right this often, of those for sites
            that their model had not seen.
        false_positives: malicious: share of the harmless windows of such sites flagged, if whoever runs the model does
            not choose another.
    """

    accuracy: float = 0.8
    false_positives: float = 0.01

    def __post_init__(self) -> None:
        for name in ("accuracy", "false_positives"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} must be between 0 and 1")


@dataclass(frozen=True)
class Evaluation:
    """What is trained besides the model that ships, to say how good it is.

    Attributes:
        seeds: trainings in all, each with the next seed; the first ships.
        peer_seeds: of these, with how many what ours is compared with is trained.
        site_folds: parts of the sites in training and validation, each left out of a training of its own, whose answers
            for it temperatures and thresholds come from.
        class_folds: parts of the applications, each left out of a training of its own; 0 for none.
        without_lab: whether ours is trained without the lab's captures, too, where they are given.
        by_capture: whether ours is also trained and tested with captures split, not sites: what that hides.
        halves: whether ours by one modality, and for one task, is trained with the same seeds.
        networks: whether other networks are.
    """

    seeds: int = 1
    peer_seeds: int = 5
    site_folds: int = 2
    class_folds: int = 0
    without_lab: bool = False
    by_capture: bool = False
    halves: bool = False
    networks: bool = False

    def __post_init__(self) -> None:
        for name in ("seeds", "peer_seeds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.site_folds < 2:
            raise ValueError("site_folds must be at least 2")
        if self.class_folds < 0 or self.class_folds == 1:
            raise ValueError("class_folds must be 0, or at least 2")


@dataclass(frozen=True)
class Config:
    """The whole file. ``architecture`` holds the arguments of ``mmtt_model.network.architecture.Architecture``."""

    name: str = "mmtt-1"
    seed: int = 1
    architecture: dict[str, Any] = field(default_factory=dict)
    data: Selection = field(default_factory=Selection)
    training: Training = field(default_factory=Training)
    decision: Decision = field(default_factory=Decision)
    evaluation: Evaluation = field(default_factory=Evaluation)

    def compared(self) -> Config:
        """The same for what the card compares ours with: without pretraining, which knows windows of what such a
        training leaves out, and takes as long as the training itself."""
        return dataclasses.replace(self, training=dataclasses.replace(self.training, pretraining=0))

    def compared_name(self) -> str:
        """What the card calls that."""
        return f"{self.name} without pretraining" if self.training.pretraining else self.name


def shipped(path: Path) -> Path:
    """The file that a user means by a path, or by a shipped configuration's name."""
    ours = Path(__file__).with_name(f"{path.name}.yaml")
    return ours if not path.exists() and path.name == str(path) and ours.exists() else path


def read(path: Path) -> Config:
    """The configuration in the YAML file ``path``.

    Raises:
        ConfigError: it can't be read, or a key or a value is wrong.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    content = _section(path, "", content or {}, Config)
    for name, kind in (
        ("data", Selection),
        ("training", Training),
        ("decision", Decision),
        ("evaluation", Evaluation),
    ):
        try:
            content[name] = kind(**_section(path, name, content.get(name, {}), kind))
        except ValueError as error:
            raise ConfigError(f"{path}: {name}: {error}") from None
    if not isinstance(content.get("architecture", {}), dict):
        raise ConfigError(f"{path}: architecture must hold keys and values")
    return Config(**content)


def _section(path: Path, section: str, content: object, kind: type) -> dict[str, Any]:
    where = f"{path}: {section}: " if section else f"{path}: "
    if not isinstance(content, dict):
        raise ConfigError(f"{where}must hold keys and values")
    defaults = {each.name: each for each in dataclasses.fields(kind)}
    checked: dict[str, Any] = {}
    for key, given in content.items():
        if key not in defaults:
            raise ConfigError(f"{where}unknown key {key!r}; known: {', '.join(defaults)}")
        default = getattr(kind(), key)
        value = float(given) if isinstance(default, float) and type(given) is int else given
        if isinstance(default, tuple) and isinstance(value, list):
            value = tuple(value)
            if len(value) != len(default) or not all(isinstance(v, (int, float)) and v > 0 for v in value):
                raise ConfigError(f"{where}{key} must be {len(default)} numbers above 0")
        elif isinstance(default, (int, float, str, tuple, dict)) and type(value) is not type(default):
            raise ConfigError(f"{where}{key} must be like {default!r}, not {value!r}")
        checked[key] = value
    return checked
