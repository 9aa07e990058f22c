"""For tests of whoever uses Sealpost: mails are recorded instead of sent."""

import email
import email.policy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage, MIMEPart
from typing import Final, cast

from services.message.draft import Attachment, Draft

# The bytes of a mail within the mail, as it was given.
_UNTOUCHED: Final = email.policy.default.clone(refold_source="none", linesep="\r\n")


@dataclass(frozen=True)
class RecordedMail:
    """A mail as it would have gone out, but for From: that is known only when a server sends."""

    mail_id: str
    recipients: tuple[str, ...]
    kind: str
    message: EmailMessage = field(repr=False)

    @property
    def message_id(self) -> str:
        return str(self.message["Message-ID"])

    @property
    def subject(self) -> str:
        return str(self.message["Subject"])

    @property
    def headers(self) -> dict[str, str]:
        """Each header by its name, as a reader sees it."""
        return {name: str(value) for name, value in self.message.items()}

    @property
    def text(self) -> str:
        """The plain text, its lines ended by LF."""
        return self._body("plain") or ""

    @property
    def html(self) -> str | None:
        return self._body("html")

    @property
    def calendar(self) -> str | None:
        """The invitation that is an alternative to text and HTML."""
        invitations = [part for part in _leaves(self.message) if _is_invitation(part)]
        return _text(invitations[0]) if invitations else None

    @property
    def attachments(self) -> list[Attachment]:
        """The files that go along, those that are a part of the HTML among them."""
        return [_file(part) for part in _leaves(self.message) if part.get_content_disposition()]

    def _body(self, subtype: str) -> str | None:
        part = self.message.get_body((subtype,))
        return _text(part) if part else None


def _leaves(part: MIMEPart) -> Iterator[MIMEPart]:
    """The parts that have no parts; a mail within the mail is one."""
    if part.get_content_maintype() != "multipart":
        yield part
        return
    for inner in part.iter_parts():
        yield from _leaves(inner)


def _is_invitation(part: MIMEPart) -> bool:
    return part.get_content_type() == "text/calendar" and not part.get_content_disposition()


def _text(part: MIMEPart) -> str:
    return str(part.get_content()).replace("\r\n", "\n")


def _file(part: MIMEPart) -> Attachment:
    if part.get_content_type() == "message/rfc822":
        content = cast(MIMEPart, part.get_payload(0)).as_bytes(policy=_UNTOUCHED)
    else:
        content = cast(bytes, part.get_payload(decode=True))
    content_id = str(part.get("Content-ID", "")).strip("<>")
    return Attachment(part.get_filename() or "", content, part.get_content_type(), content_id)


_lock: Final = threading.Lock()
_open: Final[list[list[RecordedMail]]] = []


@contextmanager
def record_messages() -> Iterator[list[RecordedMail]]:
    """Within the block nothing is sent or queued in this process, by whichever thread: each mail joins the list.

    A mail that is queued joins it at once, whatever becomes of the transaction. Blocks may be nested: every one that is
    open records.
    """
    recorded: list[RecordedMail] = []
    with _lock:
        _open.append(recorded)
    try:
        yield recorded
    finally:
        with _lock:
            _open[:] = [other for other in _open if other is not recorded]


def take(draft: Draft) -> bool:
    """Whether somebody records, who then has the mail."""
    if not _open:
        return False
    reply_to = f"Reply-To: {draft.reply_to}\r\n".encode() if draft.reply_to else b""
    message = email.message_from_bytes(reply_to + draft.rest, policy=email.policy.default)
    with _lock:
        for recorded in _open:
            recorded.append(RecordedMail(draft.mail_id, draft.recipients, draft.kind, message))
        return bool(_open)


def find(mail_id: str) -> RecordedMail | None:
    """The mail with this id, if an open block has recorded it."""
    with _lock:
        return next((mail for recorded in _open for mail in recorded if mail.mail_id == mail_id), None)
