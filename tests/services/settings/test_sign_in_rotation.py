"""A sign-in by token is sealed anew with its server, and what cannot be opened any more is told."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from flask import Flask

from services.connecting import pending
from services.connecting.pending import Beginner
from services.oauth import consents, keeping
from services.oauth.answers import TokenSet
from services.oauth.consents import Consent
from services.oauth.failures import TokenFailure, TokenFault
from services.oauth.providers import Grant, OAuthProvider
from services.oauth.registration import Registration
from services.oauth.sealed import SignInCondition, StoredSignIn
from services.settings import configs, key_rotation
from services.settings.fields import parse_change
from services.settings.key_rotation import Point, Role, SealedRow
from services.settings.sealing import Condition
from tests import certificates
from tests.conftest import APP_KEY
from tests.oauth_provider import OAuthProviderServer, RegisteredClient
from tests.rotations import NEW_KEY, Environment, sql, under
from tests.services.oauth.signing_in import pressed
from tests.signed_in_by_token import CLIENT, SECRET, connected, register, reread
from utils import clock
from utils.encryption_utils import current_key_id
from utils.secret import Secret

SECRETS: Final = ("client-secret ü", "refresh-token 1", "access-token 1")
PASSWORD: Final = "the old password"
REDIRECT: Final = "https://example.com/oauth/callback"
BEGINNER: Final = Beginner("token 5", "ada")


@pytest.fixture
def provider() -> Iterator[OAuthProviderServer]:
    with OAuthProviderServer(certificates.good_context("localhost")) as running:
        running.clients[CLIENT] = RegisteredClient((REDIRECT,), secret=SECRET)
        yield running


@pytest.fixture
def config_id(app: Flask) -> int:
    """A server of Microsoft's that is connected, and has a password that still serves."""
    values = {
        "name": "Shop",
        "smtp_server": "smtp.office365.com",
        "smtp_username": "shop@example.com",
        "smtp_password": PASSWORD,
        "from_email": "shop@example.com",
    }
    config = configs.create(parse_change(values))
    wanted = Registration(
        provider=OAuthProvider.MICROSOFT, way=Grant.CODE, client_id="app", client_secret=Secret(SECRETS[0])
    )
    known = register(config.row.id, wanted)
    given = TokenSet(
        access_token=Secret(SECRETS[2]),
        refresh_token=Secret(SECRETS[1]),
        expires_at=clock.now(),
        life_is_told=True,
        scopes=(),
    )
    consents.keep(config.row.id, Consent(given=given, mailbox="shop@example.com"), known.registration_mac)
    return config.row.id


def secrets_of(known: StoredSignIn) -> tuple[str, ...]:
    found = known.registration.client_secret, known.refresh_token, known.access_token
    return tuple(secret.reveal() for secret in found)


def test_after_a_rotation_the_new_key_alone_opens_the_tokens(
    environment: Environment, tmp_path: Path, config_id: int
) -> None:
    with under(environment, tmp_path, NEW_KEY, APP_KEY):
        assert secrets_of(reread(config_id)) == SECRETS  # also before
        before = key_rotation.status()
        assert [(use.role, use.rows, use.sign_ins) for use in before.keys] == [
            (Role.CURRENT, 0, 0),
            (Role.PREVIOUS, 1, 1),
        ]
        assert before.to_rotate == 2
        foretold = key_rotation.rotate(dry_run=True)
        done = key_rotation.rotate()
        assert len(done.rotated) == 1 and done.after == foretold.after and done.after.is_well
        assert [use.role for use in done.after.unreferenced] == [Role.PREVIOUS]
    with under(environment, tmp_path, NEW_KEY):
        assert secrets_of(reread(config_id)) == SECRETS
        assert configs.get(config_id).settings.password.reveal() == PASSWORD


@pytest.mark.parametrize("point", Point)
def test_one_that_is_ended_anywhere_leaves_both_under_one_key_and_is_finished_by_the_next(
    environment: Environment, tmp_path: Path, config_id: int, point: Point
) -> None:
    def hear(at: Point, _row: SealedRow) -> None:
        if at is point:
            raise KeyboardInterrupt

    with under(environment, tmp_path, NEW_KEY, APP_KEY):
        with pytest.raises(KeyboardInterrupt):
            key_rotation.rotate(hear=hear)
        is_done = point is Point.COMMITTED
        keys = configs.get(config_id).row.key_id, reread(config_id).key_id
        assert [key == current_key_id() for key in keys] == [is_done, is_done]
        assert secrets_of(reread(config_id)) == SECRETS
        assert len(key_rotation.rotate().rotated) == (0 if is_done else 1)
        assert reread(config_id).key_id == current_key_id()


def test_a_sign_in_that_alone_is_under_the_previous_key_is_sealed_anew(
    environment: Environment, tmp_path: Path, config_id: int
) -> None:
    with under(environment, tmp_path, NEW_KEY, APP_KEY):
        configs.update(config_id, parse_change({"smtp_password": PASSWORD}))  # as by hand: now under the new key
        assert configs.get(config_id).row.key_id == current_key_id() != reread(config_id).key_id
        assert key_rotation.status().to_rotate == 1
        assert len(key_rotation.rotate().rotated) == 1
        assert reread(config_id).key_id == current_key_id() and secrets_of(reread(config_id)) == SECRETS


@pytest.mark.parametrize("condition", [SignInCondition.KEY_MISSING, SignInCondition.ALTERED])
def test_one_that_cannot_be_opened_is_told_and_left_as_it_is(
    environment: Environment, tmp_path: Path, config_id: int, condition: SignInCondition
) -> None:
    if condition is SignInCondition.ALTERED:
        sql("UPDATE oauth_sign_in SET token_url = 'https://evil.example.com/token'")
    else:
        sql("UPDATE oauth_sign_in SET key_id = 'feedbeef'")
    with under(environment, tmp_path, NEW_KEY, APP_KEY):
        done = key_rotation.rotate()
        assert [refusal.condition for refusal in done.after.refused] == [Condition(condition)]
        assert "onnect the server again" in done.after.refused[0].reason
        assert not done.after.is_well
        assert reread(config_id).condition is condition and secrets_of(reread(config_id)) == ("", "", "")
        assert configs.get(config_id).settings.password.reveal() == PASSWORD


def test_a_sign_in_that_is_under_way_when_the_key_changes_has_to_be_begun_anew(
    environment: Environment, tmp_path: Path, app: Flask, provider: OAuthProviderServer
) -> None:
    config = connected(provider, 2465, scope="mail")
    answer = pressed(pending.begin_redirect(config.row.id, BEGINNER, REDIRECT))
    asked = len(provider.requests)
    with under(environment | {"SMTP_CA_FILE": str(certificates.ca_file())}, tmp_path, NEW_KEY, APP_KEY):
        key_rotation.rotate()
        with pytest.raises(TokenFailure) as caught:  # as the session that began it has ended with the key
            pending.finish(pending.taken_out(answer), answer, BEGINNER)
        assert caught.value.fault is TokenFault.STATE
        assert len(provider.requests) == asked and reread(config.row.id).consent == 1
        assert keeping.current_token(config.row.id)
