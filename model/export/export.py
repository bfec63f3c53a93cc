"""From a trained model to a bundle: one ``model.onnx`` that equals the torch model, and its ``bundle.yaml``."""

from __future__ import annotations

import hashlib
import logging
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import yaml
from torch import Tensor, nn

from mmtt_agent import __version__, features
from mmtt_agent.bundle import EMBEDDING, FORMAT
from mmtt_agent.runtime import onnxruntime
from mmtt_agent.series import MAX_PAYLOAD_PACKETS, SeriesBatch

from ..evaluation.calibrate import Calibration
from ..network.architecture import TASKS, Model

#: Largest difference between a logit of torch and one of the exported network.
TOLERANCE = 1e-3
OPSET = 18


class ExportError(Exception):
    """The exported network is not the one that was trained."""


class _Exported(nn.Module):
    """A network as it is exported: its logits, and what it knew of the windows when it gave them."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, statistics: Tensor, sizes: Tensor, gaps: Tensor, picture: Tensor) -> tuple[Tensor, ...]:
        """-> the logits of each task, and (B, tasks * D)"""
        embedding = self.model.embed(statistics, sizes, gaps, picture)
        return *self.model.answer(embedding), embedding.flatten(1)


def export_onnx(model: Model, path: Path) -> None:
    """Write ``model`` to ``path``, with its embedding as a further output, for any number of windows and steps of
    packets, and check it against torch.

    Raises:
        ExportError: the written network's logits differ from torch's by more than TOLERANCE.
    """
    was_training = model.training
    model.eval()
    example = Model.inputs(_random_windows(8, seed=0))
    batch = torch.export.Dim("windows")
    packets = features.CUT_STEP * torch.export.Dim("steps", max=MAX_PAYLOAD_PACKETS // features.CUT_STEP)
    axes = [{0: batch, 1: packets} if name in features.CUT_NAMES else {0: batch} for name in features.INPUT_NAMES]
    quiet = logging.getLogger("torch.onnx")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Exported(model),
            example,
            str(path),
            input_names=list(features.INPUT_NAMES),
            output_names=[*(f"{task}_logits" for task in TASKS), EMBEDDING],
            dynamic_shapes=tuple(axes),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    quiet.setLevel(level)
    _strip(path)
    for rows, most in ((1, features.CUT_STEP), (65, MAX_PAYLOAD_PACKETS)):
        difference = largest_difference(model, path, _random_windows(rows, seed=rows).first(most))
        if not difference <= TOLERANCE:
            raise ExportError(f"{path}: the network's logits differ from torch's by {difference:g}")
    model.train(was_training)


def _strip(path: Path) -> None:
    """Take out what the exporter notes about the machine it ran on: stack traces with their paths."""
    network = onnx.load(path)
    graph = network.graph
    for part in (
        network,
        graph,
        *graph.node,
        *graph.value_info,
        *graph.input,
        *graph.output,
        *graph.initializer,
    ):
        del part.metadata_props[:]
        part.ClearField("doc_string")
    onnx.save(network, path)


def largest_difference(model: Model, path: Path, windows: SeriesBatch) -> float:
    """The largest difference of any logit between ``model`` (in eval mode) and the network at ``path``, which is given
    no more places for packets than the windows need."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs = features.cut(features.model_input(windows), int(features.places(windows.lengths).max()))
    exported = session.run([f"{task}_logits" for task in TASKS], inputs)
    with torch.no_grad():
        expected = model(*Model.inputs(windows))
    return max(float(np.abs(a - b.numpy()).max()) for a, b in zip(exported, expected, strict=True))


def write_bundle(
    directory: Path,
    model: Model,
    *,
    name: str,
    services: list[str],
    applications: dict[str, list[str]],
    kinds: list[str],
    calibration: Calibration,
    incidents: dict[str, Any],
    trained: dict[str, Any],
) -> None:
    """Write ``model.onnx`` and ``bundle.yaml`` into ``directory``; the files appear whole or not at all.
    ``incidents`` is that section, empty for none."""
    directory.mkdir(parents=True, exist_ok=True)
    new_onnx, new_yaml = directory / ".model.onnx.new", directory / ".bundle.yaml.new"
    export_onnx(model, new_onnx)
    content = {
        "format": FORMAT,
        "mmtt": __version__,
        "name": name,
        "feature_version": features.FEATURE_VERSION,
        "model_sha256": hashlib.sha256(new_onnx.read_bytes()).hexdigest(),
        "services": services,
        "applications": [{"name": each, "services": sorted(of)} for each, of in applications.items()],
        "malicious_kinds": kinds,
        "calibration": {task: {"temperature": round(float(calibration.temperatures[task]), 4)} for task in TASKS},
        "thresholds": {task: round(float(calibration.thresholds[task]), 4) for task in TASKS},
        "abstain": {task: "energy" if task in calibration.energies else "probability" for task in TASKS[:2]},
        **(
            {"energies": {task: round(float(most), 4) for task, most in calibration.energies.items()}}
            if calibration.energies
            else {}
        ),
        "false_positives": {share: round(float(each), 4) for share, each in calibration.false_positives.items()},
        **({"incidents": incidents} if incidents else {}),
        "trained": trained,
    }
    new_yaml.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110))
    os.replace(new_onnx, directory / "model.onnx")
    os.replace(new_yaml, directory / "bundle.yaml")


def _random_windows(n: int, seed: int) -> SeriesBatch:
    """Windows of every length, to compare networks on."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, MAX_PAYLOAD_PACKETS + 1, n).astype(np.int32)
    filled = np.arange(MAX_PAYLOAD_PACKETS) < lengths[:, None]
    sizes = rng.integers(1, 1500, filled.shape) * rng.choice([-1, 1], filled.shape)
    gaps = np.exp(rng.uniform(0, 14, filled.shape)).astype(np.int64)
    gaps[:, 0] = 0
    return SeriesBatch(
        np.where(filled, sizes, 0).astype(np.int32),
        np.where(filled, np.cumsum(gaps, axis=1), 0).astype(np.int32),
        lengths,
    )
