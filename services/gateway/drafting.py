"""From the octets that were handed over to a draft: what is added, and what is taken out (RFC 6409 8)."""

import re
from email.utils import format_datetime
from typing import Final

from services.message import raw
from services.message.draft import Draft, id_right
from services.message.raw import MOST_HOPS, RawMessage
from utils import clock
from utils.addresses import ascii_address
from utils.env_utils import get_settings

_HOST: Final = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")


class Looping(Exception):
    """The message has been through too many servers."""


def read(content: bytes) -> RawMessage:
    """Read a message. Raises UnfitMessage or Looping."""
    raw.check(content)
    message = raw.parsed(content)
    if len(message.values(b"received")) > MOST_HOPS:
        raise Looping
    return message


def draft(
    message: RawMessage,
    mail_id: str,
    recipients: tuple[str, ...],
    *,
    domain: str,
    received: str,
    sender: str,
) -> Draft:
    """The mail to queue. ``sender`` is its own From, if it may keep that, and replies go there also where it cannot."""
    added = [received]
    message_id = message.message_id or f"<{mail_id}@{id_right(domain)}>"
    if not message.values(b"message-id"):
        added.append(f"Message-ID: {message_id}")
    if not message.values(b"date"):
        added.append(f"Date: {format_datetime(clock.now().replace(microsecond=0))}")
    return Draft(
        mail_id=mail_id,
        message_id=message_id,
        recipients=recipients,
        kind="other",
        reply_to=ascii_address(sender) if sender and not message.values(b"reply-to") else "",
        sender=sender,
        rest=raw.submitted(message, [line.encode() for line in added]),
        subject=message.subject if get_settings().log_subjects else "",
        is_whole=True,
    )


def received(ehlo: str, address: str, protocol: str, mail_id: str) -> str:
    """The one line that tells of its way here (RFC 5321 4.4), with the client's name for itself if it could be one."""
    name = ehlo if _HOST.fullmatch(ehlo) else "unknown"
    literal = f"IPv6:{address}" if ":" in address else address
    date = format_datetime(clock.now().replace(microsecond=0))
    return f"Received: from {name} ([{literal}])\r\n\tby {host()} with {protocol} id {mail_id};\r\n\t{date}"


def host() -> str:
    """What the gateway calls itself."""
    return get_settings().public_host or "localhost"
