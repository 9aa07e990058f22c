"""The ``server_probe`` table: when each server was last looked at without a mail, and what it offered then."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import JSON, ColumnElement, Float, ForeignKey, String, and_, exists, or_, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from database.engine import Base, compared_and_set, transaction
from database.health_db import ServerHealth
from database.outbox_db import IS_WAITING, OutboxMail
from database.smtp_db import SmtpConfig
from database.types import UtcDateTime

_EMPTY = text("''")
_MOST_AT_ONCE = 20


class ServerProbe(Base):
    """One server, by what its route calls its owner, with the settings that ``fingerprint`` tells from any others.

    ``turns`` counts the looks, so that one process takes each. ``begun_at`` is the last one's beginning, ``spread`` the
    place of the next within its jitter, ``looked_at`` when the server last answered one, and ``result`` what came of
    the last. ``refusals`` counts tokens that it refused. ``offers`` is what it offered, ``changes`` what of that is
    new.
    """

    __tablename__ = "server_probe"

    server: Mapped[str] = mapped_column(String(32), primary_key=True)
    config_id: Mapped[int | None] = mapped_column(ForeignKey("smtp_config.id", ondelete="CASCADE"), unique=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    turns: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    begun_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    spread: Mapped[float] = mapped_column(Float)
    looked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    result: Mapped[str] = mapped_column(String(16), default="", server_default=_EMPTY)
    refusals: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    offers: Mapped[dict[str, str] | None] = mapped_column(JSON)
    changes: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON)


class PersonalDue(NamedTuple):
    """An account's own server of which nothing is known lately; ``has_mail``: mail of the account waits."""

    config_id: int
    account_id: int
    has_mail: bool


def find(session: Session, server: str) -> ServerProbe | None:
    return session.get(ServerProbe, server)


def of(session: Session, servers: Collection[str]) -> dict[str, ServerProbe]:
    """What is known of these servers."""
    query = select(ServerProbe).where(ServerProbe.server.in_(servers))
    return {row.server: row for row in session.scalars(query)} if servers else {}


def add(row: ServerProbe) -> None:
    """Keep the first row of a server, unless another process has just done so, or the server is gone."""
    try:
        with transaction(durable=False) as session:
            session.add(row)
    except IntegrityError:
        return


def claim(session: Session, server: str, turns: int, **values: object) -> bool:
    """True for the one caller that has the next look; ``turns`` is what it has read."""
    mine = ServerProbe.server == server, ServerProbe.turns == turns
    return compared_and_set(session, update(ServerProbe).where(*mine).values(turns=turns + 1, **values))


def note(session: Session, server: str, turns: int, values: Mapping[str, object]) -> None:
    """Write down what came of the look that was claimed as this one, unless there was another since."""
    mine = ServerProbe.server == server, ServerProbe.turns == turns
    compared_and_set(session, update(ServerProbe).where(*mine).values(**values))


def personal_due(
    session: Session, *, with_mail_before: datetime, before: datetime, now: datetime, refusals: int
) -> list[PersonalDue]:
    """Active servers of accounts of which the last result is older than ``before``, or where mail waits than the
    other moment; and of which fewer sign-ins than ``refusals`` were refused in a row. Those that waited longest first.
    """
    probe, health = ServerProbe, ServerHealth

    def rested_since(moment: datetime) -> ColumnElement[bool]:
        begun = or_(probe.begun_at.is_(None), probe.begun_at <= moment, probe.begun_at > now)
        met = [
            or_(at.is_(None), at <= moment, at > now) for at in (health.ok_at, health.failed_at)
        ]  # one that lies ahead was noted by a clock that was set since
        return and_(begun, *met)

    is_let_in = or_(health.refusals.is_(None), health.refusals == 0)
    mail = exists().where(OutboxMail.account_id == SmtpConfig.account_id, IS_WAITING)
    query = (
        select(SmtpConfig.id, SmtpConfig.account_id, rested_since(before))
        .outerjoin(health, health.config_id == SmtpConfig.id)
        .outerjoin(probe, probe.config_id == SmtpConfig.id)
        .where(
            SmtpConfig.account_id.is_not(None),
            SmtpConfig.is_active,
            or_(health.refusals.is_(None), health.refusals < refusals),
            or_(rested_since(before), and_(rested_since(with_mail_before), is_let_in, mail)),
        )
        .order_by(probe.begun_at.is_not(None), probe.begun_at, SmtpConfig.id)
        .limit(_MOST_AT_ONCE)
    )
    found = session.execute(query)
    return [PersonalDue(config_id, account_id or 0, not has_rested) for config_id, account_id, has_rested in found]
