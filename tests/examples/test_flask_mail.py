"""The ``Mail`` of ``examples/`` takes the calls of Flask-Mail's, beside which it is held."""

from collections.abc import Callable
from typing import Any

import flask_mail
import pytest
from flask import Flask, current_app

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


def test_a_message_without_anybody_is_a_mistake_of_the_caller(host: Flask) -> None:
    with host.app_context(), pytest.raises(ValueError, match="to_email"):
        Mail(host).send(Message("Hello", body="Text"))
