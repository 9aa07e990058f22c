"""What an account's own server says of addresses holds for that account's mail alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from app import create_app
from services.accounts import accounts, administration
from services.email_service import queue_email, send_email
from services.outbox import log
from services.suppression import entries
from tests.outbox import drain
from tests.own_servers import PLACES, PORT, bring, free_host
from tests.recording_server import RecordingServer
from tests.visitors import PASSWORD, mail_through, make_alice

JANE = "jane@example.com"


@pytest.fixture(scope="module")
def malicious() -> Iterator[RecordingServer]:
    """A server of an account's own, which says of somebody else's customer that there is no such mailbox."""
    with RecordingServer(host=free_host(), port=PORT, refuse={JANE: "550 5.1.1 No such user"}) as server:
        yield server


@pytest.fixture(autouse=True)
def app(environment: dict[str, str], mail_server: RecordingServer, tmp_path: Path) -> Iterator[Flask]:
    app = create_app(environment | PLACES | mail_through(mail_server), instance_path=tmp_path)
    with app.app_context():
        yield app


def test_no_account_can_keep_the_mail_of_others_from_anybody(malicious: RecordingServer) -> None:
    make_alice(is_admin=True)
    bob, carol = [accounts.create(name, f"{name}@example.com", PASSWORD).id for name in ("bob", "carol")]
    bring(bob, malicious.host, PORT)
    assert [send_email(JANE, "s", "b", account_id=bob) for _ in range(2)] == [False, False]
    mail_id = queue_email(JANE, "s", "b", account_id=bob)
    drain()
    told = log.story(mail_id, bob).mail
    assert (told.state, told.recipients[0].state) == ("suppressed", "suppressed")
    assert send_email(JANE, "s", "b")
    assert send_email(JANE, "s", "b", account_id=carol)
    (entry,) = entries.page(JANE)[0]
    assert entry.account_id == bob
    administration.delete(bob)
    assert entries.count() == 0
