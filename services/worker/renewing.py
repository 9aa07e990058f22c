"""Keeping sign-ins by token alive while no mail goes, and telling of those that need somebody: beside all other work.

A provider that does not answer is waited for in a thread of its own.
"""

import threading
from typing import Final

import structlog
from flask import Flask

from services.delivery import record
from services.oauth import keeping
from services.outbox import owner_notices, sign_in_notices
from services.outbox.reasons import Reason
from services.settings import configs, route
from services.settings.health import Meeting, What
from services.settings.personal_route import UnusableAccount
from services.settings.route import RouteStep
from services.settings.sealing import StoredConfig
from utils import incidents

log = structlog.get_logger(__name__)

_DEAD: Final = Meeting(what=What.FAILED, reason=Reason.TOKEN_DEAD, is_broken=True, is_unreachable=True)


class Renewing:
    """One round at a time of a process; no two processes renew the same sign-in."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._round: threading.Thread | None = None

    def begin(self) -> None:
        """Begin a round, unless the last one is still under way."""
        if self._round is None or not self._round.is_alive():
            self._round = threading.Thread(target=incidents.watched(self._keep), name="token-keeper", daemon=True)
            self._round.start()

    def join(self, seconds: float) -> None:
        """Wait for what is under way."""
        if self._round is not None:
            self._round.join(seconds)

    def _keep(self) -> None:
        with self._app.app_context():
            keep()


def keep() -> None:
    """Renew what has rested for long; note and tell which servers need sign-in again.

    Where nothing is sent this is a copy of production, whose tokens it would use up.
    """
    if route.is_suppressed():
        return
    for config_id in keeping.keep_all():
        stored = configs.of_any_scope(config_id)
        if stored.settings.is_by_token:  # else its password serves, and mail goes
            _tell(stored)


def _tell(stored: StoredConfig) -> None:
    server = _step_of(stored)
    if server is None:
        return
    record.note_met(server, _DEAD)
    if server.is_personal:
        owner_notices.tell_needs_sign_in(server)
    elif stored.is_active:
        following = [step for step in route.steps() if step.settings and step.config_id != stored.id]
        sign_in_notices.tell(server, following[0] if following and server.failover else None)


def _step_of(stored: StoredConfig) -> RouteStep | None:
    """The server as mail meets it; None for an account's own that is not used."""
    if stored.row.account_id is None:
        return route.step_of(stored)
    try:
        first = next(route.steps(stored.row.account_id))
    except UnusableAccount:
        return None
    return first if first.config_id == stored.id and first.settings else None
