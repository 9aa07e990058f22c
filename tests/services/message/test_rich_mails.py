"""What a mail can say survives the queue, is told apart by its key, and can be referred to later."""

import email
import email.policy
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.message import EmailMessage
from email.utils import make_msgid
from typing import Any, cast

import pytest
from flask import Flask
from sqlalchemy import select, update
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from database.engine import db, reading, transaction
from database.outbox_db import OutboxMail
from services.email_service import Attachment, message_id, queue_email, record_messages, send_email
from services.message.draft import Sender, draft, serialise
from services.outbox import content as outbox_content
from services.outbox import promise
from services.outbox.promise import Terms
from services.worker import groups
from services.worker.lease import Pace
from tests.outbox import drain
from tests.recording_server import RecordingServer
from tests.services.message.test_mime_parts import INVITATION, LOGO, MAIL
from tests.visitors import mail_through

TO = '"Näme, Quoted" <"a..b"@docomo.ne.jp>'
RICH: dict[str, Any] = {
    "html_body": '<p>Grüße <img src="cid:logo" alt="Logo"></p>',
    "cc": ["Bob <b@example.com>"],
    "bcc": "c@my_shop.example",
    "reply_to": [
        "Help, Ltd <h@example.com>".replace("Help, Ltd", '"Help, Ltd"'),
        "Zoë <z@example.com>",
        "y@example.com",
    ],
    "headers": {"X-SMTPAPI": '{"category": "Grüße"}', "X-Spaced": "a" + "  word" * 30},
    "attachments": [LOGO, Attachment("März.eml", MAIL + "ü".encode(), "message/rfc822")],
    "calendar": INVITATION,
}


@pytest.fixture
def environment(environment: dict[str, str], server: RecordingServer) -> dict[str, str]:
    return environment | mail_through(server)


@pytest.fixture
def session(app: Flask) -> Iterator[Session]:
    with sessionmaker(db.engine)() as opened:
        yield opened


def scoped(given: Session) -> scoped_session[Session]:
    """The registry through which a host application may reach its session."""
    return scoped_session(cast(sessionmaker[Session], lambda: given))


def read(content: bytes) -> EmailMessage:
    return email.message_from_bytes(content, policy=email.policy.default)


def columns(mail_id: str) -> OutboxMail:
    with reading() as opened:
        return opened.scalars(select(OutboxMail).where(OutboxMail.mail_id == mail_id)).one()


def without_chance(content: bytes) -> bytes:
    """A message but for what differs between two: ids, boundaries, the date."""
    content = re.sub(rb"=_[0-9a-f]{32}", b"boundary", content)
    return b"\r\n".join(line for line in content.split(b"\r\n") if not line.startswith((b"Message-ID:", b"Date:")))


def test_a_queued_mail_says_the_same_as_one_sent_now(app: Flask, server: RecordingServer) -> None:
    assert send_email(TO, "Übergabe", "", **RICH) is True
    queue_email(TO, "Übergabe", "", **RICH)
    drain()
    now, later = server.mails
    assert now.recipients == later.recipients == ("a..b@docomo.ne.jp", "b@example.com", "c@my_shop.example")
    assert without_chance(now.content) == without_chance(later.content)
    message = read(later.content)
    assert [mailbox.addr_spec for mailbox in message["Reply-To"].addresses] == [
        *("h@example.com", "z@example.com", "y@example.com"),
    ]
    assert message["X-Spaced"] == RICH["headers"]["X-Spaced"]
    text = message.get_body(("plain",))
    assert text is not None
    assert text.get_content() == "Grüße [Logo]\r\n"


def test_what_is_sent_is_recorded_in_full(app: Flask) -> None:
    with record_messages() as recorded:
        send_email(TO, "Übergabe", "", **RICH)
        mail_id = queue_email(TO, "Übergabe", "", **RICH)
        assert message_id(mail_id) == recorded[1].message_id == f"<{mail_id}@example.com>"
    assert message_id(mail_id) is None
    for mail in recorded:
        assert mail.attachments == [LOGO, Attachment("März.eml", MAIL + "ü".encode(), "message/rfc822")]
        assert (mail.text, mail.calendar) == ("Grüße [Logo]\n", INVITATION)
        assert mail.headers["Reply-To"] == '"Help, Ltd" <h@example.com>, Zoë <z@example.com>, y@example.com'


@pytest.mark.parametrize("reply_to", ["", "jürgen@example.com", "help@example.com"])
def test_a_mail_that_an_earlier_version_queued_is_sent_as_it_was_meant(app: Flask, reply_to: str) -> None:
    rest = b"To: a@example.com\r\nSubject: s\r\nMessage-ID: <f00@example.com>\r\n\r\nb\r\n"
    written = draft("a@example.com", "s", "b", kind="other", message_id_domain="example.com")
    mail_id = promise.enqueue(replace(written, reply_to=reply_to, rest=rest), Terms())
    group = groups.claim_group("test", Pace())
    assert group
    opened = outbox_content.unseal(group.claims[0])
    assert opened.mail_id == mail_id
    field = f"Reply-To: {reply_to}\r\n".encode() if reply_to else b""
    assert serialise(opened, Sender(email="n@example.com")) == b"From: n@example.com\r\n" + field + rest


def test_a_key_from_before_there_were_images_and_invitations_is_still_known(app: Flask) -> None:
    files = [Attachment("a.bin", b"\x00\xff", "application/x-thing")]
    first = queue_email("a@example.com", "s", "b", attachments=files, idempotency_key="k")
    plain = {"filename": "a.bin", "content": "\x00\xff", "content_type": "application/x-thing"}
    asked = ["a@example.com", "s", "b", None, None, None, None, None, [plain]]
    digest = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
    with transaction() as opened:
        opened.execute(update(OutboxMail).values(digest=digest))
    assert queue_email("a@example.com", "s", "b", attachments=files, idempotency_key="k") == first


@pytest.mark.parametrize(
    "other",
    [
        {"calendar": INVITATION},
        {"calendar": INVITATION.replace("17@", "18@")},
        {"attachments": [LOGO]},
        {"attachments": [Attachment("logo.png", LOGO.content, "image/png", "other")]},
        {"reply_to": ["h@example.com"]},
        {"reply_to": ["h@example.com", "i@example.com"]},
    ],
    ids=["calendar", "another calendar", "image", "another id", "reply", "replies"],
)
def test_a_key_tells_mails_apart_by_all_that_they_say(app: Flask, other: dict[str, Any]) -> None:
    first = queue_email("a@example.com", "s", "b", html_body="<p>", idempotency_key="k", **other)
    assert queue_email("a@example.com", "s", "b", html_body="<p>", idempotency_key="k", **other) == first
    for changed in ({}, {"calendar": INVITATION + "\n"}, {"attachments": [Attachment("l", b"", "image/png", "l")]}):
        with pytest.raises(ValueError, match="idempotency_key"):
            queue_email("a@example.com", "s", "b", html_body="<p>", idempotency_key="k", **changed)


def test_the_message_id_of_a_queued_mail_can_be_looked_up(app: Flask, server: RecordingServer) -> None:
    mail_id = queue_email("a@example.com", "s", "b")
    asked = message_id(mail_id)
    drain()
    assert asked == message_id(mail_id) == read(server.mails[0].content)["Message-ID"]


@pytest.mark.parametrize("ready", [lambda given: given, scoped], ids=["plain", "scoped"])
@pytest.mark.parametrize("autoflush", [True, False])
def test_the_message_id_is_known_before_the_commit(
    session: Session, ready: Callable[[Session], Any], autoflush: bool
) -> None:
    session.autoflush = autoflush
    ids = [queue_email("a@example.com", "s", "b", session=ready(session)) for _ in range(3)]
    found = [message_id(mail_id, session=ready(session)) for mail_id in ids]
    assert found == [f"<{mail_id}@example.com>" for mail_id in ids]
    session.commit()
    assert [message_id(mail_id) for mail_id in ids] == found


def test_a_mail_that_was_looked_up_and_rolled_back_was_never_promised(session: Session) -> None:
    ids = [queue_email("a@example.com", "s", "b", session=session) for _ in range(2)]
    assert all(message_id(mail_id, session=session) for mail_id in ids)
    session.rollback()
    assert [message_id(mail_id) for mail_id in ids] == [None, None]


def test_looking_up_a_message_id_writes_nothing_of_the_callers(session: Session) -> None:
    mail_id = queue_email("a@example.com", "s", "b", session=session)
    unfinished = OutboxMail(mail_id="x")
    session.add(unfinished)
    assert message_id(mail_id, session=session)
    assert unfinished in session.new


@pytest.mark.parametrize("mail_id", ["", "0" * 32, "unknown", "<a@b>", "' OR 1=1 --"])
def test_there_is_no_message_id_of_no_mail(app: Flask, mail_id: str) -> None:
    assert message_id(mail_id) is None


def test_a_later_mail_can_refer_to_an_earlier_one(app: Flask, server: RecordingServer) -> None:
    first = message_id(queue_email("a@example.com", "Order 17", "Thank you."))
    assert first
    queue_email("a@example.com", "Re: Order 17", "It left.", headers={"In-Reply-To": first, "References": first})
    drain()
    earlier, later = (read(mail.content) for mail in server.mails)
    assert later["In-Reply-To"] == later["References"] == earlier["Message-ID"]


def test_a_message_id_of_ones_own_is_kept(app: Flask, server: RecordingServer) -> None:
    own = make_msgid(domain="example.com")
    assert send_email("a@example.com", "s", "b", headers={"Message-ID": own}) is True
    twice = [queue_email("a@example.com", "s", "b", headers={"message-id": own}) for _ in range(2)]
    drain()
    assert [read(mail.content)["Message-ID"] for mail in server.mails] == [own] * 3
    assert [mail.content.count(b"Message-ID") for mail in server.mails] == [1] * 3
    assert len(set(twice)) == 2
    assert [message_id(mail_id) for mail_id in twice] == [own, own]
    assert columns(twice[0]).message_id == own


@pytest.mark.parametrize(
    "own",
    [
        *(
            "",
            "x",
            "a@example.com",
            "<a>",
            "<a@>",
            "<@b>",
            "<a b@example.com>",
            "<a@b> <c@d>",
            "<a@b@c>",
            "<a@b>\r\nBcc: e@e.e",
        ),
        *(
            "<a@ü.example>",
            "<=?utf-8?q?a?=@b",
            "<a@b>x",
            "<a..b@c>",
            "<a@[x]y>",
            f"<{'a' * 250}@b>",
            "<a(c)@b>",
            None,
            5,
            b"<a@b>",
        ),
    ],
    ids=ascii,
)
def test_a_message_id_that_is_none_is_the_callers_mistake(own: Any) -> None:
    with pytest.raises(ValueError, match="headers: Write Message-ID like"):
        draft("a@example.com", "s", "b", headers={"Message-ID": own}, message_id_domain="example.com")


@pytest.mark.parametrize(
    "own", ["<a@b>", "<a.b-c+d@x.example.com>", "<a@[192.0.2.1]>", "<a@[IPv6:::1]>", "<20261128.17$x/y@host_name>"]
)
def test_a_message_id_may_be_any_of_rfc_5322(own: str) -> None:
    made = draft("a@example.com", "s", "b", headers={"MESSAGE-ID": own}, message_id_domain="example.com")
    assert made.message_id == own
    assert made.mail_id not in own
