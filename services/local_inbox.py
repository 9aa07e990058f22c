"""The local inbox: an SMTP server on the loopback address that keeps the last mails in memory, for development."""

import email
import email.policy
import re
import threading
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from email.message import EmailMessage
from typing import Final

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from utils import clock
from utils.env_reader import ConfigurationError
from utils.env_utils import Settings
from utils.errors import NotFound

CAPACITY: Final = 200
LARGEST: Final = 10 * 1024 * 1024  # bytes
HOST: Final = "127.0.0.1"
_LINK: Final = re.compile(r"https?://[^\s<>\"]+")


@dataclass(frozen=True)
class InboxMessage:
    """A mail as it arrived. ``sender`` and ``recipients`` are the envelope's, whatever the headers say."""

    id: int
    sender: str
    recipients: list[str]
    received_at: datetime
    size: int
    parsed: EmailMessage = field(repr=False)

    @property
    def subject(self) -> str:
        return str(self.parsed["Subject"] or "")

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [(name, str(value)) for name, value in self.parsed.items()]

    @property
    def text(self) -> str | None:
        return self._part("plain")

    @property
    def html(self) -> str | None:
        return self._part("html")

    @property
    def has_html(self) -> bool:
        return self.html is not None

    @property
    def links(self) -> list[str]:
        """The web addresses in the text, in order and once each."""
        return list(dict.fromkeys(_LINK.findall(self.text or "")))

    def _part(self, kind: str) -> str | None:
        part = self.parsed.get_body((kind,))
        if part is None:
            return None
        try:
            return str(part.get_content())
        except (LookupError, ValueError):  # an unknown charset
            return bytes(part.get_payload(decode=True) or b"").decode("utf-8", "replace")


class Inbox:
    """The kept mails, newest first; safe to use from several threads."""

    def __init__(self) -> None:
        self._messages: deque[InboxMessage] = deque(maxlen=CAPACITY)
        self._lock = threading.Lock()
        self._count = 0

    def add(self, sender: str, recipients: list[str], content: bytes) -> None:
        parsed = email.message_from_bytes(content, policy=email.policy.default)
        with self._lock:
            self._count += 1
            self._messages.appendleft(InboxMessage(self._count, sender, recipients, clock.now(), len(content), parsed))

    def all(self) -> list[InboxMessage]:
        with self._lock:
            return list(self._messages)

    def get(self, message_id: int) -> InboxMessage:
        """The mail with this number. Raises NotFound once newer mail has pushed it out."""
        for message in self.all():
            if message.id == message_id:
                return message
        raise NotFound("This mail is no longer in the inbox.")

    def clear(self) -> None:
        with self._lock:
            self._messages.clear()


inbox = Inbox()


class _Handler:
    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        content = envelope.original_content or b""
        inbox.add(envelope.mail_from or "", list(envelope.rcpt_tos), content)
        return "250 2.0.0 Ok: kept in the local inbox"


class _InboxController(Controller):
    """aiosmtpd's controller with an SMTP server that announces itself neutrally."""

    def factory(self) -> SMTP:
        return SMTP(
            self.handler,
            data_size_limit=LARGEST,
            enable_SMTPUTF8=True,
            hostname="local-inbox",
            ident="Sealpost local inbox",
            loop=self.loop,
        )


def is_enabled(config: Settings) -> bool:
    """Whether there is a local inbox at all: never in production, and port 0 switches it off."""
    return bool(config.local_inbox_port) and not config.is_production


def start(config: Settings) -> Controller | None:
    """Listen on the loopback address, if the inbox is enabled. Raises ConfigurationError if the port is taken."""
    if not is_enabled(config):
        return None
    controller = _InboxController(_Handler(), hostname=HOST, port=config.local_inbox_port)
    try:
        controller.start()
    except OSError:
        controller.loop.close()
        raise ConfigurationError(
            f"The local inbox's port {config.local_inbox_port} is taken. Set LOCAL_INBOX_PORT and EMAIL_PORT "
            "to another one, or LOCAL_INBOX_PORT to 0 to switch the inbox off."
        ) from None
    return controller


def stop(controller: Controller | None) -> None:
    if controller:
        controller.stop()
