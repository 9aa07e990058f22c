"""What happens to a token's renewal, and to the mail that waits for it: kills, outages, clocks, keys, odd answers."""

import signal
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from flask import Flask
from sqlalchemy import select

from app import create_app
from database import oauth_db, smtp_db
from database.engine import reading, transaction
from database.oauth_db import OAuthSignIn
from database.outbox_db import OutboxMail, State
from services import email_service
from services.delivery import standing
from services.delivery.circuit import Circuits
from services.oauth import keeping, sealed
from services.settings import configs
from tests import certificates, oauth_faults
from tests.conftest import APP_KEY
from tests.faults import token_senders
from tests.faults.child import Place
from tests.faults.points import Point
from tests.faults.storm import Role
from tests.faults.token_sink import TokenSink
from tests.oauth_faults import Fault as ProviderFault
from tests.oauth_provider import OAuthProviderServer
from tests.outbox import drain
from tests.patience import PATIENCE
from tests.processes import CONTEXT
from tests.rotations import NEW_KEY, under
from tests.signed_in_by_token import connected, grant, reread
from utils import clock
from utils.encryption_utils import current_key_id
from utils.errors import Fault, Misconfigured, Temporary

LIFE: Final = 3600
LEASE: Final = 60  # more than a lease lasts
SOON: Final = 180  # nobody waits for longer than this once somebody has signed in again
MANY: Final = 500  # more than anyone asks in an hour
ROTATED: Final = Point(name="the provider has rotated", function="services.oauth.keeping:_stored", is_after=False)


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return environment | {"SMTP_CA_FILE": str(certificates.ca_file())}


class Hours:
    """The time of day of this process, its provider and its children, turned by a test."""

    def __init__(self) -> None:
        self.ahead = CONTEXT.Value("d", 0.0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.ahead.value)

    def turn(self, seconds: float) -> None:
        self.ahead.value += seconds


@pytest.fixture
def hours(monkeypatch: pytest.MonkeyPatch) -> Hours:
    hours = Hours()
    monkeypatch.setattr(clock, "now", hours)
    return hours


@pytest.fixture(autouse=True)
def circuits_turn(hours: Hours, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left alone for a while is so by the same clock."""
    monkeypatch.setattr(standing, "Circuits", lambda: Circuits(lambda: hours().timestamp()))


@pytest.fixture
def provider(hours: Hours) -> Iterator[OAuthProviderServer]:
    with OAuthProviderServer(certificates.good_context("localhost")) as running:
        running.clock = lambda: hours().timestamp()
        yield running


@pytest.fixture
def sink(provider: OAuthProviderServer) -> Iterator[TokenSink]:
    with TokenSink(certificates.good_context(), provider.mailbox_of) as running:
        yield running


def asked(provider: OAuthProviderServer) -> int:
    """How often the provider was asked for a token, whatever it said."""
    return sum(path.endswith("/token") for path, _ in provider.requests)


def queue(mails: int = 1) -> None:
    for number in range(mails):
        email_service.queue_email(f"customer{number}@example.com", "Order", "Thank you.")


def states() -> set[State]:
    with reading() as session:
        return set(session.scalars(select(OutboxMail.state)))


def charged() -> set[int]:
    with reading() as session:
        return set(session.scalars(select(OutboxMail.attempts)))


def send_until(hours: Hours, state: State, within: int = LIFE) -> None:
    """Let time pass, and send what is due, until all mail is in this state."""
    for _ in range(0, within, 60):
        drain()
        if states() == {state}:
            return
        hours.turn(60)
    raise AssertionError(f"the mail is {states()}")


@pytest.mark.parametrize("is_strict", [True, False], ids=["what is used twice ends it", "as Microsoft's"])
def test_a_kill_between_the_rotation_and_our_commit_loses_no_mail(
    place: Place, hours: Hours, provider: OAuthProviderServer, sink: TokenSink, is_strict: bool
) -> None:
    provider.is_strict = is_strict
    config_id = connected(provider, sink.port).row.id
    hours.turn(LIFE - 200)
    doomed = Role(work=token_senders.die_at, arguments=(replace(place, clock=hours.ahead), config_id, ROTATED))
    doomed.start()
    assert doomed.wait(PATIENCE) == -signal.SIGKILL
    doomed.end()
    assert provider.counts["refresh_token"] == 1

    queue(2)
    drain()  # with the token that still lives: nobody waits for a dead process
    assert (states(), provider.counts["refresh_token"]) == ({State.SENT}, 1)

    hours.turn(200 + LEASE)
    sink.hang_up()
    queue(2)
    if not is_strict:
        send_until(hours, State.SENT)
        assert provider.counts["refresh_token"] == 2
        return
    drain()
    assert states() == {State.SENT, State.DEFERRED}
    known = reread(config_id)
    assert (known.needs_sign_in, known.trouble and known.trouble.error) == (True, "invalid_grant")
    grant(provider, known)
    send_until(hours, State.SENT)
    assert charged() == {1}


def test_a_renewal_that_is_refused_lets_mail_wait_until_somebody_signs_in_again(
    app: Flask, hours: Hours, provider: OAuthProviderServer, sink: TokenSink
) -> None:
    config_id = connected(provider, sink.port).row.id
    provider.end_grants()
    queue(10)
    for _ in range(12):
        drain()
        hours.turn(LIFE)
    assert (states(), charged()) == ({State.DEFERRED}, {0})
    assert asked(provider) == 1  # for all of the mail, and for half a day
    assert len(sink.refused) <= 2
    drain()  # which is when it was last left alone
    grant(provider, reread(config_id))
    send_until(hours, State.SENT, within=SOON)
    assert len(set(sink.arrived)) == len(sink.arrived) == 10


@pytest.mark.parametrize("down", [oauth_faults.Dropped(), oauth_faults.page(503)], ids=["dropped", "503"])
def test_a_provider_that_is_down_for_an_hour_is_not_pressed_and_mail_goes_on_by_itself(
    app: Flask, hours: Hours, provider: OAuthProviderServer, sink: TokenSink, down: ProviderFault
) -> None:
    connected(provider, sink.port)
    hours.turn(LIFE - 240)
    provider.next("token", *[down] * MANY)
    queue(3)
    drain()
    assert states() == {State.SENT}  # with the token that still lives
    hours.turn(240)
    sink.hang_up()
    queue(20)
    for _ in range(60):
        drain()
        hours.turn(60)
    assert (states(), charged()) == ({State.SENT, State.DEFERRED}, {0, 1})
    assert asked(provider) <= 20  # after 5, 10, 20 … seconds, and then every five minutes
    provider.script.clear()
    send_until(hours, State.SENT)
    assert provider.counts["refresh_token"] == 1
    assert charged() == {1}


@pytest.mark.parametrize("off", [-290.0, 290.0], ids=["theirs is slow", "theirs is fast"])
def test_clocks_that_are_five_minutes_apart_let_every_mail_through(
    app: Flask, hours: Hours, provider: OAuthProviderServer, sink: TokenSink, off: float
) -> None:
    provider.clock_ahead = off
    connected(provider, sink.port)
    for life in range(1, 4):
        queue(2)
        drain()
        assert (states(), sink.refused) == ({State.SENT}, [])
        sink.hang_up()
        hours.turn(LIFE - 10)
        assert provider.counts["refresh_token"] == life - 1


@pytest.mark.parametrize("jump", [-290.0, 290.0], ids=["back", "forth"])
def test_a_clock_that_is_set_right_by_five_minutes_fails_no_mail(
    app: Flask, hours: Hours, provider: OAuthProviderServer, sink: TokenSink, jump: float
) -> None:
    """The provider's goes on as before: a token of ours may be over sooner than we think, and is renewed then."""
    connected(provider, sink.port)
    hours.turn(jump)
    provider.clock_ahead = -jump
    for _ in range(8):
        queue(1)
        drain()
        assert states() == {State.SENT}
        sink.hang_up()
        hours.turn(LIFE / 4)
    assert 1 <= provider.counts["refresh_token"] <= 3


def test_a_key_that_is_rotated_while_a_token_is_renewed_loses_neither(
    environment: dict[str, str], tmp_path: Path, hours: Hours, provider: OAuthProviderServer, sink: TokenSink
) -> None:
    with create_app(environment, instance_path=tmp_path).app_context():
        config_id = connected(provider, sink.port).row.id
        former = reread(config_id)
    hours.turn(LIFE)
    with under(environment, tmp_path, NEW_KEY, APP_KEY):

        def rotate(_seconds: float) -> bool:
            with create_app(under_new_key, instance_path=tmp_path).app_context(), transaction() as session:
                row, config = oauth_db.find(session, config_id), smtp_db.find(session, config_id)
                assert row and config
                return sealed.seal_anew(row, config)

        under_new_key = environment | {"APP_KEY": NEW_KEY, "APP_KEY_PREVIOUS": APP_KEY}
        provider.next("token", oauth_faults.held(rotate))
        token = keeping.current_token(config_id)
        known = reread(config_id)
        assert known.access_token == token
        assert known.refresh_token != former.refresh_token
        assert known.key_id == current_key_id() != former.key_id
    with under(environment, tmp_path, NEW_KEY):  # and without the old one
        hours.turn(LIFE)
        assert keeping.current_token(config_id) != token


NO_TOKEN: Final = (
    oauth_faults.megabyte(),
    oauth_faults.page(200),
    oauth_faults.Answer(200, b""),
    oauth_faults.Answer(200, b"[]"),
    oauth_faults.Answer(200, b'{"access_token": "a", "token_type": "Bearer", "expires_in": NaN}'),
    oauth_faults.Answer(200, b"\xff\xfe{}"),
)


def test_an_answer_that_is_none_is_waited_out_and_costs_no_mail(
    app: Flask, hours: Hours, provider: OAuthProviderServer, sink: TokenSink
) -> None:
    config_id = connected(provider, sink.port).row.id
    provider.is_strict = False  # what is answered instead may have been a rotation
    for wrong in NO_TOKEN:
        hours.turn(LIFE)
        sink.hang_up()
        provider.next("token", wrong)
        with pytest.raises(Temporary) as failed:
            keeping.current_token(config_id)
        assert failed.value.fault is Fault.TOKEN_UNAVAILABLE
        queue()
        send_until(hours, State.SENT)
    assert not reread(config_id).needs_sign_in
    assert charged() == {1}


@pytest.mark.parametrize(
    "told",
    [oauth_faults.without("expires_in"), *(oauth_faults.with_fields(expires_in=life) for life in (-3600, 0, "x"))],
)
def test_a_life_that_is_not_told_is_short_and_does_not_renew_at_each_mail(
    app: Flask, hours: Hours, provider: OAuthProviderServer, sink: TokenSink, told: ProviderFault
) -> None:
    connected(provider, sink.port)
    hours.turn(LIFE)
    provider.next("token", *[told] * MANY)
    for _ in range(6):
        queue()
        drain()
        sink.hang_up()
        hours.turn(30)
    assert states() == {State.SENT}
    assert provider.counts["refresh_token"] == 1
    hours.turn(600)
    queue()
    drain()
    assert (states(), provider.counts["refresh_token"]) == ({State.SENT}, 2)


def test_a_server_that_is_deleted_while_its_token_is_renewed_fails_nothing_but_lets_mail_wait(
    app: Flask, hours: Hours, provider: OAuthProviderServer, sink: TokenSink
) -> None:
    config_id = connected(provider, sink.port).row.id
    hours.turn(LIFE)

    def delete(_seconds: float) -> bool:
        with app.app_context():
            configs.delete(config_id)
        return True

    provider.next("token", oauth_faults.held(delete))
    queue()
    drain()
    assert (states(), charged()) == ({State.DEFERRED}, {0})
    with pytest.raises(Misconfigured):
        keeping.current_token(config_id)
    with reading() as session:
        assert session.scalars(select(OAuthSignIn)).all() == []


def test_who_waited_for_the_database_does_not_get_the_lease_that_another_has(
    place: Place, hours: Hours, provider: OAuthProviderServer
) -> None:
    config_id = connected(provider, 2465).row.id
    now, until = hours(), hours() + timedelta(seconds=30)
    earlier = timedelta(seconds=4)  # when whoever waits has read its clock
    with transaction() as session:
        assert oauth_db.take_lease(session, config_id, "first", now, until)
    with transaction() as session:
        assert not oauth_db.take_lease(session, config_id, "second", now - earlier, until - earlier)
    with transaction() as session:  # but what a clock set back has left far ahead is nobody's
        back = timedelta(hours=1)
        assert oauth_db.take_lease(session, config_id, "third", now - back, until - back)


def test_a_machine_that_slept_with_the_lease_asks_nobody_with_it(
    app: Flask, hours: Hours, provider: OAuthProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    config_id = connected(provider, 2465).row.id
    hours.turn(LIFE)
    took, leases = oauth_db.take_lease, []

    def sleeping(*arguments: object) -> bool:
        leases.append(took(*arguments))  # type: ignore[arg-type]
        if len(leases) == 1:
            hours.turn(LEASE)
        return leases[-1]

    monkeypatch.setattr(oauth_db, "take_lease", sleeping)
    assert keeping.current_token(config_id)
    assert leases == [True, True]
    assert provider.counts["refresh_token"] == 1
