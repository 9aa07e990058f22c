"""The shop on top of Sealpost: its page, the branch of its tables, and one transaction for an order and its email."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Blueprint, Flask
from flask.typing import ResponseReturnValue
from sqlalchemy import select, text

from app import create_app
from blueprints.access import admin_api, public
from blueprints.parts import Part
from database import migrating, schema_db
from database.engine import db, reading
from database.outbox_db import OutboxMail
from examples.orders import shop
from services.checks import start
from tests.visitors import Visitor, visit
from utils.env_reader import ConfigurationError

api = Blueprint("stock_api", __name__, url_prefix="/stock")


@api.post("/count")
def count() -> ResponseReturnValue:
    return "counted"


@api.post("/clear")
@admin_api
def clear() -> ResponseReturnValue:
    return "cleared"


@pytest.fixture
def app(environment: dict[str, str], tmp_path: Path) -> Iterator[Flask]:
    parts = [shop.PART, Part(blueprint=api, csrf=False, guard=public)]
    app = create_app(environment, instance_path=tmp_path, parts=parts)
    with app.app_context():
        migrating.upgrade()
        yield app


def place(visitor: Visitor, **fields: str) -> int:
    page = visitor.get("/orders/").text
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert token
    return visitor.post("/orders/", data={**fields, "csrf_token": token[1]}).status_code


def stored() -> tuple[int, int]:
    """How many orders and how many emails there are."""
    with reading() as session:
        return len(session.scalars(select(shop.Order)).all()), len(session.scalars(select(OutboxMail)).all())


def test_an_order_and_its_email_are_stored_together(client: Visitor) -> None:
    assert place(client, email="ann@example.com", quantity="2") == 201
    assert stored() == (1, 1)


def test_an_order_that_the_database_refuses_sends_no_email(client: Visitor) -> None:
    assert place(client, email="ann@example.com", quantity="0") == 503
    assert stored() == (0, 0)


def test_an_email_that_cannot_be_is_no_order_either(client: Visitor) -> None:
    assert place(client, email="ann", quantity="1") == 422
    assert stored() == (0, 0)


def test_its_forms_are_protected_and_an_api_that_asks_for_it_is_not(client: Visitor, admin: Visitor) -> None:
    assert client.post("/orders/", data={"email": "ann@example.com", "quantity": "1"}).status_code == 400
    from_elsewhere = {"Sec-Fetch-Site": "cross-site"}
    assert client.post("/stock/count", headers=from_elsewhere).text == "counted"
    assert client.post("/stock/count").text == "counted"
    assert admin.post("/stock/clear", headers=from_elsewhere).status_code == 400


def test_a_database_without_its_tables_is_behind_and_one_upgrade_brings_both_branches(
    environment: dict[str, str], tmp_path: Path
) -> None:
    environment["DATABASE_URL"] = f"sqlite:///{tmp_path / 'empty.db'}"
    app = create_app(environment, instance_path=tmp_path, parts=[shop.PART])
    with app.app_context():
        with reading() as session:
            assert {"0001", "orders_1"} <= {each.revision for each in schema_db.missing(session)}
        assert app.test_cli_runner().invoke(args=["db", "upgrade"]).exit_code == 0
        start.check()
        with reading() as session:
            assert schema_db.missing(session) == []
        assert app.test_cli_runner().invoke(args=["db", "downgrade", "orders@-1"]).exit_code == 0
        with pytest.raises(ConfigurationError, match="The tables are older"):
            start.check()
        with reading() as session:
            assert [each.words for each in schema_db.missing(session)] == ["the table of orders"]


def test_its_migrations_make_what_its_models_say(app: Flask) -> None:
    assert app.test_cli_runner().invoke(args=["db", "check"]).exit_code == 0


def test_sealpost_works_beside_the_tables_of_a_part_that_is_gone(
    app: Flask, environment: dict[str, str], tmp_path: Path
) -> None:
    db.engine.dispose()
    with create_app(environment, instance_path=tmp_path).app_context():
        start.check()
        with reading() as session:
            assert session.scalar(text("SELECT count(*) FROM shop_order")) == 0


def test_it_is_made_as_its_own_server_makes_it(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in environment.items()))
    monkeypatch.setenv("SEALPOST_HOME", str(tmp_path))
    made = shop.create_app()
    assert visit(made).get("/orders/").status_code == 200
