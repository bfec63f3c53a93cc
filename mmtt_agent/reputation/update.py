"""From logs to what Suricata reads, and into a running one."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import whole
from . import evidence, files
from .entries import NAME, Entry, Kept, Rules, chosen, read
from .suricata import Suricata, SuricataError

#: How often a running Suricata is told to forget an address that one of its threads just looks up.
_TRIES = 20


@dataclass(frozen=True)
class Change:
    """
    Attributes:
        entries: that are listed now, the surest first.
        added, removed: addresses.
        without_room: how many could not be listed.
        problems: a line for each thing that went wrong.
    """

    entries: tuple[Entry, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    without_room: int
    problems: tuple[str, ...]


def update(
    logs: Sequence[Path],
    directory: Path,
    rules: Rules,
    kinds: Collection[str],
    numbers: files.Numbers,
    suricata: Path | None,
    reload: bool,
) -> Change:
    """Choose who is listed, write the files, and tell Suricata.

    Args:
        directory: of the files.
        kinds: as :func:`.evidence.read` has them.
        suricata: the socket of a running one; None: it is told nothing.
        reload: have it read its rules, and with them the reputation list, anew, if that has changed.

    Raises:
        EntriesError: what was listed can't be read.
        EvidenceError: none of the logs could hold verdicts.
        OSError: the files can't be written.
    """
    found = evidence.read(logs, rules.since, kinds)
    problems = found.problems
    directory.mkdir(parents=True, exist_ok=True)
    with whole.alone(directory):
        before = read(directory / NAME)
        entries, without_room = chosen(found, before.entries, rules)
        were, are = (dict.fromkeys(entry.address for entry in each) for each in (before.entries, entries))
        added, removed = ([each for each in one if each not in other] for one, other in ((are, were), (were, are)))
        to_remove = [each for each in dict.fromkeys((*before.to_remove, *removed)) if each not in are]
        to_reload = reload and (before.to_reload or files.is_another(directory, entries, numbers))
        kept = Kept(tuple(entries), tuple(to_remove), to_reload) if suricata else Kept(tuple(entries))
        files.write(directory, kept, numbers)
        if suricata:
            try:
                left = _tell(suricata, are, to_remove, to_reload if reload else None)
            except SuricataError as error:
                problems.append(str(error))
            else:
                files.write(directory, Kept(tuple(entries), tuple(left)), numbers)
    return Change(tuple(entries), tuple(added), tuple(removed), without_room, tuple(problems))


def _tell(path: Path, to_add: Iterable[str], to_remove: Sequence[str], reload: bool | None) -> list[str]:
    """Have a running Suricata's dataset hold these; those that it could not forget.

    Args:
        reload: have it read its rules anew; None: nobody asked for that, not even if the list changes.
    """
    with Suricata(path) as suricata:
        try:
            for address in to_add:
                suricata.command("dataset-add", setname=files.SET, settype="ip", datavalue=address)
            left = [address for address in to_remove if not _forgotten(suricata, address)]
        except SuricataError as error:
            if "set not found" not in str(error):
                raise
            if reload is None:
                raise SuricataError(
                    f"{path}: this Suricata has no dataset {files.SET}; have it load {files.DATASET_RULES}, or give "
                    "--reload for the reputation list"
                ) from None
            left = []  # it has the reputation list instead
        if reload:
            suricata.command("ruleset-reload-nonblocking")
    return left


def _forgotten(suricata: Suricata, address: str) -> bool:
    for _ in range(_TRIES):
        try:
            answer = suricata.command("dataset-remove", setname=files.SET, settype="ip", datavalue=address)
        except SuricataError as error:
            if "failed to remove" in str(error):
                return True  # it is not there: Suricata has begun anew since
            raise
        if "busy" not in str(answer):
            return True
        time.sleep(0.05)
    return False
