"""The ``suppression`` table: addresses that get no mail, and those that were refused once, which are only counted.

Of an address it holds a keyed digest, by which it is found, and the address itself sealed.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Final, NamedTuple, cast

from sqlalchemy import (
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
    bindparam,
    delete,
    func,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from database.driver import Driver
from database.engine import Base, changed
from database.prepared import Prepared
from database.types import UtcDateTime, partial_index
from utils.numbers import LARGEST

EVERYONE: Final = 0  # the scope of what holds for all mail; any other is an account's id
LONGEST_NOTE: Final = 200
LONGEST_AUTHOR: Final = 160
_IS_LISTED: Final = text("listed_at IS NOT NULL")


class Suppression(Base):
    """One address, for all mail or for an account's alone. Only what has ``listed_at`` is on the list.

    Without, the address was refused for good at one email, ``mail_id``, and ``refusals`` counts. ``sealed`` is gone
    once the address is to be forgotten. ``accepted_at``: a server has accepted an email for it since.
    """

    __tablename__ = "suppression"

    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    domain_digest: Mapped[bytes] = mapped_column(LargeBinary)
    scope: Mapped[int] = mapped_column(default=EVERYONE, server_default=text("0"))
    sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    reason: Mapped[str] = mapped_column(String(16))
    source: Mapped[str] = mapped_column(String(16))
    code: Mapped[int | None]
    enhanced: Mapped[str | None] = mapped_column(String(16))
    mail_id: Mapped[str] = mapped_column(String(32), default="", server_default=text("''"))
    refusals: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    note: Mapped[str] = mapped_column(String(LONGEST_NOTE), default="", server_default=text("''"))
    added_by: Mapped[str] = mapped_column(String(LONGEST_AUTHOR), default="", server_default=text("''"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    listed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ends_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)
    accepted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        UniqueConstraint("digest", "scope"),
        partial_index("ix_suppression_listed", "id", where=_IS_LISTED),
        partial_index("ix_suppression_domain", "domain_digest", "id", where=_IS_LISTED),
    )


class AddressStanding(NamedTuple):
    """What a send needs to know of an address."""

    digest: bytes
    scope: int
    reason: str
    listed_at: datetime | None
    ends_at: datetime | None


_C: Final = cast(Table, Suppression.__table__).c
_STANDING: Final = tuple(_C[name] for name in AddressStanding._fields)


def _of_digests(most: int) -> tuple[Prepared, list[str]]:
    names = [f"digest_{number}" for number in range(most)]
    wanted = [bindparam(name, type_=LargeBinary) for name in names]
    return Prepared(select(*_STANDING).where(_C.digest.in_(wanted)), _STANDING), names


# Two shapes, since a statement is prepared once: for a group of mails to one person each, and for long lists.
_ANY: Final = Prepared(select(_C.id).limit(literal_column("1")), [_C.id])
_FEW, _MANY = _of_digests(8), _of_digests(100)


def standings(driver: Driver, digests: Sequence[bytes]) -> list[AddressStanding]:
    """What is known of these addresses, whether they are on the list or only counted."""
    statement, names = _FEW if len(digests) <= len(_FEW[1]) else _MANY
    found: list[AddressStanding] = []
    for start in range(0, len(digests), len(names)):
        some = digests[start : start + len(names)]
        values = {name: some[place] if place < len(some) else some[0] for place, name in enumerate(names)}
        found += [AddressStanding(*row) for row in statement.rows(driver, values)]
    return found


def is_empty(driver: Driver) -> bool:
    """Whether nothing is known of any address."""
    return not _ANY.rows(driver, {})


def find(session: Session, number: int) -> Suppression | None:
    """An entry of the list by its number."""
    if not 0 < number <= LARGEST:
        return None
    return session.scalars(select(Suppression).where(Suppression.id == number, _IS_LISTED)).one_or_none()


def of_digest(session: Session, digest: bytes) -> list[Suppression]:
    """All that is kept of an address, on the list or not."""
    return list(session.scalars(select(Suppression).where(Suppression.digest == digest).order_by(Suppression.scope)))


def held(session: Session, digest: bytes, scope: int) -> Suppression | None:
    """The row of an address, which nobody else changes until the transaction ends."""
    query = select(Suppression).where(Suppression.digest == digest, Suppression.scope == scope)
    return session.scalars(query.with_for_update()).one_or_none()


def add(session: Session, row: Suppression) -> bool:
    """Add a row; False if there is one of this address by now."""
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        return False
    return True


def held_of_all(session: Session, digests: Collection[bytes]) -> dict[bytes, Suppression]:
    """The rows of these addresses for all mail, which nobody else changes until the transaction ends."""
    query = select(Suppression).where(Suppression.digest.in_(digests), Suppression.scope == EVERYONE)
    rows = session.scalars(query.order_by(Suppression.digest).with_for_update())
    return {bytes(row.digest): row for row in rows}


def page(
    session: Session, before: int | None, limit: int, *, digest: bytes | None = None, domain: bytes | None = None
) -> list[Suppression]:
    """The newest entries of the list first, older than ``before``; of one address, or of a domain."""
    query = select(Suppression).where(_IS_LISTED).order_by(Suppression.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Suppression.id < before)
    if digest is not None:
        query = query.where(Suppression.digest == digest)
    if domain is not None:
        query = query.where(Suppression.domain_digest == domain)
    return list(session.scalars(query))


def count(session: Session) -> int:
    """How many entries the list has."""
    return session.scalar(select(func.count()).select_from(Suppression).where(_IS_LISTED)) or 0


def remove(session: Session, ids: Iterable[int]) -> int:
    return changed(session, delete(Suppression).where(Suppression.id.in_(list(ids))))


def remove_of_domain(session: Session, domain: bytes) -> int:
    return changed(session, delete(Suppression).where(Suppression.domain_digest == domain, _IS_LISTED))


def remove_all(session: Session) -> int:
    """Empty the list, and forget what was counted; how many entries there were."""
    entries = count(session)
    session.execute(delete(Suppression))
    return entries


def end_count(session: Session, digest: bytes, scope: int) -> None:
    """Forget what was counted of an address."""
    counted = (Suppression.digest == digest, Suppression.scope == scope, Suppression.listed_at.is_(None))
    session.execute(delete(Suppression).where(*counted))


def note_accepted(session: Session, digest: bytes, scope: int, moment: datetime) -> None:
    """Note that a server has accepted an email for an address that is on the list."""
    listed = (Suppression.digest == digest, Suppression.scope == scope, _IS_LISTED)
    session.execute(update(Suppression).where(*listed).values(accepted_at=moment))


def delete_ended(session: Session, moment: datetime, limit: int) -> int:
    """Delete at most ``limit`` rows whose time is over; how many."""
    ended = select(Suppression.id).where(Suppression.ends_at <= moment).limit(limit)
    return changed(session, delete(Suppression).where(Suppression.id.in_(ended)))


def forget_account(session: Session, account_id: int) -> None:
    """Delete what held for an account's mail alone."""
    session.execute(delete(Suppression).where(Suppression.scope == account_id, Suppression.scope != EVERYONE))
