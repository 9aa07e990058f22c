"""The body of a message: text and attachments, encoded for 7-bit transport (RFC 2045, 2046)."""

import base64
import binascii
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from services import mail_headers
from utils.addresses import BIDI_CONTROLS

LONGEST_FILENAME: Final = 255
LONGEST_CONTENT_TYPE: Final = 200

_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"  # RFC 6838 4.2
_CONTENT_TYPE: Final = re.compile(rf'{_NAME}/{_NAME}(?:; ?{_NAME}=(?:{_NAME}|"[ !#-\[\]-~]*"))*')
_COMPOSITE_TYPES: Final = ("multipart/", "message/")  # RFC 2046 5: never base64
_PLAIN: Final = bytes([*range(0x20, 0x7F)]) + b"\t\r\n"


@dataclass(frozen=True)
class Attachment:
    """A file to send along; ``content_type`` may have parameters."""

    filename: str
    content: bytes = field(repr=False)
    content_type: str = "application/octet-stream"


class Entity(NamedTuple):
    """A MIME part: its Content-* fields and its encoded body, which ends with CRLF."""

    fields: tuple[str, ...]
    body: bytes


def content(body: str, html_body: str | None, attachments: Sequence[Attachment]) -> Entity:
    """Encode the whole content of a mail, no line over 998 octets.

    Raises ValueError, naming the argument, for what cannot be sent.
    """
    entity = _text("body", body, "plain")
    if html_body:
        entity = _multipart("alternative", [entity, _text("html_body", html_body, "html")])
    if attachments:
        entity = _multipart("mixed", [entity, *map(_attached, attachments)])
    return entity


def _text(field_name: str, text: str, subtype: str) -> Entity:
    if not isinstance(text, str):
        raise ValueError(f"{field_name}: Give text.")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.endswith("\n"):
        text += "\n"
    data = text.replace("\n", "\r\n").encode("utf-8", "replace")
    encoding, encoded = _transfer_encoded(data)
    return Entity(
        (
            f"Content-Type: text/{subtype}; charset=utf-8",
            f"Content-Transfer-Encoding: {encoding}",
        ),
        encoded,
    )


def _transfer_encoded(data: bytes) -> tuple[str, bytes]:
    """Encode canonical text (CRLF, also at its end) as lightly as 7-bit transport allows."""
    unsafe = len(data.translate(None, _PLAIN))
    if not unsafe and _has_short_lines(data):
        return "7bit", data
    # Quoted-printable adds two octets for each unsafe one, base64 a third and a CRLF in every 57.
    if 2 * (unsafe + data.count(b"=")) <= len(data) * (1 / 3 + 2 / 57):
        return "quoted-printable", binascii.b2a_qp(data)
    return "base64", _base64_lines(data)


def _has_short_lines(data: bytes) -> bool:
    longest = mail_headers.LONGEST_LINE
    return len(data) <= longest or max(map(len, data.split(b"\r\n"))) <= longest


def _base64_lines(data: bytes) -> bytes:
    return base64.encodebytes(data).replace(b"\n", b"\r\n")


def _attached(attachment: Attachment) -> Entity:
    if not isinstance(attachment, Attachment):
        raise ValueError("attachments: Give a list of Attachment.")
    filename = mail_headers.one_line("attachments: filename", attachment.filename)
    if not 0 < len(filename) <= LONGEST_FILENAME or set(filename) & set("/\\"):
        raise ValueError("attachments: A file name has 1 to 255 characters and no folders.")
    if BIDI_CONTROLS.search(filename):
        raise ValueError("attachments: Remove text direction marks from the file name.")
    if not isinstance(attachment.content, bytes):
        raise ValueError("attachments: Give the content as bytes.")
    return Entity(
        (
            f"Content-Type: {_content_type(attachment.content_type)}",
            "Content-Transfer-Encoding: base64",
            mail_headers.attachment_disposition(filename),
        ),
        _base64_lines(attachment.content) or b"\r\n",
    )


def _content_type(text: str) -> str:
    usable = (
        isinstance(text, str)
        and len(text) <= LONGEST_CONTENT_TYPE
        and _CONTENT_TYPE.fullmatch(text)
        and not text.lower().startswith(_COMPOSITE_TYPES)
    )
    if not usable:
        raise ValueError("attachments: Write the content type like application/pdf.")
    return text


def _multipart(subtype: str, parts: Sequence[Entity]) -> Entity:
    rendered = [b"%b\r\n\r\n%b\r\n" % ("\r\n".join(part.fields).encode(), part.body) for part in parts]
    boundary = _boundary(rendered)
    opening = b"--%b\r\n" % boundary
    body = b"".join([opening + part for part in rendered]) + b"--%b--\r\n" % boundary
    return Entity((f'Content-Type: multipart/{subtype};\r\n boundary="{boundary.decode()}"',), body)


def _boundary(parts: Sequence[bytes]) -> bytes:
    while True:
        boundary = b"=_" + secrets.token_hex(16).encode()
        if not any(boundary in part for part in parts):
            return boundary
