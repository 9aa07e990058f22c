"""Replies in odd forms: the three digits decide (RFC 5321 4.2), at every place of the conversation."""

import pytest

from services.diagnosis.diagnosis import diagnose, message
from services.diagnosis.picture import Picture
from services.smtp.client import Receipt
from services.smtp.settings import Security, SmtpSettings
from tests import certificates
from tests.scripted_server import Answer, ScriptedServer, close, pause, start_tls
from tests.smtp_clients import CONTENT, ENVELOPE, RECIPIENT, client_for, parcels, policy, word
from utils.errors import DeliveryError, Fault, OutcomeUnknown, Permanent, Phase, Temporary

SERIAL = "250 scripted.test"
PIPELINED = "250-scripted.test\n250 PIPELINING"
CHUNKED = "250-scripted.test\n250-PIPELINING\n250 CHUNKING"
HELLOS = pytest.mark.parametrize("hello", [SERIAL, PIPELINED, CHUNKED], ids=["serial", "pipelined", "chunked"])
LONG = "x" * 2100

WHOLE: list[Answer] = [
    "250OK queued",
    "250\tok",
    "250",
    b"250 \r\n",
    "2502.0.0 ok",
    b"250 ok\n",
    f"250 2.0.0 ok {LONG}",
    f"250-2.0.0 ok {LONG}\n250 2.0.0 {LONG}",
    "250-x\n" * 500 + "250 2.0.0 queued",
    f"250-{LONG}\n" * 60 + "250 2.0.0 queued",
]
UNENDED: list[Answer] = [
    "250-2.0.0 ok\n\n250 2.0.0 queued",
    "250-2.0.0 ok\nqueued\n250 2.0.0 queued",
    "250-2.0.0 ok\n354 go",
    ("250-2.0.0 ok", close),
    ("250-2.0.0 ok", pause(0.05), "250-more", close),
    (b"250 2.0.0 o", close),
    (b"250", close),
]


@HELLOS
@pytest.mark.parametrize("answer", WHOLE, ids=range(len(WHOLE)))
def test_an_odd_acceptance_is_one_and_the_connection_goes_on(hello: str, answer: Answer) -> None:
    with ScriptedServer({"EHLO": hello, "MESSAGE": answer}) as server, client_for(server) as client:
        assert [word(outcome) for _, outcome in client.send_all(parcels(4))] == ["accepted"] * 4
        assert client.is_open
    assert (len(server.messages), len(server.connections)) == (4, 1)


@HELLOS
@pytest.mark.parametrize("answer", UNENDED, ids=range(len(UNENDED)))
def test_an_acceptance_without_a_proper_end_is_one_and_ends_the_connection(hello: str, answer: Answer) -> None:
    with ScriptedServer({"EHLO": hello, "MESSAGE": answer}) as server, client_for(server) as client:
        found = [outcome for _, outcome in client.send_all(parcels(2))]
        assert isinstance(found[0], Receipt)
        assert not client.is_open
    assert len(server.connections) == 1


def test_a_refusal_in_an_odd_form_is_no_acceptance() -> None:
    with (
        ScriptedServer({"MESSAGE": "554-5.7.1 spam\n\n250 2.0.0 queued"}) as server,
        client_for(server) as client,
        pytest.raises(Permanent) as caught,
    ):
        client.send(ENVELOPE, CONTENT)
    assert (caught.value.code, client.is_open) == (554, False)


@pytest.mark.parametrize("answer", ["done", "25 ok", "150 wait", "", " 250 ok", (b"25", close)])
def test_what_has_no_code_leaves_the_message_unknown(answer: Answer) -> None:
    with (
        ScriptedServer({"MESSAGE": (answer, b"\r\n", close) if isinstance(answer, str) else answer}) as server,
        client_for(server) as client,
        pytest.raises(OutcomeUnknown),
    ):
        client.send(ENVELOPE, CONTENT)


@pytest.mark.parametrize(
    ("verb", "answer"),
    [
        ("GREETING", "220scripted.test"),
        ("GREETING", "220\tscripted.test"),
        ("GREETING", f"220 {LONG}"),
        ("GREETING", "220-hi\n" * 300 + "220 hi"),
        ("EHLO", "250OK"),
        ("EHLO", f"250-scripted.test {LONG}\n250-PIPELINING\n250 8BITMIME"),
        ("EHLO", "250-scripted.test\n250-PIPELINING\n250SIZE 1000000"),
        ("MAIL", "250OK"),
        ("MAIL", "250\tok"),
        ("MAIL", f"250 {LONG}"),
        ("RCPT", "250OK"),
        ("RCPT", "250-one\n250"),
        ("DATA", "354Start"),
        ("DATA", "354\tStart"),
        ("DATA", "354"),
        ("DATA", f"354 {LONG}"),
    ],
)
@HELLOS
def test_the_same_reader_serves_everywhere(hello: str, verb: str, answer: Answer) -> None:
    with ScriptedServer({"EHLO": hello, verb: answer}) as server, client_for(server) as client:
        assert [word(outcome) for _, outcome in client.send_all(parcels(3))] == ["accepted"] * 3
    assert len(server.messages) == 3


@pytest.mark.parametrize("answer", ["235Welcome", "235", "235\tok", f"235 {LONG}"])
def test_a_login_is_good_in_any_form(answer: Answer) -> None:
    script: dict[str, Answer] = {"EHLO": "250-scripted.test\n250 AUTH PLAIN", "AUTH": answer}
    with ScriptedServer(script) as server, client_for(server, username="shop", password="geheim-8472") as client:
        assert client.send(ENVELOPE, CONTENT).accepted == (RECIPIENT,)


@pytest.mark.parametrize("answer", ["220Go", f"220 {LONG}"])
def test_encryption_begins_behind_an_odd_answer(answer: str) -> None:
    script: dict[str, Answer] = {"EHLO": "250-scripted.test\n250 STARTTLS", "STARTTLS": start_tls(answer)}
    with (
        ScriptedServer(script, tls=certificates.good_context()) as server,
        client_for(server, rules=policy(), security=Security.STARTTLS) as client,
    ):
        assert client.send(ENVELOPE, CONTENT).accepted == (RECIPIENT,)


@pytest.mark.parametrize("answer", ["220-go\n\n220 go", ("220-go", close), "220-go\n250 SIZE"])
def test_encryption_does_not_begin_where_the_step_is_lost(answer: Answer) -> None:
    script: dict[str, Answer] = {"EHLO": "250-scripted.test\n250 STARTTLS", "STARTTLS": answer}
    with (
        ScriptedServer(script, tls=certificates.good_context()) as server,
        pytest.raises(DeliveryError) as caught,
        client_for(server, rules=policy(), security=Security.STARTTLS),
    ):
        pass
    assert caught.value.phase is Phase.ENCRYPTION
    assert b"\x16\x03" not in server.received


@pytest.mark.parametrize("verb", ["EHLO", "AUTH", "MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize(
    "answer",
    ["hello", "", "HTTP/1.1 400 Bad Request", "SSH-2.0-x", "250-one\n220 two", b"\x15\x03\x01\x00\x02\x02\x46"],
)
def test_after_a_good_greeting_nobody_says_that_it_is_no_mail_server(verb: str, answer: Answer) -> None:
    settings = SmtpSettings(host="mail.example", port=587, security=Security.NONE, from_email="a@mail.example")
    with (
        ScriptedServer({"EHLO": "250-scripted.test\n250 AUTH PLAIN", verb: answer}) as server,
        pytest.raises(DeliveryError) as caught,
        client_for(server, username="shop", password="geheim-8472") as client,
    ):
        client.send(ENVELOPE, CONTENT)
    error = caught.value
    assert error.fault is Fault.BROKEN_REPLY
    assert message(error) == "Server’s reply cannot be read"
    found = diagnose(error, Picture(settings=settings))
    assert "mail server" not in error.text
    assert found.title == "The server’s reply cannot be read"


def test_a_line_that_is_drained_never_pairs_with_the_next_command() -> None:
    long = "250-" + "x" * 4000 + "550 5.1.1 smuggled"
    script: dict[str, Answer] = {"EHLO": PIPELINED, "MAIL": f"{long}\n250 ok", "MESSAGE": f"{long}\n250 ok"}
    with ScriptedServer(script) as server, client_for(server) as client:
        assert [word(outcome) for _, outcome in client.send_all(parcels(4))] == ["accepted"] * 4


def test_the_next_mail_never_hears_what_was_left_of_an_answer() -> None:
    with ScriptedServer({"MESSAGE": "250-2.0.0 ok\n\n250 2.0.0 queued"}) as server, client_for(server) as client:
        assert client.send(ENVELOPE, CONTENT).accepted == (RECIPIENT,)
        with pytest.raises(Temporary):
            client.send(ENVELOPE, CONTENT)
    assert server.verbs.count("MAIL") == 1
