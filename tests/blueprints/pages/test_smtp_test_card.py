"""The result of a connection test as the page tells it without JavaScript, and its actions."""

import html
import re
from urllib.parse import parse_qs

import pytest
from werkzeug.test import TestResponse

from services.settings import configs
from tests import certificates
from tests.recording_server import RecordingServer
from tests.scripted_server import Answer, ScriptedServer
from tests.server_form import FORM, NEW, is_ticked, run_test, save, url, version
from tests.visitors import Visitor

OFFERS = "250-mail.test\n250-STARTTLS\n250 AUTH PLAIN"
LOGIN = {"smtp_username": "user@example.com", "smtp_password": "typed-s3cret"}


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "SMTP_CA_FILE": str(certificates.ca_file())}


def starttls_server(**script: Answer | list[Answer]) -> ScriptedServer:
    return ScriptedServer({"EHLO": OFFERS, **script}, tls=certificates.good_context())


def action(page: TestResponse) -> str:
    """What the first action of the card sends."""
    found = re.search(r'name="apply" value="([^"]+)"', page.text)
    assert found, page.text
    return html.unescape(found[1])


def filled_in(page: TestResponse) -> str | None:
    """What the card says of a form that an action has filled in but for the password."""
    found = re.search(r"data-filled-in(?P<hidden> hidden)?>.*?<span>(?P<said>[^<]+)</span>", page.text)
    assert found, page.text
    return None if found["hidden"] else found["said"]


def test_an_action_changes_the_form_and_tests_again(admin: Visitor) -> None:
    with starttls_server() as server:
        failed = run_test(admin, server, security="tls", **LOGIN)
        page = run_test(admin, server, security="tls", **LOGIN, apply=action(failed))
    assert "Connection successful" in page.text
    assert re.search(r'value="starttls"\s+checked', page.text)
    assert configs.find_active() is None


def test_an_action_without_the_password_asks_for_it_again_and_keeps_the_change(admin: Visitor) -> None:
    with starttls_server() as server:
        failed = run_test(admin, server, security="tls", **LOGIN)
        page = run_test(admin, server, security="tls", **{**LOGIN, "smtp_password": ""}, apply=action(failed))
    assert page.status_code == 422
    assert "Enter the password again" in page.text
    assert re.search(r'value="starttls"\s+checked', page.text)
    assert filled_in(page) == (
        "Fields filled in. Sealpost never shows a password, so enter the password again, then test."
    )


def test_an_action_never_takes_a_stored_password_elsewhere(admin: Visitor) -> None:
    with starttls_server() as server:
        place = {"smtp_server": server.host, "smtp_port": str(server.port), "security": "tls"}
        save(admin, **place, **LOGIN)
        stored = {**FORM, **place, **LOGIN, "smtp_password": "", "version": version()}
        page = admin.post_form(f"{url()}/test", {**stored, "apply": "security=starttls"})
        assert server.commands == []
    assert page.status_code == 422
    assert "You changed the server. Enter the password again." in page.text
    assert filled_in(page) == ("Fields filled in. The server changed, so enter the password again, then test.")


@pytest.mark.parametrize("changed", [{}, {"apply": "smtp_port=70000"}, {"apply": "security=starttls"}])
def test_a_form_whose_password_is_not_missing_is_not_told_to_be_filled_in(
    admin: Visitor, changed: dict[str, str]
) -> None:
    with starttls_server() as server:
        page = run_test(admin, server, security="tls", **LOGIN, **changed)
    assert filled_in(page) is None


def test_an_action_after_a_test_message_sends_it_again(admin: Visitor) -> None:
    with starttls_server() as server:
        failed = run_test(admin, server, security="tls", send="1")
        assert parse_qs(action(failed))["send"] == ["1"]
        page = run_test(admin, server, security="tls", apply=action(failed))
        assert len(server.messages) == 1
    assert "queue id S0001" in page.text
    assert "Check received headers" in page.text


@pytest.mark.parametrize(
    "apply", ["is_active=&failover=&name=Other&version=9&to=x@example.net", "&&=", "%ff=%00", "smtp_password=other"]
)
def test_an_action_changes_nothing_but_the_values_of_a_test(admin: Visitor, apply: str) -> None:
    with RecordingServer(users={"user@example.com": "typed-s3cret"}) as server:
        page = run_test(admin, server, **LOGIN, apply=apply)
    assert "Connection successful" in page.text
    assert 'value="Primary"' in page.text
    assert is_ticked(page.text, "is_active")


def test_an_action_with_a_value_that_is_none_is_refused_at_its_field(admin: Visitor) -> None:
    page = admin.post_form(f"{NEW}/test", {**FORM, "apply": "smtp_port=70000"})
    assert page.status_code == 422
    assert "Enter a whole number from 1 to 65535." in page.text


def test_the_card_shows_what_was_said_without_the_password(admin: Visitor) -> None:
    with starttls_server(AUTH="535 5.7.8 typed-s3cret? No.") as server:
        page = run_test(admin, server, security="starttls", **LOGIN).text
    assert "C: AUTH PLAIN ••••" in page
    assert "S: 535 5.7.8" in page
    assert "typed-s3cret" not in page


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        ("451 4.7.1 Greylisted, please try again in 30 seconds", "This is temporary. Try again in 30 seconds."),
        ("451 4.7.1 Greylisted, please try again in 1 minute", "This is temporary. Try again in 1 minute."),
        ("451 4.7.1 Greylisted, please try again in 90 minutes", "This is temporary. Try again in 90 minutes."),
    ],
)
def test_a_temporary_failure_says_when_to_try_again(admin: Visitor, reply: str, says: str) -> None:
    with starttls_server(RCPT=reply) as server:
        assert says in run_test(admin, server, security="starttls", send="1").text


def test_what_no_other_way_would_mend_is_called_temporary(admin: Visitor) -> None:
    with starttls_server(EHLO=["454 4.7.0 TLS is temporarily unavailable", OFFERS]) as server:
        page = run_test(admin, server, security="starttls").text
    assert "and test again" not in page  # the other ways were tried and do not work
    assert "temporary." in page
