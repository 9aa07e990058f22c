"""``/open/…``: one image for whatever is asked for, by which nobody learns which ids there are."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask

from database.engine import db
from services.email_service import queue_email
from services.outbox import log, opens
from tests.mails import attempted, change
from tests.outbox import row_of
from tests.statements import heard
from tests.visitors import Visitor, make_alice, visit
from utils import clock

HTML = "<p>Hello</p>"
UNKNOWN = "0123456789abcdef0123456789abcdef.gif"
BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"}
MALFORMED = [
    "x",
    "x.gif",
    UNKNOWN.upper(),
    UNKNOWN.removesuffix(".gif"),
    f"{UNKNOWN}.gif",
    f"a/{UNKNOWN}",
    f"0{UNKNOWN}",
    UNKNOWN[1:],
    "%00",
    "%ff%fe.gif",
    "..%2f..%2fetc%2fpasswd",
    "'; DROP TABLE mail_open; --",
    "x" * 5000,
    "٣" * 32 + ".gif",
]


@pytest.fixture(autouse=True)
def _nothing_noted() -> Iterator[None]:
    opens.forget_all()
    yield
    opens.forget_all()


@pytest.fixture
def mail_id(app: Flask) -> str:
    """A tracked mail that was sent an hour ago."""
    return sent_mail(1 / 24)


def sent_mail(days_ago: float) -> str:
    mail_id = queue_email("jane@example.com", "Hello", "Hello", HTML, track_opens=True)
    attempted(mail_id, days_ago=days_ago)
    change(mail_id, created_at=clock.now() - timedelta(days=days_ago))
    return mail_id


def address_of(mail_id: str) -> str:
    return f"/open/{row_of(mail_id).pixel}.gif"


def count_of(mail_id: str) -> int:
    opens.write_out()
    found = log.story(mail_id).opens
    assert found
    return found.count


def test_the_pixel_is_an_image_of_one_point(client: Visitor, mail_id: str) -> None:
    answer = client.get(address_of(mail_id))
    assert (answer.status_code, answer.mimetype, len(answer.data)) == (200, "image/gif", 43)
    assert answer.data[:6] == b"GIF89a"
    assert answer.data[6:10] == b"\x01\x00\x01\x00"


def test_every_id_gets_the_same_answer(client: Visitor, mail_id: str) -> None:
    known = client.get(address_of(mail_id))
    for name in (UNKNOWN, address_of(sent_mail(40)).rpartition("/")[2], *MALFORMED):
        answer = client.get(f"/open/{name}")
        assert answer.status_code == 200, name
        assert (answer.data, list(answer.headers)) == (known.data, list(known.headers)), name


def test_it_may_be_shown_on_pages_of_others_and_is_kept_by_nobody(client: Visitor, mail_id: str) -> None:
    headers = client.get(address_of(mail_id)).headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert not {"Set-Cookie", "ETag", "Last-Modified", "Location"} & set(headers.keys())


def test_who_is_signed_in_gets_the_same_and_no_cookie(app: Flask, client: Visitor, mail_id: str) -> None:
    make_alice()
    alice = visit(app)
    alice.sign_in()
    answer = alice.get(address_of(mail_id))
    assert list(answer.headers) == list(client.get(address_of(mail_id)).headers)
    bearer = alice.get(address_of(mail_id), headers={"Authorization": "Bearer wrong"})
    assert list(bearer.headers) == list(answer.headers)


def test_an_open_stands_in_the_log_and_in_the_api(
    client: Visitor, admin: Visitor, bearer: dict[str, str], mail_id: str
) -> None:
    assert "Not seen to be opened." in admin.get(f"/emails/{mail_id}").text
    client.get(address_of(mail_id), headers=BROWSER)
    client.get(address_of(mail_id), headers={"User-Agent": "Mozilla/5.0"})
    assert count_of(mail_id) == 2
    page = admin.get(f"/emails/{mail_id}").text
    assert "Opened" in page
    assert "1 of these may have been a machine" in page
    answer = client.get(f"/api/messages/{mail_id}", headers=bearer).json
    assert answer
    found = answer["data"]["opens"]
    assert (found["count"], found["by_machines"], found["reliable"]) == (2, 1, True)
    assert found["first"] <= found["last"]


def test_a_mail_that_is_not_tracked_says_nothing_of_opens(
    client: Visitor, admin: Visitor, bearer: dict[str, str]
) -> None:
    mail_id = queue_email("jane@example.com", "Hello", "Hello", HTML)
    answer = client.get(f"/api/messages/{mail_id}", headers=bearer).json
    assert answer
    assert answer["data"]["opens"] is None
    assert "Opens" not in admin.get(f"/emails/{mail_id}").text


def test_an_open_by_machines_alone_is_a_perhaps(client: Visitor, admin: Visitor, mail_id: str) -> None:
    client.get(address_of(mail_id), headers={"User-Agent": "Mozilla/5.0 (via ggpht.com GoogleImageProxy)"})
    assert count_of(mail_id) == 1
    assert "May have been opened" in admin.get(f"/emails/{mail_id}").text


def test_head_gets_the_headers_and_counts_nothing(client: Visitor, mail_id: str) -> None:
    answer = client.head(address_of(mail_id))
    assert list(answer.headers) == list(client.get(f"/open/{UNKNOWN}").headers)
    assert answer.data == b""
    assert count_of(mail_id) == 0


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_refused(client: Visitor, mail_id: str, method: str) -> None:
    assert client.open(address_of(mail_id), method=method).status_code in (400, 405)
    assert count_of(mail_id) == 0


def test_no_condition_and_no_range_changes_the_answer(client: Visitor, mail_id: str) -> None:
    headers = {"If-None-Match": "*", "Range": "bytes=0-1", "If-Modified-Since": "Sat, 28 Nov 2026 00:00:00 GMT"}
    answer = client.get(address_of(mail_id), headers=headers)
    assert (answer.status_code, len(answer.data)) == (200, 43)


def test_the_answer_needs_no_database_whoever_asks(app: Flask, mail_id: str) -> None:
    make_alice()
    alice = visit(app)
    alice.sign_in()
    path, said = address_of(mail_id), list[str]()
    with heard(db.engine, lambda statement, _: said.append(statement)):
        for each in (path, f"/open/{UNKNOWN}", "/open/x"):
            assert alice.get(each).status_code == 200
    assert said == []
    assert count_of(mail_id) == 1
