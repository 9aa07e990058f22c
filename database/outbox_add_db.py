"""How mails get into the ``email_outbox`` table: those of one transaction together, as other objects of a session."""

import weakref
from collections.abc import Sequence
from contextlib import suppress
from secrets import token_hex
from typing import Final, cast

from sqlalchemy import BigInteger, Connection, Table, bindparam, event, insert, literal, select
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import instance_state

from database import sqlite_file
from database.driver import Driver, borrowed, can_wait
from database.engine import Base
from database.outbox_db import NewMail, OutboxMail, OutboxName
from database.prepared import Prepared, added_to

MOST_TOGETHER: Final = 1000
_BATCH: Final = "sealpost_batch"
_ADD: Final = added_to(cast(Table, OutboxMail.__table__))
_NAME: Final = Prepared(
    insert(OutboxName).from_select(
        ["key", "outbox_id"],
        select(bindparam("name", type_=BigInteger), OutboxMail.id).where(OutboxMail.mail_id == bindparam("wanted")),
    )
)


class _Batch(Base):
    """Mails that their session writes with its next flush, all at once.

    To the session they are one pending object, mapped to no table. So it does with them what it does with whatever is
    added to it: flush, autoflush, savepoint and commit write them, close, expunge and rollback drop them.
    """

    __table__ = select(literal("").label("id")).subquery()
    __mapper_args__ = {"primary_key": [__table__.c.id]}  # noqa: RUF012 - what SQLAlchemy asks for

    def __init__(self) -> None:
        self.id = token_hex(16)
        self.rows: list[NewMail] = []
        self.fault: BaseException | None = None


def add(session: Session, values: NewMail, *, at_once: bool = False) -> None:
    """Add a mail with the session's next flush, as ``session.add`` does, or at once."""
    if at_once or not can_wait(session, session.get_bind(_Batch)):
        _add(session.connection({"mapper": _Batch}), [values])
        return
    batch = _open_batch(session)
    batch.rows.append(values)
    if len(batch.rows) == MOST_TOGETHER:  # rather than fill the memory until a commit
        _write_out(session, batch)


def begin(session: Session) -> None:
    """See to it that a savepoint is within a transaction."""
    sqlite_file.begin(session.connection({"mapper": _Batch}))


def add_all(driver: Driver, rows: Sequence[NewMail]) -> None:
    names = [{"name": name, "wanted": row["mail_id"]} for row in rows for name in row.pop("names", ())]
    _ADD.run(driver, rows)
    if names:  # only of mail to several
        _NAME.run(driver, names)


def write_pending(session: Session) -> None:
    """Write the mails that the session was going to write with its next flush, and nothing else of it."""
    batch = _pending_batch(session)
    if batch is not None and can_wait(session, session.get_bind(_Batch)):
        _write_out(session, batch)


def _add(connection: Connection, rows: Sequence[NewMail]) -> None:
    with borrowed(connection) as driver:
        add_all(driver, rows)


def _open_batch(session: Session) -> _Batch:
    """The mails that the session is going to write."""
    batch = _pending_batch(session)
    if batch is None:
        batch = _Batch()
        if not event.contains(session, "before_flush", _write_alone):  # on this session: others are not ours
            event.listen(session, "before_flush", _write_alone)
        session.add(batch)
        session.info[_BATCH] = weakref.ref(batch)  # whoever drops it, drops its mails
    return batch


def _pending_batch(session: Session) -> _Batch | None:
    reference: weakref.ref[_Batch] | None = session.info.get(_BATCH)
    batch = reference() if reference else None
    return batch if batch and instance_state(batch).pending else None


def _write_alone(session: Session, _context: object, objects: Sequence[object] | None) -> None:
    """Where mails are all there is to flush, spare the search for the order of objects, which costs as much as ten."""
    batch = _pending_batch(session)
    if batch is None or objects or len(session.new) > 1 or session.dirty or session.deleted:
        return
    with suppress(BaseException):  # the flush raises it
        _write_out(session, batch)


def _write_out(session: Session, batch: _Batch) -> None:
    """Write a batch before its flush. What it fails of, the flush raises, which takes the transaction back with it."""
    try:
        _add(session.connection({"mapper": _Batch}), batch.rows)
    except BaseException as fault:
        batch.fault = fault
        raise
    session.expunge(batch)


@event.listens_for(_Batch, "before_insert")
def _write(_mapper: object, connection: Connection, batch: _Batch) -> None:
    if batch.fault:
        raise batch.fault
    _add(connection, batch.rows)
