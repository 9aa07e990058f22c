"""How mails look: a name, a colour, a logo and a footer, in one row."""

from datetime import datetime

from sqlalchemy import LargeBinary, String, Text, select
from sqlalchemy.orm import Mapped, Session, deferred, mapped_column

from database.engine import Base
from database.smtp_db import LONGEST_UPDATED_BY
from database.types import UtcDateTime

LONGEST_NAME = 64
LONGEST_URL = 1024


class MailBranding(Base):
    """What the page saved; "" is what the environment or the usual value says.

    The logo is at ``logo_url``, or it is a PNG file of this size that goes along with each mail.
    """

    __tablename__ = "mail_branding"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(LONGEST_NAME), default="")
    colour: Mapped[str] = mapped_column(String(7), default="")
    footer: Mapped[str] = mapped_column(Text, default="")
    logo_url: Mapped[str] = mapped_column(String(LONGEST_URL), default="")
    logo: Mapped[bytes | None] = deferred(mapped_column(LargeBinary))
    logo_width: Mapped[int | None]
    logo_height: Mapped[int | None]
    version: Mapped[int] = mapped_column(default=1)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_by: Mapped[str] = mapped_column(String(LONGEST_UPDATED_BY), default="")


def find(session: Session) -> MailBranding | None:
    """The branding, if one was ever saved; its logo is read when it is asked for."""
    return session.scalars(select(MailBranding).order_by(MailBranding.id).limit(1)).one_or_none()


def lock(session: Session) -> MailBranding | None:
    """The same, held until the transaction ends."""
    query = select(MailBranding).order_by(MailBranding.id).limit(1).with_for_update()
    return session.scalars(query.execution_options(populate_existing=True)).one_or_none()
