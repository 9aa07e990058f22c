"""Accounts are invited, disabled, enabled, promoted, demoted, deleted; the last administrator stays."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import select

from database import user_db
from database.engine import reading, transaction
from database.outbox_db import OutboxMail, State
from database.reset_token_db import ResetToken
from database.smtp_db import SmtpConfig
from services import audit
from services.accounts import accounts, administration, api_tokens, password_reset
from services.accounts.accounts import Person
from services.outbox.reasons import Reason
from services.settings import configs
from services.settings.fields import parse_change
from tests.mails import queued
from tests.outbox import answer_requests, drain
from tests.recording_server import RecordingServer
from tests.visitors import (
    NEW_PASSWORD,
    PASSWORD,
    link_in,
    mail_through,
    make_alice,
    make_bob,
    subject_of,
    text_of,
)
from utils.errors import Conflict, Forbidden, InvalidInput, NotFound

pytestmark = pytest.mark.usefixtures("app")

Deed = Callable[[int], Person]
ENDS_AN_OFFICE = pytest.mark.parametrize(
    "deed", [administration.disable, administration.demote, administration.delete], ids=["disable", "demote", "delete"]
)


@pytest.fixture
def mail_server() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


@pytest.fixture
def environment(environment: dict[str, str], mail_server: RecordingServer) -> dict[str, str]:
    return environment | mail_through(mail_server)


def as_it_is(person: Person) -> Person:
    found = accounts.find(person.id)
    assert found is not None
    return found


def trail() -> list[tuple[str, str]]:
    return [(event.action, event.subject) for event in audit.events()]


def own_server(person: Person) -> None:
    """Give somebody a mail server of their own."""
    stored = configs.create(parse_change({"name": "Own", "smtp_server": "127.0.0.1", "from_email": "a@example.com"}))
    with transaction() as session:
        row = session.get(SmtpConfig, stored.row.id)
        assert row is not None
        row.account_id = person.id


@ENDS_AN_OFFICE
def test_the_last_administrator_stays(deed: Deed) -> None:
    alice = make_alice(is_admin=True)
    make_bob()
    with pytest.raises(Conflict) as refusal:
        deed(alice.id)
    assert "only administrator" in refusal.value.message
    assert as_it_is(alice) == alice
    assert accounts.authenticate("alice", PASSWORD)


@ENDS_AN_OFFICE
def test_beside_another_administrator_one_can_go(deed: Deed) -> None:
    alice, bob = make_alice(is_admin=True), make_bob(is_admin=True)
    deed(bob.id)
    with pytest.raises(Conflict):
        deed(alice.id)


@ENDS_AN_OFFICE
def test_an_administrator_who_is_disabled_is_no_other_one(deed: Deed) -> None:
    alice, bob = make_alice(is_admin=True), make_bob(is_admin=True)
    administration.disable(bob.id)
    with pytest.raises(Conflict):
        deed(alice.id)


@ENDS_AN_OFFICE
def test_an_administrator_who_was_only_invited_is_no_other_one(deed: Deed) -> None:
    alice = make_alice(is_admin=True)
    administration.invite("carol", "carol@example.com", is_admin=True)
    with pytest.raises(Conflict):
        deed(alice.id)


@ENDS_AN_OFFICE
def test_an_invited_administrator_can_go(deed: Deed) -> None:
    make_alice(is_admin=True)
    deed(administration.invite("carol", "carol@example.com", is_admin=True).id)


@ENDS_AN_OFFICE
def test_whoever_was_removed_acts_no_more(deed: Deed) -> None:
    alice, bob = make_alice(is_admin=True), make_bob(is_admin=True)
    accounts.create("carol", "carol@example.com", PASSWORD, is_admin=True)
    deed(alice.id)
    for late in (administration.disable, administration.demote, administration.delete, administration.promote):
        with pytest.raises(Forbidden):
            late(bob.id, by=alice.id)
    with pytest.raises(Forbidden):
        administration.invite("mallory", "mallory@example.net", is_admin=True, by=alice.id)


@pytest.mark.parametrize("account_id", [0, -1, 99, 2**31, 2**63])
def test_an_account_that_is_not_there_is_told_so(account_id: int) -> None:
    make_alice(is_admin=True)
    deeds: list[Deed] = [
        administration.disable,
        administration.enable,
        administration.promote,
        administration.demote,
        administration.delete,
        administration.invite_again,
        accounts.get,
    ]
    for deed in deeds:
        with pytest.raises(NotFound):
            deed(account_id)


def test_a_disabled_account_cannot_sign_in() -> None:
    make_alice(is_admin=True)
    administration.disable(make_bob().id)
    assert accounts.authenticate("bob", PASSWORD) is None
    assert accounts.authenticate("bob@example.com", PASSWORD) is None
    assert trail()[0] == ("sign_in_failed", "account bob")


def test_disabling_ends_sessions_for_good() -> None:
    make_alice(is_admin=True)
    bob = make_bob()
    administration.disable(bob.id)
    administration.enable(bob.id)
    assert as_it_is(bob).session_epoch > bob.session_epoch


def test_disabling_revokes_tokens_for_good() -> None:
    make_alice(is_admin=True)
    bob = make_bob(is_admin=True)
    text, _ = api_tokens.create(bob.id, "deploy")
    administration.disable(bob.id)
    assert api_tokens.find_good(text) is None
    administration.enable(bob.id)
    assert api_tokens.find_good(text) is None
    assert ("token_revoked", f"token deploy ({text[:15]}…) of bob") in trail()


def test_a_disabled_administrator_gets_no_new_token() -> None:
    make_alice(is_admin=True)
    bob = make_bob(is_admin=True)
    administration.disable(bob.id)
    with pytest.raises(NotFound):
        api_tokens.create(bob.id, "deploy")


def test_no_reset_mail_goes_to_a_disabled_account(mail_server: RecordingServer) -> None:
    make_alice(is_admin=True)
    administration.disable(make_bob().id)
    password_reset.request_reset("bob@example.com")
    assert answer_requests() == 1
    assert mail_server.mails == []


def test_a_request_made_before_leads_to_no_mail_after_disabling(mail_server: RecordingServer) -> None:
    make_alice(is_admin=True)
    bob = make_bob()
    password_reset.request_reset("bob@example.com")
    administration.disable(bob.id)
    answer_requests()
    assert mail_server.mails == []


def test_a_reset_mail_that_waits_is_withdrawn_by_disabling(mail_server: RecordingServer) -> None:
    make_alice(is_admin=True)
    bob = make_bob()
    password_reset.request_reset("bob@example.com")
    password_reset.process_requests()
    administration.disable(bob.id)
    drain()
    assert mail_server.mails == []


def test_a_reset_link_of_a_disabled_account_is_void_for_good(mail_server: RecordingServer) -> None:
    make_alice(is_admin=True)
    bob = make_bob()
    password_reset.request_reset("bob@example.com")
    answer_requests()
    token = link_in(mail_server.mails[0])[1]
    administration.disable(bob.id)
    assert not password_reset.redeem(token, NEW_PASSWORD)
    administration.enable(bob.id)
    assert not password_reset.redeem(token, NEW_PASSWORD)


def test_an_enabled_account_signs_in_with_the_password_that_it_had() -> None:
    make_alice(is_admin=True)
    bob = make_bob()
    administration.disable(bob.id)
    administration.enable(bob.id)
    assert accounts.authenticate("bob", PASSWORD)


def test_a_disabled_administrator_gets_no_notices_of_the_server() -> None:
    make_alice(is_admin=True)
    administration.disable(make_bob(is_admin=True).id)
    with reading() as session:
        assert user_db.administrator_emails(session) == ["alice@example.com"]


def test_a_demoted_administrator_keeps_what_is_its_own_but_for_its_tokens() -> None:
    make_alice(is_admin=True)
    bob = make_bob(is_admin=True)
    text, _ = api_tokens.create(bob.id, "deploy")
    own_server(bob)
    demoted = administration.demote(bob.id)
    assert (demoted.is_admin, demoted.session_epoch) == (False, bob.session_epoch)
    assert accounts.authenticate("bob", PASSWORD)
    assert administration.belongings(bob.id).servers == 1
    assert api_tokens.find_good(text) is None
    administration.promote(bob.id)
    assert api_tokens.find_good(text) is None


def test_deleting_takes_along_what_was_told() -> None:
    make_alice(is_admin=True)
    bob = make_bob(is_admin=True)
    api_tokens.create(bob.id, "deploy")
    own_server(bob)
    mail_id = queued("jane@example.com", account_id=bob.id)
    others = queued("jim@example.com")
    goes = administration.belongings(bob.id)
    assert (goes.tokens, goes.servers, goes.waiting_mails) == (1, 1, 1)
    administration.delete(bob.id)
    assert accounts.find(bob.id) is None
    assert api_tokens.every() == []
    with reading() as session:
        assert session.scalars(select(SmtpConfig)).all() == []
        mails = {mail.mail_id: mail for mail in session.scalars(select(OutboxMail))}
    assert mails[mail_id].state == State.HELD
    assert mails[mail_id].reason == Reason.ACCOUNT_DELETED
    assert mails[others].state == State.QUEUED


def test_the_trail_of_a_deleted_account_stays() -> None:
    make_alice(is_admin=True)
    administration.delete(make_bob().id)
    assert trail()[:2] == [("account_deleted", "account bob"), ("account_created", "account bob")]


def test_a_name_and_an_address_are_free_again_after_deleting() -> None:
    make_alice(is_admin=True)
    administration.delete(make_bob().id)
    assert make_bob()


def test_an_account_that_took_the_place_of_the_one_that_was_read_is_not_deleted() -> None:
    make_alice(is_admin=True)
    bob = make_bob()
    with pytest.raises(Conflict):
        administration.delete(bob.id, expected="carol")
    assert accounts.find(bob.id)


def test_every_deed_stands_in_the_trail_once() -> None:
    make_alice(is_admin=True)
    bob = make_bob()
    for deed in (administration.promote, administration.demote, administration.disable, administration.enable):
        deed(bob.id)
        deed(bob.id)
    administration.delete(bob.id)
    told = [action for action, subject in reversed(trail()) if subject == "account bob"]
    assert told == [
        "account_created",
        "account_promoted",
        "account_demoted",
        "account_disabled",
        "account_enabled",
        "account_deleted",
    ]


def test_whoever_is_invited_chooses_a_password_by_the_link(mail_server: RecordingServer) -> None:
    alice = make_alice(is_admin=True)
    carol = administration.invite("carol", "carol@example.com", by=alice.id)
    assert not carol.has_password
    drain()
    (mail,) = mail_server.mails
    assert mail.recipients == ("carol@example.com",)
    assert "alice created" in text_of(mail)
    base, token = link_in(mail)
    link = password_reset.find_valid(token)
    assert link is not None
    assert (base, link.username, link.is_invitation) == ("http://localhost:5000", "carol", True)
    assert password_reset.redeem(token, NEW_PASSWORD)
    assert accounts.authenticate("carol", NEW_PASSWORD)
    assert ("invitation_accepted", "account carol") in trail()


def test_no_notice_of_a_changed_password_follows_an_invitation(mail_server: RecordingServer) -> None:
    make_alice(is_admin=True)
    administration.invite("carol", "carol@example.com")
    drain()
    password_reset.redeem(link_in(mail_server.mails[0])[1], NEW_PASSWORD)
    drain()
    assert [subject_of(mail) for mail in mail_server.mails] == ["Your OpenAlgo account"]


@pytest.mark.parametrize("password", ["", " ", PASSWORD, "argon2", "\x00", "•" * 8])
def test_nobody_signs_in_before_that(password: str) -> None:
    make_alice(is_admin=True)
    administration.invite("carol", "carol@example.com")
    assert accounts.authenticate("carol", password) is None


@pytest.mark.parametrize(("hours", "is_good"), [(71, True), (73, False)])
def test_an_invitation_is_good_for_three_days(mail_server: RecordingServer, hours: int, is_good: bool) -> None:
    make_alice(is_admin=True)
    administration.invite("carol", "carol@example.com")
    drain()
    with transaction() as session:
        for row in session.scalars(select(ResetToken)):
            row.expires_at -= (row.expires_at - row.created_at) * hours / 72
    assert password_reset.redeem(link_in(mail_server.mails[0])[1], NEW_PASSWORD) is is_good


def test_a_second_invitation_voids_the_first(mail_server: RecordingServer) -> None:
    make_alice(is_admin=True)
    carol = administration.invite("carol", "carol@example.com")
    drain()
    administration.invite_again(carol.id)
    drain()
    first, second = (link_in(mail)[1] for mail in mail_server.mails)
    assert not password_reset.redeem(first, NEW_PASSWORD)
    assert password_reset.redeem(second, NEW_PASSWORD)


def test_whoever_has_a_password_is_not_invited_again() -> None:
    make_alice(is_admin=True)
    with pytest.raises(Conflict):
        administration.invite_again(make_bob().id)


@pytest.mark.parametrize("deed", [administration.disable, administration.delete])
def test_an_invitation_ends_with_its_account(mail_server: RecordingServer, deed: Deed) -> None:
    make_alice(is_admin=True)
    carol = administration.invite("carol", "carol@example.com")
    drain()
    deed(carol.id)
    assert not password_reset.redeem(link_in(mail_server.mails[0])[1], NEW_PASSWORD)


def test_whoever_lost_the_invitation_asks_for_a_reset(mail_server: RecordingServer) -> None:
    make_alice(is_admin=True)
    administration.invite("carol", "carol@example.com")
    drain()
    password_reset.request_reset("carol@example.com")
    answer_requests()
    assert password_reset.redeem(link_in(mail_server.mails[1])[1], NEW_PASSWORD)


@pytest.mark.parametrize(
    ("username", "email", "fields"),
    [
        ("", "", {"username", "email"}),
        ("bob", "carol@example.com", {"username"}),
        ("carol", "BOB@example.com", {"email"}),
        ("carol@example.com", "carol@example.com", {"username"}),
        ("carol", "carol", {"email"}),
    ],
)
def test_an_invitation_with_a_wrong_name_or_address_is_refused(username: str, email: str, fields: set[str]) -> None:
    make_bob()
    with pytest.raises(InvalidInput) as refusal:
        administration.invite(username, email)
    assert set(refusal.value.errors) == fields


def test_an_invited_first_administrator_ends_the_set_up_by_choosing_a_password(mail_server: RecordingServer) -> None:
    administration.invite("carol", "carol@example.com", is_admin=True)
    assert accounts.issue_setup_code() is not None
    drain()
    password_reset.redeem(link_in(mail_server.mails[0])[1], NEW_PASSWORD)
    assert accounts.issue_setup_code() is None
