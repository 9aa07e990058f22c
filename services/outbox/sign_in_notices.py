"""What people are told of a server that needs sign-in again: once, until it was connected again."""

from datetime import date, timedelta
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from database import end_notice_db, user_db
from database.end_notice_db import EndNotice
from database.engine import reading, transaction
from services import audit
from services.audit import Action
from services.outbox import template_mail
from services.settings import config_trail, configs, health
from services.settings.connections import Connection
from services.settings.route import RouteStep
from services.settings.sealing import StoredConfig
from utils import clock
from utils.env_utils import get_base_url
from utils.log_utils import logged

log = structlog.get_logger(__name__)

TEMPLATE: Final = "needs_sign_in"
OWN_PROBLEM: Final = "It needs sign-in again. Connect it again on its page."
_REMEDY: Final = "Connect it again."
_REMEDY_AT_PROVIDER: Final = "Check what is registered at the provider, then connect it again."
_WHAT: Final = "sign_in"
_GOOD_FOR: Final = timedelta(hours=24)  # by then somebody has connected it again, or seen it elsewhere
_NEVER: Final = date(1970, 1, 1)


def is_needed(server: RouteStep) -> bool:
    """Whether the server is signed in to by token, and somebody has to sign in again."""
    if server.settings is None or not server.settings.is_by_token or server.config_id is None:
        return False
    try:
        return health.of_step(server).needs_sign_in
    except SQLAlchemyError:  # whoever meets it next will tell
        return False


def tell(server: RouteStep, used: RouteStep | None) -> None:
    """Tell every administrator, and the trail; ``used`` is where mail goes instead, if it does. Never raises."""
    if server.config_id is None:
        return
    # The mail that led here may have been sent: whoever sent it must not be told otherwise, whatever goes wrong.
    with logged(log.error, "sign_in_not_told", Exception, config_id=server.config_id):
        stored = configs.of_any_scope(server.config_id)
        connection = health.of_config(stored).connection
        if connection is not None:
            _tell(stored, connection, used)


def _tell(stored: StoredConfig, connection: Connection, used: RouteStep | None) -> None:
    ids = {"server": health.owner_of(stored.id), "what": _WHAT, **_occasion(stored, connection)}
    with reading() as session:
        if end_notice_db.was_told(session, **ids):  # type: ignore[arg-type]
            return
    with transaction() as session:
        # Claimed along with the mails: if these cannot be queued, another may tell.
        if not end_notice_db.claim(session, EndNotice(**ids, config_id=stored.id)):
            return
        audit.record(session, Action.SIGN_IN_NEEDED, config_trail.subject_of(stored.row))
        values = _values(stored, connection, used)
        for address in user_db.administrator_emails(session):
            template_mail.queue(session, address, TEMPLATE, clock.now() + _GOOD_FOR, **values)
    log.warning("sign_in_needed", config_id=stored.id)


def _occasion(stored: StoredConfig, connection: Connection) -> dict[str, object]:
    """What is another one once it was connected again, or works again by itself, as an application may."""
    last = connection.renewed_at if connection.is_app_only else connection.granted_at
    return {"ends_on": last.date() if last else _NEVER, "days": stored.row.oauth_consent}


def _values(stored: StoredConfig, connection: Connection, used: RouteStep | None) -> dict[str, object]:
    return {
        "server_name": stored.name,
        "host": stored.host,
        "mailbox": connection.mailbox or stored.username,
        "since": clock.readable(connection.since) if connection.since else "",
        "used_name": used.name if used else "",
        "remedy": _REMEDY_AT_PROVIDER if connection.is_app_only else _REMEDY,
        "connect_url": f"{get_base_url()}/settings/smtp/{stored.id}/connect",
    }
