"""A server that is connected: stored, registered at the provider of the tests, and granted tokens by it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from database import oauth_db, smtp_db
from database.engine import transaction
from services.oauth import answers, consents, keeping
from services.oauth.answers import TokenSet
from services.oauth.consents import Consent
from services.oauth.providers import Grant, OAuthProvider
from services.oauth.registration import Registration
from services.oauth.sealed import StoredSignIn, unsealed
from services.settings import configs
from services.settings.fields import parse_change
from services.settings.sealing import StoredConfig
from tests import certificates
from tests.bearer_server import BearerSide, bearer_server
from tests.oauth_provider import OAuthProviderServer, RegisteredClient
from tests.scripted_server import ScriptedServer
from utils import clock
from utils.secret import Secret

MAILBOX: Final = "shop@example.com"
CLIENT: Final = "sealpost"
SECRET: Final = "client~secret +&=%/ü"
SCOPE: Final = ("mail",)


class GoodTokens(Mapping[str, set[str]]):
    """For whom each token is good now, as the provider has it."""

    def __init__(self, provider: OAuthProviderServer) -> None:
        self._provider = provider

    def __getitem__(self, token: str) -> set[str]:
        mailbox = self._provider.mailbox_of(token)
        if not mailbox:
            raise KeyError
        return {mailbox}

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


@contextmanager
def mail_server(provider: OAuthProviderServer, dialect: str = "google") -> Iterator[tuple[ScriptedServer, BearerSide]]:
    """A mail server that takes the provider's tokens."""
    side = BearerSide(GoodTokens(provider), dialect)
    with bearer_server(side) as server:
        yield server, side


@contextmanager
def provider_and_mail_server() -> Iterator[tuple[OAuthProviderServer, int]]:
    """A provider, and the port of a mail server that takes its tokens."""
    with (
        OAuthProviderServer(certificates.good_context("localhost")) as provider,
        mail_server(provider) as (server, _),
    ):
        yield provider, server.port


def registration(provider: OAuthProviderServer, **more: Any) -> Registration:
    """Of an application that the provider knows."""
    provider.clients.setdefault(CLIENT, RegisteredClient((), secret=SECRET))
    values: dict[str, Any] = {
        "provider": OAuthProvider.CUSTOM,
        "way": Grant.CODE,
        "authorize_url": f"{provider.url}/authorize",
        "token_url": f"{provider.url}/token",
        "device_url": f"{provider.url}/devicecode",
        "revoke_url": f"{provider.url}/revoke",
        "scope": " ".join(SCOPE),
        "client_id": CLIENT,
        "client_secret": Secret(SECRET),
    }
    return Registration(**values | more)


def stored(port: int, **more: Any) -> StoredConfig:
    """A server that is to be signed in to by token, and that nobody has connected yet."""
    values = {
        "name": "Shop",
        "smtp_server": "localhost",
        "smtp_port": port,
        "use_ssl": True,
        "smtp_username": MAILBOX,
        "auth_method": "XOAUTH2",
        "from_email": MAILBOX,
    }
    return configs.create(parse_change(values | more))


def register(config_id: int, wanted: Registration) -> StoredSignIn:
    """Write down what is registered."""
    with transaction() as session:
        config = smtp_db.find(session, config_id)
        assert config
        consents.register(session, config, wanted)
    found = keeping.find(config_id)
    assert found
    return found


def grant(provider: OAuthProviderServer, known: StoredSignIn) -> StoredSignIn:
    """Let someone sign in."""
    answer = provider.granted(known.registration.client_id, known.username)
    given: TokenSet = answers.token_set(answer, clock.now(), SCOPE)
    return consents.keep(known.config_id, Consent(given=given, mailbox=MAILBOX, by="ada"), known.registration_mac)


def connected(provider: OAuthProviderServer, port: int, **more: Any) -> StoredConfig:
    """A server that is connected, and active."""
    config = stored(port)
    grant(provider, register(config.row.id, registration(provider, **more)))
    return configs.activate(config.row.id)


def reread(config_id: int) -> StoredSignIn:
    """What is stored now."""
    with transaction() as session:
        row, config = oauth_db.find(session, config_id), smtp_db.find(session, config_id)
        assert row and config
        return unsealed(row, config)
