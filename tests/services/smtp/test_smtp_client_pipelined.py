"""Many mails on one connection, the next envelope behind the message before it; and what became of each."""

import sys

import pytest

from services.smtp.client import Parcel, Receipt
from services.smtp.settings import Security
from tests import certificates
from tests.recording_server import RecordingServer
from tests.scripted_server import Answer, ScriptedServer, close, hang, pause, reset
from tests.smtp_clients import CONTENT, Script, client_for, parcels, policy, word
from utils.errors import DeliveryError, Fault, Phase

SERIAL = "250-scripted.test\n250 8BITMIME"
CHUNKED = "250-scripted.test\n250-PIPELINING\n250-CHUNKING\n250 8BITMIME"
PIPELINED = "250-scripted.test\n250-PIPELINING\n250 8BITMIME"
LARGE = b"Subject: large\r\n\r\n" + (b"." * 76 + b"\r\n") * 13_000


def outcomes(script: Script, mails: list[Parcel], hello: str = PIPELINED) -> tuple[list[str], ScriptedServer]:
    """What became of each mail, in the order of the mails; the server afterwards."""
    with (
        ScriptedServer({"EHLO": hello, **script}) as server,
        client_for(server, rules=policy(total_seconds=0.5)) as client,
    ):
        found = list(client.send_all(mails))
    assert [parcel.tag for parcel, _ in found] == [parcel.tag for parcel in mails]
    return [word(outcome) for _, outcome in found], server


def test_a_mail_costs_one_round_trip_and_the_last_one_more() -> None:
    words, server = outcomes({}, parcels(100))
    assert words == ["accepted"] * 100
    opening_and_quit = 2
    assert server.round_trips - opening_and_quit <= 105
    assert server.messages == [parcel.content for parcel in parcels(100)]


def test_one_mail_on_a_kept_connection_costs_two_round_trips() -> None:
    with ScriptedServer({"EHLO": PIPELINED}) as server, client_for(server) as client:
        for parcel in parcels(3):
            before = server.round_trips
            client.send(parcel.envelope, parcel.content)
            assert server.round_trips - before == 2


def test_without_pipelining_a_mail_costs_four_round_trips() -> None:
    words, server = outcomes({}, parcels(10), SERIAL)
    assert words == ["accepted"] * 10
    assert server.round_trips - 2 == 40
    assert len(server.messages) == 10


def test_every_message_goes_to_its_own_recipients() -> None:
    with RecordingServer() as server, client_for(server) as client:
        list(client.send_all(parcels(20, recipients=3)))
        mails = server.wait_for_mail(20)
    assert [(mail.recipients, mail.content) for mail in mails] == [
        (parcel.envelope.recipients, parcel.content) for parcel in parcels(20, recipients=3)
    ]


@pytest.mark.parametrize("hello", [SERIAL, PIPELINED], ids=["serial", "pipelined"])
@pytest.mark.parametrize(
    ("script", "then", "expected"),
    [
        ({"MAIL": ["250 ok", "550 5.7.1 no", "250 ok"]}, {"RCPT": "503 no", "DATA": "503 no"}, "permanent 550"),
        ({"RCPT": ["250 ok", "550 5.1.1 no", "250 ok"]}, {"DATA": "554 no"}, "permanent 550"),
        ({"RCPT": ["250 ok", "450 4.2.0 no", "250 ok"]}, {"DATA": "554 no"}, "temporary 450"),
        ({"DATA": ["354 go", "451 4.3.0 no", "354 go"]}, {}, "temporary 451"),
        ({"MESSAGE": ["250 ok", "554 5.7.1 spam", "250 ok"]}, {}, "permanent 554"),
        ({"MESSAGE": ["250 ok", "452 4.3.1 full", "250 ok"]}, {}, "temporary 452"),
    ],
)
def test_an_error_of_one_mail_does_not_stop_the_others(
    script: Script, then: dict[str, str], expected: str, hello: str
) -> None:
    if hello is PIPELINED:  # what was said behind the refused command is refused as well
        usual = {"RCPT": "250 ok", "DATA": "354 go"}
        script = {**script, **{verb: [usual[verb], answer, usual[verb]] for verb, answer in then.items()}}
    words, server = outcomes(script, parcels(4), hello)
    assert words == ["accepted", expected, "accepted", "accepted"]
    assert [mail.content in server.messages for mail in parcels(4)].count(True) >= 3


def test_nothing_of_a_refused_mail_is_left_for_the_next() -> None:
    _, server = outcomes({"DATA": ["354 go", "451 4.3.0 no", "354 go"]}, parcels(3))
    second = server.commands.index("RCPT TO:<m1r0@recipient.example>")
    assert server.verbs[second : second + 4] == ["RCPT", "DATA", "RSET", "MAIL"]


@pytest.mark.parametrize("refused", [0, 1, 2])
def test_one_refused_recipient_of_several_is_named_in_the_receipt(refused: int) -> None:
    answers: list[Answer] = ["250 ok"] * 9
    answers[3 + refused] = "550 5.1.1 no"
    with ScriptedServer({"EHLO": PIPELINED, "RCPT": answers}) as server, client_for(server) as client:
        receipts = [outcome for _, outcome in client.send_all(parcels(3, recipients=3))]
    assert all(isinstance(receipt, Receipt) for receipt in receipts)
    names = [list(receipt.refused) for receipt in receipts if isinstance(receipt, Receipt)]
    assert names == [[], [f"m1r{refused}@recipient.example"], []]


def test_354_for_nobody_is_ended_before_the_next_envelope() -> None:
    script: Script = {"RCPT": ["250 ok", "550 no", "250 ok"], "MESSAGE": ["250 ok", "554 nobody", "250 ok"]}
    words, server = outcomes(script, parcels(3))
    assert words == ["accepted", "permanent 550", "accepted"]
    assert server.messages == [parcels(3)[0].content, b"", parcels(3)[2].content]


def test_354_for_no_sender_ends_the_connection_and_the_next_is_not_tried() -> None:
    words, server = outcomes({"MAIL": ["250 ok", "550 5.7.1 no"]}, parcels(3))
    assert words == ["accepted", "permanent 550", "not tried"]
    assert len(server.messages) == 1


# What is known of each when the connection ends at each place. The second mail is under way.

GONE: Answer = close
ENDS: list[Answer] = ["421 4.3.2 shutting down", ("421 4.3.2 shutting down", close), close, (pause(0.05), reset)]


def at_second(verb: str, end: Answer) -> Script:
    first = {"DATA": "354 go"}.get(verb, "250 ok")
    return {verb: [first, end]}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("verb", ["RSET", "MAIL", "RCPT", "DATA"])
def test_an_end_before_the_go_ahead_is_temporary_and_the_next_is_not_tried(verb: str, end: Answer) -> None:
    script: Script = {"RSET": end} if verb == "RSET" else at_second(verb, end)
    words, _ = outcomes(script, parcels(3))
    assert words[0] == "accepted"
    assert words[1] in ("temporary 421", "temporary closed")
    assert words[2] == "not tried"


@pytest.mark.parametrize("end", [close, (pause(0.05), reset), hang, b"\xff\xff\r\n", "354 what?"])
def test_an_end_behind_the_dot_is_unknown_and_the_next_is_not_tried(end: Answer) -> None:
    words, _ = outcomes(at_second("MESSAGE", end), parcels(3))
    assert words[0] == "accepted"
    assert words[1].startswith("unknown ")
    assert words[2] == "not tried"


def test_421_to_a_message_is_an_answer_and_the_next_is_not_tried() -> None:
    words, _ = outcomes(at_second("MESSAGE", "421 4.3.2 shutting down"), parcels(3))
    assert words == ["accepted", "temporary 421", "not tried"]


@pytest.mark.parametrize("loss", [close, reset])
def test_an_end_within_a_message_is_temporary(loss: Answer) -> None:
    words, _ = outcomes({"BODY": ["250 ok", loss]}, parcels(3, content=LARGE * 4), PIPELINED)
    assert words[0].startswith("temporary")
    assert words[1:] == ["not tried", "not tried"]


def test_an_answer_too_many_is_not_taken_for_that_of_the_next_message() -> None:
    words, server = outcomes({"DATA": ["354 go", "354 go\n250 taken already"]}, parcels(3))
    assert words == ["accepted", "temporary 250", "not tried"]
    assert len(server.messages) == 1


@pytest.mark.parametrize(
    "script",
    [
        {"MAIL": ["250 ok", "503 5.5.1 not now", "250 ok"], "RCPT": ["250 ok", "503 no", "250 ok"],
         "DATA": ["354 go", "503 no", "354 go"]},
        {"RCPT": ["250 ok", "503 5.5.1 not now", "250 ok"], "DATA": ["354 go", "503 no", "354 go"]},
        {"DATA": ["354 go", "503 5.5.1 not now", "354 go"]},
    ],
)  # fmt: skip
def test_a_server_that_is_deaf_behind_a_message_gets_nothing_there_again(script: Script) -> None:
    words, server = outcomes(script, parcels(4))
    assert words == ["accepted"] * 4
    assert server.messages == [parcel.content for parcel in parcels(4)]
    groups = [flight for flight in server.flights if flight.startswith((b"MAIL", b"RSET"))]
    assert all(flight.endswith(b"DATA\r\n") for flight in groups)
    assert len(groups) == 4


def test_a_mail_that_is_refused_singly_as_well_does_not_end_pipelining() -> None:
    script: Script = {
        "RCPT": ["501 what?", "501 what?", "250 ok"],
        "DATA": ["503 nobody", "354 go"],
    }
    words, server = outcomes(script, parcels(3))
    assert words == ["permanent 501", "accepted", "accepted"]
    assert server.flights.count(b"DATA\r\n") == 0


def test_answers_may_come_octet_by_octet() -> None:
    slowly = tuple(bytes([octet]) for octet in b"250-a\r\n250 b\r\n")
    words, _ = outcomes({"MAIL": slowly, "RCPT": slowly, "MESSAGE": slowly}, parcels(5))
    assert words == ["accepted"] * 5


def test_answers_may_come_all_at_once() -> None:
    words, _ = outcomes({"MAIL": b"", "RCPT": b"250 ok\r\n250 ok\r\n"}, parcels(5))
    assert words == ["accepted"] * 5


@pytest.mark.parametrize("implicit", [True, False], ids=["tls", "plain"])
def test_large_messages_and_large_answers_do_not_stop_each_other(implicit: bool) -> None:
    long_answer = "\n".join(["250-" + "x" * 500] * 100 + ["250 ok"])
    script: Script = {"EHLO": PIPELINED, "MAIL": long_answer, "RCPT": long_answer, "MESSAGE": long_answer}
    with (
        ScriptedServer(script, tls=certificates.good_context() if implicit else None, implicit=implicit) as server,
        client_for(server, security=Security.TLS if implicit else Security.NONE) as client,
    ):
        assert [word(outcome) for _, outcome in client.send_all(parcels(4, content=LARGE))] == ["accepted"] * 4


def test_a_mail_with_many_recipients_waits_for_its_turn() -> None:
    mails = [*parcels(2), *parcels(1, recipients=300), *parcels(2)]
    words, server = outcomes({}, mails)
    assert words == ["accepted"] * 5
    assert max(len(flight) for flight in server.flights) <= 4096 + len(CONTENT) + 40


def test_a_mail_that_the_server_cannot_take_is_refused_in_its_place() -> None:
    mails = parcels(3)
    mails[1] = Parcel(envelope=mails[1].envelope, content="Grüße\r\n".encode(), tag=1)
    words, server = outcomes({}, mails, "250-scripted.test\n250 PIPELINING")
    assert words == ["accepted", "permanent reply", "accepted"]
    assert server.verbs.count("MAIL") == 2


def test_a_bug_of_ours_in_one_mail_comes_before_anything_is_said() -> None:
    mails = [*parcels(2), Parcel(envelope=parcels(1)[0].envelope, content=b"a\nb\r\n")]
    with ScriptedServer() as server, client_for(server) as client:
        with pytest.raises(ValueError, match="CRLF"):
            client.send_all(mails)
        assert client.is_open
    assert server.verbs == ["EHLO", "QUIT"]


def test_a_caller_who_stops_within_a_transaction_ends_the_connection() -> None:
    with ScriptedServer({"EHLO": PIPELINED}) as server, client_for(server) as client:
        found = client.send_all(parcels(3))
        next(found)
        del found
        assert not client.is_open
    assert len(server.messages) == 1


def test_a_caller_who_stops_between_two_mails_keeps_the_connection() -> None:
    with ScriptedServer({"EHLO": SERIAL}) as server, client_for(server) as client:
        found = client.send_all(parcels(3))
        next(found)
        del found
        client.send(parcels(1)[0].envelope, CONTENT)
    assert len(server.messages) == 2


def test_on_a_closed_connection_nothing_is_tried() -> None:
    with ScriptedServer() as server:
        assert [outcome for _, outcome in client_for(server).send_all(parcels(2))] == [None, None]


def test_the_time_of_a_mail_begins_when_it_is_its_turn() -> None:
    script: Script = {"EHLO": PIPELINED, "MESSAGE": (pause(0.2), "250 ok")}
    with ScriptedServer(script) as server, client_for(server, rules=policy(total_seconds=0.6)) as client:
        assert [word(outcome) for _, outcome in client.send_all(parcels(4))] == ["accepted"] * 4


def test_an_unknown_outcome_says_so() -> None:
    script: Script = {"EHLO": PIPELINED, "MESSAGE": ["250 ok", GONE]}
    with ScriptedServer(script) as server, client_for(server) as client:
        error = list(client.send_all(parcels(3)))[1][1]
    assert isinstance(error, DeliveryError)
    assert (error.phase, error.fault, error.may_have_been_sent) == (Phase.MESSAGE, Fault.CLOSED, True)


@pytest.mark.parametrize("hello", [SERIAL, PIPELINED, CHUNKED], ids=["serial", "pipelined", "chunked"])
@pytest.mark.parametrize("direction", ["hears", "says"])
def test_wherever_the_connection_is_cut_no_mail_is_lost_or_taken_for_sent(hello: str, direction: str) -> None:
    mails = parcels(3)
    with ScriptedServer({"EHLO": hello}) as whole, client_for(whole) as client:
        opening = {"hears": len(whole.received), "says": whole.connections[0].said}[direction]
        list(client.send_all(mails))
        end = {"hears": len(whole.received), "says": whole.connections[0].said}[direction]
    for octets in range(opening + 1, end):
        hears, says = (octets, sys.maxsize) if direction == "hears" else (sys.maxsize, octets)
        with ScriptedServer({"EHLO": hello}, hears=hears, says=says) as server, client_for(server) as client:
            found = list(client.send_all(mails))
            assert [parcel for parcel, _ in found] == mails
            for parcel, result in found:
                was_taken, told = parcel.content in server.messages, word(result).split()[0]
                assert told in (("accepted", "unknown") if was_taken else ("unknown", "temporary", "not")), octets
        assert all(server.messages.count(parcel.content) <= 1 for parcel in mails)
