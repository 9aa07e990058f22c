"""The one registry of mail providers: whose server, mailboxes or MX a name is, and what is known of them.

The facts are data, in ``data/providers.json``. Whoever must know a provider asks here: the form's hints,
discovery, the meaning of replies, and what a domain's DNS needs.
"""

import json
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

# The API document is made from these types as well, and pydantic wants this TypedDict before Python 3.12.
from typing_extensions import TypedDict

DATA: Final = Path(__file__).parent / "data" / "providers.json"
_ALIKE: Final = 0.86  # a slip or two in a server's name, but not another server


class Way(TypedDict):
    """A port and how it is encrypted: starttls, tls or none."""

    port: int
    security: str


class Region(TypedDict):
    """One of several servers of a provider, with the servers, address domains and MX names that belong to it alone.

    ``host`` is empty where everybody has another. ``house``, ``spf`` and ``selectors`` are the provider's where
    the file gives none.
    """

    id: str
    name: str
    host: str
    hosts: list[str]
    domains: list[str]
    mx: list[str]
    house: str
    spf: list[str]
    selectors: dict[str, str]


class Change(TypedDict):
    """What a provider changed, or will, and when (ISO 8601 date)."""

    date: str
    text: str


class Provider(Region):
    """What is known of a provider.

    ``host``, ``port`` and ``security`` are what is recommended; ``host`` is empty where everybody has another.
    ``hosts`` are further names of its servers; in them and in ``mx`` a ``*.`` in front stands for any labels, and
    another ``*`` for any characters of one label. ``domain_pattern`` is a regular expression. ``username_form`` is
    address, own_address (at the provider itself), local_part, literal, none or other. ``account_password_works`` is
    None where nobody knows. ``oauth2`` is none, offered or required; ``auth_methods`` is empty where it is unknown.
    ``obstacle`` says why ordinary mail cannot be sent through it from here.

    ``house`` is whose name stands for it where a domain's DNS is spoken of. ``spf`` are the domains of which the
    From domain's SPF record includes one, the usual first; none if it is not known. ``own_envelope``: the provider's
    own domain stands in the envelope, so that SPF is looked up there. ``selectors`` are its usual DKIM selectors,
    each with what a CNAME there points to, or "" if only the provider can say.
    """

    also: list[str]
    name_by_mx: str
    group: str
    host_hint: str
    port: int
    security: str
    ways: list[Way]
    region: str
    regions: list[Region]
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
    domain_pattern: str
    own_envelope: bool
    development_only: bool


class _Known(NamedTuple):
    """A name or pattern of names, and whose it is. The higher ``strength`` knows better: a name before a pattern,
    then whichever leaves less open.
    """

    strength: tuple[bool, int]
    fits: re.Pattern[str]
    pattern: str
    provider: Provider


def for_server(host: str) -> Provider | None:
    """The provider whose server this is, at the region whose it is.

    What only development has is left out: any server on this machine could have its name.
    """
    known = _best(_servers(), host)
    return known.provider if known else None


def is_to_send_through(host: str) -> bool:
    """Whether this names a server that takes mail, and not merely anything within a provider's domain."""
    known = _best(_servers(), host)
    return known is not None and (not known.provider["host"] or not _is_whole_domain(known.pattern))


def server_meant_by(host: str) -> str | None:
    """The provider's server that was meant, if ``host`` looks like a slip in its name."""
    name = _plain(host)
    alike = get_close_matches(name, _names(), n=1, cutoff=_ALIKE)
    return alike[0] if alike and alike[0] != name else None


def for_domain(domain: str) -> Provider | None:
    """The provider of the mailboxes at a domain (lower case, A-labels), by its name alone."""
    for place in _places():
        if domain in place.domains:
            return place.provider
    for provider in everyone():
        if provider["domain_pattern"] and re.fullmatch(provider["domain_pattern"], domain):
            return provider
    return None


def is_listed(domain: str) -> bool:
    """Whether it is said of this very domain whose mailboxes it has, and not of all names of its form."""
    return any(domain in place.domains for place in _places())


def for_mx(hosts: Sequence[str]) -> Provider | None:
    """The provider behind a domain's MX hosts (preferred first), by the most telling pattern."""
    return next((known.provider for host in hosts if (known := _best(_takers(), host))), None)


def is_same_house(provider: Provider, other: Provider) -> bool:
    """Whether the same machines may send for the domains of both, as for Outlook.com and Microsoft 365."""
    return provider["id"] == other["id"] or not set(provider["spf"]).isdisjoint(other["spf"])


@cache
def everyone() -> tuple[Provider, ...]:
    """Every provider in the order of the form, those of development too."""
    return tuple(_complete(entry) for entry in json.loads(DATA.read_text(encoding="utf-8")))


def at_region(provider: Provider, region: Region) -> Provider:
    """The provider as it is in one of its regions."""
    here: dict[str, Any] = {key: region[key] for key in ("host", "house", "spf", "selectors")}
    if region["house"] != provider["house"]:
        here["name_by_mx"] = region["house"]
    return cast(Provider, {**provider, "region": region["id"], **here})


class _Place(NamedTuple):
    """A provider, or a region of one, with the names of its own."""

    provider: Provider
    hosts: list[str]
    domains: list[str]
    mx: list[str]


@cache
def _places() -> tuple[_Place, ...]:
    """Regions before their provider, which has the same server as one of them."""
    places = []
    for provider in everyone():
        if not provider["development_only"]:
            for whose in (*provider["regions"], provider):
                here = provider if whose is provider else at_region(provider, whose)
                hosts = [host for host in (whose["host"], *whose["hosts"]) if host]
                places.append(_Place(here, hosts, whose["domains"], whose["mx"]))
    return tuple(places)


@cache
def _servers() -> tuple[_Known, ...]:
    return tuple(_known(host, place.provider) for place in _places() for host in place.hosts)


@cache
def _takers() -> tuple[_Known, ...]:
    return tuple(_known(host, place.provider) for place in _places() for host in place.mx)


@cache
def _names() -> tuple[str, ...]:
    return tuple(dict.fromkeys(host for place in _places() for host in place.hosts if "*" not in host))


def _known(pattern: str, provider: Provider) -> _Known:
    """``*`` stays within a label but in front: nobody else's domain may end up behind it."""
    within = re.escape(pattern.removeprefix("*.")).replace(r"\*", "[^.]*")
    labels = r"(?:[^.]+\.)+" if pattern.startswith("*.") else ""
    strength = ("*" not in pattern, len(pattern.replace("*", "")))
    return _Known(strength, re.compile(labels + within), pattern, provider)


def _is_whole_domain(pattern: str) -> bool:
    return pattern.startswith("*.") and pattern.count("*") == 1


def _best(among: Iterable[_Known], host: str) -> _Known | None:
    name = _plain(host)
    fitting = (known for known in among if known.fits.fullmatch(name))
    return max(fitting, key=lambda known: known.strength, default=None)


def _plain(host: str) -> str:
    """As the registry writes it; a dot at the end makes no other name."""
    return host.lower().rstrip(".")


def _complete(entry: dict[str, Any]) -> Provider:
    """An entry of the file, which leaves out what most providers do not have."""
    usual = {
        "also": [],
        "name_by_mx": entry["name"],
        "house": entry["name"],
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
        "spf": [],
        "own_envelope": False,
        "selectors": {},
        "development_only": False,
    }
    whole = {**usual, **entry["ways"][0], **entry}
    shared = {key: whole[key] for key in ("house", "spf", "selectors")}
    regions = [{"hosts": [], "domains": [], "mx": [], **shared, **region} for region in entry.get("regions", [])]
    return cast(Provider, {**whole, "regions": regions})
