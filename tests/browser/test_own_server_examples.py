"""The JavaScript of docs/own-server.md, unchanged but for server and token, in a page that Sealpost serves."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page

from app import create_app
from services.accounts import accounts, api_tokens
from services.accounts.api_tokens import Scope
from tests import certificates
from tests.browser.conftest import NewPage, StartServer
from tests.recording_server import RecordingServer
from tests.running import Sealpost
from tests.test_architecture import ROOT

HOST = "127.73.0.1"
EXAMPLES = re.findall(r"```javascript\n(.*?)```", (ROOT / "docs" / "own-server.md").read_text(), re.DOTALL)
# What a reader puts in for the server of the examples.
OURS = {"smtp.gmail.com": HOST, "587": "2525", "user@gmail.com": "bob@example.com"}


@pytest.fixture(scope="module")
def server() -> Iterator[RecordingServer]:
    context = certificates.good_context(HOST)
    with RecordingServer(host=HOST, port=2525, tls=context, users={"bob@example.com": "app-password"}) as server:
        yield server


@pytest.fixture(scope="module")
def sealpost(start_server: StartServer) -> Sealpost:
    allowed = {"SMTP_CA_FILE": str(certificates.ca_file()), "SMTP_ALLOWED_CIDRS_ACCOUNTS": "127.0.0.0/8"}
    return start_server(with_accounts=True, **allowed)


@pytest.fixture
def token(sealpost: Sealpost) -> str:
    with create_app(sealpost.environment).app_context():
        bob = next(person for person in accounts.everybody() if person.username == "bob")
        return api_tokens.create(bob.id, "page", scopes=(Scope.SETTINGS,))[0]


def run(page: Page, example: str, token: str, told: str) -> Any:
    """Run it as the body of a function that has ``token``; what ``told`` is at its end."""
    for theirs, ours in OURS.items():
        example = example.replace(theirs, ours)
    return page.evaluate(f"async (token) => {{ {example}\n return {told}; }}", token)


def test_the_examples_test_save_and_tell_what_sends(
    new_page: NewPage, sealpost: Sealpost, server: RecordingServer, token: str
) -> None:
    setting_up, checking = EXAMPLES
    page = new_page(sealpost.url)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto("/login")
    assert run(page, checking, token, "settings.host") is None
    assert run(page, setting_up, token, "[testResponse.status, await testResponse.json()]") == [
        200,
        {"success": True, "message": "SMTP connection test successful"},
    ]
    assert run(page, checking, token, "settings") == {
        "host": HOST,
        "port": 2525,
        "secure": False,
        "user": "bob@example.com",
        "hasPassword": True,
        "isGlobal": False,
    }
    assert said == ["Using: Global SMTP", "Using: Custom SMTP"]
    assert {attempt.password for attempt in server.auth_attempts} == {b"app-password"}


def test_what_fails_the_test_is_not_saved(
    new_page: NewPage, sealpost: Sealpost, server: RecordingServer, token: str
) -> None:
    page = new_page(sealpost.url)
    page.goto("/login")
    wrong = EXAMPLES[0].replace("app-password", "another").replace("user@gmail.com", "eve@example.com")
    status, answer = run(page, wrong, token, "[testResponse.status, await testResponse.json()]")
    assert (status, answer) == (
        422,
        {"success": False, "error": "SMTP connection test failed: Authentication failed"},
    )
    assert run(page, EXAMPLES[1], token, "settings.user") in (None, "bob@example.com")
