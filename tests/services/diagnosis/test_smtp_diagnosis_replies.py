"""Replies as servers word them: each is recognised at its own provider's server, however it is wrapped."""

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import pytest

from services.diagnosis import reply_rules
from services.diagnosis.diagnosis import Diagnosis, diagnose, explain
from services.diagnosis.picture import Picture
from services.diagnosis.reply_rules import ANY, FIELDS, all_rules
from services.providers import registry
from services.smtp.settings import Security
from tests.scripted_server import ScriptedServer, challenged
from tests.smtp_clients import CONTENT, ENVELOPE, client_for, settings_for
from utils.errors import DeliveryError, Fault, Phase

EXAMPLES: Final[list[dict[str, Any]]] = json.loads(
    (Path(__file__).parents[2] / "data" / "reply_examples.json").read_text(encoding="utf-8")
)
REPLIES: Final = [example for example in EXAMPLES if example["fault"] == "reply"]
CHANGING: Final = {
    r"[\w.-]+@[\w.-]+\.(?:com|invalid)": ["anna.o'neil+shop@sub.firma-7.example", "x@y.test", "müller@bücher.example"],
    r"\b(?:\d{1,3}\.){3}\d{1,3}\b": ["198.51.100.7", "203.0.113.250", "15.7.1.8"],
    r"\b[a-z]+\.example\.com\b": ["mx-3.firma.example", "smtp.y.test"],
    r"sandbox123": ["sandbox0f2c9b", "sandboxa1"],
    r"US-EAST-1": ["EU-CENTRAL-1", "AP-SOUTH-2"],
}
TAILS: Final = [
    "",
    " 5b1f17b1804b1-47 - gsmtp",
    " [FR3P281MB0123.DEUP281.PROD.OUTLOOK.COM 2026-05-02T08:11:09.000Z 08D0]",
]


def variants(example: dict[str, Any], count: int) -> Iterator[str]:
    """The same reply with other names in it, in other letters, on other lines, as `Reply.text` joins them."""
    dice = random.Random(example["id"])
    enhanced = example["enhanced"] or ""
    for turn in range(count):
        text = example["text"]
        for pattern, others in CHANGING.items():
            text = re.sub(pattern, dice.choice(others), text)
        change = (str, str.upper, str.lower, str.swapcase)[turn % 4]
        words = change(text + dice.choice(TAILS)).removeprefix(enhanced).split()
        lines: list[list[str]] = [[]]
        for word in words:
            if lines[-1] and dice.random() < 0.3:
                lines.append([])
            lines[-1].append(word)
        yield " ".join(f"{enhanced} {' '.join(line)} " for line in lines)


def explained(example: dict[str, Any], host: str, phase: str, text: str) -> Diagnosis:
    return explain(
        phase=phase,
        fault=example["fault"],
        code=example["code"],
        enhanced=example["enhanced"],
        text=text,
        host=host,
        port=587,
    )


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["id"])
def test_a_reply_is_recognised_at_its_own_server_and_by_no_other_rule(example: dict[str, Any]) -> None:
    for host in example["hosts"]:
        for phase in example["phases"]:
            assert explained(example, host, phase, example["text"]).rule == example["id"], (host, phase)


def test_every_server_of_a_provider_has_its_replies_read_by_its_rules() -> None:
    rules = {rule.id: rule for rule in all_rules()}
    for example in REPLIES:
        rule = rules.get(example["id"])
        for provider in registry.everyone():
            if rule and provider["id"] in rule.providers:
                places = (provider, *provider["regions"])
                patterns = (name for place in places for name in (place["host"], *place["hosts"]) if name)
                for host in (pattern.replace("*", "x7") for pattern in patterns):
                    found = explained(example, host, example["phases"][0], example["text"])
                    assert found.rule == example["id"], host


@pytest.mark.parametrize("example", REPLIES, ids=lambda example: example["id"])
def test_names_letters_and_line_ends_do_not_matter(example: dict[str, Any]) -> None:
    rules = {rule.id: rule for rule in all_rules()}
    for text in variants(example, 12):
        found = explained(example, example["hosts"][0], example["phases"][0], text).rule
        # Words that anybody says are a provider's where its mark stands behind them.
        is_a_providers = ANY in rules[example["id"]].providers and ANY not in rules[found].providers
        assert found == example["id"] or is_a_providers, text


@pytest.mark.parametrize(
    "example", [example for example in EXAMPLES if example["core"]], ids=lambda example: example["id"]
)
def test_a_core_reply_has_a_remedy_of_its_own(example: dict[str, Any]) -> None:
    found = explained(example, example["hosts"][0], example["phases"][0], example["text"])
    (remedy,) = {rule.remedy for rule in all_rules() if rule.id == example["id"]}
    assert "{" in remedy or remedy == found.remedy
    assert {rule.id for rule in all_rules() if rule.remedy == remedy} == {example["id"]}
    if "mail.example.com" not in example["hosts"]:
        general = [advice.remedy for table in reply_rules.tables().values() for advice in table.values()]
        assert remedy not in general


@pytest.mark.parametrize(
    ("code", "text", "rule", "other"),
    [
        (534, "5.7.9 Application-specific password required.{}", "gmail-app-password-required", "app-password-generic"),
        (454, "4.7.0 Too many login attempts, please try again later.{}", "gmail-too-many-logins", ""),
        (535, "5.7.8 Username and Password not accepted.{}", "gmail-bad-credentials", "auth-failed"),
        (421, "4.7.0 Try again later, closing connection.{}", "gmail-closing-connection", ""),
        (454, "4.7.0 Cannot authenticate due to temporary system problem.{}", "gmail-temporary-auth", ""),
        (421, "4.3.0 Temporary System Problem. Try again later{}", "gmail-temporary-system", ""),
    ],
)
def test_a_provider_is_named_only_at_its_servers_or_where_its_mark_stands(
    code: int, text: str, rule: str, other: str
) -> None:
    def recognised(host: str, mark: str = "") -> Diagnosis:
        return explain(phase="sign_in", fault="reply", code=code, text=text.format(mark), host=host)

    assert recognised("smtp.gmail.com").rule == rule
    assert recognised("smtp.shop.example", " 5b1f17b1804b1-47 - gsmtp").rule == rule
    for host, mark in (("smtp.shop.example", ""), ("smtp.shop.example", " <anna@gmail.com>"), ("smtp.zoho.eu", "")):
        found = recognised(host, mark)
        assert found.rule != rule
        assert other in ("", found.rule) or host == "smtp.zoho.eu"
        assert "Google" not in f"{found.title} {found.meaning} {found.cause} {found.remedy}"


def test_words_that_many_use_are_read_as_their_provider_means_them() -> None:
    said: dict[str, Any] = {"phase": "sign_in", "fault": "reply", "code": 535, "text": "Authentication failed"}
    assert explain(**said, host="smtp.zoho.eu").rule == "zoho-auth-failed"
    assert explain(**said, host="smtp.163.com").rule == "163-auth"
    assert explain(**said, host="mail.example.com").rule == "auth-failed"


def test_every_rule_says_everything_in_few_words() -> None:
    named = {provider for rule in all_rules() for provider in rule.providers}
    assert len({rule.id for rule in all_rules()}) == len(all_rules()) >= len(EXAMPLES)
    assert named - {ANY} <= {provider["id"] for provider in registry.everyone()}
    for rule in all_rules():
        for text in (rule.title, rule.meaning, rule.cause, rule.remedy):
            assert text.strip() == text != ""
            assert len(text) <= 300
        assert len(rule.title) <= 60, rule.id
        assert rule.field is None or rule.field in FIELDS
        assert set(rule.phases) <= set(Phase)
        assert set(rule.faults) <= set(Fault)
        assert rule.pattern or rule.listing or rule.faults != (Fault.REPLY,)
        assert rule.docs_url == "" or rule.docs_url.startswith("https://")
        assert rule.retryable or rule.retry_after is None, rule.id


@pytest.mark.parametrize("stuff", ["a", "sender address ", "helo domain of sender address ", "daily ", "4.7.1 ", " "])
def test_an_endless_reply_is_read_quickly(stuff: str) -> None:
    text = stuff * (65536 // len(stuff))
    started = perf_counter()
    for phase in (Phase.SIGN_IN, Phase.RECIPIENT):
        explain(phase=phase, fault="reply", code=451, enhanced="4.7.1", text=text, host="smtp.gmail.com")
    assert perf_counter() - started < 2


PLAYED: Final = [
    ("smtp.gmail.com", "AUTH", "535-5.7.8 Username and Password not accepted. For more information, go to\n"
     "535 5.7.8  https://support.google.com/mail/?p=BadCredentials ffacd0b85a97d-3a4 - gsmtp", "gmail-bad-credentials"),
    ("smtp.gmail.com", "AUTH", "534-5.7.9 Application-specific\n534-5.7.9 password required. For more information\n"
     "534 5.7.9  https://support.google.com/?p=InvalidSecondFactor", "gmail-app-password-required"),
    ("smtp.gmail.com", "EHLO", "421-4.7.0 Try again later, closing\n421 4.7.0 connection. (EHLO) x1-2 - gsmtp",
     "gmail-closing-connection"),
    ("smtp.gmail.com", "MESSAGE", "550-5.4.5 Daily user sending limit\n550-5.4.5 exceeded. For more information\n"
     "550 5.4.5  https://support.google.com/a/answer/166852", "gmail-daily-limit"),
    ("smtp.office365.com", "AUTH", "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for "
     "the Mailbox. Visit https://aka.ms/smtp_auth_disabled [FR3P.OUTLOOK.COM]", "ms-smtp-auth-disabled"),
    ("smtp-mail.outlook.com", "AUTH", "535 5.7.139 Authentication unsuccessful, basic authentication is disabled. "
     "[LO4P.PROD.OUTLOOK.COM]", "ms-basic-auth-disabled"),
    ("smtp.office365.com", "MESSAGE", "550 5.7.60 SMTP; Client does not have permissions to send as this sender",
     "ms-send-as-denied"),
    ("smtp.mail.yahoo.com", "AUTH", "535 5.7.0 (#AUTH005) Too many bad auth attempts.", "yahoo-auth005"),
    ("email-smtp.eu-west-1.amazonaws.com", "MESSAGE", "554 Message rejected: Email address is not verified. The "
     "following identities failed the check in region EU-WEST-1: shop@sender.example", "ses-not-verified"),
    ("email-smtp.us-east-1.amazonaws.com", "MAIL", "454 Throttling failure: Maximum sending rate exceeded.",
     "ses-rate"),
    ("smtp.sendgrid.net", "AUTH", "535 Authentication failed: The provided authorization grant is invalid, expired, or "
     "revoked", "sendgrid-grant-invalid"),
    ("smtp.sendgrid.net", "MESSAGE", "550 The from address does not match a verified Sender Identity. Mail cannot be "
     "sent until this error is resolved.", "sendgrid-sender-identity"),
    ("smtp.eu.mailgun.org", "AUTH", "535 5.7.0 Mailgun is not loving your login or password", "mailgun-bad-login"),
    ("smtp.yandex.com", "MAIL", "553-5.7.1 Sender address rejected:\n553 5.7.1 not owned by auth user.",
     "yandex-not-owned"),
    ("mail.example.com", "RCPT", "554 5.7.1 <anna@recipient.example>: Relay access denied", "relay-denied"),
    ("mail.example.com", "RCPT", "451 4.7.1 Greylisted, try again in 5 minutes", "greylisted"),
]  # fmt: skip


@pytest.mark.parametrize(("host", "verb", "reply", "rule"), PLAYED, ids=[f"{row[3]}-{row[1]}" for row in PLAYED])
def test_a_reply_is_recognised_in_a_real_conversation(host: str, verb: str, reply: str, rule: str) -> None:
    hello = "250-scripted.test\n250 AUTH PLAIN LOGIN"
    script: dict[str, Any] = {"EHLO": hello, verb: challenged(reply) if verb == "AUTH" else reply}
    with (
        ScriptedServer(script) as server,
        pytest.raises(DeliveryError) as caught,
        client_for(server, username="shop@login.example", password="geheim-8472") as client,
    ):
        client.send(ENVELOPE, CONTENT)
    settings = settings_for(server, host=host, port=587, security=Security.STARTTLS, username="shop@login.example")
    assert diagnose(caught.value, Picture(settings=settings)).rule == rule
