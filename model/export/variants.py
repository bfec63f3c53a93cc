"""Faster forms of an exported network: its graph rewritten with fused operators, its weights as 8-bit integers."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx

from mmtt_agent import features, runtime
from mmtt_agent.bundle import Bundle
from mmtt_agent.classifier import CHUNK, Classifier, Verdicts
from mmtt_agent.runtime import onnxruntime
from mmtt_agent.series import SeriesBatch

from ..data.dataset import Dataset
from ..evaluation import evaluate

quantization = runtime.part("quantization")


def runtime_graph(plain: Path, made: Path, windows: SeriesBatch) -> None:
    """The graph as the runtime rewrites it when it loads it, on any processor, saved."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(made)
    onnxruntime.InferenceSession(
        str(plain), options, providers=["CPUExecutionProvider"], disabled_optimizers=["SkipLayerNormFusion"]
    )


def transformer_graph(plain: Path, made: Path, windows: SeriesBatch) -> None:
    """The runtime's separate optimiser for transformers, with every fusion that it finds a place for."""
    optimizer = runtime.part("transformers.optimizer")
    optimizer.optimize_model(str(plain), model_type="bert", opt_level=0).save_model_to_file(str(made))


def int8_dynamic(plain: Path, made: Path, windows: SeriesBatch) -> None:
    """Weights in 8 bits, activations too, by the range they have in the batch."""
    quantization.quantize_dynamic(_prepared(plain), made, op_types_to_quantize=["MatMul"], per_channel=True)


def int8_static(plain: Path, made: Path, windows: SeriesBatch) -> None:
    """Weights in 8 bits, activations too, by the range they have on ``windows``; but for the heads and within
    attention, where one range for all loses the score. Seven bits of the weights are used: with eight, processors
    without VNNI overflow, and a window's verdict would depend on the processor."""

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc, name-defined]  # it has no types
        def __init__(self) -> None:
            inputs = features.model_input(windows)
            self._chunks = iter(
                {name: array[start : start + CHUNK] for name, array in inputs.items()}
                for start in range(0, len(windows), CHUNK)
            )

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._chunks, None)

    prepared = _prepared(plain)
    quantization.quantize_static(
        prepared,
        made,
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        op_types_to_quantize=["Gemm"],
        nodes_to_exclude=_heads(prepared),
        per_channel=True,
        reduce_range=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )


VARIANTS: dict[str, Callable[[Path, Path, SeriesBatch], None]] = {
    "fused by the runtime": runtime_graph,
    "fused for transformers": transformer_graph,
    "int8, dynamic": int8_dynamic,
    "int8, static": int8_static,
}


def make(bundle: Bundle, windows: SeriesBatch) -> dict[str, Classifier]:
    """The bundle's network "as shipped", and each variant of it; ``windows`` show what values occur in it."""
    found = {"as shipped": Classifier(bundle)}
    quiet = logging.getLogger()
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        with tempfile.TemporaryDirectory() as directory:
            plain = Path(directory, "plain.onnx")
            plain.write_bytes(bundle.onnx)
            for number, (name, rewrite) in enumerate(VARIANTS.items()):
                made = Path(directory, f"{number}.onnx")
                rewrite(plain, made, windows)
                found[name] = Classifier(replace(bundle, onnx=made.read_bytes()))
    finally:
        quiet.setLevel(level)
    return found


@dataclass(frozen=True)
class Comparison:
    """What a variant makes of windows, beside the network as shipped.

    Attributes:
        difference: largest of any logit.
        changed: share of the windows with another service, application or malicious.
        company: share of the windows with other answers when others come with them.
    """

    difference: float
    changed: float
    company: float


def compare(shipped: Classifier, variant: Classifier, windows: SeriesBatch) -> Comparison:
    answers = variant.classify(windows)
    shuffled = np.random.default_rng(1).permutation(len(windows))
    halves = np.array_split(shuffled, 2)
    again = np.concatenate([_all(variant.classify(windows[half])) for half in halves])
    return Comparison(
        difference=max(
            float(np.abs(ours - theirs).max())
            for ours, theirs in zip(shipped.logits(windows), variant.logits(windows), strict=True)
        ),
        changed=float((_labels(shipped.classify(windows)) != _labels(answers)).any(axis=1).mean()),
        company=float((_all(answers)[shuffled] != again).any(axis=1).mean()),
    )


def scores(classifier: Classifier, dataset: Dataset, rows: np.ndarray) -> evaluate.Figures:
    """``evaluate.scores`` of the windows ``rows``."""
    logits = dict(zip(classifier.bundle.tasks, classifier.logits(dataset.series[rows]), strict=True))
    return evaluate.scores(dataset, rows, logits, classifier.bundle.temperatures)


def _labels(verdicts: Verdicts) -> np.ndarray:
    return np.stack([verdicts.service, verdicts.application, verdicts.malicious.astype(str)], axis=1)


def _all(verdicts: Verdicts) -> np.ndarray:
    scores = [verdicts.service_score, verdicts.application_score, verdicts.malicious_score]
    return np.concatenate([_labels(verdicts), np.stack(scores, axis=1).astype(str)], axis=1)


def _heads(network: Path) -> list[str]:
    """The names of the layers that give the answers: those from which no other layer follows."""
    nodes = onnx.load(network).graph.node
    read_by = {name: node for node in nodes for name in node.input}
    layers = [node for node in nodes if node.op_type == "Gemm"]

    def last(node: onnx.NodeProto) -> bool:
        after = read_by.get(node.output[0])
        return after is None or (after.op_type in ("Squeeze", "Reshape") and last(after))

    return [node.name for node in layers if last(node)]


def _prepared(plain: Path) -> Path:
    """The graph with every shape worked out, which the quantiser wants."""
    prepared = plain.with_name("prepared.onnx")
    if not prepared.exists():
        runtime.part("quantization.shape_inference").quant_pre_process(
            str(plain), str(prepared), skip_symbolic_shape=True
        )
    return prepared
