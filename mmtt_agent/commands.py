"""The commands of the ``mmtt`` program: found by entry point (group ``mmtt.commands``), each loaded by itself. One that
can't be loaded costs the others nothing: it stands in the list with what it lacks."""

from __future__ import annotations

import copy
import importlib.util
from importlib.metadata import EntryPoint, entry_points
from typing import NoReturn

import click

_GROUP = "mmtt.commands"
_OURS = "mmtt"
_TRAIN = "pip install 'mmtt[train]'"
#: The part of a checkout that is not in an installation.
_LAB = "mmtt_model.lab"
_NO_LAB = "the traffic lab is not part of an installation; run `./mmtt lab` in a checkout, after `./bootstrap lab`"


def names() -> list[str]:
    """All commands, those that can't be loaded, too."""
    return sorted({entry.name for entry in entry_points(group=_GROUP)})


def load(name: str) -> click.Command | None:
    """The command of that name; None if there is none. One that can't be loaded is replaced by one that says why."""
    # Our own come before another package's of the same name.
    found = sorted(entry_points(group=_GROUP, name=name), key=lambda entry: _package(entry) != _OURS)
    if not found:
        return None
    entry, package = found[0], _package(found[0])
    ours = package == _OURS
    if ours and name == "lab" and not _is_there(_LAB):
        return _Missing(name, "a checkout of mmtt", _NO_LAB)
    remedy = _TRAIN if ours else f"pip install --upgrade {package}"
    try:
        command = entry.load()
    except ModuleNotFoundError as error:
        return _Missing(name, remedy, f"`mmtt {name}` needs {error.name}, which is not installed; type: {remedy}")
    except (Exception, SystemExit) as error:  # noqa: BLE001 - another package may raise anything at its import
        what = " ".join(f"{type(error).__name__}: {error}".split())
        line = f"`mmtt {name}`, of the package {package}, can't be loaded ({what}); type: {remedy}"
        return _Missing(name, remedy, line)
    if not isinstance(command, click.Command):
        line = f"`mmtt {name}`, of the package {package}, is no command but a {type(command).__name__}; type: {remedy}"
        return _Missing(name, remedy, line)
    if ours and name in ("train", "study") and not _is_there("torch"):
        # It can be loaded, and its help read; when it is called it says itself what it lacks.
        command = copy.copy(command)
        command.short_help = f"{command.get_short_help_str(60)} (needs: {_TRAIN})"
    return command


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else "?"


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


class _Missing(click.Command):
    """Stands for a command that can't be loaded, whatever its arguments: its help says why, a call is an error."""

    def __init__(self, name: str, needs: str, line: str) -> None:
        super().__init__(
            name,
            callback=self._fail,
            help=f"Not available here: {line}",
            short_help=f"(needs: {needs})",
            context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
        )
        self._line = line

    def _fail(self) -> NoReturn:
        raise click.ClickException(self._line)
