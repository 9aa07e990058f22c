"""A provider that is slow, endless, elsewhere or somebody else: nobody is signed in, and nothing waits for long."""

import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask

from app import create_app
from database.engine import db
from services.accounts import accounts
from services.single_sign_on import flow, people
from services.single_sign_on import provider as known
from services.single_sign_on.claims import ProvenIdentity
from services.single_sign_on.failures import SignOnFailure, SignOnFault
from services.single_sign_on.flow import Errand
from tests import certificates, oauth_faults
from tests.long_run import ALL
from tests.oidc_people import CALLBACK
from tests.oidc_provider import OidcProviderServer
from tests.patience import PATIENCE, stretched
from tests.services.accounts.test_account_races import winners
from tests.visitors import make_alice, make_bob
from tests.web_server import WebServer, raw

pytestmark = pytest.mark.usefixtures("app")

ISSUER = "https://id.example.com"


def refusal() -> SignOnFailure:
    with pytest.raises(SignOnFailure) as caught:
        flow.begin(Errand())
    return caught.value


def set_up_at(url: str) -> None:
    """Let the provider be elsewhere from here on."""
    object.__setattr__(known.configured(), "issuer", url)
    known.forget_all()


def test_one_that_says_nothing_is_given_up(provider: OidcProviderServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "ASK_SECONDS", stretched(0.1))
    over = threading.Event()
    provider.next("openid-configuration", oauth_faults.held(over.wait))
    try:
        assert refusal().fault is SignOnFault.UNREACHABLE
    finally:
        over.set()


def test_a_document_without_end_is_not_read_to_it(provider: OidcProviderServer) -> None:
    with WebServer(certificates.good_context("localhost")) as web:
        web.hosts["localhost"] = raw(b'HTTP/1.1 200 OK\r\n\r\n{"issuer": "' + b"x" * 3_000_000)
        set_up_at(f"https://localhost:{web.port}")
        assert str(refusal()) == "provider unusable: too_large"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_document_that_is_elsewhere_is_not_looked_for_there(provider: OidcProviderServer, status: int) -> None:
    with WebServer(certificates.good_context("localhost")) as inside:
        place = f"https://localhost:{inside.port}/.well-known/openid-configuration"
        provider.next("openid-configuration", oauth_faults.redirect(place, status))
        assert str(refusal()) == f"provider unusable: status {status}"
        assert inside.requests == []


@pytest.mark.parametrize(
    "context",
    [
        certificates.server_context(certificates.stranger().issue_cert("localhost")),
        certificates.good_context("id.example.com"),
    ],
    ids=["of an authority that nobody trusts", "of another name"],
)
def test_one_with_a_wrong_certificate_hears_nothing(provider: OidcProviderServer, context: ssl.SSLContext) -> None:
    with OidcProviderServer(context, CALLBACK) as other:
        set_up_at(other.url)
        assert refusal().fault is SignOnFault.UNREACHABLE
        assert other.requests == []


def test_a_code_counts_once_in_the_same_browser(provider: OidcProviderServer) -> None:
    away = flow.begin(Errand())
    answer = parse_qs(urlsplit(provider.come_back(away.url)).query)
    assert flow.finish(answer, away.cookie)[0].subject == "subject-1"
    with pytest.raises(SignOnFailure, match="refused by the provider"):
        flow.finish(answer, away.cookie)


def test_an_id_token_of_another_provider_is_refused(provider: OidcProviderServer) -> None:
    provider.identity = {"iss": "https://other.example.com"}
    away = flow.begin(Errand())
    with pytest.raises(SignOnFailure, match="id token not valid: issuer"):
        flow.finish(parse_qs(urlsplit(provider.come_back(away.url)).query), away.cookie)


def test_one_without_a_nonce_is_refused(provider: OidcProviderServer) -> None:
    provider.edit = lambda claims: claims.pop("nonce")
    away = flow.begin(Errand())
    with pytest.raises(SignOnFailure, match="id token not valid: nonce"):
        flow.finish(parse_qs(urlsplit(provider.come_back(away.url)).query), away.cookie)


def come_and_link(_number: int, login: str) -> bool:
    """Come in for the first time, and link a sign-in to an account of one's own; whether the second was possible."""
    who = ProvenIdentity(issuer=ISSUER, subject="2", username="ada", email="ada@example.com")
    assert people.sign_in(who).username == "ada"
    person = accounts.find_by_login(login)
    assert person
    try:
        people.link(person.id, ProvenIdentity(issuer=ISSUER, subject="1", username=login))
    except SignOnFailure:
        return False
    return True


def come_and_link_at_once(app: Flask, names: list[str]) -> list[int]:
    """The numbers of those who could link, of as many threads."""
    barrier = Barrier(len(names))

    def once(number: int) -> bool:
        with app.app_context():
            accounts.find(0)  # so that the connection is open before the signal
            barrier.wait(PATIENCE)
            return come_and_link(number, names[number])

    with ThreadPoolExecutor(len(names)) as pool:
        return [number for number, has_won in enumerate(pool.map(once, range(len(names)))) if has_won]


def test_two_who_come_or_link_at_once_have_one_account(app: Flask, environment: dict[str, str], tmp_path: Path) -> None:
    """In two threads; in two processes where faults are looked for in full number."""
    persons, names = [make_alice(), make_bob()], ["alice", "bob"]
    won = winners(environment, tmp_path, come_and_link, names) if ALL else come_and_link_at_once(app, names)
    linked = {person.username for person in persons if people.of_account(person.id)}
    assert len(linked) == 1
    assert {names[number % 2] for number in won} == linked
    assert [person.username for person in accounts.everybody()] == ["ada", "alice", "bob"]


def test_so_it_is_where_two_transactions_write_at_once(
    environment: dict[str, str], postgresql: str, tmp_path: Path
) -> None:
    app = create_app(environment | {"DATABASE_URL": postgresql}, instance_path=tmp_path)
    with app.app_context():
        make_alice()
        make_bob()
        assert len(come_and_link_at_once(app, ["alice", "bob"])) == 1
        assert [person.username for person in accounts.everybody()] == ["ada", "alice", "bob"]
        db.engine.dispose()
