"""Whole mails in one flight each, and several of them under way: RFC 3030 where the server has it."""

import pytest

from services.smtp.client import Envelope, Parcel, Receipt, SmtpClient
from services.smtp.settings import Security
from tests import certificates
from tests.scripted_server import Answer, ScriptedServer, close, hang, pause, reset
from tests.services.smtp.test_smtp_client_pipelined import CHUNKED, outcomes
from tests.smtp_clients import CONTENT, ENVELOPE, SENDER, Script, client_for, parcels, policy, word
from utils.errors import DeliveryError, OutcomeUnknown, Temporary

GONE: Answer = close
ENDS: list[Answer] = [close, (pause(0.05), reset), hang, b"\xff\xff\r\n"]


def test_with_eight_in_flight_a_mail_costs_a_quarter_of_a_round_trip() -> None:
    words, server = outcomes({}, parcels(100), CHUNKED)
    assert words == ["accepted"] * 100
    opening_and_quit = 2
    assert server.round_trips - opening_and_quit <= 25
    assert server.messages == [parcel.content for parcel in parcels(100)]


def learn(client: SmtpClient) -> None:
    """Send two mails at once, before which the client finds out whether the server swallows a refused chunk."""
    assert [word(outcome) for _, outcome in client.send_all(parcels(2))] == ["accepted"] * 2


def test_one_mail_on_a_kept_connection_costs_one_round_trip() -> None:
    with ScriptedServer({"EHLO": CHUNKED}) as server, client_for(server) as client:
        learn(client)
        for parcel in parcels(3):
            before = server.round_trips
            client.send(parcel.envelope, parcel.content)
            assert server.round_trips - before == 1


def test_one_at_a_time_is_one_at_a_time() -> None:
    with ScriptedServer({"EHLO": CHUNKED}) as server, client_for(server) as client:
        learn(client)
        before = server.round_trips
        assert [word(outcome) for _, outcome in client.send_all(parcels(5), in_flight=1)] == ["accepted"] * 5
        assert server.round_trips - before == 5


def test_a_message_is_not_stuffed_and_its_last_line_ends() -> None:
    with ScriptedServer({"EHLO": CHUNKED}) as server, client_for(server) as client:
        learn(client)
        client.send(ENVELOPE, b".\r\n..x\r\nend")
    assert server.messages[2:] == [b".\r\n..x\r\nend\r\n"]


@pytest.mark.parametrize("content", [b"", b"\r\n", b"one line\r\n"])
def test_a_message_of_no_or_one_line_arrives(content: bytes) -> None:
    with ScriptedServer({"EHLO": CHUNKED}) as server, client_for(server) as client:
        learn(client)
        for _ in range(3):
            client.send(ENVELOPE, content)
    assert server.messages[2:] == [content] * 3


def test_without_pipelining_chunks_are_not_used() -> None:
    words, server = outcomes({}, parcels(3), "250-scripted.test\n250 CHUNKING")
    assert words == ["accepted"] * 3
    assert server.verbs.count("BDAT") == 0
    assert server.round_trips - 2 == 12


@pytest.mark.parametrize("answer", ["500 what?", "502 5.5.1 unknown", "503 5.5.1 out of order"])
def test_a_server_that_does_not_understand_chunks_gets_data(answer: str) -> None:
    script: Script = {"UNWANTED": answer, "BDAT LAST": answer}
    with ScriptedServer({"EHLO": CHUNKED, **script}) as server, client_for(server) as client:
        found = list(client.send_all(parcels(4), in_flight=2))
    assert {word(outcome) for _, outcome in found} == {"accepted"}
    assert sorted(server.messages) == [parcel.content for parcel in parcels(4)]
    assert server.verbs.count("BDAT") == 3  # to find out, and two in flight


def test_a_server_that_stops_understanding_gets_data_as_well() -> None:
    script: Script = {"MESSAGE": ["250 ok", "250 ok", "503 5.5.1 out of order", "250 ok"]}
    with ScriptedServer({"EHLO": CHUNKED, **script}) as server, client_for(server) as client:
        found = list(client.send_all(parcels(5)))
    assert {word(outcome) for _, outcome in found} == {"accepted"}
    assert [parcel.tag for parcel, _ in found] == [0, 1, 3, 4, 2]
    assert server.messages.count(parcels(5)[2].content) == 2  # refused once, taken once


@pytest.mark.parametrize("answer", ["554 5.7.1 spam", "452 4.3.1 full"])
def test_a_refused_message_does_not_stop_those_in_flight(answer: str) -> None:
    words, _ = outcomes({"MESSAGE": ["250 ok", "250 ok", answer, "250 ok"]}, parcels(5), CHUNKED)
    assert [each.split()[0] for each in words] == [
        "accepted", "accepted", "permanent" if answer[0] == "5" else "temporary", "accepted", "accepted",
    ]  # fmt: skip


@pytest.mark.parametrize("message", ["503 5.5.1 nobody", "554 5.5.1 nobody"])
def test_a_mail_for_nobody_does_not_stop_those_in_flight(message: str) -> None:
    script: Script = {
        "RCPT": ["250 ok", "250 ok", "550 5.1.1 no", "250 ok"],
        "MESSAGE": ["250 ok", "250 ok", message, "250 ok"],
    }
    words, _ = outcomes(script, parcels(5), CHUNKED)
    assert words == ["accepted", "accepted", "permanent 550", "accepted", "accepted"]


def test_a_refused_sender_does_not_stop_those_in_flight() -> None:
    script: Script = {
        "MAIL": ["250 ok", "250 ok", "250 ok", "550 5.7.1 no", "250 ok"],
        "RCPT": ["250 ok", "250 ok", "503 no", "250 ok"],
        "MESSAGE": ["250 ok", "250 ok", "503 no", "250 ok"],
    }
    words, _ = outcomes(script, parcels(5), CHUNKED)
    assert words == ["accepted", "accepted", "permanent 550", "accepted", "accepted"]


@pytest.mark.parametrize("refused", [0, 1, 2])
def test_one_refused_recipient_of_several_is_named_in_the_receipt(refused: int) -> None:
    answers: list[Answer] = ["250 ok"] * 12
    answers[6 + refused] = "550 5.1.1 no"
    with ScriptedServer({"EHLO": CHUNKED, "RCPT": answers}) as server, client_for(server) as client:
        receipts = [outcome for _, outcome in client.send_all(parcels(4, recipients=3))]
    names = [list(receipt.refused) for receipt in receipts if isinstance(receipt, Receipt)]
    assert names == [[], [], [f"m2r{refused}@recipient.example"], []]


def test_each_transaction_in_flight_begins_clean_unless_the_one_before_is_known_to_be_over() -> None:
    _, server = outcomes({}, parcels(4), CHUNKED)
    begins = [server.verbs[at - 1] for at, verb in enumerate(server.verbs) if verb == "MAIL"]
    assert begins == ["EHLO", "RSET", "RSET", "RSET", "RSET"]  # the first, to find out whether it swallows


def test_a_server_that_cannot_reset_leaves_the_mail_unknown() -> None:
    words, _ = outcomes({"RSET": ["250 ok", "250 ok", "451 4.3.0 no"]}, parcels(4), CHUNKED)
    assert words == ["accepted", "unknown broken_reply", "unknown closed", "unknown closed"]


# What is known of each when the connection ends at each place. The first went step by step.


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "MESSAGE"])
def test_an_end_leaves_all_that_was_handed_over_unknown(verb: str, end: Answer) -> None:
    learning = ["250 ok"] if verb == "MAIL" else []
    words, _ = outcomes({verb: [*learning, "250 ok", "250 ok", end]}, parcels(12), CHUNKED)
    assert words[:2] == ["accepted", "accepted"]
    assert [each.split()[0] for each in words[2:8]] == ["unknown"] * 6
    assert words[8:] == ["not tried"] * 4


@pytest.mark.parametrize("goodbye", [("421 4.7.0 enough", close), ("421 4.7.0 enough", pause(0.05), reset)])
@pytest.mark.parametrize("verb", ["RSET", "MAIL", "RCPT", "MESSAGE"])
def test_what_a_server_has_not_answered_when_it_says_goodbye_was_not_taken(verb: str, goodbye: Answer) -> None:
    learning = ["250 ok"] if verb in ("MAIL", "RSET") else []
    script: Script = {verb: [*learning, "250 ok", "250 ok", goodbye]}
    words, _ = outcomes(script, parcels(12), CHUNKED)
    assert words == ["accepted", "accepted", "temporary 421", *["not tried"] * 9]


def test_a_server_that_says_goodbye_and_goes_on_leaves_the_others_unknown() -> None:
    script: Script = {"MAIL": ["250 ok", "250 ok", "250 ok", "421 4.7.0 enough", "250 ok"]}
    words, _ = outcomes(script, parcels(4), CHUNKED)
    assert words == ["accepted", "accepted", "temporary 421", "unknown closed"]


def test_a_mail_that_has_to_wait_for_its_go_ahead_on_a_silent_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.smtp.standing._FRESH", -1.0)
    script: Script = {"EHLO": CHUNKED, "MAIL": ["250 ok", GONE]}
    with ScriptedServer(script) as server, client_for(server) as client:
        client.send(ENVELOPE, CONTENT)
        with pytest.raises(Temporary) as caught:
            client.send(ENVELOPE, CONTENT)
    assert caught.value.may_have_been_sent is False


def test_a_mail_said_blindly_is_unknown_when_the_connection_ends() -> None:
    script: Script = {"EHLO": CHUNKED, "MAIL": ["250 ok"] * 3 + [GONE]}
    with ScriptedServer(script) as server, client_for(server) as client:
        learn(client)
        with pytest.raises(OutcomeUnknown):
            client.send(ENVELOPE, CONTENT)


@pytest.mark.parametrize("security", [Security.TLS, Security.NONE])
def test_large_messages_wait_for_their_recipients_and_arrive(security: Security) -> None:
    large = b"Subject: large\r\n\r\n" + (b"x" * 76 + b"\r\n") * 13_000
    implicit = security is Security.TLS
    long_answer = "\n".join(["250-" + "x" * 500] * 100 + ["250 ok"])
    script: Script = {"EHLO": CHUNKED, "MAIL": long_answer, "RCPT": long_answer, "MESSAGE": long_answer}
    with (
        ScriptedServer(script, tls=certificates.good_context() if implicit else None, implicit=implicit) as server,
        client_for(server, security=security) as client,
    ):
        learn(client)
        mails = [*parcels(3), *parcels(2, content=large), *parcels(10)]
        assert [word(outcome) for _, outcome in client.send_all(mails)] == ["accepted"] * 15
    assert server.messages[2:] == [mail.content for mail in mails]


def test_what_is_in_flight_is_bounded_in_octets() -> None:
    with ScriptedServer({"EHLO": CHUNKED}) as server, client_for(server) as client:
        mails = parcels(20, content=b"x" * 60_000 + b"\r\n")
        assert [word(outcome) for _, outcome in client.send_all(mails)] == ["accepted"] * 20
    assert server.round_trips >= 11


def test_answers_may_come_octet_by_octet() -> None:
    slowly = tuple(bytes([octet]) for octet in b"250-a\r\n250 b\r\n")
    words, _ = outcomes({"MAIL": slowly, "RCPT": slowly, "MESSAGE": slowly}, parcels(6), CHUNKED)
    assert words == ["accepted"] * 6


def test_the_time_of_a_mail_begins_when_it_is_its_turn() -> None:
    script: Script = {"EHLO": CHUNKED, "MESSAGE": (pause(0.2), "250 ok")}
    with ScriptedServer(script) as server, client_for(server, rules=policy(total_seconds=0.6)) as client:
        assert [word(outcome) for _, outcome in client.send_all(parcels(5))] == ["accepted"] * 5


def test_the_first_of_two_mails_for_different_recipients_is_not_mixed_with_the_second() -> None:
    mails = [
        Parcel(envelope=Envelope(sender=SENDER, recipients=(f"{name}@recipient.example",)), content=CONTENT)
        for name in "abc"
    ]
    script: Script = {"MESSAGE": ["250 ok", "452 4.3.1 full", "250 ok"]}
    with ScriptedServer({"EHLO": CHUNKED, **script}) as server, client_for(server) as client:
        found = [outcome for _, outcome in client.send_all(mails)]
    assert isinstance(found[1], DeliveryError)
    third = server.commands.index("RCPT TO:<c@recipient.example>")
    assert server.verbs[third - 2 : third] == ["RSET", "MAIL"]
