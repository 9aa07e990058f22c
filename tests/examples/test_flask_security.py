"""Flask-Security sends what it sends through the class of ``examples/``."""

from collections.abc import Iterator

import pytest
from flask import Flask
from flask_security import Security, SQLAlchemyUserDatastore, hash_password
from flask_security.models import fsqla_v3
from flask_security.models.fsqla import FsModels
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import select

from database.engine import reading
from database.outbox_db import OutboxMail, Priority
from examples.flask_security_mail import SealpostMailUtil
from services.email_service import record_messages

ANN = "ann@example.com"


@pytest.fixture
def host(guest: Flask) -> Iterator[Flask]:
    """An application with Flask-Security, one account, and no mail extension."""
    app = Flask("host")
    app.config.update(
        SECRET_KEY="k3y-of-th3-h0st",
        SECURITY_PASSWORD_SALT="s4lt",
        SECURITY_PASSWORD_HASH="plaintext",
        SECURITY_PASSWORD_SCHEMES=["plaintext"],
        SECURITY_RECOVERABLE=True,
        SQLALCHEMY_DATABASE_URI="sqlite://",
        WTF_CSRF_ENABLED=False,
    )
    db = SQLAlchemy(app)
    FsModels.set_db_info(db)  # type: ignore[no-untyped-call]
    roles = type("Role", (db.Model, fsqla_v3.FsRoleMixin), {})
    users = type("User", (db.Model, fsqla_v3.FsUserMixin), {})
    passkeys = type("WebAuthn", (db.Model, fsqla_v3.FsWebAuthnMixin), {})
    datastore = SQLAlchemyUserDatastore(db, users, roles, passkeys)
    Security(app, datastore, mail_util_cls=SealpostMailUtil)
    with app.app_context():
        db.create_all()
        datastore.create_user(email=ANN, password=hash_password("river otter seventeen lamp"))
        db.session.commit()
        yield app
        db.session.remove()
        db.engine.dispose()


def test_a_reset_is_queued_ahead_of_other_email_under_its_kind(host: Flask, guest: Flask) -> None:
    assert host.test_client().post("/reset", data={"email": ANN}).status_code in (200, 302)
    with guest.app_context(), reading() as session:
        (row,) = session.scalars(select(OutboxMail)).all()
    assert [each["address"] for each in row.recipients] == [ANN]
    assert (row.priority, row.tag) == (Priority.SECURITY, "reset_instructions")


def test_its_text_has_the_link_of_the_application(host: Flask) -> None:
    with record_messages() as outbox:
        host.test_client().post("/reset", data={"email": ANN})
    assert "http://localhost/reset/" in outbox[0].text
    assert "http://localhost/reset/" in (outbox[0].html or "")
