"""Changing how mails look: what may be entered, and keeping it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from database import branding_db
from database.branding_db import LONGEST_NAME, LONGEST_URL, MailBranding
from database.engine import reading, transaction
from database.smtp_db import LONGEST_UPDATED_BY
from services import audit
from services.audit import Action
from services.message import brand, colours, png
from services.message.brand import Brand
from services.message.png import CleanPng
from utils import clock
from utils.addresses import BIDI_CONTROLS, CONTROLS, public_name
from utils.env_utils import get_settings
from utils.errors import Conflict, InvalidInput

LONGEST_FOOTER: Final = 600
MOST_LINES: Final = 8
STALE: Final = "Someone else has saved the branding. Reload the page."
ONE_LOGO: Final = "Enter a URL or choose a file, not both."
BAD_URL: Final = "Enter a URL that begins with https:// and a public host name, like https://example.com/logo.png."
ODD_URL: Final = "Write the URL with letters, digits and the signs of URLs only; encode others with %."
BAD_NAME: Final = f"Use at most {LONGEST_NAME} printable characters, on one line."
BAD_FOOTER: Final = f"Use at most {LONGEST_FOOTER} printable characters, on at most {MOST_LINES} lines."
_SUBJECT: Final = "branding of emails"  # as the audit trail names it
_ROW: Final = 1  # there is one row; of two that are added at once the second is refused by its id
_URL_SIGNS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:/?#[]@!$&()*+=%")
_LARGEST_PORT: Final = 65535


@dataclass(frozen=True, kw_only=True)
class SavedBranding:
    """What was saved; "" is as usual. ``version`` is 0 while nothing was."""

    name: str = ""
    colour: str = ""
    footer: str = ""
    logo_url: str = ""
    has_logo: bool = False
    logo_width: int | None = None
    logo_height: int | None = None
    version: int = 0
    updated_by: str = ""
    updated_at: datetime | None = None


def saved() -> SavedBranding:
    """What is saved now."""
    with reading() as session:
        return _told(branding_db.find(session))


def logo() -> bytes:
    """The file of the logo that was uploaded; b"" if there is none."""
    return brand.current().logo


def save(changes: Mapping[str, object], *, version: int | None = None, actor: str = "") -> SavedBranding:
    """Change these fields; what is absent stays. ``logo`` are the octets of a PNG file, or None for none.

    ``version`` is that of the branding that was read. Raises InvalidInput by field, and Conflict if somebody has saved
    since.
    """
    try:
        with transaction() as session:
            row = branding_db.lock(session)
            before = _told(row)
            if version is not None and version != before.version:
                raise Conflict(STALE)
            found = _write(session, row, _checked(changes, before), actor)
    except IntegrityError:
        raise Conflict(STALE) from None
    return found


def preview(changes: Mapping[str, object]) -> Brand:
    """How mails would look with these changes. Raises InvalidInput by field."""
    with reading() as session:
        row = branding_db.find(session)
        now = brand.of_row(row) if row else brand.usual()
        values = _checked(changes, _told(row))
    wanted = replace(
        now,
        name=str(values.get("name", now.name)) or get_settings().app_name,
        colour=str(values.get("colour", now.colour)) or colours.USUAL,
        footer=str(values.get("footer", now.footer)),
        logo_url=str(values.get("logo_url", now.logo_url)),
    )
    if "logo" not in values:
        return wanted
    picture = values["logo"]
    if isinstance(picture, CleanPng):
        return replace(wanted, logo=picture.octets, logo_size=(picture.width, picture.height))
    return replace(wanted, logo=b"", logo_size=(0, 0))


def _told(row: MailBranding | None) -> SavedBranding:
    if row is None:
        return SavedBranding()
    return SavedBranding(
        name=row.name,
        colour=row.colour,
        footer=row.footer,
        logo_url=row.logo_url,
        has_logo=row.logo_width is not None,
        logo_width=row.logo_width,
        logo_height=row.logo_height,
        version=row.version,
        updated_by=row.updated_by,
        updated_at=row.updated_at,
    )


def _write(session: Session, row: MailBranding | None, values: Mapping[str, object], actor: str) -> SavedBranding:
    if row is None:
        row = MailBranding(id=_ROW, name="", colour="", footer="", logo_url="", version=0)
        session.add(row)
    before = {name: row.logo if name == "logo" else getattr(row, name) for name in values}
    for name, value in values.items():
        if name != "logo":
            setattr(row, name, value)
        elif isinstance(value, CleanPng):
            row.logo, row.logo_width, row.logo_height = value.octets, value.width, value.height
        else:
            row.logo = row.logo_width = row.logo_height = None
    changed = [name for name, value in before.items() if getattr(row, name) != value]
    if changed or not row.version:
        row.version += 1
        row.updated_at, row.updated_by = clock.now(), (actor or audit.actor().name)[:LONGEST_UPDATED_BY]
        session.flush()
        audit.record(session, Action.BRANDING_SAVED, _SUBJECT, changed)
    return _told(row)


def _checked(changes: Mapping[str, object], before: SavedBranding) -> dict[str, object]:
    """What to write. Raises InvalidInput with all that is wrong."""
    values, errors = dict[str, object](), dict[str, list[str]]()
    for name, value in changes.items():
        try:
            values[name] = _CHECKS[name](value) if name in _CHECKS else _unknown()
        except ValueError as refused:
            errors[name if name in _CHECKS else "form"] = [str(refused)]
    if changes.get("logo") and changes.get("logo_url") not in (None, "", before.logo_url):
        errors.setdefault("logo", []).append(ONE_LOGO)
    if errors:
        raise InvalidInput(errors)
    if isinstance(values.get("logo"), CleanPng):
        values["logo_url"] = ""
    elif values.get("logo_url"):
        values["logo"] = None
    return values


def _unknown() -> object:
    raise ValueError("Unknown field.")


def _name(value: object) -> str:
    text = value.strip() if isinstance(value, str) else None
    if text is None or len(text) > LONGEST_NAME or not text.isprintable() or BIDI_CONTROLS.search(text):
        raise ValueError(BAD_NAME)
    return _encodable(text, BAD_NAME)


def _colour(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(colours.NO_COLOUR)
    return colours.parse(value) if value.strip() else ""


def _footer(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(BAD_FOOTER)
    lines = [line.strip() for line in value.strip().replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    text = "\n".join(lines)
    is_odd = any(CONTROLS.search(line) or BIDI_CONTROLS.search(line) for line in lines)
    if len(text) > LONGEST_FOOTER or len(lines) > MOST_LINES or is_odd:
        raise ValueError(BAD_FOOTER)
    return _encodable(text, BAD_FOOTER)


def _encodable(text: str, refusal: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of an emoji
        raise ValueError(refusal) from None
    return text


def _logo_url(value: object) -> str:
    """A URL that mails may name. It is never asked from here: whoever opens a mail does that."""
    text = value.strip() if isinstance(value, str) else None
    if text is None or len(text) > LONGEST_URL:
        raise ValueError(f"Use at most {LONGEST_URL} characters.")
    if not text:
        return ""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(BAD_URL) from None
    is_ours = parts.scheme == "https" and "@" not in parts.netloc and (port is None or 0 < port <= _LARGEST_PORT)
    if not is_ours or not public_name(host):
        raise ValueError(BAD_URL)
    if not _URL_SIGNS.issuperset(text):
        raise ValueError(ODD_URL)
    return text


def _logo(value: object) -> CleanPng | None:
    if value is None:
        return None
    if not isinstance(value, bytes):
        raise ValueError(png.NO_PNG)
    return png.clean(value)


_CHECKS: Final[Mapping[str, Callable[[object], object]]] = {
    "name": _name,
    "colour": _colour,
    "footer": _footer,
    "logo_url": _logo_url,
    "logo": _logo,
}
