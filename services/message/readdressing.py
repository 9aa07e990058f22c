"""The same message to a corrected address: a new one, by a new Message-ID and Date, that says what the old one said.

RFC 5322 3.6.4: a Message-ID names one message, and this one is another, to someone else. What it answers (In-Reply-To,
References) stays, and so does all else that its caller wrote. No Resent- field is added (3.6.6): those are for a person
who passes on what has arrived, and this has not.
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import replace
from email.utils import format_datetime
from typing import Final

from services.message import headers as mail_headers
from services.message import pixel
from services.message.draft import Draft
from utils import clock
from utils.addresses import header_form

_FOLD: Final = re.compile(r"\r\n(?=[ \t])")
_FIELD: Final = re.compile(r"\r\n(?![ \t])")
_MAILBOX: Final = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^",])+')  # a comma separates, but within quotes
_ENDS_WITH_ADDRESS: Final = re.compile(r"<([^<>]*)>\Z")


def readdressed(mail: Draft, corrected: Mapping[str, str], *, pixel_id: str = "") -> Draft:
    """The message to these recipients alone: ``corrected`` has the new address of each by the old one.

    Its To and Cc name everybody as before, but the corrected ones by their new address. Who is in neither was a blind
    copy, and stays one. ``pixel_id`` is the old one's, if it is tracked.
    """
    mail_id = secrets.token_hex(16)
    message_id = f"<{mail_id}@{mail.message_id.rpartition('@')[2]}"
    head, _, body = mail.rest.partition(b"\r\n\r\n")
    # A whole message that another program wrote may have octets there that are no UTF-8, and go through as they are.
    fields = [_field(text, corrected, message_id) for text in _FIELD.split(head.decode(errors="surrogateescape"))]
    new_pixel = pixel.new_id() if pixel_id else ""
    body, is_tracked = _with_pixel(body, pixel_id, new_pixel)
    return replace(
        mail,
        mail_id=mail_id,
        message_id=message_id,
        recipients=tuple(dict.fromkeys(corrected.values())),
        rest=b"%b\r\n\r\n%b" % ("\r\n".join(fields).encode(errors="surrogateescape"), body),
        pixel=new_pixel if is_tracked else "",
    )


def _field(text: str, corrected: Mapping[str, str], message_id: str) -> str:
    name = text.partition(":")[0]
    known = name.strip().title()
    if known == "Message-Id":
        return f"{name}: {message_id}"
    if known == "Date":
        return f"{name}: {format_datetime(clock.now().replace(microsecond=0))}"
    if known in ("To", "Cc"):
        return _destination(name, text, corrected)
    return text


def _destination(name: str, text: str, corrected: Mapping[str, str]) -> str:
    """To or Cc with the new addresses, each once; as it was, where none of the old ones is in it."""
    new_forms = {header_form(old): header_form(new) for old, new in corrected.items()}
    listed = [each.strip() for each in _MAILBOX.findall(_FOLD.sub("", text).partition(":")[2])]
    if not any(_address(each) in new_forms for each in listed):
        return text
    shown: dict[str, str] = {}
    for each in listed:
        old = _address(each)
        new = new_forms.get(old, old)
        shown.setdefault(new, f"{each[: len(each) - len(old) - 1]}{new}>" if each.endswith(">") else new)
    return mail_headers.address_list(name, list(shown.values()))


def _address(mailbox: str) -> str:
    found = _ENDS_WITH_ADDRESS.search(mailbox)
    return found[1] if found else mailbox


def _with_pixel(body: bytes, old: str, new: str) -> tuple[bytes, bool]:
    """The body with the new pixel's id, and whether it has it: within base64 it is not found."""
    if not old:
        return body, False
    soft_break = rb"(?:=\r\n)?"  # RFC 2045 6.7: quoted-printable may break a line anywhere
    found = list(re.finditer(soft_break.join(re.escape(letter.encode()) for letter in old), body))
    if len(found) != 1:
        return body, False
    letters = iter(new.encode())
    written = bytes(next(letters) if octet in b"0123456789abcdef" else octet for octet in found[0][0])
    return body[: found[0].start()] + written + body[found[0].end() :], True
