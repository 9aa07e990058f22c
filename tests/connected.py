"""Servers that are connected to the tests' provider of tokens: registered, agreed to, and kept as the pages keep it."""

from typing import Any, Final

from database import smtp_db
from database.engine import transaction
from services.oauth import consents, keeping
from services.oauth.consents import Consent
from services.oauth.providers import Grant, OAuthProvider
from services.oauth.registration import Registration
from services.settings import configs, named
from tests.oauth_provider import OAuthProviderServer, RegisteredClient
from tests.services.oauth.conftest import REDIRECT, SECRET
from tests.services.oauth.signing_in import signed_in
from utils.secret import Secret

CLIENT: Final = "with-secret"


def registration(provider: OAuthProviderServer, **other: Any) -> Registration:
    """An application at this provider that it knows, as somebody registers it here."""
    provider.clients.setdefault(CLIENT, RegisteredClient((REDIRECT,), secret=SECRET))
    usual: dict[str, Any] = {
        "provider": OAuthProvider.CUSTOM,
        "way": Grant.CODE,
        "authorize_url": f"{provider.url}/authorize",
        "token_url": f"{provider.url}/token",
        "device_url": f"{provider.url}/devicecode",
        "revoke_url": f"{provider.url}/revoke",
        "issuer": provider.url,
        "scope": "smtp openid",
        "client_id": CLIENT,
        "client_secret": Secret(SECRET),
    }
    return Registration(**usual | other)


def add_server(provider: OAuthProviderServer, port: int, **fields: Any) -> int:
    """A server at this port of this machine that is to be signed in to by token, and cannot yet be; its id."""
    values: dict[str, Any] = {
        "smtp_server": "localhost",
        "smtp_port": port,
        "use_tls": False,
        "use_ssl": True,
        "smtp_username": provider.mailbox,
        "auth_method": "XOAUTH2",
        "from_email": provider.mailbox,
    }
    return named.create_config(fields.pop("name", "By token"), **values | fields).row.id


def register(config_id: int, provider: OAuthProviderServer, **other: Any) -> None:
    with transaction() as session:
        config = smtp_db.find(session, config_id)
        assert config
        consents.register(session, config, registration(provider, **other))


def agree(config_id: int) -> None:
    """Somebody signs in at the provider, in a browser, and the tokens are kept."""
    known = keeping.find(config_id)
    assert known
    policy = keeping.policy()
    provider = known.registration.token_provider(known.smtp_host, may_be_plain=policy.may_be_plain)
    given = signed_in(provider, known.registration.client, policy)
    consents.keep(config_id, Consent(given=given, mailbox=known.username, by="alice"), known.registration_mac)


def connect(provider: OAuthProviderServer, port: int, **fields: Any) -> int:
    """All of it, and activate the server; its id."""
    config_id = add_server(provider, port, **fields)
    register(config_id, provider)
    agree(config_id)
    configs.activate(config_id)
    return config_id
