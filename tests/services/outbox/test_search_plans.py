"""The lists of the mail log read what they show, however much other mail there is."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import combinations
from typing import Any, Final

import pytest
from flask import Flask
from sqlalchemy import text

from app import create_app
from database import mail_search_db
from database.engine import db, reading, transaction
from database.mail_search_db import SearchTerms
from database.outbox_db import State
from services import address_key
from tests.statements import heard
from utils import clock

NOW: Final = clock.now()
FILTERS: Final[dict[str, dict[str, Any]]] = {
    "address": {"recipient": "jane@example.com", "number": 5},
    "domain": {"recipient": "example.com", "number": 6},
    "tag": {"tag": "order 17"},
    "states": {"states": (State.FAILED, State.HELD, State.SENT)},
    "account": {"account_id": 7},
    "server": {"server": "Primary (smtp.example.com:587)"},
    "cause": {"cause": "no_recipient"},
    "Message-ID": {"message_id": "<3f2a@example.com>"},
    "time": {"since": NOW - timedelta(days=2), "until": NOW},
}
ONES: Final = [(), *[(name,) for name in FILTERS]]
TWOS: Final = [pair for pair in combinations(FILTERS, 2) if pair != ("address", "domain")]


@pytest.fixture
def app(on_either: dict[str, str], tmp_path: object) -> Iterator[Flask]:
    app = create_app(on_either, instance_path=tmp_path)  # type: ignore[arg-type]
    with app.app_context():
        with transaction() as session:
            address_key.find_or_make(session)
        yield app
        db.engine.dispose()


def test_every_filter_and_every_two_are_answered_by_an_index(app: Flask) -> None:
    """Whoever finds mail by two filters that share no index reads at most the rows of the rarer one."""
    is_sqlite = db.engine.dialect.name == "sqlite"
    for names in [*ONES, *TWOS]:
        terms = SearchTerms(**{key: value for name in names for key, value in FILTERS[name].items()})
        for ask in (mail_search_db.page, mail_search_db.direct):
            said: list[tuple[str, Any]] = []
            with heard(db.engine, lambda *each, said=said: said.append(each)), reading() as session:
                if not is_sqlite:
                    session.execute(text("SET LOCAL enable_seqscan = off"))  # the tables are empty
                ask(session, terms, 1000, 50)
                searches = [each for each in said if "UNION" in each[0] or "ORDER BY" in each[0]]
                assert searches
                for statement, parameters in searches:
                    explain = "EXPLAIN QUERY PLAN" if is_sqlite else "EXPLAIN"
                    plan = session.connection().exec_driver_sql(f"{explain} {statement}", parameters).all()
                    lines = [str(row[-1]) for row in plan]
                    for line in lines:
                        # What workers have in hand is never more than a few.
                        whole = line.startswith("SCAN email") and "ix_email_outbox_in_hand" not in line
                        assert not whole and "Seq Scan on email" not in line, (names, ask.__name__, line, statement)
