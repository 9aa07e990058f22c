"""The ``address_key`` table: the one key by which addresses are told apart and sealed; sealed itself."""

from sqlalchemy import LargeBinary, String
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from database.engine import Base

_ONLY = 1


class StoredAddressKey(Base):
    """The key, sealed under the key of ours that ``key_id`` names. There is one row, or none."""

    __tablename__ = "address_key"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, default=_ONLY)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    key_id: Mapped[str] = mapped_column(String(8))


def find(session: Session) -> StoredAddressKey | None:
    return session.get(StoredAddressKey, _ONLY)


def add(session: Session, sealed: bytes, key_id: str) -> bool:
    """Store the key; False if another process was faster."""
    try:
        with session.begin_nested():
            session.add(StoredAddressKey(sealed=sealed, key_id=key_id))
    except IntegrityError:
        return False
    return True
