"""While MAIL_SUPPRESS_SEND is on, whoever is told that mail goes to somebody is told that none is sent."""

from collections.abc import Iterator

import pytest
from flask import Flask

from services.accounts import administration
from services.settings.route import NOTHING_IS_SENT
from tests.outbox import drain
from tests.recording_server import RecordingServer
from tests.visitors import Visitor, mail_through


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    with RecordingServer() as running:
        yield running


@pytest.fixture(params=["true", "false"], ids=["suppressed", "sent"])
def is_suppressed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "true")


@pytest.fixture
def environment(environment: dict[str, str], server: RecordingServer, is_suppressed: bool) -> dict[str, str]:
    return {**environment, **mail_through(server), "MAIL_SUPPRESS_SEND": str(is_suppressed).lower()}


def test_an_invitation_of_a_command_says_so(app: Flask, server: RecordingServer, is_suppressed: bool) -> None:
    told = app.test_cli_runner().invoke(args=["account", "invite", "carol", "carol@example.com"]).stdout
    assert (NOTHING_IS_SENT in told) is is_suppressed
    drain()
    assert len(server.mails) == (0 if is_suppressed else 1)


def test_the_pages_that_mail_links_say_so(admin: Visitor, is_suppressed: bool) -> None:
    carol = administration.invite("carol", "carol@example.com")
    for page in ("/settings/accounts", f"/settings/accounts/{carol.id}/invite", "/account"):
        assert (NOTHING_IS_SENT in admin.get(page).text) is is_suppressed, page


def test_strangers_are_not_told(client: Visitor, is_suppressed: bool) -> None:
    for page in ("/login", "/forgot-password", "/reset-password", "/setup"):
        assert "MAIL_SUPPRESS_SEND" not in client.get(page).text
