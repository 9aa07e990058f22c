"""The owner of an API token is told 14 and 3 days before it ends."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from services.accounts import accounts, administration, api_tokens, upkeep
from tests.outbox import drain
from tests.recording_server import RecordingServer
from tests.turned_clock import Now
from tests.visitors import NEW_PASSWORD, mail_through, make_alice, make_bob, subject_of, text_of
from utils import clock

pytestmark = pytest.mark.usefixtures("app")

DAY = timedelta(days=1).total_seconds()


@pytest.fixture
def mail_server() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


@pytest.fixture
def environment(environment: dict[str, str], mail_server: RecordingServer) -> dict[str, str]:
    return environment | mail_through(mail_server)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    turned = Now()
    monkeypatch.setattr(clock, "now", turned)
    return turned


def told_on(now: Now, server: RecordingServer, days: int) -> list[int]:
    """On which of so many days, of which each is a tidying of the worker, a mail told of a token."""
    found: list[int] = []
    for day in range(1, days + 1):
        now.turn(DAY)
        upkeep.tidy()
        drain()
        found += [day] * (len(server.mails) - len(found))
    return found


@pytest.mark.parametrize(
    ("life", "told"),
    [(90, [76, 87]), (365, [351, 362]), (15, [1, 12]), (14, [11]), (7, [4]), (4, [1]), (3, []), (1, [])],
)
def test_a_token_is_told_of_14_and_3_days_before_its_end_if_it_lives_so_long(
    now: Now, mail_server: RecordingServer, life: int, told: list[int]
) -> None:
    api_tokens.create(make_alice(is_admin=True).id, "deploy", life)
    assert told_on(now, mail_server, life + 3) == told


def test_a_token_without_end_is_never_told_of(now: Now, mail_server: RecordingServer) -> None:
    api_tokens.create(make_alice(is_admin=True).id, "deploy")
    now.turn(4000 * DAY)
    upkeep.tidy()
    drain()
    assert mail_server.mails == []


def test_the_notice_names_the_token_and_holds_nothing_of_it(now: Now, mail_server: RecordingServer) -> None:
    text, token = api_tokens.create(make_alice(is_admin=True).id, "deploy script", 90)
    now.turn(80 * DAY)
    upkeep.tidy()
    drain()
    (mail,) = mail_server.mails
    assert mail.recipients == ("alice@example.com",)
    assert subject_of(mail) == "An API token of OpenAlgo is about to expire"
    assert token.expires_at is not None
    for fact in ("deploy script", token.prefix, f"{token.expires_at:%Y-%m-%d %H:%M} UTC", "/account/tokens"):
        assert fact in text_of(mail)
    assert text[15:].encode() not in mail.content


def test_several_tokens_are_told_of_each(now: Now, mail_server: RecordingServer) -> None:
    alice, bob = make_alice(is_admin=True), make_bob(is_admin=True)
    for owner, name in ((alice, "one"), (alice, "two"), (bob, "three")):
        api_tokens.create(owner.id, name, 20)
    now.turn(10 * DAY)
    upkeep.tidy()
    drain()
    told = sorted((mail.recipients[0], text_of(mail).split("“")[1].split("”")[0]) for mail in mail_server.mails)
    assert told == [("alice@example.com", "one"), ("alice@example.com", "two"), ("bob@example.com", "three")]


def test_after_an_outage_of_the_worker_only_the_latest_notice_goes_out(now: Now, mail_server: RecordingServer) -> None:
    api_tokens.create(make_alice(is_admin=True).id, "deploy", 90)
    now.turn(88 * DAY)
    assert told_on(now, mail_server, 5) == [1]


def test_it_is_told_once_however_often_the_worker_looks(now: Now, mail_server: RecordingServer) -> None:
    api_tokens.create(make_alice(is_admin=True).id, "deploy", 90)
    now.turn(80 * DAY)
    for _ in range(5):
        upkeep.tidy()
    drain()
    assert len(mail_server.mails) == 1


@pytest.mark.parametrize("end", ["revoked", "disabled", "demoted", "password changed", "deleted"])
def test_a_token_that_ended_before_is_not_told_of(now: Now, mail_server: RecordingServer, end: str) -> None:
    make_alice(is_admin=True)
    bob = make_bob(is_admin=True)
    _, token = api_tokens.create(bob.id, "deploy", 90)
    if end == "revoked":
        api_tokens.revoke(token.id)
    elif end == "password changed":
        accounts.reset_password("bob", NEW_PASSWORD)
    else:
        deeds = {"disabled": administration.disable, "demoted": administration.demote}
        deeds.get(end, administration.delete)(bob.id)
    drain()
    before = len(mail_server.mails)
    now.turn(80 * DAY)
    upkeep.tidy()
    drain()
    assert len(mail_server.mails) == before


def test_accounts_are_told_of_their_tokens_as_administrators_are(now: Now, mail_server: RecordingServer) -> None:
    make_alice(is_admin=True)
    api_tokens.create(make_bob().id, "script", 90, ["send"])
    now.turn(80 * DAY)
    upkeep.tidy()
    drain()
    (mail,) = mail_server.mails
    assert mail.recipients == ("bob@example.com",)
    assert "/account/tokens" in text_of(mail)
