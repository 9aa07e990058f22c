"""Times are in one zone: the reader's where script runs; without it, and in files, UTC, which says so."""

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from database.outbox_db import State
from services import audit
from services.audit import Action
from tests.mails import attempted, in_state
from tests.server_form import LIST, save
from tests.test_architecture import ROOT
from tests.visitors import Visitor
from utils import clock

_TIME = re.compile(r"<time ([^>]*)>([^<]*)</time>")
_CLOCK = re.compile(r"\d\d:\d\d")


@pytest.fixture
def shown(admin: Visitor) -> Visitor:
    """With something on every page that tells times."""
    save(admin)
    attempted(in_state(State.DEFERRED), reply="at noon")
    attempted(reply="at noon")
    audit.note(Action.MAIL_PURGED, "1 mail", ["older than 3 days"])
    return admin


@pytest.mark.parametrize(
    "path",
    [LIST, f"{LIST}/1", "/settings/audit", "/emails", "/emails?from=direct", "/settings/accounts", "/account"],
)
def test_without_script_every_time_says_that_it_is_in_utc(shown: Visitor, path: str) -> None:
    page = shown.get(path).text
    found = _TIME.findall(page)
    assert found
    for attributes, text in found:
        assert text.endswith(" UTC"), text
        assert re.search(r"data-(relative|exact|day)", attributes), attributes
        assert re.search(r'datetime="[^"]+\+00:00"', attributes), attributes
    assert not _CLOCK.search(re.sub(r"<[^>]+>", "", _TIME.sub("", page)))


def test_a_time_that_is_still_to_come_says_so(shown: Visitor) -> None:
    due_at = clock.now() + timedelta(hours=3)
    mail_id = in_state(State.DEFERRED, due_at=due_at)
    for path in ("/emails", f"/emails/{mail_id}"):
        times = {text: attributes for attributes, text in _TIME.findall(shown.get(path).text)}
        assert 'data-relative="coming"' in times[f"{due_at:%Y-%m-%d %H:%M} UTC"]


def test_headers_tell_the_hops_in_the_readers_zone_too(shown: Visitor) -> None:
    headers = (
        "Received: from a.example by b.example; Tue, 03 Nov 2026 10:00:02 +0530\n"
        "Date: Tue, 03 Nov 2026 10:00:00 +0530\nSubject: Hello\nFrom: a@example.com"
    )
    page = shown.post_form(f"{LIST}/headers", {"headers": headers}).text
    assert [text for _, text in _TIME.findall(page)] == ["2026-11-03 04:30:00 UTC", "2026-11-03 04:30:02 UTC"]


def test_the_file_of_events_is_in_utc_and_says_so(shown: Visitor) -> None:
    first, *rows = csv.reader(io.StringIO(shown.get("/settings/audit.csv").text))
    assert first[0] == "at (UTC)"
    moment = datetime.strptime(rows[0][0], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - moment) < timedelta(minutes=5)


@pytest.mark.parametrize("path", sorted(str(file) for file in (ROOT / "templates").rglob("*.html")))
def test_no_template_writes_a_time_in_its_own_way(path: str) -> None:
    if not path.endswith("templates/_macros.html"):
        assert not re.search(r"strftime|isoformat", Path(path).read_text())


@pytest.mark.parametrize("command", [["smtp", "list"], ["mail", "list"], ["mail", "list", "--direct"], ["audit"]])
def test_commands_tell_times_in_utc_and_say_so(shown: Visitor, command: list[str]) -> None:
    told = shown.application.test_cli_runner().invoke(args=command).output
    assert "(UTC)" in told
