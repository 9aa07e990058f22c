"""Sessions as pages know them: what a copied cookie is worth, the list at /account, and ending them there."""

import re

import pytest
from flask import Flask

from blueprints import access, sessions
from services import audit
from services.accounts import accounts, api_tokens
from services.audit import Action
from tests.turned_clock import Now
from tests.visitors import NEW_PASSWORD, PASSWORD, Visitor, make_alice, make_bob, visit
from utils import clock

FIREFOX = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"}
_END = re.compile(r'href="(/account/sessions/end\?session=[0-9a-f]+)"')


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    turned = Now()
    monkeypatch.setattr(clock, "now", turned)
    return turned


@pytest.fixture
def alice(app: Flask) -> Visitor:
    """Alice, an administrator, signed in."""
    make_alice(is_admin=True)
    visitor = visit(app)
    visitor.sign_in()
    return visitor


@pytest.fixture
def elsewhere(app: Flask, alice: Visitor) -> Visitor:
    """Alice in Firefox, remembered."""
    visitor = visit(app)
    fields = {"login": "alice", "password": PASSWORD, "remember": "1"}
    visitor.post_form("/login", fields, headers=FIREFOX, environ_base={"REMOTE_ADDR": "192.0.2.7"})
    return visitor


def copied(app: Flask, visitor: Visitor) -> Visitor:
    """A thief with a copy of every cookie."""
    thief = visit(app)
    for name in ("session", "pages", "device"):
        if held := visitor.get_cookie(f"sealpost_{name}"):
            thief.set_cookie(f"sealpost_{name}", held.value)
    return thief


def actions(action: Action) -> list[tuple[str, str, str]]:
    return [(event.actor, event.subject, event.details) for event in audit.events(action=action)]


@pytest.mark.parametrize("remember", ["", "1"])
def test_cookies_that_were_copied_before_signing_out_are_worth_nothing(app: Flask, remember: str) -> None:
    make_alice()
    visitor = visit(app)
    visitor.sign_in(remember=remember)
    thief = copied(app, visitor)
    assert thief.is_signed_in()
    assert visitor.post_form("/logout").location == "/login"
    assert not thief.is_signed_in()
    assert thief.get("/account").location == "/login?next=/account"
    assert actions(Action.SIGNED_OUT) == [("alice", "account alice", "")]


@pytest.mark.parametrize("how", ["a new password", "a reset", "all others ended", "signing in again"])
def test_nor_are_those_of_a_session_that_ended_otherwise(
    app: Flask, alice: Visitor, elsewhere: Visitor, how: str
) -> None:
    thief = copied(app, elsewhere)
    if how == "a new password":
        alice.post_form("/account/password", {"current_password": PASSWORD, "password": NEW_PASSWORD})
    elif how == "a reset":
        accounts.reset_password("alice", NEW_PASSWORD)
    elif how == "all others ended":
        alice.post_form("/account/sessions/end")
    else:
        elsewhere.sign_in()
    assert not thief.is_signed_in()


def test_the_cookie_holds_the_id_alone(alice: Visitor) -> None:
    held = alice.get_cookie("sealpost_session")
    assert held is not None
    assert re.fullmatch(r"[\w-]{43}", held.value)


def test_the_id_is_another_one_after_each_sign_in(alice: Visitor) -> None:
    before = alice.get_cookie("sealpost_session")
    alice.sign_in()
    assert alice.get_cookie("sealpost_session") != before


def test_a_csrf_token_is_good_in_its_session_alone(app: Flask, alice: Visitor, elsewhere: Visitor) -> None:
    token = alice.csrf_token()
    pages = alice.get_cookie("sealpost_pages")
    assert pages is not None
    elsewhere.set_cookie("sealpost_pages", pages.value)
    assert elsewhere.post("/account/sessions/end", data={"csrf_token": token}).status_code == 400
    assert alice.post("/account/sessions/end", data={"csrf_token": token}).status_code == 303


def test_signing_out_twice_is_told_once(app: Flask, alice: Visitor) -> None:
    again = copied(app, alice)
    token = again.csrf_token()
    alice.post_form("/logout")
    assert again.post("/logout", data={"csrf_token": token}).location == "/login?next=/"
    assert len(actions(Action.SIGNED_OUT)) == 1


def test_the_page_lists_this_session_and_the_others(alice: Visitor, elsewhere: Visitor) -> None:
    page = alice.get("/account").text
    assert page.count("This session") == 1
    assert page.index("This session") < page.index("Firefox on Linux")
    assert "from 192.0.2.7" in page
    assert page.count("kept signed in") == 1
    assert len(_END.findall(page)) == 1
    assert "Last seen" in page


def test_sessions_of_others_are_not_listed(app: Flask, alice: Visitor, elsewhere: Visitor) -> None:
    make_bob()
    bob = visit(app)
    bob.sign_in("bob")
    assert "Firefox" not in bob.get("/account").text
    path = _END.findall(alice.get("/account").text)[0]
    assert bob.get(path).status_code == 404
    assert bob.post_form("/account/sessions/end", {"session": path.partition("=")[2]}).status_code == 404
    assert elsewhere.is_signed_in()


def test_one_session_is_ended_after_asking(app: Flask, alice: Visitor, elsewhere: Visitor) -> None:
    third = visit(app)
    third.sign_in()
    path = next(path for path in _END.findall(alice.get("/account").text) if "Firefox" in alice.get(path).text)
    answer = alice.post_form("/account/sessions/end", {"session": path.partition("=")[2]})
    assert (answer.status_code, answer.location) == (303, "/account")
    assert "The session in Firefox on Linux has ended." in alice.get("/account").text
    assert (alice.is_signed_in(), elsewhere.is_signed_in(), third.is_signed_in()) == (True, False, True)
    assert actions(Action.SESSIONS_ENDED) == [("alice", "account alice", "one, Firefox on Linux")]
    assert alice.get(path).status_code == 404


def test_all_others_are_ended_with_the_tokens_if_that_was_ticked(alice: Visitor, elsewhere: Visitor) -> None:
    text, _ = api_tokens.create(1, "deploy")
    assert "Revoke my API tokens too" in alice.get("/account/sessions/end").text
    alice.post_form("/account/sessions/end")
    assert api_tokens.find_good(text)
    alice.post_form("/account/sessions/end", {"tokens": "1"})
    assert not api_tokens.find_good(text)
    assert "Revoke my API tokens too" not in alice.get("/account/sessions/end").text


@pytest.mark.parametrize("session", ["all others", "one"])
def test_after_ten_minutes_the_password_is_asked_for(
    alice: Visitor, elsewhere: Visitor, now: Now, session: str
) -> None:
    path = _END.findall(alice.get("/account").text)[0] if session == "one" else "/account/sessions/end"
    fields = {"session": path.partition("=")[2]} if session == "one" else {}
    assert "Current password" not in alice.get(path).text
    now.turn(601)
    assert "Current password" in alice.get(path).text
    answer = alice.post_form("/account/sessions/end", fields)
    assert (answer.status_code, elsewhere.is_signed_in()) == (422, True)
    assert "Enter your password" in answer.text
    answer = alice.post_form("/account/sessions/end", {**fields, "confirm_password": "wrong"})
    assert (answer.status_code, elsewhere.is_signed_in()) == (422, True)
    assert "This is not your current password." in answer.text
    assert alice.post_form("/account/sessions/end", {**fields, "confirm_password": PASSWORD}).status_code == 303
    assert not elsewhere.is_signed_in()
    assert "Current password" not in alice.get("/account/sessions/end").text


def test_a_confirmed_password_gives_the_session_another_id(app: Flask, elsewhere: Visitor, now: Now) -> None:
    now.turn(86_400)
    thief, token = copied(app, elsewhere), elsewhere.csrf_token()
    answer = elsewhere.post_form("/account/sessions/end", {"confirm_password": PASSWORD})
    assert answer.status_code == 303
    assert (elsewhere.is_signed_in(), thief.is_signed_in()) == (True, False)
    # A form that was open in another tab can be sent, and the session lives no longer than before.
    assert elsewhere.post("/account/email/withdraw", data={"csrf_token": token}).status_code == 303
    line = next(line for line in answer.headers.getlist("Set-Cookie") if line.startswith("sealpost_session="))
    seconds = re.search(r"Max-Age=([0-9]+);", line)
    assert seconds is not None
    assert int(seconds[1]) <= 29 * 86_400


def test_a_wrong_confirmation_leaves_the_id(alice: Visitor, now: Now) -> None:
    now.turn(601)
    before = alice.get_cookie("sealpost_session")
    assert alice.post_form("/account/sessions/end", {"confirm_password": "wrong"}).status_code == 422
    assert alice.get_cookie("sealpost_session") == before


def test_cookies_and_tokens_of_forms_are_signed_with_sha_256(alice: Visitor) -> None:
    token, pages = alice.csrf_token(), alice.get_cookie("sealpost_pages")
    assert pages is not None
    for signed in (pages.value, token):
        assert len(signed.rpartition(".")[2]) == 43  # 32 octets in base64; of SHA-1 it would be 27


def test_wrong_confirmations_are_limited_with_other_tries_of_the_own_password(alice: Visitor, now: Now) -> None:
    now.turn(601)
    wrong = {"confirm_password": "wrong", "current_password": "wrong", "password": NEW_PASSWORD}
    paths = ["/account/sessions/end", "/account/password"]
    answers = [alice.post_form(paths[number % 2], wrong).status_code for number in range(11)]
    assert answers == [422] * 10 + [429]
    assert alice.post_form("/account/sessions/end", {"confirm_password": PASSWORD}).status_code == 429
    now.turn(900)
    assert alice.post_form("/account/sessions/end", {"confirm_password": PASSWORD}).status_code == 303


def test_an_administrator_who_was_away_for_an_hour_signs_in_again(alice: Visitor, elsewhere: Visitor, now: Now) -> None:
    now.turn(3601)
    assert alice.get("/settings/smtp").location == "/login?next=/settings/smtp"
    assert elsewhere.is_signed_in()


def test_a_remembered_session_stays_so_after_a_new_password(app: Flask, elsewhere: Visitor, now: Now) -> None:
    elsewhere.post_form("/account/password", {"current_password": PASSWORD, "password": NEW_PASSWORD})
    now.turn(20 * 86_400)
    assert elsewhere.is_signed_in()


@pytest.fixture
def asked(app: Flask) -> list[int | None]:
    """What pages that are asked at /asked know of whose session the browser had."""
    known: list[int | None] = []

    def ask() -> str:
        known.append(sessions.ended_account())
        return ""

    app.add_url_rule("/asked", view_func=access.public(ask))
    return known


@pytest.mark.parametrize("path", ["/logout", "/account/sessions/end"])
def test_whose_session_a_browser_had_is_known_for_half_an_hour(
    asked: list[int | None], alice: Visitor, elsewhere: Visitor, now: Now, path: str
) -> None:
    ends, ended = (alice, alice) if path == "/logout" else (alice, elsewhere)
    ends.post_form(path)
    ended.get("/asked")
    now.turn(31 * 60)
    ended.get("/asked")
    assert asked == [1, None]


def test_who_has_a_session_or_never_had_one_had_none(app: Flask, asked: list[int | None], alice: Visitor) -> None:
    for visitor in (alice, visit(app)):
        visitor.get("/asked")
    assert asked == [None, None]
