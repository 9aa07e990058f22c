"""Servers that never end, and callers' input that would end a command early."""

import tracemalloc
from contextlib import suppress

import pytest

from services.smtp.client import Envelope
from services.smtp.settings import Security
from tests import certificates
from tests.scripted_server import Action, Answer, ScriptedServer, close, drip, flood
from tests.smtp_clients import CONTENT, ENVELOPE, RECIPIENT, SENDER, client_for, policy
from utils.errors import DeliveryError, Fault, Misconfigured, OutcomeUnknown, Temporary

HELLO = "250-scripted.test\n250-STARTTLS\n250 AUTH PLAIN"
STAGES = ["GREETING", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "BODY", "MESSAGE"]
LARGE = b"Subject: large\r\n\r\n" + (b"x" * 76 + b"\r\n") * 25_000
MEBIBYTE = 1024 * 1024


def failure_at(verb: str, answer: Answer, total_seconds: float) -> DeliveryError:
    """The error of a session with STARTTLS, login and a message in which ``verb`` is answered so."""
    with pytest.raises(DeliveryError) as caught:
        run_session(verb, answer, total_seconds)
    return caught.value


def run_session(verb: str, answer: Answer, total_seconds: float) -> None:
    with (
        ScriptedServer({"EHLO": HELLO, verb: answer}, tls=certificates.good_context()) as server,
        client_for(
            server,
            rules=policy(total_seconds=total_seconds),
            security=Security.STARTTLS,
            username="shop",
            password="geheim-8472",
        ) as client,
    ):
        client.send(ENVELOPE, LARGE if verb == "BODY" else CONTENT)


@pytest.mark.parametrize("chunk", [b"250-flood\r\n" * 1000, b"250-" + b"x" * 10_000])
@pytest.mark.parametrize("verb", STAGES)
def test_a_flood_is_cut_off_and_takes_no_memory(verb: str, chunk: bytes) -> None:
    certificates.good_context()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        with suppress(Temporary, Misconfigured):  # 250 behind all of a message is its acceptance
            run_session(verb, flood(chunk), total_seconds=30)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < 16 * MEBIBYTE


@pytest.mark.parametrize("verb", [stage for stage in STAGES if stage not in ("BODY", "MESSAGE")])
def test_a_dripping_server_cannot_exceed_the_deadline(verb: str) -> None:
    code = {"GREETING": b"220", "STARTTLS": b"220", "DATA": b"354"}.get(verb, b"250")
    error = failure_at(verb, drip(code + b" " + b"." * 200 + b"\r\n"), total_seconds=1)
    assert error.fault is Fault.TIMEOUT
    assert error.may_have_been_sent is False


@pytest.mark.parametrize(
    "answer",
    [flood(b"250-flood\r\n" * 1000), flood(b"250-" + b"x" * 10_000), drip(b"250 " + b"." * 200 + b"\r\n")],
)
def test_an_acceptance_without_end_is_one(answer: Answer) -> None:
    with ScriptedServer({"MESSAGE": answer}) as server, client_for(server, rules=policy(total_seconds=1)) as client:
        assert client.send(ENVELOPE, CONTENT).accepted == (RECIPIENT,)
        assert not client.is_open


@pytest.mark.parametrize("verb", ["EHLO", "MAIL", "RCPT", "DATA"])
def test_one_answer_has_less_time_than_the_whole(verb: str) -> None:
    with (
        ScriptedServer({verb: drip(b"250 " + b"." * 200 + b"\r\n")}) as server,
        pytest.raises(DeliveryError) as caught,
        client_for(server, timeout_seconds=1) as client,
    ):
        client.send(ENVELOPE, CONTENT)
    assert caught.value.fault is Fault.TIMEOUT


def test_a_flood_behind_the_acceptance_does_not_undo_it() -> None:
    action: tuple[str, Action] = ("250 2.0.0 accepted", flood(b"250 again\r\n" * 1000))
    with ScriptedServer({"MESSAGE": action}) as server, client_for(server) as client:
        assert client.send(ENVELOPE, CONTENT).accepted == (RECIPIENT,)


HOSTILE = [
    "a@x.example\r\nRCPT TO:<evil@e.example>",
    "a@x.example\nDATA",
    "a@x.example\r",
    "a@x.example> SIZE=1 <",
    "<a@x.example>",
    "a@x.example\0",
    "a@x.example\x7f",
    "a@x.example\x85",
    "a@x.example\u2028",
    "a\u202eb@x.example",
    "a b@x.example",
    "a\tb@x.example",
    "a@x.example, b@y.example",
    "a@x.example,b@y.example",
    "Anna <a@x.example>",
    "a@b@x.example",
    "@x.example",
    "no-at-sign",
    "a@\ud800.example",
    "a@" + "ü" * 300 + ".example",
]


@pytest.mark.parametrize("address", [*HOSTILE, ""])
def test_a_hostile_recipient_is_a_bug_of_ours_and_says_nothing(address: str) -> None:
    with ScriptedServer() as server, client_for(server) as client:
        with pytest.raises(ValueError, match=r".") as caught:
            client.send(Envelope(sender=SENDER, recipients=(RECIPIENT, address)), CONTENT)
        assert not isinstance(caught.value, DeliveryError)
        assert client.is_open
    assert server.verbs == ["EHLO", "QUIT"]


@pytest.mark.parametrize("address", HOSTILE)
def test_a_hostile_sender_is_a_bug_of_ours_and_says_nothing(address: str) -> None:
    with ScriptedServer() as server, client_for(server) as client:
        with pytest.raises(ValueError, match=r"."):
            client.send(Envelope(sender=address, recipients=(RECIPIENT,)), CONTENT)
        with pytest.raises(ValueError, match=r"."):
            client.check_envelope(address, RECIPIENT, excuses=lambda _: True)
    assert server.verbs == ["EHLO", "QUIT"]


def test_no_error_holds_control_characters_of_the_server() -> None:
    nasty = b"550 \x1b[31mred\x07\x00 \xc2\x85 \xe2\x80\xae" + b"y" * 1500 + b"\r\n"
    with (
        ScriptedServer({"MAIL": nasty, "DATA": "503 no"}) as server,
        client_for(server) as client,
        pytest.raises(DeliveryError) as caught,
    ):
        client.send(ENVELOPE, CONTENT)
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in caught.value.text)
    assert len(caught.value.text) <= 500


def test_a_final_dot_without_an_answer_is_unknown_even_over_tls() -> None:
    assert isinstance(failure_at("MESSAGE", close, total_seconds=30), OutcomeUnknown)
