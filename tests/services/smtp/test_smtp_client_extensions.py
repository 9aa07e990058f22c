"""What a server announces is used where it helps, and nothing else is."""

import pytest

from services.smtp.client import Envelope
from tests.recording_server import RecordingServer
from tests.scripted_server import Answer, ScriptedServer
from tests.smtp_clients import CONTENT, ENVELOPE, RECIPIENT, SENDER, client_for
from utils.errors import Fault, Permanent, Phase, Temporary

Script = dict[str, Answer | list[Answer]]
EIGHT_BIT = "Subject: x\r\n\r\nGrüße\r\n".encode()


def hello(*extensions: str) -> str:
    lines = ["scripted.test", *extensions]
    return "\n".join(f"250{' ' if line is lines[-1] else '-'}{line}" for line in lines)


def mail_command(*extensions: str, envelope: Envelope = ENVELOPE, content: bytes = CONTENT) -> str:
    with ScriptedServer({"EHLO": hello(*extensions)}) as server, client_for(server) as client:
        client.send(envelope, content)
    return server.commands[1]


def refusal(*extensions: str, envelope: Envelope = ENVELOPE, content: bytes = CONTENT) -> Permanent:
    """The error of a message that is refused locally, before anything of it is said."""
    with ScriptedServer({"EHLO": hello(*extensions)}) as server, client_for(server) as client:
        with pytest.raises(Permanent) as caught:
            client.send(envelope, content)
        assert client.is_open
    assert server.verbs == ["EHLO", "QUIT"]
    return caught.value


def test_the_size_is_declared_where_it_is_asked_for() -> None:
    assert mail_command("SIZE 1000") == f"MAIL FROM:<{SENDER}> SIZE={len(CONTENT)}"


@pytest.mark.parametrize("size", ["SIZE", "SIZE 0", "SIZE many"])
def test_a_size_without_a_number_is_no_limit(size: str) -> None:
    assert mail_command(size) == f"MAIL FROM:<{SENDER}> SIZE={len(CONTENT)}"


def test_an_oversize_message_is_refused_locally() -> None:
    error = refusal(f"SIZE {len(CONTENT) - 1}")
    assert (error.phase, error.fault, error.enhanced) == (Phase.SENDER, Fault.TOO_LARGE, "5.3.4")


def test_eight_bit_content_is_declared() -> None:
    assert mail_command("8BITMIME", content=EIGHT_BIT) == f"MAIL FROM:<{SENDER}> BODY=8BITMIME"


def test_seven_bit_content_is_not_declared_as_eight_bit() -> None:
    assert mail_command("8BITMIME") == f"MAIL FROM:<{SENDER}>"


def test_eight_bit_content_is_not_sent_to_a_server_that_does_not_take_it() -> None:
    assert refusal(content=EIGHT_BIT).enhanced == "5.6.3"


def test_a_domain_in_unicode_becomes_ascii() -> None:
    envelope = Envelope(sender="shop@bücher.example", recipients=("anna@straße.example",))
    with ScriptedServer({"EHLO": hello("SMTPUTF8")}) as server, client_for(server) as client:
        client.send(envelope, CONTENT)
    assert server.commands[1:3] == [
        "MAIL FROM:<shop@xn--bcher-kva.example>",
        "RCPT TO:<anna@xn--strae-oqa.example>",
    ]


def test_a_local_part_in_unicode_uses_smtputf8() -> None:
    envelope = Envelope(sender=SENDER, recipients=("jürgen@bücher.example",))
    with RecordingServer(smtputf8=True) as server, client_for(server) as client:
        client.send(envelope, CONTENT)
        (mail,) = server.wait_for_mail()
    assert mail.recipients == ("jürgen@xn--bcher-kva.example",)
    assert "SMTPUTF8" in mail.mail_options


def test_smtputf8_is_not_asked_for_without_need() -> None:
    assert "SMTPUTF8" not in mail_command("SMTPUTF8")


def test_a_local_part_in_unicode_fails_cleanly_without_smtputf8() -> None:
    error = refusal(envelope=Envelope(sender=SENDER, recipients=("jürgen@recipient.example",)))
    assert (error.phase, error.fault, error.enhanced) == (Phase.RECIPIENT, Fault.NO_SMTPUTF8, "5.6.7")


def test_a_sender_in_unicode_fails_cleanly_without_smtputf8() -> None:
    error = refusal(envelope=Envelope(sender="jürgen@sender.example", recipients=(RECIPIENT,)))
    assert (error.phase, error.fault) == (Phase.SENDER, Fault.NO_SMTPUTF8)


REPLY_TO = "jürgen@bücher.example"
INTERNATIONAL = f"From: {SENDER}\r\nReply-To: {REPLY_TO}\r\n\r\nHello\r\n".encode()


def test_a_reply_to_in_unicode_uses_smtputf8() -> None:
    envelope = Envelope(sender=SENDER, recipients=(RECIPIENT,), replies_to=REPLY_TO)
    with RecordingServer(smtputf8=True) as server, client_for(server) as client:
        client.send(envelope, INTERNATIONAL)
        (mail,) = server.wait_for_mail()
    assert "SMTPUTF8" in mail.mail_options


def test_a_reply_to_in_unicode_fails_cleanly_without_smtputf8() -> None:
    envelope = Envelope(sender=SENDER, recipients=(RECIPIENT, "b@recipient.example"), replies_to=REPLY_TO)
    error = refusal("8BITMIME", envelope=envelope, content=INTERNATIONAL)
    assert (error.phase, error.fault, error.enhanced) == (Phase.SENDER, Fault.NO_SMTPUTF8, "5.6.7")
    assert "Reply-To" in error.text


def test_a_body_in_unicode_needs_no_smtputf8() -> None:
    assert "SMTPUTF8" not in mail_command("SMTPUTF8", "8BITMIME", content=EIGHT_BIT)


def test_a_recipient_in_unicode_does_not_stop_the_others() -> None:
    envelope = Envelope(sender=SENDER, recipients=("jürgen@recipient.example", RECIPIENT))
    with ScriptedServer() as server, client_for(server) as client:
        receipt = client.send(envelope, CONTENT)
    assert receipt.accepted == (RECIPIENT,)
    assert receipt.refused["jürgen@recipient.example"].enhanced == "5.6.7"
    assert server.verbs.count("RCPT") == 1


def test_a_pipelined_message_is_one_flight() -> None:
    with ScriptedServer({"EHLO": hello("PIPELINING")}) as server, client_for(server) as client:
        client.send(ENVELOPE, CONTENT)
    flight = f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<{RECIPIENT}>\r\nDATA\r\n".encode()
    assert flight in server.flights


def test_without_pipelining_each_command_waits_for_its_answer() -> None:
    with ScriptedServer({"EHLO": hello("8BITMIME")}) as server, client_for(server) as client:
        client.send(ENVELOPE, CONTENT)
    assert b"DATA\r\n" in server.flights


@pytest.mark.parametrize("pipelining", [True, False])
def test_a_thousand_recipients_are_all_asked_in_order(pipelining: bool) -> None:
    recipients = tuple(f"r{number:04d}@recipient.example" for number in range(1000))
    extensions = ["PIPELINING"] if pipelining else []
    with ScriptedServer({"EHLO": hello(*extensions)}) as server, client_for(server) as client:
        receipt = client.send(Envelope(sender=SENDER, recipients=recipients), CONTENT)
    assert receipt.accepted == recipients
    assert server.commands[2:1002] == [f"RCPT TO:<{recipient}>" for recipient in recipients]


def test_a_flight_stays_small() -> None:
    recipients = tuple(f"{'r' * 50}{number:04d}@recipient.example" for number in range(300))
    with ScriptedServer({"EHLO": hello("PIPELINING")}) as server, client_for(server) as client:
        client.send(Envelope(sender=SENDER, recipients=recipients), CONTENT)
    assert max(map(len, server.flights)) <= 4096


def test_a_refused_sender_is_not_followed_by_a_second_flight() -> None:
    recipients = tuple(f"r{number:04d}@recipient.example" for number in range(300))
    script: Script = {"EHLO": hello("PIPELINING"), "MAIL": "550 5.7.1 no", "RCPT": "503 no sender"}
    with ScriptedServer(script) as server, client_for(server) as client, pytest.raises(Permanent):
        client.send(Envelope(sender=SENDER, recipients=recipients), CONTENT)
    assert server.verbs.count("RCPT") < 150
    assert "DATA" not in server.verbs


@pytest.mark.parametrize(
    "script",
    [
        {"RCPT": ["503 5.5.1 wait for your turn", "250 ok"], "DATA": ["503 5.5.1 no", "354 go"]},
        {"DATA": ["503 5.5.1 pipelining is broken", "354 go"]},
        {"MAIL": ["500 5.5.2 what?", "250 ok"], "RCPT": ["503 no", "250 ok"], "DATA": ["503 no", "354 go"]},
    ],
)
def test_broken_pipelining_falls_back_to_one_command_at_a_time(script: Script) -> None:
    with ScriptedServer({"EHLO": hello("PIPELINING"), **script}) as server, client_for(server) as client:
        client.send(ENVELOPE, CONTENT)
        client.send(ENVELOPE, CONTENT)
    transaction = ["MAIL", "RCPT", "DATA"]
    assert server.verbs == ["EHLO", *transaction, "RSET", *transaction, *transaction, "QUIT"]
    assert server.messages == [CONTENT, CONTENT]
    assert server.flights.count(b"DATA\r\n") == 2


def test_a_bad_recipient_is_not_taken_for_broken_pipelining() -> None:
    script: Script = {"EHLO": hello("PIPELINING"), "RCPT": "501 5.1.3 bad address", "DATA": "503 nobody"}
    with ScriptedServer(script) as server, client_for(server) as client, pytest.raises(Permanent):
        client.send(ENVELOPE, CONTENT)
    assert server.verbs.count("RCPT") == 1


def test_pipelining_that_loses_commands_ends_in_a_timeout_not_in_a_wrong_answer() -> None:
    with (
        ScriptedServer({"EHLO": hello("PIPELINING"), "RCPT": b"", "DATA": b""}) as server,
        client_for(server, timeout_seconds=1) as client,
    ):
        with pytest.raises(Temporary) as caught:
            client.send(ENVELOPE, CONTENT)
        assert caught.value.fault is Fault.TIMEOUT
        assert not client.is_open
