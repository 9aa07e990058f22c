"""A back-up has the connections of servers in it, and no sign-in that was under way; a copy uses no token up."""

from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask

from app import create_app
from database.engine import db, reading, transaction
from database.oauth_db import PendingOAuth
from services import backup
from services.oauth import keeping
from services.settings import configs
from services.worker import renewing
from tests import connected_rows
from tests.turned_clock import Now
from utils import clock


def begin(config_id: int) -> None:
    now = clock.now()
    with transaction() as session:
        session.add(
            PendingOAuth(
                config_id=config_id,
                way="code",
                session_digest="a" * 64,
                state_digest="b" * 64,
                registration_mac="c" * 64,
                began_at=now,
                ends_at=now + timedelta(minutes=10),
            )
        )


def test_after_a_restore_the_connection_is_there_and_a_sign_in_under_way_is_not(app: Flask, tmp_path: Path) -> None:
    config_id = connected_rows.connected().row.id
    begin(config_id)
    backup.write(tmp_path / "kept.db")
    configs.delete(config_id)
    assert keeping.find(config_id) is None
    connected_rows.await_revocations()  # which write down what came of them
    backup.restore(tmp_path / "kept.db")
    known = keeping.find(config_id)
    assert known and known.is_connected and known.refresh_token.reveal() == connected_rows.REFRESH
    with reading() as session:
        assert session.query(PendingOAuth).count() == 0


@pytest.mark.parametrize("is_copy", [True, False])
def test_a_copy_of_production_renews_nothing(
    app: Flask, environment: dict[str, str], tmp_path: Path, now: Now, is_copy: bool
) -> None:
    config_id = connected_rows.connected().row.id
    now.turn(timedelta(days=8).total_seconds())
    changed = {**environment, "SMTP_ALLOWED_CIDRS": "192.0.2.0/24"}  # so that nobody is asked in earnest
    changed |= {"MAIL_SUPPRESS_SEND": "true"} if is_copy else {}
    with create_app(changed, instance_path=tmp_path).app_context():
        renewing.keep()
        known = keeping.find(config_id)
        assert known and (known.failures == 0) is is_copy
        db.engine.dispose()
