"""The From domain check as a page, by the API and on the command line."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from app import create_app
from services.settings import configs
from services.settings.fields import parse_change
from tests.dns_server import DnsServer, Zone
from tests.visitors import Visitor

PAGE = "/settings/smtp/domain"
API = "/api/settings/smtp/domain-check"
ZONE: Zone = {
    ("good.test", "TXT"): ["v=spf1 include:_spf.google.com ~all"],
    ("_spf.google.com", "TXT"): ["v=spf1 ip4:64.233.160.0/19 ~all"],
    ("google._domainkey.good.test", "TXT"): ["v=DKIM1; k=rsa; p=MIIBIjAN"],
    ("_dmarc.good.test", "TXT"): ["v=DMARC1; p=reject"],
    ("good.test", "MX"): ["10 mx.good.test."],
    ("bare.test", "A"): ["192.0.2.1"],
    ("evil.test", "TXT"): ["v=spf1 <script>alert(1)</script> -all"],
}


@pytest.fixture(scope="module")
def server() -> Iterator[DnsServer]:
    with DnsServer(ZONE) as server:
        yield server


@pytest.fixture
def environment(environment: dict[str, str], server: DnsServer) -> dict[str, str]:
    return {**environment, "DNS_RESOLVER": server.address}


def store(from_email: str) -> None:
    configs.create(
        parse_change({"name": "One", "smtp_server": "smtp.gmail.com", "from_email": from_email, "is_active": True})
    )


def test_the_page_is_filled_with_what_sends_now_and_asks_nobody_yet(admin: Visitor, server: DnsServer) -> None:
    store("me@good.test")
    before = len(server.questions)
    page = admin.get(PAGE).text
    assert 'value="good.test"' in page
    assert 'value="smtp.gmail.com"' in page
    assert len(server.questions) == before


def test_the_step_of_the_checklist_is_done_once_the_domain_that_sends_is_in_order(admin: Visitor) -> None:
    store("me@good.test")
    done = "Undo</button>"  # beside what someone has confirmed
    admin.get(f"{PAGE}?domain=bare.test&server=smtp.gmail.com")
    assert done not in admin.get("/").text
    admin.get(f"{PAGE}?domain=good.test&server=smtp.gmail.com")
    assert admin.get("/").text.count(done) == 1


def test_the_page_shows_what_was_seen_and_what_to_add(admin: Visitor) -> None:
    page = admin.get(f"{PAGE}?domain=me@bare.test&server=smtp.gmail.com").text
    assert "v=spf1 include:_spf.google.com ~all" in page
    assert "_dmarc.bare.test" in page
    assert "Needs a change" in page


def test_a_record_cannot_add_markup_to_the_page(admin: Visitor) -> None:
    page = admin.get(f"{PAGE}?domain=evil.test").text
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page


@pytest.mark.parametrize("query", ["domain=", "domain=no+domain", "domain=good.test&server=a/b"])
def test_a_wrong_name_is_refused_at_its_field(admin: Visitor, query: str) -> None:
    answer = admin.get(f"{PAGE}?{query}")
    assert answer.status_code == 422
    assert 'aria-invalid="true"' in answer.text


def test_the_api_tells_the_same(client: Visitor, bearer: dict[str, str]) -> None:
    data = client.get(f"{API}?domain=good.test&server=smtp.gmail.com", headers=bearer).get_json()["data"]
    assert (data["outcome"], data["provider"]) == ("good", "Google")
    assert [finding["subject"] for finding in data["findings"]] == ["SPF", "DKIM", "DMARC", "MX"]


def test_the_api_takes_what_sends_now_without_a_domain(client: Visitor, bearer: dict[str, str]) -> None:
    assert client.get(API, headers=bearer).status_code == 422
    store("me@good.test")
    data = client.get(API, headers=bearer).get_json()["data"]
    assert (data["domain"], data["server"]) == ("good.test", "smtp.gmail.com")


@pytest.mark.parametrize("query", ["domain=no+domain", "domain=a.test&domain=b.test", "name=good.test"])
def test_the_api_refuses_a_wrong_question(client: Visitor, bearer: dict[str, str], query: str) -> None:
    assert client.get(f"{API}?{query}", headers=bearer).status_code == 422


@pytest.mark.parametrize(
    ("words", "code", "shown"),
    [
        (["good.test", "--server", "smtp.gmail.com"], 0, "✓ SPF: It allows Google"),
        (
            ["bare.test", "--server", "smtp.gmail.com"],
            3,
            "Add: bare.test  TXT  v=spf1 include:_spf.google.com ~all",
        ),
        (["no domain"], 1, "domain: Enter the part"),
        ([], 1, "Pass a domain: flask smtp domain"),
    ],
)
def test_the_command_has_exit_codes_for_scripts(app: Flask, words: list[str], code: int, shown: str) -> None:
    result = app.test_cli_runner().invoke(args=["smtp", "domain", *words])
    assert (result.exit_code, shown in result.output) == (code, True)


def test_the_command_checks_what_sends_now_and_prints_json(app: Flask) -> None:
    store("me@good.test")
    result = app.test_cli_runner().invoke(args=["smtp", "domain", "--json"])
    assert json.loads(result.stdout)["domain"] == "good.test"
    assert result.exit_code == 0


def test_without_a_name_server_nothing_is_claimed(environment: dict[str, str], tmp_path: Path) -> None:
    app = create_app({**environment, "DNS_RESOLVER": "192.0.2.53"}, instance_path=tmp_path)
    result = app.test_cli_runner().invoke(args=["smtp", "domain", "good.test", "--json"])
    assert json.loads(result.stdout)["outcome"] == "open"
    assert result.exit_code == 0


def test_page_and_api_share_one_limit(client: Visitor, admin: Visitor, bearer: dict[str, str]) -> None:
    query = "?domain=gmail.com"  # known without a look-up
    answers = [admin.get(PAGE + query).status_code for _ in range(20)]
    assert set(answers) == {200}
    assert client.get(API + query, headers=bearer).status_code == 429
    assert admin.get(PAGE).status_code == 200
