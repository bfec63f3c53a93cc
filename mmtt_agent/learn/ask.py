"""What there is to ask of, and what is done with an answer; nothing here knows of a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import endings, servers
from ..bundle import UNKNOWN
from . import groups, names, notebook
from .about import About, about
from .errors import LearnError
from .notebook import Group, Notebook

if TYPE_CHECKING:
    from ..record.rows import Windows

#: Flows of a group that the notebook names: more would teach no more, and people read it.
_NAMED = 1000
#: What names itself so is left alone.
LEAVE = "leave"


class Asked:
    """Groups of what is unknown in recorded windows.

    Attributes:
        clusters: those that would teach most first.
        summary: a line on how many flows there are, and what of them is in no group.
    """

    def __init__(self, windows: Windows, logs: Path, noted: Notebook, say: Callable[[str], None]) -> None:
        """
        Raises:
            LearnError: the windows have no embeddings, the logs can't be joined with them, or scikit-learn is missing.
        """
        self.windows = windows
        usable = groups.of_latest_network(windows)
        if left := len(usable) - int(usable.sum()):
            say(f"{left:,} windows were recorded without an embedding, or by another network: they are not asked of")
        answered = {uid for group in noted.groups for uid in group.uids}
        rows = groups.unknown(windows)
        rows = rows[usable[rows]]
        flows = len(set(windows.uid.tolist()))
        told = np.array([uid in answered for uid in windows.uid[rows].tolist()], bool)
        unknown, rows = len(rows), rows[~told]
        self.known = names.Known()
        named = np.zeros(len(rows), bool)
        if len(rows):
            table = servers.shipped().with_domains(noted.domains)
            self.known = names.known(logs, windows.uid[rows].tolist(), table, say)
            for line in self.known.problems:
                say(line)
            named = np.array([self._is_named(uid) for uid in windows.uid[rows].tolist()], bool)
        self.clusters, like = groups.grouped(windows, rows[~named], self._answered(noted, usable))
        inside = sum(len(cluster.rows) for cluster in self.clusters)
        self.summary = (
            f"{flows:,} flows, the application of {unknown:,} unknown: {int(named.sum()):,} of those named by Zeek's "
            f"logs, {int(told.sum()) + like:,} answered or like answered ones, {inside:,} in {len(self.clusters):,} "
            f"groups, {int((~named).sum()) - like - inside:,} like too few others"
        )

    def first(self, most: int) -> list[About]:
        """What there is to see of the first groups; of all for 0."""
        return [about(each, self.windows, self.known) for each in self.clusters[: most or None]]

    def uids(self, cluster: groups.Cluster) -> list[str]:
        return list(self.windows.uid[cluster.rows].tolist())

    def _is_named(self, uid: str) -> bool:
        """Whether the logs say enough: the application, or the protocol. Of nearly every name that nothing is known of
        they say `web`."""
        answer = self.known.answers.get(uid)
        return answer is not None and (answer.application is not None or self.known.by.get(uid) == "protocol")

    def _answered(self, noted: Notebook, usable: np.ndarray) -> list[list[int]]:
        if not noted.groups:
            return []
        first = groups.first_by_uid(self.windows)
        return [[first[uid] for uid in group.uids if uid in first and usable[first[uid]]] for group in noted.groups]


@dataclass(frozen=True)
class Answer:
    """What somebody says of a group; ``leave``: not to be asked of it again."""

    name: str | None = None
    service: str | None = None
    leave: bool = False

    @classmethod
    def parsed(cls, text: str) -> Answer:
        """NAME, NAME/SERVICE, /SERVICE or "leave".

        Raises:
            ValueError: what is wrong.
        """
        if text.strip() == LEAVE:
            return cls(leave=True)
        name, slash, service = text.rpartition("/") if "/" in text else (text, "", "")
        if slash and not service.strip():
            raise ValueError("after / comes a service, such as file_transfer")
        return cls(
            notebook.name(name) if name.strip() or not slash else None, notebook.service(service) if slash else None
        )


def write(path: Path, answers: Iterable[tuple[About | list[str], Answer]]) -> list[Group]:
    """Put answers into the notebook, all or none: to the flows of each group, or as many as stand for them, and not to
    those that have one by now. Returns what was put in.

    Raises:
        NotebookError: the notebook can't be used.
        OSError: it can't be written.
    """
    put = []
    with endings.cleaned_up(), notebook.changing(path) as noted:
        for group, answer in answers:
            uids = group.uids if isinstance(group, About) else group
            taken = {uid for each in noted.groups for uid in each.uids}
            uids = [uids[at] for at in groups.spread(len(uids), _NAMED).tolist() if uids[at] not in taken]
            if uids:
                today = datetime.now(timezone.utc).date()
                put.append(Group(answer.name, answer.service, uids, answer.leave, today))
                noted.groups.append(put[-1])
    return put


def parsed(asked: Asked, noted: Notebook, given: Iterable[str]) -> list[tuple[list[str], Answer]]:
    """What ``ID=NAME[/SERVICE]`` and ``ID=leave`` say: flows and answer. The ID is the uid of any flow of a group.

    Raises:
        LearnError: there is no such group, or the answer can't be one.
    """
    all_uids = [asked.uids(cluster) for cluster in asked.clusters]
    group_of = {uid: number for number, uids in enumerate(all_uids) for uid in uids}
    before = {uid: group for group in noted.groups for uid in group.uids}
    vocabulary = Vocabulary(noted)
    found: dict[int, tuple[str, Answer]] = {}
    for text in given:
        uid, equals, what = text.partition("=")
        if not equals:
            raise LearnError(f"{text!r} is no answer; it is ID=NAME, ID=NAME/SERVICE or ID={LEAVE}")
        try:
            answer = vocabulary.spelled(Answer.parsed(what))
        except ValueError as error:
            raise LearnError(f"{text!r}: {error}") from None
        if uid in before:
            raise LearnError(f"{uid} is answered already: {before[uid]}; edit the notebook to change that")
        if uid not in group_of:
            raise LearnError(f"{uid} is in no group; `mmtt learn ask --format json` shows those that there are")
        other, said = found.setdefault(group_of[uid], (uid, answer))
        if said != answer:
            raise LearnError(f"{uid} and {other} are in one group; give one answer for it")
    return [(all_uids[number], answer) for number, (_, answer) in found.items()]


class Vocabulary:
    """Applications and services that there are, of the shipped table and the site's own."""

    def __init__(self, noted: Notebook) -> None:
        said = servers.shipped().answers | set(noted.domains.values())
        said |= {servers.Answer(group.service, group.name) for group in noted.groups}
        self.services = {answer.service for answer in said} - {None, UNKNOWN}
        self._services: dict[str, set[str]] = {}
        self._spelled: dict[str, str] = {}
        for answer in sorted(said, key=str):
            if answer.application:
                self._spelled.setdefault(answer.application.casefold(), answer.application)
                self._services.setdefault(answer.application, set()).update({answer.service} - {None})  # type: ignore[arg-type]

    def spelled(self, answer: Answer) -> Answer:
        """With the name as it stands in the table, whatever its capitals: another spelling would be another
        application."""
        name = answer.name and self._spelled.get(answer.name.casefold(), answer.name)
        return Answer(name, answer.service, answer.leave)

    def service_of(self, name: str) -> str | None:
        """That which an application has, if it is one."""
        found = self._services.get(name, set())
        return next(iter(found)) if len(found) == 1 else None
