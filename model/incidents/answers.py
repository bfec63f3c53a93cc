"""What networks that have not seen a capture's site say of its windows."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data.dataset import Dataset
from ..data.labels import MISSING
from ..data.pairs import Pairs
from ..data.split import SPLITS
from ..network.architecture import TASKS, Network
from ..network.infer import infer
from ..studies.cross_site import LeftOut


@dataclass
class Answers:
    """Of the ``w`` windows of `Pairs`.

    Attributes:
        part: int64 (captures,): which of the networks of `LeftOut` has not seen the capture's site; the number of them
            for test sites, which what ships has not seen; MISSING for a capture of whose site nothing is known.
        logits: float32 (w, classes) by task, malicious (w,); zero where the part is MISSING.
    """

    part: np.ndarray
    logits: dict[str, np.ndarray]


def answers(
    pairs: Pairs, dataset: Dataset, left_out: LeftOut, shipped: Network, cache: Path, say: Callable[[str], None]
) -> Answers:
    """Ask the networks, or read from the file ``cache`` what the same ones said of the same windows."""
    part = _parts(pairs, dataset, left_out)
    networks = [*(network() for _, network in left_out.parts), shipped]
    key = _key(pairs, networks)
    stored = _load(cache, key)
    if stored is not None:
        say(f"{cache}: answers from an earlier run")
        return Answers(part, stored)
    of_window = part[pairs.capture[pairs.connection]]
    logits: dict[str, np.ndarray] = {}
    for number, network in enumerate(networks):
        rows = np.flatnonzero(of_window == number)
        say(f"asking network {number + 1} of {len(networks)} of {len(rows):,} windows of sites that it has not seen")
        for task, values in infer(network, pairs.series[rows]).items():
            logits.setdefault(task, np.zeros((len(of_window), *values.shape[1:]), np.float32))[rows] = values
    new = cache.with_name(f".{cache.name}.new.npz")
    stored_as: dict[str, Any] = {task: logits[task] for task in TASKS}
    np.savez_compressed(new, key=np.array(key), **stored_as)
    os.replace(new, cache)
    return Answers(part, logits)


def _key(pairs: Pairs, networks: list[Network]) -> str:
    """Changes with the windows and with the networks' weights."""
    digest = hashlib.sha256(pairs.key.encode())
    for network in networks:
        for name, tensor in sorted(network.state_dict().items()):
            digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _parts(pairs: Pairs, dataset: Dataset, left_out: LeftOut) -> np.ndarray:
    part_of: dict[str, int] = {}
    for number, (parted, _) in enumerate(left_out.parts):
        inside = parted.split == SPLITS.index("test")
        part_of |= {dataset.sites[site]: number for site in np.unique(dataset.site[inside]).tolist()}
    held = np.unique(dataset.site[dataset.split == SPLITS.index("test")]).tolist()
    part_of |= {dataset.sites[site]: len(left_out.parts) for site in held}
    return np.array([part_of.get(site, MISSING) for site in pairs.sites], np.int64)


def _load(cache: Path, key: str) -> dict[str, np.ndarray] | None:
    try:
        with np.load(cache) as stored:
            if str(stored["key"]) != key:
                return None
            return {task: stored[task] for task in TASKS}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
