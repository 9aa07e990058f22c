"""The commands of a mail where a server answers oddly: what it costs mail and connection, and what is remembered."""

import time

import pytest

from services.smtp.client import Envelope, SmtpClient
from services.smtp.habits import Habit, Habits, habits_of
from tests.scripted_server import Answer, ScriptedServer, close, hang, pause
from tests.smtp_clients import CONTENT, ENVELOPE, RECIPIENT, SENDER, Script, client_for, parcels, policy, word
from utils.errors import DeliveryError, Fault, Permanent, Temporary

PLAIN = "250 scripted.test"
PIPELINED = "250-scripted.test\n250 PIPELINING"
CHUNKED = "250-scripted.test\n250-PIPELINING\n250 CHUNKING"
ONE_TOO_MANY = "250 ok\n500 what?"


def habits(server: ScriptedServer) -> Habits:
    return habits_of(server.host, server.port)


def words(client: SmtpClient, number: int) -> list[str]:
    return [word(outcome) for _, outcome in client.send_all(parcels(number))]


def error_of(client: SmtpClient) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        client.send(ENVELOPE, CONTENT)
    return caught.value


# An answer that nobody asked for.


@pytest.mark.parametrize("hello", [PLAIN, PIPELINED])
def test_what_comes_unasked_after_the_first_mail_is_no_fault_of_the_second(hello: str) -> None:
    with ScriptedServer({"EHLO": hello, "MESSAGE": ONE_TOO_MANY}) as server, client_for(server) as client:
        client.send(ENVELOPE, CONTENT)
        error = error_of(client)
        assert (error.not_taken, client.is_open) == (True, False)


@pytest.mark.parametrize("hello", [PLAIN, PIPELINED])
def test_what_comes_unasked_before_the_first_mail_is_told_with_it(hello: str) -> None:
    with ScriptedServer({"EHLO": f"{hello}\n500 what?"}) as server, client_for(server) as client:
        assert not error_of(client).not_taken


@pytest.mark.parametrize("seconds", [0.0, 3600.0])
def test_an_answer_too_many_after_a_refused_chunk_shows_that_it_was_not_swallowed(
    monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    script: Script = {
        "EHLO": CHUNKED,
        "RCPT": ["250 ok", "250 ok", "550 5.1.1 no", "250 ok"],
        "MESSAGE": ["250 ok", "250 ok", "503 nobody\n500 what?", "250 ok"],
    }
    with ScriptedServer(script) as server, client_for(server) as client:
        assert words(client, 2) == ["accepted"] * 2
        assert habits(server).shows(Habit.SWALLOWS)
        assert isinstance(error_of(client), Permanent)
        monkeypatch.setattr("services.smtp.standing.monotonic", lambda: time.monotonic() + seconds)
        assert error_of(client).not_taken
        assert habits(server).lacks(Habit.SWALLOWS)


# A refused sender.


@pytest.mark.parametrize("answer", [("550 5.1.8 no", close), ("550 5.1.8 no", hang)])
def test_after_a_refused_sender_and_no_word_about_the_rest_the_connection_is_over(answer: Answer) -> None:
    script: Script = {"EHLO": PIPELINED, "MAIL": answer}
    with ScriptedServer(script) as server, client_for(server, timeout_seconds=1) as client:
        assert words(client, 2) == ["permanent 550", "not tried"]


def test_a_recipient_accepted_without_a_sender_is_forgotten_before_the_second_try() -> None:
    script: Script = {
        "EHLO": "250-scripted.test\n250-PIPELINING\n250 SIZE 1000000",
        "MAIL": ["501 5.5.4 what?", "250 ok"],
        "RCPT": "250 ok",
        "DATA": ["503 5.5.1 no", "354 go"],
    }
    with ScriptedServer(script) as server, client_for(server) as client:
        client.send(ENVELOPE, CONTENT)
        assert server.verbs == ["EHLO", "MAIL", "RCPT", "DATA", "RSET", "MAIL", "RCPT", "DATA"]


def test_a_server_that_refuses_the_size_and_waits_for_the_message_is_left_without_one() -> None:
    script: Script = {"EHLO": "250-scripted.test\n250-PIPELINING\n250 SIZE 1000000", "MAIL": "555 5.5.4 no"}
    with ScriptedServer(script) as server, client_for(server) as client:
        assert error_of(client).not_taken
        assert not client.is_open
        assert habits(server).lacks(Habit.PARAMETERS)
    assert server.verbs == ["EHLO", "MAIL", "RCPT", "DATA"]


# Another spelling.


@pytest.mark.parametrize("hello", [PLAIN, PIPELINED])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_of_several_recipients_the_odd_one_is_spelt_another_way(hello: str, place: int) -> None:
    recipients = ["a@r.example", "b@r.example"]
    recipients.insert(place, "c..d@r.example")
    answers: list[Answer] = [*["250 ok"] * place, "553 5.1.3 bad address", "250 ok"]
    with ScriptedServer({"EHLO": hello, "RCPT": answers}) as server, client_for(server) as client:
        receipt = client.send(Envelope(sender=SENDER, recipients=tuple(recipients)), CONTENT)
        spelt = [command for command in server.commands if command.startswith("RCPT")]
    assert sorted(receipt.accepted) == sorted(recipients)
    assert spelt[place : place + 2] == ["RCPT TO:<c..d@r.example>", 'RCPT TO:<"c..d"@r.example>']
    assert len(spelt) == 4


@pytest.mark.parametrize("code", ["501", "553"])
def test_a_recipient_without_an_odd_spelling_is_asked_once(code: str) -> None:
    with ScriptedServer({"EHLO": PLAIN, "RCPT": f"{code} 5.1.3 no"}) as server, client_for(server) as client:
        assert isinstance(error_of(client), Permanent)
        assert server.verbs.count("RCPT") == 1


def test_an_odd_recipient_that_is_refused_for_another_reason_is_asked_once() -> None:
    with ScriptedServer({"EHLO": PLAIN, "RCPT": "550 5.1.1 no"}) as server, client_for(server) as client:
        with pytest.raises(Permanent):
            client.send(Envelope(sender=SENDER, recipients=("a..b@r.example",)), CONTENT)
        assert server.verbs.count("RCPT") == 1


# Silence.


def test_a_server_that_has_shown_that_it_hears_all_has_its_whole_time_to_answer() -> None:
    answers: list[Answer] = ["250 ok", (pause(2.2), "250 ok")]
    script: Script = {"EHLO": PIPELINED, "RCPT": answers}
    with ScriptedServer(script) as server, client_for(server, rules=policy(total_seconds=4.0)) as client:
        client.send(ENVELOPE, CONTENT)
        assert habits(server).shows(Habit.PIPELINING)
        client.send(ENVELOPE, CONTENT)
        assert len(server.connections) == 1


def test_what_was_shown_behind_the_dot_and_fails_once_has_to_be_shown_anew() -> None:
    answers: list[Answer] = ["250 ok", "250 ok", hang]
    script: Script = {"EHLO": PIPELINED, "MAIL": answers}
    with ScriptedServer(script) as server, client_for(server, timeout_seconds=1) as client:
        assert words(client, 3)[:2] == ["accepted"] * 2
        known = habits(server)
        assert (known.fact(Habit.BEHIND_DOT), known.shows(Habit.PIPELINING)) == (None, True)


def test_what_was_shown_and_breaks_off_is_still_believed() -> None:
    answers: list[Answer] = ["250 ok", close]
    with ScriptedServer({"EHLO": PIPELINED, "MAIL": answers}) as server, client_for(server) as client:
        client.send(ENVELOPE, CONTENT)
        error = error_of(client)
        assert (type(error), error.fault, error.not_taken) == (Temporary, Fault.CLOSED, False)
        assert habits(server).shows(Habit.PIPELINING)


@pytest.mark.parametrize("end", [close, hang])
def test_what_was_never_shown_is_tried_another_way_and_costs_the_mail_nothing(end: Answer) -> None:
    script: Script = {"EHLO": PIPELINED, "MAIL": end}
    with ScriptedServer(script) as server, client_for(server, timeout_seconds=1) as client:
        assert error_of(client).not_taken
        assert habits(server).lacks(Habit.PIPELINING)
        assert not client.is_open


def test_silence_after_some_recipients_shows_how_many_the_server_takes() -> None:
    answers: list[Answer] = ["250 ok", "250 ok", hang]
    script: Script = {"EHLO": PLAIN, "RCPT": answers}
    with ScriptedServer(script) as server, client_for(server, timeout_seconds=1) as client:
        (mail,) = parcels(1, recipients=4)
        with pytest.raises(DeliveryError) as caught:
            client.send(mail.envelope, mail.content)
        assert caught.value.not_taken
        assert habits(server).most(Habit.MOST_RECIPIENTS) == 2


@pytest.mark.parametrize("answers", [[hang], ["550 5.1.1 no", hang]])
def test_silence_before_any_recipient_was_accepted_shows_nothing(answers: list[Answer]) -> None:
    with ScriptedServer({"EHLO": PLAIN, "RCPT": answers}) as server, client_for(server, timeout_seconds=1) as client:
        (mail,) = parcels(1, recipients=4)
        with pytest.raises(Temporary) as caught:
            client.send(mail.envelope, mail.content)
        assert (caught.value.fault, caught.value.not_taken) == (Fault.TIMEOUT, False)
        assert habits(server).most(Habit.MOST_RECIPIENTS) is None


def test_an_end_after_some_recipients_does_not_show_how_many_the_server_takes() -> None:
    answers: list[Answer] = ["250 ok", "250 ok", close]
    with ScriptedServer({"EHLO": PLAIN, "RCPT": answers}) as server, client_for(server) as client:
        (mail,) = parcels(1, recipients=4)
        with pytest.raises(Temporary) as caught:
            client.send(mail.envelope, mail.content)
        assert (caught.value.fault, caught.value.not_taken) == (Fault.CLOSED, False)
        assert habits(server).most(Habit.MOST_RECIPIENTS) is None


@pytest.mark.parametrize("code", [500, 502, 503, 504])
def test_a_command_that_is_not_known_any_more_shows_how_many_recipients_the_server_takes(code: int) -> None:
    with ScriptedServer({"EHLO": PLAIN, "RCPT": ["250 ok", "250 ok", f"{code} no"]}) as server:
        (mail,) = parcels(1, recipients=4)
        with client_for(server) as client:
            receipt = client.send(mail.envelope, mail.content)
        assert (len(receipt.accepted), len(receipt.refused)) == (2, 2)
        assert habits(server).most(Habit.MOST_RECIPIENTS) == 2


# Whole mails at once.


@pytest.mark.parametrize("answer", ["354 go on", "220 hello", "252 perhaps"])
def test_an_answer_to_a_refused_chunk_that_is_none_shows_no_swallowing(answer: str) -> None:
    with ScriptedServer({"EHLO": CHUNKED, "UNWANTED": answer}) as server, client_for(server) as client:
        assert words(client, 2) == ["not tried"] * 2
        assert habits(server).lacks(Habit.SWALLOWS)
        assert not client.is_open


def test_a_server_that_refuses_the_sender_and_takes_the_message_leaves_the_mail_unknown() -> None:
    script: Script = {"EHLO": CHUNKED, "MAIL": ["250 ok", "250 ok", "250 ok", "550 5.1.8 no"]}
    with ScriptedServer(script) as server, client_for(server) as client:
        assert words(client, 2) == ["accepted"] * 2
        error = error_of(client)
        assert (error.fault, error.may_have_been_sent) == (Fault.BROKEN_REPLY, True)


def test_a_size_that_is_refused_to_a_whole_mail_is_left_out_of_the_second_try() -> None:
    script: Script = {
        "EHLO": f"{CHUNKED.replace('250 C', '250-C')}\n250 SIZE 1000000",
        "MAIL": ["250 ok", "250 ok", "250 ok", "555 5.5.4 no", "250 ok"],
        "RCPT": ["250 ok", "250 ok", "503 no", "250 ok"],
        "BDAT LAST": ["250 ok", "250 ok", "503 no", "250 ok"],
    }
    with ScriptedServer(script) as server, client_for(server) as client:
        assert words(client, 2) == ["accepted"] * 2
        client.send(ENVELOPE, CONTENT)
        mails = [command for command in server.commands if command.startswith("MAIL")]
    assert ["SIZE=" in command for command in mails] == [False, True, True, True, False]


@pytest.mark.parametrize("verb", ["MAIL", "RCPT"])
def test_a_check_that_failed_is_forgotten_before_the_next_mail(verb: str) -> None:
    script: Script = {"EHLO": PLAIN, verb: ["550 5.1.1 no", "250 ok"]}
    with ScriptedServer(script) as server, client_for(server) as client:
        with pytest.raises(Permanent):
            client.check_envelope(SENDER, RECIPIENT)
        before = len(server.verbs)
        client.send(ENVELOPE, CONTENT)
        assert server.verbs[before:] == ["RSET", "MAIL", "RCPT", "DATA"]


def test_where_the_server_leaves_after_refusing_some_the_others_can_be_asked_another_time() -> None:
    script: Script = {"EHLO": PIPELINED, "RCPT": "550 5.1.1 no", "MESSAGE": close}
    with ScriptedServer(script) as server, client_for(server) as client:
        habits(server).learn(Habit.MOST_RECIPIENTS, 2)
        (mail,) = parcels(1, recipients=4)
        with pytest.raises(DeliveryError) as caught:
            client.send(mail.envelope, mail.content)
        assert (caught.value.code, client.is_open, server.verbs.count("RCPT")) == (452, False, 2)
        assert len(caught.value.refused) == 4
