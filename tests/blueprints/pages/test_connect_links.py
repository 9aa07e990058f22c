"""Where servers are shown, the way to a sign-in by token, and back from it to a password."""

import re

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from services.connecting import moving
from services.oauth.providers import OAuthProvider
from services.personal import own_server
from services.settings import configs, sealing
from services.settings.fields import parse_change
from tests import connected_rows
from tests.connected_rows import HOSTS, MAILBOX
from tests.server_form import FORM, LIST
from tests.visitors import Visitor, make_bob, visit

OWN = "/account/smtp"


def links(page: str) -> dict[str, str]:
    """The text of each button that leads to a connection, by where it does."""
    found = re.findall(r'<a class="btn[^>]*href="([^"]*/connect)"[^>]*>([^<]*)</a>', page)
    return {place: text for place, text in found if place != f"{LIST}/connect"}


@pytest.mark.parametrize(
    ("host", "label"),
    [
        ("smtp.office365.com", "Connect with Microsoft"),
        ("smtp-mail.outlook.com", "Connect with Microsoft"),
        ("smtp.gmail.com", "Connect with Google"),
        ("smtp.fastmail.com", "Connect with Fastmail"),
        ("smtp.example.com", ""),
        ("smtp-hve.office365.com", ""),
    ],
)
def test_a_server_with_a_password_shows_how_to_connect_it_and_what_changes(
    admin: Visitor, host: str, label: str
) -> None:
    config_id = connected_rows.stored(host).row.id
    place = f"{LIST}/{config_id}"
    wanted = {f"{place}/connect": label} if label else {}
    page = admin.get(place).text
    assert links(admin.get(LIST).text) == links(page) == wanted
    assert ("The stored password is used until the new sign-in has passed its test" in page) is bool(label)
    assert "By token (OAuth 2)" not in page


@pytest.mark.parametrize(
    ("host", "is_offered"),
    [("smtp.example.com", True), ("smtp-hve.office365.com", False), ("smtp.sendgrid.net", False)],
)
def test_a_server_of_a_provider_that_is_in_no_list_can_be_connected_from_its_page(
    admin: Visitor, host: str, is_offered: bool
) -> None:
    place = f"{LIST}/{connected_rows.stored(host).row.id}"
    assert (f'href="{place}/connect">Connect by OAuth</a>' in admin.get(place).text) is is_offered


def test_a_new_server_may_be_chosen_to_sign_in_by_token_and_then_leads_to_connecting_it(admin: Visitor) -> None:
    assert '<option value="XOAUTH2">By token (OAuth 2)</option>' in admin.get(f"{LIST}/new").text
    unconnected = {"smtp_password": "", "auth_method": "XOAUTH2", "is_active": ""}
    saved = admin.post_form(f"{LIST}/new", FORM | unconnected)
    assert saved.status_code == 303
    page = admin.get(LIST).text
    assert "Inactive, not connected" in page
    assert list(links(page).values()) == ["Connect by OAuth"]


def test_one_that_is_to_be_connected_says_so_and_can_be_chosen_to_have_a_password(admin: Visitor) -> None:
    config_id = connected_rows.stored(HOSTS[OAuthProvider.GOOGLE], auth_method="XOAUTH2").row.id
    place = f"{LIST}/{config_id}"
    page = admin.get(place).text
    assert links(page) == {f"{place}/connect": "Connect with Google"}
    assert "Inactive, not connected" in page and "This server is not connected yet. Connect it first." in page
    assert "To go back to a password, enter it here, and choose another sign-in method under More options" in page
    assert '<option value="XOAUTH2" selected>By token (OAuth 2)</option>' in page


def test_one_that_is_connected_says_as_whom(admin: Visitor) -> None:
    config_id = connected_rows.connected().row.id
    page = admin.get(f"{LIST}/{config_id}").text
    assert f"Connected as {MAILBOX}." in page
    assert f'href="{LIST}/{config_id}/connect">Open the connection</a>' in page
    assert links(admin.get(LIST).text) == {}


def test_one_that_needs_sign_in_again_leads_there_from_everywhere(admin: Visitor) -> None:
    config_id = connected_rows.connected().row.id
    connected_rows.end_sign_in(config_id)
    for page in (admin.get(LIST).text, admin.get(f"{LIST}/{config_id}").text):
        assert links(page) == {f"{LIST}/{config_id}/connect": "Connect again"}
        assert "Active, needs sign-in again" in page
    assert "Shop (smtp.office365.com) needs sign-in again. No email gets out." in admin.get(LIST).text
    ready = admin.get("/readyz/mail")
    assert ready.status_code == 503 and "No email gets out since" in ready.text


def test_saving_its_form_keeps_the_connection_and_a_password_ends_it(admin: Visitor) -> None:
    config_id = connected_rows.connected().row.id
    place = f"{LIST}/{config_id}"
    form = FORM | {"smtp_server": HOSTS[OAuthProvider.MICROSOFT], "smtp_username": MAILBOX, "from_email": MAILBOX}
    by_token = form | {"smtp_password": "", "auth_method": "XOAUTH2", "from_name": "Shop"}
    assert admin.post_form(place, by_token | {"version": f"{configs.get(config_id).row.version}"}).status_code == 303
    after = configs.get(config_id)
    assert after.is_usable and after.settings.from_name == "Shop" and after.row.is_connected
    version = {"version": f"{after.row.version}"}
    refused = admin.post_form(place, by_token | version | {"smtp_password": "new"})
    assert "Signing in by token needs no password." in refused.text
    moved = admin.post_form(place, by_token | version | {"smtp_username": "other@example.com"})
    assert "This server is connected by OAuth." in moved.text
    assert admin.post_form(place, form | version | {"auth_method": ""}).status_code == 303
    after = configs.get(config_id)
    assert after.settings.password.reveal() == FORM["smtp_password"] and not after.row.is_connected


def test_an_own_server_shows_the_same_to_its_owner(app: Flask, admin: Visitor) -> None:
    bob, owner = make_bob(), visit(app)
    owner.sign_in("bob")
    values = {"smtp_server": HOSTS[OAuthProvider.MICROSOFT], "smtp_port": 587, "smtp_username": MAILBOX}
    own_server.save(bob.id, parse_change(values | {"smtp_password": "the old password"}))
    page = owner.get(OWN).text
    assert links(page) == {f"{OWN}/connect": "Connect with Microsoft"} and "is used until" in page
    config = connected_rows.connect(own_server.find(bob.id) or connected_rows.stored())
    proof = sealing.issue_proof(moving.settings_by_token(config))
    moving.switch_over(config.row.id, proof)
    assert f'href="{OWN}/connect">Open the connection</a>' in owner.get(OWN).text
    connected_rows.end_sign_in(config.row.id)
    page = owner.get(OWN).text
    assert links(page) == {f"{OWN}/connect": "Connect again"} and "needs sign-in again" in page
    assert "Needs sign-in again" in admin.get("/settings/accounts/smtp").text


def test_the_command_line_tells_how_it_is_connected(app: Flask, admin: Visitor) -> None:
    config_id = connected_rows.connected().row.id
    run: FlaskCliRunner = app.test_cli_runner()
    shown = run.invoke(args=["smtp", "show", "Shop"]).stdout
    assert f"oauth:             microsoft, connected as {MAILBOX}" in shown
    connected_rows.end_sign_in(config_id)
    assert f"microsoft, needs sign-in again as {MAILBOX}" in run.invoke(args=["smtp", "show", "Shop"]).stdout
    assert "needs sign-in again" in run.invoke(args=["smtp", "list"]).stdout
    assert "Needs sign-in again since" in run.invoke(args=["smtp", "route"]).stdout
    assert "flask smtp connect Shop" in run.invoke(args=["smtp", "validate"]).stdout


def test_nothing_secret_of_a_connection_is_on_a_page_or_in_an_answer(admin: Visitor) -> None:
    config_id = connected_rows.connected().row.id
    secrets = connected_rows.SECRET, connected_rows.REFRESH, connected_rows.ACCESS
    for path in (LIST, f"{LIST}/{config_id}", f"/api/settings/smtp/configs/{config_id}", "/settings/audit"):
        text = admin.get(path).text
        assert not [secret for secret in secrets if secret in text]
