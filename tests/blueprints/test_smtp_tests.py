"""How many connection tests one person may have under way, and who runs them."""

import contextvars
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient
from werkzeug.test import EnvironBuilder, TestResponse

from blueprints import access, smtp_tests
from services import audit
from services.accounts import api_tokens
from services.checks import connection_test
from services.settings.configs import preview
from services.settings.fields import parse_change
from tests.loopback import free_port
from tests.patience import PATIENCE
from tests.scripted_server import Connection, ScriptedServer, hang
from tests.visitors import make_bob, visit

URL = "/api/settings/smtp/test"
NDJSON = {"Accept": "application/x-ndjson"}


class HangingServer(ScriptedServer):
    """Takes connections and says nothing; ``wait_for_caller`` waits for the next one."""

    def __init__(self) -> None:
        self._callers = threading.Semaphore(0)
        super().__init__({"GREETING": self._keep})

    def wait_for_caller(self) -> None:
        assert self._callers.acquire(timeout=PATIENCE), "nobody called"

    def _keep(self, connection: Connection) -> None:
        self._callers.release()
        hang(connection)


def values(port: int) -> dict[str, Any]:
    return {
        "smtp_server": "127.0.0.1",
        "smtp_port": port,
        "from_email": "noreply@example.com",
        "use_tls": False,
        "use_ssl": False,
    }


@pytest.fixture
def hanging() -> Iterator[HangingServer]:
    with HangingServer() as server:
        yield server


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


@pytest.fixture
def run_test(app: Flask, bearer: dict[str, str]) -> Callable[..., TestResponse]:
    """Run a test of a port to its end; with other headers, as somebody else or as a stream."""

    def run(port: int, headers: dict[str, str] | None = None) -> TestResponse:
        return visit(app).post(URL, json=values(port), headers={**bearer, **(headers or {})})

    return run


def occupy(
    pool: ThreadPoolExecutor, server: HangingServer, run: Callable[..., TestResponse], headers: dict[str, str]
) -> list[Future[TestResponse]]:
    """Begin as many tests as may run at once, and wait until each of them hangs."""
    begun = [pool.submit(run, server.port, headers) for _ in range(smtp_tests.AT_ONCE)]
    for _ in begun:
        server.wait_for_caller()
    return begun


@pytest.mark.parametrize("headers", [{}, NDJSON])
def test_a_third_test_at_once_is_refused_until_one_ends(
    pool: ThreadPoolExecutor, run_test: Callable[..., TestResponse], headers: dict[str, str]
) -> None:
    with HangingServer() as server:
        begun = occupy(pool, server, run_test, headers)
        for other in ({}, NDJSON):
            refused = run_test(server.port, other)
            assert refused.status_code == 429
            assert 1 <= int(refused.headers["Retry-After"]) <= 60
            assert refused.is_json
    assert {future.result(PATIENCE).status_code for future in begun} == {200 if headers else 422}
    assert run_test(free_port()).status_code == 422


def test_the_tests_of_others_go_on(pool: ThreadPoolExecutor, run_test: Callable[..., TestResponse]) -> None:
    bob = api_tokens.create(make_bob(is_admin=True).id, "deploy")[0]
    with HangingServer() as server:
        begun = occupy(pool, server, run_test, {})
        assert run_test(free_port(), {"Authorization": f"Bearer {bob}"}).status_code == 422
        assert run_test(free_port()).status_code == 429
    assert {future.result(PATIENCE).status_code for future in begun} == {422}


def test_tests_that_failed_take_no_place(run_test: Callable[..., TestResponse]) -> None:
    port = free_port()
    assert [run_test(port).status_code for _ in range(4)] == [422] * 4
    assert [run_test(port, NDJSON).status_code for _ in range(4)] == [200] * 4


def in_own_context(work: Callable[[], Any]) -> Any:
    """As a server's thread does it: what a request sets stands in no other request."""
    return contextvars.Context().run(work)


def test_a_reader_who_goes_away_gives_the_place_back(
    app: Flask, hanging: HangingServer, run_test: Callable[..., TestResponse], bearer: dict[str, str]
) -> None:
    def read_a_line_and_leave() -> int:
        browser = FlaskClient(app, app.response_class)
        answer = browser.post(URL, json=values(hanging.port), headers={**bearer, **NDJSON}, buffered=False)
        assert b'"step"' in next(answer.iter_encoded())
        answer.close()
        return answer.status_code

    assert [in_own_context(read_a_line_and_leave) for _ in range(5)] == [200] * 5
    assert run_test(free_port()).status_code == 422


def test_a_reader_who_goes_away_before_the_first_line_gives_the_place_back(
    app: Flask, hanging: HangingServer, run_test: Callable[..., TestResponse], bearer: dict[str, str]
) -> None:
    def leave() -> str:
        request = EnvironBuilder(URL, method="POST", json=values(hanging.port), headers=list((bearer | NDJSON).items()))
        said: list[str] = []

        def start_response(status: str, *_: object) -> Callable[[bytes], object]:
            said.append(status)
            return bytes  # to write with, which nobody does

        answer: Any = app.wsgi_app(request.get_environ(), start_response)
        answer.close()
        return said[0]

    assert [in_own_context(leave) for _ in range(5)] == ["200 OK"] * 5
    assert run_test(free_port()).status_code == 422
    assert hanging.connections == []


def test_the_end_of_a_streamed_test_is_still_of_who_began_it(app: Flask, bearer: dict[str, str]) -> None:
    def view() -> Response:
        prepared = connection_test.plan(preview(parse_change(values(free_port()))))
        return smtp_tests.streamed(prepared, None, lambda _result: {"actor": audit.actor().name})

    app.add_url_rule("/api/streamed", view_func=access.admin_api(view))
    answer = visit(app).get("/api/streamed", headers=bearer)
    assert answer.text.splitlines()[-1] == '{"type": "result", "actor": "ADMIN_TOKEN"}'
