"""What providers ask of the domains that send through them. The facts are data, in ``data`` beside this file."""

import json
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Final, TypedDict

DATA: Final = Path(__file__).parent / "data" / "domain_facts.json"


class DomainFacts(TypedDict):
    """One provider's. ``spf`` are the domains of which the From domain's SPF record includes one, the usual first.

    ``own_envelope``: the provider's own domain stands in the envelope, so that SPF is looked up there.
    ``hosts`` are its servers, with * for what differs, ``domains`` those of its own mailboxes; ``selectors``
    are its usual DKIM selectors, each with what a CNAME there points to, or "" if only the provider can say.
    """

    id: str
    name: str
    hosts: list[str]
    domains: list[str]
    spf: list[str]
    own_envelope: bool
    selectors: dict[str, str]


def of_server(host: str) -> DomainFacts | None:
    """The provider whose server this is, if it is a known one."""
    return next((known for known in _all() if any(fnmatchcase(host, own) for own in known["hosts"])), None)


def of_mailboxes(domain: str) -> DomainFacts | None:
    """The provider whose mailboxes have this domain, so that nobody else can change its records."""
    return next((known for known in _all() if domain in known["domains"]), None)


@cache
def _all() -> list[DomainFacts]:
    known: list[DomainFacts] = json.loads(DATA.read_text())
    return known
