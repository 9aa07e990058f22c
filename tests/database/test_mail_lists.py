"""The lists of the mail log read what they show, however much other mail there is."""

from typing import Any

import pytest
from flask import Flask

from database import outbox_db
from database.engine import db, reading
from database.outbox_db import DEAD, WAITING, State
from tests.statements import heard


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        ({"account_id": 7}, "ix_email_outbox_account (account_id=?)"),
        ({"account_id": 7, "states": DEAD}, "ix_email_outbox_account (account_id=?)"),
        ({"account_id": 7, "states": [State.FAILED]}, "ix_email_outbox_account (account_id=?)"),
        ({"account_id": 7, "states": WAITING}, "ix_email_outbox_account (account_id=?)"),
        ({"account_id": 7, "states": [State.SENT]}, "ix_email_outbox_account (account_id=?)"),
        ({"account_id": 7, "tag": "order 17"}, "ix_email_outbox_account (account_id=?)"),
        ({"account_id": 7, "before": 1000}, "ix_email_outbox_account (account_id=? AND id<?)"),
        ({"tag": "order 17"}, "ix_email_outbox_tag (tag=?)"),
        ({"tag": "order 17", "before": 1000}, "ix_email_outbox_tag (tag=? AND id<?)"),
        ({"tag": "order 17", "states": [State.SENT]}, "ix_email_outbox_tag (tag=?)"),
    ],
)
def test_mail_of_an_account_and_mail_with_a_tag_are_found_by_their_index_in_order(
    app: Flask, wanted: dict[str, Any], index: str
) -> None:
    said: list[tuple[str, Any]] = []
    asked = {"states": [], "before": None, **wanted}
    with heard(db.engine, lambda statement, parameters: said.append((statement, parameters))), reading() as session:
        outbox_db.page(session, asked.pop("states"), asked.pop("before"), 50, **asked)
        ((statement, parameters),) = [each for each in said if "email_outbox" in each[0]]
        plan = str(session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all())
    assert index in plan
    assert "SCAN email_outbox" not in plan
    assert "TEMP B-TREE" not in plan
