"""What a training left to be taken up again: one safetensors file, written whole or not at all.

Tensors are the file's own, by their place in the state ("optimizer/state/0/exp_avg"); the rest is JSON in its metadata.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

#: Where in the file's metadata the rest is, and what stands there for a tensor.
_REST, _TENSOR = "mmtt", "<tensor>"


def save(path: Path, state: dict[str, Any]) -> None:
    """Keep ``state``: dicts (whose keys are text or whole numbers, not one by the digits of the other), lists and
    tuples (which come back as lists), tensors, numbers, text, None.

    Raises:
        OSError: it can't be written; what was there before is still there.
    """
    tensors: dict[str, torch.Tensor] = {}
    rest = json.dumps(_parted(state, (), tensors))
    new = path.with_name(f".{path.name}.new")
    # Through Python's own writing, whose errors name the file and the reason.
    new.write_bytes(safetensors.torch.save(tensors, {_REST: rest}))
    os.replace(new, path)


def load(path: Path, key: str, say: Callable[[str], None]) -> dict[str, Any] | None:
    """The state in ``path`` if its "key" is ``key``, on the CPU; None if there is no file, or one that is damaged or of
    another run, which is said."""
    if not path.exists():
        return None
    try:
        with safetensors.safe_open(path, "pt") as file:
            state: dict[str, Any] = _joined(json.loads(file.metadata()[_REST]), (), file.get_tensor)
            ours = state["key"] == key
    except Exception:  # noqa: BLE001 a damaged file may raise anything
        ours = False
    if ours:
        return state
    say(f"{path}: damaged, or of other data or settings; begun anew")
    return None


def _parted(value: object, place: tuple[str, ...], tensors: dict[str, torch.Tensor]) -> object:
    """``value`` with its tensors moved to ``tensors``."""
    if isinstance(value, torch.Tensor):
        tensors["/".join(place)] = value.detach().cpu().contiguous()
        return _TENSOR
    if isinstance(value, dict):
        return {key: _parted(each, (*place, str(key)), tensors) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_parted(each, (*place, str(number)), tensors) for number, each in enumerate(value)]
    return value


def _joined(value: object, place: tuple[str, ...], tensor: Callable[[str], torch.Tensor]) -> Any:
    """What `_parted` took apart. JSON's keys are text; an optimizer's are the numbers of its parameters."""
    if value == _TENSOR:
        return tensor("/".join(place))
    if isinstance(value, dict):
        joined = {key: _joined(each, (*place, key), tensor) for key, each in value.items()}
        return {int(key) if key.isdigit() else key: each for key, each in joined.items()}
    if isinstance(value, list):
        return [_joined(each, (*place, str(number)), tensor) for number, each in enumerate(value)]
    return value
