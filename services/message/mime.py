"""The body of a message: text, HTML with its images, an invitation, attachments (RFC 2045, 2046, 2387, 6047).

All of it is encoded for 7-bit transport, but for a mail within the mail, which may not be encoded.
"""

import base64
import binascii
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

from services.message import disposition, headers, pixel
from utils import late
from utils.addresses import BIDI_CONTROLS

LONGEST_FILENAME: Final = 255
LONGEST_CONTENT_TYPE: Final = 200

_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"  # RFC 6838 4.2
_CONTENT_TYPE: Final = re.compile(rf'{_NAME}/{_NAME}(?:; ?{_NAME}=(?:{_NAME}|"[ !#-\[\]-~]*"))*')
_COMPOSITE_TYPES: Final = ("multipart/", "message/")  # RFC 2046 5: never base64
_WHOLE_MAIL: Final = re.compile(r"message/rfc822 *(?:;.*)?", re.IGNORECASE)
_BEGINS_WITH_FIELD: Final = re.compile(rb"[!-9;-~]+[ \t]*:")  # RFC 5322 2.2
_NO_TYPE: Final = "attachments: Write the content type like application/pdf."
_ANY_TYPE: Final = "application/octet-stream"
_CONTENT_ID: Final = re.compile(r"[A-Za-z0-9!#$&'*+/=?^_`{|}~.@-]{1,200}")  # without %, which cid: URLs escape
_CALENDAR: Final = re.compile(r"BEGIN:VCALENDAR\n.*\nEND:VCALENDAR", re.DOTALL)
_METHOD: Final = re.compile(r"^METHOD(?:;[^:\n]*)?:([A-Z]+[A-Z-]*) *$", re.IGNORECASE | re.MULTILINE)
_PLAIN: Final = bytes([*range(0x20, 0x7F)]) + b"\t\r\n"
_WITHOUT_WORDS: Final = "This message is written in HTML."


@dataclass(frozen=True)
class Attachment:
    """A file to send along; ``content_type`` may have parameters.

    With a ``content_id`` it is a part of the HTML, which names it by ``cid:``: ``content_id="logo"`` is for
    ``<img src="cid:logo">``. A whole mail (an ``.eml`` file) is of type ``message/rfc822``.
    """

    filename: str
    content: bytes = field(repr=False)
    content_type: str = _ANY_TYPE
    content_id: str = ""


class Entity(NamedTuple):
    """A MIME part: its Content-* fields and its encoded body, which ends with CRLF."""

    fields: tuple[str, ...]
    body: bytes


def content(
    body: str,
    html_body: str | None,
    attachments: Sequence[Attachment],
    *,
    calendar: str | bytes | None = None,
    subject: str = "",
    pixel_id: str = "",
) -> Entity:
    """Encode the whole content of a mail, no line over 998 octets. ``pixel_id`` is for the end of the HTML.

    Without words of its own the text is made from the HTML, or says at least what the mail is about: who reads mail
    as text never sees an empty one. Raises ValueError, naming the argument, for what cannot be sent.
    """
    has_more = bool(html_body or calendar)
    if has_more and (body == "" or (isinstance(body, str) and body.isspace())):
        body = _words_of(html_body) or subject.strip() or _WITHOUT_WORDS
    entity = _text("body", body, "plain")
    if has_more:
        alternatives = [entity]
        if html_body:
            shown = pixel.with_pixel(html_body, pixel_id) if pixel_id else html_body
            alternatives.append(_rich(shown, attachments))
            attachments = [file for file in attachments if not _is_embedded(file)]
        if calendar:  # the last one, since readers take the last that they understand (RFC 2046 5.1.4)
            alternatives.append(_invitation(calendar))
        entity = _multipart("alternative", alternatives)
    if attachments:
        entity = _multipart("mixed", [entity, *map(_attached, attachments)])
    return entity


def _words_of(html_body: str | None) -> str:
    if not isinstance(html_body, str):
        return ""
    text: str = late.load("services.message.html_text").text_of(html_body)
    return text


def _rich(html_body: str, attachments: Sequence[Attachment]) -> Entity:
    """The HTML, together with the files that are a part of it (RFC 2387)."""
    entity = _text("html_body", html_body, "html")
    files = [file for file in attachments if _is_embedded(file)]
    if not files:
        return entity
    parts = [_embedded(file) for file in files]
    if len({_content_id(file) for file in files}) < len(files):
        raise ValueError("attachments: Two files have the same content_id.")
    return _multipart("related", [entity, *parts], '\r\n type="text/html";')


def _invitation(calendar: str | bytes) -> Entity:
    """An iCalendar object as mail programs want it: they offer to accept only what names its method (RFC 6047 2.4)."""
    try:
        text = calendar.decode() if isinstance(calendar, bytes) else calendar
    except UnicodeDecodeError:
        raise ValueError("calendar: Pass the invitation in UTF-8.") from None
    if not isinstance(text, str):
        raise ValueError("calendar: Pass the invitation as text.")
    text = text.removeprefix("\ufeff").strip().replace("\r\n", "\n")
    methods = _METHOD.findall(text)
    is_one = _CALENDAR.fullmatch(text) is not None and text.count("BEGIN:VCALENDAR\n") == 1
    if not is_one or len(methods) != 1:
        raise ValueError("calendar: Pass one VCALENDAR with its METHOD, such as METHOD:REQUEST.")
    return _text("calendar", text, f"calendar; method={methods[0].upper()}")


def check(attachment: Attachment) -> None:
    """See whether a file's name, type and id are fit for a mail. Raises ValueError."""
    _content_type(_checked(attachment).content_type)


def _text(field_name: str, text: str, subtype: str) -> Entity:
    if not isinstance(text, str):
        raise ValueError(f"{field_name}: Pass text.")
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
    longest = headers.LONGEST_LINE
    return len(data) <= longest or max(map(len, data.split(b"\r\n"))) <= longest


def _base64_lines(data: bytes) -> bytes:
    return base64.encodebytes(data).replace(b"\n", b"\r\n")


def _attached(attachment: Attachment) -> Entity:
    file = _checked(attachment)
    content_type, is_mail = _content_type(file.content_type)
    encoding, body = "base64", b""
    if is_mail:
        mail = _canonical_mail(file.content)
        if mail.count(b"\0") or not _has_short_lines(mail):  # what stands in no mail cannot go as one
            content_type = _ANY_TYPE
        else:
            encoding, body = "7bit" if mail.isascii() else "8bit", mail
    return Entity(
        (
            f"Content-Type: {content_type}",
            f"Content-Transfer-Encoding: {encoding}",
            disposition.attachment(file.filename),
        ),
        body or _base64_lines(file.content) or b"\r\n",
    )


def _is_embedded(file: Attachment) -> bool:
    return isinstance(file, Attachment) and file.content_id != ""


def _embedded(attachment: Attachment) -> Entity:
    file = _checked(attachment)
    content_type, is_mail = _content_type(file.content_type)
    if is_mail:
        raise ValueError("attachments: A whole email cannot be a part of the HTML.")
    return Entity(
        (
            f"Content-Type: {content_type}",
            "Content-Transfer-Encoding: base64",
            f"Content-ID: <{_content_id(file)}>",
            disposition.inline(file.filename),
        ),
        _base64_lines(file.content) or b"\r\n",
    )


def _checked(attachment: Attachment) -> Attachment:
    if not isinstance(attachment, Attachment):
        raise ValueError("attachments: Pass a list of Attachment.")
    filename = headers.one_line("attachments: filename", attachment.filename)
    if not 0 < len(filename) <= LONGEST_FILENAME or set(filename) & set("/\\"):
        raise ValueError("attachments: A file name has 1 to 255 characters and no folders.")
    if BIDI_CONTROLS.search(filename):
        raise ValueError("attachments: Remove text direction marks from the file name.")
    if not isinstance(attachment.content, bytes):
        raise ValueError("attachments: Pass the content as bytes.")
    if attachment.content_id != "" and not _has_content_id(attachment):
        raise ValueError("attachments: A content_id is like logo or logo@example.com.")
    return attachment


def _has_content_id(file: Attachment) -> bool:
    return isinstance(file.content_id, str) and _CONTENT_ID.fullmatch(_content_id(file)) is not None


def _content_id(file: Attachment) -> str:
    """The id without the angle brackets that ``email.utils.make_msgid`` gives it."""
    text = file.content_id
    return text[1:-1] if text.startswith("<") and text.endswith(">") else text


def _canonical_mail(content: bytes) -> bytes:
    """A mail as it is on the wire; files often have other line ends."""
    mail = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    if not _BEGINS_WITH_FIELD.match(mail):
        raise ValueError("attachments: A message/rfc822 is a whole email, which begins with its header.")
    return mail


def _content_type(text: str) -> tuple[str, bool]:
    """The checked type, and whether it is that of a whole mail."""
    if isinstance(text, str) and len(text) <= LONGEST_CONTENT_TYPE:
        return _read_type(text)
    raise ValueError(_NO_TYPE)


@lru_cache(maxsize=64)
def _read_type(text: str) -> tuple[str, bool]:
    is_mail = _WHOLE_MAIL.fullmatch(text) is not None
    is_composite = text.lower().startswith(_COMPOSITE_TYPES)
    if not _CONTENT_TYPE.fullmatch(text) or (is_composite and not is_mail):
        raise ValueError(_NO_TYPE)
    return text, is_mail


def _multipart(subtype: str, parts: Sequence[Entity], parameters: str = "") -> Entity:
    rendered = [b"%b\r\n\r\n%b\r\n" % ("\r\n".join(part.fields).encode(), part.body) for part in parts]
    boundary = _boundary(rendered)
    opening = b"--%b\r\n" % boundary
    body = b"".join([opening + part for part in rendered]) + b"--%b--\r\n" % boundary
    fields = [f'Content-Type: multipart/{subtype};{parameters}\r\n boundary="{boundary.decode()}"']
    if not body.isascii():  # whatever is around an 8-bit part is 8-bit itself (RFC 2045 6.4)
        fields.append("Content-Transfer-Encoding: 8bit")
    return Entity(tuple(fields), body)


def _boundary(parts: Sequence[bytes]) -> bytes:
    while True:
        boundary = b"=_" + secrets.token_hex(16).encode()
        if not any(boundary in part for part in parts):
            return boundary
