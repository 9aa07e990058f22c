"""Signing in by a header of the proxy in front: for whom the proxy vouches, and for no one who sends the header."""

import pytest
from flask import Flask

from services import audit
from services.accounts import administration
from tests.visitors import Visitor, make_alice, make_bob, visit
from utils.env_reader import ConfigurationError, Reader
from utils.proxy_env import named_by

SECRET = "pr0xy-s3cret-f0r-tests-Wq8Zr5TnX2kLm7Vb"
HEADER, SECRET_HEADER = "Remote-User", "Sealpost-Proxy-Secret"
PROXY = {HEADER: "alice", SECRET_HEADER: SECRET}


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    more = {"TRUSTED_PROXIES": "1", "PROXY_USER_HEADER": HEADER, "PROXY_USER_SECRET": SECRET}
    return {**environment, **more, "PROXY_SIGN_OUT_URL": "https://auth.example.com/logout"}


@pytest.fixture(autouse=True)
def _people(app: Flask) -> None:
    make_alice(is_admin=True)
    make_bob()


def actions() -> list[str]:
    return [event.action for event in audit.events()]


def test_whom_the_proxy_names_is_signed_in_and_goes_on(client: Visitor) -> None:
    assert client.get("/login?next=/emails", headers=PROXY).headers["Location"] == "/emails"
    page = client.get("/account", headers=PROXY).text
    assert "Signed in as alice, administrator" in page and "with reverse proxy" in page
    assert "signed_in" in actions()


def test_an_address_names_an_account_as_well(client: Visitor) -> None:
    headers = PROXY | {HEADER: "Bob@example.com"}
    client.get("/login", headers=headers)
    assert "Signed in as bob" in client.get("/account", headers=headers).text


@pytest.mark.parametrize(
    "headers",
    [
        {HEADER: "alice"},
        {HEADER: "alice", SECRET_HEADER: ""},
        {HEADER: "alice", SECRET_HEADER: SECRET[:-1]},
        {HEADER: "alice", SECRET_HEADER: f"{SECRET},{SECRET}"},
    ],
)
def test_a_stranger_who_sends_the_header_gets_the_sign_in_page(client: Visitor, headers: dict[str, str]) -> None:
    page = client.get("/login", headers=headers)
    assert page.status_code == 200 and 'name="password"' in page.text
    assert client.get("/account", headers=headers).status_code == 303
    event = audit.events()[0]
    assert (event.action, event.details) == ("refused", HEADER)


def test_that_stands_in_the_trail_once_in_a_window(client: Visitor) -> None:
    for _ in range(3):
        client.get("/login", headers={HEADER: "alice"})
    assert actions().count("refused") == 1


@pytest.mark.parametrize("name", ["alice,bob", "alice, alice", "", "nobody", "a" * 300])
def test_a_name_that_is_not_one_account_lets_nobody_in(client: Visitor, name: str) -> None:
    client.get("/login", headers=PROXY | {HEADER: name})
    assert not client.is_signed_in()
    assert client.get_cookie("sealpost_session") is None


def test_an_unknown_name_is_told_so(client: Visitor) -> None:
    refused = client.get("/login", headers=PROXY | {HEADER: "nobody"})
    assert refused.status_code == 401
    assert "your name there is no account’s here" in refused.text
    assert actions()[0] == "sign_in_failed"


def test_a_disabled_account_stays_out(app: Flask, client: Visitor) -> None:
    administration.disable(2)
    assert client.get("/login", headers=PROXY | {HEADER: "bob"}).status_code == 401


@pytest.mark.parametrize("later", [{}, {HEADER: "alice"}, PROXY | {HEADER: "bob"}])
def test_the_session_counts_only_while_the_proxy_names_the_same_person(client: Visitor, later: dict[str, str]) -> None:
    client.get("/login", headers=PROXY)
    assert client.get("/account", headers=PROXY).status_code == 200
    assert client.get("/account", headers=later).status_code == 303
    assert client.get("/account", headers=PROXY).status_code == 200


def test_signing_out_says_that_the_proxy_lets_one_in_again(app: Flask, client: Visitor) -> None:
    client.get("/login", headers=PROXY)
    token = client.get("/account", headers=PROXY).text.partition('name="csrf_token" value="')[2].partition('"')[0]
    gone = client.post("/logout", data={"csrf_token": token}, headers=PROXY)
    assert gone.headers["Location"] == "/signed-out"
    page = client.get("/signed-out", headers=PROXY)
    assert "lets you in again" in page.text and "https://auth.example.com/logout" in page.text
    assert client.get("/account", headers=PROXY).status_code == 303


def test_a_password_still_lets_people_in(app: Flask) -> None:
    bob = visit(app)
    assert bob.sign_in("bob").status_code == 303
    assert bob.is_signed_in()


class TestBySocket:
    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        return {**environment, "PROXY_USER_SECRET": "", "PROXY_USER_BY_SOCKET": "true"}

    @pytest.mark.parametrize(
        ("peer", "server", "is_signed_in"),
        [("", "gunicorn/23", True), ("127.0.0.1", "gunicorn/23", False), ("", "Werkzeug/3", False)],
    )
    def test_it_is_the_socket_that_shows_the_proxy(
        self, client: Visitor, peer: str, server: str, is_signed_in: bool
    ) -> None:
        environ = {"REMOTE_ADDR": peer, "SERVER_SOFTWARE": server}
        headers = {HEADER: "alice", "X-Forwarded-For": "192.0.2.7"}
        client.get("/login", headers=headers, environ_overrides=environ)
        page = client.get("/account", headers=headers, environ_overrides=environ)
        assert (page.status_code == 200) is is_signed_in


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"PROXY_USER_HEADER": "HTTP_REMOTE_USER"}, "with hyphens, without HTTP_"),
        ({"PROXY_USER_HEADER": "REMOTE_USER"}, "with hyphens"),
        ({"PROXY_USER_HEADER": "Cookie"}, "none that browsers send"),
        ({"PROXY_USER_HEADER": SECRET_HEADER}, "none that browsers send"),
        ({"TRUSTED_PROXIES": "0"}, "needs TRUSTED_PROXIES"),
        ({"PROXY_USER_SECRET": ""}, "anyone could send Remote-User"),
        ({"PROXY_USER_SECRET": "short"}, "PROXY_USER_SECRET"),
        ({"OIDC_ONLY": "true"}, "PROXY_USER_HEADER and OIDC_ONLY are both set"),
        (
            {"PROXY_USER_HEADER": "", "PROXY_USER_BY_SOCKET": "true"},
            "PROXY_USER_BY_SOCKET is set and PROXY_USER_HEADER is not",
        ),
        ({"PROXY_SIGN_OUT_URL": "javascript:alert(1)"}, "PROXY_SIGN_OUT_URL must be an address"),
    ],
)
def test_what_cannot_be_safe_stops_the_start(variables: dict[str, str], words: str) -> None:
    usual = {"PROXY_USER_HEADER": HEADER, "TRUSTED_PROXIES": "1", "PROXY_USER_SECRET": SECRET}
    with pytest.raises(ConfigurationError, match=words):
        named_by(Reader(usual | variables))
