"""Moving over, leaving, renewing and sealing anew at once, on either database: nobody waits in a circle."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from flask import Flask
from flask_migrate import upgrade

from app import create_app
from database.engine import db
from services.connecting import moving, pending
from services.connecting.pending import Beginner
from services.oauth import consents, keeping
from services.oauth.consents import RegistrationChanged
from services.settings import configs, key_rotation, sealing
from services.settings.fields import parse_change
from tests import connected_rows, postgresql_server
from tests.conftest import APP_KEY
from tests.patience import PATIENCE
from tests.rotations import NEW_KEY
from utils.errors import AppError, DeliveryError

ROUNDS: Final = 4


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with postgresql_server.running() as url:
        environment = {"APP_KEY": APP_KEY, "APP_ENV": "development", "DATABASE_URL": url, "LOCAL_INBOX_PORT": "0"}
        with create_app(environment, instance_path=tmp_path_factory.mktemp("instance")).app_context():
            upgrade()
            db.engine.dispose()
        yield environment


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Flask]:
    """An application on either database, with keys to rotate between."""
    fixture = "environment" if request.param == "SQLite" else "postgresql"
    environment: dict[str, str] = request.getfixturevalue(fixture)
    nowhere = {"SMTP_ALLOWED_CIDRS": "192.0.2.0/24"}  # so that no provider is asked in earnest
    changed = environment | nowhere | {"APP_KEY": NEW_KEY, "APP_KEY_PREVIOUS": APP_KEY}
    app = create_app(changed, instance_path=tmp_path)
    with app.app_context():
        for stored in configs.search():
            configs.delete(stored.row.id)
        yield app
        connected_rows.await_revocations()
        db.engine.dispose()


def at_once(app: Flask, *works: Callable[[], object]) -> list[BaseException]:
    """Do these in threads that begin together; what none of ours should raise."""
    together, odd = threading.Barrier(len(works)), list[BaseException]()

    def run(work: Callable[[], object]) -> None:
        with app.app_context():
            together.wait(PATIENCE)
            try:
                work()
            except (AppError, DeliveryError, RegistrationChanged, AssertionError):
                pass  # somebody else was first, which a helper of the tests may meet as well
            except BaseException as error:
                odd.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * PATIENCE)
    return odd


def test_each_change_of_a_connection_waits_for_the_others(either: Flask) -> None:
    for number in range(ROUNDS):
        config = connected_rows.connect(connected_rows.stored(name=f"Shop {number}"))
        config_id, proof = config.row.id, sealing.issue_proof(moving.settings_by_token(config))
        known = keeping.find(config_id)
        assert known
        odd = at_once(
            either,
            lambda: moving.switch_over(config_id, proof),  # noqa: B023 - it is over before the next round
            lambda: connected_rows.connect(configs.of_any_scope(config_id)),  # noqa: B023
            lambda: configs.update(config_id, parse_change({"from_name": "Shop"})),  # noqa: B023
            key_rotation.rotate,
            lambda: keeping.current_token(config_id),  # noqa: B023
        )
        assert odd == []
        after = configs.get(config_id)
        assert after.is_readable and keeping.find(config_id)
        assert bool(after.settings.password) is not after.settings.is_by_token


def test_who_ends_a_connection_meets_nobody_who_still_renews_it(either: Flask) -> None:
    for number in range(ROUNDS):
        config = connected_rows.connect(connected_rows.stored(name=f"Shop {number}"))
        config_id = config.row.id
        odd = at_once(
            either,
            lambda: moving.disconnect(config_id),  # noqa: B023
            lambda: configs.delete(config_id),  # noqa: B023
            lambda: connected_rows.connect(configs.of_any_scope(config_id)),  # noqa: B023
            lambda: keeping.renewed(config_id, keeping.current_token(config_id)),  # noqa: B023
        )
        assert odd == []
        assert keeping.find(config_id) is None


def test_two_who_connect_at_once_count_two_consents(either: Flask) -> None:
    config = connected_rows.connect(connected_rows.stored())
    known = keeping.find(config.row.id)
    assert known and known.consent == 1
    at_once(
        either,
        lambda: connected_rows.connect(config),
        lambda: connected_rows.connect(config),
    )
    after = keeping.find(config.row.id)
    assert after and after.consent == 3 == configs.get(config.row.id).row.oauth_consent
    with either.app_context():
        assert consents.revoke(after) is False  # Microsoft cannot be told


def test_a_server_that_is_deleted_while_its_sign_in_begins_is_no_fault_of_ours(either: Flask) -> None:
    for number in range(ROUNDS):
        config_id = connected_rows.connect(connected_rows.stored(name=f"Shop {number}")).row.id
        beginner = Beginner(f"session {number}", "ada")
        odd = at_once(
            either,
            *[lambda: pending.begin_redirect(config_id, beginner, "https://example.com/oauth/callback")] * 3,  # noqa: B023
            lambda: configs.delete(config_id),  # noqa: B023
        )
        assert odd == []
