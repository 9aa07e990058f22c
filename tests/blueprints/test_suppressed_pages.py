"""While MAIL_SUPPRESS_SEND is on, whoever is told that mail goes to somebody is told that none is sent."""

from collections.abc import Iterator

import pytest
from flask import Flask

from database.outbox_db import State
from services import email_service
from services.accounts import administration
from services.outbox import log
from services.settings.route import NOTHING_IS_SENT
from tests.mails import in_state, queued
from tests.outbox import answer_requests, drain
from tests.recording_server import RecordingServer
from tests.visitors import PASSWORD, Visitor, mail_through


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


@pytest.mark.parametrize("is_suppressed", ["true"], indirect=True)
def test_nothing_leaves_on_any_way(app: Flask, admin: Visitor, server: RecordingServer) -> None:
    assert email_service.send_email("ann@example.com", "Subject", "Text")
    assert email_service.send_password_reset_email("ann@example.com", "token")
    assert email_service.send_order_notification("ann@example.com", {})
    queued("ann@example.com")
    in_state(State.DEFERRED, "ann@example.com")
    admin.post_form("/forgot-password", {"email": "alice@example.com"})
    admin.post_form("/settings/accounts/invite", {"username": "carol", "email": "carol@example.com"})
    admin.post_form("/account/email", {"email": "new@example.com", "email_password": PASSWORD})
    held = in_state(State.HELD, "ann@example.com")
    run = app.test_cli_runner()
    assert run.invoke(args=["mail", "release", held]).exit_code == 0
    answer_requests()
    drain()
    assert run.invoke(args=["mail", "retry", in_state(State.FAILED, "ann@example.com")]).exit_code == 0
    drain()
    assert server.mails == []
    assert log.counts()[State.SUPPRESSED] >= 7
    assert not log.counts().keys() & {State.QUEUED, State.DEFERRED}
