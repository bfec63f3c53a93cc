"""What came of learning, for people: the CARD.md of a site's bundle, and a table."""

from __future__ import annotations

from datetime import datetime, timezone

from .. import __version__
from ..bundle import Bundle
from ..site import TASKS
from .fit import MIN_WINDOWS
from .measure import Score
from .teach import Taught

#: Labels in the table of the card at most.
_LABELS = 60


def card(taught: Taught, base: Bundle, running: Bundle) -> str:
    """CARD.md, in Markdown."""
    how = (
        f"Learnt by mmtt {__version__} from this site's own windows and Zeek's logs; measured on later windows "
        f"({_span(taught.later)}) by answers that were learnt from earlier ones alone ({_span(taught.earlier)}). What "
        f"is in this bundle has learnt from all of them. Beside it the bundle that ran until now, {running.model}."
    )
    lines = [
        f"# What this site has taught {base.model}",
        "",
        how,
        "",
        "| | windows | right, before | right, now | answered, before | answered, now | macro-F1, before | now |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for task in TASKS:
        before, after = taught.before[task], taught.after[task]
        cells = (
            f"{before.windows:,}",
            *(f"{each:.3f}" for each in (before.right, after.right, before.answered, after.answered)),
            f"{before.macro_f1:.3f}",
            f"{after.macro_f1:.3f}",
        )
        lines.append(f"| {task} | {' | '.join(cells)} |")
    hidden = (
        "The names are those of flows whose server's name or protocol Zeek saw, hidden from the classifier. Of flows "
        "without one nobody knows the truth; they may be of other kinds."
    )
    lines += ["", hidden, ""]
    for task in TASKS:
        lines += [f"## {task.capitalize()}", ""]
        if task in taught.site.answers:
            own = taught.site.answers[task]
            whose = (
                f"{len(own.labels)} labels of the site's own; {own.share:.0%} of the answer is the site's, which "
                f"stands from a probability of {own.threshold:g} on."
            )
            lines += [whose, ""]
        else:
            lines += ["The network's own answers, which the site's were not better than.", ""]
        few = taught.fitted.too_few[task]
        if few:
            names = ", ".join(f"{label} ({number})" for label, number in sorted(few.items()))
            lines += [f"With too few windows to be learnt: {names}.", ""]
        lines += [f"The macro-F1 is over the labels with {MIN_WINDOWS} later windows or more.", ""]
        lines += ["| label | learnt from | later windows | F1, before | F1, now |", "|---|---|---|---|---|"]
        learnt = taught.fitted.windows.get(task, {})
        for label, of, before_f1, after_f1 in by_label(taught.before[task], taught.after[task])[:_LABELS]:
            lines.append(f"| {label} | {learnt.get(label, 0):,} | {of:,} | {before_f1:.2f} | {after_f1:.2f} |")
        for label in sorted({*learnt} - {*taught.before[task].of}):
            lines.append(f"| {label} | {learnt[label]:,} | fewer than {MIN_WINDOWS} | - | - |")
        lines.append("")
    lines += ["## Counted", "", "| what | how many |", "|---|---|"]
    lines += [f"| {what} | {number:,} |" for what, number in sorted(taught.counts.items())]
    return "\n".join([*lines, ""])


def by_label(before: Score, after: Score) -> list[tuple[str, int, float, float]]:
    """Label, later windows, F1 before and after; the most frequent first."""
    labels = sorted(before.of, key=lambda label: (-before.of[label], label))
    return [(label, before.of[label], before.f1[label], after.f1[label]) for label in labels]


def _span(times: tuple[int, int]) -> str:
    """The times in UTC, to the minute."""
    first, last = (datetime.fromtimestamp(each / 1e6, timezone.utc) for each in times)
    return f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"
