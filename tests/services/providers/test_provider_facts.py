"""What the registry says of every domain that the sets of facts name, held against a frozen copy of these facts."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Final

import pytest
from flask import Flask

from services.providers import discovery, mailboxes, presets, registry
from services.providers.discovery import Source, Suggestion
from services.smtp.settings import Security
from utils.addresses import parse_host, shown_domain

FACTS: Final = Path(__file__).parents[2] / "data" / "provider_facts.json"
# MX patterns of the facts that would leave customers' machines, or anybody's domain, open: names that they stand for.
NARROWED: Final = {"*.your-server.de": "www12.your-server.de", "mx*.hostinger.*": "mx1.hostinger.es"}


@cache
def facts() -> dict[str, dict[str, str]]:
    loaded: dict[str, dict[str, str]] = json.loads(FACTS.read_text(encoding="utf-8"))
    return loaded


@cache
def by_domain() -> dict[str, tuple[str, int, str, str]]:
    """Server, port, encryption and user-name rule by domain; "-" for no server, "?" for a rule that nobody names."""
    found = {}
    for fact, domains in facts()["domains"].items():
        host, port, mode, username = fact.split()
        found.update(dict.fromkeys(domains.split(), (host, int(port), mode, username)))
    return found


def test_every_domain_of_the_facts_has_its_server_port_encryption_and_user_name() -> None:
    assert len(by_domain()) >= 1290
    wrong = {}
    for domain, (host, port, mode, username) in by_domain().items():
        known = registry.for_domain(domain)
        assert known, domain
        told = (known["host"] or "-", known["port"], known["security"], known["username_form"])
        if told != (host, port, mode, "other" if username == "?" else username):
            wrong[domain] = told
    assert wrong == {}


def test_discovery_fills_in_what_the_facts_say_for_an_address_at_every_domain(app: Flask) -> None:
    usernames = {"address": "me@{}", "own_address": "me@{}", "local_part": "me"}
    for domain, (host, port, mode, username) in by_domain().items():
        found = discovery.discover(f"me@{domain}")
        assert found.source is Source.DOMAIN
        values = found.values
        is_filled_in = mode != "none"
        assert values.smtp_server == ("" if host == "-" else host), domain
        assert values.smtp_port == (port if is_filled_in else None), domain
        assert values.security == (Security(mode) if is_filled_in else None), domain
        if username in usernames:
            assert values.smtp_username == usernames[username].format(shown_domain(domain)), domain


def test_every_mx_of_the_facts_leads_to_its_server() -> None:
    for pattern, fact in facts()["mx"].items():
        taker = NARROWED.get(pattern, pattern.replace("*", "1"))
        host, *way = fact.replace("{mx}", taker).split()
        known = registry.for_mx([taker])
        assert known and known["host"] == host, pattern
        if way and "pobox" not in host:  # there both ways are known, and the mailboxes' own comes first
            assert [str(known["port"]), known["security"]] == way, pattern


def test_no_name_beside_a_known_domain_is_declared_to_be_one() -> None:
    """Another ending, something before it or below it: such a domain is anybody's."""
    for domain in by_domain():
        name = domain.partition(".")[0]
        for near in (f"{name}.example", f"{name}.dev", f"{name}.io", f"{name}.org", f"x{domain}", f"{domain}.example"):
            assert near in by_domain() or registry.is_listed(near) or registry.for_domain(near) is None, near
        below = f"shop.{domain}"
        found = registry.for_domain(below)
        assert found is None or below in by_domain() or domain == "onmicrosoft.com", below


@pytest.mark.parametrize(
    "domain",
    ["live.org", "live.io", "live.cat", "live.dev", "yahoo.org", "yahoo.dev", "yahoo.co.kr", "yahoo.app", "outlook.dev",
     "outlook.org", "hotmail.io", "hotmail.example.com", "gmx.dev", "aol.org", "fastmail.io", "zoho.org"],
)  # fmt: skip
def test_a_name_that_looks_like_a_mailbox_providers_is_nobodys(domain: str) -> None:
    assert registry.for_domain(domain) is None


def test_a_pattern_covers_only_what_lies_below_a_domain_of_the_providers_own() -> None:
    for provider in registry.everyone():
        if provider["domain_pattern"]:
            ends = {f".+\\.{domain}".replace(".com", "\\.com") for domain in provider["domains"]}
            assert provider["domain_pattern"] in ends, provider["id"]


def test_no_two_claim_the_same_domain_or_id() -> None:
    ids = [provider["id"] for provider in registry.everyone()]
    assert len(ids) == len(set(ids))
    read = json.loads(mailboxes.DATA.read_text(encoding="utf-8"))
    claims = [domain for entry in (*read["providers"], *read["more"]) for domain in entry.get("domains", "").split()]
    curated = json.loads(registry.DATA.read_text(encoding="utf-8"))
    claims += [
        domain
        for entry in curated
        for place in (entry, *entry.get("regions", []))
        for domain in place.get("domains", [])
    ]
    assert sorted(claims) == sorted(set(claims))
    assert all(parse_host(domain) == domain for domain in claims)


def test_every_fact_of_the_second_file_has_a_source_of_the_table() -> None:
    read = json.loads(mailboxes.DATA.read_text(encoding="utf-8"))
    for entry in (*read["providers"], *read["more"]):
        given = [*entry["ways"].values()] if entry.get("ways") else []
        given += [entry[key] for key in ("src", "mx_src") if key in entry]
        for table in ("differs", "username_differs"):
            given += entry.get(table, {}).values()
        codes = {code for codes in given for code in codes.split()}
        assert codes and codes <= read["sources"].keys(), entry
        if "mx" in entry and "id" in entry:
            assert entry["mx_src"], entry["id"]


@pytest.mark.parametrize(
    ("address", "server", "username"),
    [
        ("me@hal.ne.jp", "mail.hal.ne.jp", "me"),
        ("me@go.tvm.ne.jp", "go.tvm.ne.jp", "me"),
        ("me@norlys.dk", "mail.mailnorlys.dk", "me@norlys.dk"),
        ("me@worldonline.cz", "smtp.mail.tiscali.cz", "me@worldonline.cz"),
        ("me@mx2.tiki.ne.jp", "smtp-auth.tiki.ne.jp", "me@mx2.tiki.ne.jp"),
    ],
)
def test_what_is_only_known_without_encryption_is_left_to_a_person_and_said(
    app: Flask, address: str, server: str, username: str
) -> None:
    found = discovery.discover(address)
    assert discovery.UNENCRYPTED in found.message
    assert (found.values.smtp_port, found.values.security) == (None, None)
    assert (found.values.smtp_server, found.values.smtp_username) == (server, username)


def test_that_nothing_is_encrypted_is_said_before_what_is_not_certain(app: Flask) -> None:
    message = discovery.discover("me@clio.ne.jp").message
    assert message.index(discovery.UNENCRYPTED) < message.index("Only one public source")


def test_no_way_without_encryption_stands_beside_one_with_it() -> None:
    for provider in registry.everyone():
        modes = {way["security"] for way in provider["ways"]}
        assert modes == {"none"} or "none" not in modes, provider["id"]


@pytest.mark.parametrize(
    "text", ["me@hey.com", "hey.com", "HEY", "me@tuta.com", "me@tutanota.de", "me@keemail.me", "Tuta"]
)
def test_what_has_no_smtp_is_told_so_and_nothing_is_filled_in(app: Flask, text: str) -> None:
    found = discovery.discover(text)
    assert found.message.endswith("It has no server for other programs to send through.")
    assert "Ask" not in found.message
    assert found.values == Suggestion()
    assert found.provider and "Send through another provider." in found.provider["obstacle"]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("me@kabelmail.de", "Other sources name smtp.kabelmail.de instead."),
        ("me@blueyonder.co.uk", "Other sources name smtp.blueyonder.co.uk instead."),
        ("me@xtra.co.nz", "Other sources name smtp.mail.yahoo.com instead."),
        ("me@bol.com.br", "Other sources name smtp.bol.com.br instead."),
        ("me@t-online.de", "Some sources give only the part before the @ as user name."),
        ("me@miomio.jp", "Some sources give another user name."),
        ("me@bahnhof.se", "Only one public source names this server."),
        ("me@gmx.ca", "Only one public source says so."),
        ("me@i.ua", "Its server for sending is not known: it may have none."),
    ],
)
def test_what_is_not_certain_is_said_and_to_be_tested(app: Flask, address: str, said: str) -> None:
    message = discovery.discover(address).message
    assert said in message
    assert message.endswith("Run the connection test before you rely on it.")


@pytest.mark.parametrize(
    "address",
    ["me@posteo.de", "me@bluewin.ch", "me@fastmail.nl", "me@hotmail.it", "me@gmail.com", "me@virginmedia.com"],
)
def test_what_two_sources_agree_on_is_said_without_a_caution(app: Flask, address: str) -> None:
    assert "connection test" not in discovery.discover(address).message


@pytest.mark.parametrize("taker", ["w0123abc.kasserver.com", "mx1.pub.mailpod1-cph3.one.com", "mx.aruba.it"])
def test_an_mx_that_nobody_verified_says_so(taker: str) -> None:
    known = registry.for_mx([taker])
    assert known and "not verified" in known["caution"]


@pytest.mark.parametrize(
    "taker",
    ["static.4.3.2.1.clients.your-server.de", "vps-1a2b.vps.ovh.net", "mx-biz.mail.am0.yahoodns.net",
     "mx1.hostinger.evil", "inbound-smtp.us-east-1.amazonaws.com", "p123.kundenserver.de"],
)  # fmt: skip
def test_a_customers_machine_or_another_houses_mx_is_not_taken_for_the_providers(taker: str) -> None:
    assert registry.for_mx([taker]) is None


def test_a_server_named_by_domain_or_mx_is_filled_in_where_it_differs_from_customer_to_customer() -> None:
    by_address = registry.for_domain("inbox.lv")
    by_mx = registry.for_mx(["w0123abc.kasserver.com"])
    assert by_address and by_address["host"] == "mail.inbox.lv"
    assert by_mx and by_mx["host"] == "w0123abc.kasserver.com"


@pytest.mark.parametrize(
    ("text", "provider_id"),
    [("Posteo", "posteo-de"), ("t-online.de", "t-online-de"), ("Telekom", None), ("strato", "strato-de"),
     ("HEY", "hey"), ("seznam", "seznam-cz"), ("Movistar", None), ("postm", "postmark")],
)  # fmt: skip
def test_one_that_is_merely_known_again_is_found_by_its_whole_name_if_it_is_the_only_one(
    app: Flask, text: str, provider_id: str | None
) -> None:
    found = presets.for_name(text)
    assert (found and found["id"]) == provider_id


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Vodafone", "Settings for Vodafone. These are for addresses at vodafonemail.de, arcor.de, nexgo.de."),
        ("o2", "Settings for o2. These are for addresses at o2.pl, go2.pl, tlen.pl."),
        ("Posteo", "Settings for Posteo. These are for addresses at posteo.de, posteo.af, posteo.at."),
        ("strato", "Settings for Strato."),  # for domains of one's own, too
        ("SendGrid", "Settings for SendGrid."),
    ],
)
def test_a_name_that_many_have_says_whose_addresses_it_means(app: Flask, name: str, said: str) -> None:
    message = discovery.discover(name).message
    assert message.startswith(said)
    assert ("These are for" in message) is ("These are for" in said)


def test_the_list_of_the_form_does_not_grow_by_those_that_are_merely_known_again(app: Flask) -> None:
    offered = {provider["id"] for provider in presets.presets()}
    assert "posteo-de" not in offered
    assert {"plunk", "azure-communication", "workmail"} <= offered
    assert presets.find_preset("posteo-de") == registry.by_id("posteo-de")
    known = presets.for_server("posteo.de", "465")
    assert known and known["id"] == "posteo-de"


def test_an_answer_costs_no_walk_through_all_that_is_known() -> None:
    """Lookups are by name: only patterns that end like the host are looked at, only what is told is written out."""
    code = (
        "from services.providers import registry as r\n"
        "r.for_domain('posteo.de'); r.for_mx(['mx00.kundenserver.de']); r.for_server('smtp.strato.de')\n"
        "print(r._provider.cache_info().currsize, r._form.cache_info().currsize)\n"
        "print(max(map(len, r._index().takers.values())))"
    )
    written, patterns, most = map(int, subprocess.check_output([sys.executable, "-c", code], text=True).split())
    assert (written, patterns) == (3, 1)
    assert most <= 12


def test_all_that_is_known_takes_little_memory() -> None:
    code = (
        "import tracemalloc\n"
        "from services.providers import registry as r\n"
        "tracemalloc.start()\n"
        "r.for_domain('posteo.de'); r.everyone(); r.server_meant_by('smtp.gmial.com')\n"
        "print(tracemalloc.get_traced_memory()[1])"
    )
    assert int(subprocess.check_output([sys.executable, "-c", code], text=True)) < 5 * 2**20
