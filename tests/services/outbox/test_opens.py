"""Opens of tracked mails: asked for by the mail, noted without the database, written with what is known of who asks."""

import email
import email.policy
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.exc import OperationalError

from database.attempt_db import EmailAttempt
from database.engine import reading, transaction
from database.mail_open_db import MailOpen
from database.outbox_db import OutboxMail, State
from services.email_service import Attachment, queue_email
from services.message import pixel
from services.message.draft import draft
from services.outbox import log, opens, promise
from services.outbox.promise import Terms
from services.settings.protection import SECURITY_KINDS
from tests.mails import attempted, change
from tests.outbox import drain, row_of
from tests.recording_server import RecordedMail, RecordingServer
from tests.visitors import mail_through, text_of
from utils import clock

pytestmark = pytest.mark.usefixtures("app")

READER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.1.0"}
ADDRESS = "192.0.2.7"
HTML = "<html><body><p>Hello</p></body></html>"


@pytest.fixture
def environment(environment: dict[str, str], mail_server: RecordingServer) -> dict[str, str]:
    return environment | mail_through(mail_server)


@pytest.fixture(autouse=True)
def _nothing_noted() -> Iterator[None]:
    opens.forget_all()
    yield
    opens.forget_all()


def tracked_mail(html: str = HTML, **more: Any) -> str:
    return queue_email("jane@example.com", "Hello", "Hello", html, track_opens=True, **more)


def sent_mail(minutes_ago: float = 60) -> str:
    """A tracked mail that a server took so long ago; its id."""
    mail_id = tracked_mail()
    attempted(mail_id, days_ago=minutes_ago / 24 / 60)
    moment = clock.now() - timedelta(minutes=minutes_ago)
    change(mail_id, state=State.SENT, settled_at=moment, created_at=moment)
    return mail_id


def pixel_of(mail_id: str) -> str:
    found = row_of(mail_id).pixel
    assert found
    return found


def opened(mail_id: str, times: int = 1, headers: dict[str, str] | None = None, address: str = ADDRESS) -> None:
    for _ in range(times):
        opens.note(pixel_of(mail_id), READER if headers is None else headers, address)


def known(mail_id: str) -> opens.OpensData:
    opens.write_out()
    found = log.story(mail_id).opens
    assert found
    return found


@contextmanager
def at(moment: datetime) -> Iterator[None]:
    """Another time of day."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "now", lambda: moment)
        yield


def html_of(mail: RecordedMail) -> str:
    part = email.message_from_bytes(mail.content, policy=email.policy.default).get_body(("html",))
    assert part
    return str(part.get_content())


def rows() -> int:
    with reading() as session:
        return session.scalar(select(func.count()).select_from(MailOpen)) or 0


@pytest.mark.parametrize(
    ("html", "before"),
    [
        (HTML, "<p>Hello</p>"),
        ("<P>Hello</P></BODY ></HTML>\n", "<P>Hello</P>"),
        ("<p>Hello</p>", "<p>Hello</p>"),
        ("<p>Hello</p></html>", "<p>Hello</p>"),
        ("<p>İstanbul</p></body>", "<p>İstanbul</p>"),
        ("<p></body></p>", "<p></body></p>"),
    ],
)
def test_the_pixel_is_at_the_end_of_the_html(mail_server: RecordingServer, html: str, before: str) -> None:
    mail_id = tracked_mail(html)
    drain()
    shown = html_of(mail_server.mails[0])
    image = f'<img src="http://localhost:5000/open/{pixel_of(mail_id)}.gif" width="1" height="1" alt="" border="0">'
    assert f"{before}{image}" in shown
    assert shown.replace(image, "").strip() == html.strip()


def test_no_mail_is_tracked_unless_it_is_asked_for(mail_server: RecordingServer) -> None:
    mail_id = queue_email("jane@example.com", "Hello", "Hello", HTML)
    drain()
    assert "/open/" not in html_of(mail_server.mails[0])
    assert row_of(mail_id).pixel is None
    assert log.story(mail_id).opens is None


def test_a_mail_without_html_has_no_pixel(mail_server: RecordingServer) -> None:
    mail_id = queue_email("jane@example.com", "Hello", "Hello", track_opens=True)
    drain()
    assert b"/open/" not in mail_server.mails[0].content
    assert row_of(mail_id).pixel is None


def test_the_text_that_is_made_from_the_html_knows_no_pixel(mail_server: RecordingServer) -> None:
    queue_email("jane@example.com", "Hello", "", HTML, track_opens=True)
    drain()
    assert text_of(mail_server.mails[0]).strip() == "Hello"


def test_html_with_images_of_its_own_has_the_pixel(mail_server: RecordingServer) -> None:
    logo = Attachment("logo.png", b"png", "image/png", content_id="logo")
    tracked_mail('<img src="cid:logo">', attachments=[logo])
    drain()
    assert "/open/" in html_of(mail_server.mails[0])


def test_each_mail_has_a_pixel_of_its_own() -> None:
    found = {pixel_of(tracked_mail()) for _ in range(20)}
    assert len(found) == 20
    assert all(len(each) == 32 for each in found)


def test_security_mail_is_never_tracked() -> None:
    with pytest.raises(ValueError, match="track_opens: Security email is never tracked"):
        tracked_mail(priority="security")
    assert drain() == 0


@pytest.mark.parametrize("kind", sorted(SECURITY_KINDS))
def test_nor_is_any_of_our_own_mails_that_holds_a_link(kind: str) -> None:
    mail = draft("a@example.com", "s", "b", HTML, kind=kind, track_opens=True, message_id_domain="example.com")
    with pytest.raises(ValueError, match="track_opens"):
        promise.enqueue(mail, Terms())


@pytest.mark.parametrize("wrong", ["false", 0, 1, None])
def test_track_opens_is_true_or_false(wrong: Any) -> None:
    with pytest.raises(ValueError, match="track_opens: Pass True or False"):
        queue_email("jane@example.com", "Hello", "Hello", HTML, track_opens=wrong)


def test_one_key_is_not_for_a_mail_with_and_one_without() -> None:
    first = tracked_mail(idempotency_key="a")
    assert tracked_mail(idempotency_key="a") == first
    with pytest.raises(ValueError, match="idempotency_key"):
        queue_email("jane@example.com", "Hello", "Hello", HTML, idempotency_key="a")


def test_an_open_is_counted_with_its_first_and_its_last_moment() -> None:
    mail_id = sent_mail()
    opened(mail_id)
    first = known(mail_id)
    assert (first.count, first.by_machines, first.reliable) == (1, 0, True)
    opened(mail_id, 2)
    then = known(mail_id)
    assert (then.count, then.first) == (3, first.first)
    assert then.last
    assert first.last
    assert then.last > first.last


def test_a_mail_that_nobody_opened_says_so() -> None:
    found = known(sent_mail())
    assert (found.first, found.last, found.count, found.reliable) == (None, None, 0, False)


@pytest.mark.parametrize(
    "agent",
    [
        "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
        "Mozilla/5.0",
        " Mozilla/5.0 ",
        "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Microsoft Office Existence Discovery",
        "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5",
        "Mozilla/5.0 (compatible; Barracuda Sentinel)",
        "Mimecast",
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Slack-ImgProxy (+https://api.slack.com/robots)",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/120.0 Safari/537.36",
        "curl/8.5.0",
        "python-requests/2.31",
        "Go-http-client/2.0",
        "",
    ],
)
def test_an_open_by_a_proxy_a_prefetcher_or_a_scanner_is_not_reliable(agent: str) -> None:
    mail_id = sent_mail()
    opened(mail_id, headers={"User-Agent": agent})
    found = known(mail_id)
    assert (found.count, found.by_machines, found.reliable) == (1, 1, False)


@pytest.mark.parametrize(
    "agent",
    [
        READER["User-Agent"],
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Safari/537.36",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
        "Mozilla/4.0 (compatible; ms-office; MSOffice 16)",
        "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Mobile Safari",
        "Outlook-Android/2.0",
        "Evolution/3.52",
    ],
)
def test_an_open_by_a_program_that_people_read_with_is_reliable(agent: str) -> None:
    mail_id = sent_mail()
    opened(mail_id, headers={"User-Agent": agent})
    assert known(mail_id).reliable


@pytest.mark.parametrize("name", ["Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"])
def test_what_a_browser_loads_ahead_is_not_reliable(name: str) -> None:
    mail_id = sent_mail()
    opened(mail_id, headers={**READER, name: "prefetch;prerender"})
    assert not known(mail_id).reliable


@pytest.mark.parametrize(("address", "reliable"), [("17.58.1.2", False), ("172.16.0.1", True), ("unknown", True)])
def test_apples_network_is_a_machines(address: str, reliable: bool) -> None:
    mail_id = sent_mail()
    opened(mail_id, address=address)
    assert known(mail_id).reliable is reliable


@pytest.mark.parametrize(("seconds", "reliable"), [(-5, False), (0, False), (9, False), (11, True), (3600, True)])
def test_an_open_within_seconds_of_the_sending_is_not_reliable(seconds: float, reliable: bool) -> None:
    mail_id = sent_mail()
    with reading() as session:
        sent_at = session.scalar(select(EmailAttempt.started_at).where(EmailAttempt.mail_id == mail_id))
    assert sent_at
    with at(sent_at + timedelta(seconds=seconds)):
        opened(mail_id)
    assert known(mail_id).reliable is reliable


def test_an_open_before_any_server_took_the_mail_is_not_reliable() -> None:
    mail_id = tracked_mail()
    opened(mail_id)
    assert known(mail_id).by_machines == 1


def test_one_reliable_open_among_others_makes_it_sure() -> None:
    mail_id = sent_mail()
    opened(mail_id, 3, headers={"User-Agent": "Mozilla/5.0"})
    opened(mail_id)
    found = known(mail_id)
    assert (found.count, found.by_machines, found.reliable) == (4, 3, True)


def test_a_flood_of_one_pixel_is_one_row_of_a_bounded_count() -> None:
    mail_id = sent_mail()
    for _ in range(3):
        opened(mail_id, 600)
        opens.write_out()
    assert known(mail_id).count == opens.MOST_AN_HOUR
    assert rows() == 1


def test_each_hour_has_a_row_of_its_own() -> None:
    mail_id = sent_mail()
    now = clock.now()
    for hours in (0, 1, 1, 2):
        with at(now + timedelta(hours=hours)):
            opened(mail_id)
    assert known(mail_id).count == 4
    assert rows() == 3


def test_a_flood_of_unknown_pixels_fills_neither_memory_nor_database(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "test.db")) as connection:
        before = connection.execute("PRAGMA data_version").fetchone()
        for number in range(opens.MOST_KEPT + 500):
            opens.note(f"{number:032x}", READER, ADDRESS)
        assert opens.kept() == opens.MOST_KEPT
        assert opens.write_out() == 0
        assert connection.execute("PRAGMA data_version").fetchone() == before  # nobody wrote anything
    assert rows() == 0


def test_a_pixel_tells_nothing_any_more_after_a_month() -> None:
    old, young = sent_mail(30 * 24 * 60 + 1), sent_mail(30 * 24 * 60 - 5)
    for mail_id in (old, young):
        opened(mail_id)
    assert known(old).count == 0
    assert known(young).count == 1


def test_opens_go_with_their_mail() -> None:
    mail_id = sent_mail()
    opened(mail_id)
    assert known(mail_id).count == 1
    change(mail_id, settled_at=clock.now() - timedelta(days=100))
    log.purge(timedelta(days=90))
    assert rows() == 0


def test_an_open_of_a_mail_that_is_purged_meanwhile_is_dropped() -> None:
    mail_id = sent_mail()
    opened(mail_id)
    change(mail_id, settled_at=clock.now() - timedelta(days=100))
    log.purge(timedelta(days=90))
    assert opens.write_out() == 0
    assert opens.kept() == 0


def test_what_a_locked_database_does_not_take_is_kept_and_written_later(tmp_path: Path) -> None:
    mail_id = sent_mail()
    opened(mail_id, 2)
    with closing(sqlite3.connect(tmp_path / "test.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(OperationalError):
            opens.write_out()
        opened_meanwhile = threading.Thread(target=opens.note, args=(pixel.new_id(), READER, ADDRESS))
        opened_meanwhile.start()
        opened_meanwhile.join()
        other.execute("ROLLBACK")
    assert known(mail_id).count == 2


def test_nothing_of_who_opened_it_is_stored() -> None:
    mail_id = sent_mail()
    opened(mail_id)
    known(mail_id)
    with reading() as session:
        (row,) = session.scalars(select(MailOpen))
        values = {name for name in vars(row) if not name.startswith("_")}
    assert values == {"id", "mail_id", "hour", "first_at", "last_at", "times", "by_machines"}


def test_the_open_of_a_mail_that_is_sent_again_counts_from_the_first_sending() -> None:
    mail_id = sent_mail()
    attempted(mail_id)
    opened(mail_id)
    assert known(mail_id).reliable


def test_an_altered_row_breaks_no_write() -> None:
    mail_id = sent_mail()
    opened(mail_id)
    with transaction() as session:
        session.execute(update(OutboxMail).where(OutboxMail.mail_id == mail_id).values(pixel="x" * 32))
    assert opens.write_out() == 0
