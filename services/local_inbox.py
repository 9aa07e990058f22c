"""The local inbox: an SMTP server on the loopback address that keeps the last mails in memory, for development."""

import email
import email.policy
import errno
import re
import threading
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Final

from flask import current_app

from utils import clock, inbox_place, late
from utils.env_reader import ConfigurationError
from utils.env_utils import Settings, get_settings
from utils.errors import NotFound
from utils.inbox_place import HOST, InboxClaim, InboxPlace

CAPACITY: Final = 200
LARGEST: Final = 10 * 1024 * 1024  # bytes
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
        self.mark = ""  # by which it is known among the processes, once it listens in this one

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
        raise NotFound("This email is no longer in the local inbox.")

    def clear(self) -> None:
        with self._lock:
            self._messages.clear()


inbox = Inbox()


class Running:
    """The local inbox in the hands of this process, which serves it or has found its port taken."""

    def __init__(self, claim: InboxClaim, controller: Any) -> None:  # noqa: ANN401 - of what is imported late, or None
        self.claim = claim
        self.controller = controller


def start(config: Settings) -> Running | None:
    """Listen on the loopback address, unless the inbox is switched off or another process of ours serves it.

    Where its port is taken, all of them are told so instead: mail is not for whoever listens there. Within an
    application context. Raises ConfigurationError where that cannot be told.
    """
    if not config.has_local_inbox:
        return None
    try:
        claim = inbox_place.claim(_folder(), config)
    except OSError as error:
        raise ConfigurationError(
            f"{_folder()} cannot be written to: {error.strerror}. Make your user its owner."
        ) from None
    if claim is None:
        return None
    port = config.local_inbox_port
    listening = late.load("services.inbox_listening").Listening
    controller = listening(inbox.add, claim.mark, host=HOST, port=port, largest=LARGEST)
    try:
        controller.start()
    except OSError as error:
        controller.loop.close()
        claim.tell(InboxPlace(port=port, fault=_fault(port, error)))
        return Running(claim, None)
    inbox.mark = claim.mark
    claim.tell(InboxPlace(port=port, mark=claim.mark))
    return Running(claim, controller)


def stop(running: Running | None) -> None:
    if running is None:
        return
    running.claim.let_go()  # first: from here on nobody sends to it
    if running.controller:
        running.controller.stop()


def address() -> str:
    """Where it listens, or would."""
    config = get_settings()
    place = inbox_place.find(_folder(), config)
    return f"{HOST}:{place.port if place else config.local_inbox_port}"


def why_not_here() -> str:
    """Why no mail arrives in this process, in a sentence; "" if it does."""
    place = inbox_place.find(_folder(), get_settings())
    if place is None:
        return inbox_place.NOT_RUNNING
    if place.fault or place.mark == inbox.mark:
        return place.fault
    return "Another process of this Sealpost runs it: the one that `make run` started."


def _folder() -> Path:
    return Path(current_app.instance_path)


def _fault(port: int, error: OSError) -> str:
    fault = "is already in use by another program" if error.errno == errno.EADDRINUSE else "cannot be opened"
    return (
        f"Its port {port} {fault}, so it accepts no mail. Set another LOCAL_INBOX_PORT and start again, or 0 to do "
        "without."
    )
