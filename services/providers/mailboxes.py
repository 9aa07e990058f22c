"""The providers that are merely known again: by an address, an MX host or a server's name.

Their facts stand in ``data/mailboxes.json``, each with its source, and are written out here as entries of
``data/providers.json`` are. It also adds to those what other sources know of them. ``registry.py`` alone asks.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple, NotRequired

from typing_extensions import TypedDict  # as in registry.py

DATA: Final = Path(__file__).parent / "data" / "mailboxes.json"

ONE_SOURCE: Final = "Only one public source names this server."
ONE_SOURCE_SAYS_SO: Final = "Only one public source says so."
UNVERIFIED: Final = "That this MX host belongs to it is not verified."
NO_SERVER: Final = "Its server for sending is not known: it may have none."
TEST_IT: Final = "Run the connection test before you rely on it."
NO_SMTP: Final = "{name} sends email from its own apps only. Send through another provider."

_USERNAME_HINTS: Final = {
    "address": "The full email address.",
    "local_part": "The part of the address before the @.",
    "other": "Usually the full email address. The provider’s own pages tell it.",
}
_APP_HINT: Final = "An app password, created in the account’s settings."
_MAILBOX_HINT: Final = "The mailbox’s password, or an app password if the provider asks for one."
_FROM_RULE: Final = "Usually From must be the mailbox’s own address."
_SWITCHED_OFF: Final = "Access for mail programs must first be turned on in the webmail’s settings."


class MailboxFact(TypedDict):
    """What the file has of a provider; CONTRIBUTING.md says what each key is."""

    id: str
    name: str
    also: NotRequired[list[str]]
    group: NotRequired[str]
    domains: NotRequired[str]
    host: NotRequired[str]
    host_form: NotRequired[str]
    hosts: NotRequired[str]
    ways: dict[str, str]
    agreed: NotRequired[bool]
    date: NotRequired[str]
    dc: NotRequired[str]
    mx: NotRequired[str]
    mx_src: NotRequired[str]
    differs: NotRequired[dict[str, str]]
    username: NotRequired[str]
    username_differs: NotRequired[dict[str, str]]
    password: NotRequired[str]
    oauth2: NotRequired[str]
    switch_on: NotRequired[bool]
    docs_url: NotRequired[str]
    src: NotRequired[str]
    no_smtp: NotRequired[bool]


class FurtherFact(TypedDict):
    """What the file has besides of a provider of the other file, or of ``provider:region``."""

    provider: str
    src: str
    domains: NotRequired[str]
    mx: NotRequired[str]
    ways: NotRequired[dict[str, str]]
    agreed: NotRequired[bool]
    doubtful: NotRequired[bool]


class More(NamedTuple):
    """What is known beyond ``data/providers.json`` of one of its providers, or of a region of one ("" for none)."""

    provider: str
    region: str
    domains: list[str]
    mx: list[str]
    ways: list[dict[str, Any]]
    caution: str


@cache
def _facts() -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(DATA.read_text(encoding="utf-8"))
    return facts


@cache
def entries() -> dict[str, dict[str, Any]]:
    """All of them by id, as entries of the other file."""
    return {fact["id"]: _written_out(fact) for fact in _facts()["providers"]}


@cache
def more() -> tuple[More, ...]:
    """What is known of providers of the other file besides."""
    return tuple(_more(fact) for fact in _facts()["more"])


def _more(fact: FurtherFact) -> More:
    provider, _, region = fact["provider"].partition(":")
    ways = [] if fact.get("doubtful") else _ways(fact.get("ways", {}))
    doubt = UNVERIFIED if "unverified" in fact["src"].split() else ""
    if fact.get("domains") and not fact.get("agreed"):
        doubt = ONE_SOURCE_SAYS_SO
    return More(provider, region, fact.get("domains", "").split(), fact.get("mx", "").split(), ways, _cautious(doubt))


def _written_out(fact: MailboxFact) -> dict[str, Any]:
    name, domains, form = fact["name"], fact.get("domains", "").split(), fact.get("host_form", "")
    username = fact.get("username", "other")
    entry: dict[str, Any] = {
        "id": fact["id"],
        "name": name,
        "also": fact.get("also", []),
        "group": fact.get("group", "mailbox"),
        "domains": domains,
        "host": fact.get("host", ""),
        "hosts": fact.get("hosts", "").split(),
        "ways": _ways(fact["ways"]),
        "mx": fact.get("mx", "").split(),
        "username_form": username,
        "username_hint": _USERNAME_HINTS[username],
        "password_hint": _APP_HINT if fact.get("password") == "app" else _MAILBOX_HINT,
        "from_rule": _FROM_RULE,
        "oauth2": fact.get("oauth2", "none"),
        "notes": [_SWITCHED_OFF] if fact.get("switch_on") else [],
        "docs_url": fact.get("docs_url", ""),
        "obstacle": NO_SMTP.format(name=name) if fact.get("no_smtp") else "",
        "caution": _cautious(*_doubts(fact, _other_hosts(fact))),
        "cautions": _cautions(fact, domains),
    }
    entry["hosts"] += [host for host in _other_hosts(fact) if host not in _servers() and _is_own(host, domains)]
    if form:
        entry |= {"host_form": form, "host_hint": _host_hint(form)}
        entry["hosts"] += [form.format(domain=domain) for domain in domains]
    if "unverified" in fact.get("mx_src", "").split():
        entry["mx_caution"] = _cautious(*_doubts(fact, _other_hosts(fact)), UNVERIFIED)
    return entry


def _ways(ways: dict[str, str]) -> list[dict[str, Any]]:
    """``{"465 tls": "where it is from", …}``, the recommended first."""
    return [{"port": int(port), "security": mode} for port, _, mode in (way.partition(" ") for way in ways)]


@cache
def _servers() -> frozenset[str]:
    return frozenset(fact.get("host", "") for fact in _facts()["providers"])


def _other_hosts(fact: MailboxFact) -> list[str]:
    """The servers that sources name which do not agree with the others."""
    return list(dict.fromkeys(way.split()[0] for way in fact.get("differs", {})))


def _is_own(host: str, domains: list[str]) -> bool:
    return "{" not in host and any(host.endswith(f".{domain}") for domain in domains)


def _cautions(fact: MailboxFact, domains: list[str]) -> dict[str, str]:
    """What is not certain of each domain: a server within another one there is none for it."""
    others = _other_hosts(fact)
    for_all = [host for host in others if not _is_own(host, domains)]
    return {
        domain: _cautious(*_doubts(fact, [host for host in others if host in for_all or host.endswith(f".{domain}")]))
        for domain in domains
        if others
    }


def _doubts(fact: MailboxFact, others: list[str]) -> list[str]:
    """What is not certain, a sentence each; ``others`` are the servers that other sources name.

    What has no server is certain.
    """
    if fact.get("no_smtp"):
        return []
    if not fact["ways"]:
        return [NO_SERVER]
    doubts = []
    if others:
        doubts.append(f"Other sources name {' or '.join(others)} instead.".replace("{domain}", "your domain"))
    elif not fact.get("agreed"):
        doubts.append(ONE_SOURCE)
    if "local_part" in fact.get("username_differs", {}):
        doubts.append("Some sources give only the part before the @ as user name.")
    elif fact.get("username_differs"):
        doubts.append("Some sources give another user name.")
    return doubts


def _cautious(*doubts: str) -> str:
    said = [doubt for doubt in doubts if doubt]
    return " ".join([*said, TEST_IT]) if said else ""


def _host_hint(form: str) -> str:
    """What a server is called whose name differs from customer to customer."""
    if form == "{mx}":
        return "The same as the MX of your domain."
    if "{domain}" in form:
        return f"“{form.removesuffix('{domain}')}” and the domain of your address."
    return f"The customer’s own: {form}."
