"""A whole message that another program wrote: what its header says, and the few changes that are made to it.

It goes on byte for byte (RFC 6409 8 allows more), but for what ``submitted`` and ``with_origin`` do. All of it is done
on octets: reading a mail with the standard library and writing it again changes it, and takes a hundred times as long.
"""

import re
from collections.abc import Iterable
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from typing import Final, NamedTuple

from services.message.headers import LONGEST_LINE
from utils.addresses import InvalidAddress, parse_mailbox

LONGEST_HEADER: Final = 256 * 1024  # octets
MOST_FIELDS: Final = 1000
MOST_HOPS: Final = 50  # RFC 5321 6.3 asks for at least 100 where loops are not found otherwise; no mail has so many

_BETWEEN: Final = re.compile(rb"\r\n(?![ \t])")
_FOLD: Final = re.compile(rb"\r\n(?=[ \t])")
_NAME: Final = re.compile(rb"([!-9;-~]+)[ \t]*:")
_COMMENT: Final = re.compile(r"[ \t]*\([^()\\]*\)[ \t]*\Z")  # as cron writes it: root@host (Cron Daemon)
_ID: Final = re.compile(r"<[!-;=?-~]{3,250}>")
_HIDDEN: Final = (b"bcc", b"resent-bcc")


class UnfitMessage(Exception):
    """A message that is none, in a sentence for whoever wrote the program that sends it."""


class HeaderField(NamedTuple):
    """A field as it stands there, without its last CRLF; its name in small letters."""

    name: bytes
    text: bytes

    @property
    def value(self) -> bytes:
        """What follows the colon, on one line."""
        return _FOLD.sub(b"", self.text.partition(b":")[2]).strip(b" \t")


class RawMessage(NamedTuple):
    """The header's fields in order, and where in the octets that follows which is behind them.

    That is an empty line first, if there is one.
    """

    fields: tuple[HeaderField, ...]
    content: bytes
    end: int

    def values(self, name: bytes) -> list[bytes]:
        return [each.value for each in self.fields if each.name == name]

    @property
    def message_id(self) -> str:
        """Its Message-ID, if it has one that can be one (RFC 5322 3.6.4, loosely); else ""."""
        ids = [each.decode("ascii", "replace") for each in self.values(b"message-id")]
        return ids[0] if len(ids) == 1 and _ID.fullmatch(ids[0]) else ""

    @property
    def from_address(self) -> str:
        """The one plain address of its one From; "" where there is none, or more, or what is no plain address."""
        fields = self.values(b"from")
        text = _COMMENT.sub("", fields[0].decode("utf-8", "replace")) if len(fields) == 1 else ""
        try:
            return parse_mailbox(text)[1]
        except InvalidAddress:
            return ""

    @property
    def subject(self) -> str:
        """What a reader sees as its subject."""
        for value in self.values(b"subject"):
            text = value.decode("utf-8", "replace")
            try:
                return str(make_header(decode_header(text)))
            except (LookupError, ValueError, HeaderParseError):
                return text
        return ""


def check(content: bytes) -> None:
    """Refuse octets that servers read differently: that is how a mail is smuggled in within another.

    Raises UnfitMessage for a bare CR or LF, NUL, or a line over 998 octets (RFC 5321 2.3.8, 4.5.3.1.6).
    """
    if not content.count(b"\r\n") == content.count(b"\r") == content.count(b"\n"):
        raise UnfitMessage("The message has a CR or LF that is not part of a CRLF. End each line with CRLF.")
    if b"\0" in content:
        raise UnfitMessage("The message contains a NUL octet.")
    if _has_long_line(content):
        raise UnfitMessage(f"The message has a line over {LONGEST_LINE} octets. Encode it, or fold the header.")


def _has_long_line(content: bytes) -> bool:
    """From one line's end to the last within reach of it, which is a look at each thousandth octet."""
    begin = 0
    while len(content) - begin > LONGEST_LINE:
        end = content.rfind(b"\n", begin, begin + LONGEST_LINE + 2)
        if end < 0:
            return True
        begin = end + 1
    return False


def parsed(content: bytes) -> RawMessage:
    """A message that ``check`` has let through. Raises UnfitMessage for a header that is none."""
    if content.startswith(b"\r\n"):
        return RawMessage((), content, 0)
    end = content.find(b"\r\n\r\n", 0, LONGEST_HEADER + 4)
    if end < 0:
        end = len(content) - 2
        if not content.endswith(b"\r\n") or end > LONGEST_HEADER:
            raise UnfitMessage(f"The message's header has no end within {LONGEST_HEADER // 1024} KB.")
    texts = _BETWEEN.split(content[:end])
    if len(texts) > MOST_FIELDS:
        raise UnfitMessage(f"The message's header has more than {MOST_FIELDS} fields.")
    return RawMessage(tuple(map(_field, texts)), content, end + 2)


def submitted(message: RawMessage, added: Iterable[bytes]) -> bytes:
    """The message without those fields that name blind copies, behind the fields that are added to it."""
    kept = [each.text for each in message.fields if each.name not in _HIDDEN]
    return _joined([*added, *kept], message)


def with_origin(content: bytes, origin: bytes, reply_to: bytes) -> bytes:
    """The message with this From in the place of its own, and this Reply-To, "" for none, where it has none."""
    message = parsed(content)
    new, is_told = [], False
    for each in message.fields:
        if each.name != b"from":
            new.append(each.text)
        elif not is_told:
            new.append(origin)
            is_told = True
    if not is_told:
        new.insert(0, origin)
    if reply_to and not message.values(b"reply-to"):
        new.append(reply_to)
    return _joined(new, message)


def _joined(fields: Iterable[bytes], message: RawMessage) -> bytes:
    """These fields, and what follows the message's own, which is copied once: it can be large."""
    with memoryview(message.content) as view, view[message.end :] as rest:
        return b"".join([*(each + b"\r\n" for each in fields), rest or b"\r\n"])


def _field(text: bytes) -> HeaderField:
    found = _NAME.match(text)
    if not found:
        raise UnfitMessage("The message's header has a line that is no field. Put an empty line before the text.")
    return HeaderField(found[1].lower(), text)
