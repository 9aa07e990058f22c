"""Servers of Microsoft's and Google's as they are once connected, where nobody is asked for a token."""

import threading
from datetime import timedelta
from typing import Any

from database import oauth_db
from database.engine import transaction
from services.oauth import consents
from services.oauth.answers import TokenSet
from services.oauth.consents import Consent
from services.oauth.providers import Grant, OAuthProvider
from services.oauth.registration import Registration
from services.settings import configs, sign_ins
from services.settings.fields import parse_change
from services.settings.sealing import StoredConfig
from tests.patience import PATIENCE
from tests.signed_in_by_token import register
from utils import clock
from utils.secret import Secret

MAILBOX = "shop@example.com"
SECRET, REFRESH, ACCESS = "client~secret ü", "refresh-token-1", "access-token-1"
HOSTS = {OAuthProvider.MICROSOFT: "smtp.office365.com", OAuthProvider.GOOGLE: "smtp.gmail.com"}


def stored(host: str = HOSTS[OAuthProvider.MICROSOFT], **more: Any) -> StoredConfig:
    """A server with a password, or what ``more`` says."""
    values = {"name": "Shop", "smtp_server": host, "smtp_username": MAILBOX, "from_email": MAILBOX}
    if "auth_method" not in more:
        values["smtp_password"] = "the old password"
    return configs.create(parse_change(values | more))


def connect(config: StoredConfig, provider: OAuthProvider = OAuthProvider.MICROSOFT) -> StoredConfig:
    """Let somebody have signed in for it."""
    wanted = Registration(provider=provider, way=Grant.CODE, client_id="app", client_secret=Secret(SECRET))
    known = register(config.row.id, wanted)
    given = TokenSet(
        access_token=Secret(ACCESS),
        refresh_token=Secret(REFRESH),
        expires_at=clock.now() + timedelta(hours=1),
        life_is_told=True,
        scopes=(),
    )
    consents.keep(config.row.id, Consent(given=given, mailbox=MAILBOX, by="ada"), known.registration_mac)
    return configs.of_any_scope(config.row.id)


def connected(**more: Any) -> StoredConfig:
    """A server of Microsoft's that is connected, and active."""
    config = connect(stored(auth_method="XOAUTH2", **more))
    return configs.activate(config.row.id)


def end_sign_in(config_id: int) -> None:
    """Let its tokens be over, as a refused renewal leaves it."""
    with transaction() as session:
        row = oauth_db.find(session, config_id)
        assert row
        row.needs_sign_in, row.trouble = True, "refused/invalid_grant"
        row.trouble_at = row.access_ends_at = clock.now() - timedelta(minutes=5)


def await_revocations() -> None:
    """Wait until providers were told of all that was ended."""
    for thread in threading.enumerate():
        if thread.name == sign_ins.THREAD:
            thread.join(PATIENCE)
