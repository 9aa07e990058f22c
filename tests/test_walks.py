"""A mail changes rooms only so often. A later change may raise a ceiling in one line, with its reason behind it."""

from collections.abc import Iterator

import pytest
from flask import Flask

from services.message import headers
from services.smtp import grammar
from tests import walks
from tests.recording_server import RecordingServer
from tests.test_architecture import ROOT
from utils import clock

# Changes, rooms. Each attempt is news of how its server is, which has the settings' name and fingerprint. The list of
# suppressed addresses is asked, the log finds the mail by keys of its addresses, and what was said may be kept.
MOST_FOR_SENDING = (94, 12)
# Each queued mail is asked whether its session is another application's, and added by what the gateway adds with.
# Of which one asks where a server may be, for SMTP_ALLOWED_CIDRS and SMTP_ALLOWED_PORTS, and one whose turn it is.
MOST_FOR_QUEUEING = (192, 14)


@pytest.fixture
def server(app: Flask) -> Iterator[RecordingServer]:
    with RecordingServer() as running:
        walks.save_server(running)
        yield running


@pytest.mark.usefixtures("server")
def test_a_warm_send_email_changes_rooms_only_so_often() -> None:
    walk = walks.of_sending()
    assert walk.changes <= MOST_FOR_SENDING[0], walk.crossings
    assert len(walk.rooms) <= MOST_FOR_SENDING[1], walk


@pytest.mark.usefixtures("server")
def test_a_queued_mail_and_its_delivery_change_rooms_only_so_often() -> None:
    walk = walks.of_queueing()
    assert walk.changes <= MOST_FOR_QUEUEING[0], walk.crossings
    assert len(walk.rooms) <= MOST_FOR_QUEUEING[1], walk


def test_a_walk_counts_each_call_in_another_room_than_the_one_before_and_no_return() -> None:
    def act() -> None:
        grammar.host_name("mail.example.com")
        grammar.host_name("mail.example.net")
        clock.now()
        headers.one_line("Subject", "Text")
        grammar.host_name("mail.example.com")

    walk = walks.walk_of(act)
    assert walk.rooms == {"smtp", "utils", "message"}
    assert walk.changes == 3


def test_a_walk_tells_the_line_that_it_came_from() -> None:
    walk = walks.walk_of(lambda: grammar.host_name("mail.example.com") and clock.now())
    assert list(walk.crossings) == ["from outside -> utils: now"]


def test_the_walk_counter_is_described_where_a_newcomer_looks() -> None:
    assert "python -m tests.walks" in (ROOT / "CONTRIBUTING.md").read_text()
