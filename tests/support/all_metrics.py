"""The names of all metrics that an agent, or `mmtt sniff`, can have."""

import re

from mmtt_agent.agent.metrics import Exposition
from mmtt_agent.agent.tally import Tally

_GROUPS = ("windows", "zeek", "evidence", "record", "drift", "capture", "flows", "output")
_LABELLED = (
    "incidents", "left_out", "answered", "refused", "services", "applications", "malicious_kinds", "reloads",
)  # fmt: skip


class _Anything(dict):
    """A status in which everything is there."""

    def __missing__(self, key):
        if key in _GROUPS:
            return _Anything()
        if key in _LABELLED:
            return {"a": 1}
        return "a" if key in ("version", "agent", "model") else 1


def all_metrics() -> set[str]:
    text = Exposition(_Anything, Tally().histograms).text().decode()
    known = re.findall(r"^# TYPE (mmtt_\w+) ", text, re.MULTILINE)
    return {name for name in known if not name.endswith("_created")}
