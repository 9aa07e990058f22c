"""Which mechanisms are tried, in what order, and when no more is tried, so that no account is locked."""

import base64

import pytest

from services.diagnosis.diagnosis import diagnose
from services.diagnosis.picture import Picture
from services.smtp import sasl
from services.smtp.client import Step
from services.smtp.habits import Habit, habits_of
from services.smtp.wire import Reply
from tests.sasl_answers import WELCOME, WRONG, by_mechanism, initial, say, scram
from tests.scripted_server import Action, Answer, Connection, challenged, close
from tests.sign_in import PASSWORD, client, failure, offering, sign_in, tried
from tests.smtp_clients import CONTENT, ENVELOPE, RECIPIENT, settings_for
from utils.errors import Fault, Misconfigured, Phase, Temporary

OTHER_MECHANISM = [
    "504 5.5.4 Unrecognized authentication type",
    "504 no",
    "504 5.7.4 what you said",
    "534 5.7.9 Authentication mechanism is too weak",
    "534 no",
    "535 5.7.8 Error: authentication failed: Invalid authentication mechanism",
    "535 5.7.8 Error: authentication failed: no mechanism available",
    "535 mechanism not supported",
    "535 5.7.3 Authentication method is disabled",
    "535 Unsupported authentication type",
    "535 5.7.8 AUTH PLAIN is not allowed here",
    "535 PLAIN authentication disabled",
    "535 5.7.8 authentication mechanism PLAIN is currently not enabled",
    "535 authentication type not allowed for this user",
    "535 5.7.8 Please use a stronger authentication mechanism",
    "501 5.5.4 Unrecognized authentication mechanism",
    "503 5.5.1 unsupported authentication method",
    "550 5.7.4 Authentication mechanism not available",
]
WHO = [
    "535 5.7.8 Error: authentication failed: authentication failure",
    "535 Incorrect authentication data",
    "535 5.7.3 Authentication unsuccessful",
    "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant",
    "535 5.7.8 Username and Password not accepted",
    "535 Login disabled for this account",
    "535 invalid login or password",
    "535 Authentication failed: unknown user",
    "535 5.7.8 Invalid credentials for authentication method PLAIN",
    "535 5.7.8 AUTH LOGIN failed, account disabled",
    "535 authentication method: unknown account",
    "535 no",
    "535",
    "534 5.7.9 Application-specific password required",
    "534 5.7.14 Please log in via your web browser and then try again",
    "530 5.7.0 Must issue a STARTTLS command first",
    "538 5.7.11 Encryption required for requested authentication mechanism",
    "454 4.7.0 Temporary authentication failure",
    "432 4.7.12 A password transition is needed",
    "500 what?",
    "550 5.7.1 you are blocked",
]


# The next mechanism, or not.


@pytest.mark.parametrize("refusal", OTHER_MECHANISM)
def test_a_mechanism_that_is_refused_makes_way_for_the_next(refusal: str) -> None:
    answer = by_mechanism(PLAIN=refusal, LOGIN=challenged())
    with offering("PLAIN LOGIN", answer) as server, client(server) as opened:
        assert opened.send(ENVELOPE, CONTENT).accepted == (RECIPIENT,)
        assert (tried(server), len(server.connections)) == (["PLAIN", "LOGIN"], 1)


@pytest.mark.parametrize("refusal", WHO)
def test_a_refusal_that_is_about_who_signs_in_is_the_last_word(refusal: str) -> None:
    with offering("PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256", by_mechanism(PLAIN=refusal)) as server:
        error = failure(server)
    assert (tried(server), error.code) == (["PLAIN"], int(refusal[:3]))
    assert isinstance(error, Temporary if refusal.startswith("4") else Misconfigured)


def test_the_words_about_the_first_refusal_do_not_open_the_way_after_a_wrong_password() -> None:
    answer = by_mechanism(PLAIN="504 no", LOGIN=challenged(WRONG))
    with offering("PLAIN LOGIN CRAM-MD5", answer) as server:
        error = failure(server)
    assert (tried(server), error.code) == (["PLAIN", "LOGIN"], 535)


def test_when_every_mechanism_is_refused_the_last_refusal_is_told() -> None:
    with offering("PLAIN LOGIN CRAM-MD5", ["504 5.5.4 a", "504 5.5.4 b", "504 5.5.4 c"]) as server:
        error = failure(server)
    assert (tried(server), error.text) == (["PLAIN", "LOGIN", "CRAM-MD5"], "5.5.4 c")


@pytest.mark.parametrize("leaves", [close, "421 4.7.0 too many errors"])
def test_a_server_that_leaves_after_refusing_a_mechanism_has_refused_it(leaves: Answer) -> None:
    with offering("PLAIN LOGIN", by_mechanism(PLAIN="504 5.5.4 no", LOGIN=leaves)) as server:
        error = failure(server)
    assert (error.code, type(error)) == (504, Misconfigured)


def test_a_server_that_leaves_at_once_is_out_of_order_for_now() -> None:
    with offering("PLAIN LOGIN", close) as server:
        assert isinstance(failure(server), Temporary)
    assert tried(server) == ["PLAIN"]


def test_a_mechanism_that_was_chosen_is_the_only_one() -> None:
    with offering("PLAIN LOGIN", "504 5.5.4 no") as server:
        failure(server, auth_method="LOGIN")
    assert tried(server) == ["LOGIN"]


def test_the_step_tells_what_was_refused_before() -> None:
    steps: list[Step] = []
    with offering("PLAIN LOGIN", by_mechanism(PLAIN="504 no", LOGIN=challenged())) as server:
        sign_in(server, steps.append)
    assert next(step.fact for step in steps if step.name is Phase.SIGN_IN) == "LOGIN. The server refused PLAIN."


# What goes with the command.


@pytest.mark.parametrize("prompt", ["334", "334 ", "334 Z28=", "334 go on"])
def test_a_server_that_did_not_listen_to_the_command_is_told_again(prompt: str) -> None:
    with (
        offering("PLAIN", (prompt, answered_with(b"\0shop\0" + PASSWORD.encode()))) as server,
        client(server) as opened,
    ):
        assert opened.is_open


def answered_with(expected: bytes) -> Action:
    def act(connection: Connection) -> None:
        said = base64.b64decode(connection.line())
        say(connection, WELCOME if said == expected else WRONG)

    return act


def test_a_server_that_never_has_enough_is_refused() -> None:
    with offering("PLAIN", ("334 ", answered_with(b""), "334 ")) as server:
        assert isinstance(failure(server), Misconfigured)


@pytest.mark.parametrize(("name", "answer"), [("PLAIN", challenged()), ("SCRAM-SHA-256", scram(PASSWORD))])
def test_a_server_that_does_not_understand_more_than_the_mechanism_is_asked_for_that(name: str, answer: Action) -> None:
    def act(connection: Connection) -> None:
        if initial(connection):
            say(connection, "501 5.5.4 Syntax: AUTH mechanism")
        else:
            answer(connection)

    with offering(name, act) as server, client(server):
        assert tried(server) == [name, name]


LONG = "x" * 1000


@pytest.mark.parametrize("refusal", ["501 5.5.2 no", "504 5.5.4 no", "535 Incorrect authentication data", "500 what?"])
def test_a_long_login_goes_with_the_command_where_the_command_alone_is_refused(refusal: str) -> None:
    def act(connection: Connection) -> None:
        said = initial(connection)
        say(connection, (WELCOME if said == f"\0shop\0{LONG}".encode() else WRONG) if said else refusal)

    with offering("PLAIN", act) as server, client(server, password=LONG):
        assert tried(server) == ["PLAIN", "PLAIN"]


@pytest.mark.parametrize("refusal", ["530 5.7.0 encrypt first", "538 5.7.11 encrypt first", "454 4.7.0 not now"])
def test_a_long_login_is_not_said_where_it_would_not_help(refusal: str) -> None:
    with offering("PLAIN LOGIN", refusal) as server:
        failure(server, password=LONG)
    assert server.commands[1:] == ["AUTH PLAIN"]


@pytest.mark.parametrize(("octets", "commands"), [(365, 1), (370, 2)])
def test_a_command_is_never_longer_than_it_may_be(octets: int, commands: int) -> None:
    with offering("PLAIN", challenged()) as server, client(server, password="x" * octets):
        assert len(server.commands) == 1 + commands
        assert all(len(command) <= 510 for command in server.commands)


# Which ones, and in what order.


@pytest.mark.parametrize(
    ("tls", "offered", "expected"),
    [
        (True, "CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256 LOGIN PLAIN", "PLAIN"),
        (True, "CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256 LOGIN", "LOGIN"),
        (True, "CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256-PLUS SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"),
        (True, "CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256", "SCRAM-SHA-256"),
        (True, "CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-1-PLUS", "SCRAM-SHA-1-PLUS"),
        (True, "NTLM CRAM-MD5 GSSAPI", "CRAM-MD5"),
        (False, "PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256", "SCRAM-SHA-256"),
        (False, "PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1", "SCRAM-SHA-1"),
        (False, "PLAIN LOGIN CRAM-MD5", "CRAM-MD5"),
        (False, "SCRAM-SHA-256-PLUS PLAIN LOGIN", "PLAIN"),
    ],
)
def test_the_best_mechanism_comes_first(tls: bool, offered: str, expected: str) -> None:
    with offering(offered, "454 4.7.0 not now", tls=tls) as server:
        failure(server, tls=tls)
    assert tried(server) == [expected]


@pytest.mark.parametrize(
    ("offered", "forced", "words"),
    [
        ("NTLM GSSAPI", "", ("NTLM, GSSAPI", "PLAIN, LOGIN, SCRAM-SHA-256, SCRAM-SHA-1, CRAM-MD5")),
        ("XOAUTH2", "", ("XOAUTH2", "PLAIN")),
        ("DIGEST-MD5", "", ("DIGEST-MD5", "PLAIN")),
        ("PLAIN", "SCRAM-SHA-256", ("PLAIN", "SCRAM-SHA-256")),
    ],
)
def test_where_there_is_no_common_mechanism_both_sides_are_named(
    offered: str, forced: str, words: tuple[str, str]
) -> None:
    with offering(offered, WELCOME) as server:
        error = failure(server, auth_method=forced)
        found = diagnose(error, Picture(settings=settings_for(server)))
    assert error.fault is Fault.AUTH_NOT_OFFERED
    assert all(word in error.text for word in words)
    assert found.title == "No common sign-in method"
    assert tried(server) == []


def test_a_server_that_offers_nothing_offers_no_sign_in() -> None:
    with offering("", WELCOME) as server:
        error = failure(server)
        found = diagnose(error, Picture(settings=settings_for(server)))
    assert (error.text, found.title) == ("The server does not offer sign-in.", "The server does not offer sign-in")


# Challenge mechanisms without verifiers, and what is remembered.


@pytest.mark.parametrize("name", ["SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5"])
@pytest.mark.parametrize("clear", ["PLAIN", "LOGIN"])
def test_a_challenge_mechanism_that_is_refused_is_followed_by_the_password_once(name: str, clear: str) -> None:
    answers: dict[str, Answer] = {name.replace("-", "_"): WRONG, clear: challenged()}
    answer = by_mechanism(**answers)
    with offering(f"{clear} {name}", answer) as server:
        habits_of(server.host, server.port).learn(Habit.MECHANISM, name)
        sign_in(server)
        assert habits_of(server.host, server.port).name(Habit.MECHANISM) == clear
    assert tried(server) == [name, clear]


def test_a_wrong_password_is_said_once_after_a_challenge_mechanism() -> None:
    with offering("PLAIN LOGIN SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5", WRONG) as server:
        habits_of(server.host, server.port).learn(Habit.MECHANISM, "SCRAM-SHA-256")
        assert failure(server).code == 535
    assert tried(server) == ["SCRAM-SHA-256", "PLAIN"]


def test_without_encryption_the_password_never_follows_a_challenge_mechanism() -> None:
    with offering("PLAIN LOGIN SCRAM-SHA-256 CRAM-MD5", WRONG, tls=False) as server:
        failure(server, tls=False)
    assert tried(server) == ["SCRAM-SHA-256"]


def test_the_password_does_not_follow_a_mechanism_that_was_chosen() -> None:
    with offering("PLAIN SCRAM-SHA-256", scram("another")) as server:
        failure(server, auth_method="SCRAM-SHA-256")
    assert tried(server) == ["SCRAM-SHA-256"]


def test_a_mechanism_that_was_refused_already_does_not_follow() -> None:
    answer = by_mechanism(PLAIN="504 no", CRAM_MD5=WRONG)
    with offering("PLAIN CRAM-MD5", answer) as server:
        failure(server)
    assert tried(server) == ["PLAIN", "CRAM-MD5"]


def test_what_worked_is_tried_first_the_next_time() -> None:
    answer = by_mechanism(PLAIN="504 no", LOGIN="504 no", SCRAM_SHA_256=scram(PASSWORD))
    with offering("PLAIN LOGIN SCRAM-SHA-256", answer) as server:
        sign_in(server)
        sign_in(server)
    assert tried(server) == ["PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256"]


def test_what_worked_is_not_tried_where_it_is_no_longer_offered() -> None:
    with offering("LOGIN", challenged()) as server:
        habits_of(server.host, server.port).learn(Habit.MECHANISM, "SCRAM-SHA-256")
        sign_in(server)
    assert tried(server) == ["LOGIN"]


def test_what_worked_over_tls_does_not_bring_the_password_into_the_clear() -> None:
    answer = by_mechanism(SCRAM_SHA_256=scram(PASSWORD))
    with offering("PLAIN SCRAM-SHA-256", answer, tls=False) as server:
        habits_of(server.host, server.port).learn(Habit.MECHANISM, "PLAIN")
        sign_in(server, tls=False)
    assert tried(server) == ["SCRAM-SHA-256"]


def test_what_is_remembered_does_not_replace_what_was_chosen() -> None:
    with offering("PLAIN LOGIN", challenged()) as server:
        habits_of(server.host, server.port).learn(Habit.MECHANISM, "PLAIN")
        sign_in(server, auth_method="LOGIN")
    assert tried(server) == ["LOGIN"]


def test_a_failure_teaches_nothing() -> None:
    with offering("PLAIN", WRONG) as server:
        failure(server)
        assert habits_of(server.host, server.port).name(Habit.MECHANISM) == ""


@pytest.mark.parametrize("challenge", ["334", "334 ", "334 ***", "334 Y"])
def test_a_challenge_that_says_nothing_gets_no_digest(challenge: str) -> None:
    with offering("CRAM-MD5", challenge) as server:
        assert failure(server).fault is Fault.BROKEN_REPLY
    assert server.verbs == ["EHLO", "AUTH"]


@pytest.mark.parametrize(
    ("text", "is_so"), [(text, True) for text in OTHER_MECHANISM] + [(text, False) for text in WHO]
)
def test_words_about_the_mechanism_are_told_from_those_about_the_login(text: str, is_so: bool) -> None:
    assert sasl.is_about_the_way(Reply(int(text[:3]), None, (text[4:],))) is is_so
