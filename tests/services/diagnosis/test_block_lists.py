"""Block lists and reputations: real refusals are told from others, with the list's name, its page and what to do."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from services.delivery import retry_policy
from services.delivery.retry_policy import MailAction, Verdict, Whose
from services.diagnosis import known_names
from services.diagnosis.diagnosis import Diagnosis, diagnose
from services.diagnosis.known_names import Listing
from services.diagnosis.picture import Picture
from services.outbox.reasons import Reason, words
from services.smtp.settings import Security, SmtpSettings
from utils.errors import DeliveryError, Fault, Misconfigured, Permanent, Phase, Temporary

# Fragments of real replies, from public sources; the names and addresses in them are changed.
REPLIES: Final[dict[str, list[dict[str, Any]]]] = json.loads(
    (Path(__file__).parents[2] / "data" / "block_list_replies.json").read_text(encoding="utf-8")
)
LISTED, OTHERS = REPLIES["listed"], REPLIES["others"]
RULES: Final = {
    "query": {"block-list-query-refused"},
    "domain": {"domain-block-listed"},
    "link": {"link-block-listed"},
    "address": {"block-listed"},
    "dynamic": {"block-listed"},
    "reputation": {"low-reputation", "yahoo-tss04", "yahoo-never"},
}
EVERY_RULE: Final = {rule for rules in RULES.values() for rule in rules}
OPENING: Final = (Phase.CONNECT, Phase.GREETING, Phase.EHLO)
SERVER: Final = SmtpSettings(host="mail.shop.example", port=25, security=Security.STARTTLS, from_email="a@shop.example")


def error_of(entry: dict[str, Any]) -> DeliveryError:
    phase, code = Phase(entry["phase"]), entry["code"]
    kind = Temporary if code // 100 == 4 else Misconfigured if phase in OPENING else Permanent
    return kind(phase, Fault.REPLY, entry["text"], code=code, enhanced=entry["enhanced"] or None)


def told_of(entry: dict[str, Any]) -> Diagnosis:
    return diagnose(error_of(entry), Picture(settings=SERVER))


def verdict_on(entry: dict[str, Any]) -> Verdict:
    return retry_policy.of_error(error_of(entry))


def url_of(name: str) -> str:
    return next((known.url for known in known_names.block_lists() if known.name == name), "")


def test_there_are_many_of_them() -> None:
    assert len(LISTED) >= 150
    assert len(OTHERS) >= 60
    assert {entry["kind"] for entry in LISTED} == RULES.keys()
    assert all(len(entry["text"].split()) <= 12 for entry in LISTED)


def test_each_is_recognised_with_its_list_and_the_list_s_page() -> None:
    wrong = []
    for entry in LISTED:
        told = told_of(entry)
        listed = known_names.block_list_in(entry["text"])
        name = listed.name if listed and entry["kind"] != "query" else ""
        if told.rule not in RULES[entry["kind"]] or (name, told.docs_url) != (entry["list"], url_of(entry["list"])):
            wrong.append((entry["text"], told.rule, name, told.docs_url))
    assert wrong == []


def test_none_points_to_the_from_field_or_says_for_good_what_is_for_now() -> None:
    for entry in LISTED:
        told = told_of(entry)
        assert told.field in (None, "smtp_server"), entry
        assert not [action for action in told.actions if "from_email" in action.changes], entry
        assert told.retryable or entry["code"] // 100 == 5, entry


def test_none_is_the_mail_s_or_the_recipient_s_and_none_suppresses_a_recipient() -> None:
    for entry in LISTED:
        verdict = verdict_on(entry)
        assert not verdict.is_hard_bounce, entry
        if entry["kind"] == "link":  # the one that is: it goes through nowhere with that link
            assert verdict.whose is Whose.MAIL, entry
            continue
        assert (verdict.whose in retry_policy.OF_SERVERS, verdict.action) == (True, MailAction.SNOOZE), entry
        assert verdict.goes_on or entry["phase"] == "message", entry  # that was handed over


def test_the_connection_test_says_the_same_as_the_verdict() -> None:
    for entry in LISTED:
        if entry["kind"] != "link":
            error, verdict = error_of(entry), verdict_on(entry)
            assert retry_policy.message_of(error) == words(verdict.reason), entry
            assert verdict.reason is (Reason.SERVER_FAULT if entry["kind"] == "query" else Reason.BLOCK_LISTED), entry


def test_what_only_mentions_blocking_lists_or_reputation_is_something_else() -> None:
    for entry in OTHERS:
        assert told_of(entry).rule not in EVERY_RULE, entry
        assert known_names.listing_in(f"{entry['code']} {entry['enhanced']} {entry['text']}") is None, entry


@pytest.mark.parametrize("text", ["<jane@spamhaus.org>: Access denied", "to jane@dnsbl.sorbs.net: no", "x@zen.rbl no"])
def test_an_address_that_a_reply_repeats_names_no_list(text: str) -> None:
    assert known_names.block_list_in(text) is None
    assert known_names.listing_in(text) is None


def test_of_a_list_that_has_ended_it_is_said_so_and_whom_to_ask() -> None:
    entry = {
        "phase": "recipient",
        "code": 554,
        "enhanced": "5.7.1",
        "text": "Client host [203.0.113.5] blocked using dnsbl.sorbs.net",
    }
    told = told_of(entry)
    assert "SORBS, a list that ended in 2024" in told.meaning
    assert "postmaster of the recipient" in told.remedy
    assert (told.field, told.actions, told.docs_url) == (None, (), "")


def test_each_kind_of_list_says_what_it_means_and_how_an_entry_ends() -> None:
    said = {
        "blocked using pbl.spamhaus.org": ("homes and clouds", "fixed address"),
        "blocked using xbl.spamhaus.org": ("Malware", "First remove"),
        "blocked using dnsbl-2.uceprotect.net": ("whole networks", "Nothing has to be paid"),
        "blocked using bl.spamcop.net": ("sent spam", "24 hours"),
        "blocked using multi.surbl.org": ("", "without that link"),
        "blocked using csi.cloudmark.com": ("score", "resets the score"),
    }
    for text, (cause, remedy) in said.items():
        told = told_of({"phase": "recipient", "code": 554, "enhanced": "5.7.1", "text": text})
        assert cause in told.cause, text
        assert remedy in told.remedy, text


def test_a_listed_link_is_told_from_a_listed_sender() -> None:
    assert known_names.listing_in("550 Blacklisted URL in message (shop.example)") is Listing.LINK
    assert known_names.listing_in("554 Sender address blocked using multi.uribl.com") is Listing.DOMAIN
    assert known_names.listing_in("550 sending domain is listed in Spamhaus DBL") is Listing.DOMAIN


def test_a_list_that_the_server_may_not_ask_says_nothing_of_this_machine() -> None:
    told = told_of({"phase": "recipient", "code": 554, "enhanced": "5.7.1",
                    "text": "Client host [203.0.113.5] blocked using zen.spamhaus.org; 127.255.255.254"})  # fmt: skip
    assert told.rule == "block-list-query-refused"
    assert "This machine is not on the list" in told.cause
    assert (told.retryable, told.field, told.actions) == (True, None, ())
