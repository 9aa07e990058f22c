"""Django's own functions send through the mail backend of ``examples/``, which hands over to a running Sealpost."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.mime.image import MIMEImage
from typing import Any

import django.conf
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage, EmailMultiAlternatives, get_connection, send_mail
from django.utils.functional import lazystr
from flask import Flask
from werkzeug.serving import make_server

from services.email_service import record_messages
from tests.conftest import ADMIN_TOKEN
from tests.loopback import free_port

ANN = "ann@example.com"


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """The address of a web server that has this application."""
    server = make_server("127.0.0.1", free_port(), app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def served(app: Flask) -> Iterator[str]:
    """Where Sealpost is, which Django's settings name."""
    with serving(app) as address:
        yield from configured(address)


def configured(address: str) -> Iterator[str]:
    django.conf.settings._wrapped = django.conf.empty
    django.conf.settings.configure(
        EMAIL_BACKEND="examples.django_email_backend.SealpostBackend",
        DEFAULT_FROM_EMAIL="shop@example.com",
        SEALPOST_URL=address,
        SEALPOST_TOKEN=ADMIN_TOKEN,
    )
    yield address
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
    assert send_mail("Hello", "Text", None, [ANN], fail_silently=True) == 0


def messages(*addresses: str) -> list[EmailMessage]:
    return [EmailMessage("News", "Text", to=[each]) for each in addresses]


def test_many_go_in_a_few_calls_and_one_that_is_refused_takes_those_of_its_call_along() -> None:
    many = messages(*(f"reader{number}@example.com" for number in range(120)))
    with record_messages() as outbox:
        assert get_connection().send_messages(many) == 120
        assert len({mail.recipients for mail in outbox}) == 120
    with record_messages() as outbox:
        with pytest.raises(ValueError, match=r"messages\[1\]\.to"):
            get_connection().send_messages(messages(ANN, "nobody", "bob@example.com"))
        assert outbox == []


def test_silently_all_but_the_refused_ones_are_sent() -> None:
    spoilt = EmailMessage("News", "Text", to=[ANN], headers={"List-Id": "<a.example.com>"})
    with record_messages() as outbox:
        connection = get_connection(fail_silently=True)
        assert connection.send_messages([spoilt, *messages(ANN, "nobody", "bob@example.com")]) == 2
    assert [mail.recipients for mail in outbox] == [(ANN,), ("bob@example.com",)]


def test_letters_of_any_language_lazy_texts_and_images_of_the_html_arrive_as_given() -> None:
    message = EmailMultiAlternatives(lazystr("Grüße 漢字"), lazystr("Zażółć"), to=["Łukasz 漢字 <ann@example.com>"])
    message.attach_alternative("<img src='cid:logo'>", "text/html")
    logo = MIMEImage(b"\x89PNG", "png")
    logo.add_header("Content-ID", "<logo>")
    message.attach(logo)
    with record_messages() as outbox:
        message.send()
    (sent,) = outbox
    assert (sent.subject, sent.text.strip(), sent.recipients) == ("Grüße 漢字", "Zażółć", (ANN,))
    assert [(each.content_type, each.content_id) for each in sent.attachments] == [("image/png", "logo")]


@pytest.mark.parametrize("kind", ["text/calendar", "text/html"])
def test_alternatives_but_one_of_html_are_refused(kind: str) -> None:
    message = EmailMultiAlternatives("Hello", "Text", to=[ANN])
    message.attach_alternative("<p>HTML</p>", "text/html")
    message.attach_alternative("more", kind)
    with pytest.raises(ValueError, match="no alternatives but one"):
        message.send()


def test_an_email_as_an_attachment_is_refused_with_what_to_attach() -> None:
    message = EmailMessage("Hello", "Text", to=[ANN])
    message.attach("mail.eml", messages(ANN)[0], "message/rfc822")
    with pytest.raises(ValueError, match="Attach an email as its bytes"):
        message.send()


def test_a_setting_that_is_missing_is_named() -> None:
    django.conf.settings.SEALPOST_TOKEN = ""
    with pytest.raises(ImproperlyConfigured, match="Set SEALPOST_TOKEN"):
        send_mail("Hello", "Text", None, [ANN])


def test_what_is_no_sealpost_gets_no_token_by_a_redirect_and_is_said(served: str) -> None:
    asked: list[bytes] = []

    def elsewhere(environ: dict[str, object], start_response: Any) -> list[bytes]:
        asked.append(environ["wsgi.input"].read(0))  # type: ignore[attr-defined]
        start_response("302 Found", [("Location", f"{served}/api/messages/send-email")])
        return [b"<html>"]

    with serving(elsewhere) as address:
        django.conf.settings.SEALPOST_URL = address
        with pytest.raises(OSError, match=r"Sealpost: 302 Found. Check SEALPOST_URL"):
            send_mail("Hello", "Text", None, [ANN])
    assert len(asked) == 1
