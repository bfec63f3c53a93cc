"""Groups for a person at a terminal, who is asked what they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..bundle import UNKNOWN
from ..output import shown, utc
from . import ask, notebook, picture
from .about import About
from .ask import Answer, Vocabulary

_TIME = "%Y-%m-%d %H:%M"
#: Ports, hosts, names and labels that are shown of each kind; the others are counted.
_TOP = 4
_ASK = "application, or l: leave me alone, s: skip, q: quit > "
_HELP = (
    "Type what these flows are, as you want to see it in mmtt.log, such as Backup; then the service that it gives,\n"
    "such as file_transfer. l: never ask of them again; s: ask another time; q: end, what was answered is kept."
)
#: A service of the network's that is surer than this is offered as the answer.
_OFFERED = 0.5


def show(groups: Sequence[About], of: int) -> None:
    """Print groups, one below the other.

    Args:
        of: how many there are in all.
    """
    console = Console(highlight=False)
    for number, group in enumerate(groups, 1):
        _group(console, group, f"{number} of {of}")
    if len(groups) < of:
        console.print(Text(f"and {of - len(groups):,} groups more, that would teach less: --groups 0 shows all", "dim"))


def dialogue(groups: Sequence[About], of: int, path: Path, vocabulary: Vocabulary) -> None:
    """Ask of each group what it is, and write that at once.

    Raises:
        NotebookError, OSError: it can't be written.
    """
    console = Console(highlight=False)
    named = left = 0
    for number, group in enumerate(groups, 1):
        _group(console, group, f"{number} of {of}")
        try:
            answer = _answer(console, group, vocabulary)
        except EOFError:
            console.print()
            break
        if answer == "q":
            break
        if not isinstance(answer, Answer):
            continue
        put = ask.write(path, [(group, answer)])
        named += sum(not each.leave for each in put)
        left += sum(each.leave for each in put)
        for each in put:
            console.print(Text(f"{shown(path)}: {len(each.uids):,} flows {'' if each.leave else 'are '}{shown(each)}"))
    console.print(Text(f"{named:,} {'group' if named == 1 else 'groups'} named, {left:,} left alone"))
    if named:
        console.print(Text("`mmtt learn fit` learns them"))


def _answer(console: Console, group: About, vocabulary: Vocabulary) -> Answer | str:
    """What is typed; "s" and "q" for those."""
    while True:
        text = input(_ASK).strip()
        if text in ("s", "q"):
            return text
        if text == "l":
            return Answer(leave=True)
        if text in ("", "?"):
            console.print(Text(_HELP, "dim"))
            continue
        try:
            answer = vocabulary.spelled(Answer(notebook.name(text)))
        except ValueError as error:
            console.print(Text(shown(error)))
            continue
        return Answer(answer.name, _service(console, group, answer.name or "", vocabulary))


def _service(console: Console, group: About, name: str, vocabulary: Vocabulary) -> str | None:
    offered = vocabulary.service_of(name) or _thought(group)
    choice = f"Enter: {offered}, -: not known" if offered else "Enter: not known"
    new = ""
    while True:
        text = input(f"its service ({choice}, ?: all) > ").strip()
        if text == "?":
            console.print(Text(", ".join(sorted(map(str, vocabulary.services))), "dim"))
            continue
        if not text:
            return offered
        if text == "-":
            return None
        try:
            service = notebook.service(text)
        except ValueError as error:
            console.print(Text(shown(error)))
            continue
        if service in vocabulary.services or service == new:
            return service
        new = service
        console.print(Text(f"{service} would be a new service; type it again if it is to be one", "dim"))


def _thought(group: About) -> str | None:
    """The service that the network gave most of the flows, if it was sure."""
    service, (flows, score) = next(iter(group.services.items()))
    return service if service != UNKNOWN and score > _OFFERED and 2 * flows > len(group.uids) else None


def _group(console: Console, group: About, number: str) -> None:
    flows = len(group.uids)
    console.rule(Text(number), align="left", characters="-")
    about = Table.grid(padding=(0, 2, 0, 0))
    about.add_column(style="dim", no_wrap=True)
    about.add_column(overflow="fold")
    since, until = (utc(at / 1e6, _TIME) for at in (group.since, group.until))
    about.add_row("flows", Text(f"{flows:,}, {since} to {until} UTC"))
    about.add_row("typical", Text(shown(group.id)))
    about.add_row("hours", Text(f"0 |{picture.bars(group.hours, console.encoding)}| 23 UTC"))
    if group.joined:
        if group.joined < flows:
            about.add_row("conn.log", Text(f"has {group.joined:,} of them"))
        about.add_row("ports", _top(group.ports))
        about.add_row("from", _top(group.originators))
        about.add_row("to", _top(group.responders))
        about.add_row("names", _top(group.names) if group.names else Text("none that Zeek saw"))
    else:
        about.add_row("conn.log", Text("has none of them"))
    about.add_row("service", _labels(group.services))
    about.add_row("application", _labels(group.applications))
    if group.malicious:
        about.add_row("malicious", Text(f"{group.malicious:,} of them, the network thinks"))
    console.print(about)
    packets = len(group.sizes)
    there, back = (sum(size for size in group.sizes if size > 0), -sum(size for size in group.sizes if size < 0))
    took = max(group.times, default=0) / 1e6
    console.print(Text(f"its first {packets} packets, {there:,} bytes there, {back:,} back, in {took:.3g} s:", "dim"))
    for line in picture.shape(group.sizes, console.encoding):
        console.print(Text(line), no_wrap=True, crop=True)


def _top(counts: Counter[str]) -> Text:
    first = [f"{shown(name)} ({number:,})" for name, number in counts.most_common(_TOP)]
    return Text(", ".join(first) + (f", and {len(counts) - _TOP:,} others" if len(counts) > _TOP else ""))


def _labels(thought: dict[str, tuple[int, float]]) -> Text:
    """Of each label how many flows, and how sure the network was; of what it called unknown that is of its best guess,
    which is not recorded."""
    first = [f"{shown(label)} ({flows:,}, score {score:.2f})" for label, (flows, score) in [*thought.items()][:_TOP]]
    return Text(", ".join(first) + (f", and {len(thought) - _TOP:,} others" if len(thought) > _TOP else ""))
