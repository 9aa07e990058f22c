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
from typing import Final, NamedTuple

from database.mail_facets import LONGEST_SUBJECT, LONGEST_TAG
from services.message import headers as mail_headers
from services.message import mime, pixel, provider_headers, raw
from services.message.mime import Attachment
from utils import clock
from utils.addresses import (
    LONGEST_NAME,
    InvalidAddress,
    ascii_address,
    ascii_recipient,
    header_form,
    parse_host,
    parse_mailbox,
    parse_recipient_mailbox,
)
from utils.env_utils import get_settings

__all__ = ["Attachment", "Draft", "Sender", "draft", "serialise"]

MOST_RECIPIENTS: Final = 100
# RFC 5322 needs no To, but some servers add one of their own kind, and filters count its absence.
UNDISCLOSED: Final = "undisclosed-recipients:;"

_HEADER_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_OURS: Final = frozenset(
    {
        *("from", "sender", "to", "cc", "bcc", "reply-to", "subject", "date"),
        *("mime-version", "return-path", "received", "dkim-signature"),
    }
)
_MESSAGE_ID: Final = "message-id"
_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_OWN_ID: Final = re.compile(rf"(?=.{{5,250}}\Z)<{_ATOM}(?:\.{_ATOM})*@(?:{_ATOM}(?:\.{_ATOM})*|\[[!-Z^-~]+\])>")
_OUR_PREFIXES: Final = ("content-", "resent-")
_MACHINE_READ: Final = frozenset(
    {
        *("references", "in-reply-to", "archived-at", "feedback-id", "auto-submitted"),
        *("precedence", "x-entity-ref-id", "x-auto-response-suppress", "resend-idempotency-key"),
    }
)


@dataclass(frozen=True, kw_only=True)
class Sender:
    """Who the mail is from; ``reply_to`` is used where the draft has none of its own.

    ``is_as_written``: a whole message says so already, and is left as it is.
    """

    email: str
    name: str = ""
    reply_to: str = ""
    is_as_written: bool = False


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A checked mail, complete but for its sender. Its content never shows in a log or traceback.

    ``recipients`` is the envelope: to, cc and bcc without duplicates, domains as A-labels, so that
    SMTPUTF8 (RFC 6531) is needed exactly if one of them is not ASCII. ``rest`` is the finished message but for
    From and Reply-To: those are known only when it is known which server sends. ``reply_to`` is that field's value
    on one line. ``sender`` is the From that the caller chose, which only a server of an account's own says.
    ``mail_id`` names the mail among ours, and is a part of its Message-ID unless the caller gave one.
    ``pixel`` is the id of the pixel that tells when it is opened, or "". ``subject`` and ``tag`` are for the log.
    ``is_whole``: another program wrote it, and ``rest`` has its From, too; ``sender`` is that address if it may be
    used, and ``reply_to`` where replies go if another From has to stand there and the message says nothing of them.
    """

    mail_id: str = ""
    message_id: str
    recipients: tuple[str, ...]
    kind: str
    reply_to: str = field(repr=False)
    sender: str = field(default="", repr=False)
    rest: bytes = field(repr=False)
    pixel: str = ""
    subject: str = field(default="", repr=False)
    tag: str = ""
    is_whole: bool = False

    @property
    def kept_subject(self) -> str | None:
        """What the log keeps of the subject, if it does."""
        return self.subject[:LONGEST_SUBJECT] if get_settings().log_subjects else None


class _Mailbox(NamedTuple):
    """A recipient: in the envelope, and in a header."""

    address: str
    shown: str


def draft(
    to_email: str | Sequence[str] | None,
    subject: str,
    body: str,
    html_body: str | None = None,
    *,
    cc: str | Sequence[str] | None = None,
    bcc: str | Sequence[str] | None = None,
    reply_to: str | Sequence[str] | None = None,
    headers: Mapping[str, str] | None = None,
    attachments: Sequence[Attachment] | None = None,
    calendar: str | bytes | None = None,
    kind: str = "other",
    track_opens: bool = False,
    message_id_domain: str,
    message_id: str | None = None,
    sender: str = "",
    tag: str | None = None,
) -> Draft:
    """Check what the caller gave, encode it, and freeze it with a Message-ID and the Date.

    With ``track_opens`` its HTML, if it has any, ends with a pixel that tells when it is opened.
    Addresses may have names, ``"Name" <a@b>``; with ``cc`` or ``bcc``, ``to_email`` may be empty. Raises
    ValueError, naming the argument and the remedy, for everything that is the caller's mistake: no or
    over 100 recipients, several in one text, an invalid address, control characters in subject, header
    or file name, a header that is ours to write.
    """
    to = _mailboxes("to_email", to_email) if to_email is not None and to_email != "" else ()
    copies = _mailboxes("cc", cc) if cc is not None else ()
    hidden = _mailboxes("bcc", bcc) if bcc is not None else ()
    recipients = tuple({mailbox.address: None for mailbox in (*to, *copies, *hidden)})
    if not recipients:
        raise ValueError("to_email: Pass at least one recipient.")
    if len(recipients) > MOST_RECIPIENTS:
        raise ValueError(f"to_email: An email has at most {MOST_RECIPIENTS} recipients.")
    mail_id = secrets.token_hex(16)
    custom, own_id = _custom_fields(headers) if headers else ((), None)
    message_id = message_id or own_id or f"<{mail_id}@{id_right(message_id_domain)}>"
    subject = mail_headers.one_line("subject", subject)
    if not isinstance(track_opens, bool):
        raise ValueError("track_opens: Pass True or False.")
    pixel_id = pixel.new_id() if track_opens and html_body and isinstance(html_body, str) else ""
    content = mime.content(body, html_body, attachments or (), calendar=calendar, subject=subject, pixel_id=pixel_id)
    fields = [
        *([_destination("To", to)] if to else [] if copies else [f"To: {UNDISCLOSED}"]),
        *([_destination("Cc", copies)] if copies else ()),
        mail_headers.unstructured("Subject", subject),
        f"Date: {_date(int(clock.now().timestamp()))}",
        f"Message-ID: {message_id}",
        *custom,
        "MIME-Version: 1.0",
        *content.fields,
    ]
    return Draft(
        mail_id=mail_id,
        message_id=message_id,
        recipients=recipients,
        kind=kind,
        sender=_chosen_sender(sender) if sender else "",
        reply_to=", ".join([mailbox.shown for mailbox in _mailboxes("reply_to", reply_to)]) if reply_to else "",
        rest=_written(fields, content.body),
        pixel=pixel_id,
        subject=subject,
        tag=_checked_tag(tag) if tag else "",
    )


def _checked_tag(tag: str) -> str:
    if not isinstance(tag, str) or len(tag) > LONGEST_TAG or not tag.isprintable():
        raise ValueError(f"tag: Pass at most {LONGEST_TAG} printable characters.")
    return tag


def _chosen_sender(text: str) -> str:
    try:
        parse_mailbox(text)
    except InvalidAddress as error:
        raise InvalidAddress(f"from_email: {error}") from None
    return text.encode("utf-8", "replace").decode()


def new_message_id(domain: str) -> str:
    """Return a Message-ID (RFC 5322 3.6.4) that nobody has used and nobody can guess."""
    return f"<{secrets.token_hex(16)}@{id_right(domain)}>"


def serialise(draft: Draft, sender: Sender) -> bytes:
    """Return the finished message (RFC 5322): CRLF, no line over 998 octets, 7-bit clean.

    Only an address whose local part is not ASCII stands in UTF-8 (RFC 6532); such a mail needs
    SMTPUTF8 anyhow. And a whole mail that is attached is 8-bit if it was (RFC 2046 5.2.1). The same
    draft and sender give the same bytes. Raises ValueError for a sender that cannot stand in a header.
    A whole message is as its program wrote it, but for From where the sender is not its own.
    """
    if draft.is_whole:
        return draft.rest if sender.is_as_written else _with_origin(draft, sender)
    return b"%b\r\n%b" % (_origin(sender, draft.reply_to), draft.rest)


def _with_origin(draft: Draft, sender: Sender) -> bytes:
    origin, _, reply_to = _origin(sender, draft.reply_to).partition(b"\r\nReply-To:")
    return raw.with_origin(draft.rest, origin, b"Reply-To:" + reply_to if reply_to else b"")


@lru_cache(maxsize=64)
def _origin(sender: Sender, reply_to: str) -> bytes:
    """The fields that most mails of one server have in common: From and, if there is one, Reply-To."""
    name = mail_headers.one_line("from_name", sender.name)
    if len(name) > LONGEST_NAME:
        raise ValueError(f"from_name: The name has at most {LONGEST_NAME} characters.")
    fields = [mail_headers.mailbox("From", name, _address("from_email", sender.email))]
    if reply_to or sender.reply_to:
        fields.append(mail_headers.structured("Reply-To", reply_to or _address("reply_to", sender.reply_to)))
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
        raise ValueError("The message contains a stray CR or LF, so it was not built.")
    return b"%b\r\n\r\n%b" % (head, body)


def _inspect(head: bytes, fields: list[str]) -> None:
    """Last line of defence against injection: the header is the one we meant, and CRLF is whole."""
    lines = head.split(b"\r\n")
    begun = len(lines) - head.count(b"\r\n ")  # the other lines go on with the field before them
    if begun != len(fields) or not all(map(bytes.strip, lines)):
        raise ValueError("The message's header is not the intended one; it was not built.")
    longest = mail_headers.LONGEST_LINE
    if len(head) > longest and max(map(len, lines)) > longest:
        raise ValueError("The message's header has a line over 998 octets; it was not built.")
    if not len(lines) - 1 == head.count(b"\r") == head.count(b"\n"):
        raise ValueError("The message contains a stray CR or LF, so it was not built.")


def _destination(name: str, mailboxes: Sequence[_Mailbox]) -> str:
    return mail_headers.address_list(name, [mailbox.shown for mailbox in mailboxes])


def _mailboxes(field_name: str, given: str | Sequence[str]) -> tuple[_Mailbox, ...]:
    """Each address once, under the first name that it is given."""
    if isinstance(given, str):
        return (_mailbox(field_name, given),)
    if not isinstance(given, list | tuple):
        raise ValueError(f"{field_name}: Pass one address as text, or a list of them.")
    if len(given) > MOST_RECIPIENTS:
        raise ValueError(f"{field_name}: An email has at most {MOST_RECIPIENTS} recipients.")
    found: dict[str, _Mailbox] = {}
    for text in given:
        mailbox = _mailbox(field_name, text)
        found.setdefault(mailbox.address, mailbox)
    return tuple(found.values())


def _mailbox(field_name: str, text: str) -> _Mailbox:
    try:
        return _read_mailbox(text if isinstance(text, str) else "")
    except InvalidAddress as error:
        raise InvalidAddress(f"{field_name}: {error}") from None


@lru_cache(maxsize=4096)
def _read_mailbox(text: str) -> _Mailbox:
    name, address = parse_recipient_mailbox(text)
    address = ascii_recipient(address)
    return _Mailbox(address, mail_headers.named(name, header_form(address)))


def _address(field_name: str, address: str) -> str:
    try:
        return ascii_address(address)
    except InvalidAddress as error:
        raise InvalidAddress(f"{field_name}: {error}") from None


@lru_cache(maxsize=64)
def id_right(domain: str) -> str:
    host = parse_host(domain)
    return f"[IPv6:{host}]" if ":" in host else host


def _custom_fields(headers: Mapping[str, str]) -> tuple[list[str], str | None]:
    """The caller's own fields but for a Message-ID, which comes apart."""
    if not isinstance(headers, Mapping):
        raise ValueError("headers: Pass a mapping of names to texts.")
    fields = []
    own_id = None
    seen: set[str] = set()
    for name, value in headers.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise ValueError("headers: A name is up to 64 letters, digits and hyphens.")
        lowered = name.lower()
        if lowered in _OURS or lowered.startswith(_OUR_PREFIXES) or lowered in seen:
            raise ValueError(f"headers: {name} is written by Sealpost or passed twice.")
        seen.add(lowered)
        if lowered == _MESSAGE_ID:
            own_id = _own_message_id(name, value)
        else:
            fields.append(_custom_field(name, lowered, value))
    return fields, own_id


def _custom_field(name: str, lowered: str, value: str) -> str:
    if lowered in _MACHINE_READ or lowered.startswith("list-"):
        return mail_headers.machine_read(name, mail_headers.one_line(f"headers: {name}", value))
    if provider_headers.is_one(lowered):
        return provider_headers.field(name, value)
    return mail_headers.unstructured(name, mail_headers.one_line(f"headers: {name}", value))


def _own_message_id(name: str, value: str) -> str:
    """The Message-ID that the caller gave, who so knows it before the mail is sent."""
    if not isinstance(value, str) or not _OWN_ID.fullmatch(value):
        raise ValueError(f"headers: Write {name} like <something.unique@example.com>, in at most 250 characters.")
    return value
