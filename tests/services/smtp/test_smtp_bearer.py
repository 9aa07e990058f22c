"""Signing in by token: in both forms and in both dialects of failure, over TLS alone, and with nothing of it shown."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.diagnosis.diagnosis import diagnose, reason
from services.diagnosis.picture import Picture
from services.outbox.reasons import Reason
from services.smtp.client import Step
from services.smtp.habits import Habit, habits_of
from services.smtp.settings import Bearer, Security
from tests import certificates
from tests.bearer_server import GOOGLE_SAYS, BearerSide, bearer_server
from tests.scripted_server import Action, Answer, Connection, ScriptedServer, close, hang, late
from tests.sign_in import failure, offering, sign_in, tried
from tests.smtp_clients import CONTENT, ENVELOPE, RECIPIENT, client_for, policy, settings_for
from utils.errors import DeliveryError, Fault, Misconfigured, Phase, Temporary, TokenRefusal
from utils.secret import Secret

TOKEN = "ya29.a0AfB_byC-4nary~Q7vZx9LmWt2Rb8Hs1Nd6Yf3Pg0Ju5+/canary=="
MAILBOX = "orders@shop.example"
GIVEN = TokenRefusal("400", "https://mail.google.com/")
SAYS = base64.b64encode(json.dumps(GOOGLE_SAYS).encode()).decode()


def by(token: str | Callable[[], Secret] = TOKEN, grant: str = "config:1/1") -> Bearer:
    return Bearer(grant, Secret(token) if isinstance(token, str) else token)


def login(token: str | Callable[[], Secret] = TOKEN, **changes: Any) -> dict[str, Any]:
    return {"username": MAILBOX, "password": "", "bearer": by(token), **changes}


def good(token: str = TOKEN, dialect: str = "google", mailbox: str = MAILBOX) -> BearerSide:
    return BearerSide({token: {mailbox}}, dialect)


# The words of both mechanisms.


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_a_token_signs_in_and_mail_is_accepted(mechanism: str) -> None:
    with bearer_server(good(), mechanism) as server:
        client = client_for(server, security=Security.TLS, **login())
        with client:
            assert client.send(ENVELOPE, CONTENT).accepted == (RECIPIENT,)
    assert tried(server) == [mechanism]


def test_xoauth2_says_the_mailbox_and_the_token() -> None:
    side = good()
    with bearer_server(side) as server:
        sign_in(server, **login())
    assert base64.b64decode(side.blobs[0]) == f"user={MAILBOX}\1auth=Bearer {TOKEN}\1\1".encode()


def test_oauthbearer_says_the_host_and_the_port_too() -> None:
    side = good()
    with bearer_server(side, "OAUTHBEARER") as server:
        sign_in(server, **login())
        expected = f"n,a={MAILBOX},\1host={server.host}\1port={server.port}\1auth=Bearer {TOKEN}\1\1"
    assert base64.b64decode(side.blobs[0]) == expected.encode()


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
@pytest.mark.parametrize("mailbox", ["a=b@shop.example", "a,b@shop.example", "jürgen@köln.example", "a =2C,=3D"])
def test_a_mailbox_arrives_as_it_is(mechanism: str, mailbox: str) -> None:
    with bearer_server(good(mailbox=mailbox), mechanism) as server:
        sign_in(server, **login(username=mailbox))


def test_a_shared_mailbox_is_signed_in_to_with_somebodys_token() -> None:
    side = BearerSide({TOKEN: {"anna@shop.example", "team@shop.example"}})
    with bearer_server(side) as server:
        sign_in(server, **login(username="team@shop.example"))
        failure(server, **login(username="boss@shop.example"))
    assert side.tokens == [TOKEN, TOKEN]


@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        ("LOGIN PLAIN XOAUTH2 PLAIN-CLIENTTOKEN OAUTHBEARER XOAUTH", "XOAUTH2"),  # Google
        ("LOGIN XOAUTH2", "XOAUTH2"),  # Microsoft
        ("OAUTHBEARER XOAUTH2", "XOAUTH2"),
        ("PLAIN OAUTHBEARER", "OAUTHBEARER"),
        ("plain oauthbearer", "OAUTHBEARER"),
    ],
)
def test_what_is_right_everywhere_comes_first(offered: str, expected: str) -> None:
    with bearer_server(good(), offered) as server:
        sign_in(server, **login())
    assert tried(server) == [expected]


def test_a_form_that_was_chosen_is_the_only_one() -> None:
    with bearer_server(good()) as server:
        sign_in(server, **login(auth_method="OAUTHBEARER"))
    assert tried(server) == ["OAUTHBEARER"]


@pytest.mark.parametrize("refusal", ["504 5.5.4 no", "535 5.7.8 XOAUTH2 authentication disabled"])
def test_where_one_form_is_refused_the_other_follows(refusal: str) -> None:
    side = good()

    def act(connection: Connection) -> None:
        if "XOAUTH2" in connection.command:
            connection.send(refusal.encode() + b"\r\n")
        else:
            side(connection)

    with offering("XOAUTH2 OAUTHBEARER", act) as server:
        sign_in(server, **login())
        assert habits_of(server.host, server.port).name(Habit.MECHANISM) == "OAUTHBEARER"
        sign_in(server, **login())
    assert tried(server) == ["XOAUTH2", "OAUTHBEARER", "OAUTHBEARER"]


def test_a_password_that_worked_before_is_no_way_for_a_token() -> None:
    with bearer_server(good()) as server:
        habits_of(server.host, server.port).learn(Habit.MECHANISM, "PLAIN")
        sign_in(server, **login())
    assert tried(server) == ["XOAUTH2"]


def test_a_password_never_goes_by_a_form_for_tokens() -> None:
    with offering("XOAUTH2 OAUTHBEARER", "235 2.7.0 welcome") as server:
        assert failure(server).fault is Fault.AUTH_NOT_OFFERED
    assert tried(server) == []


@pytest.mark.parametrize(
    ("offered", "forced"), [("PLAIN LOGIN", ""), ("PLAIN XOAUTH2", "OAUTHBEARER"), ("XOAUTH", ""), ("XOAUTH2", "PLAIN")]
)
def test_a_server_that_takes_no_tokens_is_told_from_one_without_sign_in(offered: str, forced: str) -> None:
    with offering(offered, "235 2.7.0 welcome") as server:
        error = failure(server, **login(auth_method=forced, password="geheim-8472"))
        found = diagnose(error, Picture(settings=settings_for(server, **login())))
    assert (type(error), error.fault) == (Misconfigured, Fault.OAUTH_NOT_OFFERED)
    assert reason(error) is Reason.OAUTH_NOT_OFFERED
    assert (found.rule, found.title) == ("fault:oauth_not_offered", "The server accepts no tokens")
    assert tried(server) == []  # nor does the password go in its place


def test_a_server_without_any_sign_in_is_told_as_that() -> None:
    with offering("", "235 2.7.0 welcome") as server:
        error = failure(server, **login())
    assert (error.fault, error.text) == (Fault.AUTH_NOT_OFFERED, "The server does not offer sign-in.")


# Over TLS alone.


def forbidden() -> Secret:
    raise AssertionError("nobody needs a token here")


def test_a_token_is_never_sent_in_clear_whatever_the_policy() -> None:
    with offering("XOAUTH2 OAUTHBEARER PLAIN", "235 2.7.0 welcome", tls=False) as server:
        client = client_for(
            server, rules=policy(allow_plaintext_login=True), **login(forbidden, password="geheim-8472")
        )
        with pytest.raises(Misconfigured) as caught:
            client.open()
        found = diagnose(caught.value, Picture(settings=settings_for(server, **login())))
    assert (caught.value.phase, caught.value.fault) == (Phase.SIGN_IN, Fault.AUTH_UNENCRYPTED)
    assert (caught.value.text, found.title) == (
        "The connection is not encrypted, so the token was not sent.",
        "The token was not sent",
    )
    assert server.verbs == ["EHLO"]


def test_a_token_waits_for_starttls() -> None:
    side = good()
    hello = ["250-scripted.test\n250-STARTTLS\n250 AUTH XOAUTH2", "250-scripted.test\n250 AUTH XOAUTH2"]
    with (
        ScriptedServer({"EHLO": hello, "AUTH": side}, tls=certificates.good_context()) as server,
        client_for(server, security=Security.STARTTLS, **login()),
    ):
        assert server.verbs == ["EHLO", "STARTTLS", "EHLO", "AUTH"]


def test_a_stripped_starttls_gets_no_token() -> None:
    script: dict[str, Answer | list[Answer]] = {"EHLO": "250-scripted.test\n250 AUTH XOAUTH2"}
    with ScriptedServer(script) as server, pytest.raises(Misconfigured) as caught:
        client_for(server, security=Security.STARTTLS, **login()).open()
    assert caught.value.fault is Fault.TLS_NOT_OFFERED
    assert server.verbs == ["EHLO"]


# In two steps.


@settings(max_examples=60, deadline=None)
@given(
    octets=st.integers(min_value=1, max_value=500) | st.integers(min_value=250, max_value=420) | st.just(2400),
    mechanism=st.sampled_from(["XOAUTH2", "OAUTHBEARER"]),
)
def test_the_command_is_never_longer_than_512_octets_and_has_the_token_where_it_may(
    octets: int, mechanism: str
) -> None:
    token = "t" * octets
    side = good(token)
    with bearer_server(side, mechanism) as server:
        sign_in(server, **login(token))
        length = len(f"AUTH {mechanism} {side.blobs[0]}\r\n")
    assert (side.steps, side.tokens) == ([1 if length <= 512 else 2], [token])


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_one_octet_more_makes_two_steps(mechanism: str) -> None:
    side = good()
    with bearer_server(side, mechanism) as server:
        sign_in(server, **login())
        around = len(base64.b64decode(side.blobs[0])) - len(TOKEN)
        longest = (512 - len(f"AUTH {mechanism} \r\n")) // 4 * 3 - around
        for octets in (longest, longest + 1):
            side.grants = {"t" * octets: {MAILBOX}}
            sign_in(server, **login("t" * octets))
    assert side.steps == [1, 1, 2]


@pytest.mark.parametrize("refusal", ["501 5.5.2 no", "504 5.5.4 no", "500 what?", "535 5.7.3 no"])
def test_a_long_token_never_goes_with_the_command_even_where_that_is_refused_alone(refusal: str) -> None:
    with offering("XOAUTH2", refusal) as server:
        assert failure(server, **login("t" * 2000)).code == int(refusal[:3])
    assert server.commands[1:] == ["AUTH XOAUTH2"]


@pytest.mark.parametrize("prompt", ["334", "334 ", "334 Z28=", "334 go on"])
def test_whatever_asks_for_a_long_token_gets_it(prompt: str) -> None:
    with offering("XOAUTH2", (prompt, taken("t" * 2000))) as server:
        sign_in(server, **login("t" * 2000))
    assert server.commands[1] == "AUTH XOAUTH2"


@pytest.mark.parametrize("prompt", ["334", "334 "])
def test_a_server_that_did_not_listen_to_the_command_is_told_again(prompt: str) -> None:
    with offering("XOAUTH2", (prompt, taken(TOKEN))) as server:
        sign_in(server, **login())


def test_a_server_that_knows_no_more_than_the_mechanism_is_asked_for_that() -> None:
    side = good()

    def act(connection: Connection) -> None:
        if connection.command.count(" ") > 1:
            connection.send(b"501 5.5.4 Syntax: AUTH mechanism\r\n")
        else:
            side(connection)

    with offering("XOAUTH2", act) as server:
        sign_in(server, **login())
    assert side.tokens == [TOKEN]


def taken(token: str) -> Action:
    def act(connection: Connection) -> None:
        said = base64.b64decode(connection.line())
        is_right = said == f"user={MAILBOX}\1auth=Bearer {token}\1\1".encode()
        connection.send(b"235 2.7.0 welcome\r\n" if is_right else b"535 5.7.8 no\r\n")

    return act


# Refused.


@pytest.mark.parametrize("token", ["wrong", "wrong" * 400])
@pytest.mark.parametrize(("mechanism", "nothing"), [("XOAUTH2", ""), ("OAUTHBEARER", "AQ==")])
def test_google_says_why_and_is_answered_by_nothing(mechanism: str, nothing: str, token: str) -> None:
    side = good()
    with bearer_server(side, mechanism) as server:
        error = failure(server, **login(token))
    assert (type(error), error.fault, error.code, error.enhanced) == (Misconfigured, Fault.REPLY, 535, "5.7.8")
    assert error.token_refusal == GIVEN
    assert side.nothings == [nothing]
    assert tried(server) == [mechanism]


@pytest.mark.parametrize("token", ["wrong", "wrong" * 400])
@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_microsoft_refuses_at_once(mechanism: str, token: str) -> None:
    side = good(dialect="microsoft")
    with bearer_server(side, mechanism) as server:
        error = failure(server, **login(token))
    assert (type(error), error.code, error.enhanced, error.token_refusal) == (Misconfigured, 535, "5.7.3", None)
    assert side.nothings == []


@pytest.mark.parametrize("dialect", ["google", "microsoft"])
def test_a_token_is_tried_once_and_the_password_never_follows_it(dialect: str) -> None:
    with bearer_server(good(dialect=dialect)) as server:
        failure(server, **login("wrong", password="geheim-8472"))
    assert tried(server) == ["XOAUTH2"]
    assert len(server.connections) == 1


def test_a_refused_token_is_not_tried_in_the_other_form_whatever_the_last_words() -> None:
    with offering("XOAUTH2 OAUTHBEARER", refusing(f"334 {SAYS}", "535 authentication method not allowed")) as server:
        assert failure(server, **login()).token_refusal == GIVEN
    assert tried(server) == ["XOAUTH2"]


def refusing(challenge: str | bytes, *then: Answer) -> Answer:
    """Say this to the token, hear one line, and go on like that."""
    said = challenge if isinstance(challenge, bytes) else challenge.encode() + b"\r\n"

    def act(connection: Connection) -> None:
        connection.send(said)
        connection.server.commands.append(connection.line().decode().rstrip("\r\n"))

    return (act, *then)  # type: ignore[arg-type]


def told(said: object) -> str:
    return base64.b64encode(json.dumps(said).encode()).decode()


@pytest.mark.parametrize(
    ("challenge", "expected"),
    [
        (told({"status": "401", "scope": "https://outlook.office.com/SMTP.Send"}), ("401", "https://outlook.office.com/SMTP.Send")),
        (told({"status": 401}), ("401", "")),
        (told({"status": "invalid_token", "openid-configuration": "https://evil.example/"}), ("invalid_token", "")),
        (told({"status": "insufficient_scope", "scope": "mail send"}), ("insufficient_scope", "mail send")),
        (told({}), ("", "")),
        (told({"status": True, "scope": ["a"]}), ("", "")),
        (told({"status": "a b", "scope": "line\nbreak"}), ("", "")),
        (told({"status": "x" * 41, "scope": "y" * 301}), ("", "")),
        (told({"status": "400", "scope": f"see {TOKEN} there"}), ("400", "see [redacted] there")),
        (told({"status": TOKEN[:40]}), ("", "")),
    ],
)  # fmt: skip
def test_of_why_a_token_is_refused_status_and_scope_are_kept_alone(challenge: str, expected: tuple[str, str]) -> None:
    with offering("XOAUTH2", refusing(f"334 {challenge}", "535 5.7.8 no")) as server:
        error = failure(server, **login())
    assert (error.code, error.token_refusal) == (535, TokenRefusal(*expected))


@pytest.mark.parametrize(
    "challenge",
    [
        "***", "Z28=", "go on", told("400"), told(["status"]), told(None), base64.b64encode(b"[" * 1500).decode(),
        base64.b64encode(b'{"status":').decode(), base64.b64encode(b"\xff\xfe{").decode(), SAYS[:-3],
        told({"status": "400", "more": "x" * 3000}),  # cut
    ],
)  # fmt: skip
@pytest.mark.parametrize(("mechanism", "nothing"), [("XOAUTH2", ""), ("OAUTHBEARER", "AQ==")])
def test_a_reason_that_cannot_be_read_is_answered_by_nothing_too(mechanism: str, nothing: str, challenge: str) -> None:
    with offering(mechanism, refusing(f"334 {challenge}", "535 5.7.8 no")) as server:
        error = failure(server, **login())
    assert (error.code, error.token_refusal) == (535, None)
    assert server.commands[2] == nothing


def test_a_reason_without_end_is_not_waited_for() -> None:
    def act(connection: Connection) -> None:
        connection.send(b"334 ")
        while True:
            connection.send(b"QUJD" * 4096)

    with offering("XOAUTH2", act) as server:
        error = failure(server, **login())
    assert (type(error), error.fault) == (Misconfigured, Fault.BROKEN_REPLY)


@pytest.mark.parametrize("first", [SAYS, "go on"])
@pytest.mark.parametrize("second", [SAYS, "", told({"status": "500"})])
def test_a_second_reason_is_not_answered(first: str, second: str) -> None:
    with offering("XOAUTH2", refusing(f"334 {first}", f"334 {second}")) as server:
        error = failure(server, **login())
    assert (type(error), error.fault) == (Misconfigured, Fault.BROKEN_REPLY)
    assert error.token_refusal == (GIVEN if first == SAYS else None)
    assert len(server.commands) == 3


def test_two_reasons_at_once_are_not_shown() -> None:
    both = f"334 {SAYS}\r\n334 {told({'status': '400', 'of': 'somebody else'})}\r\n".encode()
    with offering("XOAUTH2", (both, hang)) as server:
        error = failure(server, **login())
    assert error.fault is Fault.BROKEN_REPLY
    assert "eyJ" not in error.text


@pytest.mark.parametrize("leaves", [close, "421 4.7.0 too many errors"])
def test_a_server_that_leaves_once_it_has_said_why_has_refused_the_token(leaves: Answer) -> None:
    with offering("XOAUTH2 OAUTHBEARER", refusing(f"334 {SAYS}", leaves)) as server:
        error = failure(server, **login())
    assert (type(error), error.token_refusal) == (Misconfigured, GIVEN)
    assert (error.code, error.text) == (None, "The server refused the token, and then left the conversation.")
    assert tried(server) == ["XOAUTH2"]


def test_a_server_that_falls_silent_once_it_has_said_why_has_refused_the_token() -> None:
    with offering("XOAUTH2", refusing(f"334 {SAYS}", late("535 5.7.8 no", 20))) as server:
        error = failure(server, **login(timeout_seconds=1))
    assert (type(error), error.token_refusal) == (Misconfigured, GIVEN)


@pytest.mark.parametrize("answer", [close, refusing("334 go on", close), "421 4.3.0 later", "454 4.7.0 not now"])
def test_a_server_that_leaves_without_a_reason_is_out_of_order_for_now(answer: Answer) -> None:
    with offering("XOAUTH2 OAUTHBEARER", answer) as server:
        error = failure(server, **login())
    assert (type(error), error.token_refusal) == (Temporary, None)


def test_a_temporary_refusal_after_the_reason_stays_temporary() -> None:
    with offering("XOAUTH2", refusing(f"334 {SAYS}", "454 4.7.0 not now")) as server:
        error = failure(server, **login())
    assert (type(error), error.code, error.token_refusal) == (Temporary, 454, GIVEN)


# Where the token comes from.


def test_the_token_is_asked_for_once_for_each_connection_before_it_is_made() -> None:
    asked: list[int] = []
    with bearer_server(good()) as server:

        def current() -> Secret:
            asked.append(len(server.connections))
            return Secret(TOKEN)

        sign_in(server, **login(current))
        sign_in(server, **login(current))
    assert asked == [0, 1]


@pytest.mark.parametrize(
    "trouble",
    [
        Misconfigured(Phase.SIGN_IN, Fault.REPLY, "needs sign-in again"),
        Temporary(Phase.SIGN_IN, Fault.TIMEOUT, "later"),
    ],
)
def test_where_there_is_no_token_nobody_is_connected_to_and_its_error_is_told(trouble: DeliveryError) -> None:
    def current() -> Secret:
        raise trouble

    steps: list[Step] = []
    with bearer_server(good()) as server, pytest.raises(DeliveryError) as caught:
        sign_in(server, steps.append, **login(current))
    assert caught.value is trouble
    assert [(step.name, step.status) for step in steps] == [(Phase.SIGN_IN, "failed")]
    assert server.connections == []


@pytest.mark.parametrize(
    "token", ["", "two words", "line\r\nbreak", "soh\1inside", "nul\0inside", "ü-not-ascii", "\ud800"]
)
def test_a_token_that_no_login_can_carry_is_not_in_the_error(token: str) -> None:
    with bearer_server(good()) as server, pytest.raises(ValueError, match="no sign-in method can send") as caught:
        sign_in(server, **login(token))
    assert "inside" not in repr(caught.value) + repr(caught.value.__cause__)
    assert tried(server) == []


@pytest.mark.parametrize("name", ["a\1b@shop.example", "a\r\nb", "a\0b", "\ud800"])
def test_a_user_name_that_would_end_its_place_is_not_sent(name: str) -> None:
    with bearer_server(good()) as server, pytest.raises(ValueError, match="no sign-in method can send"):
        sign_in(server, **login(username=name))
    assert tried(server) == []


def test_settings_with_a_token_show_nothing_of_it_and_are_the_same_after_its_renewal() -> None:
    with ScriptedServer() as server:
        now, then = (settings_for(server, **login(token)) for token in (TOKEN, "renewed"))
        other = settings_for(server, **login(bearer=by(grant="config:1/2")))
    assert now.has_login
    assert TOKEN not in repr(now) + repr(now.bearer)
    assert (now, hash(now)) == (then, hash(then))
    assert now != other
