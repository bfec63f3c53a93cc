"""``mmtt learn fit``: from a memory of windows and Zeek's logs to a bundle that knows the site."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import __version__, servers
from ..bundle import UNKNOWN, Bundle
from ..classifier import Classifier, softmax
from ..record.rows import Windows
from ..series import SeriesBatch
from ..site import TASKS, Site
from . import names as naming
from .errors import LearnError
from .fit import Fitted, Lesson, fit, of_each_name, spread, usual
from .measure import Score, better, scores, worse
from .nameless import without_name
from .notebook import Notebook

#: Of the time's windows, the latest so many are measured on.
LATER = 0.2
#: Fewer named windows than this say nothing of whether it got better.
MIN_LATER = 20
# Windows of one name that are taken at most, spread over the time: more teach no more, and cost memory.
_MOST = 2000
#: And of these at most that are learnt from without the server's name, too.
MOST_NAMELESS = 200
# Windows that the network is asked about at once.
_AT_A_TIME = 4096
# Windows by which what the site is like is told.
_LOOKED_AT = 20_000
# A label whose F1 falls by more is said.
_MUCH = 0.2
# µs by which clocks may differ.
_AHEAD = 86_400_000_000


@dataclass
class Taught:
    """What came of it.

    Attributes:
        site: learnt from all windows.
        fitted: how that came about.
        before, after: how the later windows are named by the bundle that runs, and by a site that was learnt from the
            earlier ones alone.
        earlier, later: the times of both parts, (first, last) in µs since 1970.
        judged_anew: whether somebody has judged other flows than those that the bundle that runs knows of.
        counts: what else is to be told, by what it counts.
    """

    site: Site
    fitted: Fitted
    before: dict[str, Score]
    after: dict[str, Score]
    earlier: tuple[int, int]
    later: tuple[int, int]
    judged_anew: bool = False
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def problem(self) -> str:
        """Why it should not be taken into use; empty where it may."""
        measured = max(each.windows for each in self.before.values())
        if self.judged_anew and not self.counts["of these, learnt from or measured on"]:
            return ""
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
        if not better(self.before, self.after) and not self.judged_anew:
            return "the later windows would be named no better than now"
        return ""

    @property
    def lost(self) -> list[tuple[str, float, float]]:
        """Labels that would be named much worse than now, with their F1 before and after."""
        return [
            (label, before, self.after[task].f1[label])
            for task in TASKS
            for label, before in self.before[task].f1.items()
            if self.after[task].f1[label] < before - _MUCH
        ]


@dataclass(frozen=True)
class Material:
    """What is needed of a memory of windows to learn from it, which is much less than all.

    Attributes:
        series, ts, uid: of the windows that have names, or of a part of them (of any where none has one), in order of
            time; ``names``: by task.
        nameless: some of these without the server's name that they say, and ``of``: which those are, int64, in order.
        judged: windows that somebody has judged; ``malicious``: bool, what they were said to be.
        usual: some of all windows, in order of time.
        until: µs since 1970, of the latest window.
        counts: what is to be told of the rest.
    """

    series: SeriesBatch
    ts: np.ndarray
    uid: np.ndarray
    names: dict[str, np.ndarray]
    nameless: SeriesBatch
    of: np.ndarray
    judged: SeriesBatch
    malicious: np.ndarray
    usual: SeriesBatch
    until: int
    counts: Counter[str]


def material(windows: Windows, known: naming.Known, notebook: Notebook, say: Callable[[str], None]) -> Material:
    """What there is to learn from.

    Args:
        known: what the logs say of the windows' connections.

    Raises:
        LearnError: no window has a name, and none was judged.
    """
    for line in naming.doubts(known, windows.uid, windows.window, windows.ts):
        say(line)
    called, counts = _called(windows, known, notebook)
    ahead = windows.ts > time.time() * 1e6 + _AHEAD
    if ahead.any():
        say(f"{int(ahead.sum()):,} windows are of the future (has the clock jumped?): left out")
        counts["windows of the future, left out"] = int(ahead.sum())
        for each in called.values():
            each[ahead] = ""
    judged = np.array([row for row, uid in enumerate(windows.uid.tolist()) if uid in notebook.flows], np.int64)
    some = spread(np.arange(len(windows)), _LOOKED_AT)
    rows = of_each_name(called, _MOST)
    if not len(rows) and not len(judged):
        raise LearnError(
            "none of the recorded windows has a name that the logs, the domains or the notebook give; "
            "`mmtt learn ask` names what is unknown"
        )
    if not len(rows):
        say("no window has a name: nothing is learnt but what was judged harmless or malicious")
        rows = some
    named = counts["windows with a name"] = int(((called["service"] != "") | (called["application"] != "")).sum())
    counts["of these, learnt from or measured on"] = len(rows) if named else 0
    for what, uids in (("judged flows", {*notebook.flows}), ("flows of groups", _told(notebook).keys())):
        gone = len(uids) - len(uids & {*windows.uid.tolist()}) if uids else 0
        counts[f"{what} that are in the memory"] = len(uids) - gone
        counts[f"{what} that are not"] = gone
        if gone:
            say(f"{gone:,} of {len(uids):,} {what} in the notebook are not, or no longer, recorded: they teach nothing")
    series = windows.series[rows]
    nameless = without_name(series, _lengths(windows.uid[rows], windows.window[rows], known))
    names = {task: called[task][rows] for task in TASKS}
    of = of_each_name(names, MOST_NAMELESS, (nameless.sizes != series.sizes).any(axis=1))
    counts["of these, learnt from without the name, too"] = len(of)
    return Material(
        series,
        windows.ts[rows],
        windows.uid[rows],
        names,
        nameless[of],
        of,
        windows.series[judged],
        np.array([notebook.flows[uid] for uid in windows.uid[judged].tolist()], bool),
        windows.series[some],
        int(windows.ts[~ahead].max()),
        counts,
    )


def teach(given: Material, base: Bundle, running: Bundle, say: Callable[[str], None]) -> Taught:
    """Learn a site's answers from its windows, and measure what that brings on later ones.

    Args:
        base: the network to build on, without answers of a site.
        running: the bundle to be better than.

    Raises:
        LearnError: too little is named.
        BundleError: a network gives no embedding.
    """
    ts, counts = given.ts, Counter(given.counts)
    if not counts["windows with a name"] and running.site and running.site.answers:
        raise LearnError(f"no window has a name, and {running.model} has answers that it learnt from some: it is kept")
    say(f"asking the network about {len(ts):,} windows{' with names' if counts['windows with a name'] else ''}")
    classifier = Classifier(base, embeds=True)
    lesson = _lesson(given, given.series, np.arange(len(ts)), classifier)
    nameless = _lesson(given, given.nameless, given.of, classifier)
    earlier, later = lesson.cut(LATER)
    services_of = {each.name: each.services for each in base.applications}
    judged = np.zeros((0, classifier.width), np.float32)
    if len(given.judged):
        judged = classifier.logits(given.judged)[-1]

    both = lesson.joined(nameless, given.of)
    of = np.sort(np.concatenate([np.arange(len(ts)), given.of]))  # which window each of both is
    del lesson, nameless  # as much as both

    def learnt(part: Lesson) -> Fitted:
        if not len(part):
            raise LearnError("the windows with names are of one connection; record longer")
        return fit(part, services_of, judged, given.malicious)

    say(f"learning from the earlier {len(earlier):,} of them, to measure on the later {len(later):,}")
    trial = learnt(both.part(np.flatnonzero(np.isin(of, earlier))))
    # What the running bundle has learnt from it knows by heart.
    if running.site and (fresh := ts[later] > running.site.until).sum() >= MIN_LATER:
        later = later[fresh]
    elif running.site:
        number = counts["later windows that the running bundle has learnt from"] = int((~fresh).sum())
        say(
            f"{running.model} has learnt from {number:,} of the later windows: what it says of them it knows by heart; "
            "learn again when more has been recorded"
        )
    measured = given.series[later]
    truth = {task: given.names[task][later] for task in TASKS}
    before = scores(truth, Classifier(running).classify(measured))
    after = scores(truth, Classifier(dataclasses.replace(base, site=trial.site)).classify(measured))
    say(f"learning from all {len(ts):,}")
    whole = learnt(both)
    taught = Classifier(dataclasses.replace(base, site=whole.site), embeds=True).classify(given.usual)
    site = usual(whole.site, taught.embedding, np.array(taught.application) == UNKNOWN)
    return Taught(
        dataclasses.replace(site, until=given.until),
        whole,
        before,
        after,
        (int(ts[earlier].min()), int(ts[earlier].max())),
        (int(ts[later].min(initial=ts.max())), int(ts[later].max(initial=0))),
        _judged(running.site) != _judged(site),
        counts,
    )


def _judged(site: Site | None) -> tuple[int, int]:
    """How many windows were said to be harmless, and malicious."""
    malicious = int(site.judged_malicious.sum()) if site else 0
    return (len(site.judged_malicious) - malicious if site else 0), malicious


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
    told = _told(notebook)
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


def _told(notebook: Notebook) -> dict[str, servers.Answer]:
    """By uid, what a person said."""
    return {
        uid: servers.Answer(group.service, group.name)
        for group in notebook.groups
        if not group.leave
        for uid in group.uids
    }


def _lengths(uid: np.ndarray, window: np.ndarray, known: naming.Known) -> np.ndarray:
    """int64 (n,): how long the server's name is that a window says in a ClientHello over TCP; 0 where it says none."""
    lengths = np.zeros(len(uid), np.int64)
    for row in np.flatnonzero(window == 0).tolist():
        connection = known.connections.get(uid[row])
        is_tls = connection and connection.proto == "tcp" and "ssl" in connection.service.split(",")
        if is_tls and known.by.get(uid[row]) == naming.SOURCES[0]:
            lengths[row] = len(known.names[uid[row]])
    return lengths


def _lesson(given: Material, series: SeriesBatch, of: np.ndarray, classifier: Classifier) -> Lesson:
    """What the network makes of ``series``, windows that are named as those ``of`` are; a part at a time: what it says
    is many numbers."""
    base, n = classifier.bundle, len(series)
    labels = {"service": base.services, "application": tuple(each.name for each in base.applications)}
    network = {task: np.empty((n, len(labels[task])), np.float32) for task in TASKS}
    embedding = np.empty((n, classifier.width), np.float32)
    for start in range(0, n, _AT_A_TIME):
        part = slice(start, start + _AT_A_TIME)
        logits = classifier.logits(series[part])
        for number, task in enumerate(TASKS):
            network[task][part] = softmax(logits[number] / base.temperatures[task])
        embedding[part] = logits[-1]
    _, group = np.unique(given.uid[of].astype(str), return_inverse=True)
    names = {task: each[of] for task, each in given.names.items()}
    return Lesson(group, embedding, network, labels, names, np.zeros(n, bool))
