"""Bundles with a site's own answers: written beside one another, the earlier one kept to go back to."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import yaml

from ..bundle import SITE, Bundle
from ..site import Site, packed
from .errors import LearnError


def write(directory: Path, base: Bundle, site: Site, card: str, about: dict[str, Any]) -> None:
    """Put a bundle into ``directory``: the network of ``base``, and the site's own answers. The one that was there, or
    ``base`` where there was none, is kept for :func:`back`.

    Args:
        card: text of its CARD.md.
        about: provenance, for a person who reads bundle.yaml.

    Raises:
        LearnError: it can't be written; what was there is still there.
    """
    data = packed(site)
    section: dict[str, Any] = {
        "sha256": hashlib.sha256(data).hexdigest(),
        "until": site.until,
        "shift": round(site.shift, 4),
        "unknown": round(site.unknown, 4),
        "unknown_most": round(site.unknown_most, 4),
        "shares": {task: each.share for task, each in site.answers.items()},
        "thresholds": {task: each.threshold for task, each in site.answers.items()},
    }
    if "service" in site.answers:
        section["services"] = [*site.answers["service"].labels]
    if "application" in site.answers:
        labels = site.answers["application"].labels
        section["applications"] = [{"name": each, "services": [*site.services_of[each]]} for each in labels]
    section["learnt"] = about
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        if not directory.exists():
            _place(_made(directory, base, {}, None, ""), _previous(directory))
        new = _made(directory, base, {"site": section}, data, card)
        _exchange(directory, new)
    except OSError as error:
        raise LearnError(
            f"{error.filename or directory}: {error.strerror or error}; {directory} is as it was"
        ) from None


def back(directory: Path) -> None:
    """Take the bundle that was in ``directory`` before, and keep the one that is there in its place.

    Raises:
        LearnError: there is none.
    """
    previous = _previous(directory)
    if not (previous / "bundle.yaml").exists():
        raise LearnError(f"{directory}: there is no earlier bundle ({previous}) to go back to")
    try:
        aside = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent)) / directory.name
        os.rename(directory, aside)
        try:
            os.rename(previous, directory)
        except OSError:
            os.rename(aside, directory)
            raise
        os.rename(aside, previous)
        aside.parent.rmdir()
    except OSError as error:
        raise LearnError(f"{directory}: {error.strerror or error}") from None


def _previous(directory: Path) -> Path:
    return directory.with_name(f"{directory.name}.previous")


def _made(directory: Path, base: Bundle, more: dict[str, Any], data: bytes | None, card: str) -> Path:
    """A complete bundle in a directory of its own beside ``directory``."""
    content = yaml.safe_load((base.path / "bundle.yaml").read_bytes())
    content.pop("site", None)
    made = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        made.chmod(0o755)
        (made / "model.onnx").write_bytes(base.onnx)
        text = yaml.safe_dump({**content, **more}, sort_keys=False, allow_unicode=True, width=110)
        (made / "bundle.yaml").write_text(text, encoding="utf-8")
        if data is not None:
            (made / SITE).write_bytes(data)
            (made / "CARD.md").write_text(card, encoding="utf-8")
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return made


def _place(made: Path, at: Path) -> None:
    shutil.rmtree(at, ignore_errors=True)
    os.rename(made, at)


def _exchange(directory: Path, new: Path) -> None:
    """``new`` in the place of ``directory``, which becomes the previous one."""
    if directory.exists():
        previous = _previous(directory)
        shutil.rmtree(previous, ignore_errors=True)
        os.rename(directory, previous)
        try:
            os.rename(new, directory)
        except OSError:
            os.rename(previous, directory)
            raise
    else:
        os.rename(new, directory)
