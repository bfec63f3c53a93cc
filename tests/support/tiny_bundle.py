"""Make a small real bundle: a network that looks at the size words only, with labels of its own."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import yaml

from mmtt_agent import features
from mmtt_agent.bundle import EMBEDDING

SERVICES = ["web", "chat", "voip"]
APPLICATIONS = {"Alpha": ["web"], "Beta": ["chat", "voip"], "Gamma": ["web", "chat"]}
#: Of a bundle that tells kinds of malicious apart: see :func:`with_kinds`.
KINDS = ["command_and_control", "scan", "brute_force"]


def network(services: int = 3, applications: int = 3, scale: float = 8.0, kinds: int = 0, embedding: int = 0) -> bytes:
    """model.onnx: each size word votes for labels by fixed random weights, and the votes are averaged.

    Args:
        kinds: of malicious; without any there is no such output, as in bundles up to 0.2.0.
        embedding: its width; with 0 there is no such output, as in bundles up to 0.5.0.
    """
    # Imported here so that where onnx is not installed only the tests that make a bundle skip.
    import pytest

    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    types = {"int32": onnx.TensorProto.INT32, "float32": onnx.TensorProto.FLOAT}
    from mmtt_agent.series import SeriesBatch

    example = features.model_input(SeriesBatch.from_lists([[1] * 4], [[0] * 4]))
    inputs = [
        helper.make_tensor_value_info(name, types[str(array.dtype)], ["n", *array.shape[1:]])
        for name, array in example.items()
    ]
    random = np.random.default_rng(7)
    nodes, weights, outputs = [], [], []
    heads = {"service": services, "application": applications, "malicious": 1, "malicious_kind": kinds}
    for name, width in [(name, width) for name, width in {**heads, EMBEDDING: embedding}.items() if width]:
        output = name if name == EMBEDDING else f"{name}_logits"
        votes = random.normal(0, scale, (features.SIZE_WORDS, width)).astype(np.float32)
        weights.append(onnx.numpy_helper.from_array(votes, f"{name}_votes"))
        nodes.append(helper.make_node("Gather", [f"{name}_votes", "sizes"], [f"{name}_each"]))
        result = f"{name}_wide" if name == "malicious" else output
        nodes.append(helper.make_node("ReduceMean", [f"{name}_each"], [result], axes=[1], keepdims=0))
        shape = ["n", width]
        if name == "malicious":
            weights.append(onnx.numpy_helper.from_array(np.array([-1]), "flat"))
            nodes.append(helper.make_node("Reshape", [result, "flat"], [output]))
            shape = ["n"]
        outputs.append(helper.make_tensor_value_info(output, types["float32"], shape))
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def content(onnx: bytes) -> dict:
    """bundle.yaml for that network."""
    return {
        "format": 1,
        "name": "tiny-1",
        "feature_version": features.FEATURE_VERSION,
        "model_sha256": hashlib.sha256(onnx).hexdigest(),
        "services": list(SERVICES),
        "applications": [{"name": name, "services": services} for name, services in APPLICATIONS.items()],
        "calibration": {task: {"temperature": 1.0} for task in ("service", "application", "malicious")},
        "thresholds": {"service": 0.5, "application": 0.5, "malicious": 0.5},
        "trained": {"on": "nothing"},
    }


def with_kinds() -> dict:
    """What :func:`make_bundle` has to be told for a bundle that tells kinds of malicious apart."""
    tasks = ("service", "application", "malicious", "malicious_kind")
    return {
        "onnx": network(kinds=len(KINDS)),
        "malicious_kinds": KINDS,
        "calibration": {task: {"temperature": 1.0} for task in tasks},
        "thresholds": dict.fromkeys(tasks, 0.5),
    }


def with_incidents(threshold: float = 0.0) -> dict:
    """What :func:`make_bundle` has to be told for a bundle that also finds incidents; with a threshold of 0 every pair
    of hosts is one, with 1 none."""
    unit = {
        "bias": -1.0,
        "weights": {"mean": 1.0, "number": 0.5},
        "thresholds": {"1%": threshold / 2, "0.1%": threshold},
    }
    return with_kinds() | {
        "incidents": {"quantiles": {"50%": -4.0, "90%": -1.0, "99%": 2.0}, "share": "0.1%", "pair": unit}
    }


def make_bundle(directory: Path, onnx: bytes | None = None, **changes) -> Path:
    """Write a bundle into a directory; ``changes`` replace keys of bundle.yaml, None removes one."""
    onnx = network() if onnx is None else onnx
    made = content(onnx) | changes
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "model.onnx").write_bytes(onnx)
    (directory / "bundle.yaml").write_text(yaml.safe_dump({k: v for k, v in made.items() if v is not None}))
    return directory
