"""The known providers and the search for one, over the API and on the form without JavaScript."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from services.providers import presets
from tests.dns_server import DnsServer
from tests.server_form import NEW, save, url
from tests.visitors import Visitor, make_bob, visit

PROVIDERS = "/api/settings/smtp/providers"
DISCOVER = "/api/settings/smtp/discover"
ELSEWHERE = {"Sec-Fetch-Site": "cross-site"}


@pytest.fixture(scope="module")
def dns() -> Iterator[DnsServer]:
    with DnsServer({("firm.example", "MX"): ["1 aspmx.l.google.com."]}) as server:
        yield server


@pytest.fixture
def environment(environment: dict[str, str], dns: DnsServer) -> dict[str, str]:
    return {**environment, "DNS_RESOLVER": dns.address}


def data_of(answer: TestResponse) -> Any:
    """What an answer of the API holds."""
    assert answer.status_code == 200
    assert answer.json
    return answer.json["data"]


def test_the_providers_are_listed(client: Visitor, bearer: dict[str, str]) -> None:
    assert data_of(client.get(PROVIDERS, headers=bearer)) == presets.presets()


def test_an_address_is_answered_with_values_as_saving_takes_them(client: Visitor, bearer: dict[str, str]) -> None:
    found = data_of(client.get(DISCOVER, query_string={"email": "me@gmail.com"}, headers=bearer))
    assert (found["source"], found["provider"]["id"]) == ("domain", "gmail")
    assert found["values"] == {
        "smtp_server": "smtp.gmail.com",
        "smtp_port": 587,
        "smtp_username": "me@gmail.com",
        "from_email": "me@gmail.com",
        "use_tls": True,
        "use_ssl": False,
    }
    saved = client.post("/api/settings/smtp", json={**found["values"], "smtp_password": "s3cret"}, headers=bearer)
    assert saved.status_code == 200


def test_an_unknown_domain_is_looked_up(admin: Visitor) -> None:
    found = data_of(admin.get(DISCOVER, query_string={"email": "me@firm.example"}))
    assert (found["source"], found["message"]) == ("mx", "firm.example uses Google Workspace.")


def test_nothing_found_is_an_answer_too(admin: Visitor) -> None:
    found = data_of(admin.get(DISCOVER, query_string={"email": "me@nowhere.example"}))
    assert (found["source"], found["provider"]) == ("none", None)
    assert found["values"] == {"from_email": "me@nowhere.example"}


@pytest.mark.parametrize("query", ["", "email=", "email=nobody", "email=a@b@c.example", "email=<script>"])
def test_what_is_no_address_is_refused_at_its_field(admin: Visitor, query: str) -> None:
    answer = admin.get(f"{DISCOVER}?{query}")
    assert answer.status_code == 422
    assert answer.json
    assert list(answer.json["errors"]) == ["email"]
    assert "script" not in answer.text


def test_an_unknown_parameter_is_refused(admin: Visitor) -> None:
    answer = admin.get(f"{DISCOVER}?mail=me@gmail.com")
    assert answer.json
    assert answer.json["errors"] == {"mail": ["Unknown field."]}


@pytest.mark.parametrize("path", [PROVIDERS, f"{DISCOVER}?email=me@gmail.com"])
def test_whoever_has_an_account_may_ask(app: Flask, client: Visitor, path: str) -> None:
    assert client.get(path).status_code == 401
    make_bob()
    bob = visit(app)
    bob.sign_in("bob")
    assert bob.get(path).status_code == 200


def test_page_and_api_have_one_limit_together(admin: Visitor) -> None:
    for _ in range(10):
        assert admin.get(f"{NEW}?find=me@gmail.com").status_code == 200
        assert admin.get(f"{DISCOVER}?email=me@gmail.com").status_code == 200
    refused = admin.get(f"{DISCOVER}?email=me@gmail.com")
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) <= 60
    assert admin.get(f"{NEW}?find=me@gmail.com").status_code == 429
    assert admin.get(NEW).status_code == 200


def test_another_sites_link_looks_nothing_up(admin: Visitor, dns: DnsServer) -> None:
    asked = len(dns.questions)
    assert admin.get(f"{DISCOVER}?email=me@firm.example", headers=ELSEWHERE).status_code == 403
    page = admin.get(f"{NEW}?find=me@firm.example", headers=ELSEWHERE)
    assert page.status_code == 200
    assert 'value="smtp.gmail.com"' not in page.text
    assert len(dns.questions) == asked


def test_the_form_is_filled_for_an_address(admin: Visitor) -> None:
    page = admin.get(f"{NEW}?find=me@firm.example").text
    assert "firm.example uses Google Workspace." in page
    for value in ("smtp.gmail.com", "587", "me@firm.example"):
        assert f'value="{value}"' in page
    assert page.count('value="me@firm.example"') == 3  # what was asked, user name, From


def test_the_form_says_why_nothing_could_be_looked_up(admin: Visitor) -> None:
    page = admin.get(f"{NEW}?find=nobody")
    assert page.status_code == 422
    assert "No provider with this name." in page.text
    assert 'id="find" name="find" type="text" value="nobody"' in page.text


def test_a_search_leaves_a_saved_user_name_and_sender_alone(admin: Visitor) -> None:
    save(admin)
    page = admin.get(f"{url()}?find=me@gmail.com").text
    assert 'value="smtp.gmail.com"' in page
    assert 'name="smtp_username" type="text" value="user"' in page
    assert 'name="from_email" type="email" value="noreply@example.com"' in page


def test_each_hint_describes_its_field(admin: Visitor) -> None:
    page = admin.get(f"{NEW}?preset=office365").text
    preset = presets.find_preset("office365")
    assert preset
    hints = {"server": "host_hint", "username": "username_hint", "password": "password_hint", "from": "from_rule"}
    for field, key in hints.items():
        assert f'id="{field}-provider">{preset[key]}</p>' in page  # type: ignore[literal-required]
        assert re.search(rf'aria-describedby="[^"]*\b{field}-provider\b', page)
    assert preset["notes"][0] in page


def test_what_cannot_work_is_said_before_it_is_tried(admin: Visitor) -> None:
    assert "no longer accept passwords over SMTP" in admin.get(f"{NEW}?find=me@hotmail.com").text
