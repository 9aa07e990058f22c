"""The ``server_health`` table: what mail and tests have met at each server, for every process and after a restart."""

from collections.abc import Collection
from datetime import datetime
from typing import Final, NamedTuple, cast

from sqlalchemy import ForeignKey, String, Table, and_, bindparam, literal_column, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from database.driver import Driver
from database.engine import Base
from database.prepared import Prepared
from database.types import UtcDateTime

LONGEST_TALLY = 20


class ServerHealth(Base):
    """One server, with the settings that ``fingerprint`` tells from any others: of those nothing is known.

    ``server`` is what its route calls its owner. ``failing_since`` is the first failure since a mail got out, or a
    test passed; ``failures`` counts them. ``is_broken``: one of them kept us from connecting or signing in, or lasts
    until a person mends something. ``tally`` has a letter for each of the last outcomes while there is trouble, the
    newest last: "x" failed, "o" went. ``reason`` is the code of the last failure, or of the pause.
    """

    __tablename__ = "server_health"

    server: Mapped[str] = mapped_column(String(32), primary_key=True)
    config_id: Mapped[int | None] = mapped_column(ForeignKey("smtp_config.id", ondelete="CASCADE"), unique=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    ok_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    failed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    failing_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    failures: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    is_broken: Mapped[bool] = mapped_column(default=False)
    is_unreachable: Mapped[bool] = mapped_column(default=False)
    tally: Mapped[str] = mapped_column(String(LONGEST_TALLY), default="", server_default=text("''"))
    reason: Mapped[str] = mapped_column(String(64), default="", server_default=text("''"))
    refusals: Mapped[int] = mapped_column(default=0, server_default=text("0"))  # of our sign-in, in a row
    paused_until: Mapped[datetime | None] = mapped_column(UtcDateTime)


TABLE: Final = cast(Table, ServerHealth.__table__)
_C: Final = TABLE.c
# Literal, as a prepared statement has it.
IS_QUIET: Final = and_(_C.failing_since.is_(None), _C.paused_until.is_(None), _C.tally == literal_column("''"))


class Quiet(NamedTuple):
    """The settings of a server that has no trouble, and when it was last noted that it works; nothing of any other."""

    fingerprint: str | None = None
    ok_at: datetime | None = None


QUIET: Final = (_C.fingerprint, _C.ok_at)  # as it is read beside the server's own row
_QUIET: Final = Prepared(select(*QUIET).where(_C.server == bindparam("server"), IS_QUIET), list(QUIET))


def last_quiet(driver: Driver, server: str) -> Quiet:
    """What is known of a server without trouble, by its name."""
    rows = _QUIET.rows(driver, {"server": server})
    return Quiet(*rows[0]) if rows else Quiet()


def find(session: Session, server: str) -> ServerHealth | None:
    return session.get(ServerHealth, server)


def of(session: Session, servers: Collection[str]) -> dict[str, ServerHealth]:
    """What is known of these servers."""
    query = select(ServerHealth).where(ServerHealth.server.in_(servers))
    return {row.server: row for row in session.scalars(query)} if servers else {}


def held(session: Session, server: str) -> ServerHealth | None:
    """The row for a change of it: whoever else changes it waits."""
    return session.get(ServerHealth, server, with_for_update=True)
