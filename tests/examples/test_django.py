"""Django's own functions send through the mail backend of ``examples/``, which hands over to a running Sealpost."""

import threading
from collections.abc import Iterator

import django.conf
import pytest
from django.core.mail import EmailMessage, EmailMultiAlternatives, send_mail
from flask import Flask
from werkzeug.serving import make_server

from services.email_service import record_messages
from tests.conftest import ADMIN_TOKEN
from tests.loopback import free_port

ANN = "ann@example.com"


@pytest.fixture(autouse=True)
def served(app: Flask) -> Iterator[str]:
    """Where Sealpost is, which Django's settings name."""
    server = make_server("127.0.0.1", free_port(), app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    django.conf.settings._wrapped = django.conf.empty
    django.conf.settings.configure(
        EMAIL_BACKEND="examples.django_email_backend.SealpostBackend",
        DEFAULT_FROM_EMAIL="shop@example.com",
        SEALPOST_URL=f"http://127.0.0.1:{server.port}",
        SEALPOST_TOKEN=ADMIN_TOKEN,
    )
    yield django.conf.settings.SEALPOST_URL
    server.shutdown()
    thread.join()
    server.server_close()
    django.conf.settings._wrapped = django.conf.empty


def test_send_mail_queues_an_email() -> None:
    with record_messages() as outbox:
        assert send_mail("Hello", "Text", None, [ANN], html_message="<p>HTML</p>") == 1
    assert (outbox[0].subject, outbox[0].recipients) == ("Hello", (ANN,))
    assert (outbox[0].text.strip(), (outbox[0].html or "").strip()) == ("Text", "<p>HTML</p>")


def test_copies_replies_and_attachments_go_along() -> None:
    message = EmailMultiAlternatives("Hello", "Text", to=[ANN], cc=["bob@example.com"], bcc=["carol@example.com"])
    message.reply_to = ["shop@example.com"]
    message.attach("notes.txt", "some notes", "text/plain")
    message.attach("picture.png", b"\x89PNG")
    with record_messages() as outbox:
        assert message.send() == 1
    assert outbox[0].recipients == (ANN, "bob@example.com", "carol@example.com")
    assert outbox[0].headers["Reply-To"] == "shop@example.com"
    assert [(each.filename, each.content_type) for each in outbox[0].attachments] == [
        ("notes.txt", "text/plain"),
        ("picture.png", "image/png"),
    ]


def test_a_body_of_html_alone_is_html() -> None:
    message = EmailMessage("Hello", "<p>HTML</p>", to=[ANN])
    message.content_subtype = "html"
    with record_messages() as outbox:
        message.send()
    assert (outbox[0].html or "").strip() == "<p>HTML</p>"
    assert outbox[0].text.strip() == "HTML"


def test_what_sealpost_refuses_is_said_in_its_words_or_left_out() -> None:
    with record_messages() as outbox:
        with pytest.raises(ValueError, match=r"Sealpost: Nothing was queued.* to: The address has no @"):
            send_mail("Hello", "Text", None, ["nobody"])
        assert send_mail("Hello", "Text", None, ["nobody"], fail_silently=True) == 0
    assert outbox == []


def test_what_it_cannot_hand_over_is_refused_and_not_dropped() -> None:
    with pytest.raises(ValueError, match="no headers over HTTP: List-Id"):
        EmailMessage("Hello", "Text", to=[ANN], headers={"List-Id": "<a.example.com>"}).send()


def test_a_wrong_token_is_an_error_that_does_not_repeat_it() -> None:
    django.conf.settings.SEALPOST_TOKEN = "a-wrong-token"
    with pytest.raises(ValueError, match="Sealpost: ") as refused:
        send_mail("Hello", "Text", None, [ANN])
    assert "a-wrong-token" not in str(refused.value)


def test_a_sealpost_that_is_away_is_an_error_of_the_network() -> None:
    django.conf.settings.SEALPOST_URL = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(OSError, match="refused"):
        send_mail("Hello", "Text", None, [ANN])
