"""Builds a message: what the caller asked for is checked and written out once, all but its sender.

Our own composer instead of the standard library's: that one folds ids and URLs into encoded-words,
decodes hostile display names into header lines, writes domains that are no domains, and takes about
twenty times as long. Nothing that can change is shared between two mails.
"""

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import Final

from services import mail_headers, mime_parts
from services.mime_parts import Attachment
from utils import clock
from utils.addresses import LONGEST_NAME, InvalidAddress, ascii_address, parse_host

__all__ = ["Attachment", "Draft", "Sender", "draft", "serialise"]

MOST_RECIPIENTS: Final = 100

_HEADER_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_OURS: Final = frozenset(
    {
        *("from", "sender", "to", "cc", "bcc", "reply-to", "subject", "date", "message-id"),
        *("mime-version", "return-path", "received", "dkim-signature"),
    }
)
_OUR_PREFIXES: Final = ("content-", "resent-")
_MACHINE_READ: Final = frozenset(
    {
        *("references", "in-reply-to", "archived-at", "feedback-id", "auto-submitted"),
        *("precedence", "x-entity-ref-id", "x-auto-response-suppress", "resend-idempotency-key"),
    }
)


@dataclass(frozen=True, kw_only=True)
class Sender:
    """Who the mail is from; ``reply_to`` is used where the draft has none of its own."""

    email: str
    name: str = ""
    reply_to: str = ""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A checked mail, complete but for its sender. Its content never shows in a log or traceback.

    ``recipients`` is the envelope: to, cc and bcc without duplicates, domains as A-labels, so that
    SMTPUTF8 (RFC 6531) is needed exactly if one of them is not ASCII. ``rest`` is the finished message but for
    From and Reply-To: those are known only when it is known which server sends.
    """

    message_id: str
    recipients: tuple[str, ...]
    kind: str
    reply_to: str = field(repr=False)
    rest: bytes = field(repr=False)


def draft(
    to_email: str | Sequence[str],
    subject: str,
    body: str,
    html_body: str | None = None,
    *,
    cc: str | Sequence[str] | None = None,
    bcc: str | Sequence[str] | None = None,
    reply_to: str | None = None,
    headers: Mapping[str, str] | None = None,
    attachments: Sequence[Attachment] | None = None,
    kind: str = "other",
    message_id_domain: str,
    message_id: str | None = None,
) -> Draft:
    """Check what the caller gave, encode it, and freeze it with a Message-ID and the Date.

    Raises ValueError, naming the argument and the remedy, for everything that is the caller's
    mistake: no or over 100 recipients, several in one text, an invalid address, control characters
    in subject, header or file name, a header that is ours to write.
    """
    to = _addresses("to_email", to_email)
    if not to:
        raise ValueError("to_email: Give at least one recipient.")
    copies, hidden = _addresses("cc", cc), _addresses("bcc", bcc)
    recipients = tuple(dict.fromkeys((*to, *copies, *hidden)))
    if len(recipients) > MOST_RECIPIENTS:
        raise ValueError(f"to_email: A mail has at most {MOST_RECIPIENTS} recipients.")
    message_id = message_id or new_message_id(message_id_domain)
    content = mime_parts.content(body, html_body, attachments or ())
    fields = [
        mail_headers.address_list("To", to),
        *([mail_headers.address_list("Cc", copies)] if copies else ()),
        mail_headers.unstructured("Subject", mail_headers.one_line("subject", subject)),
        f"Date: {_date(int(clock.now().timestamp()))}",
        f"Message-ID: {message_id}",
        *(_custom_fields(headers) if headers else ()),
        "MIME-Version: 1.0",
        *content.fields,
    ]
    return Draft(
        message_id=message_id,
        recipients=recipients,
        kind=kind,
        reply_to=_address("reply_to", reply_to) if reply_to else "",
        rest=_written(fields, content.body),
    )


def new_message_id(domain: str) -> str:
    """Return a Message-ID (RFC 5322 3.6.4) that nobody has used and nobody can guess."""
    return f"<{secrets.token_hex(16)}@{_id_right(domain)}>"


def serialise(draft: Draft, sender: Sender) -> bytes:
    """Return the finished message (RFC 5322): CRLF, no line over 998 octets, 7-bit clean.

    Only an address whose local part is not ASCII stands in UTF-8 (RFC 6532); such a mail needs
    SMTPUTF8 anyhow. The same draft and sender give the same bytes. Raises ValueError for a sender
    that cannot stand in a header.
    """
    return b"%b\r\n%b" % (_origin(sender, draft.reply_to), draft.rest)


@lru_cache(maxsize=64)
def _origin(sender: Sender, reply_to: str) -> bytes:
    """The fields that most mails of one server have in common: From and, if there is one, Reply-To."""
    name = mail_headers.one_line("from_name", sender.name)
    if len(name) > LONGEST_NAME:
        raise ValueError(f"from_name: The name has at most {LONGEST_NAME} characters.")
    fields = [mail_headers.mailbox("From", name, _address("from_email", sender.email))]
    if reply_to or sender.reply_to:
        fields.append(f"Reply-To: {reply_to or _address('reply_to', sender.reply_to)}")
    head = "\r\n".join(fields).encode()
    _inspect(head, fields)
    return head


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    """A moment as it stands in Date; mails are often composed many in a second."""
    return format_datetime(datetime.fromtimestamp(second, UTC))


def _written(fields: list[str], body: bytes) -> bytes:
    """The rest of a message from its fields and its encoded body."""
    head = "\r\n".join(fields).encode()
    _inspect(head, fields)
    if not body.count(b"\r\n") == body.count(b"\r") == body.count(b"\n"):
        raise ValueError("The message holds a stray CR or LF; it was not built.")
    return b"%b\r\n\r\n%b" % (head, body)


def _inspect(head: bytes, fields: list[str]) -> None:
    """Last line of defence against injection: the header is the one we meant, and CRLF is whole."""
    lines = head.split(b"\r\n")
    begun = len(lines) - head.count(b"\r\n ")  # the other lines go on with the field before them
    if begun != len(fields) or not all(map(bytes.strip, lines)):
        raise ValueError("The message's header is not the intended one; it was not built.")
    if max(map(len, lines)) > mail_headers.LONGEST_LINE:
        raise ValueError("The message's header has a line over 998 octets; it was not built.")
    if not head.count(b"\r\n") == head.count(b"\r") == head.count(b"\n"):
        raise ValueError("The message holds a stray CR or LF; it was not built.")


def _addresses(field_name: str, given: str | Sequence[str] | None) -> tuple[str, ...]:
    if given is None:
        return ()
    if isinstance(given, str):
        return (_address(field_name, given),)
    if not isinstance(given, list | tuple):
        raise ValueError(f"{field_name}: Give one address as text, or a list of them.")
    if len(given) > MOST_RECIPIENTS:
        raise ValueError(f"{field_name}: A mail has at most {MOST_RECIPIENTS} recipients.")
    return tuple(dict.fromkeys(_address(field_name, address) for address in given))


def _address(field_name: str, address: str) -> str:
    try:
        return ascii_address(address)
    except InvalidAddress as error:
        raise InvalidAddress(f"{field_name}: {error}") from None


@lru_cache(maxsize=64)
def _id_right(domain: str) -> str:
    host = parse_host(domain)
    return f"[IPv6:{host}]" if ":" in host else host


def _custom_fields(headers: Mapping[str, str]) -> tuple[str, ...]:
    if not isinstance(headers, Mapping):
        raise ValueError("headers: Give a mapping of names to texts.")
    fields = []
    seen: set[str] = set()
    for name, value in headers.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise ValueError("headers: A name is up to 64 letters, digits and hyphens.")
        lowered = name.lower()
        if lowered in _OURS or lowered.startswith(_OUR_PREFIXES) or lowered in seen:
            raise ValueError(f"headers: {name} is written by the composer or given twice.")
        seen.add(lowered)
        machine_read = lowered in _MACHINE_READ or lowered.startswith("list-")
        make = mail_headers.machine_read if machine_read else mail_headers.unstructured
        fields.append(make(name, mail_headers.one_line(f"headers: {name}", value)))
    return tuple(fields)
