"""What runs in production: capture reader, features, classifier and the agent that serves Zeek."""

from __future__ import annotations

import os

#: The one place of the version: pyproject.toml takes it from here, a test holds the others to it.
__version__ = "0.7.0"

# Since 1.29 ONNX Runtime's wheels for Linux report to their maker from the moment they are imported, unless this is set
# before: a sensor contacts its Zeek and nobody else. Here, as nothing of mmtt is imported before this (runtime.py).
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
