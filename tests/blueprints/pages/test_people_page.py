"""``/settings/accounts``: administrators invite people, and disable, change and delete accounts; nobody else does."""

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import update

from database.engine import transaction
from database.session_db import BrowserSession
from services import audit
from services.accounts import accounts, administration, api_tokens
from tests.outbox import drain
from tests.recording_server import RecordingServer
from tests.visitors import NEW_PASSWORD, PASSWORD, Visitor, link_in, mail_through, make_bob, visit
from utils import clock

PAGE = "/settings/accounts"
DEEDS = ["disable", "enable", "promote", "demote", "delete", "invite", "sign-out"]


@pytest.fixture
def mail_server() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


@pytest.fixture
def environment(environment: dict[str, str], mail_server: RecordingServer) -> dict[str, str]:
    return environment | mail_through(mail_server)


def signed_in(app: Flask, login: str) -> Visitor:
    visitor = visit(app)
    assert visitor.sign_in(login).status_code == 303
    return visitor


def let_time_pass(minutes: int = 11) -> None:
    """Since everybody's sign-in."""
    seen = clock.now() - timedelta(minutes=minutes)
    with transaction() as session:
        session.execute(update(BrowserSession).values(proven_at=seen))


def test_the_page_shows_every_account_and_what_it_is(admin: Visitor) -> None:
    administration.disable(make_bob().id)
    administration.invite("carol", "carol@example.com", is_admin=True)
    page = admin.get(PAGE).text
    for text in ("alice@example.com", "bob@example.com", "carol@example.com", "Disabled", "Invited", "Active"):
        assert text in page


@pytest.mark.parametrize("deed", DEEDS)
def test_nobody_else_gets_in(app: Flask, admin: Visitor, deed: str) -> None:
    bob = make_bob()
    for visitor, status in ((signed_in(app, "bob"), 403), (visit(app), 303)):
        assert visitor.get(PAGE).status_code == status
        assert visitor.get(f"{PAGE}/{bob.id}/{deed}").status_code == status
        assert visitor.post_form(f"{PAGE}/{bob.id}/{deed}").status_code == status
        assert visitor.post_form(PAGE, {"username": "m", "email": "m@example.net"}).status_code == status
    assert [person.username for person in accounts.everybody()] == ["alice", "bob"]
    assert accounts.find(bob.id) == accounts.get(bob.id)


@pytest.mark.parametrize("deed", DEEDS)
def test_nothing_is_done_without_the_forms_own_token(admin: Visitor, deed: str) -> None:
    bob = make_bob()
    assert admin.post(f"{PAGE}/{bob.id}/{deed}").status_code == 400
    assert accounts.find(bob.id)


def test_a_disabled_account_is_out_at_once_everywhere(app: Flask, admin: Visitor) -> None:
    bob = make_bob(is_admin=True)
    token, _ = api_tokens.create(bob.id, "deploy")
    elsewhere, remembered = signed_in(app, "bob"), visit(app)
    remembered.sign_in("bob", remember="1")
    bearer = {"Authorization": f"Bearer {token}"}
    assert visit(app).get("/api/settings/smtp/configs", headers=bearer).status_code == 200
    assert admin.post_form(f"{PAGE}/{bob.id}/disable").location == PAGE
    assert not elsewhere.is_signed_in()
    assert not remembered.is_signed_in()
    assert visit(app).get("/api/settings/smtp/configs", headers=bearer).status_code == 401
    refused = visit(app).sign_in("bob")
    unknown = visit(app).sign_in("nobody")
    assert (refused.status_code, unknown.status_code) == (401, 401)
    assert "Wrong user name or password" in refused.text


def test_an_account_is_signed_out_everywhere(app: Flask, admin: Visitor) -> None:
    bob = make_bob()
    browsers = [signed_in(app, "bob"), signed_in(app, "bob")]
    assert "Every session of this account ends at once." in admin.get(f"{PAGE}/{bob.id}/sign-out").text
    assert admin.post_form(f"{PAGE}/{bob.id}/sign-out", {"username": "bob"}).status_code == 303
    assert not any(browser.is_signed_in() for browser in browsers)
    assert admin.is_signed_in() and signed_in(app, "bob").is_signed_in()


def test_an_enabled_account_signs_in_again_but_old_cookies_stay_worthless(app: Flask, admin: Visitor) -> None:
    bob = make_bob()
    elsewhere = signed_in(app, "bob")
    admin.post_form(f"{PAGE}/{bob.id}/disable")
    admin.post_form(f"{PAGE}/{bob.id}/enable")
    assert not elsewhere.is_signed_in()
    assert signed_in(app, "bob").is_signed_in()


def test_a_demoted_administrator_stays_signed_in_and_is_one_no_more(app: Flask, admin: Visitor) -> None:
    bob = make_bob(is_admin=True)
    elsewhere = signed_in(app, "bob")
    admin.post_form(f"{PAGE}/{bob.id}/demote")
    assert elsewhere.is_signed_in()
    assert elsewhere.get("/settings/smtp").status_code == 403


def test_deleting_asks_first_and_says_what_goes(admin: Visitor) -> None:
    bob = make_bob(is_admin=True)
    api_tokens.create(bob.id, "one")
    api_tokens.create(bob.id, "two")
    question = admin.get(f"{PAGE}/{bob.id}/delete")
    assert "2 API tokens" in question.text
    assert "of its own" not in question.text  # it has no server
    assert accounts.find(bob.id)
    admin.post_form(f"{PAGE}/{bob.id}/delete", {"username": "bob"})
    assert accounts.find(bob.id) is None


def test_a_session_of_a_deleted_account_is_not_one_of_the_next_account(app: Flask, admin: Visitor) -> None:
    bob = make_bob()
    elsewhere = signed_in(app, "bob")
    admin.post_form(f"{PAGE}/{bob.id}/delete", {"username": "bob"})
    accounts.create("carol", "carol@example.com", PASSWORD, is_admin=True)
    assert not elsewhere.is_signed_in()


def test_a_stale_question_deletes_nobody_else(admin: Visitor) -> None:
    bob = make_bob()
    answer = admin.post_form(f"{PAGE}/{bob.id}/delete", {"username": "carol"})
    assert answer.status_code == 409
    assert "replaced by another" in answer.text
    assert accounts.find(bob.id)


@pytest.mark.parametrize("deed", ["disable", "demote", "delete"])
def test_the_only_administrator_is_told_so_before_and_refused_after(admin: Visitor, deed: str) -> None:
    alice = accounts.everybody()[0]
    question = admin.get(f"{PAGE}/{alice.id}/{deed}").text
    assert "only administrator" in question
    assert f'action="{PAGE}/' not in question
    answer = admin.post_form(f"{PAGE}/{alice.id}/{deed}", {"username": "alice"})
    assert answer.status_code == 409
    assert "alice is the only administrator" in answer.text
    assert admin.get(PAGE).status_code == 200


def test_an_administrator_may_leave_when_there_is_another(admin: Visitor) -> None:
    make_bob(is_admin=True)
    alice = accounts.everybody()[0]
    assert "your own account" in admin.get(f"{PAGE}/{alice.id}/disable").text
    admin.post_form(f"{PAGE}/{alice.id}/disable")
    assert not admin.is_signed_in()


@pytest.mark.parametrize("account_id", ["0", "99", str(2**31), str(2**64)])
@pytest.mark.parametrize("deed", [*DEEDS, "rename"])
def test_who_is_not_there_is_not_found(admin: Visitor, account_id: str, deed: str) -> None:
    assert admin.get(f"{PAGE}/{account_id}/{deed}").status_code == 404
    assert admin.post_form(f"{PAGE}/{account_id}/{deed}").status_code == 404


def test_whoever_is_invited_chooses_a_password_and_is_in(
    app: Flask, admin: Visitor, mail_server: RecordingServer, capfd: pytest.CaptureFixture[str]
) -> None:
    answer = admin.post_form(PAGE, {"username": "carol", "email": "carol@example.com"}, follow_redirects=True)
    assert "on its way to carol@example.com" in answer.text
    drain()
    _, token = link_in(mail_server.mails[0])
    carol = visit(app)
    form = carol.get(f"/reset-password?token={token}", follow_redirects=True).text
    assert "Choose your password" in form
    assert re.search(r'<input[^>]*name="username"[^>]*value="carol"', form)
    assert carol.post_form("/reset-password", {"password": NEW_PASSWORD}).location == "/login"
    assert carol.sign_in("carol", NEW_PASSWORD).status_code == 303
    printed = "".join(capfd.readouterr())
    assert token not in answer.text + printed + str([vars(event) for event in audit.events()])


def test_an_invited_administrator_is_one(app: Flask, admin: Visitor, mail_server: RecordingServer) -> None:
    admin.post_form(PAGE, {"username": "carol", "email": "carol@example.com", "is_admin": "1"})
    drain()
    carol = visit(app)
    carol.get(f"/reset-password?token={link_in(mail_server.mails[0])[1]}", follow_redirects=True)
    carol.post_form("/reset-password", {"password": NEW_PASSWORD})
    carol.sign_in("carol", NEW_PASSWORD)
    assert carol.get(PAGE).status_code == 200


def test_another_link_can_be_sent(admin: Visitor, mail_server: RecordingServer) -> None:
    carol = administration.invite("carol", "carol@example.com")
    assert "Send another link" in admin.get(PAGE).text
    assert admin.post_form(f"{PAGE}/{carol.id}/invite").status_code == 303
    drain()
    assert [mail.recipients for mail in mail_server.mails] == [("carol@example.com",)]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"username": "", "email": ""}, "Enter a user name."),
        ({"username": "bob", "email": "x@example.com"}, "That user name is already in use"),
        ({"username": "x", "email": "BOB@example.com"}, "That address is already in use"),
    ],
)
def test_a_refused_invitation_keeps_what_was_typed(admin: Visitor, fields: dict[str, str], said: str) -> None:
    make_bob()
    answer = admin.post_form(PAGE, {**fields, "is_admin": "1"})
    assert answer.status_code == 422
    assert said in answer.text
    assert f'value="{fields["email"]}"' in answer.text
    assert re.search(r'<input[^>]*name="is_admin"[^>]* checked', answer.text)


@pytest.mark.parametrize("deed", ["disable", "promote", "delete"])
def test_ten_minutes_after_the_sign_in_the_password_is_asked_for(admin: Visitor, deed: str) -> None:
    bob = make_bob()
    let_time_pass()
    question = admin.get(f"{PAGE}/{bob.id}/{deed}")
    assert 'name="confirm_password"' in question.text
    fields = {"username": "bob"}
    assert admin.post_form(f"{PAGE}/{bob.id}/{deed}", fields).status_code == 422
    assert admin.post_form(f"{PAGE}/{bob.id}/{deed}", fields | {"confirm_password": "wrong"}).status_code == 422
    assert accounts.find(bob.id) == bob
    assert admin.post_form(f"{PAGE}/{bob.id}/{deed}", fields | {"confirm_password": PASSWORD}).status_code == 303
    assert accounts.find(bob.id) != bob


@pytest.mark.parametrize("deed", ["enable", "invite"])
def test_what_the_list_does_at_once_asks_for_the_password_in_a_question_then(admin: Visitor, deed: str) -> None:
    carol = administration.invite("carol", "carol@example.com")
    if deed == "enable":
        administration.disable(carol.id)
    let_time_pass()
    answer = admin.post_form(f"{PAGE}/{carol.id}/{deed}")
    assert answer.status_code == 422
    assert 'name="confirm_password"' in answer.text
    assert admin.post_form(f"{PAGE}/{carol.id}/{deed}", {"confirm_password": PASSWORD}).status_code == 303


def test_an_invitation_asks_for_the_password_then_and_keeps_what_was_typed(admin: Visitor) -> None:
    let_time_pass()
    fields = {"username": "carol", "email": "carol@example.com"}
    refused = admin.post_form(PAGE, fields)
    assert refused.status_code == 422
    assert 'value="carol@example.com"' in refused.text
    assert admin.post_form(PAGE, fields | {"confirm_password": PASSWORD}).status_code == 303


def test_a_name_is_shown_and_never_markup(admin: Visitor) -> None:
    evil = accounts.create("<script>alert(1)</script> 100%s", "x@example.com", PASSWORD)
    for path in (PAGE, *(f"{PAGE}/{evil.id}/{deed}" for deed in ("disable", "promote", "delete"))):
        page = admin.get(path)
        assert page.status_code == 200
        assert "<script>alert" not in page.text


def test_every_deed_names_who_did_it(admin: Visitor) -> None:
    bob = make_bob()
    for deed in ("promote", "demote", "disable", "enable", "delete"):
        admin.post_form(f"{PAGE}/{bob.id}/{deed}", {"username": "bob"})
    done = [(event.actor, event.action) for event in audit.events() if event.subject == "account bob"][:5]
    assert done == [
        ("alice", "account_deleted"),
        ("alice", "account_enabled"),
        ("alice", "account_disabled"),
        ("alice", "account_demoted"),
        ("alice", "account_promoted"),
    ]


def test_whoever_was_demoted_meanwhile_does_nothing_more(app: Flask, admin: Visitor) -> None:
    bob = make_bob(is_admin=True)
    his = signed_in(app, "bob")
    alice = accounts.everybody()[0]
    administration.demote(bob.id)
    assert his.post_form(f"{PAGE}/{alice.id}/disable").status_code == 403
    assert accounts.authenticate("alice", PASSWORD)
