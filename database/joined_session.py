"""A session in another application's transaction, of which it becomes a part: of whatever kind its own session is."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from flask_sqlalchemy.session import Session as AppSession
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, scoped_session

from database import schema_db, sqlite_file
from database.outbox_db import OutboxMail
from utils.env_reader import ConfigurationError

NO_SESSION: Final = (
    "session: Pass a Session of SQLAlchemy, or a scoped one like Flask-SQLAlchemy's db.session. Of an AsyncSession, "
    "pass what run_sync gives you."
)
NOT_OURS: Final = (
    "session: Its database has no tables of Sealpost. Pass a session on the database of Sealpost's DATABASE_URL, or "
    "none: then the email is queued at once, in a transaction of its own."
)


def is_anothers(session: Session | None) -> bool:
    """Whether it is Flask-SQLAlchemy's, and of another application than the current one: it finds no database here."""
    if not isinstance(session, AppSession):
        return False
    try:
        session.get_bind()
    except RuntimeError:
        return True
    return False


def connection_of(session: Session | scoped_session[Any]) -> Connection:
    """The connection of another application's session, in its transaction, which begins with that if none had begun.

    Asked where that application is the current one: Flask-SQLAlchemy looks its engines up there. Raises TypeError for
    what is no session, SQLAlchemyError where the database is away.
    """
    own = session() if isinstance(session, scoped_session) else session
    if not isinstance(own, Session):
        raise TypeError(NO_SESSION)
    return own.connection()


@contextmanager
def joined(connection: Connection) -> Iterator[Session]:
    """A session whose changes are that transaction's once the block ends; if it raises, they are undone and no others.

    Raises ConfigurationError for another database than ours.
    """
    sqlite_file.begin(connection)  # or the savepoint would be the transaction
    try:
        with Session(connection, join_transaction_mode="create_savepoint") as session, session.begin():
            yield session
    except SQLAlchemyError as error:
        if schema_db.lacks_something(error) and OutboxMail.__tablename__ in str(getattr(error, "orig", "")):
            raise ConfigurationError(NOT_OURS) from None
        raise
