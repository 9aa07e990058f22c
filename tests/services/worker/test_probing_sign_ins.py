"""Looks at servers that are signed in to by token, or that accounts have brought."""

from collections.abc import Iterator

import pytest
from flask import Flask

from database import probe_db
from database.engine import reading, transaction
from database.user_db import Account
from services.accounts import administration
from services.oauth import keeping
from services.settings import configs, health
from services.settings.sealing import StoredConfig
from services.worker.probing import MOST_REFUSALS, Prober
from tests import certificates, signed_in_by_token
from tests.bearer_server import BearerSide
from tests.mails import queued
from tests.oauth_provider import OAuthProviderServer
from tests.own_servers import PLACES, PORT, bring, free_host
from tests.recording_server import RecordingServer
from tests.signed_in_by_token import connected
from tests.turned_clock import Now
from utils import clock

PERIOD = 15 * 60
LONG = PERIOD * 1.3
DAY = 86400


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return environment | {"SMTP_CA_FILE": str(certificates.ca_file())} | PLACES


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    turned = Now()
    monkeypatch.setattr(clock, "now", turned)
    return turned


@pytest.fixture
def provider() -> Iterator[OAuthProviderServer]:
    with OAuthProviderServer(certificates.good_context("localhost")) as running:
        yield running


@pytest.fixture
def mail(app: Flask, now: Now, provider: OAuthProviderServer) -> Iterator[tuple[StoredConfig, BearerSide]]:
    """A server that takes the provider's tokens and is connected, and its side of signing in."""
    with signed_in_by_token.mail_server(provider) as (server, side):
        config = connected(provider, server.port)
        Prober().look()
        yield config, side


def asked(provider: OAuthProviderServer) -> int:
    return provider.counts["refresh_token"]


def looked(prober: Prober, now: Now, seconds: float = LONG) -> bool:
    now.turn(seconds)
    return prober.look()


def test_the_living_token_is_used_and_where_none_lives_nobody_signs_in(
    provider: OAuthProviderServer, mail: tuple[StoredConfig, BearerSide], now: Now
) -> None:
    config, side = mail
    prober = Prober(now.seconds)
    assert looked(prober, now)
    assert side.tokens == [keeping.current_token(config.id).reveal()]
    while keeping.living_token(config.id):
        now.turn(600)
    assert looked(prober, now)
    assert len(side.tokens) == 1
    assert asked(provider) == 0
    found = health.of_config(configs.get(config.id))
    assert (found.looked_at, found.has_trouble, found.needs_sign_in) == (now.moment, False, False)


def test_a_token_that_the_server_refuses_is_not_renewed_for_a_look_and_calls_no_server_down(
    provider: OAuthProviderServer, mail: tuple[StoredConfig, BearerSide], now: Now
) -> None:
    config, side = mail
    provider.end_tokens()  # those that live here by their own date are good no more
    prober = Prober(now.seconds)
    assert looked(prober, now)
    assert not looked(prober, now, 1700)
    assert [len(side.tokens), asked(provider)] == [1, 0]
    assert not health.of_config(configs.get(config.id)).has_trouble


def personal(number: int, host: str, **values: object) -> int:
    """Somebody whose own server is there; the account's id."""
    moment, name = clock.now(), f"user{number}"
    with transaction() as session:
        keys = {"username_key": name, "email_key": f"{name}@example.com"}
        times = {"created_at": moment, "password_changed_at": moment}
        account = Account(username=name, email=f"{name}@example.com", password_hash="-", **keys, **times)
        session.add(account)
        session.flush()
    bring(account.id, host, PORT, **values)  # type: ignore[arg-type]
    return account.id


def test_an_accounts_own_server_is_looked_at_once_a_day_and_while_its_mail_waits_as_often_as_the_global_one(
    app: Flask, now: Now
) -> None:
    with RecordingServer(host=free_host(), port=PORT) as server:
        account = personal(1, server.host)
        prober = Prober(now.seconds)
        prober.look()
        assert looked(prober, now, DAY * 1.3)
        assert server.mails == []
        assert [looked(prober, now) for _ in range(5)] == [False] * 5
        queued("reader@example.net", account_id=account)
        assert looked(prober, now)
        assert not looked(prober, now, PERIOD * 0.7)
        assert looked(prober, now)


def test_the_server_of_a_disabled_account_is_not_asked_and_holds_up_no_other(app: Flask, now: Now) -> None:
    with RecordingServer(host=free_host(), port=PORT) as server, RecordingServer(host=free_host(), port=PORT) as other:
        disabled = personal(1, server.host)
        administration.disable(disabled)
        personal(2, other.host)
        prober = Prober(now.seconds)
        prober.look()
        assert looked(prober, now, DAY * 1.3)
        prober.look()
        assert not server.data
        assert other.data


def test_one_by_one_and_never_one_that_has_refused_too_many_sign_ins(app: Flask, now: Now) -> None:
    with RecordingServer(host=free_host(), port=PORT, users={}) as server:
        for number in range(3):
            personal(number, server.host, login=("own", "pass-phrase-of-tests"))
        with reading() as session:
            due = probe_db.personal_due(
                session, with_mail_before=now.moment, before=now.moment, now=now.moment, refusals=MOST_REFUSALS
            )
        assert len(due) == 3
        prober = Prober(now.seconds)
        prober.look()
        now.turn(DAY * 1.3)
        assert [prober.look() for _ in range(4)] == [True, True, True, False]
        for _ in range(40):
            looked(prober, now, DAY * 1.3)
        per_server = len(server.auth_attempts) / 3
        assert per_server <= MOST_REFUSALS * 2  # two mechanisms a sign-in
