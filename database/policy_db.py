"""What administrators allow the servers of accounts: a policy of one row, and templates by domain."""

from datetime import datetime

from sqlalchemy import String, Text, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from database.engine import Base
from database.smtp_db import LONGEST_UPDATED_BY
from database.types import UtcDateTime


class PersonalPolicy(Base):
    """The policy as the page saved it; null is what the environment or the usual value says.

    ``hosts`` are names of hosts and domains, one a line.
    """

    __tablename__ = "personal_policy"

    id: Mapped[int] = mapped_column(primary_key=True)
    allowed: Mapped[str | None] = mapped_column(String(8))
    hosts: Mapped[str] = mapped_column(Text, default="")
    fallback: Mapped[str | None] = mapped_column(String(16))
    sign_in: Mapped[str | None] = mapped_column(String(8))
    emails_per_minute: Mapped[int | None]
    emails_per_day: Mapped[int | None]
    fallback_per_minute: Mapped[int | None]
    fallback_per_day: Mapped[int | None]
    version: Mapped[int] = mapped_column(default=1)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_by: Mapped[str] = mapped_column(String(LONGEST_UPDATED_BY), default="")


class ServerTemplate(Base):
    """The server of a mail domain, as an administrator fixed it: its users type a password only."""

    __tablename__ = "server_template"

    id: Mapped[int] = mapped_column(primary_key=True)
    domain: Mapped[str] = mapped_column(String(255), unique=True)
    host: Mapped[str] = mapped_column(String(255))
    port: Mapped[int]
    security: Mapped[str] = mapped_column(String(8))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


def find(session: Session) -> PersonalPolicy | None:
    """The policy, if one was ever saved."""
    return session.scalars(select(PersonalPolicy).order_by(PersonalPolicy.id).limit(1)).one_or_none()


def lock(session: Session) -> PersonalPolicy | None:
    """The same, held until the transaction ends."""
    query = select(PersonalPolicy).order_by(PersonalPolicy.id).limit(1).with_for_update()
    return session.scalars(query.execution_options(populate_existing=True)).one_or_none()


def templates(session: Session) -> list[ServerTemplate]:
    return list(session.scalars(select(ServerTemplate).order_by(ServerTemplate.domain)))


def template_for(session: Session, domain: str) -> ServerTemplate | None:
    """The template of exactly this domain."""
    return session.scalars(select(ServerTemplate).where(ServerTemplate.domain == domain)).one_or_none()


def lock_template(session: Session, template_id: int) -> ServerTemplate | None:
    """The template, held until the transaction ends."""
    return session.get(ServerTemplate, template_id, with_for_update=True, populate_existing=True)
