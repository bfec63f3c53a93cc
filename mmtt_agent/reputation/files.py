"""What Suricata reads: an IP reputation list with its categories, a dataset, and a rule for each of the two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import whole
from .entries import NAME, Entry, Kept

CATEGORIES, LIST, DATASET = "mmtt-categories.txt", "mmtt-iprep.list", "mmtt-responders.lst"
LIST_RULES, DATASET_RULES = "mmtt-iprep.rules", "mmtt-dataset.rules"
#: The dataset's name, and the category's.
SET, CATEGORY = "mmtt-responders", "mmtt"
#: The greatest score of a reputation, and number of a category.
_GREATEST, MOST_CATEGORY = 127, 59
#: One alert in an hour for the same two hosts: the packets of a flow are many.
_LIMIT = "threshold:type limit, track by_both, count 1, seconds 3600"
_MESSAGE = "mmtt: contact with a host whose flows have looked malicious"


@dataclass(frozen=True)
class Numbers:
    """
    Attributes:
        category: of the reputation list.
        sid: of the first rule; the second has the next.
    """

    category: int = 58
    sid: int = 1_900_190


def write(directory: Path, kept: Kept, numbers: Numbers) -> bool:
    """Write all of them, each whole, where they are to be others than they are.

    Returns:
        Whether the reputation list is another than it was.

    Raises:
        OSError: they can't be written; then all are as they were.
    """
    contents = {
        CATEGORIES: f"{numbers.category},{CATEGORY},responders of flows that look malicious by mmtt's verdicts\n",
        LIST: reputation(kept.entries, numbers),
        DATASET: "".join(f"{entry.address}\n" for entry in kept.entries),
        LIST_RULES: _rule(
            f"iprep:dst,{CATEGORY},>,0", numbers.sid, "all that are listed; raise the 0 for the surer of them"
        ),
        DATASET_RULES: _rule(
            f"ip.dst; dataset:isset,{SET}, type ip, load {DATASET}", numbers.sid + 1, f"{DATASET} lies beside this file"
        ),
        NAME: kept.text,
    }
    directory.mkdir(parents=True, exist_ok=True)
    changed = {name: text for name, text in contents.items() if _read(directory / name) != text}
    with whole.written_together(*(directory / name for name in changed), mode=0o644) as outs:
        for out, text in zip(outs, changed.values(), strict=True):
            out.write(text)
    return LIST in changed


def reputation(entries: Sequence[Entry], numbers: Numbers) -> str:
    """The list: ``ip,category,score``, the score from 1 to 127."""
    return "".join(
        f"{entry.address},{numbers.category},{max(1, round(_GREATEST * min(entry.score, 1.0)))}\n" for entry in entries
    )


def _rule(condition: str, sid: int, comment: str) -> str:
    return (
        f"# Written by mmtt reputation: {comment}. It alerts, and blocks nothing.\n"
        f'alert ip any any -> any any (msg:"{_MESSAGE}"; {condition}; {_LIMIT}; sid:{sid}; rev:1;)\n'
    )


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
