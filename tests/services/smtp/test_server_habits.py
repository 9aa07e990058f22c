"""Servers that do not keep what they announce: mail gets through, uncharged, and the habit is remembered."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.smtp.client import Envelope, Parcel, Receipt, Result
from services.smtp.habits import Fact, Habit, Habits, habits_of
from services.smtp.opening import Policy
from services.smtp.pool import Pool
from tests.odd_servers import Hearing, OddServer, first_of_a_segment, last_of_a_segment, not_behind_the_dot
from tests.patience import PATIENCE, stretched
from tests.scripted_server import Answer, ScriptedServer, close, hang
from tests.smtp_clients import CONTENT, SENDER, Script, parcels, policy, settings_for, word
from utils.errors import DeliveryError, OutcomeUnknown

PIPELINED = "250-scripted.test\n250-PIPELINING\n250 8BITMIME"
CHUNKED = "250-scripted.test\n250-PIPELINING\n250-CHUNKING\n250 8BITMIME"
SMUGGLED = (
    b"Subject: x\r\n\r\nMAIL FROM:<ceo@victim.example>\r\nRCPT TO:<target@victim.example>\r\nDATA\r\n"
    b"Subject: Pay at once\r\n\r\nNow.\r\n.\r\n"
)
PATIENT = policy(total_seconds=PATIENCE)


@pytest.fixture
def pool() -> Iterator[Pool]:
    kept = Pool()
    yield kept
    kept.close()


Sender = Callable[[list[Parcel]], list[tuple[Parcel, Result]]]


@contextmanager
def sending_to(
    server: ScriptedServer | OddServer, pool: Pool, rules: Policy = PATIENT, **changes: object
) -> Iterator[Sender]:
    """Send mails to the server as a worker does."""
    settings = settings_for(server, timeout_seconds=2, **changes)
    yield lambda mails: list(pool.send_all(settings, rules, mails, owner="test"))


def habits(server: ScriptedServer | OddServer) -> Habits:
    return habits_of(server.host, server.port)


def to(address: str, content: bytes = CONTENT, number: int = 0) -> Parcel:
    envelope = Envelope(sender=SENDER, recipients=(address,))
    return Parcel(envelope=envelope, content=b"X-Number: %d\r\n" % number + content, tag=number)


def words(results: list[tuple[Parcel, Result]]) -> dict[object, str]:
    return {parcel.tag: word(result) for parcel, result in results}


# Content only where it may go.


def test_a_refused_recipient_does_not_turn_the_message_into_commands(pool: Pool) -> None:
    mails = [to("good@r.example", number=number) for number in range(13)]
    mails[6] = to("bad@r.example", SMUGGLED, 6)
    with (
        OddServer(chunking=True, swallows=False, unknown={"bad@r.example"}) as server,
        sending_to(server, pool) as send,
    ):
        found = words(send(mails))
    assert found == {number: "permanent 550" if number == 6 else "accepted" for number in range(13)}
    assert server.numbers == [number for number in range(13) if number != 6]
    assert not any("victim" in line for line in server.commands)


def test_one_mail_after_the_other_is_not_smuggled_either(pool: Pool) -> None:
    with OddServer(chunking=True, swallows=False, unknown={"bad@r.example"}) as server:
        settings = settings_for(server)
        for number in range(6):
            mail = to("bad@r.example", SMUGGLED) if number == 4 else to("good@r.example", number=number)
            with suppress(DeliveryError):
                pool.send(settings, PATIENT, mail, owner="test")
    assert server.numbers == [0, 1, 2, 3, 5]
    assert not any("victim" in line for line in server.commands)
    assert server.verbs.count("BDAT") == 0  # a single mail is no occasion to find out


def test_of_four_hundred_mails_with_unknown_recipients_all_good_ones_arrive_once(pool: Pool) -> None:
    mails = [to("bad@r.example" if number % 10 == 3 else "good@r.example", number=number) for number in range(400)]
    with (
        OddServer(chunking=True, swallows=False, unknown={"bad@r.example"}) as server,
        sending_to(server, pool) as send,
    ):
        found = words(send(mails))
    assert found == {number: "permanent 550" if number % 10 == 3 else "accepted" for number in range(400)}
    assert server.numbers == [number for number in range(400) if number % 10 != 3]


def test_a_server_is_asked_once_whether_it_swallows(pool: Pool) -> None:
    with OddServer(chunking=True, swallows=False) as server, sending_to(server, pool) as send:
        for _ in range(3):
            send(parcels(4))
            pool.close()
    assert server.verbs.count("HELP") == 2
    assert habits(server).lacks(Habit.SWALLOWS)


def test_a_server_that_swallows_gets_many_mails_in_few_round_trips(pool: Pool) -> None:
    with ScriptedServer({"EHLO": CHUNKED}) as server, sending_to(server, pool) as send:
        assert set(words(send(parcels(100))).values()) == {"accepted"}
        assert server.round_trips - 2 <= 25
    assert habits(server).shows(Habit.SWALLOWS)


def test_the_mail_after_the_question_about_chunks_begins_with_a_reset_of_its_own(pool: Pool) -> None:
    """Dovecot 2.3.19's submission service dies of a MAIL right after a RSET that came in one piece with a MAIL."""
    with ScriptedServer({"EHLO": CHUNKED}) as server, sending_to(server, pool) as send:
        send(parcels(4))
    asked = server.verbs.index("BDAT")
    assert server.verbs[asked - 1 : asked + 4] == ["MAIL", "BDAT", "RSET", "RSET", "MAIL"]


def test_chunking_without_swallowing_costs_one_round_trip_a_mail(pool: Pool) -> None:
    script: Script = {"EHLO": CHUNKED, "HELP": "214 no help"}
    with ScriptedServer(script, swallows=False) as server, sending_to(server, pool) as send:
        assert set(words(send(parcels(100))).values()) == {"accepted"}
        found_out = 2 + 2  # opening twice, one round trip to find out, and the last message
        assert server.round_trips - found_out <= 105


def test_what_one_server_has_shown_is_not_believed_of_another_behind_the_same_address(pool: Pool) -> None:
    hellos: list[Answer] = [CHUNKED, CHUNKED.replace("scripted.test", "other.test")]
    with ScriptedServer({"EHLO": hellos}) as server, sending_to(server, pool) as send:
        send(parcels(3))
        pool.close()
        server.flights.clear()
        send(parcels(8))
    assert not any(b"BDAT" in flight for flight in server.flights)


@pytest.mark.parametrize("help_answer", ["214 2.0.0 help", "250 help", "502 5.5.1 no", "211 status", "500 what"])
@pytest.mark.parametrize("refusal", ["502 5.5.1 no", "503 5.5.1 no recipient", b""])
def test_a_server_that_runs_the_chunk_never_gets_content_blind(pool: Pool, help_answer: str, refusal: Answer) -> None:
    script: Script = {"EHLO": CHUNKED, "UNWANTED": refusal, "HELP": help_answer}
    with ScriptedServer(script, swallows=False) as server, sending_to(server, pool) as send:
        assert set(words(send(parcels(5))).values()) == {"accepted"}
    assert server.verbs.count("BDAT") == 1


@pytest.mark.parametrize("sender", ["550 5.1.8 no", "530 5.7.0 sign in", "451 4.3.0 later"])
def test_a_sender_that_is_refused_while_finding_out_is_no_fault_of_chunks(pool: Pool, sender: str) -> None:
    with ScriptedServer({"EHLO": CHUNKED, "MAIL": [sender, "250 ok"]}) as server, sending_to(server, pool) as send:
        assert set(words(send(parcels(3))).values()) == {"accepted"}
    assert habits(server).shows(Habit.SWALLOWS)


def test_an_answer_too_many_after_a_refused_chunk_ends_the_connection_and_no_mail(pool: Pool) -> None:
    script: Script = {
        "EHLO": CHUNKED,
        "RCPT": ["250 ok", "250 ok", "550 5.1.1 no", "250 ok"],
        "MESSAGE": ["250 ok", "250 ok", "503 nobody\n500 what?", "250 ok"],
    }
    with ScriptedServer(script) as server, sending_to(server, pool) as send:
        send(parcels(2))
        assert words(send([to("bad@r.example")])) == {0: "permanent 550"}
        assert set(words(send(parcels(3))).values()) == {"accepted"}
    assert len(server.connections) >= 2
    assert habits(server).lacks(Habit.SWALLOWS)


# Deaf behind the dot.


def test_a_server_that_refuses_what_comes_behind_the_dot_takes_all_mails_over_few_connections(pool: Pool) -> None:
    with OddServer(not_behind_the_dot) as server, sending_to(server, pool) as send:
        assert set(words(send(parcels(500))).values()) == {"accepted"}
    assert sorted(server.numbers) == list(range(500))
    assert server.connected <= 6
    assert habits(server).lacks(Habit.BEHIND_DOT)


def test_a_server_that_waits_for_a_lone_dot_doubts_one_mail_and_takes_the_others(pool: Pool) -> None:
    rules = policy(total_seconds=stretched(5.0))  # all of which the answer to the message is waited for
    with OddServer(lone_dot=True) as server, sending_to(server, pool, rules) as send:
        found = words(send(parcels(6)))
    assert sorted(each.split()[0] for each in found.values()) == ["accepted"] * 5 + ["unknown"]
    assert habits(server).lacks(Habit.BEHIND_DOT)


# Silence.


@pytest.mark.parametrize("hearing", [first_of_a_segment, last_of_a_segment])
@pytest.mark.parametrize("chunking", [False, True])
def test_a_server_that_hears_one_command_of_a_segment_gets_them_singly(
    pool: Pool, hearing: Hearing, chunking: bool
) -> None:
    with OddServer(hearing, chunking=chunking) as server, sending_to(server, pool) as send:
        assert set(words(send(parcels(6))).values()) == {"accepted"}
        assert set(words(send(parcels(6))).values()) == {"accepted"}
    assert sorted(server.numbers) == sorted([*range(6)] * 2)
    assert habits(server).lacks(Habit.PIPELINING) or habits(server).lacks(Habit.BEHIND_DOT)


def test_chunks_that_are_announced_and_never_answered_are_replaced_by_data(pool: Pool) -> None:
    with (
        ScriptedServer({"EHLO": CHUNKED, "UNWANTED": b"", "BDAT": b"", "BDAT LAST": hang}) as server,
        sending_to(server, pool) as send,
    ):
        assert set(words(send(parcels(5))).values()) == {"accepted"}
        assert set(words(send(parcels(5))).values()) == {"accepted"}
    assert server.verbs.count("BDAT") == 1
    assert habits(server).lacks(Habit.CHUNKING)


def test_a_last_chunk_that_is_refused_is_replaced_by_data(pool: Pool) -> None:
    with ScriptedServer({"EHLO": CHUNKED, "BDAT LAST": "503 5.5.1 no"}) as server, sending_to(server, pool) as send:
        assert set(words(send(parcels(5))).values()) == {"accepted"}
    assert habits(server).lacks(Habit.CHUNKING)


@pytest.mark.parametrize("end", [close, hang, "503 5.5.1 not together"])
def test_one_mail_gets_through_where_commands_are_only_taken_singly(pool: Pool, end: Answer) -> None:
    data: list[Answer] = ["503 no", "354 go"] if isinstance(end, str) else ["354 go"]
    with ScriptedServer({"EHLO": PIPELINED, "RCPT": [end, "250 ok"], "DATA": data}) as server:
        mail = to("anna@r.example")
        settings = settings_for(server, timeout_seconds=2)
        assert pool.send(settings, PATIENT, mail, owner="test").accepted
    assert habits(server).lacks(Habit.PIPELINING)


def test_a_recipient_at_which_the_server_hangs_up_singly_as_well_says_nothing_of_pipelining(pool: Pool) -> None:
    with ScriptedServer({"EHLO": PIPELINED, "RCPT": close}) as server, sending_to(server, pool) as send:
        assert words(send([to("anna@r.example")])) == {0: "temporary closed"}
    assert habits(server).fact(Habit.PIPELINING) is None


# Parameters and recipients.


@pytest.mark.parametrize("answer", ["555 5.5.4 no", "501 5.5.4 what?", "504 5.5.4 no"])
@pytest.mark.parametrize(("pipelining", "chunking"), [(False, False), (True, False), (True, True)])
def test_a_size_that_is_refused_is_left_out(pool: Pool, answer: str, pipelining: bool, chunking: bool) -> None:
    with OddServer(pipelining=pipelining, chunking=chunking, size=answer) as server, sending_to(server, pool) as send:
        assert set(words(send(parcels(5))).values()) == {"accepted"}
        assert set(words(send(parcels(5))).values()) == {"accepted"}
    assert sorted(server.numbers) == sorted([*range(5)] * 2)
    assert habits(server).lacks(Habit.PARAMETERS)


@pytest.mark.parametrize("hello", ["250-PIPELINING", "250-PIPELINING\n250-CHUNKING"])
def test_a_server_that_refuses_the_size_and_goes_on_all_the_same_takes_no_mail_twice(pool: Pool, hello: str) -> None:
    script: Script = {"EHLO": f"250-scripted.test\n{hello}\n250 SIZE 1000000", "MAIL": ["555 5.5.4 no", "250 ok"]}
    with ScriptedServer(script) as server, sending_to(server, pool) as send:
        found = words(send(parcels(1)))
    assert found == {0: "accepted"}
    assert len(server.messages) == 1


@pytest.mark.parametrize("chunking", [False, True])
def test_a_size_that_is_refused_is_learnt_where_the_server_counts_the_errors_behind_it(
    pool: Pool, chunking: bool
) -> None:
    enough: Answer = ("421 4.7.0 too many errors", close)
    data: Answer | list[Answer] = "354 go" if chunking else [enough, "354 go"]
    offers = "\n".join(["250-scripted.test", "250-PIPELINING", *["250-CHUNKING"] * chunking, "250 SIZE 1000000"])
    script: Script = {
        "EHLO": offers,
        "MAIL": [*["250 ok"] * chunking, "501 5.5.4 what?", "250 ok"],
        "RCPT": ["503 no", "250 ok"],
        "DATA": data,
        "BDAT LAST": [enough, "503 no"],
    }
    with ScriptedServer(script) as server, sending_to(server, pool) as send:
        assert words(send(parcels(1 + chunking))) == dict.fromkeys(range(1 + chunking), "accepted")
    assert habits(server).lacks(Habit.PARAMETERS)


@pytest.mark.parametrize("pipelining", [False, True])
def test_a_size_that_is_refused_is_learnt_where_one_connection_hears_of_one_sender_only(
    pool: Pool, pipelining: bool
) -> None:
    goodbye: Answer = ("421 4.7.0 enough", close)
    offers = "\n".join(["250-scripted.test", *["250-PIPELINING"] * pipelining, "250 SIZE 1000000"])
    rcpt: list[Answer] = ["503 no", "250 ok"]
    data: list[Answer] = ["503 no", "354 go"]
    later: Script = {"RCPT": rcpt, "DATA": data} if pipelining else {}
    script: Script = {"EHLO": offers, "MAIL": ["504 5.5.4 no", goodbye, "250 ok"], **later}
    with ScriptedServer(script) as server, sending_to(server, pool) as send:
        assert words(send(parcels(1))) == {0: "accepted"}
    assert habits(server).lacks(Habit.PARAMETERS)


def test_after_a_refused_size_nothing_is_reset(pool: Pool) -> None:
    goodbye: Answer = ("421 4.7.0 enough", close)
    script: Script = {
        "EHLO": "250-scripted.test\n250-PIPELINING\n250 SIZE 1000000",
        "MAIL": ["555 5.5.4 no", "250 ok"],
        "RCPT": ["503 no", "250 ok"],
        "DATA": ["503 no", "354 go"],
        "RSET": goodbye,
    }
    with ScriptedServer(script) as server, sending_to(server, pool) as send:
        assert words(send(parcels(1))) == {0: "accepted"}
    assert len(server.connections) == 1


def test_a_sender_that_is_refused_without_parameters_as_well_is_the_mails_fault(pool: Pool) -> None:
    script: Script = {"EHLO": "250-scripted.test\n250 SIZE 1000000", "MAIL": "501 5.1.7 bad sender"}
    with ScriptedServer(script) as server, sending_to(server, pool) as send:
        assert words(send(parcels(1))) == {0: "permanent 501"}
    assert not habits(server).lacks(Habit.PARAMETERS)


@pytest.mark.parametrize("hello", ["250 scripted.test", PIPELINED])
@pytest.mark.parametrize("refusal", ["502 5.5.1 no", "503 5.5.1 no", "452 4.5.3 too many recipients", hang])
def test_a_mail_for_more_recipients_than_the_server_takes_is_split(pool: Pool, hello: str, refusal: Answer) -> None:
    with OddServer(pipelining=hello is PIPELINED, most_recipients=3, beyond=refusal) as server:
        (mail,) = parcels(1, recipients=8)
        settings = settings_for(server, timeout_seconds=2)
        receipt = pool.send(settings, PATIENT, mail, owner="test")
    assert isinstance(receipt, Receipt)
    assert sorted(receipt.accepted) == sorted(mail.envelope.recipients)
    assert receipt.refused == {}
    assert sorted(server.recipients) == sorted(mail.envelope.recipients)


def test_a_command_that_is_not_known_any_more_is_one_recipient_too_many_whatever_was_said_between(pool: Pool) -> None:
    script: Script = {"RCPT": ["250 ok", "502 no", "450 4.2.0 later", "502 no", "250 ok"]}
    with ScriptedServer(script) as server:
        (mail,) = parcels(1, recipients=4)
        receipt = pool.send(settings_for(server), PATIENT, mail, owner="test")
    first, second, third, fourth = mail.envelope.recipients
    assert set(receipt.accepted) == {first, second, fourth}
    assert {address: reply.code for address, reply in receipt.refused.items()} == {third: 450}


@pytest.mark.parametrize("hello", ["250 scripted.test", PIPELINED, CHUNKED])
def test_recipients_that_are_refused_do_not_keep_the_others_from_being_asked(pool: Pool, hello: str) -> None:
    with ScriptedServer({"EHLO": hello, "RCPT": ["450 4.2.0 later", "550 5.1.1 no", "250 ok"]}) as server:
        habits(server).learn(Habit.MOST_RECIPIENTS, 1)
        (mail,) = parcels(1, recipients=4)
        receipt = pool.send(settings_for(server), PATIENT, mail, owner="test")
    assert len(receipt.accepted) == 2
    assert sorted(reply.code for reply in receipt.refused.values()) == [450, 550]
    assert {*receipt.accepted, *receipt.refused} == set(mail.envelope.recipients)


def test_a_mail_of_which_a_part_may_have_arrived_is_of_unknown_fate(pool: Pool) -> None:
    ends: list[Answer] = ["250 ok", close]
    script: Script = {"RCPT": ["250 ok", "452 4.5.3 too many", "250 ok"], "MESSAGE": ends}
    with ScriptedServer(script) as server, pytest.raises(OutcomeUnknown):
        (mail,) = parcels(1, recipients=2)
        pool.send(settings_for(server), PATIENT, mail, owner="test")


def test_a_mail_of_unknown_fate_is_not_taken_along_by_another_again(pool: Pool) -> None:
    mails = [to("gone@r.example"), *[to("good@r.example", number=number) for number in range(1, 8)]]
    with OddServer(chunking=True, hangs_up_at={"gone@r.example"}) as server, sending_to(server, pool) as send:
        send(parcels(2))
        first = words(send(mails))
        careful = [replace(mail, is_careful=True) for mail in mails if first[mail.tag].startswith("unknown")]
        again = words(send(careful))
    assert {again[number] for number in again if number} == {"accepted"}
    assert again[0] == "temporary closed"


def test_a_server_that_takes_three_mails_a_connection_is_given_three(pool: Pool) -> None:
    with OddServer(most_mails=3) as server, sending_to(server, pool) as send:
        assert set(words(send(parcels(9))).values()) == {"accepted"}
        before = server.connected
        assert set(words(send(parcels(9))).values()) == {"accepted"}
        assert server.connected - before <= 3
        assert server.goodbyes <= 2
    assert habits(server).most(Habit.MOST_MAILS) == 3


@pytest.mark.parametrize("hello", [PIPELINED, CHUNKED, "250 scripted.test"])
@pytest.mark.parametrize("refusal", ["501 5.1.3 bad syntax", "553 5.1.3 bad address"])
def test_a_recipient_with_odd_dots_is_tried_as_it_stands_and_then_in_quotes(
    pool: Pool, hello: str, refusal: str
) -> None:
    script: Script = {"EHLO": hello, "RCPT": [refusal, "250 ok"]}
    with ScriptedServer(script) as server, sending_to(server, pool) as send:
        assert words(send([to("a..b@docomo.example")])) == {0: "accepted"}
    spellings = [command for command in server.commands if command.startswith("RCPT")]
    assert spellings == ["RCPT TO:<a..b@docomo.example>", 'RCPT TO:<"a..b"@docomo.example>']


def test_a_recipient_with_odd_dots_that_is_taken_as_it_stands_is_not_quoted(pool: Pool) -> None:
    with ScriptedServer({"EHLO": PIPELINED}) as server, sending_to(server, pool) as send:
        assert words(send([to("a.@docomo.example"), to("b@docomo.example", number=1)])) == {
            0: "accepted",
            1: "accepted",
        }
    assert not any('"' in command for command in server.commands)


# What is remembered.


def test_a_fact_is_forgotten_after_some_hours() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    times = [now]
    known = Habits(lambda: times[0])
    known.learn(Habit.PIPELINING, False)
    known.learn(Habit.SWALLOWS, True, face="a")
    times[0] = now + timedelta(hours=7)
    assert not known.lacks(Habit.PIPELINING)
    assert known.shows(Habit.SWALLOWS)
    times[0] = now + timedelta(hours=25)
    assert known.known() == {}


def test_what_others_have_learnt_is_taken_over_where_it_is_newer() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    known = Habits(lambda: now)
    known.learn(Habit.MOST_MAILS, 5)
    old, new = Fact(7, now - timedelta(minutes=1)), Fact(False, now - timedelta(minutes=1))
    known.recall([(Habit.MOST_MAILS, old), (Habit.CHUNKING, new)])
    assert known.most(Habit.MOST_MAILS) == 5
    assert known.lacks(Habit.CHUNKING)
