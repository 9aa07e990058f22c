"""The ``Mail`` of ``examples/`` takes the calls of Flask-Mail's, beside which it is held."""

from collections.abc import Callable
from typing import Any

import flask_mail
import pytest
from flask import Flask, current_app
from flask_sqlalchemy import SQLAlchemy

from examples import mail as ours
from examples.mail import Mail, Message
from services.email_service import message_id

ANN = "ann@example.com"


@pytest.fixture
def host(guest: Flask) -> Flask:
    """An application of its own, with Flask-Mail's settings as it had them."""
    app = Flask("host")
    app.config.update(MAIL_DEFAULT_SENDER="shop@example.com", TESTING=True)
    return app


def news(library: Any) -> Any:
    """A message, made as for Flask-Mail."""
    message = library.Message(
        "News", recipients=[ANN, ("Bob", "bob@example.com")], body="Text", html="<p>HTML</p>", cc=["carol@example.com"]
    )
    message.add_recipient("dave@example.com")
    message.attach("notes.txt", "text/plain", b"some notes")
    return message


@pytest.mark.parametrize("library", [flask_mail, ours])
@pytest.mark.parametrize(
    "send",
    [
        lambda mail, message: mail.send(message),
        lambda mail, message: mail.connect().__enter__().send(message),
    ],
    ids=["send", "connect"],
)
def test_the_same_calls_make_the_same_email(host: Flask, library: Any, send: Callable[[Any, Any], object]) -> None:
    mail = library.Mail(host)
    with host.app_context(), mail.record_messages() as outbox:
        send(mail, news(library))
    assert len(outbox) == 1
    assert outbox[0].subject == "News"
    assert [each.filename for each in outbox[0].attachments] == ["notes.txt"]
    assert "HTML" in outbox[0].html


def test_what_is_sent_is_queued_and_the_application_is_current_again(host: Flask, guest: Flask) -> None:
    mail = Mail()
    mail.init_app(host)
    with host.app_context():
        mail_id = mail.send_message("Hello", [ANN], "Text", sender=("Shop", "shop@example.com"))
        assert current_app.name == "host"
        assert host.extensions["mail"] is mail
    with guest.app_context():
        assert message_id(mail_id)


@pytest.mark.parametrize("fails", [False, True])
def test_with_a_session_an_email_goes_with_its_transaction(host: Flask, guest: Flask, *, fails: bool) -> None:
    host.config["SQLALCHEMY_DATABASE_URI"] = guest.config["SQLALCHEMY_DATABASE_URI"]
    db = SQLAlchemy(host)
    mail = Mail(host, db.session)
    with host.app_context():
        mail_id = mail.send(Message("Hello", [ANN], "Text"))
        (db.session.rollback if fails else db.session.commit)()
        db.session.remove()
        db.engine.dispose()
    with guest.app_context():
        assert (message_id(mail_id) is None) == fails


def test_letters_of_any_language_blind_copies_headers_and_images_arrive_as_given(host: Flask) -> None:
    message = Message(
        "Grüße an Łukasz 漢字",
        [("Łukasz 漢字", "ann@example.com")],
        html="<img src='cid:logo'>Zażółć",
        bcc=["carol@example.com"],
        extra_headers={"List-Id": "<shop.example.com>"},
    )
    message.attach("Übersicht.txt", data="größer")
    message.attach("logo.png", data=b"\x89PNG", headers={"Content-ID": "<logo>"})
    with host.app_context(), Mail(host).record_messages() as outbox:
        Mail(host).send(message)
    (sent,) = outbox
    assert sent.subject == "Grüße an Łukasz 漢字"
    assert sent.recipients == (ANN, "carol@example.com")
    assert "carol" not in "".join(f"{name}: {value}" for name, value in sent.headers.items())
    assert sent.headers["List-Id"] == "<shop.example.com>"
    assert {(each.filename, each.content_type, each.content_id) for each in sent.attachments} == {
        ("Übersicht.txt", "text/plain", ""),
        ("logo.png", "image/png", "logo"),
    }


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"date": 1.0}, "^date: Leave it out"),
        ({"mail_options": ["SIZE=1"]}, "^mail_options: Leave it out"),
        ({"alts": {"calendar": "BEGIN"}}, "^calendar: Leave it out"),
        ({"recipients": []}, "to_email"),
        ({"extra_headers": {"X-A": "a\r\nBcc: eve@example.com"}}, "headers"),
        ({"attachments": [ours.Attachment("a.txt")]}, "^attachments: Pass the data"),
    ],
)
def test_what_cannot_be_sent_is_a_mistake_of_the_caller(host: Flask, more: dict[str, Any], words: str) -> None:
    with host.app_context(), Mail(host).record_messages() as outbox:
        with pytest.raises(ValueError, match=words):
            Mail(host).send(Message(**{"subject": "Hello", "recipients": [ANN], "body": "Text", **more}))
        assert outbox == []
