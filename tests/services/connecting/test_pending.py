"""Sign-ins under way: what comes back counts once, in time, for whoever began it, and only if it is enough."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlencode

import pytest
from flask import Flask
from sqlalchemy import select

from database import oauth_db
from database.audit_db import AuditEvent
from database.engine import reading, transaction
from database.oauth_db import PendingOAuth
from services import audit
from services.audit import Action
from services.connecting import pending, tokens
from services.connecting.pending import Beginner
from services.connecting.refusals import ConnectFault, ConnectRefused
from services.connecting.tokens import NewConnection
from services.oauth import keeping, providers
from services.oauth.answers import IdentityClaims, StillWaiting, TokenSet
from services.oauth.failures import TokenFailure, TokenFault
from services.oauth.providers import Grant, OAuthProvider
from services.oauth.registration import Registration
from services.settings import configs
from services.settings.fields import parse_change
from services.worker import groups
from tests import connected_rows, oauth_faults, signed_in_by_token
from tests.oauth_provider import USER_CODE, OAuthProviderServer, RegisteredClient
from tests.services.oauth.signing_in import pressed
from tests.signed_in_by_token import CLIENT, MAILBOX, SECRET, register, registration
from tests.turned_clock import Now
from utils import clock
from utils.errors import NotFound
from utils.secret import Secret

REDIRECT: Final = "https://example.com/mail/oauth/callback"  # below a path
ALICE: Final = Beginner("session 1", "alice")
OFFICE: Final = "smtp.office365.com"


def office(provider: OAuthProviderServer, **more: Any) -> int:
    """A server of Microsoft's with a password, for which an application is registered at the provider of the tests."""
    provider.clients[CLIENT] = RegisteredClient((REDIRECT,), secret=SECRET)
    provider.identity = {"preferred_username": MAILBOX, "tid": "tenant"}
    values = {"name": "Office", "smtp_server": OFFICE, "smtp_username": MAILBOX, "smtp_password": "app_password"}
    config = configs.create(parse_change({**values, "from_email": MAILBOX}))
    wanted = Registration(
        provider=OAuthProvider.MICROSOFT,
        way=Grant.CODE,
        tenant="contoso.com",
        authority=provider.url,
        client_id=CLIENT,
        client_secret=Secret(SECRET),
    )
    return register(config.row.id, replace(wanted, **more)).config_id


def came_back(config_id: int, decision: str = "grant") -> dict[str, list[str]]:
    """What the browser comes back with."""
    return pressed(pending.begin_redirect(config_id, ALICE, REDIRECT), decision)


def finished(answer: dict[str, list[str]], by: Beginner = ALICE) -> NewConnection:
    return pending.finish(pending.taken_out(answer), answer, by)


def failure_of(answer: dict[str, list[str]], by: Beginner = ALICE) -> TokenFailure:
    with pytest.raises(TokenFailure) as caught:
        finished(answer, by)
    return caught.value


def refusal_of(answer: dict[str, list[str]]) -> ConnectFault:
    with pytest.raises(ConnectRefused) as caught:
        finished(answer)
    return caught.value.fault


def under_way() -> int:
    with reading() as session:
        return len(list(session.scalars(select(PendingOAuth))))


def has_tokens(config_id: int) -> bool:
    known = keeping.find(config_id)
    assert known
    return bool(known.access_token or known.refresh_token or known.consent)


def test_whoever_comes_back_in_time_is_connected(app: Flask, provider: OAuthProviderServer) -> None:
    config_id = office(provider)
    with audit.acting(audit.Actor("alice", "127.0.0.1")):
        connected = finished(came_back(config_id))
    assert (connected.config_id, connected.caution) == (config_id, "")
    known = connected.sign_in
    assert (known.mailbox, known.granted_by, known.is_connected) == (MAILBOX, "alice", True)
    assert provider.mailbox_of(keeping.current_token(config_id).reveal()) == MAILBOX
    assert under_way() == 0
    stored = configs.get(config_id)
    assert (stored.settings.is_by_token, stored.settings.password) == (False, Secret("app_password"))
    event = audit.events(action=Action.CONNECTED)[0]
    assert (event.actor, event.details) == ("alice", f"microsoft, code, as {MAILBOX}")


def test_nothing_that_is_stored_of_a_sign_in_under_way_is_its_state_verifier_or_session(
    app: Flask, provider: OAuthProviderServer
) -> None:
    answer = came_back(office(provider))
    with reading() as session:
        row = session.scalars(select(PendingOAuth)).one()
        written = " ".join(str(value) for value in vars(row).values())
    assert answer["state"][0] not in written
    assert ALICE.place not in written
    assert row.verifier.startswith("gAAAA")


def test_an_answer_counts_once(app: Flask, provider: OAuthProviderServer) -> None:
    config_id = office(provider)
    answer = came_back(config_id)
    assert finished(answer)
    assert failure_of(answer).fault is TokenFault.STATE
    known = keeping.find(config_id)
    assert known and known.consent == 1


@pytest.mark.parametrize(
    "answer", [{}, {"state": []}, {"state": [""]}, {"state": ["x"], "code": ["y"]}, {"state": ["\ud800"]}]
)
def test_an_answer_to_nothing_counts_for_nothing(app: Flask, answer: dict[str, list[str]]) -> None:
    assert failure_of(answer).fault is TokenFault.STATE


def test_an_answer_in_another_session_counts_for_nothing_and_is_used_up(
    app: Flask, provider: OAuthProviderServer
) -> None:
    config_id = office(provider)
    answer = came_back(config_id)
    assert failure_of(answer, Beginner("session 2", "alice")).fault is TokenFault.STATE
    assert failure_of(answer).fault is TokenFault.STATE
    assert not has_tokens(config_id)


def test_after_eleven_minutes_it_is_too_late(app: Flask, now: Now, provider: OAuthProviderServer) -> None:
    config_id = office(provider)
    answer = came_back(config_id)
    now.turn(11 * 60)
    assert failure_of(answer).fault is TokenFault.STATE
    assert not has_tokens(config_id)


def test_a_state_or_a_code_that_comes_twice_is_refused(app: Flask, provider: OAuthProviderServer) -> None:
    config_id = office(provider)
    for name in ("state", "code"):
        answer = came_back(config_id)
        assert failure_of({**answer, name: [*answer[name], "another"]}).fault is TokenFault.STATE
    assert under_way() == 0


def test_who_says_no_is_told_so(app: Flask, provider: OAuthProviderServer) -> None:
    failure = failure_of(came_back(office(provider), "deny"))
    assert (failure.fault, failure.error) == (TokenFault.REFUSED, "access_denied")
    assert under_way() == 0


def test_an_answer_of_another_provider_gets_no_code_of_ours(app: Flask, provider: OAuthProviderServer) -> None:
    config_id = signed_in_by_token.stored(465).row.id
    register(config_id, registration(provider, issuer=provider.url))
    provider.clients[CLIENT].redirect_uris = (REDIRECT,)
    answer = came_back(config_id)
    before = provider.counts["authorization_code"]
    assert failure_of({**answer, "iss": ["https://evil.example"]}).fault is TokenFault.STATE
    assert provider.counts["authorization_code"] == before


def test_only_the_newest_sign_in_of_a_session_counts(app: Flask, provider: OAuthProviderServer) -> None:
    config_id = office(provider)
    older, newer = came_back(config_id), came_back(config_id)
    assert failure_of(older).fault is TokenFault.STATE
    assert finished(newer)


def test_a_server_that_is_deleted_meanwhile_is_not_connected(app: Flask, provider: OAuthProviderServer) -> None:
    config_id = office(provider)
    answer = came_back(config_id)
    configs.delete(config_id)
    assert failure_of(answer).fault is TokenFault.STATE


def test_a_registration_that_is_changed_meanwhile_gets_no_code_of_the_one_before(
    app: Flask, provider: OAuthProviderServer
) -> None:
    config_id = office(provider)
    answer = came_back(config_id)
    known = keeping.find(config_id)
    assert known
    register(config_id, replace(known.registration, tenant="other.example"))
    assert refusal_of(answer) is ConnectFault.CHANGED
    assert not has_tokens(config_id)
    assert provider.counts["authorization_code"] == 0


def test_a_permission_that_was_left_out_is_told_and_nothing_is_kept(app: Flask, provider: OAuthProviderServer) -> None:
    config_id = office(provider)
    provider.next("token", oauth_faults.with_fields(scope="openid profile"))
    assert refusal_of(came_back(config_id)) is ConnectFault.SCOPE_MISSING
    assert not has_tokens(config_id)
    provider.next("token", oauth_faults.with_fields(scope="https://outlook.office.com/smtp.send"))
    assert finished(came_back(config_id))


@pytest.mark.parametrize("odd", ["a\x00b", "\ud800", "é", "x" * 5000])
def test_what_is_no_scope_in_an_answer_is_not_kept_and_harms_nothing(
    app: Flask, provider: OAuthProviderServer, odd: str
) -> None:
    config_id = office(provider)
    scope = "https://outlook.office.com/SMTP.Send"
    provider.next("token", oauth_faults.with_fields(scope=f"{scope} {odd}"))
    granted = finished(came_back(config_id)).sign_in.granted_scopes
    assert scope in granted and odd not in granted


def test_without_anything_to_renew_with_nothing_is_kept(app: Flask, provider: OAuthProviderServer) -> None:
    config_id = office(provider)
    provider.gives_refresh = False
    assert refusal_of(came_back(config_id)) is ConnectFault.NO_REFRESH_TOKEN
    assert not has_tokens(config_id)


def test_at_microsoft_another_mailbox_may_be_one_that_sends_for_a_shared_one(
    app: Flask, provider: OAuthProviderServer
) -> None:
    config_id = office(provider)
    provider.identity["preferred_username"] = "jane@example.com"
    connected = finished(came_back(config_id))
    assert connected.caution.startswith(f"jane@example.com signed in, and email is sent as {MAILBOX}.")
    assert has_tokens(config_id)


def test_the_email_that_an_administrator_of_any_tenant_can_set_says_nothing(
    app: Flask, provider: OAuthProviderServer
) -> None:
    config_id = office(provider)
    provider.identity = {"preferred_username": "mallory@evil.example", "email": MAILBOX, "tid": "evil"}
    assert "mallory@evil.example signed in" in finished(came_back(config_id)).caution


@pytest.mark.parametrize(
    ("username", "mailbox", "is_taken"),
    [
        ("shop@example.com", "Shop@Example.com", True),
        ("j.doe@gmail.com", "jdoe@googlemail.com", True),
        ("shop@example.com", "other@example.com", False),
        ("j.doe@example.com", "jdoe@example.com", False),
    ],
)
def test_at_google_another_mailbox_cannot_work(app: Flask, username: str, mailbox: str, is_taken: bool) -> None:
    values = {"name": "Gmail", "smtp_server": "smtp.gmail.com", "smtp_username": username, "auth_method": "XOAUTH2"}
    config_id = configs.create(parse_change({**values, "from_email": username})).row.id
    known = register(config_id, Registration(provider=OAuthProvider.GOOGLE, way=Grant.CODE, client_id=CLIENT))
    who = IdentityClaims(issuer="i", subject="s", email=mailbox, email_is_verified=True)
    given = TokenSet(
        access_token=Secret("a"),
        expires_at=clock.now() + timedelta(hours=1),
        life_is_told=True,
        refresh_token=Secret("r"),
        scopes=(providers.GOOGLE_SCOPE,),
        identity=who,
    )
    if is_taken:
        assert tokens.kept(known, providers.google(), given, "alice").sign_in.mailbox == mailbox
        return
    with pytest.raises(ConnectRefused) as caught:
        tokens.kept(known, providers.google(), given, "alice")
    assert caught.value.fault is ConnectFault.OTHER_MAILBOX
    assert not has_tokens(config_id)


def test_the_address_at_which_a_browser_ended_is_pasted_back(app: Flask, provider: OAuthProviderServer) -> None:
    config_id = office(provider)
    address = f" http://localhost:47925/oauth/callback?{urlencode(came_back(config_id), doseq=True)}\n"
    assert pending.paste(config_id, address, ALICE).config_id == config_id
    with pytest.raises(TokenFailure):
        pending.paste(config_id, address, ALICE)
    for nothing in ("", "hello", "http://localhost/", "\x00", "http://[", "code"):
        with pytest.raises(ConnectRefused) as caught:
            pending.paste(config_id, nothing, ALICE)
        assert caught.value.fault is ConnectFault.NOT_AN_ADDRESS


def test_an_address_is_not_pasted_to_another_server(app: Flask, provider: OAuthProviderServer) -> None:
    config_id = office(provider)
    address = f"http://localhost/?{urlencode(came_back(config_id), doseq=True)}"
    with pytest.raises(TokenFailure):
        pending.paste(config_id + 1, address, ALICE)
    assert not has_tokens(config_id)


def typed_in(provider: OAuthProviderServer, decision: str = "grant") -> None:
    pressed(f"{provider.url}/device", decision, user_code=USER_CODE)


def device(provider: OAuthProviderServer) -> int:
    return office(provider, way=Grant.DEVICE)


def test_a_code_is_typed_elsewhere_and_the_provider_is_asked_no_oftener_than_it_wants(
    app: Flask, now: Now, provider: OAuthProviderServer
) -> None:
    config_id = device(provider)
    shown = pending.begin_device(config_id, ALICE)
    assert (shown.user_code, shown.verification_url) == (USER_CODE, f"{provider.url}/device")
    assert pending.device_under_way(config_id, ALICE) == shown
    assert pending.device_under_way(config_id, Beginner("session 2", "alice")) is None
    asked = len(provider.requests)
    assert pending.poll_device(config_id, ALICE) == StillWaiting(5)
    assert len(provider.requests) == asked
    now.turn(5)
    provider.next("token", oauth_faults.error("slow_down"))
    assert pending.poll_device(config_id, ALICE) == StillWaiting(10)
    now.turn(5)
    assert pending.poll_device(config_id, ALICE) == StillWaiting(5)
    assert len(provider.requests) == asked + 1
    now.turn(5)
    assert pending.poll_device(config_id, ALICE) == StillWaiting(10)
    typed_in(provider)
    now.turn(10)
    found = pending.poll_device(config_id, ALICE)
    assert isinstance(found, NewConnection)
    assert found.sign_in.mailbox == MAILBOX
    assert under_way() == 0


def test_a_server_that_is_deleted_while_a_code_is_fetched_is_told_to_be_gone(
    app: Flask, provider: OAuthProviderServer
) -> None:
    config_id = device(provider)

    def delete(_answer: dict[str, Any]) -> None:
        with app.app_context():
            configs.delete(config_id)

    provider.next("devicecode", oauth_faults.Edited(delete))
    with pytest.raises(NotFound):
        pending.begin_device(config_id, ALICE)
    assert under_way() == 0


def test_a_provider_that_is_not_well_does_not_end_the_wait(app: Flask, now: Now, provider: OAuthProviderServer) -> None:
    config_id = device(provider)
    pending.begin_device(config_id, ALICE)
    now.turn(5)
    provider.next("token", oauth_faults.page(503))
    assert pending.poll_device(config_id, ALICE) == StillWaiting(10)
    typed_in(provider)
    now.turn(10)
    assert isinstance(pending.poll_device(config_id, ALICE), NewConnection)


@pytest.mark.parametrize("end", ["denied", "late", "given up", "other session"])
def test_a_code_that_leads_to_nothing_says_why(app: Flask, now: Now, provider: OAuthProviderServer, end: str) -> None:
    config_id = device(provider)
    pending.begin_device(config_id, ALICE)
    now.turn(5)
    beginner = ALICE
    if end == "denied":
        typed_in(provider, "deny")
    elif end == "late":
        now.turn(900)
    elif end == "given up":
        pending.give_up(config_id, ALICE)
    else:
        beginner = Beginner("session 2", "alice")
    with pytest.raises(TokenFailure) as caught:
        pending.poll_device(config_id, beginner)
    assert caught.value.error == ("access_denied" if end == "denied" else "expired_token")
    assert under_way() == (1 if end == "other session" else 0)


def test_an_application_gets_its_token_by_itself(app: Flask, provider: OAuthProviderServer) -> None:
    config_id = office(provider, way=Grant.CLIENT_CREDENTIALS)
    connected = tokens.obtain(config_id, "alice")
    assert (connected.caution, connected.sign_in.mailbox) == ("", "")
    assert provider.mailbox_of(keeping.current_token(config_id).reveal()) == CLIENT
    with pytest.raises(ConnectRefused):
        pending.begin_redirect(config_id, ALICE, REDIRECT)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"remove_password": True}, ConnectFault.NO_USER_NAME),
        ({"use_tls": False, "smtp_password": ""}, ConnectFault.NO_ENCRYPTION),
    ],
)
def test_a_server_that_no_token_may_go_to_is_not_connected(
    app: Flask, provider: OAuthProviderServer, change: dict[str, Any], fault: ConnectFault
) -> None:
    values = {"name": "Shop", "smtp_server": "localhost", "smtp_username": MAILBOX, "smtp_password": "app_password"}
    config_id = configs.create(parse_change({**values, "from_email": MAILBOX})).row.id
    configs.update(config_id, parse_change(change | {"smtp_password": "app_password" if "use_tls" in change else ""}))
    register(config_id, registration(provider))
    with pytest.raises(ConnectRefused) as caught:
        pending.begin_redirect(config_id, ALICE, REDIRECT)
    assert caught.value.fault is fault


def test_what_is_over_is_deleted_by_the_upkeep(app: Flask, now: Now, provider: OAuthProviderServer) -> None:
    config_id = office(provider)
    pending.begin_redirect(config_id, ALICE, REDIRECT)
    now.turn(9 * 60)
    groups.tidy()
    assert under_way() == 1
    now.turn(2 * 60)
    groups.tidy()
    assert under_way() == 0


def test_no_trail_holds_a_secret(app: Flask, provider: OAuthProviderServer) -> None:
    answer = came_back(office(provider))
    connected = finished(answer)
    with transaction() as session:
        said = " ".join(f"{row.subject} {row.details}" for row in session.scalars(select(AuditEvent)))
        assert oauth_db.find(session, connected.config_id)
    for secret in (SECRET, answer["code"][0], answer["state"][0], connected.sign_in.access_token.reveal()):
        assert secret not in said


def test_what_was_granted_to_another_application_is_revoked(app: Flask, provider: OAuthProviderServer) -> None:
    config = signed_in_by_token.connected(provider, 465)
    known = keeping.find(config.row.id)
    assert known
    for change in ({"issuer": provider.url}, {"client_secret": Secret("another")}, {"is_testing": True}):
        tokens.register(config.row.id, replace(known.registration, **change))
    connected_rows.await_revocations()
    assert provider.sent("token") == []
    tokens.register(config.row.id, replace(known.registration, client_id="other"))
    connected_rows.await_revocations()
    assert provider.sent("token") == [known.refresh_token.reveal()]
    assert audit.events(action=Action.GRANT_REVOKED)
    tokens.register(config.row.id, replace(known.registration, client_id="third"))  # which has nothing to revoke
    connected_rows.await_revocations()
    assert len(audit.events(action=Action.GRANT_REVOKED)) == 1
