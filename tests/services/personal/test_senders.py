"""From addresses of accounts: only once a link that was mailed there is followed."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select, update

from database.engine import reading, transaction
from database.sender_db import AccountSender
from database.smtp_db import SmtpConfig
from database.user_db import Account
from services import audit
from services.accounts import administration
from services.accounts.accounts import Person
from services.personal import senders
from tests.outbox import drain, row_of
from tests.recording_server import RecordedMail, RecordingServer
from tests.visitors import mail_through, make_alice, make_bob, subject_of, text_of
from utils import clock
from utils.errors import Conflict, Forbidden, InvalidInput, NotFound, TooMany

pytestmark = pytest.mark.usefixtures("app")
SALES = "sales@shop.example"


@pytest.fixture
def environment(environment: dict[str, str], mail_server: RecordingServer) -> dict[str, str]:
    return environment | mail_through(mail_server)


@pytest.fixture
def alice(app: Flask) -> Person:
    return make_alice()


def mailed_to(server: RecordingServer, address: str) -> list[RecordedMail]:
    drain()
    return [mail for mail in server.mails if mail.recipients == (address,)]


def token_for(server: RecordingServer, address: str = SALES) -> str:
    """The token of the newest link that was mailed there."""
    found = re.search(r"http://localhost:5000/confirm-sender\?token=([\w-]+)", text_of(mailed_to(server, address)[-1]))
    assert found, "no link"
    return found[1]


def own_server(account_id: int, *, login: str = "apikey", from_email: str = SALES) -> int:
    """A server that this account has brought, as a row alone."""
    now = clock.now()
    with transaction() as session:
        row = SmtpConfig(account_id=account_id, name="Own server", smtp_server="smtp.shop.example", smtp_port=587)
        row.smtp_username, row.from_email, row.use_tls, row.use_ssl, row.is_active = (
            login,
            from_email,
            True,
            False,
            True,
        )
        row.key_id, row.binding_mac, row.created_at, row.updated_at = "", "", now, now
        session.add(row)
        session.flush()
        return row.id


def age(by: timedelta) -> None:
    with transaction() as session:
        for row in session.scalars(select(AccountSender).where(AccountSender.expires_at.is_not(None))):
            assert row.expires_at
            row.expires_at -= by


def events_of(action: audit.Action) -> list[tuple[str, str, str]]:
    return [(event.actor, event.subject, event.details) for event in audit.events(action=action)]


def test_a_sender_can_be_used_once_its_link_is_followed(alice: Person, mail_server: RecordingServer) -> None:
    added = senders.add(alice.id, SALES)
    assert not added.is_confirmed
    assert not senders.may_use(alice.id, SALES)
    asked = senders.confirm(token_for(mail_server))
    assert asked
    assert (asked.username, asked.email) == ("alice", SALES)
    assert senders.may_use(alice.id, SALES)
    assert [(each.email, each.is_confirmed) for each in senders.every(alice.id)] == [(SALES, True)]


def test_the_link_goes_through_the_global_server_as_mail_of_the_system(
    alice: Person, mail_server: RecordingServer
) -> None:
    own_server(alice.id)
    senders.add(alice.id, SALES)
    mail = mailed_to(mail_server, SALES)[0]
    assert mail.sender == "noreply@example.com"
    assert subject_of(mail) == "Confirm a sender address for OpenAlgo"
    assert "The OpenAlgo account alice wants to send email from sales@shop.example." in text_of(mail)
    with reading() as session:
        (row,) = session.scalars(select(AccountSender))
    assert row.mail_id
    assert row_of(row.mail_id).account_id is None


def test_of_a_link_only_the_digest_is_stored(alice: Person, mail_server: RecordingServer) -> None:
    senders.add(alice.id, SALES)
    token = token_for(mail_server)
    with reading() as session:
        (row,) = session.scalars(select(AccountSender))
    assert token not in str(vars(row))
    assert row.token_hash


def test_a_link_works_once(alice: Person, mail_server: RecordingServer) -> None:
    senders.add(alice.id, SALES)
    token = token_for(mail_server)
    assert senders.find_valid(token)
    assert senders.find_valid(token)
    assert senders.confirm(token)
    assert senders.confirm(token) is None
    assert senders.find_valid(token) is None


def test_of_many_who_follow_a_link_at_once_one_confirms(
    app: Flask, alice: Person, mail_server: RecordingServer
) -> None:
    senders.add(alice.id, SALES)
    token = token_for(mail_server)

    def follow(_number: int) -> bool:
        with app.app_context():
            return senders.confirm(token) is not None

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(follow, range(16))) == 1
    assert len(events_of(audit.Action.SENDER_CONFIRMED)) == 1


@pytest.mark.parametrize(("minutes", "is_good"), [(24 * 60 - 1, True), (24 * 60, False), (24 * 60 + 1, False)])
def test_a_link_is_good_for_a_day(alice: Person, mail_server: RecordingServer, minutes: int, is_good: bool) -> None:
    senders.add(alice.id, SALES)
    token = token_for(mail_server)
    age(timedelta(minutes=minutes))
    assert (senders.confirm(token) is not None) is is_good
    assert senders.may_use(alice.id, SALES) is is_good
    assert senders.every(alice.id)[0].has_expired is not is_good


@pytest.mark.parametrize("token", ["", "-", "x" * 5000, "\x00", "' OR 1=1 --", "\ud800"])
def test_a_made_up_link_is_not_good(alice: Person, token: str) -> None:
    senders.add(alice.id, SALES)
    assert senders.find_valid(token) is None
    assert senders.confirm(token) is None


def test_the_link_of_a_disabled_account_is_not_good(alice: Person, mail_server: RecordingServer) -> None:
    senders.add(alice.id, SALES)
    token = token_for(mail_server)
    administration.disable(alice.id)
    assert senders.confirm(token) is None


def test_what_ended_with_a_disabled_account_does_not_come_back(alice: Person, mail_server: RecordingServer) -> None:
    senders.add(alice.id, SALES)
    token = token_for(mail_server)
    administration.disable(alice.id)
    administration.enable(alice.id)
    assert senders.confirm(token) is None
    (sender,) = senders.every(alice.id)
    assert sender.has_expired
    senders.send_again(alice.id, sender.id)
    assert senders.confirm(token_for(mail_server))


@pytest.mark.parametrize("end", [administration.disable, administration.delete], ids=["disabled", "deleted"])
def test_a_link_that_still_waits_is_not_mailed_for_an_account_that_is_gone(
    alice: Person, mail_server: RecordingServer, end: Callable[[int], object]
) -> None:
    senders.add(alice.id, SALES)
    end(alice.id)
    assert mailed_to(mail_server, SALES) == []


def test_a_confirmed_sender_stays_when_the_account_is_disabled_and_enabled(
    alice: Person, mail_server: RecordingServer
) -> None:
    senders.add(alice.id, SALES)
    senders.confirm(token_for(mail_server))
    administration.disable(alice.id)
    administration.enable(alice.id)
    assert senders.may_use(alice.id, SALES)


def test_another_link_makes_the_one_before_void(alice: Person, mail_server: RecordingServer) -> None:
    sender = senders.add(alice.id, SALES)
    first = token_for(mail_server)
    senders.send_again(alice.id, sender.id)
    second = token_for(mail_server)
    assert senders.confirm(first) is None
    assert senders.confirm(second)


def test_a_link_that_still_waits_when_it_becomes_void_is_not_mailed(
    alice: Person, mail_server: RecordingServer
) -> None:
    sender = senders.add(alice.id, SALES)
    senders.send_again(alice.id, sender.id)
    assert len(mailed_to(mail_server, SALES)) == 1


def test_to_add_an_address_twice_mails_the_link_again(alice: Person, mail_server: RecordingServer) -> None:
    first = senders.add(alice.id, SALES)
    assert senders.add(alice.id, "Sales@SHOP.example").id == first.id
    senders.confirm(token_for(mail_server))
    assert senders.add(alice.id, SALES).is_confirmed
    assert len(mailed_to(mail_server, SALES)) == 1


def test_what_is_confirmed_is_not_mailed_again(alice: Person, mail_server: RecordingServer) -> None:
    sender = senders.add(alice.id, SALES)
    senders.confirm(token_for(mail_server))
    with pytest.raises(Conflict):
        senders.send_again(alice.id, sender.id)


def test_two_accounts_may_confirm_one_address(alice: Person, mail_server: RecordingServer) -> None:
    bob = make_bob()
    for account in (alice, bob):
        senders.add(account.id, SALES)
        asked = senders.confirm(token_for(mail_server))
        assert asked
        assert asked.username == account.username
    assert senders.may_use(alice.id, SALES)
    assert senders.may_use(bob.id, SALES)


def test_what_one_account_confirmed_is_not_anothers(alice: Person, mail_server: RecordingServer) -> None:
    bob = make_bob()
    sender = senders.add(alice.id, SALES)
    senders.confirm(token_for(mail_server))
    assert not senders.may_use(bob.id, SALES)
    assert senders.every(bob.id) == []
    for act in (senders.remove, senders.send_again):
        with pytest.raises(NotFound):
            act(bob.id, sender.id)
    assert senders.may_use(alice.id, SALES)


@pytest.mark.parametrize(
    ("email", "may"),
    [
        ("alice@example.com", True),  # its own address
        ("Alice@EXAMPLE.com", True),
        ("bob@example.com", False),
        ("alice@example.com.", False),
        ("alice@example.org", False),
        ("apikey", False),
        ("", False),
        ("Alice <alice@example.com>", False),
        ("alice@example.com, bob@example.com", False),
        ("alice@example.com\n", False),
        ("\ud800@example.com", False),
    ],
)
def test_without_confirming_an_account_may_use_its_own_address_alone(alice: Person, email: str, may: bool) -> None:
    assert senders.may_use(alice.id, email) is may


def test_the_login_of_its_own_server_may_be_used(alice: Person) -> None:
    bob = make_bob()
    own_server(alice.id, login="Orders@shop.example")
    assert senders.may_use(alice.id, "orders@shop.example")
    assert not senders.may_use(bob.id, "orders@shop.example")


def test_an_address_that_the_account_no_longer_has_must_be_confirmed(alice: Person) -> None:
    with transaction() as session:
        session.execute(
            update(Account).where(Account.id == alice.id).values(email="new@example.net", email_key="new@example.net")
        )
    assert not senders.may_use(alice.id, "alice@example.com")
    assert senders.may_use(alice.id, "new@example.net")


def test_an_account_that_there_is_not_may_use_nothing(alice: Person) -> None:
    assert not senders.may_use(alice.id + 1, "alice@example.com")


@pytest.mark.parametrize(
    ("confirmed", "other", "may"),
    [
        ("info@straße.example", "info@xn--strae-oqa.example", True),
        ("info@xn--strae-oqa.example", "info@STRASSE.example", False),  # another domain, whatever folding says
        ("info@straße.example", "info@strasse.example", False),
        ("straße@shop.example", "strasse@shop.example", False),
        ("info@bücher.example", "INFO@BÜCHER.example", True),
        ("sales@shop.example", "sales+x@shop.example", False),
        ("s.ales@shop.example", "sales@shop.example", False),
    ],
)
def test_addresses_are_compared_so_that_no_two_mailboxes_are_one(
    alice: Person, mail_server: RecordingServer, confirmed: str, other: str, may: bool
) -> None:
    senders.add(alice.id, confirmed)
    with transaction() as session:
        session.execute(update(AccountSender).values(confirmed_at=clock.now()))
    assert senders.may_use(alice.id, confirmed)
    assert senders.may_use(alice.id, other) is may


@pytest.mark.parametrize(
    "email",
    ["", "sales", "a@b@c.example", "Sales <sales@shop.example>", "a@x.example, b@y.example", "a..b@shop.example",
     "a@[127.0.0.1]", "x" * 300 + "@shop.example", "a@shop.example\r\nRCPT TO:<b@x>", "\ud800@shop.example", "a@127.1"],
)  # fmt: skip
def test_what_is_no_address_is_told_so_and_mails_nothing(
    alice: Person, mail_server: RecordingServer, email: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        senders.add(alice.id, email)
    assert list(refused.value.errors) == ["email"]
    assert drain() == 0
    assert senders.every(alice.id) == []


def test_a_sender_that_is_removed_cannot_be_used_and_its_link_is_void(
    alice: Person, mail_server: RecordingServer
) -> None:
    sender = senders.add(alice.id, SALES)
    token = token_for(mail_server)
    senders.remove(alice.id, sender.id)
    assert senders.confirm(token) is None
    senders.add(alice.id, SALES)
    senders.confirm(token_for(mail_server))
    assert senders.may_use(alice.id, SALES)
    senders.remove(alice.id, senders.every(alice.id)[0].id)
    assert not senders.may_use(alice.id, SALES)


@pytest.mark.parametrize("sender_id", [0, -1, 99, 2**31, 2**70])
def test_a_sender_that_there_is_not_is_told_so(alice: Person, sender_id: int) -> None:
    for act in (senders.remove, senders.send_again):
        with pytest.raises(NotFound):
            act(alice.id, sender_id)


def test_the_from_address_of_ones_own_server_is_not_removed(alice: Person, mail_server: RecordingServer) -> None:
    sender = senders.add(alice.id, SALES)
    senders.confirm(token_for(mail_server))
    config_id = own_server(alice.id, from_email="SALES@shop.example")
    with pytest.raises(Conflict, match="Choose another From address there"):
        senders.remove(alice.id, sender.id)
    with transaction() as session:
        session.execute(update(SmtpConfig).where(SmtpConfig.id == config_id).values(from_email="alice@example.com"))
    senders.remove(alice.id, sender.id)


def test_a_from_address_that_is_the_login_needs_no_confirmed_sender(
    alice: Person, mail_server: RecordingServer
) -> None:
    sender = senders.add(alice.id, SALES)
    own_server(alice.id, login=SALES, from_email=SALES)
    senders.remove(alice.id, sender.id)
    assert senders.may_use(alice.id, SALES)


def test_three_links_an_hour_are_mailed_to_an_address_whoever_asks(alice: Person, mail_server: RecordingServer) -> None:
    bob = make_bob()
    for _ in range(2):
        senders.remove(alice.id, senders.add(alice.id, SALES).id)
    senders.add(bob.id, SALES)
    for account in (alice, bob):
        with pytest.raises(TooMany) as refused:
            senders.add(account.id, SALES)
        assert 3500 < refused.value.retry_after <= 3600
    assert senders.every(alice.id) == []  # nothing is left behind of what was refused
    senders.add(alice.id, "other@shop.example")


def test_ten_links_an_hour_are_mailed_for_an_account(alice: Person, mail_server: RecordingServer) -> None:
    for number in range(10):
        senders.add(alice.id, f"sales{number}@shop.example")
    with pytest.raises(TooMany):
        senders.add(alice.id, SALES)
    assert len(senders.every(alice.id)) == 10


def test_an_account_has_so_many_senders_and_no_more(alice: Person) -> None:
    now = clock.now()
    with transaction() as session:
        for number in range(senders.MOST):
            key = f"s{number}@shop.example"
            session.add(AccountSender(account_id=alice.id, email=key, email_key=key, created_at=now, confirmed_at=now))
    with pytest.raises(Conflict, match="at most 50 senders"):
        senders.add(alice.id, SALES)


def test_what_nobody_confirmed_is_forgotten_in_time(alice: Person) -> None:
    senders.add(alice.id, SALES)
    age(timedelta(days=8))
    senders.add(alice.id, "other@shop.example")
    assert [each.email for each in senders.every(alice.id)] == ["other@shop.example"]


def test_who_added_confirmed_and_removed_a_sender_stands_in_the_trail(
    alice: Person, mail_server: RecordingServer
) -> None:
    with audit.acting(audit.Actor("alice", "192.0.2.1")):
        sender = senders.add(alice.id, SALES)
    senders.confirm(token_for(mail_server))
    with audit.acting(audit.Actor("alice", "192.0.2.1")):
        senders.remove(alice.id, sender.id)
    happened = ("alice", "account alice", SALES)
    for action in (audit.Action.SENDER_ADDED, audit.Action.SENDER_CONFIRMED, audit.Action.SENDER_REMOVED):
        assert events_of(action) == [happened]


def test_senders_go_with_their_account(alice: Person) -> None:
    bob = make_bob(is_admin=True)
    senders.add(alice.id, SALES)
    administration.delete(alice.id, by=bob.id)
    assert senders.every(alice.id) == []


class TestOff:
    """While accounts may have no servers of their own."""

    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        return environment | {"PERSONAL_SMTP": "off"}

    def test_nobody_can_have_links_mailed(self, alice: Person) -> None:
        with pytest.raises(Forbidden):
            senders.add(alice.id, SALES)
        assert drain() == 0
