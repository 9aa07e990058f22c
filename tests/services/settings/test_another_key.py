"""A server without a password under another APP_KEY: it asks for none, and is not used until it is saved."""

from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import text

from app import create_app
from database.engine import transaction
from services.settings import configs, key_rotation, route
from services.settings.fields import parse_change
from services.settings.sealing import OTHER_KEY
from tests.certificates import client_pair
from tests.visitors import make_alice, visit
from utils import env_file
from utils.errors import InvalidInput

ANOTHER_KEY = "An0ther-K3y-9vXqLw2RbT7yNc5MdJ8hPf"
RELAY = {
    "name": "Relay",
    "smtp_server": "relay.example.com",
    "smtp_port": 25,
    "use_tls": False,
    "from_email": "a@example.com",
}


@pytest.fixture
def moved(app: Flask, environment: dict[str, str], tmp_path: Path) -> Flask:
    """The same installation after its key was replaced, with a relay that wants no sign-in."""
    configs.create(parse_change({**RELAY, "is_active": True}))
    return create_app({**environment, "APP_KEY": ANOTHER_KEY}, instance_path=tmp_path)


def test_it_is_not_used_and_says_what_to_do(moved: Flask) -> None:
    with moved.app_context():
        first = next(route.steps())
        assert first.settings is None
        assert (
            first.reason
            == OTHER_KEY
            == "These settings are sealed with a missing APP_KEY. Check them, then save again."
        )


def test_nothing_that_says_so_speaks_of_a_password(moved: Flask) -> None:
    with moved.app_context():
        stored = configs.search()[0]
        (refusal,) = key_rotation.status().refused
        with pytest.raises(InvalidInput) as caught:
            configs.activate(stored.row.id)
        told = f"{stored.problem} {refusal.reason} {caught.value.errors}"
    assert OTHER_KEY in told
    assert "password" not in told


def test_the_api_says_that_nothing_has_to_be_entered_again_and_that_it_cannot_be_used(
    moved: Flask, bearer: dict[str, str]
) -> None:
    visitor = visit(moved)
    shown = visitor.get("/api/settings/smtp", headers=bearer).get_json()["data"]
    assert (shown["has_password"], shown["needs_reentry"], shown["verified"]) == (False, False, False)
    listed = visitor.get("/api/settings/smtp/configs", headers=bearer).get_json()["data"]
    assert [each["needs_reentry"] for each in listed] == [False]
    refused = visitor.post("/api/settings/smtp/test", headers=bearer)
    assert (refused.status_code, refused.get_json()["errors"]) == (422, {"smtp_server": [OTHER_KEY]})


def test_saved_as_it_is_by_the_api_it_is_good_again(moved: Flask, bearer: dict[str, str]) -> None:
    visitor = visit(moved)
    assert visitor.post("/api/settings/smtp", json=RELAY, headers=bearer).status_code == 200
    assert visitor.post("/api/settings/smtp/test", headers=bearer).get_json()["message"] != OTHER_KEY
    with moved.app_context():
        assert next(route.steps()).settings


@pytest.mark.parametrize(
    ("secret", "expected"),
    [({"smtp_username": "u", "smtp_password": "p", "use_tls": True}, True), ({}, False)],
)
def test_only_who_has_a_secret_is_told_to_enter_it_again(
    app: Flask, environment: dict[str, str], tmp_path: Path, secret: dict[str, object], expected: bool
) -> None:
    configs.create(parse_change({**RELAY, **secret}))
    with create_app({**environment, "APP_KEY": ANOTHER_KEY}, instance_path=tmp_path).app_context():
        assert configs.search()[0].needs_reentry is expected
    assert configs.search()[0].needs_reentry is False


def test_one_with_a_client_key_alone_needs_that_again(app: Flask, environment: dict[str, str], tmp_path: Path) -> None:
    pair = client_pair()
    identity = {"client_certificate": pair.certificate, "client_key": pair.key, "use_tls": True}
    configs.create(parse_change({**RELAY, **identity}))
    with create_app({**environment, "APP_KEY": ANOTHER_KEY}, instance_path=tmp_path).app_context():
        assert configs.search()[0].needs_reentry is True


def test_one_that_was_altered_has_to_be_entered_again_with_or_without_a_password(app: Flask) -> None:
    made = configs.create(parse_change(RELAY))
    with transaction() as session:
        session.execute(text("UPDATE smtp_config SET smtp_server = 'evil.example'"))
    assert configs.get(made.row.id).needs_reentry is True


def test_its_form_asks_for_no_password_and_saving_it_makes_it_good(moved: Flask) -> None:
    with moved.app_context():
        make_alice(is_admin=True)
        visitor = visit(moved)
        visitor.sign_in()
        row = configs.search()[0].row
        page = visitor.get(f"/settings/smtp/{row.id}").text
        assert OTHER_KEY in page
        assert "Enter it again" not in page
        configs.update(row.id, parse_change({**RELAY, "timeout_seconds": 10, "is_active": True}))
        assert next(route.steps()).settings


@pytest.mark.parametrize(("change", "field"), [({"smtp_username": ""}, "smtp_username")])
def test_clearing_only_the_user_name_is_told_as_such(app: Flask, change: dict[str, object], field: str) -> None:
    login = {"smtp_username": "u", "smtp_password": "p", "use_tls": True, "smtp_port": 587}
    stored = configs.create(parse_change({**RELAY, **login}))
    for more in ({}, {"smtp_server": "other.example.com"}, {"smtp_password": "••••••••"}):
        with pytest.raises(InvalidInput) as caught:
            configs.update(stored.row.id, parse_change({**change, **more}))
        assert caught.value.errors == {field: [caught.value.errors[field][0]]}
        assert caught.value.errors[field][0].startswith("You cleared the user name, and a password is stored.")


@pytest.mark.parametrize(
    "text", ["a@example.com, b@example.com", "a@example.com b@example.com", "a@example.com;b@example.com"]
)
def test_two_test_recipients_are_told_to_be_one(app: Flask, text: str) -> None:
    result = app.test_cli_runner().invoke(args=["smtp", "test", "--to", text])
    assert result.exit_code == 1
    assert "only one address" in result.stderr


@pytest.mark.parametrize("sender", ["Shop, Inc <a@example.com>", 'Shop "X" <a@example.com>', "Shop", ""])
def test_the_advice_for_a_sender_gives_a_line_that_parses(tmp_path: Path, sender: str) -> None:
    variables = {"EMAIL_HOST": "smtp.example.com", "EMAIL_USE_TLS": "", "EMAIL_USE_SSL": ""}
    with pytest.raises(InvalidInput) as caught:
        route.env_settings({**variables, "DEFAULT_FROM_EMAIL": sender})
    line = caught.value.errors["from_email"][0].partition("The line: ")[2]
    (tmp_path / ".env").write_text(line)
    read = env_file.read(tmp_path / ".env").values
    settings = route.env_settings({**variables, **read})
    assert settings
    assert (settings.from_name, settings.from_email) == ("Shop, Ltd.", "name@example.com")
