"""ONNX Runtime is imported in one place, with its telemetry off; what it can't load is told with what helps."""

import ast
import os
import re
import subprocess
import sys

import pytest
from places import ROOT
from tiny_bundle import make_bundle, network

from mmtt_agent import bundle
from mmtt_agent.bundle import BundleError
from mmtt_agent.classifier import Classifier
from mmtt_agent.runtime import onnxruntime


def imported(source: str) -> set[str]:
    """The top-level names of what a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def test_nothing_else_imports_onnxruntime():
    parts = ("mmtt_agent", "model", "tests", "examples", "docs")
    files = [path for part in parts for path in sorted((ROOT / part).rglob("*.py"))]
    found = [str(path.relative_to(ROOT)) for path in files if "onnxruntime" in imported(path.read_text("utf-8"))]
    assert found in ([], ["mmtt_agent/runtime.py"])  # none where only the tests are


@pytest.mark.parametrize("module", ["mmtt_agent", "mmtt_agent.bundle", "mmtt_agent.classifier", "mmtt_agent.cli"])
def test_telemetry_is_off_whatever_is_imported_first_and_whatever_the_environment_says(module):
    program = f"import {module}, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"ORT_DISABLE_TELEMETRY": "0"}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "1\n"


def refused(directory, onnx: bytes) -> str:
    made = make_bundle(directory, onnx)
    with pytest.raises(BundleError) as caught:
        Classifier(bundle.load(made))
    text = str(caught.value)
    assert text.startswith(f"{made}/model.onnx: the network ") and "\n" not in text and "install the bundle" not in text
    return text


def test_a_network_for_a_newer_runtime_names_versions_and_what_to_type(tmp_path):
    # The first field of the file is the version of its format.
    good = network()
    assert good[:2] == b"\x08\x08"
    text = refused(tmp_path, b"\x08\x63" + good[2:])
    assert re.search(
        rf"is too new for onnxruntime {re.escape(onnxruntime.__version__)} \(Unsupported model IR version: 99, max "
        r"supported IR version: \d+\), mmtt needs 1\.19 at least; type: pip install --upgrade onnxruntime$",
        text,
    )


def test_operators_of_a_newer_standard_too(tmp_path):
    onnx = pytest.importorskip("onnx")
    made = onnx.load_from_string(network())
    made.opset_import[0].version = 99
    text = refused(tmp_path, made.SerializeToString())
    assert re.search(r"\(opset 99; it knows them up to opset \d+\).*pip install --upgrade onnxruntime$", text)


def test_what_is_no_network_is_not_taken_for_one_that_is_too_new(tmp_path):
    text = refused(tmp_path, b"not a network")
    assert f"can't be loaded by onnxruntime {onnxruntime.__version__} (" in text and text.endswith(
        "; take another bundle"
    )
