"""The API document says what the API does."""

from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, given, settings
from schemathesis import Case
from schemathesis.specs.openapi.checks import positive_data_acceptance

from app import create_app
from blueprints.openapi import build_document
from tests.conftest import ADMIN_TOKEN
from tests.visitors import Visitor

OPERATIONS = [("/api/settings/smtp", "GET"), ("/api/settings/smtp", "POST"), ("/api/settings/smtp/test", "POST")]


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_the_api_answers_whatever_is_sent_as_documented(app: Flask, path: str, method: str) -> None:
    operation = schemathesis.openapi.from_wsgi("/api/openapi.json", app)[path][method]

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy())
    def check(case: Case[Any]) -> None:
        # Rules between fields, and whether a server answers, are beyond what a schema can promise.
        case.call_and_validate(
            headers={"Authorization": f"Bearer {ADMIN_TOKEN}"}, excluded_checks=[positive_data_acceptance]
        )

    check()


def test_the_document_lists_every_api_route_but_itself(app: Flask) -> None:
    routes = {rule.rule for rule in app.url_map.iter_rules() if rule.rule.startswith("/api/")}
    assert set(build_document()["paths"]) == routes - {"/api/openapi.json", "/api/docs"}


def test_the_page_shows_every_operation(client: Visitor) -> None:
    page = client.get("/api/docs")
    assert page.status_code == 200
    assert page.text.count("/api/settings/smtp/test") >= 1
    assert "smtp_server" in page.text


def test_the_document_names_the_configured_address_and_not_the_requested_host(client: Visitor) -> None:
    document = client.get("/api/openapi.json", headers={"Host": "evil.example"}).get_json()
    assert document["servers"] == [{"url": "http://localhost:5000"}]


def test_the_document_is_the_same_for_every_application(environment: dict[str, str], app: Flask) -> None:
    first = build_document()
    with create_app(environment).app_context():
        assert build_document() == first
