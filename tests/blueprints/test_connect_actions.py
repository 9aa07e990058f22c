"""What a failed test offers where a token is at fault: a page that connects the server, to whoever can open it."""

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask
from pydantic import TypeAdapter

from blueprints.api.api_models import FailedTestData
from database import oauth_db
from database.engine import transaction
from services.settings.sealing import StoredConfig
from tests import certificates, oauth_faults
from tests.oauth_provider import OAuthProviderServer
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
