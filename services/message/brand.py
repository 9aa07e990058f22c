"""Whose mails they are, as they show it: name, colour, logo and footer, stored or as the environment says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from database import branding_db
from database.branding_db import MailBranding
from database.engine import reading_in
from services.message import colours
from services.message.colours import Shades
from services.message.mime import Attachment
from utils.env_utils import get_settings

log = structlog.get_logger(__name__)

CONTENT_ID: Final = "logo"
SOURCE: Final = f"cid:{CONTENT_ID}"  # by which the HTML of a mail names the file that goes along
_FILE: Final = "logo.png"
_WIDEST, _HIGHEST = 240, 56  # pixels of a logo as it is shown; finer ones are sharp on good screens


@dataclass(frozen=True, kw_only=True)
class Brand:
    """``colour`` is as ``colours.parse`` gives it. A logo is at ``logo_url``, or a PNG file of this size in pixels."""

    name: str
    colour: str = colours.USUAL
    footer: str = ""
    logo_url: str = ""
    logo: bytes = field(default=b"", repr=False)
    logo_size: tuple[int, int] = (0, 0)

    @cached_property
    def values(self) -> Mapping[str, object]:
        """What templates know as ``brand``, each a plain value."""
        shades: Shades = colours.shades(self.colour)
        width, height = self._shown_size
        return {
            **vars(shades),
            "name": self.name,
            "footer": self.footer,
            "footer_lines": self.footer.splitlines(),
            "logo": SOURCE if self.logo else self.logo_url,
            "logo_width": width,
            "logo_height": height,
        }

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """The file that a mail whose HTML shows the logo takes along."""
        return (Attachment(_FILE, self.logo, "image/png", content_id=CONTENT_ID),) if self.logo else ()

    @property
    def _shown_size(self) -> tuple[int, int]:
        width, height = self.logo_size
        if not width or not height:
            return 0, 0
        share = min(1.0, _WIDEST / width, _HIGHEST / height)
        return max(1, round(width * share)), max(1, round(height * share))


_logos: dict[tuple[int, datetime], bytes] = {}  # the last one that was read, by the version of its row


def current(session: Session | None = None) -> Brand:
    """The branding as it is now, asked in the caller's session if there is one.

    Without one it never raises: no mail is lost because nobody can say how it is to look.
    """
    try:
        with reading_in(session) as own:
            row = branding_db.find(own)
            return of_row(row) if row else usual()
    except SQLAlchemyError as error:
        if session is not None:
            raise
        log.warning("branding_not_read", kind=type(error).__name__)
        return usual()


def usual() -> Brand:
    """As it is while nothing was saved."""
    return Brand(name=get_settings().app_name)


def of_row(row: MailBranding) -> Brand:
    """What a row says, within the session that has read it."""
    return Brand(
        name=row.name or get_settings().app_name,
        colour=row.colour or colours.USUAL,
        footer=row.footer,
        logo_url=row.logo_url,
        logo=_logo(row),
        logo_size=(row.logo_width or 0, row.logo_height or 0),
    )


def _logo(row: MailBranding) -> bytes:
    if not row.logo_width:
        return b""
    key = (row.version, row.updated_at)
    found = _logos.get(key)
    if found is None:
        found = row.logo or b""
        _logos.clear()
        _logos[key] = found
    return found
