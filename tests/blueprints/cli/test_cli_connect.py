"""`flask smtp connect` and `disconnect`: it prints where to go, waits, tests, and leaves nothing of it under way."""

import io
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import select

from database.engine import reading
from database.oauth_db import PendingOAuth
from services.connecting import pending
from services.oauth import keeping
from services.settings import configs
from services.settings.fields import parse_change
from tests import certificates, oauth_faults, signed_in_by_token
from tests.oauth_provider import USER_CODE, OAuthProviderServer, RegisteredClient
from tests.patience import PATIENCE
from tests.services.oauth.signing_in import pressed
from tests.signed_in_by_token import CLIENT, MAILBOX, SECRET

PASTED: Final = "http://localhost:47925/oauth/callback"


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return environment | {"SMTP_CA_FILE": str(certificates.ca_file())}


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[OAuthProviderServer, int]]:
    """A provider, and the port of a mail server that takes its tokens."""
    with (
        OAuthProviderServer(certificates.good_context("localhost")) as provider,
        signed_in_by_token.mail_server(provider) as (server, _),
    ):
        yield provider, server.port


@pytest.fixture
def provider(app: Flask, shared: tuple[OAuthProviderServer, int]) -> OAuthProviderServer:
    provider = shared[0]
    provider.clients[CLIENT] = RegisteredClient((PASTED,), secret=SECRET)
    provider.script.clear()
    provider.requests.clear()
    values: dict[str, Any] = {"name": "Shop", "smtp_server": "localhost", "smtp_port": shared[1], "use_ssl": True}
    values |= {"smtp_username": MAILBOX, "smtp_password": "app_password", "from_email": MAILBOX, "is_active": True}
    configs.create(parse_change(values))
    return provider


class Typing(io.BufferedIOBase):
    """A keyboard: what is typed follows from what was printed by then."""

    def __init__(self, line: Callable[[], str]) -> None:
        self._line = line

    def readable(self) -> bool:
        return True

    def read1(self, _size: int = -1) -> bytes:
        return f"{self._line()}\n".encode()

    def read(self, size: int | None = -1) -> bytes:
        return self.read1() if size else b""


def run(app: Flask, *words: str, typed: Any = None, env: dict[str, str] | None = None) -> Result:
    return app.test_cli_runner().invoke(args=["smtp", *words], input=typed, env=env)


def options(provider: OAuthProviderServer, *more: str) -> list[str]:
    urls = {"--authorize-url": "authorize", "--token-url": "token", "--device-url": "devicecode"}
    said = [word for option, path in urls.items() for word in (option, f"{provider.url}/{path}")]
    return ["--provider", "custom", "--client-id", CLIENT, "--scope", "mail", *said, *more]


@pytest.fixture
def links(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that were printed to be opened, as they are made."""
    made: list[str] = []
    begin = pending.begin_redirect

    def noted(*args: Any) -> str:
        made.append(begin(*args))
        return made[-1]

    monkeypatch.setattr(pending, "begin_redirect", noted)
    return made


def ended_at(links: list[str], decision: str = "grant") -> str:
    return f"{PASTED}?{urlencode(pressed(links[-1], decision), doseq=True)}"


def under_way() -> int:
    with reading() as session:
        return len(list(session.scalars(select(PendingOAuth))))


def test_the_address_is_printed_and_the_one_at_the_end_is_asked_for(
    app: Flask, provider: OAuthProviderServer, links: list[str]
) -> None:
    words = options(provider, "--secret-env", "THE_SECRET")
    result = run(app, "connect", "Shop", *words, typed=Typing(lambda: ended_at(links)), env={"THE_SECRET": SECRET})
    assert result.exit_code == 0, result.output
    assert f"Register this redirect URI at the provider first: {PASTED}" in result.stderr
    assert links[0] in result.stderr
    assert "✓ Connected." in result.stdout
    assert "It signs in by token from now on. The password is deleted." in result.stdout
    after = configs.get(1)
    assert (after.settings.is_by_token, bool(after.settings.password)) == (True, False)
    assert SECRET not in result.output
    assert under_way() == 0
    assert "custom, connected" in run(app, "show", "Shop").stdout
    assert json.loads(run(app, "show", "Shop", "--json").stdout)["oauth"]["connected"]
    assert re.search(r"localhost:\d+ +TLS +token ", run(app, "list").stdout)


def test_a_code_is_printed_and_waited_for(app: Flask, provider: OAuthProviderServer) -> None:
    provider.next("devicecode", oauth_faults.with_fields(interval=1))

    def type_it() -> None:
        deadline = time.monotonic() + PATIENCE
        while under_way() == 0 and time.monotonic() < deadline:
            time.sleep(0.05)
        pressed(f"{provider.url}/device", user_code=USER_CODE)

    def in_app() -> None:
        with app.app_context():
            type_it()

    thread = threading.Thread(target=in_app, daemon=True)
    thread.start()
    words = options(provider, "--way", "device", "--secret-stdin", "--no-test")
    result = run(app, "connect", "Shop", *words, typed=f"{SECRET}\n")
    assert result.exit_code == 0, result.output
    assert f"Enter   {USER_CODE}" in result.stderr
    assert f"Open    {provider.url}/device" in result.stderr
    assert configs.get(1).settings.password


def test_an_interrupt_leaves_nothing_under_way(app: Flask, provider: OAuthProviderServer) -> None:
    def interrupt() -> str:
        assert under_way() == 1
        raise KeyboardInterrupt

    words = options(provider, "--secret-env", "THE_SECRET")
    result = run(app, "connect", "Shop", *words, typed=Typing(interrupt), env={"THE_SECRET": SECRET})
    assert result.exit_code == 1
    assert under_way() == 0
    known = keeping.find(1)
    assert known and not known.consent


def test_the_client_secret_is_asked_for_and_not_shown(app: Flask, provider: OAuthProviderServer) -> None:
    result = run(app, "connect", "Shop", *options(provider, "--way", "client_credentials"), typed=f"{SECRET}\n")
    assert "✓ Connected." in result.stdout
    assert SECRET not in result.output
    assert "Sign-in" in result.stdout  # the test, which the mail server fails: the token is of no mailbox
    assert result.exit_code == 16


def test_what_is_stored_is_used_again_without_options(app: Flask, provider: OAuthProviderServer) -> None:
    run(app, "connect", "Shop", *options(provider, "--way", "client_credentials"), typed=f"{SECRET}\n")
    again = run(app, "connect", "Shop", "--no-test", "--json")
    assert json.loads(again.stdout)["status"] == "connected"


def test_a_refusal_says_what_to_do(app: Flask, provider: OAuthProviderServer, links: list[str]) -> None:
    words, secret = options(provider, "--secret-env", "THE_SECRET"), {"THE_SECRET": SECRET}
    result = run(app, "connect", "Shop", *words, typed=Typing(lambda: ended_at(links, "deny")), env=secret)
    assert result.exit_code == 20
    assert "✗ The question was answered with No" in result.stderr
    result = run(app, "connect", "Shop", typed=Typing(lambda: "https://example.com/"))
    assert (result.exit_code, "This address contains no answer" in result.stderr) == (20, True)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--secret-stdin", "--secret-env", "X"], 2, "not both"),
        (["--secret-env", "NOT_SET_ANYWHERE"], 1, "--secret-env is not set"),
        (["--provider", "google", "--client-id", "x"], 1, "--provider: This provider’s tokens"),
        (["--provider", "custom", "--client-id", "x", "--token-url", "x"], 1, "--token-url: Enter a whole address"),
        (["--provider", "custom", "--secret-ends-on", "x"], 1, "--secret-ends-on: Enter a date"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    app: Flask, provider: OAuthProviderServer, words: list[str], code: int, said: str
) -> None:
    result = run(app, "connect", "Shop", *words, typed="\n")
    assert result.exit_code == code
    assert said in result.stderr


def test_a_file_is_read_for_a_certificate_and_its_key(
    app: Flask, provider: OAuthProviderServer, tmp_path: Path
) -> None:
    (tmp_path / "key.pem").write_bytes(b"\xff")
    result = run(app, "connect", "Shop", *options(provider, "--key", str(tmp_path / "key.pem")))
    assert (result.exit_code, "The file is not UTF-8." in result.stderr) == (1, True)
    (tmp_path / "key.pem").write_text("nothing")
    result = run(app, "connect", "Shop", *options(provider, "--key", str(tmp_path / "key.pem")))
    assert "--key: Paste the whole key as PEM text" in result.stderr


def test_disconnecting_asks_first(app: Flask, provider: OAuthProviderServer) -> None:
    run(app, "connect", "Shop", *options(provider, "--way", "client_credentials", "--no-test"), typed=f"{SECRET}\n")
    assert run(app, "disconnect", "Shop", typed="n\n").exit_code == 1
    assert keeping.find(1)
    assert "Disconnected Shop." in run(app, "disconnect", "Shop", "--yes").stdout
    assert keeping.find(1) is None
    assert run(app, "disconnect", "Shop", "--yes").exit_code == 1


def test_a_server_that_is_to_be_connected_is_added_without_a_password(app: Flask) -> None:
    words = ["--host", "smtp.gmail.com", "--from", "a@gmail.com", "--username", "a@gmail.com"]
    result = run(app, "add", "Gmail", *words, "--auth-method", "XOAUTH2")
    assert result.exit_code == 0, result.output
    assert configs.get(1).settings.is_by_token
