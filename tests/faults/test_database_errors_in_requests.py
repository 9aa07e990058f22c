"""The n-th thing that a request asks of the database fails, for each n: it is done and told so, or neither (F4)."""

from collections.abc import Callable, Iterable
from typing import Any, Final

import pytest
from flask import Flask
from sqlalchemy import select
from werkzeug.test import TestResponse

from database.engine import Base, db, reading
from database.outbox_db import State
from services.settings import named
from tests.faults.sabotage import KINDS, sabotaged
from tests.long_run import ALL
from tests.mails import in_state
from tests.visitors import Visitor, make_alice, visit

PLACE: Final[dict[str, Any]] = {"smtp_server": "smtp.example.com", "from_email": "a@example.com"}
DONE, AWAY = (200, 201, 204), 503
MOST: Final = 200  # statements and commits of one request

Asks = Callable[[], TestResponse]
Tables = dict[str, set[str]]


class Requests:
    """What people ask for, each ready to be sent: what it needs is in the database already."""

    def __init__(self, client: Visitor, bearer: dict[str, str]) -> None:
        self._client = client
        self._bearer = bearer
        self._csrf_token = client.csrf_token()
        self._number = 0

    def a_reset(self) -> Asks:
        fields = {"email": "alice@example.com", "csrf_token": self._csrf_token}
        place = {"REMOTE_ADDR": f"192.0.2.{self._next()}"}
        return lambda: self._client.post("/forgot-password", data=fields, environ_overrides=place)

    def settings(self) -> Asks:
        self._active()
        fields = {"smtp_server": f"smtp{self._next()}.example.com"}
        return lambda: self._client.post("/api/settings/smtp", json=fields, headers=self._bearer)

    def a_new_configuration(self) -> Asks:
        self._active()  # whose place it takes, the first time as well
        return self._call("post", "", {**PLACE, "name": f"New {self._next()}", "is_active": True})

    def a_change(self) -> Asks:
        return self._call("patch", f"/{self._stored()}", {"from_name": "Shop"})

    def a_switch(self) -> Asks:
        return self._call("post", f"/{self._stored()}/activate")

    def a_switch_off(self) -> Asks:
        return self._call("post", f"/{self._active()}/deactivate")

    def a_deletion(self) -> Asks:
        return self._call("delete", f"/{self._stored()}")

    def another_try(self) -> Asks:
        mail_id = in_state(State.FAILED)
        return lambda: self._client.post(f"/api/messages/{mail_id}/retry", headers=self._bearer)

    def a_withdrawal(self) -> Asks:
        mail_id = in_state(State.DEFERRED)
        return lambda: self._client.post(f"/api/messages/{mail_id}/cancel", headers=self._bearer)

    def _call(self, method: str, path: str, fields: dict[str, Any] | None = None) -> Asks:
        url = f"/api/settings/smtp/configs{path}"
        return lambda: getattr(self._client, method)(url, json=fields, headers=self._bearer)

    def _stored(self) -> int:
        self._active()
        return named.create_config(f"Stored {self._next()}", **PLACE).row.id

    def _active(self) -> int:
        return named.create_config(f"Active {self._next()}", **PLACE, is_active=True).row.id

    def _next(self) -> int:
        self._number += 1
        return self._number


ALL_REQUESTS: Final = (
    Requests.a_reset,
    Requests.settings,
    Requests.a_new_configuration,
    Requests.a_change,
    Requests.a_switch,
    Requests.a_switch_off,
    Requests.a_deletion,
    Requests.another_try,
    Requests.a_withdrawal,
)


@pytest.mark.parametrize("kind", KINDS if ALL else KINDS[:1])
@pytest.mark.parametrize("request_for", ALL_REQUESTS, ids=lambda request_for: request_for.__name__)
def test_a_database_error_anywhere_leaves_a_request_done_or_undone_as_it_is_told(
    app: Flask, bearer: dict[str, str], kind: str, request_for: Callable[[Requests], Asks]
) -> None:
    make_alice()
    requests = Requests(visit(app), bearer)
    ended = []
    for nth in range(1, MOST):
        ask = request_for(requests)
        before = everything()
        with sabotaged(db.engine, nth, kind) as sabotage:
            status = ask().status_code
        ended.append((nth, status, sorted(changed(before, everything()))))
        if not sabotage.is_done:
            break
    *harmed, (_, status, whole) = ended
    assert status in DONE
    assert whole
    assert harmed
    lies = [(nth, said, done) for nth, said, done in harmed if done != (whole if said in DONE else [])]
    assert lies == []
    assert {said for _, said, _ in harmed} <= {*DONE, AWAY}


def everything() -> Tables:
    """All rows of all tables."""
    with reading() as session:
        return {
            table.name: {repr(tuple(row)) for row in session.execute(select(table))}
            for table in Base.metadata.sorted_tables
        }


def changed(before: Tables, after: Tables) -> Iterable[tuple[str, int, int]]:
    """The tables that have changed, and how many rows each has lost and won."""
    for name, rows in after.items():
        if rows != before[name]:
            yield name, len(before[name] - rows), len(rows - before[name])
