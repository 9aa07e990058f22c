"""The shop, and an application beside it, on PostgreSQL, where whatever fails in a transaction ends it."""

from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy import create_engine, select, text
from sqlalchemy.orm import Session

import app as sealpost
from app import sealpost_context
from database import migrating
from database.engine import db, reading
from database.outbox_db import OutboxMail
from examples.orders import shop
from services.email_service import queue_email
from tests import postgresql_server
from tests.conftest import APP_KEY
from tests.examples.test_orders import place, stored
from tests.visitors import visit

ANN = "ann@example.com"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with postgresql_server.running() as address:
        yield address


@pytest.fixture(scope="module")
def served(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    home = tmp_path_factory.mktemp("home")
    environment = {"APP_KEY": APP_KEY, "APP_ENV": "development", "DATABASE_URL": url, "LOCAL_INBOX_PORT": "0"}
    (home / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in environment.items()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEALPOST_HOME", str(home))
        sealpost._guest.cache_clear()
        made = shop.create_app()
        with made.app_context():
            migrating.upgrade()
        yield made
        for each in (made, sealpost.guest()):
            with each.app_context():
                db.engine.dispose()
        sealpost._guest.cache_clear()


def test_an_order_and_its_email_are_stored_together_or_not_at_all(served: Flask) -> None:
    customer = visit(served)
    with served.app_context():
        orders, emails = stored()
        assert place(customer, email=ANN, quantity="2") == 201
        assert place(customer, email=ANN, quantity="0") == 503
        assert stored() == (orders + 1, emails + 1)


def test_what_fails_beside_it_leaves_the_rest_of_the_transaction_as_it_was(served: Flask) -> None:
    engine = create_engine(served.config["SQLALCHEMY_DATABASE_URI"])
    with served.app_context():
        orders, emails = stored()
    with Session(engine) as session:
        session.execute(text("INSERT INTO shop_order (email, quantity) VALUES ('a', 1)"))
        with sealpost_context(session) as joined:
            queue_email(ANN, "Hello", "Text", session=joined, idempotency_key="hello")
        with pytest.raises(ValueError, match="idempotency_key"), sealpost_context(session) as joined:
            queue_email(ANN, "Hello", "Taken back", session=joined)
            queue_email(ANN, "Hello", "Another", session=joined, idempotency_key="hello")
        session.commit()
    engine.dispose()
    with served.app_context(), reading() as own:
        assert stored() == (orders + 1, emails + 1)
        assert len(own.scalars(select(OutboxMail).where(OutboxMail.idempotency_key.is_not(None))).all()) == 1
