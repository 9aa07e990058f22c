"""Pages, commands and the API say when a server was last looked at, and what it offers otherwise since then."""

from datetime import timedelta

import pytest
from flask import Flask

from database.engine import transaction
from database.probe_db import ServerProbe
from services.settings import configs, health, route
from services.settings.fields import parse_change
from tests.visitors import Visitor
from utils import clock


@pytest.fixture
def config_id(app: Flask) -> int:
    """Of a server that was looked at ten minutes ago, and offers less than before."""
    stored = configs.save(parse_change({"smtp_server": "mail.example.com", "from_email": "a@example.com"}))
    step, now = route.step_of(stored), clock.now()
    at = (now - timedelta(hours=1)).isoformat()
    changes = [
        {"what": "AUTH PLAIN", "before": "", "after": None, "at": at, "loud": True},
        {"what": "SIZE", "before": "10240000", "after": "20480000", "at": at, "loud": False},
    ]
    with transaction() as session:
        session.add(
            ServerProbe(
                server=health.owner_of(stored.id),
                config_id=stored.id,
                fingerprint=step.fingerprint,
                spread=0.5,
                looked_at=now - timedelta(minutes=10),
                changes=changes,
            )
        )
    return stored.id


def test_the_list_and_the_servers_page_say_it(admin: Visitor, config_id: int) -> None:
    for place in ("/settings/smtp", f"/settings/smtp/{config_id}"):
        page = admin.get(place).get_data(as_text=True)
        assert "Last checked" in page
        assert "no longer offers AUTH PLAIN" in page
        assert "Test it to see what to do." in page
    assert page.count("no longer offers AUTH PLAIN") == 1
    assert "accepts messages of up to 20.5 MB instead of 10.2 MB" in page


def test_the_api_and_the_command_say_it(app: Flask, bearer: dict[str, str], config_id: int) -> None:
    answer = app.test_client().get(f"/api/settings/smtp/configs/{config_id}", headers=bearer).json
    assert answer
    known = answer["data"]["health"]
    assert known["looked_at"]
    assert len(known["offer_changes"]) == 2
    shown = app.test_cli_runner().invoke(args=["smtp", "show", str(config_id)]).output
    assert "looked_at:" in shown
    assert shown.count("changed:") == 2
