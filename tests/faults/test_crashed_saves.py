"""A process dies anywhere in saving configurations: each is whole, and one of them is active (fault F3)."""

import signal
from collections import Counter
from typing import Any

from database.engine import db
from services import audit
from services.settings import configs, named
from services.settings.fields import parse_change
from tests.faults import child
from tests.faults.child import Place
from tests.faults.sabotage import doomed
from tests.long_run import ALL
from tests.patience import PATIENCE
from tests.processes import CONTEXT

LOGINS = {"one.example.com": "s3cret-of-one", "two.example.com": "s3cret-of-two"}
STEP = 1 if ALL else 15


def fields(server: str) -> dict[str, Any]:
    login = {"smtp_username": "shop", "smtp_password": LOGINS[server]}
    return {"smtp_server": server, **login, "from_email": "shop@example.com", "is_active": True}


def test_a_crash_anywhere_in_saving_leaves_whole_configurations_and_one_that_is_active(place: Place) -> None:
    named.create_config("Old", **fields("one.example.com"))
    nth = 1
    while is_killed(place, nth):
        stored = configs.search()
        assert all(each.is_usable and each.settings for each in stored), f"after {nth}"
        pairs = {(each.settings.host, each.settings.password.reveal()) for each in stored if each.settings}
        assert pairs <= set(LOGINS.items()), f"after {nth}"
        assert sum(each.row.is_active for each in stored) == 1, f"after {nth}"
        told = Counter(event.action for event in audit.events(limit=10_000))
        assert told["activated"] == told["deactivated"] + 1, f"after {nth}"
        nth += STEP
    assert nth > 20


def is_killed(place: Place, nth: int) -> bool:
    """Whether a process that saves configurations gets no further than its n-th statement or commit."""
    process = CONTEXT.Process(target=save, args=(place, nth))
    process.start()
    process.join(PATIENCE)
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def save(place: Place, nth: int) -> None:
    """In a process of its own: create one that is active, change its server, go back to the old one, delete it."""
    with child.begin(place).app_context(), doomed(db.engine, nth):
        new = named.create_config(f"New {nth}", **fields("one.example.com"))
        configs.update(new.row.id, parse_change(fields("two.example.com")))
        named.activate_config("Old")
        configs.delete(new.row.id)
