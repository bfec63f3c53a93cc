"""``mmtt learn fit``: from a memory of windows and Zeek's logs to a bundle that knows the site."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import __version__, servers
from ..bundle import UNKNOWN, Bundle
from ..classifier import Classifier, softmax
from ..record.rows import Windows
from ..site import TASKS, Site
from . import names as naming
from .errors import LearnError
from .fit import Fitted, Lesson, fit, usual
from .measure import Score, scores, worse
from .notebook import Notebook

#: Of the time's windows, the latest so many are measured on.
LATER = 0.2
#: Fewer named windows than this say nothing of whether it got better.
MIN_LATER = 20
# Windows of one name that are taken at most, spread over the time: more teach no more, and cost memory.
_MOST = 2000
# Windows by which what the site is like is told.
_LOOKED_AT = 20_000


@dataclass
class Taught:
    """What came of it.

    Attributes:
        site: learnt from all windows.
        fitted: how that came about.
        before, after: how the later windows are named by the bundle that runs, and by a site that was learnt from the
            earlier ones alone.
        earlier, later: the times of both parts, (first, last) in µs since 1970.
        counts: what else is to be told, by what it counts.
    """

    site: Site
    fitted: Fitted
    before: dict[str, Score]
    after: dict[str, Score]
    earlier: tuple[int, int]
    later: tuple[int, int]
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def problem(self) -> str:
        """Why it should not be taken into use; empty where it may."""
        measured = max(each.windows for each in self.before.values())
        if measured < MIN_LATER:
            return (
                f"only {measured} of the later windows have names, too few to say whether it got better; record longer"
            )
        if lost := worse(self.before, self.after):
            told = (
                f"{task} from a macro-F1 of {self.before[task].macro_f1:.3f} to {self.after[task].macro_f1:.3f}"
                for task in lost
            )
            return f"the later windows would be named worse than now: {' and '.join(told)}"
        if not self.site.answers and not len(self.site.judged):
            return "nothing was learnt that the network does not know as well"
        return ""


def teach(
    windows: Windows, known: naming.Known, notebook: Notebook, base: Bundle, running: Bundle, say: Callable[[str], None]
) -> Taught:
    """Learn a site's answers from its windows, and measure what that brings on later ones.

    Args:
        known: what the logs say of their connections.
        base: the network to build on, without answers of a site.
        running: the bundle to be better than.

    Raises:
        LearnError: too little is named.
        BundleError: a network gives no embedding.
    """
    called, counts = _called(windows, known, notebook)
    rows = _chosen(called)
    if not len(rows):
        raise LearnError(
            "none of the recorded windows has a name that the logs, the domains or the notebook give; "
            "`mmtt learn ask` names what is unknown"
        )
    counts["windows with a name"] = int(((called["service"] != "") | (called["application"] != "")).sum())
    counts["of these, learnt from or measured on"] = len(rows)
    say(f"asking the network about {len(rows):,} windows with names")
    lesson = _lesson(windows, called, rows, base)
    earlier, later = lesson.cut(LATER)
    ts = windows.ts[rows]
    services_of = {each.name: each.services for each in base.applications}
    uids = {uid: number for number, uid in enumerate(windows.uid.tolist())}
    judged = [uids[uid] for uid in notebook.flows if uid in uids]
    counts["judged flows that are in the memory"] = len(judged)
    counts["judged flows that are not"] = len(notebook.flows) - len(judged)
    embedding = _embedded(windows, np.array(judged, np.int64), base)
    malicious = np.array([notebook.flows[windows.uid[row]] for row in judged], bool)

    def learnt(part: np.ndarray) -> Fitted:
        if not len(part):
            raise LearnError("the windows with names are of one connection; record longer")
        return fit(lesson.part(part), services_of, embedding, malicious)

    say(f"learning from the earlier {len(earlier):,} of them, to measure on the later {len(later):,}")
    trial = learnt(earlier)
    # What the running bundle has learnt from it knows by heart.
    if running.site and (fresh := ts[later] > running.site.until).sum() >= MIN_LATER:
        later = later[fresh]
    elif running.site:
        counts["later windows that the running bundle has learnt from"] = int((~fresh).sum())
    measured = windows.series[rows[later]]
    truth = {task: lesson.names[task][later] for task in TASKS}
    before = scores(truth, Classifier(running).classify(measured))
    after = scores(truth, Classifier(dataclasses.replace(base, site=trial.site)).classify(measured))
    say(f"learning from all {len(rows):,}")
    whole = learnt(np.arange(len(rows)))
    some = np.linspace(0, len(windows.uid) - 1, min(len(windows.uid), _LOOKED_AT)).astype(np.int64)
    taught = Classifier(dataclasses.replace(base, site=whole.site), embeds=True).classify(windows.series[some])
    site = usual(whole.site, taught.embedding, np.array(taught.application) == UNKNOWN)
    return Taught(
        dataclasses.replace(site, until=int(windows.ts.max())),
        whole,
        before,
        after,
        (int(ts[earlier].min()), int(ts[earlier].max())),
        (int(ts[later].min(initial=ts.max())), int(ts[later].max(initial=0))),
        counts,
    )


def about(taught: Taught) -> dict[str, Any]:
    """Where a site's answers come from, for whoever reads bundle.yaml."""
    return {
        "mmtt": __version__,
        "labels": {task: len(each.labels) for task, each in taught.site.answers.items()},
        "later": {
            task: {
                "windows": taught.before[task].windows,
                "macro_f1_before": round(taught.before[task].macro_f1, 4),
                "macro_f1": round(taught.after[task].macro_f1, 4),
            }
            for task in TASKS
        },
        "counts": dict(sorted(taught.counts.items())),
    }


def _called(windows: Windows, known: naming.Known, notebook: Notebook) -> tuple[dict[str, np.ndarray], Counter[str]]:
    """Service and application of each window, "" where it is not known: what a person said, or the logs."""
    counts: Counter[str] = Counter()
    told = {
        uid: servers.Answer(group.service, group.name)
        for group in notebook.groups
        if not group.leave
        for uid in group.uids
    }
    called = {task: np.full(len(windows.uid), "", object) for task in TASKS}
    for row, uid in enumerate(windows.uid.tolist()):
        answer, by = (told[uid], "a person") if uid in told else (known.answers.get(uid), known.by.get(uid, ""))
        if answer is None:
            counts["windows without a known name"] += 1
            continue
        counts[f"windows named by {by}"] += 1
        called["service"][row] = answer.service or ""
        called["application"][row] = answer.application or ""
    return called, counts


def _chosen(called: dict[str, np.ndarray]) -> np.ndarray:
    """Which windows are taken: of each name at most so many, in order of time."""
    names = np.array([f"{a}\0{s}" for a, s in zip(called["application"], called["service"], strict=True)])
    taken = []
    for name in np.unique(names):
        if name != "\0":
            rows = np.flatnonzero(names == name)
            step = np.linspace(0, len(rows) - 1, min(len(rows), _MOST)).astype(np.int64)
            taken.append(rows[step])
    return np.sort(np.concatenate(taken)) if taken else np.zeros(0, np.int64)


def _lesson(windows: Windows, called: dict[str, np.ndarray], rows: np.ndarray, base: Bundle) -> Lesson:
    classifier = Classifier(base, embeds=True)
    *logits, embedding = classifier.logits(windows.series[rows])
    network = {
        task: softmax(logits[number] / base.temperatures[task]).astype(np.float32) for number, task in enumerate(TASKS)
    }
    labels = {"service": base.services, "application": tuple(each.name for each in base.applications)}
    _, group = np.unique(windows.uid[rows].astype(str), return_inverse=True)
    return Lesson(group, embedding, network, labels, {task: called[task][rows] for task in TASKS})


def _embedded(windows: Windows, rows: np.ndarray, base: Bundle) -> np.ndarray:
    if not len(rows):
        width = Classifier(base, embeds=True).width
        return np.zeros((0, width), np.float32)
    return Classifier(base, embeds=True).logits(windows.series[rows])[-1]
