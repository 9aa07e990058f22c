"""A mail backend for Django that hands every email to Sealpost over HTTP, which queues it.

In Django's settings:

    EMAIL_BACKEND = "django_email_backend.SealpostBackend"   # where this file is
    SEALPOST_URL = "https://mail.example.com"
    SEALPOST_TOKEN = …                                        # an API token with the scope send

It needs nothing but Python and Django. What it cannot hand over it refuses: headers, alternatives but HTML, and
attachments that are whole MIME parts. Sealpost decides the From address.
"""

import base64
import json
import mimetypes
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

TIMEOUT = 30  # seconds


class SealpostBackend(BaseEmailBackend):  # type: ignore[misc] # Django is untyped
    """``send_messages`` counts the emails that Sealpost has promised to send; one that it refuses raises ValueError."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """How many were taken. With ``fail_silently`` what is refused, or cannot be handed over, is left out."""
        taken = 0
        for message in email_messages:
            if not message.recipients():
                continue
            try:
                _post(_fields(message))
            except (OSError, ValueError):
                if not self.fail_silently:
                    raise
            else:
                taken += 1
        return taken


def _fields(message: EmailMessage) -> dict[str, Any]:
    """The email as the API takes it. Raises ValueError."""
    html = [str(content) for content, kind in getattr(message, "alternatives", []) if kind == "text/html"]
    if len(html) != len(getattr(message, "alternatives", [])):
        raise ValueError("Sealpost takes no alternatives but text/html.")
    if message.extra_headers:
        raise ValueError(f"Sealpost takes no headers over HTTP: {', '.join(message.extra_headers)}.")
    is_html = message.content_subtype == "html"
    fields = {
        "to": list(message.to),
        "cc": list(message.cc),
        "bcc": list(message.bcc),
        "replyTo": list(message.reply_to),
        "subject": message.subject,
        "text": "" if is_html else message.body,
        "html": message.body if is_html else "".join(html),
        "attachments": [_attachment(each) for each in message.attachments],
    }
    return {name: value for name, value in fields.items() if value}


def _attachment(attachment: Any) -> dict[str, str]:  # noqa: ANN401 - a tuple, or a MIME part
    if not isinstance(attachment, tuple):
        raise ValueError("Sealpost takes attachments by name and content, and no MIME parts.")
    name, content, kind = attachment
    raw = content.encode() if isinstance(content, str) else content
    kind = kind or mimetypes.guess_type(name or "")[0] or "application/octet-stream"
    return {"filename": name or "attachment", "content": base64.b64encode(raw).decode(), "contentType": kind}


def _post(fields: dict[str, Any]) -> None:
    """Raises ValueError with what Sealpost says of an email that it refuses, OSError where it cannot be reached."""
    request = urllib.request.Request(  # noqa: S310 - an address of the settings
        f"{settings.SEALPOST_URL}/api/messages/send-email",
        json.dumps(fields).encode(),
        {"Authorization": f"Bearer {settings.SEALPOST_TOKEN}", "Content-Type": "application/json"},
    )
    try:
        urllib.request.urlopen(request, timeout=TIMEOUT).close()  # noqa: S310
    except urllib.error.HTTPError as refused:
        with refused:
            raise ValueError(f"Sealpost: {json.load(refused).get('error', refused.reason)}") from None
