"""Known mail providers: what to fill in, and what people get wrong. The facts are data beside this file."""

import json
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

# The API document is made from these types as well, and pydantic wants this TypedDict before Python 3.12.
from typing_extensions import TypedDict

from utils.env_utils import get_settings

DATA: Final = Path(__file__).parent / "data" / "providers.json"
LOCAL_INBOX: Final = "local-inbox"
GROUPS: Final = {"mailbox": "Mailboxes", "service": "Sending services", "host": "Web hosts", "other": "Other"}
SHORTEST_START: Final = 3  # characters; fewer are the start of too many names


class Way(TypedDict):
    """A port and how it is encrypted: starttls, tls or none."""

    port: int
    security: str


class Region(TypedDict):
    """One of several servers of a provider, with the address domains and MX names that belong to it alone."""

    id: str
    name: str
    host: str
    domains: list[str]
    mx: list[str]


class Change(TypedDict):
    """What a provider changed, or will, and when (ISO 8601 date)."""

    date: str
    text: str


class Provider(TypedDict):
    """What is known of a provider.

    ``host``, ``port`` and ``security`` are what is recommended; ``host`` is empty where everybody has another.
    ``hosts`` are further names of its servers; in them and in ``mx`` a ``*`` stands for any characters, while
    ``domain_pattern`` is a regular expression. ``username_form`` is address, own_address (at the provider itself),
    local_part, literal, none or other. ``account_password_works`` is None where nobody knows. ``oauth2`` is none,
    offered or required; ``auth_methods`` is empty where it is unknown. ``obstacle`` says why ordinary mail cannot be
    sent through it from here.
    """

    id: str
    name: str
    also: list[str]
    name_by_mx: str
    group: str
    host: str
    host_hint: str
    port: int
    security: str
    ways: list[Way]
    region: str
    regions: list[Region]
    hosts: list[str]
    username_form: str
    username_literal: str
    username_hint: str
    password_hint: str
    password_url: str
    account_password_works: bool | None
    oauth2: str
    auth_methods: list[str]
    relays_any_mail: bool
    obstacle: str
    from_rule: str
    limits: list[str]
    notes: list[str]
    changes: list[Change]
    docs_url: str
    domains: list[str]
    domain_pattern: str
    mx: list[str]
    development_only: bool


def presets() -> list[Provider]:
    """Every provider in the order of the form; those of development only there, the local inbox on its own port."""
    settings = get_settings()
    if settings.is_production:
        return [provider for provider in _all() if not provider["development_only"]]
    return [
        {**provider, "port": settings.local_inbox_port} if provider["id"] == LOCAL_INBOX else provider
        for provider in _all()
        if provider["id"] != LOCAL_INBOX or settings.local_inbox_port
    ]


def find_preset(provider_id: str) -> Provider | None:
    """The provider with this id, or the region of one as ``provider:region``."""
    name, _, region_id = provider_id.partition(":")
    for provider in presets():
        if provider["id"] == name:
            regions = (region for region in provider["regions"] if region["id"] == region_id)
            return next((_at(provider, region) for region in regions), provider)
    return None


def for_name(text: str) -> Provider | None:
    """The provider that is called so, whatever the case and the spaces, or the only one whose name starts so."""
    wanted = _plain(text)
    starts = []
    for provider in presets():
        names = [_plain(name) for name in (provider["id"], provider["name"], *provider["also"])]
        if wanted in names:
            return provider
        if any(name.startswith(wanted) for name in names):
            starts.append(provider)
    return starts[0] if len(starts) == 1 and len(wanted) >= SHORTEST_START else None


def for_server(host: str, port: str) -> Provider | None:
    """The provider whose server this is, for its hints; with the region whose server it is.

    What only development has is known by its port as well: another server on this machine delivers.
    """
    for provider in presets():
        if provider["development_only"] and port != str(provider["port"]):
            continue
        for region in provider["regions"]:
            if region["host"] == host:
                return _at(provider, region)
        if host and any(fnmatchcase(host, known) for known in (provider["host"], *provider["hosts"])):
            return provider
    return None


def for_domain(domain: str) -> Provider | None:
    """The provider of the mailboxes at a domain (lower case, A-labels), by its name alone."""
    for provider, domains, _ in _places():
        if domain in domains:
            return provider
    for provider in presets():
        if provider["domain_pattern"] and re.fullmatch(provider["domain_pattern"], domain):
            return provider
    return None


def for_mx(hosts: Sequence[str]) -> Provider | None:
    """The provider behind a domain's MX hosts (lower case, preferred first), by the most telling pattern."""
    for host in hosts:
        fitting = [
            (len(pattern), provider)
            for provider, _, patterns in _places()
            for pattern in patterns
            if fnmatchcase(host, pattern)
        ]
        if fitting:
            return max(fitting, key=lambda known: known[0])[1]
    return None


def _places() -> Iterator[tuple[Provider, list[str], list[str]]]:
    """Every provider and every region of one, each with the domains and MX names of its own."""
    for provider in presets():
        yield provider, provider["domains"], provider["mx"]
        for region in provider["regions"]:
            yield _at(provider, region), region["domains"], region["mx"]


def _at(provider: Provider, region: Region) -> Provider:
    return {**provider, "region": region["id"], "host": region["host"]}


def _plain(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum())


@cache
def _all() -> list[Provider]:
    return [_complete(entry) for entry in json.loads(DATA.read_text(encoding="utf-8"))]


def _complete(entry: dict[str, Any]) -> Provider:
    """An entry of the file, which leaves out what most providers do not have."""
    usual = {
        "also": [],
        "name_by_mx": entry["name"],
        "host_hint": "",
        "region": "",
        "hosts": [],
        "username_literal": "",
        "password_url": "",
        "account_password_works": None,
        "oauth2": "none",
        "auth_methods": [],
        "relays_any_mail": True,
        "obstacle": "",
        "limits": [],
        "notes": [],
        "changes": [],
        "docs_url": "",
        "domains": [],
        "domain_pattern": "",
        "mx": [],
        "development_only": False,
    }
    regions = [{"domains": [], "mx": [], **region} for region in entry.get("regions", [])]
    return cast(Provider, {**usual, **entry["ways"][0], **entry, "regions": regions})
