"""For tests of whoever uses Sealpost: mails are recorded instead of sent."""

import email
import email.policy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Final, cast

from services.composing import Attachment, Draft


@dataclass(frozen=True)
class RecordedMail:
    """A mail as it would have gone out, but for From: that is known only when a server sends."""

    recipients: tuple[str, ...]
    kind: str
    message: EmailMessage = field(repr=False)

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
    def attachments(self) -> list[Attachment]:
        return [
            Attachment(part.get_filename() or "", cast(bytes, part.get_payload(decode=True)), part.get_content_type())
            for part in self.message.iter_attachments()
        ]

    def _body(self, subtype: str) -> str | None:
        part = self.message.get_body((subtype,))
        return str(part.get_content()).replace("\r\n", "\n") if part else None


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
            recorded.append(RecordedMail(draft.recipients, draft.kind, message))
        return bool(_open)
