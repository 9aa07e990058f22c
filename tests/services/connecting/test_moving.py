"""Moving over from a password to a sign-in by token, and back: nothing is lost before the test, nothing left after."""

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from flask import Flask
from sqlalchemy import select

from database import oauth_db
from database.audit_db import AuditEvent
from database.engine import reading, transaction
from database.oauth_db import OAuthSignIn
from database.outbox_db import State
from database.smtp_db import SmtpConfig
from services import email_service
from services.accounts import administration
from services.checks import connection_test
from services.connecting import moving, tokens
from services.oauth import answers, keeping
from services.oauth.providers import Grant, OAuthProvider
from services.oauth.registration import Registration
from services.outbox import leaving
from services.personal import oversight, own_server, policy_changes
from services.settings import configs, own_rows, route, sealing
from services.settings.fields import parse_change
from services.settings.sealing import Condition, StoredConfig
from services.worker import threads
from tests import certificates, oauth_faults, signed_in_by_token
from tests.bearer_server import BearerSide
from tests.connected_rows import await_revocations
from tests.oauth_provider import OAuthProviderServer
from tests.outbox import row_of
from tests.patience import PATIENCE, wait_until
from tests.signed_in_by_token import CLIENT, MAILBOX, SCOPE, connected, grant, register, registration, reread, stored
from tests.visitors import make_alice, make_bob
from utils import clock
from utils.errors import Conflict, InvalidInput, NotFound
from utils.secret import Secret

PASSWORD: Final = "the old password, 1"
PORT: Final = 2465
OWN_PORT: Final = 2525  # one of the few that accounts may use


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    places = {"SMTP_ALLOWED_CIDRS_ACCOUNTS": "127.0.0.0/8,::1/128"}
    return environment | places | {"SMTP_CA_FILE": str(certificates.ca_file())}


@pytest.fixture
def provider() -> Iterator[OAuthProviderServer]:
    with OAuthProviderServer(certificates.good_context("localhost")) as running:
        yield running


@pytest.fixture
def mail(provider: OAuthProviderServer) -> Iterator[tuple[int, BearerSide]]:
    with signed_in_by_token.mail_server(provider) as (server, side):
        yield server.port, side


def with_password(port: int = PORT, **more: Any) -> StoredConfig:
    return stored(port, auth_method="", smtp_password=PASSWORD, **more)


def connected_beside(provider: OAuthProviderServer, config: StoredConfig) -> StoredConfig:
    """A server that has a grant, and goes on signing in with its password."""
    grant(provider, register(config.row.id, registration(provider)))
    return configs.of_any_scope(config.row.id)


def proof_of(config: StoredConfig) -> str:
    return sealing.issue_proof(moving.settings_by_token(config))


def own_of(account_id: int) -> StoredConfig:
    """An account's own server with a password."""
    change = parse_change(
        {
            "smtp_server": "localhost",
            "smtp_port": OWN_PORT,
            "use_ssl": True,
            "use_tls": False,
            "smtp_username": MAILBOX,
            "smtp_password": PASSWORD,
            "from_email": MAILBOX,
        }
    )
    return own_server.save(account_id, change)


def own_connected(provider: OAuthProviderServer, account_id: int) -> StoredConfig:
    config = connected_beside(provider, own_of(account_id))
    return moving.switch_over(config.row.id, proof_of(config))


def trail() -> list[tuple[str, str]]:
    with reading() as session:
        return [(each.action, each.details) for each in session.scalars(select(AuditEvent).order_by(AuditEvent.id))]


def actions() -> list[str]:
    return [action for action, _ in trail()]


def grants_left() -> int:
    with reading() as session:
        return len(list(session.scalars(select(OAuthSignIn))))


def test_the_password_serves_until_the_switch_and_then_nothing_of_it_is_left(
    app: Flask, tmp_path: Path, provider: OAuthProviderServer, mail: tuple[int, BearerSide]
) -> None:
    config = connected_beside(provider, with_password(mail[0], is_active=True))
    token = config.row.smtp_password
    assert config.settings.password.reveal() == PASSWORD and config.settings.bearer is None
    settings = moving.settings_by_token(config)
    result = connection_test.run(settings)
    assert result.ok
    proof = sealing.issue_proof(settings)
    after = moving.switch_over(config.row.id, proof, actor="ada")
    assert after.is_usable and after.is_active and after.settings.is_by_token and not after.settings.password
    assert after.row.smtp_password == "" and after.row.version == config.row.version + 1
    assert after.is_verified and after.row.updated_by == "ada"
    assert trail()[-1] == ("updated", "auth_method, smtp_password")
    assert grants_left() == 1
    with contextlib.closing(sqlite3.connect(tmp_path / "test.db")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert token.encode() not in (tmp_path / "test.db").read_bytes()


def test_without_a_test_of_these_values_nothing_is_switched(app: Flask, provider: OAuthProviderServer) -> None:
    config = connected_beside(provider, with_password(is_active=True))
    others = sealing.issue_proof(config.settings)
    for proof in ("", "1.2", others, f"{proof_of(config)}0"):
        with pytest.raises(Conflict, match=r"has not passed a test"):
            moving.switch_over(config.row.id, proof)
    assert configs.get(config.row.id).settings.password.reveal() == PASSWORD


def test_a_change_that_came_in_since_the_test_is_not_gone_over(app: Flask, provider: OAuthProviderServer) -> None:
    config = connected_beside(provider, with_password())
    proof = proof_of(config)
    configs.update(config.row.id, parse_change({"timeout_seconds": 31}))
    with pytest.raises(Conflict):
        moving.switch_over(config.row.id, proof)


def test_a_server_that_never_had_a_password_is_created_inactive_and_activated_by_the_switch(
    app: Flask, provider: OAuthProviderServer
) -> None:
    config = stored(PORT)
    assert config.condition is Condition.UNCONNECTED and not config.is_active
    with pytest.raises(InvalidInput, match="not connected"):
        moving.settings_by_token(config)
    after = moving.switch_over(config.row.id, proof_of(connected_beside(provider, config)))
    assert after.is_active and after.is_usable
    other = connected_beside(provider, stored(PORT, name="Second"))
    assert not moving.switch_over(other.row.id, proof_of(other)).is_active  # the first one sends


@pytest.mark.parametrize(
    ("provider_kind", "is_personal", "host", "port"),
    [
        (OAuthProvider.MICROSOFT, False, "smtp.office365.com", 587),
        (OAuthProvider.MICROSOFT, True, "smtp-mail.outlook.com", 587),
        (OAuthProvider.GOOGLE, False, "smtp.gmail.com", 587),
        (OAuthProvider.FASTMAIL, False, "smtp.fastmail.com", 465),
    ],
)
def test_the_guide_creates_the_server_of_a_provider(
    app: Flask, provider_kind: OAuthProvider, is_personal: bool, host: str, port: int
) -> None:
    place = moving.place_for(provider_kind, is_personal=is_personal)
    made = [moving.create_for(MAILBOX, place) for _ in range(2)]
    assert [(each.host, each.port, each.username, each.is_active) for each in made] == [
        (host, port, MAILBOX, False)
    ] * 2
    assert made[1].name == f"{made[0].name} 2"
    assert made[0].row.smtp_password == "" and made[0].condition is Condition.UNCONNECTED


def test_a_custom_provider_has_no_server_that_could_be_guessed(app: Flask) -> None:
    with pytest.raises(InvalidInput):
        moving.place_for(OAuthProvider.CUSTOM)


def test_disconnecting_revokes_the_grant_and_switches_the_server_off(app: Flask, provider: OAuthProviderServer) -> None:
    config = connected(provider, PORT)
    ended = moving.disconnect(config.row.id)
    await_revocations()
    assert ended.was_serving and ended.taken_back_at == ""
    assert provider.counts["revoked"] == 1
    after = configs.get(config.row.id)
    assert not after.is_active and after.condition is Condition.UNCONNECTED
    assert actions()[-3:] == ["disconnected", "deactivated", "grant_revoked"]
    with pytest.raises(NotFound):
        moving.disconnect(config.row.id)
    again = grant(provider, register(config.row.id, registration(provider)))
    assert again.consent == 2  # and so no connection or mark of the first one is taken for it


def test_a_password_that_serves_goes_on_doing_so_without_the_grant(app: Flask, provider: OAuthProviderServer) -> None:
    config = connected_beside(provider, with_password(is_active=True))
    assert not moving.disconnect(config.row.id).was_serving
    await_revocations()
    after = configs.get(config.row.id)
    assert after.is_active and after.is_usable and after.settings.password.reveal() == PASSWORD


def test_a_provider_that_cannot_be_told_is_named_and_the_trail_says_so(
    app: Flask, provider: OAuthProviderServer
) -> None:
    config = connected(provider, PORT, revoke_url="")
    assert moving.disconnect(config.row.id).taken_back_at == "the provider"
    await_revocations()
    assert trail()[-1] == ("grant_left", "take it back at the provider")


def test_a_provider_that_is_down_holds_nobody_up(app: Flask, provider: OAuthProviderServer) -> None:
    config = connected(provider, PORT)
    asked, gone = threading.Event(), threading.Event()

    def until(seconds: float) -> bool:
        asked.set()
        return gone.wait(seconds)

    provider.next("revoke", oauth_faults.held(until))
    configs.delete(config.row.id)
    assert grants_left() == 0  # while the provider still says nothing
    assert asked.wait(PATIENCE)
    gone.set()
    await_revocations()
    provider.next("revoke", oauth_faults.error("server_error", status=503))
    second = connected(provider, PORT)
    configs.delete(second.row.id)
    await_revocations()
    assert actions()[-2:] == ["disconnected", "grant_left"]


def test_what_is_rolled_back_revokes_nothing(app: Flask, provider: OAuthProviderServer) -> None:
    config = connected(provider, PORT)
    with pytest.raises(RuntimeError), transaction() as session:
        row = session.get(SmtpConfig, config.row.id)
        assert row
        configs.forget(session, row)
        raise RuntimeError
    await_revocations()
    assert provider.counts["revoked"] == 0 and keeping.current_token(config.row.id)


def test_entering_a_password_goes_back_to_it_and_ends_the_grant(app: Flask, provider: OAuthProviderServer) -> None:
    config = connected(provider, PORT)
    configs.update(config.row.id, parse_change({"smtp_password": PASSWORD}))
    await_revocations()
    after = configs.get(config.row.id)
    assert after.settings.password.reveal() == PASSWORD and after.settings.auth_method == "" and after.is_active
    assert grants_left() == 0 and provider.counts["revoked"] == 1


def test_another_mailbox_beside_a_password_has_nothing_of_what_was_granted(
    app: Flask, provider: OAuthProviderServer
) -> None:
    config = connected_beside(provider, with_password())
    configs.update(config.row.id, parse_change({"smtp_username": "other@example.com", "smtp_password": PASSWORD}))
    await_revocations()
    assert grants_left() == 0 and provider.counts["revoked"] == 1


def test_what_is_registered_at_a_provider_stays_for_another_of_its_mailboxes(
    app: Flask, provider: OAuthProviderServer
) -> None:
    config = stored(587, smtp_server="smtp.gmail.com", use_ssl=False, use_tls=True)
    register(config.row.id, replace(registration(provider), provider=OAuthProvider.GOOGLE))
    configs.update(config.row.id, parse_change({"smtp_username": "other@example.com"}))
    known = reread(config.row.id)
    assert known.is_usable and known.registration.client_secret.reveal() == signed_in_by_token.SECRET
    configs.update(config.row.id, parse_change({"smtp_server": "smtp.example.com"}))
    assert grants_left() == 0


def test_an_own_server_moves_over_by_its_owners_rules(app: Flask, provider: OAuthProviderServer) -> None:
    make_alice(is_admin=True)
    bob = make_bob().id
    after = own_connected(provider, bob)
    assert after.settings.is_by_token and after.is_verified and after.settings.is_personal
    assert after.row.smtp_password == ""
    first = next(route.steps(bob))
    assert first.settings and first.settings.bearer


def test_an_own_server_that_is_being_connected_keeps_no_mail_waiting(app: Flask, provider: OAuthProviderServer) -> None:
    make_alice(is_admin=True)
    bob = make_bob().id
    config = moving.create_own(bob, MAILBOX, moving.place_for(OAuthProvider.GOOGLE))
    assert not config.is_active and config.row.inactive_reason == own_rows.NOT_CONNECTED
    assert not next(route.steps(bob)).blocks
    with pytest.raises(Conflict):
        moving.create_own(bob, MAILBOX, moving.place_for(OAuthProvider.GOOGLE))


LEAVING: Final[dict[str, Callable[[int], object]]] = {
    "disabled": administration.disable,
    "deleted": administration.delete,
    "server deleted": own_server.delete,
    "server deleted by an administrator": oversight.delete_server,
    "all forbidden": lambda _: policy_changes.save({"allowed": "off"}),
    "host forbidden": lambda _: policy_changes.save({"allowed": "named", "hosts": "smtp.gmail.com"}),
}


@pytest.mark.parametrize("how", LEAVING)
def test_who_leaves_leaves_no_token_behind(app: Flask, provider: OAuthProviderServer, how: str) -> None:
    make_alice(is_admin=True)
    bob = make_bob().id
    own_connected(provider, bob)
    LEAVING[how](bob)
    await_revocations()
    assert grants_left() == 0
    assert provider.counts["revoked"] == 1
    assert {"disconnected", "grant_revoked"} <= set(actions())


def test_where_only_oauth_is_allowed_no_password_is_saved_tested_or_used(
    app: Flask, provider: OAuthProviderServer
) -> None:
    make_alice(is_admin=True)
    bob = make_bob().id
    own_of(bob)
    assert next(route.steps(bob)).settings
    policy_changes.save({"sign_in": "token"})
    assert next(route.steps(bob)).settings is None
    with pytest.raises(InvalidInput, match="by OAuth only"):
        own_of(bob)
    with pytest.raises(InvalidInput, match="by OAuth only"):
        own_server.preview(bob)
    config = connected_beside(provider, configs.of_any_scope(own_server.find(bob).row.id))  # type: ignore[union-attr]
    moving.switch_over(config.row.id, proof_of(config))
    assert next(route.steps(bob)).settings


def test_mail_that_waited_goes_as_soon_as_the_server_is_connected_again(
    app: Flask, provider: OAuthProviderServer, mail: tuple[int, BearerSide]
) -> None:
    config = connected(provider, mail[0])
    provider.end_grants()
    provider.end_tokens()
    mail_id = email_service.queue_email("ann@example.com", "Order", "Text")
    worker = threads.start(app, senders=1)
    try:
        wait_until(lambda: row_of(mail_id).state == State.DEFERRED)
        assert row_of(mail_id).reason == "token_dead"
        known = reread(config.row.id)
        given = answers.token_set(provider.granted(CLIENT, MAILBOX), clock.now(), SCOPE)
        tokens.kept(known, known.registration.token_provider("localhost", may_be_plain=True), given, "ada")
        wait_until(lambda: row_of(mail_id).state == State.SENT)
    finally:
        worker.stop()


def test_mail_that_waited_goes_as_soon_as_the_server_has_moved_over(
    app: Flask, provider: OAuthProviderServer, mail: tuple[int, BearerSide]
) -> None:
    config = connected_beside(provider, with_password(mail[0], is_active=True))
    mail_id = email_service.queue_email("ann@example.com", "Order", "Text")
    worker = threads.start(app, senders=1)
    try:
        wait_until(lambda: row_of(mail_id).state == State.DEFERRED)  # the server takes tokens alone
        moving.switch_over(config.row.id, proof_of(config))
        wait_until(lambda: row_of(mail_id).state == State.SENT)
    finally:
        worker.stop()


def test_where_the_application_signed_in_by_itself_it_is_ended_at_its_own_place(
    app: Flask, provider: OAuthProviderServer
) -> None:
    config = stored(587, smtp_server="smtp.office365.com", use_ssl=False, use_tls=True)
    wanted = Registration(
        provider=OAuthProvider.MICROSOFT,
        way=Grant.CLIENT_CREDENTIALS,
        tenant="contoso.com",
        authority=provider.url,
        client_id=CLIENT,
        client_secret=Secret("secret"),
    )
    register(config.row.id, wanted)
    assert moving.disconnect(config.row.id).taken_back_at == "entra.microsoft.com, Enterprise applications"
    await_revocations()
    assert trail()[-1] == ("disconnected", "no one had signed in yet")


def test_one_that_is_not_connected_keeps_no_mail_back_after_a_new_address_either(
    app: Flask, provider: OAuthProviderServer
) -> None:
    make_alice(is_admin=True)
    bob = make_bob().id
    moving.create_own(bob, MAILBOX, moving.place_for(OAuthProvider.GOOGLE))
    with transaction() as session:
        assert not leaving.address_changed(session, bob)
    assert not next(route.steps(bob)).blocks


def test_a_connected_own_server_is_used_again_once_it_is_saved_after_a_new_address(
    app: Flask, provider: OAuthProviderServer
) -> None:
    make_alice(is_admin=True)
    bob = make_bob().id
    config = own_connected(provider, bob)
    with transaction() as session:
        assert leaving.address_changed(session, bob)
    assert next(route.steps(bob)).settings is None
    names = ("smtp_server", "smtp_port", "smtp_username", "use_tls", "use_ssl")
    own_server.save(bob, parse_change({name: getattr(config.row, name) for name in names}))
    assert next(route.steps(bob)).settings and grants_left() == 1


def test_a_disabled_account_that_comes_back_sends_through_the_global_server_until_it_connects_again(
    app: Flask, provider: OAuthProviderServer
) -> None:
    make_alice(is_admin=True)
    bob = make_bob().id
    config = own_connected(provider, bob)
    administration.disable(bob)
    administration.enable(bob)
    await_revocations()
    first = next(route.steps(bob))
    assert first.settings is None and not first.blocks and "not connected" in first.reason
    again = connected_beside(provider, configs.of_any_scope(config.row.id))
    moving.switch_over(config.row.id, proof_of(again))
    assert next(route.steps(bob)).settings


def test_a_password_serves_on_where_another_application_was_registered_during_the_test(
    app: Flask, provider: OAuthProviderServer
) -> None:
    config = connected_beside(provider, with_password())
    known, proof = keeping.find(config.row.id), proof_of(config)
    assert known
    tokens.register(config.row.id, replace(known.registration, way=Grant.CLIENT_CREDENTIALS))
    with pytest.raises(Conflict, match=r"has not passed a test"):
        moving.switch_over(config.row.id, proof)
    assert configs.get(config.row.id).settings.password.reveal() == PASSWORD
    await_revocations()


def test_a_password_serves_on_where_the_last_token_lives_but_nobody_can_renew_it(
    app: Flask, provider: OAuthProviderServer
) -> None:
    config = connected_beside(provider, with_password())
    with transaction() as session:
        row = oauth_db.find(session, config.row.id)
        assert row
        row.needs_sign_in = True
    assert keeping.current_token(config.row.id)
    with pytest.raises(Conflict, match=r"Connect it again"):
        moving.switch_over(config.row.id, proof_of(config))
    assert configs.get(config.row.id).settings.password.reveal() == PASSWORD


def test_what_nobody_has_signed_in_with_has_nothing_to_be_taken_back(app: Flask, provider: OAuthProviderServer) -> None:
    config = stored(587, smtp_server="smtp.gmail.com", use_ssl=False, use_tls=True)
    register(config.row.id, Registration(provider=OAuthProvider.GOOGLE, way=Grant.CODE, client_id=CLIENT))
    assert moving.disconnect(config.row.id).taken_back_at == ""
