"""What an observer hears: each phase as it ends, with one fact that is fit to be shown."""

import pytest

from services.smtp.client import Envelope, Step
from services.smtp.settings import Security
from tests import certificates
from tests.loopback import free_port
from tests.recording_server import RecordingServer
from tests.scripted_server import Answer, ScriptedServer, close
from tests.smtp_clients import CONTENT, ENVELOPE, RECIPIENT, SENDER, client_for
from utils.errors import DeliveryError, Fault, Misconfigured, OutcomeUnknown, Permanent, Phase, Temporary


def heard(steps: list[Step]) -> list[tuple[str, str]]:
    return [(step.name.value, step.status) for step in steps]


def fact(steps: list[Step], phase: Phase) -> str:
    return next(step.fact for step in steps if step.name is phase)


def test_a_session_with_starttls_is_told_step_by_step() -> None:
    steps: list[Step] = []
    with (
        RecordingServer(tls=certificates.good_context(), users={"shop": "geheim-8472"}) as server,
        client_for(
            server,
            steps.append,
            host="localhost",
            security=Security.STARTTLS,
            username="shop",
            password="geheim-8472",
        ) as client,
    ):
        client.check_envelope(SENDER, RECIPIENT, excuses=lambda _: True)
    assert heard(steps) == [
        ("dns", "ok"),
        ("connect", "ok"),
        ("greeting", "ok"),
        ("ehlo", "ok"),
        ("encryption", "ok"),
        ("sign_in", "ok"),
        ("sender", "ok"),
        ("recipient", "ok"),
    ]
    assert "127.0.0.1" in fact(steps, Phase.DNS)
    assert fact(steps, Phase.CONNECT).startswith("localhost (127.0.0.1)")
    assert fact(steps, Phase.GREETING).startswith("mail.test")
    # What it offered before it was encrypted, STARTTLS above all, does not count any more.
    assert fact(steps, Phase.EHLO).startswith("Sent EHLO app.example. The server offers AUTH LOGIN PLAIN")
    assert fact(steps, Phase.ENCRYPTION).startswith("TLS 1.3, certificate for localhost, ")
    assert "issued by trustme" in fact(steps, Phase.ENCRYPTION)
    assert fact(steps, Phase.SIGN_IN) == "PLAIN"


def test_with_tls_from_the_first_byte_encryption_comes_before_the_greeting() -> None:
    steps: list[Step] = []
    with (
        RecordingServer(tls=certificates.good_context(), implicit=True) as server,
        client_for(server, steps.append, security=Security.TLS),
    ):
        pass
    assert [step.name.value for step in steps] == [
        "dns", "connect", "encryption", "greeting", "ehlo", "sign_in",
    ]  # fmt: skip


def test_what_is_not_needed_is_told_as_skipped() -> None:
    steps: list[Step] = []
    with ScriptedServer() as server, client_for(server, steps.append):
        pass
    assert heard(steps)[-2:] == [("encryption", "skipped"), ("sign_in", "skipped")]


def test_the_offers_of_the_server_are_told() -> None:
    steps: list[Step] = []
    hello = "250-x\n250-size 35882577\n250-AUTH LOGIN plain\n250-ENHANCEDSTATUSCODES\n250 SMTPUTF8"
    with ScriptedServer({"EHLO": hello}) as server, client_for(server, steps.append):
        pass
    assert fact(steps, Phase.EHLO) == "Sent EHLO app.example. The server offers AUTH LOGIN PLAIN, SIZE 35 MB, SMTPUTF8"


def test_a_delivered_message_is_told() -> None:
    steps: list[Step] = []
    with ScriptedServer({"RCPT": ["250 ok", "550 no"]}) as server, client_for(server, steps.append) as client:
        client.send(Envelope(sender=SENDER, recipients=(RECIPIENT, "b@recipient.example")), CONTENT)
    assert heard(steps)[-3:] == [("sender", "ok"), ("recipient", "warning"), ("message", "ok")]
    assert fact(steps, Phase.RECIPIENT) == "1 of 2 accepted"
    assert fact(steps, Phase.MESSAGE) == "250 2.0.0 Ok: queued as S0001"


@pytest.mark.parametrize(
    ("verb", "phase"),
    [
        ("GREETING", Phase.GREETING),
        ("EHLO", Phase.EHLO),
        ("MAIL", Phase.SENDER),
        ("RCPT", Phase.RECIPIENT),
        ("DATA", Phase.DATA),
        ("MESSAGE", Phase.MESSAGE),
    ],
)
@pytest.mark.parametrize("answer", ["451 4.3.0 not now", close, "421 bye"])
def test_a_failure_is_told_as_the_last_step_and_then_raised(verb: str, phase: Phase, answer: Answer) -> None:
    steps: list[Step] = []
    with (
        ScriptedServer({"EHLO": "250 scripted.test", verb: answer}) as server,
        pytest.raises(DeliveryError) as caught,
        client_for(server, steps.append) as client,
    ):
        client.send(ENVELOPE, CONTENT)
    assert heard(steps)[-1] == (phase.value, "failed")
    assert caught.value.phase is phase


def test_a_refused_connection_names_the_address() -> None:
    steps: list[Step] = []
    with ScriptedServer() as server:
        client = client_for(server, steps.append, port=free_port())
        with pytest.raises(Temporary):
            client.open()
    assert heard(steps)[-1] == ("connect", "failed")
    assert "127.0.0.1 refused" in steps[-1].fact


def test_a_fact_is_one_short_printable_line() -> None:
    steps: list[Step] = []
    greeting = b"220-" + b"\x1b[2Ja\x00\xff" * 100 + b"\r\n220 " + b"z" * 500 + b"\r\n"
    with ScriptedServer({"GREETING": greeting}) as server, client_for(server, steps.append):
        pass
    shown = fact(steps, Phase.GREETING)
    assert len(shown) <= 200
    assert shown.isprintable()


def test_times_are_whole_milliseconds() -> None:
    steps: list[Step] = []
    with ScriptedServer() as server, client_for(server, steps.append):
        pass
    assert all(isinstance(step.ms, int) and step.ms >= 0 for step in steps)


def test_an_observer_that_gives_up_ends_the_connection() -> None:
    class GaveUp(Exception):
        pass

    def give_up(step: Step) -> None:
        if step.name is Phase.EHLO:
            raise GaveUp

    with ScriptedServer() as server:
        client = client_for(server, give_up)
        with pytest.raises(GaveUp):
            client.open()
        assert not client.is_open
        server.wait_until_left()


# The envelope is checked without a message.


def test_checking_the_envelope_sends_nothing_and_leaves_the_connection_clean() -> None:
    with ScriptedServer({"EHLO": "250 x"}) as server, client_for(server) as client:
        client.check_envelope(SENDER, RECIPIENT, excuses=lambda _: True)
        client.send(ENVELOPE, CONTENT)
    assert server.verbs == ["EHLO", "MAIL", "RCPT", "RSET", "MAIL", "RCPT", "DATA", "QUIT"]
    assert server.messages == [CONTENT]


def test_a_refused_sender_is_an_error_of_the_check() -> None:
    steps: list[Step] = []
    with ScriptedServer({"EHLO": "250 x", "MAIL": "550 5.7.60 not allowed"}) as server:
        with client_for(server, steps.append) as client, pytest.raises(Permanent) as caught:
            client.check_envelope(SENDER, RECIPIENT, excuses=lambda _: True)
        assert (caught.value.phase, caught.value.enhanced) == (Phase.SENDER, "5.7.60")
    assert heard(steps)[-1] == ("sender", "failed")
    assert "RCPT" not in server.verbs


@pytest.mark.parametrize("answer", ["550 5.1.1 no such user", "450 4.2.0 greylisted"])
def test_a_refused_recipient_of_our_own_choice_is_a_warning(answer: str) -> None:
    steps: list[Step] = []
    with ScriptedServer({"RCPT": answer}) as server, client_for(server, steps.append) as client:
        client.check_envelope(SENDER, RECIPIENT, excuses=lambda _: True)
    assert heard(steps)[-1] == ("recipient", "warning")
    assert answer in steps[-1].fact


def test_a_refused_recipient_of_the_callers_choice_is_an_error() -> None:
    with (
        ScriptedServer({"RCPT": "550 5.1.1 no such user"}) as server,
        client_for(server) as client,
        pytest.raises(Permanent) as caught,
    ):
        client.check_envelope(SENDER, RECIPIENT)
    assert caught.value.phase is Phase.RECIPIENT


def test_a_recipient_that_cannot_be_named_is_checked_without_asking() -> None:
    steps: list[Step] = []
    with ScriptedServer() as server, client_for(server, steps.append) as client:
        client.check_envelope(SENDER, "jürgen@recipient.example", excuses=lambda _: True)
    assert heard(steps)[-1] == ("recipient", "warning")
    assert "RCPT" not in server.verbs


def test_a_failing_reset_does_not_fail_the_check() -> None:
    with ScriptedServer({"EHLO": "250 x", "RSET": close}) as server, client_for(server) as client:
        client.check_envelope(SENDER, RECIPIENT)
        with pytest.raises(Temporary):
            client.send(ENVELOPE, CONTENT)


def test_no_mail_follows_at_once_on_the_reset_that_came_with_a_check() -> None:
    with ScriptedServer() as server, client_for(server) as client:
        client.check_envelope(SENDER, RECIPIENT)
        client.send(ENVELOPE, CONTENT)
    assert server.verbs == ["EHLO", "MAIL", "RCPT", "RSET", "RSET", "MAIL", "RCPT", "DATA", "QUIT"]
    assert server.messages == [CONTENT]


def test_the_envelope_is_checked_as_a_mail_is_said() -> None:
    with ScriptedServer() as server, client_for(server) as client:
        client.check_envelope(SENDER, RECIPIENT)
        assert b"".join(server.flights).count(b"RCPT") == 1
        assert any(b"MAIL" in flight and b"RCPT" in flight and b"RSET" in flight for flight in server.flights)
    with ScriptedServer({"EHLO": "250 x"}) as plain, client_for(plain) as client:
        client.check_envelope(SENDER, RECIPIENT)
        assert not any(b"MAIL" in flight and b"RCPT" in flight for flight in plain.flights)


# What an error carries.


def test_an_error_carries_what_the_server_said() -> None:
    with (
        ScriptedServer({"EHLO": "250 x", "MAIL": "550-5.7.1 first line\n550 5.7.1 second line"}) as server,
        client_for(server) as client,
        pytest.raises(Permanent) as caught,
    ):
        client.send(ENVELOPE, CONTENT)
    error = caught.value
    assert (error.phase, error.fault, error.code, error.enhanced) == (Phase.SENDER, Fault.REPLY, 550, "5.7.1")
    assert error.text == "5.7.1 first line 5.7.1 second line"


def test_the_four_outcomes_are_told_apart() -> None:
    assert {kind.outcome for kind in (Temporary, Permanent, Misconfigured, OutcomeUnknown)} == {
        "temporary",
        "permanent",
        "misconfigured",
        "unknown",
    }
