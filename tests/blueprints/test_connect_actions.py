"""What a failed test offers where a token is at fault: a page that connects the server, to whoever can open it."""

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask
from pydantic import TypeAdapter

from blueprints.api.api_models import FailedTestData
from blueprints.cli.smtp_checks import result_lines
from database import oauth_db
from database.engine import transaction
from services.checks import connection_test
from services.settings.sealing import StoredConfig
from tests import certificates, oauth_faults
from tests.oauth_provider import OAuthProviderServer
from tests.scripted_server import ScriptedServer
from tests.signed_in_by_token import MAILBOX, connected, mail_server
from tests.visitors import Visitor
from utils import clock

NDJSON = {"Accept": "application/x-ndjson"}


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return environment | {"SMTP_CA_FILE": str(certificates.ca_file())}


@pytest.fixture
def provider() -> Iterator[OAuthProviderServer]:
    with OAuthProviderServer(certificates.good_context("localhost")) as running:
        yield running


@pytest.fixture
def dead(app: Flask, provider: OAuthProviderServer) -> Iterator[StoredConfig]:
    """A server whose client secret has expired, and whose token has ended."""
    with mail_server(provider) as (server, _):
        config = connected(provider, server.port)
        with transaction() as session:
            row = oauth_db.find(session, config.row.id)
            assert row
            row.access_ends_at = clock.now() - timedelta(minutes=1)
        provider.next("token", *[oauth_faults.aadsts(7000222, "invalid_client")] * 3)
        yield config


def test_the_api_names_the_page_on_which_a_person_mends_it(
    client: Visitor, bearer: dict[str, str], dead: StoredConfig
) -> None:
    answer = client.post(f"/api/settings/smtp/configs/{dead.row.id}/test", headers=bearer)
    assert answer.status_code == 422
    data = json.loads(answer.text)["data"]
    TypeAdapter(FailedTestData).validate_python(data)
    page = f"/settings/smtp/{dead.row.id}/connect#client_secret"
    assert data["actions"] == [{"label": "Enter a new client secret", "changes": {}, "page": page}]
    assert (data["fault"], data["title"]) == ("token_dead", "The client secret has expired")
    assert [step["name"] for step in data["steps"]] == ["settings", "token"]


@pytest.mark.parametrize("headers", [{}, NDJSON], ids=["page", "stream"])
def test_the_page_links_to_where_it_is_mended(admin: Visitor, dead: StoredConfig, headers: dict[str, str]) -> None:
    url = f"/settings/smtp/{dead.row.id}"
    answer = admin.post_form(f"{url}/test", {"saved": "1", "version": str(dead.row.version)}, headers=headers)
    if headers:
        lines = [json.loads(line) for line in answer.text.splitlines() if line]
        assert [(line["name"], line["label"]) for line in lines[:-1]] == [("settings", "Settings"), ("token", "Token")]
        (action,) = lines[-1]["actions"]
        assert (action["label"], action["page"]) == ("Enter a new client secret", f"{url}/connect#client_secret")
    else:
        link = f'<a class="btn btn-primary" href="{url}/connect#client_secret">Enter a new client secret</a>'
        assert link in answer.text
    assert "AADSTS7000222" in answer.text
    assert MAILBOX in answer.text or headers


def test_what_is_not_stored_offers_no_page(client: Visitor, bearer: dict[str, str]) -> None:
    values = {"smtp_server": "localhost", "smtp_port": 2465, "use_ssl": True, "smtp_username": MAILBOX}
    body = values | {"auth_method": "XOAUTH2", "from_email": MAILBOX}
    answer = client.post("/api/settings/smtp/test", json=body, headers=bearer)
    data = json.loads(answer.text)["data"]
    assert data["title"] == "The server is not connected yet"
    assert data["actions"] == []


@pytest.mark.parametrize("headers", [{}, NDJSON], ids=["page", "stream"])
def test_a_new_server_that_takes_only_tokens_leads_to_where_servers_are_connected(
    admin: Visitor, headers: dict[str, str]
) -> None:
    offers = "250-scripted.test\n250-STARTTLS\n250 AUTH XOAUTH2"
    with ScriptedServer({"EHLO": offers}, tls=certificates.good_context()) as server:
        typed = {"smtp_server": server.host, "smtp_port": str(server.port), "security": "starttls", "name": "Shop"}
        typed |= {
            "smtp_username": MAILBOX,
            "smtp_password": "geheim-8472",
            "from_email": MAILBOX,
            "timeout_seconds": "10",
        }
        answer = admin.post_form("/settings/smtp/new/test", typed, headers=headers)
    assert "/settings/smtp/connect?email=shop@example.com" in answer.text
    assert "Connect by OAuth" in answer.text
    assert "geheim-8472" not in answer.text


def test_the_command_line_names_the_command(dead: StoredConfig) -> None:
    result = connection_test.run(dead.settings, rcpt="ada@elsewhere.example")
    assert "  Or: Enter a new client secret, with: flask smtp connect" in result_lines(result, "")
