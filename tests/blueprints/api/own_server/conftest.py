"""Bob, his server, and the calls about it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests import certificates
from tests.blueprints.api.own_server.calls import HOST, OWN, PASSWORD, SETTINGS, TEST, Post, bearer_of
from tests.recording_server import RecordingServer
from tests.visitors import Visitor, make_alice, make_bob


@pytest.fixture(scope="module")
def server() -> Iterator[RecordingServer]:
    """Bob's own, at a port that accounts may use."""
    context = certificates.good_context(HOST)
    with RecordingServer(host=HOST, port=2525, tls=context, users={"bob@example.com": PASSWORD}) as server:
        yield server


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """No name leads anywhere in the tests: servers are addresses."""
    return {
        **environment,
        "SMTP_CA_FILE": str(certificates.ca_file()),
        "SMTP_ALLOWED_CIDRS_ACCOUNTS": "127.0.0.0/8",
    }


@pytest.fixture
def bob(app: Flask) -> int:
    make_alice(is_admin=True)
    return make_bob().id


@pytest.fixture
def headers(bob: int) -> dict[str, str]:
    return bearer_of(bob)


@pytest.fixture
def save(client: Visitor, headers: dict[str, str]) -> Post:
    """Save Bob's server, with changes; None leaves a field out."""

    def post(body: dict[str, Any] | None = None, query: str = "", **changes: object) -> TestResponse:
        merged = {**(OWN if body is None else body), **changes}
        given = {name: value for name, value in merged.items() if value is not None}
        return client.post(SETTINGS + query, json=given, headers=headers)

    return post


@pytest.fixture
def run_test(client: Visitor, headers: dict[str, str]) -> Post:
    def post(body: dict[str, Any] | None = None, query: str = "") -> TestResponse:
        if body is None:
            return client.post(TEST + query, headers=headers)
        return client.post(TEST + query, json=body, headers=headers)

    return post


@pytest.fixture
def shown(client: Visitor, headers: dict[str, str]) -> Callable[..., dict[str, Any]]:
    def get(query: str = "", of: dict[str, str] | None = None) -> dict[str, Any]:
        answer = client.get(SETTINGS + query, headers=of or headers)
        assert answer.status_code == 200
        found: dict[str, Any] = answer.get_json()
        return found

    return get
