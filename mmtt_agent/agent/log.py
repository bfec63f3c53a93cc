"""A service's own log, on standard error: a line of text or of JSON per message."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections import Counter

logger = logging.getLogger("mmtt.agent")


class _Text(logging.Formatter):
    def __init__(self, who: str) -> None:
        super().__init__()
        self._who = who

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(record.created))
        return f"{stamp} mmtt {self._who}: {record.levelname.lower()}: {_line(record)}"


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        content = {
            "ts": round(record.created, 3),
            "level": record.levelname.lower(),
            "message": _line(record),
        }
        return json.dumps(content | getattr(record, "fields", {}))


def _line(record: logging.LogRecord) -> str:
    """The message on one line, with nothing in it that a terminal would obey."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(record.getMessage().split()))


def configure(form: str, level: str, who: str = "agent") -> None:
    """Send the log to standard error, as ``text``, which says which command is speaking, or ``json``."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Text(who))
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(level.upper())
    # What the library has to say about a connection, the service says in its own words.
    library = logging.getLogger("websockets")
    library.handlers[:] = [logging.NullHandler()]
    library.propagate = False


def log_counts(counts: Counter[str], when: str) -> None:
    """One line with everything counted; as JSON also a field for each."""
    if counts:
        shown = ", ".join(f"{number} {what}" for what, number in sorted(counts.items()))
        fields = {what.replace(" ", "_"): number for what, number in sorted(counts.items())}
        logger.info("%s: %s", when, shown, extra={"fields": {"counts": fields}})
