"""Switching mail to another server knowingly: what speaks against it, and the way back."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from database.smtp_db import SmtpConfig
from services.settings import configs, health, route
from services.settings.configs import STALE
from services.settings.sealing import StoredConfig
from utils.errors import Conflict


@dataclass(frozen=True)
class WayBack:
    """What undoes an activation, as long as nobody has changed either of the two since.

    Without a server that was active before, the present one is switched off.
    """

    config_id: int
    version: int
    before_id: int | None
    before_version: int | None


def doubt(stored: StoredConfig) -> str:
    """Why to ask before mail goes through this server, in sentences; "" if it is known to work."""
    found = health.of_config(stored)
    return found.sentence if found.is_doubtful else ""


def takes_over() -> bool:
    """Whether a server sends now whose place another one would take; the local inbox has none to lose."""
    used = route.first_usable()
    return used is not None and not used.is_local_inbox


def way_back(before: StoredConfig | None, after: StoredConfig) -> WayBack | None:
    """From ``after``, which was just activated, to what was active ``before``; None if that is the same."""
    if before is None:
        return WayBack(after.row.id, after.row.version, None, None)
    if before.row.id == after.row.id:
        return None
    return WayBack(after.row.id, after.row.version, before.row.id, before.row.version + 1)  # it was switched off


def undo(way: WayBack, *, actor: str = "") -> StoredConfig:
    """Go back, in one transaction: the configuration that is active again, or the one that is switched off.

    Raises NotFound, InvalidInput, or Conflict if either was changed since.
    """

    def work(session: Session) -> SmtpConfig:
        row = configs.row_of(session, way.config_id)
        if not row.is_active or row.version != way.version:
            raise Conflict(STALE)
        if way.before_id is None:
            return configs.switched(session, row, way.version, actor, is_active=False)
        before = configs.row_of(session, way.before_id)
        return configs.switched(session, before, way.before_version, actor, is_active=True)

    return configs.committed(work)
