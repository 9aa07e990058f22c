"""Nothing of a token is shown, in no encoding, and no piece of one: servers cut what they repeat, and so do we."""

import base64
import json
import random
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.smtp.client import SmtpClient, Step
from services.smtp.dialogue import Dialogue
from services.smtp.pool import Pool, PoolLimits
from services.smtp.settings import Bearer, Security
from tests import certificates
from tests.bearer_server import BearerSide, bearer_server
from tests.scripted_server import Answer, ScriptedServer
from tests.secret_canaries import ACCESS_TOKEN
from tests.secret_encodings import SPEAKABLE
from tests.secret_scanner import found_in
from tests.sign_in import offering
from tests.smtp_clients import PARCEL, policy, settings_for
from utils.errors import DeliveryError, TokenRefusal
from utils.log_utils import SURE_PIECE, Redactor
from utils.secret import Secret

MAILBOX: Final = "orders@shop.example"
BLOB: Final = f"user={MAILBOX}\1auth=Bearer {ACCESS_TOKEN}\1\1"
# As long as Microsoft's are, and by no chance like anything else.
LONG: Final = base64.urlsafe_b64encode(random.Random(7).randbytes(1800)).decode()


def login(token: str = ACCESS_TOKEN) -> dict[str, Any]:
    return {"username": MAILBOX, "bearer": Bearer("config:1/1", Secret(token))}


def all_shown(server: ScriptedServer, token: str = ACCESS_TOKEN) -> tuple[str, DeliveryError | None]:
    """Sign in, and give all that an administrator could read of it, with the error."""
    steps: list[Step] = []
    settings = settings_for(server, security=Security.TLS, **login(token))
    talk = Dialogue(settings, steps.append)
    error: DeliveryError | None = None
    try:
        with SmtpClient(settings, policy(), talk=talk):
            pass
    except DeliveryError as caught:
        error = caught
    assert talk.transcript
    told = [error.text, repr(error), str(vars(error))] if error else []
    return "\n".join([*talk.transcript.lines(), *(step.fact for step in steps), repr(settings), *told]), error


def pieces_in(shown: str, secret: str) -> list[str]:
    """The pieces of a secret that are long enough to be told from chance, and still stand there."""
    places = range(len(secret) - SURE_PIECE + 1)
    return [piece for at in places if (piece := secret[at : at + SURE_PIECE]) in shown]


@pytest.mark.parametrize("token", [ACCESS_TOKEN, LONG])
@pytest.mark.parametrize("dialect", ["google", "microsoft"])
@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
@pytest.mark.parametrize("mailbox", [MAILBOX, "another@shop.example"])
def test_a_sign_in_by_token_shows_the_mechanism_and_the_answer_alone(
    token: str, dialect: str, mechanism: str, mailbox: str
) -> None:
    with bearer_server(BearerSide({token: {mailbox}}, dialect), mechanism) as server:
        shown, error = all_shown(server, token)
    assert (error is None) is (mailbox == MAILBOX)
    assert f"C: AUTH {mechanism}" in shown
    assert found_in(shown.encode(), {"token": [token]}) == set()
    for hidden in (token, base64.b64encode(token.encode()).decode(), "eyJ"):
        assert hidden not in shown


def test_the_transcript_tells_why_a_token_is_refused_and_hides_the_challenge() -> None:
    with bearer_server(BearerSide({}, "google"), "XOAUTH2") as server:
        shown, error = all_shown(server)
    assert "S: 334 ••••\n" in shown
    assert "* The server does not accept the token: status 400, scope https://mail.google.com/" in shown
    assert error
    assert error.token_refusal == TokenRefusal("400", "https://mail.google.com/")


@pytest.mark.parametrize("said", [ACCESS_TOKEN, BLOB], ids=["token", "blob"])
@pytest.mark.parametrize("encoding", SPEAKABLE)
@pytest.mark.parametrize("where", ["GREETING", "EHLO", "334", "535", "235"])
def test_a_server_that_repeats_a_token_cannot_bring_it_into_a_text(where: str, encoding: str, said: str) -> None:
    echo = SPEAKABLE[encoding](said.replace("\1", " ") if encoding == "raw" else said)
    hello = b"250-scripted.test\r\n250-" + echo + b"\r\n250 AUTH XOAUTH2\r\n"
    challenge = base64.b64encode(json.dumps({"status": "400", "scope": echo.decode()}).encode())
    answers: dict[str, Answer] = {
        "334": (b"334 " + challenge + b"\r\n", _hear, "535 5.7.8 no"),
        "535": b"535 5.7.8 wrong: " + echo + b" indeed\r\n",
    }
    script: dict[str, Answer | list[Answer]] = {
        "GREETING": b"220 scripted.test ESMTP " + echo + b"\r\n" if where == "GREETING" else "220 scripted.test ESMTP",
        "EHLO": hello if where == "EHLO" else "250-scripted.test\n250 AUTH XOAUTH2",
        "AUTH": answers.get(where, b"235 2.7.0 welcome " + echo + b"\r\n"),
    }
    with ScriptedServer(script, tls=certificates.good_context(), implicit=True) as server:
        shown, _ = all_shown(server)
    assert found_in(shown.encode(), {"token": [ACCESS_TOKEN]}) == set()
    if where == "535":
        assert "wrong: " in shown


def _hear(connection: Any) -> None:
    connection.line()


CUTS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "from the front": lambda said: said[:-9],
    "from behind": lambda said: said[9:],
    "in the middle": lambda said: said[:700] + b"..." + said[703:],
    "after 512 octets": lambda said: said[:512],
    "the last octets": lambda said: said[-40:],
    "in lines": lambda said: b" ".join(said[at : at + 76] for at in range(0, len(said), 76)),
}


@pytest.mark.parametrize("encoding", ["raw", "base64, first alignment", "URL-safe base64, third alignment", "hex"])
@pytest.mark.parametrize("cut", CUTS)
def test_pieces_of_what_a_server_repeats_are_hidden_too(cut: str, encoding: str) -> None:
    whole = SPEAKABLE[encoding](LONG)
    with offering("XOAUTH2", b"500 5.5.6 line too long: " + CUTS[cut](whole) + b"\r\n") as server:
        shown, error = all_shown(server, LONG)
    assert error
    assert "line too long: " in error.text
    assert pieces_in(shown, whole.decode()) == []


def test_the_piece_that_our_own_limit_cuts_off_is_hidden() -> None:
    with offering("XOAUTH2", b"535 5.7.8 " + b"no such token " + LONG.encode() + b"\r\n") as server:
        shown, error = all_shown(server, LONG)
    assert error
    assert error.text.endswith("no such token [redacted]")
    assert pieces_in(shown, LONG) == []


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_piece_of_any_form_is_taken_out_and_what_stands_around_it_stays(data: st.DataObject) -> None:
    names = sorted({*SPEAKABLE} - {"AUTH PLAIN"})  # which begins with the user name
    # The first and last characters of base64 belong to what stands beside the token, too.
    form = SPEAKABLE[data.draw(st.sampled_from(names))](LONG).decode().strip("\"'")[4:-4]
    start = data.draw(st.integers(0, len(form) - SURE_PIECE))
    end = data.draw(st.integers(start + SURE_PIECE, len(form)))
    text = Redactor([], [LONG])(f"<<< {form[start:end]} >>>")
    assert pieces_in(text, form) == []
    assert (text[:4], text[-4:]) == ("<<< ", " >>>")


@given(text=st.text(max_size=200))
@settings(max_examples=100, deadline=None)
def test_what_is_of_no_token_stays_as_it_is(text: str) -> None:
    assert Redactor([], [LONG])(text) == Redactor([])(text)


@pytest.mark.parametrize(
    "text", ["250 2.0.0 Ok: queued as 4Zx1yB2kQ3z4Kl", "250 2.0.0 OK  1764345600 5b1f17b1804b1-4 - gsmtp", ""]
)
def test_an_answer_that_names_a_mail_keeps_the_name(text: str) -> None:
    assert Redactor([], [LONG])(text) == text


def test_no_key_of_the_pool_holds_a_token_and_a_renewed_one_keeps_the_connection() -> None:
    side = BearerSide({"first": {MAILBOX}, "second": {MAILBOX}, "third": {MAILBOX}})
    pool = Pool(PoolLimits(size=2))
    with bearer_server(side) as server:
        for grant, token in (("config:1/1", "first"), ("config:1/1", "second"), ("config:1/2", "third")):
            bearer = Bearer(grant, Secret(token))
            each = settings_for(server, security=Security.TLS, username=MAILBOX, bearer=bearer)
            pool.send(each, policy(), PARCEL, owner="config:1")
            keys = list(pool._lanes)
            assert [key[0].bearer.token for key in keys if key[0].bearer] == [Secret("")]
        pool.close()
    assert side.tokens == ["first", "third"]  # the grant is another one: what was open by the former is closed


def test_a_living_connection_asks_for_no_token() -> None:
    asked: list[str] = []

    def current() -> Secret:
        asked.append("token")
        return Secret(ACCESS_TOKEN)

    pool = Pool(PoolLimits(size=2))
    with bearer_server(BearerSide({ACCESS_TOKEN: {MAILBOX}})) as server:
        each = settings_for(server, security=Security.TLS, username=MAILBOX, bearer=Bearer("config:1/1", current))
        for _ in range(3):
            pool.send(each, policy(), PARCEL, owner="config:1")
        pool.close()
    assert asked == ["token"]
