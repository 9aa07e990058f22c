"""Whom a connection test names, what the answer proves of mail to others, and that it says mail as delivery does."""

from typing import Any

import pytest
from flask import Flask

from services.checks import asking, connection_test
from services.checks.connection_test import TestPlan, TestResult
from services.settings.reach import Reach
from services.smtp.dialogue import StepName
from services.smtp.habits import Habit, habits_of
from services.smtp.settings import Security, SmtpSettings
from tests.recording_server import RecordingServer
from tests.scripted_server import Answer, Connection, ScriptedServer, close, hang
from tests.smtp_clients import CONTENT, RECIPIENT, SENDER, policy, settings_for
from utils.errors import Fault, Phase

OWN = "anna@sender.example"  # beside SENDER
LOGIN: dict[str, Any] = {"username": "shop", "password": "geheim-8472"}
OFFERS = "250-x\n250-PIPELINING\n250-8BITMIME\n250 AUTH PLAIN"
CHUNKS = "250-x\n250-PIPELINING\n250-CHUNKING\n250 AUTH PLAIN"


def run(
    server: Any, *, rcpt: str = RECIPIENT, relay: str = "", content: bytes | None = None, total: float = 30, **more: Any
) -> TestResult:
    """What a test comes to in at most ``total`` seconds; ``more`` changes settings."""
    rules = policy(total_seconds=total)
    plan = TestPlan(settings=settings_for(server, **more), policy=rules, rcpt=rcpt, relay=relay, content=content)
    *_, result = connection_test.stream(plan)
    assert isinstance(result, TestResult)
    names = [step.name for step in result.steps if step.status != "failed"]
    assert len(names) == len(set(names))
    return result


def statuses(result: TestResult) -> dict[StepName, str]:
    return {step.name: step.status for step in result.steps}


# Whom it names.


def settings(**changes: Any) -> SmtpSettings:
    values: dict[str, Any] = {"host": "smtp.provider.example", "port": 25, "security": Security.NONE}
    return SmtpSettings(**{**values, "from_email": "hello@shop.example", **changes})


@pytest.mark.parametrize(
    ("candidates", "named"),
    [
        (["ann@elsewhere.example", "bob@other.example"], "ann@elsewhere.example"),
        (["ann@shop.example", "bob@other.example"], "bob@other.example"),
        (["ann@SHOP.example", "bob@other.example"], "bob@other.example"),
        (["ann@mail.shop.example", "bob@other.example"], "bob@other.example"),
        (["ann@provider.example", "bob@other.example"], "bob@other.example"),
        (["ann@shop.example", "bob@shop.example"], "ann@shop.example"),
        (["", "bob@shop.example"], "bob@shop.example"),
        (["", ""], "hello@shop.example"),
        (["ann@notshop.example", "bob@other.example"], "ann@notshop.example"),
    ],
)
def test_the_first_address_elsewhere_is_named(candidates: list[str], named: str) -> None:
    assert asking.to_name(settings(), candidates) == named


def test_a_domain_in_unicode_is_the_same_as_in_ascii() -> None:
    assert asking.is_own("ann@xn--bcher-kva.example", settings(from_email="hello@bücher.example"))


def test_a_message_is_preceded_by_an_address_elsewhere_only_where_it_shows_nothing_of_others() -> None:
    elsewhere, own = "ann@elsewhere.example", "ann@shop.example"
    assert asking.to_relay(settings(), own, [elsewhere]) == elsewhere
    assert asking.to_relay(settings(), own, [own]) == ""
    assert asking.to_relay(settings(), elsewhere, [elsewhere]) == ""
    assert asking.to_relay(settings(username="shop"), own, [elsewhere]) == ""


def test_the_plan_names_who_tests_or_else_what_was_entered_for_the_test(app: Flask) -> None:
    assert connection_test.plan(settings(), rcpt="ann@a.example", also="bob@b.example").rcpt == "ann@a.example"
    assert connection_test.plan(settings(), rcpt="ann@shop.example", also="bob@b.example").rcpt == "bob@b.example"
    prepared = connection_test.plan(settings(), to="bob@shop.example", rcpt="ann@a.example")
    assert (prepared.rcpt, prepared.relay) == ("bob@shop.example", "ann@a.example")


# What that proves.


@pytest.mark.parametrize(
    ("rcpt", "login", "reach"),
    [
        (RECIPIENT, {}, Reach.EVERYWHERE),
        (OWN, {}, Reach.OWN_DOMAIN),
        (OWN, LOGIN, Reach.EVERYWHERE),
        (RECIPIENT, LOGIN, Reach.EVERYWHERE),
    ],
)
@pytest.mark.parametrize("content", [None, CONTENT])
def test_a_recipient_elsewhere_or_a_sign_in_proves_it_for_all(
    rcpt: str, login: dict[str, Any], reach: Reach, content: bytes | None
) -> None:
    with ScriptedServer({"EHLO": OFFERS}) as server:
        result = run(server, rcpt=rcpt, content=content, **login)
    assert (result.ok, result.reach) == (True, reach)
    is_own = reach is Reach.OWN_DOMAIN
    assert result.headline == result.message + (", to your own domain only" if is_own else "")
    assert ("other domains was not tested" in result.caveat) is is_own


def test_an_address_elsewhere_is_named_before_a_message_to_ones_own_domain() -> None:
    with ScriptedServer({"EHLO": "250 x"}) as server:
        result = run(server, rcpt=OWN, relay=RECIPIENT, content=CONTENT)
    assert (result.ok, result.reach, result.caveat) == (True, Reach.EVERYWHERE, "")
    assert server.verbs == ["EHLO", "MAIL", "RCPT", "RSET", "MAIL", "RCPT", "DATA", "QUIT"]
    assert [f"<{OWN}>" in line for line in server.commands if line.startswith("RCPT")] == [False, True]
    assert len(server.messages) == 1


def refuse_elsewhere(connection: Connection) -> None:
    is_own = "@sender.example" in connection.command
    connection.send(b"250 ok\r\n" if is_own else b"554 5.7.1 Relay access denied\r\n")


def test_a_denied_relay_is_seen_before_the_message_goes_out() -> None:
    with ScriptedServer({"RCPT": refuse_elsewhere}) as server:
        result = run(server, rcpt=OWN, relay=RECIPIENT, content=CONTENT)
        assert server.messages == []
    assert not result.ok
    assert result.error
    assert (result.error.phase, result.error.enhanced) == (Phase.RECIPIENT, "5.7.1")
    assert "Relay access denied" in result.server_line


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("550 5.1.1 no such user", "refuses rcpt@recipient.example only"),
        ("450 4.2.0 Greylisted, come back", "try again later (greylisting)"),
    ],
)
def test_what_is_about_the_mailbox_is_a_warning_with_its_explanation(answer: str, words: str) -> None:
    words = words.replace("rcpt@recipient.example", RECIPIENT)
    with ScriptedServer({"EHLO": OFFERS, "RCPT": answer}) as server:
        signed_in, anonymous = run(server, **LOGIN), run(server)
    assert signed_in.ok
    assert anonymous.ok
    assert statuses(signed_in)[Phase.RECIPIENT] == "warning"
    assert words in signed_in.caveat
    # Who knows the mailboxes of a domain is no relay for it, so that nothing is proven of others.
    assert (signed_in.reach, anonymous.reach) == (Reach.EVERYWHERE, Reach.UNSEEN)
    assert "Whether it accepts email to other domains was not seen" in anonymous.caveat


def test_a_message_to_a_mailbox_that_does_not_exist_fails() -> None:
    with ScriptedServer({"EHLO": OFFERS, "RCPT": "550 5.1.1 no such user"}) as server:
        assert not run(server, content=CONTENT, **LOGIN).ok


@pytest.mark.parametrize(
    "answer", ["550 5.7.1 not permitted", "450 4.7.1 <x>: Helo command rejected", "530 5.7.0 Authentication required"]
)
def test_any_other_refusal_fails_at_the_recipient_and_is_explained(answer: str) -> None:
    with ScriptedServer({"EHLO": OFFERS, "RCPT": answer}) as server:
        result = run(server, **LOGIN)
    assert not result.ok
    assert statuses(result)[Phase.RECIPIENT] == "failed"
    assert result.diagnosis
    assert result.diagnosis.title
    assert result.server_line == answer


# As delivery does.


def one_at_a_time(answer: bytes) -> Answer:
    """What such a server says, which drops all that comes in one piece with a command."""

    def act(connection: Connection) -> None:
        connection.buffer.clear()
        connection.send(answer)

    return act


def test_a_server_that_takes_one_command_at_a_time_is_found_out_and_told() -> None:
    script: dict[str, Answer] = {"EHLO": OFFERS, "MAIL": one_at_a_time(b"250 ok\r\n")}
    with ScriptedServer(script) as server:
        result = run(server, timeout_seconds=1, **LOGIN)
        assert habits_of(server.host, server.port).lacks(Habit.PIPELINING)
    assert result.ok
    assert statuses(result)[Phase.SENDER] == "warning"
    (fact,) = [step.fact for step in result.steps if step.name is Phase.SENDER]
    assert fact.endswith("The server accepts one command at a time.")


def test_a_server_that_does_not_answer_chunks_is_found_out_and_told() -> None:
    with ScriptedServer({"EHLO": CHUNKS, "UNWANTED": hang}) as server:
        result = run(server, timeout_seconds=1, **LOGIN)
        assert habits_of(server.host, server.port).lacks(Habit.CHUNKING)
    assert result.ok
    (fact,) = [step.fact for step in result.steps if step.name is Phase.SENDER]
    assert fact.endswith("The server does not reply to chunks (BDAT).")


def test_a_server_that_dies_of_a_refused_chunk_is_tested_on_another_connection() -> None:
    with ScriptedServer({"EHLO": CHUNKS, "UNWANTED": close}) as server:
        result = run(server, **LOGIN)
        assert len(server.connections) == 2
    assert result.ok


def test_a_message_goes_as_a_chunk_where_mails_will() -> None:
    with ScriptedServer({"EHLO": CHUNKS}) as server:
        result = run(server, content=CONTENT, **LOGIN)
    assert result.ok
    assert "BDAT" in server.verbs
    assert "DATA" not in server.verbs
    assert list(statuses(result))[-3:] == [Phase.SENDER, Phase.RECIPIENT, Phase.MESSAGE]
    assert any(line.startswith("C: (the message, ") for line in result.transcript)
    assert "Good morning" not in "\n".join(result.transcript)


def test_a_server_whose_chunks_come_to_nothing_fails_the_test_message() -> None:
    with ScriptedServer({"EHLO": CHUNKS, "BDAT LAST": hang}) as server:
        result = run(server, content=CONTENT, total=1, **LOGIN)
    assert not result.ok
    assert result.error
    assert (result.error.phase, result.error.fault) == (Phase.MESSAGE, Fault.TIMEOUT)


def test_nothing_of_a_test_without_a_message_is_a_message() -> None:
    with RecordingServer() as server:
        assert run(server).ok
        assert server.mails == []
    with ScriptedServer({"EHLO": CHUNKS}) as scripted:
        assert run(scripted, from_email=SENDER).ok
        assert scripted.messages == []
