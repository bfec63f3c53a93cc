"""Bundles with a site's own answers: written beside one another, the earlier one kept to go back to."""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from .. import whole
from ..bundle import SITE, Bundle, BundleError, load
from ..site import Site, packed
from .errors import LearnError

#: Seconds after which what was left aside is a killed run's, where the file system has no locks to tell.
_LEFT = 60


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
        "alike": {task: round(each.alike, 4) for task, each in site.answers.items()},
    }
    if "service" in site.answers:
        section["services"] = [*site.answers["service"].labels]
    if "application" in site.answers:
        labels = site.answers["application"].labels
        section["applications"] = [{"name": each, "services": [*site.services_of[each]]} for each in labels]
    section["learnt"] = about
    directory = checked(directory)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with whole.alone(directory.parent), _aside(directory) as aside:
            new = _made(aside / "new", base, {"site": section}, data, card)
            load(new)  # what the agent would refuse must not take the place of what it runs
            previous = directory if there(directory) else _made(aside / "base", base, {}, None, "")
            _exchange(directory, new, previous, aside)
    except OSError as error:
        raise LearnError(
            f"{error.filename or directory}: {error.strerror or error}; {directory} is as it was"
        ) from None
    except BundleError as error:
        raise LearnError(f"what was learnt can't be used: {error}; {directory} is as it was") from None


def checked(directory: Path) -> Path:
    """With its whole name, the target of a link.

    Raises:
        LearnError: no bundle can be written there, or what is there, or would be the previous one, is none.
    """
    directory = directory.resolve()  # "." has no name, and a link's is not its target's
    for place in (directory, _previous(directory)):
        if there(place) and not (place / "bundle.yaml").is_file():
            raise LearnError(f"{place}: is there, and is no bundle; name another directory for the bundle")
    above = next(each for each in directory.parents if each.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise LearnError(f"{above}: {'not a directory' if not above.is_dir() else 'can not be written to'}")
    return directory


def there(directory: Path) -> bool:
    """Whether there is a bundle; an empty directory that somebody has made for one is none."""
    try:
        return directory.exists() and not (directory.is_dir() and not any(directory.iterdir()))
    except OSError:  # to load it tells why
        return True


def back(directory: Path) -> None:
    """Take the bundle that was in ``directory`` before, and keep the one that is there in its place.

    Raises:
        LearnError: there is none.
    """
    directory = directory.resolve()  # "." has no name, and a link's is not its target's
    previous = _previous(directory)
    if not (previous / "bundle.yaml").exists():
        raise LearnError(f"{directory}: there is no earlier bundle ({previous}) to go back to")
    try:
        load(previous)
    except BundleError as error:
        raise LearnError(f"the earlier bundle can't be used: {error}; {directory} is as it was") from None
    try:
        with whole.alone(directory.parent), _aside(directory) as aside:
            _exchange(directory, previous, directory, aside)
    except OSError as error:
        raise LearnError(f"{directory}: {error.strerror or error}; it is as it was") from None


def _previous(directory: Path) -> Path:
    return directory.with_name(f"{directory.name}.previous")


@contextmanager
def _aside(directory: Path) -> Iterator[Path]:
    """A directory beside it, which is removed in the end with what is still there; and what a run that was killed has
    left of such goes. Nobody else has any: whoever makes one is alone."""
    for left in directory.parent.glob(f".{glob.escape(directory.name)}.????????"):  # mkdtemp's letters
        if left.is_dir() and not left.is_symlink() and time.time() - left.stat().st_mtime > _LEFT:
            shutil.rmtree(left, ignore_errors=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _made(made: Path, base: Bundle, more: dict[str, Any], data: bytes | None, card: str) -> Path:
    """A complete bundle in a directory that is made for it."""
    content = yaml.safe_load((base.path / "bundle.yaml").read_bytes())
    content.pop("site", None)
    made.mkdir()
    text = yaml.safe_dump({**content, **more}, sort_keys=False, allow_unicode=True, width=110)
    whole.write(made / "model.onnx", base.onnx)
    whole.write(made / "bundle.yaml", text.encode())
    if data is not None:
        whole.write(made / SITE, data)
        whole.write(made / "CARD.md", card.encode())
    return made


def _exchange(directory: Path, new: Path, previous: Path, aside: Path) -> None:
    """``new`` in the place of ``directory``, and ``previous``, which may be what is there, as the one to go back to;
    all of it or nothing. What is no longer wanted comes ``aside``."""
    kept, old = _previous(directory), aside / "old"
    steps = [(kept, old), (previous, kept), (old if new == kept else new, directory)]
    done: list[tuple[Path, Path]] = []
    try:
        for at, to in steps:
            if at.exists():
                os.rename(at, to)
                done.append((at, to))
    except BaseException:
        for at, to in reversed(done):
            os.rename(to, at)
        raise
