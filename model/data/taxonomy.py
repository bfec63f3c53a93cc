"""What a flow is called: services, applications, malicious or not and of what kind, each from the connection's own
evidence.

The service says what a connection carries, the application whose it is. They are told by the server's name, by its
role; else by the protocol that nDPI recognised; else, seldom, by what the capture was made of. A label that can't be
told is None, never a guess. The tables are in ``taxonomy.yaml``, the rules are here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from .errors import DatasetError
from .labels import TRANSPORTS, CaptureLabels, FlowName, Labels, only

#: Groups of captures whose labels say nothing about their flows (attack beside background, damaged files).
UNLABELLED_GROUPS = ("mixed",)

#: Service and application of a server, None for what can't be told, and whether it is one that is known; None for a
#: name of which nothing is known.
NameServer = Callable[[str], "tuple[str | None, str | None, bool] | None"]
#: Ports from which on systems choose them by chance.
CHOSEN = 32768
#: IP's numbers.
_PROTOCOLS = {"tcp": 6, "udp": 17}


class TaxonomyError(DatasetError):
    """A taxonomy that can't be used; one line that names the file and what is wrong."""


@dataclass(frozen=True)
class _Beside:
    """What is no attack in captures of one; ``taxonomy.yaml`` says what each asks."""

    names: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()
    protocol: str = ""
    port: int | None = None
    ports_from: int = 0
    below: int = 0
    words: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.protocol not in ("", *_PROTOCOLS):
            raise TypeError(f"beside: no protocol {self.protocol!r}")

    def holds(self, path: str, flow: FlowName, name: str | None) -> bool:
        """``path``: the capture's, in small letters; ``name``: nDPI's own of the flow."""
        return (
            (not self.names or flow.name.partition(".")[0] in self.names or name in self.names)
            and (not self.alone or flow.name in self.alone)
            and (not self.protocol or flow.protocol == _PROTOCOLS[self.protocol])
            and (self.port is None or self.port in flow.ports)
            and min(flow.ports) >= self.ports_from
            and (not self.below or 0 < flow.size < self.below)
            and (not self.words or any(word in path for word in self.words))
            and not any(word in path for word in self.without)
        )


class Taxonomy:
    """The tables of ``taxonomy.yaml``.

    Attributes:
        services: names of all services.
        applications: application -> the services that it can be.
        kinds: of what is malicious.

    Raises:
        TaxonomyError: the file can't be read, or names a service that it does not list.
    """

    def __init__(self, path: Path | None = None) -> None:
        path = path or Path(__file__).with_name("taxonomy.yaml")
        try:
            text = path.read_text(encoding="utf-8")
            tables = yaml.safe_load(text)
            self.services = tuple(tables["services"])
            self._generic = frozenset(tables["generic"])
            self._carries: dict[str, list[str]] = tables["carries"]
            self._encrypted = frozenset(tables["encrypted"])
            self._categories: dict[str, str] = tables["categories"]
            self._settled: dict[str, str] = tables["settled"]
            self._owners = frozenset(tables["owners"])
            self._ports: dict[tuple[int, int], dict[str, str]] = {
                (_PROTOCOLS[key.partition("/")[0]], int(key.partition("/")[2])): about
                for key, about in tables["ports"].items()
            }
            self._content: dict[str, int] = tables["content"]
            self._http, self._quic, self._not_tls, self._tcp_only = (
                frozenset(tables[key]) for key in ("http", "quic", "not_tls", "tcp_only")
            )
            self._not_within: dict[str | None, list[str]] = tables["not_within"]
            self._beside = {kind: [_Beside(**entry) for entry in of] for kind, of in tables["beside"].items()}
            self._shell_ports = frozenset(tables["shell_ports"])
            self._captures: dict[str, str] = tables["captures"]
            self._unsaid = frozenset(tables["unsaid"])
            self._capture_applications: dict[str, str | None] = tables["capture_applications"]
            self._alike: dict[str | None, list[str | None]] = tables["alike"]
            self._background: dict[str, list[str]] = tables["background"]
            self._harmless = frozenset(tables["harmless"])
            self._attack_vectors = frozenset(tables["attack_vectors"])
            self._demonstrations = frozenset(tables["demonstrations"]["groups"])
            self._doubtful: list[str] = tables["demonstrations"]["doubtful"]
            self.applications = {name: tuple(entry["services"]) for name, entry in tables["applications"].items()}
            #: Applications that a capture can be of.
            self._of_captures = {*self.applications, *self._capture_applications.values()}
            self._application: dict[str, str] = {
                alias: name for name, entry in tables["applications"].items() for alias in entry.get("ndpi", [name])
            }
            self._kinds: dict[str, re.Pattern[str]] = {
                kind: re.compile(r"(?<![a-z0-9])(?:" + "|".join(words) + ")", re.IGNORECASE)
                for kind, words in tables["kinds"].items()
            }
        except OSError as error:
            raise TaxonomyError(f"{path}: {error.strerror}") from None
        except (yaml.YAMLError, KeyError, TypeError, AttributeError, re.error) as error:
            raise TaxonomyError(f"{path}: not a taxonomy ({' '.join(str(error).split())})") from None
        self.kinds = tuple(self._kinds)
        #: Changes with the tables.
        self.digest = hashlib.sha256(text.encode()).hexdigest()
        named = [s for of in self.applications.values() for s in of]
        named += [*self._settled.values(), *self._categories.values(), *self._captures.values()]
        for kind in self._beside:
            if kind not in self._kinds:
                raise TaxonomyError(f"{path}: names the kind {kind!r} under beside, which is not under kinds")
        for service in named:
            if service not in self.services:
                raise TaxonomyError(f"{path}: names the service {service!r}, which is not under services")

    def labels(
        self, capture: CaptureLabels, flow: FlowName | None, name_server: NameServer = lambda name: None
    ) -> Labels:
        """The answers for a flow that nDPI names ``flow`` (None: it says nothing) in ``capture``. ``name_server`` says
        what servers are."""
        transport = self.transport(flow)
        if capture.group in UNLABELLED_GROUPS:
            return Labels(transport=transport)
        role = self._role(flow, name_server) if flow else None
        malicious = self.malicious(capture, flow, role)
        service, application, _ = role or (None, None, False)
        service_by, application_by = "name" if service else "", "name" if application else ""
        by_protocol = self._by_protocol(flow)
        if not service and by_protocol[0]:
            service, service_by = by_protocol[0], "protocol"
        if not application and by_protocol[1]:
            application, application_by = by_protocol[1], "protocol"
        if application_by == "protocol":
            made_of = self.of_series(capture)[1]
            if made_of in self._alike.get(self._own_name(flow), ()):
                application, application_by = made_of, "capture"
        if flow and not service and not application and not role:
            service, application = self._by_port(flow)
            service_by, application_by = "protocol" if service else "", "protocol" if application else ""
        # Traffic of malware says nothing about what HTTP is otherwise good for, and a capture of X may hold anything
        # else, too, whose names say so.
        if not service and not application and not role and capture.malicious in ("0", "unknown"):
            service, application = self._by_capture(capture, flow)
            service_by, application_by = "capture" if service else "", "capture" if application else ""
        kind = self.kind(capture, flow) if malicious else None
        return Labels(service, application, malicious, kind, service_by, application_by, transport)

    def malicious(
        self, capture: CaptureLabels, flow: FlowName | None, role: tuple[str | None, str | None, bool] | None = None
    ) -> bool | None:
        """Whether a flow is part of an attack. In a malicious capture only what is not in doubt counts: what nDPI
        names as an ordinary application, what goes to a server that is known, or what it has not seen at all, is not
        labelled, but for servers of which it is known that they are harmless. ``role`` is the server's."""
        if capture.group in UNLABELLED_GROUPS:
            return None
        if capture.malicious == "unknown" and capture.group in self._demonstrations:
            recognised = flow is not None and not flow.guessed and not flow.name.startswith("Unknown")
            return False if recognised and not any(word in capture.path for word in self._doubtful) else None
        if capture.malicious == "0":
            return False
        if capture.malicious != "1" or flow is None:
            return None
        if role and role[2] and any(role[:2]):
            # A name that is in no table may be anybody's, and one that anybody can have (dynamic DNS), too.
            return False if role[1] in self._harmless else None
        if self._socket_pair(flow) or self._port_of(flow) is not None:
            return None
        name = self._own_name(flow, even_guessed=True)
        path = capture.path.lower()
        if any(each.holds(path, flow, name) for each in self._beside.get(self.kind(capture) or "", ())):
            return None
        if name is None or name in self._attack_vectors:
            return True
        about = f"{capture.path} {capture.service} {capture.application}".lower()
        if any(word in about for word in self._background.get(name, ())):
            return True
        return None

    def kind(self, capture: CaptureLabels, flow: FlowName | None = None) -> str | None:
        """Of what kind the attack is that the capture shows, or of it the flow; None where their labels don't tell."""
        file = capture.path.rpartition("/")[2]
        for about in (capture.note.split(";")[0], capture.application, file, capture.service):
            for kind, words in self._kinds.items():
                if words.search(about) or words.search(about.replace("_", " ")):
                    shell = flow is not None and not self._shell_ports.isdisjoint(flow.ports)
                    return "command_and_control" if shell and kind in ("exploit", "web_attack") else kind
        return None

    def _may_be(self, service: str, capture: CaptureLabels, flow: FlowName) -> bool:
        """Whether what the capture is of may be in such a flow."""
        protocol = flow.name.partition(".")[0]
        if self._socket_pair(flow) or self._port_of(flow) is not None:
            return False
        if flow.size and flow.size < self._content.get(service, 0):
            return False
        if flow.protocol == 17 and capture.application in self._tcp_only:
            return False
        if protocol in ("TLS", "QUIC", "HTTP", "DTLS") and "background" in capture.note:
            return False
        wanted = {"HTTP": service in self._http, "QUIC": service in self._quic, "TLS": service not in self._not_tls}
        return wanted.get(protocol, True)

    def _port_of(self, flow: FlowName) -> dict[str, str] | None:
        """What the ports of a flow are a program's own, where nDPI does not know more; None for all others."""
        if self._own_name(flow) is not None:
            return None
        return next((self._ports[key] for port in flow.ports if (key := (flow.protocol, port)) in self._ports), None)

    def _by_port(self, flow: FlowName) -> tuple[str | None, str | None]:
        about = self._port_of(flow) or {}
        return about.get("service"), about.get("application")

    @staticmethod
    def _socket_pair(flow: FlowName) -> bool:
        """A program that talks to itself: two ports chosen by chance, one soon after the other."""
        one, other = flow.ports
        return flow.protocol == 6 and min(one, other) >= CHOSEN and abs(one - other) <= 6

    def of_series(self, about: CaptureLabels) -> tuple[str | None, str | None]:
        """Service and application of a flow that somebody has labelled one by one."""
        application = self._capture_applications.get(
            about.application, self._application.get(about.application, about.application)
        )
        return self._captures.get(about.service), application if application in self._of_captures else None

    def lacks_service_of(self, capture: CaptureLabels) -> bool:
        """Whether the capture's service is a word that stands for nothing here, and so is lost. What attacks are of has
        words of its own."""
        if capture.group in UNLABELLED_GROUPS or capture.malicious not in ("0", "unknown"):
            return False
        return capture.service not in self._captures and capture.service not in self._unsaid

    def transport(self, flow: FlowName | None) -> int:
        """Index into TRANSPORTS. A port is enough for this."""
        if flow is None:
            return 0
        names = flow.name.split(".")
        if names[0] in ("TLS", "QUIC"):
            return TRANSPORTS.index(names[0])
        return 3 if any(name in self._encrypted for name in names) and names[0] != "DNS" else 0

    def application(self, ndpi: str) -> str | None:
        """The application that nDPI's name of a protocol stands for; None for one that carries anything."""
        return self._application.get(ndpi, ndpi) if ndpi and ndpi not in self._generic else None

    def services_of(self, application: str, seen: set[str]) -> tuple[str, ...]:
        """The services an application can be: the taxonomy's, and those it was ``seen`` with."""
        return tuple(sorted({*self.applications.get(application, ()), *seen}))

    def _role(self, flow: FlowName, name_server: NameServer) -> tuple[str | None, str | None, bool] | None:
        """What the flow's server is, by its name, or by those that others have for the same address and port, as far as
        these say the same."""
        if self._names_a_server(flow):
            return name_server(flow.server_name)
        roles = [name_server(name) for name in flow.others]
        if not any(roles):
            return None
        services = {role[0] if role else None for role in roles}
        applications = {role[1] if role else None for role in roles}
        return only(services), only(applications), False

    def _names_a_server(self, flow: FlowName) -> bool:
        """Whether the flow's name is the server's: what is asked of a resolver, or of all neighbours, is not."""
        return bool(flow.server_name) and flow.name.partition(".")[0] in self._generic

    def _own_name(self, flow: FlowName | None, even_guessed: bool = False) -> str | None:
        """nDPI's name of the flow, if it is more than that of a protocol that carries anything."""
        if flow is None or (flow.guessed and not even_guessed):
            return None
        protocol, _, application = flow.name.partition(".")
        if flow.name in self._owners:
            return None
        if protocol == "NetBIOS" and flow.protocol:
            # On TCP it is what carries SMB, on UDP announcements, whatever these look like.
            if flow.protocol != 6:
                return protocol
            return application if application in self._carries.get(protocol, ()) else "SMBv1"
        if application in self._carries.get(protocol, ()):
            return application
        if protocol not in self._generic:
            return protocol
        return application if application and application not in self._generic else None

    def _by_protocol(self, flow: FlowName | None) -> tuple[str | None, str | None]:
        """Service and application that nDPI's name settles."""
        name = self._own_name(flow)
        if flow is None or name is None:
            return None, None
        application = self._application.get(name, name)
        if name in self._settled:
            return self._settled[name], application
        if flow.name.partition(".")[0] in self._generic:
            # Whose it is, then, not what.
            return None, self._application.get(name)
        services = self.applications.get(application)
        if services:
            return (services[0] if len(services) == 1 else None), application
        return self._categories.get(flow.category), application

    def _by_capture(self, capture: CaptureLabels, flow: FlowName | None) -> tuple[str | None, str | None]:
        """Service and application of a capture of one thing, for a flow of which nothing more is known; of what nDPI
        guesses, only that it does not contradict."""
        service = self._captures.get(capture.service)
        # A flow that nDPI has not seen may be anything.
        if service is None or flow is None or not self._may_be(service, capture, flow):
            return None, None
        if flow.name.startswith("STUN") and service == "chat":
            service = "voip"
        if flow.guessed:
            guess = self._by_protocol(FlowName(flow.name, flow.category, False))
            if guess[0] not in (None, service):
                return None, None
        elif self._own_name(flow) is not None:
            return None, None
        application = self.of_series(capture)[1]
        not_it = flow.name.partition(".")[0] in self._not_within.get(application, ())
        return service, None if not_it else application
