"""A site's own servers: what it says itself of names, beside the shipped table."""

from __future__ import annotations

import re
from collections.abc import Collection

from .names import Answer, ServersError

_NAME = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_NUMBERS = re.compile(r"[0-9]+(?:\.[0-9]+)*")
#: Of one label alone, what everybody's names end in; a country has two letters. Others may be a network's own.
_EVERYBODYS = re.compile(r"[a-z]{2}|arpa|app|biz|cloud|com|dev|edu|gov|info|int|mil|net|online|org|site|xn--[^.]*|xyz")
_SERVICE = re.compile(r"[a-z][a-z0-9_]{0,63}")


def own_domains(given: object, services: Collection[str] | None = None) -> dict[str, Answer]:
    """What a mapping of domains says: name -> {service, application}.

    Args:
        services: those that there are; None: any word that can be one.

    Raises:
        ServersError: what is wrong, for after the name of the file.
    """
    if not isinstance(given, dict):
        raise ServersError("domains must hold suffixes, each with a service and perhaps an application")
    own: dict[str, Answer] = {}
    for domain, about in given.items():
        add_domain(own, domain, about, services)
    return own


def add_domain(own: dict[str, Answer], domain: object, about: object, services: Collection[str] | None) -> None:
    """One of them, as :func:`own_domains` has all, put among those that were read."""
    name = _domain(domain) if isinstance(domain, str) else None
    if name is None:
        raise ServersError(f"domains: {domain!r} is no name; give one such as intra.example.org, without a port")
    if _NUMBERS.fullmatch(name):
        raise ServersError(f"domains: {domain} is an address; give the name that clients ask for")
    if _EVERYBODYS.fullmatch(name):
        raise ServersError(f"domains: {domain} is what everybody's names end in; give one such as intra.example.org")
    service = about.get("service") if isinstance(about, dict) else None
    if not isinstance(about, dict) or not isinstance(service, str) or not _is_known(service, services):
        known = "one word of small letters, such as web" if services is None else f"of: {', '.join(services)}"
        raise ServersError(f"domains: {domain} must have a service {known}")
    if unknown := [key for key in about if key not in ("service", "application")]:
        raise ServersError(f"domains: {domain}: unknown key {unknown[0]!r}; known: application, service")
    application = about.get("application")
    if application is not None and (not isinstance(application, str) or not application.strip()):
        raise ServersError(f"domains: {domain}: application must be text, in quotes if need be, or left out")
    answer = Answer(service, None if application == "-" else application)
    if own.setdefault(name, answer) != answer:
        raise ServersError(f"domains: {domain} is there already with another answer; remove one of them")


def can_be_service(text: str) -> bool:
    """Whether a site may call a service so: one word, as the shipped ones are."""
    return _SERVICE.fullmatch(text) is not None and text != "unknown"


def _is_known(service: str, services: Collection[str] | None) -> bool:
    return can_be_service(service) if services is None else service in services


def _domain(text: str) -> str | None:
    """The name as names are looked up; None for what is none."""
    name = text.strip().lower().strip(".").removeprefix("*.")
    if not name.isascii():
        try:
            name = name.encode("idna").decode()
        except UnicodeError:
            return None
    return name if len(name) <= 253 and _NAME.fullmatch(name) else None
