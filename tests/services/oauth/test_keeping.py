"""A sign-in by token is kept alive: renewed before its end, by one at a time, and never twice for one refusal."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import Final

import pytest
from flask import Flask
from sqlalchemy import event

from database import oauth_db, smtp_db
from database.engine import db, transaction
from services.delivery import attempt
from services.oauth import consents, keeping
from services.oauth.consents import RegistrationChanged
from services.oauth.sealed import SignInCondition
from services.settings import configs, route
from services.settings.fields import parse_change
from services.smtp.patience import Span
from tests import certificates, oauth_faults, signed_in_by_token
from tests.bearer_server import BearerSide
from tests.oauth_provider import OAuthProviderServer
from tests.patience import PATIENCE
from tests.signed_in_by_token import connected, grant, register, registration, reread, stored
from tests.statements import heard
from tests.turned_clock import Now
from utils.errors import DeliveryError, Fault, InvalidInput, Misconfigured, Temporary
from utils.secret import Secret

PORT: Final = 2465  # where nobody is asked to listen


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return environment | {"SMTP_CA_FILE": str(certificates.ca_file())}


@pytest.fixture
def provider() -> Iterator[OAuthProviderServer]:
    with OAuthProviderServer(certificates.good_context("localhost")) as running:
        yield running


@pytest.fixture
def mail(provider: OAuthProviderServer) -> Iterator[tuple[int, BearerSide]]:
    """A mail server that takes the provider's tokens: its port, and its side of signing in."""
    with signed_in_by_token.mail_server(provider) as (server, side):
        yield server.port, side


def renewals(provider: OAuthProviderServer) -> int:
    return provider.counts["refresh_token"]


def test_a_token_that_is_good_is_used_without_asking(app: Flask, provider: OAuthProviderServer) -> None:
    config = connected(provider, PORT)
    tokens = {keeping.current_token(config.row.id).reveal() for _ in range(3)}
    assert len(tokens) == 1
    assert provider.mailbox_of(tokens.pop()) == "shop@example.com"
    assert renewals(provider) == 0


def test_five_minutes_before_its_end_it_is_renewed_and_the_new_refresh_token_is_kept(
    app: Flask, now: Now, provider: OAuthProviderServer
) -> None:
    config = connected(provider, PORT)
    first, before = keeping.current_token(config.row.id), reread(config.row.id).refresh_token
    now.turn(3600 - 299)
    second = keeping.current_token(config.row.id)
    assert second != first
    assert reread(config.row.id).refresh_token != before
    assert renewals(provider) == 1


def test_without_a_new_refresh_token_the_one_before_stays(app: Flask, now: Now, provider: OAuthProviderServer) -> None:
    provider.rotates = False
    config = connected(provider, PORT)
    before = reread(config.row.id).refresh_token
    now.turn(3500)
    keeping.current_token(config.row.id)
    assert reread(config.row.id).refresh_token == before
    now.turn(3500)
    assert keeping.current_token(config.row.id)
    assert renewals(provider) == 2


def test_a_token_that_lives_for_a_minute_is_not_renewed_at_each_use(
    app: Flask, now: Now, provider: OAuthProviderServer
) -> None:
    provider.life = 60
    config = connected(provider, PORT)
    for _ in range(3):
        keeping.current_token(config.row.id)
    assert renewals(provider) == 0
    now.turn(31)
    keeping.current_token(config.row.id)
    assert renewals(provider) == 1


def test_many_threads_that_need_a_token_cause_one_renewal(app: Flask, now: Now, provider: OAuthProviderServer) -> None:
    config = connected(provider, PORT)
    now.turn(3600)
    found: list[Secret | BaseException] = []

    def get() -> None:
        with app.app_context():
            try:
                found.append(keeping.current_token(config.row.id))
            except DeliveryError as error:
                found.append(error)

    threads = [threading.Thread(target=get) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(set(found)) == 1 and isinstance(found[0], Secret)
    assert renewals(provider) == 1


def test_while_the_provider_is_down_the_token_that_lives_serves_and_then_mail_waits(
    app: Flask, now: Now, provider: OAuthProviderServer
) -> None:
    config = connected(provider, PORT)
    token = keeping.current_token(config.row.id)
    now.turn(3600 - 240)
    provider.next("token", *(oauth_faults.error("server_error", status=503) for _ in range(3)))
    assert keeping.current_token(config.row.id) == token
    asked = len(provider.requests)
    assert keeping.current_token(config.row.id) == token
    assert len(provider.requests) == asked  # not again at once
    now.turn(241)
    with pytest.raises(Temporary) as caught:
        keeping.current_token(config.row.id)
    assert caught.value.fault is Fault.TOKEN_UNAVAILABLE
    assert not reread(config.row.id).needs_sign_in
    now.turn(600)
    provider.script["token"].clear()
    assert provider.mailbox_of(keeping.current_token(config.row.id).reveal())


def test_a_refused_renewal_ends_the_sign_in_until_somebody_agrees_again(
    app: Flask, now: Now, provider: OAuthProviderServer
) -> None:
    config = connected(provider, PORT)
    provider.end_grants()
    now.turn(3600)
    for _ in range(3):
        with pytest.raises(Misconfigured) as caught:
            keeping.current_token(config.row.id)
        assert caught.value.fault is Fault.TOKEN_DEAD
        assert caught.value.token_trouble and caught.value.token_trouble.error == "invalid_grant"
    known = reread(config.row.id)
    assert known.needs_sign_in and not known.is_connected
    assert len([path for path, _ in provider.requests if path.endswith("/token")]) == 1  # nobody is asked in vain
    again = grant(provider, known)
    assert again.is_connected and again.consent == 2
    assert keeping.current_token(config.row.id)


def test_the_mail_goes_out_with_a_new_token_where_the_server_refused_the_old_one(
    app: Flask, provider: OAuthProviderServer, mail: tuple[int, BearerSide]
) -> None:
    connected(provider, mail[0])
    step = next(route.usable())
    provider.end_tokens()
    assert attempt.failure_to_reach(step, Span(PATIENCE)) is None
    assert len(mail[1].tokens) == 2
    assert renewals(provider) == 1


def test_a_server_that_refuses_a_new_token_too_is_not_given_a_third(
    app: Flask, provider: OAuthProviderServer, mail: tuple[int, BearerSide]
) -> None:
    mail[1].grants = {}
    connected(provider, mail[0])
    for tried in (2, 3, 4):
        step = next(route.usable())
        failed = attempt.failure_to_reach(step, Span(PATIENCE))
        assert failed and failed.error and failed.error.fault is Fault.REPLY
        assert len(mail[1].tokens) == tried
    assert renewals(provider) == 1


def test_who_comes_with_a_token_that_another_has_just_dropped_gets_the_new_one(
    app: Flask, provider: OAuthProviderServer
) -> None:
    config = connected(provider, PORT)
    refused = keeping.current_token(config.row.id)
    asked, late = threading.Event(), threading.Event()

    def until(seconds: float) -> bool:
        asked.set()
        return late.wait(seconds)

    provider.next("token", oauth_faults.held(until))
    found: list[Secret | None] = []

    def renew() -> None:
        with app.app_context():
            found.append(keeping.renewed(config.row.id, refused))

    threads = [threading.Thread(target=renew) for _ in range(2)]
    threads[0].start()
    assert asked.wait(PATIENCE)
    threads[1].start()
    late.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert found[0] and found[0] == found[1] != refused
    assert renewals(provider) == 1


def test_a_new_client_secret_during_a_renewal_loses_no_refresh_token(
    app: Flask, now: Now, provider: OAuthProviderServer
) -> None:
    config = connected(provider, PORT)
    now.turn(3600)

    def until(_seconds: float) -> bool:
        with app.app_context():
            register(config.row.id, registration(provider, client_secret=Secret("another~one")))
        return True

    provider.next("token", oauth_faults.held(until))
    assert keeping.current_token(config.row.id)
    provider.clients["sealpost"].secret = "another~one"
    now.turn(3600)
    assert keeping.current_token(config.row.id)


def test_a_token_that_ended_on_its_way_is_renewed_however_often_that_happens(
    app: Flask, now: Now, provider: OAuthProviderServer
) -> None:
    config = connected(provider, PORT)
    for times in (1, 2, 3):
        token = keeping.current_token(config.row.id)
        now.turn(3590)
        another = keeping.renewed(config.row.id, token)
        assert another and another != token
        assert renewals(provider) == times


class Writer:
    """Another process that writes into the database for longer than anybody waits for it."""

    def __init__(self, app: Flask, environment: dict[str, str]) -> None:
        self._path = environment["DATABASE_URL"].removeprefix("sqlite:///")
        with app.app_context():
            event.listen(db.engine, "connect", self._impatient)
            db.engine.dispose()
        self._writes = threading.Event()

    def _impatient(self, connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA busy_timeout = 50")

    def write_for(self, seconds: float) -> bool:
        """Begin now, and go on for so long; whether it has begun."""
        self._writes.clear()
        threading.Thread(target=self._write, args=(seconds,)).start()
        return self._writes.wait(PATIENCE)

    def _write(self, seconds: float) -> None:
        with closing(sqlite3.connect(self._path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            self._writes.set()
            threading.Event().wait(seconds)
            connection.execute("ROLLBACK")


def test_a_database_that_is_busy_is_waited_for_before_the_provider_is_asked(
    app: Flask, environment: dict[str, str], now: Now, provider: OAuthProviderServer
) -> None:
    config = connected(provider, PORT)
    now.turn(3600)
    assert Writer(app, environment).write_for(0.5)
    assert provider.mailbox_of(keeping.current_token(config.row.id).reveal())
    assert renewals(provider) == 1


def test_a_database_that_is_busy_while_the_provider_answers_loses_neither_token(
    app: Flask, environment: dict[str, str], now: Now, provider: OAuthProviderServer
) -> None:
    config = connected(provider, PORT)
    now.turn(3600)
    writer = Writer(app, environment)
    provider.next("token", oauth_faults.held(lambda _seconds: writer.write_for(0.8)))
    token = keeping.current_token(config.row.id)
    assert provider.mailbox_of(token.reveal())
    assert keeping.current_token(config.row.id) == token
    now.turn(3600)
    assert keeping.current_token(config.row.id) != token
    assert renewals(provider) == 2


def test_one_that_rested_for_a_week_is_renewed_though_no_mail_went(
    app: Flask, now: Now, provider: OAuthProviderServer
) -> None:
    connected(provider, PORT)
    assert keeping.keep_all() == []
    assert renewals(provider) == 0
    for _ in range(14):
        now.turn(timedelta(days=7, minutes=1).total_seconds())
        assert keeping.keep_all() == []
    assert renewals(provider) == 14


def test_the_keeper_tells_which_need_somebody_to_sign_in_again(
    app: Flask, now: Now, provider: OAuthProviderServer
) -> None:
    config = connected(provider, PORT)
    provider.end_grants()
    now.turn(timedelta(days=8).total_seconds())
    assert keeping.keep_all() == [config.row.id]
    assert keeping.keep_all() == []


def test_a_configuration_that_is_deleted_while_its_token_is_renewed_gets_none(
    app: Flask, now: Now, provider: OAuthProviderServer
) -> None:
    config = connected(provider, PORT)
    now.turn(3600)
    asked, gone = threading.Event(), threading.Event()

    def until(seconds: float) -> bool:
        asked.set()
        return gone.wait(seconds)

    provider.next("token", oauth_faults.held(until))

    def delete() -> None:
        assert asked.wait(PATIENCE)
        with app.app_context():
            configs.delete(config.row.id)
        gone.set()

    thread = threading.Thread(target=delete)
    thread.start()
    with pytest.raises(Misconfigured):
        keeping.current_token(config.row.id)
    thread.join(PATIENCE)
    assert keeping.find(config.row.id) is None


def test_tokens_of_a_registration_that_was_changed_meanwhile_are_not_kept(
    app: Flask, provider: OAuthProviderServer
) -> None:
    config = stored(PORT)
    known = register(config.row.id, registration(provider))
    register(config.row.id, registration(provider, client_id="another"))
    with pytest.raises(RegistrationChanged):
        grant(provider, known)
    assert reread(config.row.id).consent == 0


def test_a_new_client_secret_of_the_same_application_keeps_what_was_granted(
    app: Flask, now: Now, provider: OAuthProviderServer
) -> None:
    config = connected(provider, PORT)
    provider.clients["sealpost"].secret = "another~one"
    now.turn(3600)
    with pytest.raises(Misconfigured):
        keeping.current_token(config.row.id)
    register(config.row.id, registration(provider, client_secret=Secret("another~one")))
    assert keeping.current_token(config.row.id)


def test_another_application_has_nothing_of_what_was_granted_to_the_one_before(
    app: Flask, provider: OAuthProviderServer
) -> None:
    config = connected(provider, PORT)
    register(config.row.id, registration(provider, client_id="another"))
    known = reread(config.row.id)
    assert known.needs_sign_in and not known.refresh_token and not known.access_token


@pytest.mark.parametrize("column", ["token_url", "client_id", "refresh_token", "scope", "client_secret", "tenant"])
def test_a_row_that_somebody_edited_is_not_used(app: Flask, provider: OAuthProviderServer, column: str) -> None:
    config = connected(provider, PORT)
    with transaction() as session:
        row = oauth_db.find(session, config.row.id)
        assert row
        setattr(row, column, getattr(row, column) + "x")
    assert reread(config.row.id).condition is SignInCondition.ALTERED
    with pytest.raises(Misconfigured):
        keeping.current_token(config.row.id)


def test_what_was_granted_for_one_server_is_of_no_use_to_another(app: Flask, provider: OAuthProviderServer) -> None:
    config = connected(provider, PORT)
    with transaction() as session:
        row = smtp_db.find(session, config.row.id)
        assert row
        row.smtp_server = "mail.attacker.example"
    assert reread(config.row.id).condition is SignInCondition.ALTERED


@pytest.mark.parametrize("field", ["smtp_server", "smtp_username"])
def test_a_connected_server_keeps_its_host_and_mailbox(app: Flask, provider: OAuthProviderServer, field: str) -> None:
    config = connected(provider, PORT)
    with pytest.raises(InvalidInput) as caught:
        configs.update(config.row.id, parse_change({field: "other.example"}))
    assert list(caught.value.errors) == [field]


def test_a_server_that_nobody_has_connected_cannot_be_activated(app: Flask, provider: OAuthProviderServer) -> None:
    config = stored(PORT)
    assert not config.is_usable
    with pytest.raises(InvalidInput):
        configs.activate(config.row.id)
    with pytest.raises(InvalidInput):
        configs.update(config.row.id, parse_change({"is_active": True, "from_name": "Shop"}))


def test_forgetting_it_takes_everything_out_and_it_can_be_revoked(app: Flask, provider: OAuthProviderServer) -> None:
    config = connected(provider, PORT)
    token = keeping.current_token(config.row.id)
    with transaction() as session:
        row = smtp_db.find(session, config.row.id)
        assert row
        known = consents.forget(session, row)
    assert keeping.find(config.row.id) is None
    assert known and consents.revoke(known)
    assert provider.mailbox_of(token.reveal()) == ""


def test_a_password_ends_the_sign_in_by_token(app: Flask, provider: OAuthProviderServer) -> None:
    config = connected(provider, PORT)
    changed = configs.update(config.row.id, parse_change({"smtp_password": "geheim-8472"}))
    assert (changed.settings.auth_method, changed.settings.bearer) == ("", None)


def test_a_consent_makes_other_connections_of_it(app: Flask, provider: OAuthProviderServer) -> None:
    config = connected(provider, PORT)
    known = reread(config.row.id)
    grant(provider, known)
    assert configs.get(config.row.id).settings.bearer != config.settings.bearer


def test_whoever_waited_for_the_database_while_the_clock_leapt_takes_the_lease_from_nobody(
    app: Flask, now: Now, provider: OAuthProviderServer
) -> None:
    config_id = connected(provider, PORT).row.id
    waits = threading.Event()
    took: list[object] = []

    def ask() -> None:
        with app.app_context():
            took.append(keeping._took_lease(config_id, "late"))

    asking = threading.Thread(target=ask)
    with closing(sqlite3.connect(str(db.engine.url.database), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with heard(db.engine, lambda statement, _: waits.set() if "IMMEDIATE" in statement else None):
            asking.start()
            assert waits.wait(PATIENCE)
            now.turn(3600)
            until = (now() + timedelta(seconds=30)).replace(tzinfo=None)
            other.execute("UPDATE oauth_sign_in SET lease_id = 'first', lease_until = ?", (str(until),))
            other.execute("COMMIT")
            asking.join(PATIENCE)
    assert took == [None]
    with transaction() as session:
        row = oauth_db.find(session, config_id)
        assert row
        assert row.lease_id == "first"
