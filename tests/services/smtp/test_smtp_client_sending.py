"""One message after the other: who is refused, what was accepted, and what is not known."""

import pytest

from services.smtp.client import Envelope
from tests.patience import PATIENCE
from tests.recording_server import RecordingServer
from tests.scripted_server import Answer, ScriptedServer, close, hang, late, pause, reset
from tests.smtp_clients import CONTENT, ENVELOPE, RECIPIENT, SENDER, client_for, policy
from utils.errors import DeliveryError, Fault, Misconfigured, OutcomeUnknown, Permanent, Phase, Temporary

SERIAL = "250-scripted.test\n250 8BITMIME"
PIPELINED = "250-scripted.test\n250-PIPELINING\n250 8BITMIME"
A, B, C = "a@recipient.example", "b@recipient.example", "c@recipient.example"
THREE = Envelope(sender=SENDER, recipients=(A, B, C))
Script = dict[str, Answer | list[Answer]]


@pytest.fixture(params=[SERIAL, PIPELINED], ids=["serial", "pipelined"])
def hello(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def failure(script: Script, envelope: Envelope = ENVELOPE, content: bytes = CONTENT) -> DeliveryError:
    """The error that sending to a server with this script ends in."""
    with ScriptedServer(script) as server, client_for(server, rules=policy(total_seconds=1)) as client:
        with pytest.raises(DeliveryError) as caught:
            client.send(envelope, content)
        return caught.value


def test_the_envelope_and_the_octets_arrive_as_given() -> None:
    content = b"Subject: x\r\n\r\n.one\r\n..two\r\n.\r\nthree.\r\n"
    with RecordingServer() as server, client_for(server) as client:
        client.send(THREE, content)
        (mail,) = server.wait_for_mail()
    assert (mail.sender, mail.recipients, mail.content) == (SENDER, (A, B, C), content)


@pytest.mark.parametrize("content", [b"", b".", b"\r\n", b".\r\n", b"no line end", b"\r\n.\r\n.", b"..\r\n.\r\n"])
def test_dots_are_stuffed_so_that_only_the_last_ends_the_message(content: bytes) -> None:
    with ScriptedServer() as server, client_for(server) as client:
        client.send(ENVELOPE, content)
        client.send(ENVELOPE, CONTENT)
    lines = server.messages[0].splitlines(keepends=True)
    unstuffed = b"".join(line.removeprefix(b".") for line in lines)
    assert unstuffed == content + b"\r\n" * bool(content and not content.endswith(b"\r\n"))
    assert len(server.messages) == 2


@pytest.mark.parametrize("content", [b"a\nb\r\n", b"a\rb\r\n", b"a\n.\nb\r\n", b"a\r\n.\rb", b"a\r\r\n", b"\n"])
def test_a_line_end_that_could_smuggle_is_a_bug_of_ours(content: bytes) -> None:
    with ScriptedServer() as server, client_for(server) as client:
        with pytest.raises(ValueError, match="CRLF"):
            client.send(ENVELOPE, content)
        assert client.is_open
    assert "MAIL" not in server.verbs


def test_several_messages_use_one_connection(hello: str) -> None:
    with ScriptedServer({"EHLO": hello}) as server, client_for(server) as client:
        for _ in range(3):
            client.send(ENVELOPE, CONTENT)
    assert server.verbs == ["EHLO", *["MAIL", "RCPT", "DATA"] * 3, "QUIT"]
    assert len(server.connections) == 1


def test_some_refused_recipients_do_not_stop_the_others(hello: str) -> None:
    script: Script = {"EHLO": hello, "RCPT": ["250 ok", "550 5.1.1 no such user", "450 4.2.0 greylisted"]}
    with ScriptedServer(script) as server, client_for(server) as client:
        receipt = client.send(THREE, CONTENT)
    assert receipt.accepted == (A,)
    assert {address: reply.code for address, reply in receipt.refused.items()} == {B: 550, C: 450}
    assert receipt.refused[B].enhanced == "5.1.1"
    assert len(server.messages) == 1


def test_251_and_252_accept_a_recipient() -> None:
    with (
        ScriptedServer({"RCPT": ["251 will forward", "252 will try", "250 ok"]}) as server,
        client_for(server) as client,
    ):
        assert client.send(THREE, CONTENT).accepted == (A, B, C)


def test_a_message_with_only_final_refusals_is_permanent(hello: str) -> None:
    error = failure({"EHLO": hello, "RCPT": "550 5.1.1 no such user", "DATA": "554 5.5.1 nobody"}, THREE)
    assert isinstance(error, Permanent)
    assert (error.phase, error.fault, error.code, error.enhanced) == (Phase.RECIPIENT, Fault.REPLY, 550, "5.1.1")


def test_one_temporary_refusal_makes_the_message_worth_another_try(hello: str) -> None:
    script: Script = {
        "EHLO": hello,
        "RCPT": ["550 5.1.1 no", "451 4.7.1 greylisted", "550 5.1.1 no"],
        "DATA": "554 5.5.1 nobody",
    }
    error = failure(script, THREE)
    assert isinstance(error, Temporary)
    assert (error.code, error.enhanced) == (451, "4.7.1")


@pytest.mark.parametrize("verb", ["MAIL", "RCPT"])
def test_a_demand_for_a_login_is_a_fault_of_the_settings(verb: str) -> None:
    error = failure({verb: "530 5.7.0 authentication required", "DATA": "503 no"})
    assert isinstance(error, Misconfigured)


def test_a_denied_relay_is_permanent() -> None:
    error = failure({"RCPT": "554 5.7.1 relay access denied", "DATA": "554 5.5.1 nobody"})
    assert isinstance(error, Permanent)


def test_354_with_no_recipient_is_ended_with_an_empty_message() -> None:
    script: Script = {
        "EHLO": PIPELINED,
        "RCPT": ["550 5.1.1 no", "250 ok"],
        "MESSAGE": ["554 5.5.1 nobody", "250 ok"],
    }
    with ScriptedServer(script) as server, client_for(server) as client:
        with pytest.raises(Permanent):
            client.send(ENVELOPE, CONTENT)
        client.send(ENVELOPE, CONTENT)
    assert server.messages == [b"", CONTENT]
    assert server.verbs == ["EHLO", "MAIL", "RCPT", "DATA", "RSET", "MAIL", "RCPT", "DATA", "QUIT"]


def test_a_server_that_wants_data_without_a_sender_is_left() -> None:
    with ScriptedServer({"EHLO": PIPELINED, "MAIL": "550 5.7.1 not you"}) as server, client_for(server) as client:
        with pytest.raises(Permanent) as caught:
            client.send(ENVELOPE, CONTENT)
        assert caught.value.phase is Phase.SENDER
        assert not client.is_open
    assert server.messages == []


@pytest.mark.parametrize("answer", [close, "421 4.7.0 bye", b"\xff\xff\r\n"])
def test_a_refused_sender_stays_refused_if_the_server_then_leaves(answer: Answer) -> None:
    error = failure({"EHLO": PIPELINED, "MAIL": "550 5.7.1 not you", "RCPT": answer})
    assert isinstance(error, Permanent)
    assert (error.phase, error.enhanced) == (Phase.SENDER, "5.7.1")


def test_451_at_data_never_brings_the_next_mail_to_the_earlier_recipient(hello: str) -> None:
    script: Script = {"EHLO": hello, "DATA": ["451 4.3.0 try later", "354 go"]}
    with ScriptedServer(script) as server, client_for(server) as client:
        with pytest.raises(Temporary) as caught:
            client.send(Envelope(sender=SENDER, recipients=(A,)), CONTENT)
        assert caught.value.phase is Phase.DATA
        client.send(Envelope(sender=SENDER, recipients=(B,)), CONTENT)
    assert server.verbs == ["EHLO", "MAIL", "RCPT", "DATA", "RSET", "MAIL", "RCPT", "DATA", "QUIT"]


@pytest.mark.parametrize("answer", ["451 4.3.0 no", "500 what?", "421 bye", close])
def test_a_connection_that_cannot_be_reset_is_not_used_again(answer: Answer) -> None:
    script: Script = {"RCPT": ["550 no", "250 ok"], "DATA": ["503 no", "354 go"], "RSET": answer}
    with ScriptedServer(script) as server, client_for(server) as client:
        with pytest.raises(Permanent):
            client.send(ENVELOPE, CONTENT)
        with pytest.raises(Temporary):
            client.send(ENVELOPE, CONTENT)
        assert not client.is_open
    assert server.messages == []


# Each stage against each way to fail.

BEFORE_MAIL = [("GREETING", Phase.GREETING), ("EHLO", Phase.EHLO), ("AUTH", Phase.SIGN_IN)]
BEFORE_DOT = [("MAIL", Phase.SENDER), ("RCPT", Phase.RECIPIENT), ("DATA", Phase.DATA)]
MESSAGE = [("MESSAGE", Phase.MESSAGE)]
LOST: list[tuple[Answer, Fault]] = [
    (close, Fault.CLOSED),
    ((pause(0.05), reset), Fault.CLOSED),
    (hang, Fault.TIMEOUT),
    (b"\xff\xfe\x00\x01\r\n", Fault.BROKEN_REPLY),
    (b"x" * 10_000, Fault.BROKEN_REPLY),
]
BROKEN: Answer = "250-one\n220 two"


def failure_at(verb: str, answer: Answer) -> DeliveryError:
    """The error of a whole session, with login, in which ``verb`` is answered so."""
    hello = "250-scripted.test\n250 AUTH PLAIN"
    with (
        ScriptedServer({"EHLO": hello, verb: answer}) as server,
        pytest.raises(DeliveryError) as caught,
        client_for(
            server, rules=policy(total_seconds=1 if answer is hang else 30), username="shop", password="geheim-8472"
        ) as client,
    ):
        client.send(ENVELOPE, CONTENT)
    return caught.value


@pytest.mark.parametrize(("answer", "fault"), [*LOST, (BROKEN, Fault.BROKEN_REPLY)])
@pytest.mark.parametrize(("verb", "phase"), BEFORE_MAIL + BEFORE_DOT)
def test_a_loss_before_the_dot_was_certainly_not_sent(verb: str, phase: Phase, answer: Answer, fault: Fault) -> None:
    error = failure_at(verb, answer)
    misread = fault is Fault.BROKEN_REPLY and (verb, phase) in BEFORE_MAIL
    assert isinstance(error, Misconfigured if misread else Temporary)
    if verb == "GREETING" and fault is Fault.BROKEN_REPLY and answer != BROKEN:
        fault = Fault.NOT_SMTP
    assert (error.phase, error.fault, error.may_have_been_sent) == (phase, fault, False)


@pytest.mark.parametrize(("answer", "fault"), LOST)
def test_a_loss_after_the_dot_may_have_been_sent(answer: Answer, fault: Fault) -> None:
    error = failure_at("MESSAGE", answer)
    assert isinstance(error, OutcomeUnknown)
    assert (error.phase, error.fault, error.may_have_been_sent) == (Phase.MESSAGE, fault, True)


@pytest.mark.parametrize(("verb", "phase"), BEFORE_MAIL + BEFORE_DOT + MESSAGE)
@pytest.mark.parametrize("answer", ["421 4.3.2 shutting down", ("421 4.3.2 shutting down", close)])
def test_421_anywhere_is_temporary(verb: str, phase: Phase, answer: Answer) -> None:
    error = failure_at(verb, answer)
    assert isinstance(error, Temporary)
    assert (error.phase, error.code, error.may_have_been_sent) == (phase, 421, False)


@pytest.mark.parametrize(("verb", "phase"), BEFORE_MAIL + BEFORE_DOT + MESSAGE)
def test_4xx_anywhere_is_temporary(verb: str, phase: Phase) -> None:
    error = failure_at(verb, "451 4.3.0 not now")
    assert isinstance(error, Temporary)
    assert (error.phase, error.code, error.enhanced) == (phase, 451, "4.3.0")


@pytest.mark.parametrize(("verb", "phase"), BEFORE_MAIL)
def test_5xx_before_any_mail_is_a_fault_of_the_settings(verb: str, phase: Phase) -> None:
    error = failure_at(verb, "554 5.7.1 go away")
    assert isinstance(error, Misconfigured)
    assert (error.phase, error.code) == (phase, 554)


@pytest.mark.parametrize(("verb", "phase"), BEFORE_DOT + MESSAGE)
def test_5xx_to_the_mail_is_permanent(verb: str, phase: Phase) -> None:
    error = failure_at(verb, "552 5.3.4 not this one")
    assert isinstance(error, Permanent)
    assert (error.phase, error.code, error.enhanced) == (phase, 552, "5.3.4")


def test_421_at_one_of_many_recipients_ends_the_connection(hello: str) -> None:
    script: Script = {"EHLO": hello, "RCPT": ["250 ok", "421 4.7.0 too many", "250 ok"]}
    with ScriptedServer(script) as server, client_for(server) as client:
        with pytest.raises(Temporary) as caught:
            client.send(THREE, CONTENT)
        assert caught.value.code == 421
        assert not client.is_open
        with pytest.raises(Temporary) as caught:
            client.send(THREE, CONTENT)
        assert caught.value.fault is Fault.CLOSED
    assert server.messages == []


def test_421_while_idle_is_seen_before_the_next_mail() -> None:
    with (
        ScriptedServer({"MESSAGE": ("250 ok", pause(0.02), "421 4.4.2 idle too long", close)}) as server,
        client_for(server) as client,
    ):
        client.send(ENVELOPE, CONTENT)
        server.wait_until_left()
        with pytest.raises(Temporary) as caught:
            client.send(ENVELOPE, CONTENT)
        assert (caught.value.phase, caught.value.code) == (Phase.SENDER, 421)
    assert server.verbs.count("MAIL") == 1


def test_a_connection_closed_while_idle_is_temporary() -> None:
    with ScriptedServer({"MESSAGE": ("250 ok", close)}) as server, client_for(server) as client:
        client.send(ENVELOPE, CONTENT)
        server.wait_until_left()
        with pytest.raises(Temporary) as caught:
            client.send(ENVELOPE, CONTENT)
        assert caught.value.fault is Fault.CLOSED


def test_a_line_that_nobody_asked_for_never_pairs_with_the_next_command() -> None:
    script: Script = {"MESSAGE": "250 ok\n250 and another", "EHLO": SERIAL}
    with ScriptedServer(script) as server, client_for(server) as client:
        client.send(ENVELOPE, CONTENT)
        with pytest.raises(Temporary) as caught:
            client.send(ENVELOPE, CONTENT)
        assert caught.value.fault is Fault.BROKEN_REPLY
        assert not client.is_open
    assert server.verbs.count("MAIL") == 1


def test_a_line_too_many_at_data_is_not_taken_for_the_answer_to_the_message() -> None:
    with ScriptedServer({"DATA": "354 go\n250 2.0.0 accepted already"}) as server, client_for(server) as client:
        with pytest.raises(Temporary) as caught:
            client.send(ENVELOPE, CONTENT)
        assert caught.value.may_have_been_sent is False
    assert server.messages == []


def test_an_early_refusal_stops_the_message_before_its_dot() -> None:
    content = b"Subject: large\r\n\r\n" + (b"x" * 76 + b"\r\n") * 200_000  # more than the kernel takes at once
    error = failure({"BODY": ("552 5.3.4 too much", close)}, content=content)
    assert isinstance(error, Temporary)
    assert error.phase is Phase.MESSAGE
    assert error.may_have_been_sent is False


@pytest.mark.parametrize("loss", [close, reset, pause(PATIENCE)])
def test_a_loss_within_the_body_was_certainly_not_sent(loss: Answer) -> None:
    content = b"Subject: large\r\n\r\n" + (b"x" * 76 + b"\r\n") * 200_000
    error = failure({"BODY": loss}, content=content)
    assert isinstance(error, Temporary)
    assert (error.phase, error.may_have_been_sent) == (Phase.MESSAGE, False)


@pytest.mark.parametrize("answer", ["252 maybe", "250", "251 2.0.0 fine"])
def test_any_2xx_to_the_message_accepts_it(answer: str) -> None:
    with ScriptedServer({"MESSAGE": answer}) as server, client_for(server) as client:
        assert client.send(ENVELOPE, CONTENT).accepted == (RECIPIENT,)


def test_a_final_reply_later_than_other_replies_may_be_is_no_failure() -> None:
    with (
        ScriptedServer({"MESSAGE": late("250 2.0.0 scanned", 1.1)}) as server,
        client_for(server, timeout_seconds=1) as client,
    ):
        assert client.send(ENVELOPE, CONTENT).reply.text == "2.0.0 scanned"
    assert len(server.messages) == 1


@pytest.mark.parametrize("farewell", ["500 what?", "421 bye", close, reset, b"\xff\xff\r\n", hang])
def test_a_bad_farewell_after_the_acceptance_stays_a_success(farewell: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.smtp.client._FAREWELL", 0.05)
    with ScriptedServer({"QUIT": farewell}) as server:
        with client_for(server) as client:
            receipt = client.send(ENVELOPE, CONTENT)
        assert receipt.accepted == (RECIPIENT,)


@pytest.mark.parametrize(
    ("reply", "queue_id"),
    [
        ("250 2.0.0 Ok: queued as 4XyZ1234", "4XyZ1234"),
        ("250 OK id=1rAbCd-000123-4F", "1rAbCd-000123-4F"),
        ("250 2.0.0 OK  1720000000 d2e1a72fcca58-70b.12 - gsmtp", "d2e1a72fcca58-70b.12"),
        ("250 Ok 0102018f-6e9c-000000", "0102018f-6e9c-000000"),
        ("250 2.0.0 46AB1234 Message accepted for delivery", "46AB1234"),
        ("250 2.0.0 Ok: queued as 4F3A.", "4F3A"),
        ('250 Ok: queued as "4F3A"', "4F3A"),
        ("250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as 4F3A", "4F3A"),
        ("250 ok 1720000000 qp 12345", "12345"),
        ("250 2.6.0 <a@b> [InternalId=815, Hostname=X.OUTLOOK.COM] Queued mail for delivery", "815"),
        ("250 Message Queued (D1A2-B.1)", "D1A2-B.1"),
        ("250 Mail queued for delivery (id: 123)", "123"),
        ("250 2.0.0 Ok: queued on mail4.example.net as 1617-aBc.dE", "1617-aBc.dE"),
        ("250 Mail OK queued as smtp5,DMCowAB3-Q1", "smtp5,DMCowAB3-Q1"),
        ("250 2.0.0 Ok: queued as 4F3A, thank you", "4F3A"),
        ("250 2.0.0 a1bC2 mail accepted for delivery", "a1bC2"),
        ("250 ok:  Message 70123456 accepted", "70123456"),
        ("250 2.0.0 Message queued with id 1f2e3d", "1f2e3d"),
        ("250 Requested mail action okay, completed: id=0M8N-1xyz-00w", "0M8N-1xyz-00w"),
        ("250 2.0.0 OK <20261128@relay.example.net> [Hostname=X]", "20261128@relay.example.net"),
        ("250 Ok, message saved <Message-ID: 20261128@example.net>", None),
        ("250 2.0.0 Ok: queued", None),
        ("250 Message accepted for delivery", None),
        ("250 OK: 12345 bytes", None),
        ("250 Queued (1.234 seconds)", None),
        ("250 Ok Message accepted for delivery", None),
        ("250 2.0.0 OK, message accepted", None),
        ("250 Great success", None),
    ],
)
def test_the_queue_id_is_read_from_the_replies_that_are_known(reply: str, queue_id: str | None) -> None:
    with ScriptedServer({"MESSAGE": reply}) as server, client_for(server) as client:
        assert client.send(ENVELOPE, CONTENT).queue_id == queue_id


def test_a_message_without_recipients_is_a_bug_of_ours() -> None:
    with ScriptedServer() as server, client_for(server) as client, pytest.raises(ValueError, match="recipients"):
        client.send(Envelope(sender=SENDER, recipients=()), CONTENT)


def test_the_null_sender_can_send() -> None:
    with ScriptedServer() as server, client_for(server) as client:
        client.send(Envelope(sender="", recipients=(A,)), CONTENT)
    assert server.commands[1] == "MAIL FROM:<>"


def test_each_message_has_its_own_time() -> None:
    with (
        ScriptedServer({"DATA": ("354 go", pause(0.3))}) as server,
        client_for(server, rules=policy(total_seconds=1)) as client,
    ):
        for _ in range(4):
            client.send(ENVELOPE, CONTENT)
    assert len(server.messages) == 4
