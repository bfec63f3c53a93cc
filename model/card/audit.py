"""How many of the public captures' labels are wrong, by eye: ``audit.tsv``."""

from __future__ import annotations

import csv
import io
from importlib import resources

from .. import data
from ..data.dataset import Dataset
from ..data.split import frozen_sites
from .tables import percent


def audit(dataset: Dataset) -> list[str]:
    """The audit as a table, for the data that it is of."""
    if len(frozen_sites().keys() & set(dataset.sites)) * 2 < len(dataset.sites):
        return []
    text = (resources.files(data) / "audit.tsv").read_text(encoding="utf-8")
    return [
        "",
        (
            "Up to 200 labels of each kind, drawn at random from what is trained on, at most 3 of a capture, were "
            "looked at by eye, beside all that is known of the flow. It is the third such look; what it found that a "
            "rule can tell was mended after it (sessions of a domain's members in captures of attacks, calls of "
            "Skype, what is beside SIP in captures of it), and not looked at again."
        ),
        "",
        "| | from | looked at | wrong | can't be told |",
        "|---|---|---|---|---|",
        *[
            f"| {row['task']} | {row['evidence']} | {row['looked_at']} "
            f"| {percent(int(row['wrong']) / int(row['looked_at']))} "
            f"| {percent(int(row['doubtful']) / int(row['looked_at']))} |"
            for row in csv.DictReader(io.StringIO(text), delimiter="\t")
        ],
    ]
