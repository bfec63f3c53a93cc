"""What is known of a flow, and what it is called for it: the records of labels, and the numbers that stand for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

_Answer = TypeVar("_Answer")

#: Number of a label that is not known, in arrays of labels.
MISSING = -1
#: What a label can come from.
EVIDENCE = ("name", "protocol", "capture")
#: How flows are scored apart. The first is everything that is in clear text, or of which it is not known.
TRANSPORTS = ("other", "TLS", "QUIC", "other encrypted")


@dataclass(frozen=True)
class CaptureLabels:
    """A row of ``captures.tsv``. ``malicious`` is "1", "0", or anything else for not known."""

    path: str
    group: str
    service: str
    application: str
    malicious: str
    note: str = ""


@dataclass(frozen=True)
class FlowName:
    """What nDPI says of a flow. ``name`` is "protocol" or "protocol.application"; ``guessed``: by port or address;
    ``protocol`` is IP's, 6 or 17, ``ports`` those of both ends, ``size`` bytes in both directions; 0 for not known.
    ``others``: of a flow without a server's name those that others have which go to the same address and port."""

    name: str
    category: str
    guessed: bool
    server_name: str = ""
    protocol: int = 0
    ports: tuple[int, int] = (0, 0)
    size: int = 0
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Labels:
    """A flow's answers; None where not known. ``service_by`` and ``application_by``: of EVIDENCE, what they come from,
    empty where there are none; ``transport``: an index into TRANSPORTS."""

    service: str | None = None
    application: str | None = None
    malicious: bool | None = None
    kind: str | None = None
    service_by: str = ""
    application_by: str = ""
    transport: int = 0

    def __bool__(self) -> bool:
        """Whether anything is known."""
        return (self.service, self.application, self.malicious) != (None, None, None)


def only(values: set[_Answer | None]) -> _Answer | None:
    """The one value that there is, None where there are several."""
    return next(iter(values)) if len(values) == 1 else None


def agreed(labels: list[Labels]) -> Labels:
    """What copies of one flow, labelled in several places, are: where two say different things, that is in doubt."""

    service, application = (
        only({label.service for label in labels} - {None}),
        only({label.application for label in labels} - {None}),
    )
    malicious = only({label.malicious for label in labels} - {None})
    return Labels(
        service,
        application,
        malicious,
        only({label.kind for label in labels} - {None}) if malicious else None,
        next((label.service_by for label in labels if service and label.service == service), ""),
        next((label.application_by for label in labels if application and label.application == application), ""),
        max(label.transport for label in labels),
    )
