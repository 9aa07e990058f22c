"""A mail backend for Django that hands every email to Sealpost over HTTP, which queues it.

In Django's settings:

    EMAIL_BACKEND = "django_email_backend.SealpostBackend"   # where this file is
    SEALPOST_URL = "https://mail.example.com"                 # as BASE_URL is there
    SEALPOST_TOKEN = …                                        # an API token with the scope send

It needs nothing but Python and Django. What it cannot hand over it refuses: headers, and alternatives but HTML; for
those, Django's own SMTP backend can use Sealpost's gateway. Sealpost decides the From address.
"""

import base64
import json
import mimetypes
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from email.message import Message
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

TIMEOUT = 30  # seconds
MOST = 100  # emails of a call, which Sealpost takes together or not at all
LARGEST = 10 * 2**20  # characters of their attachments


class SealpostBackend(BaseEmailBackend):  # type: ignore[misc] # Django is untyped
    """``send_messages`` counts the emails that Sealpost has promised to send.

    One that it refuses raises ValueError, and OSError says that it cannot be reached, or takes none at present. With
    ``fail_silently`` they are left out instead, and all others are sent.
    """

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        made = [fields for message in email_messages if message.recipients() for fields in self._made(message)]
        return sum(self._sent(batch) for batch in _batches(made))

    def _made(self, message: EmailMessage) -> list[dict[str, Any]]:
        try:
            return [_fields(message)]
        except ValueError:
            if not self.fail_silently:
                raise
            return []

    def _sent(self, batch: list[dict[str, Any]]) -> int:
        """How many of them were taken."""
        try:
            _post({"messages": batch} if len(batch) > 1 else batch[0])
        except (OSError, ValueError) as error:
            if not self.fail_silently:
                raise
            is_one_refused = isinstance(error, ValueError) and len(batch) > 1
            return sum(self._sent([each]) for each in batch) if is_one_refused else 0
        return len(batch)


def _batches(made: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    size = 0
    for fields in made:
        own = sum(len(each["content"]) for each in fields.get("attachments", ()))
        if batch and (len(batch) == MOST or size + own > LARGEST):
            yield batch
            batch, size = [], 0
        batch.append(fields)
        size += own
    if batch:
        yield batch


def _fields(message: EmailMessage) -> dict[str, Any]:
    """The email as the API takes it. Raises ValueError."""
    html = [str(content) for content, kind in getattr(message, "alternatives", []) if kind == "text/html"]
    if len(html) != len(getattr(message, "alternatives", [])) or len(html) > 1:
        raise ValueError("Sealpost takes no alternatives but one of text/html.")
    if message.extra_headers:
        raise ValueError(f"Sealpost takes no headers over HTTP: {', '.join(message.extra_headers)}.")
    is_html = message.content_subtype == "html"
    body = str(message.body)
    fields = {
        "to": [str(each) for each in message.to],
        "cc": [str(each) for each in message.cc],
        "bcc": [str(each) for each in message.bcc],
        "replyTo": [str(each) for each in message.reply_to],
        "subject": str(message.subject),
        "text": "" if is_html else body,
        "html": body if is_html else "".join(html),
        "attachments": [_attachment(each) for each in message.attachments],
    }
    return {name: value for name, value in fields.items() if value}


def _attachment(attachment: Any) -> dict[str, str]:  # noqa: ANN401 - a tuple, or a MIME part
    content_id = ""
    if isinstance(attachment, Message):  # like an image of the HTML
        name, kind = attachment.get_filename(), attachment.get_content_type()
        content: Any = attachment.get_payload(decode=True)
        content_id = str(attachment.get("Content-ID", "")).strip("<>")
    else:
        name, content, kind = attachment
    raw = content.encode() if isinstance(content, str) else content
    if not isinstance(raw, bytes):
        raise ValueError("Sealpost takes attachments of text or bytes. Attach an email as its bytes.")
    kind = kind or mimetypes.guess_type(name or "")[0] or "application/octet-stream"
    fields = {"filename": name or "attachment", "content": base64.b64encode(raw).decode(), "contentType": kind}
    return {**fields, "contentId": content_id} if content_id else fields


def _post(fields: dict[str, Any]) -> None:
    """Raises ValueError with what Sealpost says of an email that it refuses, OSError where it takes none."""
    request = urllib.request.Request(  # noqa: S310 - an address of the settings
        f"{_setting('SEALPOST_URL').rstrip('/')}/api/messages/send-email",
        json.dumps(fields).encode(),
        {"Authorization": f"Bearer {_setting('SEALPOST_TOKEN')}", "Content-Type": "application/json"},
    )
    try:
        urllib.request.build_opener(_NoRedirect).open(request, timeout=TIMEOUT).close()
    except urllib.error.HTTPError as refused:
        with refused:
            words = f"Sealpost: {_words(refused)}"
        is_of_the_email = HTTPStatus.BAD_REQUEST <= refused.code < HTTPStatus.INTERNAL_SERVER_ERROR
        if is_of_the_email and refused.code != HTTPStatus.TOO_MANY_REQUESTS:
            raise ValueError(words) from None
        raise OSError(words) from None


def _words(refused: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(refused)["error"])
    except (ValueError, KeyError, TypeError):
        return f"{refused.code} {refused.reason}. Check SEALPOST_URL."


def _setting(name: str) -> str:
    value = str(getattr(settings, name, "") or "")
    if not value:
        raise ImproperlyConfigured(f"Set {name} for the mail backend of Sealpost.")
    return value


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The token goes to no other place than the one it was given for."""

    def redirect_request(self, *_: Any) -> None:  # noqa: ANN401 - as urllib calls it
        return None
