"""Mail that waits is counted in its own index alone, in SQLite: to look up each row as well takes ten times longer."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from database import outbox_db, overview_db
from database.engine import db, reading
from tests.statements import heard


@pytest.mark.parametrize("ask", [outbox_db.depths, outbox_db.waiting, overview_db.waiting])
def test_what_waits_is_counted_in_the_index_of_waiting_mail(app: Flask, ask: Callable[[Session], object]) -> None:
    said: list[tuple[str, Any]] = []
    with heard(db.engine, lambda *each: said.append(each)), reading() as session:
        ask(session)
        statement, parameters = said[0]
        plan = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
    lines = [str(row[-1]) for row in plan]
    assert any("USING COVERING INDEX ix_email_outbox_due" in line for line in lines), lines
    assert not any("ix_email_outbox_unsent" in line or "TEMP B-TREE" in line for line in lines), lines
