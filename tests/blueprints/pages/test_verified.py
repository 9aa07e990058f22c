"""“Verified” on the pages, in the API and on the command line: of exactly the tested values, and of nothing else."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from services.settings import configs
from services.settings.fields import parse_change
from tests.recording_server import RecordingServer
from tests.visitors import Visitor

API = "/api/settings/smtp"
LIST = "/settings/smtp"
PASSWORD = "geheim-8472"


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    with RecordingServer(users={"shop": PASSWORD}) as server:
        yield server


@pytest.fixture
def tested(admin: Visitor, bearer: dict[str, str], server: RecordingServer) -> int:
    """The id of the active configuration, which has just passed its test through the API."""
    fields = {"smtp_server": server.host, "smtp_port": server.port, "use_tls": False, "from_email": "a@example.com"}
    stored = configs.save(parse_change({**fields, "smtp_username": "shop", "smtp_password": PASSWORD}), actor="tester")
    assert admin.post(f"{API}/test", headers=bearer).status_code == 200
    return stored.row.id


def shown(app: Flask, admin: Visitor, bearer: dict[str, str], config_id: int) -> dict[str, bool]:
    """Whether each place says that the configuration is verified."""
    data: dict[str, Any] = json.loads(admin.get(API, headers=bearer).text)["data"]
    (listed,) = json.loads(app.test_cli_runner().invoke(args=["smtp", "list", "--json"]).stdout)
    assert (data["verified_at"] is not None) is data["verified"]
    return {
        "API": data["verified"],
        "list": "Not verified" not in admin.get(LIST).text,
        "form": "Not verified" not in admin.get(f"{LIST}/{config_id}").text,
        "command line": listed["verified"],
    }


def test_a_configuration_that_passed_its_test_is_verified_everywhere(
    app: Flask, admin: Visitor, bearer: dict[str, str], tested: int
) -> None:
    assert set(shown(app, admin, bearer, tested).values()) == {True}


@pytest.mark.parametrize(
    "change",
    [
        {"smtp_server": "localhost", "smtp_password": PASSWORD},
        {"smtp_port": 2525, "smtp_password": PASSWORD},
        {"use_tls": True, "smtp_password": PASSWORD},
        {"smtp_username": "other", "smtp_password": PASSWORD},
        {"smtp_password": "another-one"},
        {"remove_password": True},
        {"from_email": "b@example.com"},
        {"helo_hostname": "mail.example.com"},
        {"auth_method": "LOGIN"},
        {"timeout_seconds": 3},
    ],
)
def test_a_change_of_any_tested_value_takes_the_mark_away_everywhere(
    app: Flask, admin: Visitor, bearer: dict[str, str], tested: int, change: dict[str, object]
) -> None:
    assert admin.post(API, json=change, headers=bearer).status_code == 200
    assert set(shown(app, admin, bearer, tested).values()) == {False}


def test_the_same_values_saved_again_stay_verified(
    app: Flask, admin: Visitor, bearer: dict[str, str], tested: int
) -> None:
    same = json.loads(admin.get(API, headers=bearer).text)["data"]
    assert admin.post(API, json=same, headers=bearer).status_code == 200
    assert set(shown(app, admin, bearer, tested).values()) == {True}


def test_a_test_of_values_on_screen_does_not_verify_the_saved_ones(
    app: Flask, admin: Visitor, bearer: dict[str, str], tested: int
) -> None:
    assert admin.post(API, json={"from_email": "b@example.com"}, headers=bearer).status_code == 200
    assert admin.post(f"{API}/test", json={"from_email": "c@example.com"}, headers=bearer).status_code == 200
    assert set(shown(app, admin, bearer, tested).values()) == {False}
