"""What a flow is called: from nDPI's names and a capture's own labels to services, applications, malicious or not.

A label that can't be told is None, never a guess. The tables are in ``taxonomy.yaml``, the rules are here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import yaml

from .errors import DatasetError

_Answer = TypeVar("_Answer")

#: Number of a label that is not known, in arrays of labels.
MISSING = -1
#: Groups of captures whose labels say nothing about their flows (attack beside background, damaged files).
UNLABELLED_GROUPS = ("mixed",)


class TaxonomyError(DatasetError):
    """A taxonomy that can't be used; one line that names the file and what is wrong."""


@dataclass(frozen=True)
class CaptureLabels:
    """A row of ``captures.tsv``. ``malicious`` is "1", "0", or anything else for not known."""

    path: str
    group: str
    service: str
    application: str
    malicious: str


@dataclass(frozen=True)
class FlowName:
    """What nDPI says of a flow. ``name`` is "protocol" or "protocol.application"."""

    name: str
    category: str
    guessed: bool
    server_name: str = ""


@dataclass(frozen=True)
class Labels:
    """A flow's answers; None where not known."""

    service: str | None = None
    application: str | None = None
    malicious: bool | None = None


def agreed(labels: list[Labels]) -> Labels:
    """What copies of one flow, labelled in several places, are: where two say different things, that is in doubt."""

    def only(values: set[_Answer | None]) -> _Answer | None:
        known = values - {None}
        return known.pop() if len(known) == 1 else None

    return Labels(
        only({label.service for label in labels}),
        only({label.application for label in labels}),
        only({label.malicious for label in labels}),
    )


class Taxonomy:
    """The tables of ``taxonomy.yaml``.

    Attributes:
        services: names of all services.
        applications: application -> the services that it can be.

    Raises:
        TaxonomyError: the file can't be read, or names a service that it does not list.
    """

    def __init__(self, path: Path | None = None) -> None:
        path = path or Path(__file__).with_name("taxonomy.yaml")
        try:
            text = path.read_text(encoding="utf-8")
            tables = yaml.safe_load(text)
            self.services = tuple(tables["services"])
            self._generic: dict[str, str | None] = tables["generic"]
            self._carries: dict[str, list[str]] = tables["carries"]
            self._categories: dict[str, str] = tables["categories"]
            self._captures: dict[str, str] = tables["captures"]
            self._background: dict[str, list[str]] = tables["background"]
            self._attack_vectors = frozenset(tables["attack_vectors"])
            self._demonstrations = frozenset(tables["demonstrations"]["groups"])
            self._doubtful: list[str] = tables["demonstrations"]["doubtful"]
            self.applications = {name: tuple(entry["services"]) for name, entry in tables["applications"].items()}
            self._application = {
                alias: name for name, entry in tables["applications"].items() for alias in entry.get("ndpi", [name])
            }
        except OSError as error:
            raise TaxonomyError(f"{path}: {error.strerror}") from None
        except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
            raise TaxonomyError(f"{path}: not a taxonomy ({' '.join(str(error).split())})") from None
        #: Changes with the tables.
        self.digest = hashlib.sha256(text.encode()).hexdigest()
        named = [s for of in self.applications.values() for s in of]
        named += [*filter(None, self._generic.values()), *self._categories.values(), *self._captures.values()]
        for service in named:
            if service not in self.services:
                raise TaxonomyError(f"{path}: names the service {service!r}, which is not under services")

    def labels(self, capture: CaptureLabels, flow: FlowName | None) -> Labels:
        """The answers for a flow that nDPI names ``flow`` (None: it says nothing) in ``capture``."""
        if capture.group in UNLABELLED_GROUPS:
            return Labels()
        malicious = self.malicious(capture, flow)
        # Traffic of malware says nothing about what HTTP or DNS is otherwise good for.
        hostile = capture.malicious not in ("0", "unknown")
        if hostile and (malicious or flow is None):
            name = self._own_name(flow)
            if name is None or name in self._background:
                return Labels(malicious=malicious)
        service, application = self._named(flow)
        if service is None and application is None and not hostile:
            service = self._captures.get(capture.service) or self._generic_service(flow)
        return Labels(service, application, malicious)

    def malicious(self, capture: CaptureLabels, flow: FlowName | None) -> bool | None:
        """Whether a flow is part of an attack. In a malicious capture only what is not in doubt counts: what nDPI
        names as an ordinary application, or has not seen at all, is not labelled."""
        if capture.group in UNLABELLED_GROUPS:
            return None
        if capture.malicious == "unknown" and capture.group in self._demonstrations:
            recognised = flow is not None and not flow.guessed and not flow.name.startswith("Unknown")
            return False if recognised and not any(word in capture.path for word in self._doubtful) else None
        if capture.malicious == "0":
            return False
        if capture.malicious != "1" or flow is None:
            return None
        name = self._own_name(flow, even_guessed=True)
        if name is None or name in self._attack_vectors:
            return True
        about = f"{capture.path} {capture.service} {capture.application}".lower()
        if any(word in about for word in self._background.get(name, ())):
            return True
        return None

    def application(self, ndpi: str) -> str | None:
        """The application that nDPI's name of a protocol stands for; None for one that carries anything."""
        return self._application.get(ndpi, ndpi) if ndpi and ndpi not in self._generic else None

    def services_of(self, application: str, seen: set[str]) -> tuple[str, ...]:
        """The services an application can be: the taxonomy's, else those it was ``seen`` with."""
        return self.applications.get(application) or tuple(sorted(seen))

    def _own_name(self, flow: FlowName | None, even_guessed: bool = False) -> str | None:
        """nDPI's name of the flow, if it is more than that of a protocol that carries anything."""
        if flow is None or (flow.guessed and not even_guessed):
            return None
        protocol, _, application = flow.name.partition(".")
        if protocol not in self._generic:
            return application if application in self._carries.get(protocol, ()) else protocol
        return application if application and application not in self._generic else None

    def _named(self, flow: FlowName | None) -> tuple[str | None, str | None]:
        """Service and application that nDPI's name stands for."""
        name = self._own_name(flow)
        if flow is None or name is None:
            return None, None
        category = self._categories.get(flow.category)
        if name in self._application:
            application = self._application[name]
            services = self.applications[application]
            if category in services:
                return category, application
            return (services[0] if len(services) == 1 else None), application
        return category, name

    def _generic_service(self, flow: FlowName | None) -> str | None:
        """The service of a flow of which only the protocol is known."""
        if flow is None or flow.guessed:
            return None
        if flow.category not in ("Web", "Network", "System") and flow.category in self._categories:
            return self._categories[flow.category]
        protocol = flow.name.partition(".")[0]
        if protocol == "TLS" and not flow.server_name:
            return None
        return self._generic.get(protocol)
