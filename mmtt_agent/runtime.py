"""ONNX Runtime with its telemetry off. Nothing else in the project imports it directly.

Since 1.29 its wheels for Linux look up and call a host of their maker, and keep a device id and a database in the home
directory. What counts is ``ORT_DISABLE_TELEMETRY`` in the environment before the import, which ``mmtt_agent`` sets. A
process that has imported onnxruntime on its own before that has begun to report at its import; from here on it reports
nothing further.
"""

from __future__ import annotations

import importlib
import re
from typing import Any

import onnxruntime

__all__ = ["OLDEST", "onnxruntime", "part", "problem"]

#: The oldest version that is supported, as pyproject.toml declares: 1.17 can't load what the exporter writes, 1.18
#: can't be imported beside numpy 2.
OLDEST = "1.19"

#: What it says of a network that was written for a newer one.
_TOO_NEW = re.compile(r"Unsupported model IR version: \d+, max supported IR version: \d+|No Op registered for \S+")
_OPSET = re.compile(r"Opset (\d+) .* till (opset \d+)", re.DOTALL)

onnxruntime.disable_telemetry_events()


def part(name: str) -> Any:
    """A part that onnxruntime does not load by itself, such as ``quantization``."""
    return importlib.import_module(f"onnxruntime.{name}")


def problem(error: Exception) -> str:
    """What to say and do where it can't load a network whose file is whole: it is too old, or the network is none."""
    text = " ".join(str(error).split())
    if found := _OPSET.search(text):
        text = f"opset {found[1]}; it knows them up to {found[2]}"
    elif found := _TOO_NEW.search(text):
        text = found[0]
    else:
        return f"can't be loaded by onnxruntime {onnxruntime.__version__} ({text}); take another bundle"
    return (
        f"is too new for onnxruntime {onnxruntime.__version__} ({text}), mmtt needs {OLDEST} at least; "
        f"type: pip install --upgrade onnxruntime"
    )
