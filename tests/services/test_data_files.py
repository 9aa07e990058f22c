"""The facts under ``services`` are what their readers take them for; a slip is named with its entry."""

import json
import re
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from services.connecting import calendar
from services.connecting.calendar import PasswordEnd
from services.diagnosis import facts, known_names, reply_rules
from services.diagnosis.filling import filled
from services.diagnosis.known_names import BlockList, Interceptor, Listing, ListKind
from services.diagnosis.picture import Picture
from services.diagnosis.reply_rules import ANY, Advice, Rule
from services.gateway import recipes
from services.gateway.quoting import SYNTAXES
from services.gateway.recipes import Application, PartFact
from services.providers import mailboxes, registry
from services.providers.registry import Provider
from services.smtp.settings import Security, SmtpSettings
from utils.errors import Fault, Phase

SERVICES = Path(__file__).parents[2] / "services"
STRICT = ConfigDict(extra="forbid", strict=True)


def slips(kind: Any, entries: dict[str, Any]) -> list[str]:
    """What is wrong with the entries of a file, each with its name; nothing if all are as their type says."""
    found = []
    for name, entry in entries.items():
        try:
            # In a list, since only what has no configuration of its own takes one.
            TypeAdapter(list[kind], config=STRICT).validate_json(json.dumps([entry]))
        except ValidationError as refused:
            found += [f"{name}: {'.'.join(map(str, e['loc'][1:]))}: {e['msg']}" for e in refused.errors()]
    return found


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_every_file_of_facts_has_its_test_here() -> None:
    read_here = {
        registry.DATA, mailboxes.DATA, reply_rules.RULES, reply_rules.TABLES, reply_rules.TROUBLES,
        known_names.BLOCK_LISTS, known_names.INTERCEPTORS, calendar.DATA, recipes.DATA,
    }  # fmt: skip
    assert set(SERVICES.glob("*/data/*.json")) == read_here


def test_the_applications_are_as_their_types_say() -> None:
    entries = read(recipes.DATA)
    assert slips(Application, {entry["id"]: entry for entry in entries}) == []
    parts = {f"{entry['id']} {part['title']}": part for entry in entries for part in entry["parts"]}
    assert slips(PartFact, parts) == []
    assert {part["syntax"] for part in parts.values()} <= set(SYNTAXES)
    for entry in entries:
        assert entry["docs_url"].startswith("https://") or entry["id"] in ("other", "http", "sendmail")
        assert all(set(word) == set(Security) for word in entry["words"].values()), entry["id"]


def test_the_providers_are_as_their_type_says() -> None:
    assert slips(Provider, {provider["id"]: provider for provider in registry.everyone()}) == []


def test_the_facts_on_providers_that_are_merely_known_again_are_as_their_types_say() -> None:
    data = read(mailboxes.DATA)
    assert data.keys() == {"about", "sources", "more", "providers"}
    assert slips(mailboxes.MailboxFact, {fact["id"]: fact for fact in data["providers"]}) == []
    assert slips(mailboxes.FurtherFact, {str(fact): fact for fact in data["more"]}) == []
    for fact in data["providers"]:
        assert ("host" in fact) + ("host_form" in fact) == bool(fact["ways"]), fact["id"]
        assert fact.get("group", "mailbox") in ("mailbox", "host"), fact["id"]
        assert fact.get("username", "other") in ("address", "local_part", "other"), fact["id"]
        assert fact.get("docs_url", "https://").startswith("https://"), fact["id"]
        assert all(re.fullmatch(r"\d+ (?:tls|starttls|none)", way) for way in fact["ways"]), fact["id"]


def test_the_rules_for_replies_are_as_their_type_says() -> None:
    data = read(reply_rules.RULES)
    assert data.keys() == {"marks", "rules"}
    assert slips(Rule, {entry["id"]: entry for entry in data["rules"]}) == []


def test_the_advice_by_status_is_as_its_type_says() -> None:
    tables = read(reply_rules.TABLES)
    assert tables.keys() == {"statuses", "codes", "faults", "phases"}
    assert slips(Advice, {f"{table} {key}": entry for table, of in tables.items() for key, entry in of.items()}) == []


def test_the_advice_on_tokens_is_as_its_type_says() -> None:
    data = read(reply_rules.TROUBLES)
    assert data.keys() == {"troubles"}
    assert slips(Advice, {entry.pop("of")[0]: entry for entry in data["troubles"]}) == []


def test_the_ends_of_passwords_are_as_their_type_says() -> None:
    data = read(calendar.DATA)
    assert data.keys() == {"about", "providers"}
    assert slips(PasswordEnd, data["providers"]) == []


def test_the_names_that_may_be_said_are_as_their_types_say() -> None:
    lists, interceptors = read(known_names.BLOCK_LISTS), read(known_names.INTERCEPTORS)
    assert slips(BlockList, {entry["name"]: entry for entry in lists["lists"]}) == []
    assert slips(Interceptor, {entry["name"]: entry for entry in interceptors["interceptors"]}) == []
    for known in (*known_names.block_lists(), *known_names.interceptors()):
        assert re.compile(known.pattern), known.name
        assert 2 <= len(known.name) <= 30
    for known in known_names.block_lists():
        assert known.kind in {*ListKind}
        # One that ended has no page; of every other it is said where and how an entry is removed.
        has_page = known.url.startswith("https://") and known.removal.endswith(".")
        assert has_page != bool(known.ended), known.name
    assert {rule.listing for rule in reply_rules.all_rules()} == {"", *Listing}


def test_advice_names_only_facts_that_there_are() -> None:
    settings = SmtpSettings(host="smtp.shop.example", port=587, security=Security.STARTTLS, from_email="")
    picture = Picture(settings=settings)
    tables = [advice for table in reply_rules.tables().values() for advice in table.values()]
    for advice in (*reply_rules.all_rules(), *tables):
        for texts in (vars(advice), *advice.variants):
            said = [texts[part] for part in ("title", "meaning", "cause", "remedy") if part in texts]
            for text in said:
                assert filled(text, picture, dict.fromkeys(facts.NAMES, "x"))  # KeyError: there is no such fact


def test_a_slip_in_a_fact_is_named_with_its_entry() -> None:
    gmail = next(provider for provider in registry.everyone() if provider["id"] == "gmail")
    region = {"id": "x", "name": "x", "host": "", "hosts": [], "domains": [], "mx": [], "house": "x", "spf": [],
              "selectors": {}, "old_selectors": [], "username_form": "x",
              "username_literal": "", "username_hint": "x", "password_hint": "x",
              "host_name": "x"}  # fmt: skip
    assert slips(Provider, {"gmail": {**gmail, "spff": []}}) == ["gmail: spff: Extra inputs are not permitted"]
    assert slips(Provider, {"gmail": {**gmail, "port": "587"}}) == ["gmail: port: Input should be a valid integer"]
    assert slips(Provider, {"gmail": {**gmail, "regions": [region]}})[0].startswith("gmail: regions.0.host_name:")
    rule = {**read(reply_rules.RULES)["rules"][0], "phase": ["sign_in"]}
    assert slips(Rule, {rule["id"]: rule})[0].startswith("gmail-bad-credentials: phase:")
    assert slips(Advice, {"550": {"title": "x"}})[0].startswith("550: meaning: Field required")


def test_a_rule_names_providers_phases_and_faults_that_there_are() -> None:
    known = {provider["id"] for provider in registry.everyone()} | {ANY}
    for rule in reply_rules.all_rules():
        assert set(rule.providers) <= known and rule.providers, rule.id
        assert set(rule.phases) <= set(Phase), rule.id
        assert set(rule.faults) <= set(Fault), rule.id
        assert re.compile(rule.pattern, re.IGNORECASE), rule.id


def test_the_advice_names_codes_phases_and_faults_that_there_are() -> None:
    tables = reply_rules.tables()
    assert set(tables["phases"]) <= set(Phase)
    assert {key.partition(" ")[0] for key in tables["faults"]} <= {*Fault, "unknown_outcome"}
    for key in (*tables["statuses"], *tables["codes"]):
        number, _, phase = key.partition(" ")
        assert re.fullmatch(r"\d+(?:\.\d+)?", number), key
        assert not phase or phase in set(Phase), key
