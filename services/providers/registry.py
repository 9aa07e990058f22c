"""The one registry of mail providers: whose server, mailboxes or MX a name is, and what is known of them.

The facts are data: ``data/providers.json`` has those that the form offers, ``data/mailboxes.json`` those that are
merely known again (``mailboxes.py`` reads them). Whoever must know a provider asks here: the form's hints, discovery,
the meaning of replies, and what a domain's DNS needs.
"""

import json
import re
from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

# The API document is made from these types as well, and pydantic wants this TypedDict before Python 3.12.
from typing_extensions import TypedDict

from services.providers import mailboxes

DATA: Final = Path(__file__).parent / "data" / "providers.json"
_ALIKE: Final = 0.86  # a slip or two in a server's name, but not another server
_TELLING: Final = 5  # characters of a name that is one provider's; many a domain is called mail or live
_MOST_NAMED: Final = 3  # domains
_NOT_TOLD: Final = {
    "sources",
    "host_form",
    "mx_caution",
    "cautions",
}  # keys of entries that are not facts of a Provider
_SHARED: Final = (
    "house",
    "spf",
    "selectors",
    "old_selectors",
    "username_form",
    "username_literal",
    "username_hint",
    "password_hint",
)  # what a region may have of its own
_SITE: Final = 2  # labels at the end of a name that no pattern leaves open


class Way(TypedDict):
    """A port and how it is encrypted: starttls, tls or none."""

    port: int
    security: str


class Region(TypedDict):
    """One of several servers of a provider, with the servers, address domains and MX names that belong to it alone.

    ``host`` is empty where everybody has another. The keys of ``_SHARED`` are the provider's where the file gives none.
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
    old_selectors: list[str]
    username_form: str
    username_literal: str
    username_hint: str
    password_hint: str


class Change(TypedDict):
    """What a provider changed, or will, and when (ISO 8601 date)."""

    date: str
    text: str


class Provider(Region):
    """What is known of a provider.

    ``host``, ``port`` and ``security`` are what is recommended; ``host`` is empty where everybody has another.
    ``hosts`` are further names of its servers; in them and in ``mx`` a ``*.`` in front stands for any labels, and
    another ``*`` for any characters of one label. ``domain_pattern`` is a regular expression for domains below one of
    its own. ``own_mx``: its MX hosts take mail for its own domains alone. ``username_form`` is address, own_address (at
    the provider itself), local_part, literal, none or other. ``account_password_works`` is None where nobody knows.
    ``oauth2`` is none, offered or required; ``auth_methods`` is empty where it is unknown. ``obstacle`` says why
    ordinary mail cannot be sent through it from here, and ``caution`` what is not certain about these facts, in
    sentences for whoever relies on them. ``security`` is "none" where no way with encryption is known, and ``ways`` is
    empty where none is known at all (``port`` is then 0): neither is to be filled in for anybody.

    ``house`` is whose name stands for it where a domain's DNS is spoken of. ``spf`` are the domains of which the
    From domain's SPF record includes one, the usual first; none if it is not known. ``own_envelope``: the provider's
    own domain stands in the envelope, so that SPF is looked up there. ``selectors`` are its usual DKIM selectors,
    each with what a CNAME there points to, or "" if only the provider can say; at ``old_selectors`` it had keys once.
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
    password_url: str
    account_password_works: bool | None
    oauth2: str
    auth_methods: list[str]
    relays_any_mail: bool
    obstacle: str
    caution: str
    from_rule: str
    limits: list[str]
    notes: list[str]
    changes: list[Change]
    docs_url: str
    domain_pattern: str
    own_mx: bool
    own_envelope: bool
    development_only: bool


class _Place(NamedTuple):
    """A provider, a region of one ("" for none), or some names of it that other sources know."""

    provider: str
    region: str = ""
    caution: str | None = None  # in place of the provider's own


class _Known(NamedTuple):
    """A name or pattern of names, and whose it is. The higher ``strength`` knows better: a name before a pattern,
    then whichever leaves less open.
    """

    strength: tuple[bool, int]
    pattern: str
    place: _Place


def for_server(host: str) -> Provider | None:
    """The provider whose server this is, at the region whose it is.

    What only development has is left out: any server on this machine could have its name.
    """
    known = _best(_index().servers, host)
    return _at(known.place) if known else None


def is_to_send_through(host: str) -> bool:
    """Whether this names a server that takes mail, and not merely anything within a provider's domain."""
    known = _best(_index().servers, host)
    return known is not None and (not _at(known.place)["host"] or not _is_whole_domain(known.pattern))


def is_checked(provider: Provider) -> bool:
    """Whether its facts were read up one by one, and are not merely what public sets say of it."""
    return provider["id"] in _curated() and not provider["caution"]


def server_meant_by(host: str) -> str | None:
    """The provider's server that was meant, if ``host`` looks like a slip in its name."""
    return _alike(_plain(host), _names())


def domain_meant_by(domain: str) -> str | None:
    """The offered mailboxes' domain that was meant, if ``domain`` looks like a slip in it, above it or in its end."""
    if is_listed(domain):
        return None
    name = domain.partition(".")[0]
    for known in _mailbox_domains():
        is_same_name = len(name) >= _TELLING and known.partition(".")[0] == name
        if is_same_name or domain.endswith(f".{known}"):
            return known
    return _alike(domain, _mailbox_domains())


def for_domain(domain: str) -> Provider | None:
    """The provider of the mailboxes at a domain (lower case, A-labels), by its name alone."""
    if place := _index().domains.get(domain):
        return _with_host(_at(place), place, domain=domain)
    for pattern, place in _index().patterns:
        if re.fullmatch(pattern, domain):
            return _at(place)
    return None


def is_listed(domain: str) -> bool:
    """Whether it is said of this very domain whose mailboxes it has, and not of all names of its form."""
    return domain in _index().domains


def for_mx(hosts: Sequence[str]) -> Provider | None:
    """The provider behind a domain's MX hosts (preferred first), by the most telling pattern."""
    for host in hosts:
        if known := _best(_index().takers, host):
            return _with_host(_at(known.place), known.place, mx=_plain(host))
    return None


def is_same_house(provider: Provider, other: Provider) -> bool:
    """Whether the same machines may send for the domains of both, as for Outlook.com and Microsoft 365."""
    same_server = bool(provider["host"]) and provider["host"] == other["host"]
    return provider["id"] == other["id"] or same_server or not set(provider["spf"]).isdisjoint(other["spf"])


@cache
def offered() -> tuple[Provider, ...]:
    """Every provider that the form offers, in its order, those of development too."""
    return tuple(_provider(provider_id) for provider_id in _curated())


@cache
def everyone() -> tuple[Provider, ...]:
    """Every provider: those that are offered, then those that are merely known again."""
    return tuple(_provider(provider_id) for provider_id in _entries())


def named(name: str) -> Provider | None:
    """The provider that is merely known again and called so (see ``plain_name``); None if several servers are.

    Many in the world have the name of one country's provider, so it says whose addresses it means.
    """
    known = [_provider(provider_id) for provider_id in _index().names.get(name, [])]
    if len({provider["host"] for provider in known}) != 1:
        return None
    if any(provider["group"] == "host" for provider in known) or not known[0]["ways"]:
        return known[0]
    meant = f"These are for addresses at {', '.join(known[0]['domains'][:_MOST_NAMED])}."
    return {**known[0], "caution": f"{meant} {known[0]['caution']}".rstrip()}


def by_id(provider_id: str) -> Provider | None:
    """The provider with this id."""
    return _provider(provider_id) if provider_id in _entries() else None


def plain_name(text: str) -> str:
    """A name as names are compared, whatever the case, the spaces and the signs."""
    return "".join(character for character in text.casefold() if character.isalnum())


def at_region(provider: Provider, region: Region) -> Provider:
    """The provider as it is in one of its regions."""
    here: dict[str, Any] = {key: cast(Any, region)[key] for key in ("host", *_SHARED)}
    if region["house"] != provider["house"]:
        here["name_by_mx"] = region["house"]
    return cast(Provider, {**provider, "region": region["id"], **here})


@cache
def _curated() -> dict[str, dict[str, Any]]:
    """The entries of the file that people read and write, in its order, by id."""
    return {entry["id"]: entry for entry in json.loads(DATA.read_text(encoding="utf-8"))}


@cache
def _entries() -> dict[str, dict[str, Any]]:
    """All entries by id; to those of the form is added what the other file knows of them."""
    entries = {**_curated(), **mailboxes.entries()}
    for further in mailboxes.more():
        entries[further.provider] = _with_more(entries[further.provider], further)
    return entries


def _with_more(entry: dict[str, Any], further: mailboxes.More) -> dict[str, Any]:
    regions = [
        {**region, **_lists(region, further)} if region["id"] == further.region else region
        for region in entry.get("regions", [])
    ]
    whole = {**entry, "ways": [*entry["ways"], *further.ways], "regions": regions}
    return whole if further.region else {**whole, **_lists(entry, further)}


def _lists(known: dict[str, Any], further: mailboxes.More) -> dict[str, list[str]]:
    return {
        "domains": [*known.get("domains", []), *further.domains],
        "mx": [*known.get("mx", []), *further.mx],
    }


@cache
def _provider(provider_id: str) -> Provider:
    return _complete(_entries()[provider_id])


@cache
def _at(place: _Place) -> Provider:
    """The provider as it is there."""
    here = provider = _provider(place.provider)
    for region in provider["regions"]:
        if region["id"] == place.region:
            here = at_region(provider, region)
    return here if place.caution is None else {**here, "caution": place.caution}


def _with_host(provider: Provider, place: _Place, **names: str) -> Provider:
    """With its server, where that follows from the address's domain or from the MX host."""
    form = _entries()[place.provider].get("host_form", "")
    if not any(f"{{{name}}}" in form for name in names):
        return provider
    return {**provider, "host": form.format(**names)}


class _Index(NamedTuple):
    """Whose each name is: servers and MX hosts by the end that no pattern leaves open, domains and names whole."""

    servers: dict[str, list[_Known]]
    takers: dict[str, list[_Known]]
    domains: dict[str, _Place]
    patterns: list[tuple[str, _Place]]
    names: dict[str, list[str]]


@cache
def _index() -> _Index:
    index = _Index({}, {}, {}, [], {})
    for further in mailboxes.more():  # first, since they may have a caution of their own
        _enter(
            index, _Place(further.provider, further.region, further.caution or None), [], further.domains, further.mx
        )
    for entry in _entries().values():
        if entry.get("development_only"):
            continue
        for whose in (*entry.get("regions", []), entry):  # a region first: its provider has the server of one of them
            place = _Place(entry["id"], "" if whose is entry else whose["id"])
            hosts = [host for host in (whose.get("host", ""), *whose.get("hosts", [])) if host]
            taker = _Place(*place[:2], entry["mx_caution"]) if entry.get("mx_caution") else place
            _enter(index, place, hosts, [], [])
            for domain in whose.get("domains", []):
                caution = entry.get("cautions", {}).get(domain)
                _enter(index, place if caution is None else _Place(*place[:2], caution), [], [domain], [])
            _enter(index, taker, [], [], whose.get("mx", []))
        if entry.get("domain_pattern"):
            index.patterns.append((entry["domain_pattern"], _Place(entry["id"])))
        if entry["id"] not in _curated():
            for name in {plain_name(name) for name in (entry["id"], entry["name"], *entry["also"])}:
                index.names.setdefault(name, []).append(entry["id"])
    return index


def _enter(index: _Index, place: _Place, hosts: list[str], domains: list[str], mx: list[str]) -> None:
    for of, patterns in ((index.servers, hosts), (index.takers, mx)):
        for pattern in patterns:
            strength = ("*" not in pattern, len(pattern.replace("*", "")))
            of.setdefault(_site(pattern), []).append(_Known(strength, pattern, place))
    for domain in domains:
        index.domains.setdefault(domain, place)


@cache
def _names() -> tuple[str, ...]:
    """Of those that are offered: among all, somebody's own server would soon look like a slip."""
    known = (known for those in _index().servers.values() for known in those if known.place.provider in _curated())
    return tuple(dict.fromkeys(each.pattern for each in known if "*" not in each.pattern))


@cache
def _mailbox_domains() -> tuple[str, ...]:
    """Of those that are offered, as in ``_names``."""
    mailboxes_offered = (entry for entry in _curated().values() if entry["group"] == "mailbox")
    return tuple(domain for entry in mailboxes_offered for domain in entry.get("domains", []))


def _alike(name: str, known: Sequence[str]) -> str | None:
    """The known name that this one is a slip or two away from."""
    alike = get_close_matches(name, known, n=1, cutoff=_ALIKE)
    return alike[0] if alike and alike[0] != name else None


@cache
def _form(pattern: str) -> re.Pattern[str]:
    """``*`` stays within a label but in front: nobody else's domain may end up behind it."""
    within = re.escape(pattern.removeprefix("*.")).replace(r"\*", "[^.]*")
    labels = r"(?:[^.]+\.)+" if pattern.startswith("*.") else ""
    return re.compile(labels + within)


def _fits(pattern: str, name: str) -> bool:
    return bool(_form(pattern).fullmatch(name)) if "*" in pattern else pattern == name


def _is_whole_domain(pattern: str) -> bool:
    return pattern.startswith("*.") and pattern.count("*") == 1


def _best(among: dict[str, list[_Known]], host: str) -> _Known | None:
    name = _plain(host)
    fitting = (known for known in among.get(_site(name), ()) if _fits(known.pattern, name))
    return max(fitting, key=lambda known: known.strength, default=None)


def _site(name: str) -> str:
    return ".".join(name.split(".")[-_SITE:])


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
        "caution": "",
        "limits": [],
        "notes": [],
        "changes": [],
        "docs_url": "",
        "domains": [],
        "domain_pattern": "",
        "own_mx": False,
        "mx": [],
        "spf": [],
        "own_envelope": False,
        "selectors": {},
        "old_selectors": [],
        "development_only": False,
    }
    way = entry["ways"][0] if entry["ways"] else {"port": 0, "security": "none"}
    whole = {**usual, **way, **{key: value for key, value in entry.items() if key not in _NOT_TOLD}}
    shared = {key: whole[key] for key in _SHARED}
    regions = [{"hosts": [], "domains": [], "mx": [], **shared, **region} for region in entry.get("regions", [])]
    return cast(Provider, {**whole, "regions": regions})
