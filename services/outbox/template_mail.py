"""A mail from a template of ours: rendered, composed, and delivered with one attempt or promised."""

from collections.abc import Mapping
from datetime import datetime
from urllib.parse import quote

import structlog
from sqlalchemy.orm import Session

from database.outbox_db import Priority
from services.delivery import attempt
from services.delivery.outcome import Outcome
from services.message import templates
from services.message.draft import Draft, draft
from services.outbox import promise
from services.outbox.promise import Terms
from services.settings import route
from services.settings.rules import message_id_domain
from utils import incidents
from utils.env_utils import get_base_url

log = structlog.get_logger(__name__)


def send(to_email: str, template: str, **values: object) -> Outcome | None:
    """Render ``templates/email/<template>`` and try to send it; None if it could not even be composed.

    Never raises; what went wrong is logged.
    """
    mail: Draft | None = None
    try:
        first, servers = route.looked_up()
        try:
            mail = _written(to_email, template, values, message_id_domain(first))
        except ValueError:
            _warn(template)
            return None
        return attempt.deliver(mail, servers)
    except Exception as error:
        ids = {"mail": mail.mail_id, "message_id": mail.message_id} if mail else {}
        incidents.report("mail_not_sent", error, template=template, **ids)
    return None


def queue(
    to_email: str,
    template: str,
    *,
    session: Session,
    priority: Priority,
    expires_at: datetime | None = None,
    **values: object,
) -> str | None:
    """Render ``templates/email/<template>`` and promise it within the caller's transaction; the mail's id.

    None, and a line in the log, if it could not be composed: what the mail would tell of goes on without it.
    """
    try:
        mail = _written(to_email, template, values, route.message_id_domain(session=session))
    except ValueError:
        _warn(template)
        return None
    return promise.enqueue(mail, Terms(priority=priority, expires_at=expires_at), session)


def reset_url(reset_token: str) -> str:
    """The link of a reset mail: always below BASE_URL, whatever host the request named."""
    return _link("/reset-password", reset_token)


def confirm_url(token: str) -> str:
    """The link of a mail that asks whether a new address is really somebody's."""
    return _link("/confirm-address", token)


def _link(path: str, token: str) -> str:
    return f"{get_base_url()}{path}?token={quote(str(token), safe='')}"


def _written(to_email: str, template: str, values: Mapping[str, object], id_domain: str) -> Draft:
    mail = templates.render(template, **values)
    return draft(
        to_email,
        mail.subject,
        mail.text,
        mail.html,
        headers={"Auto-Submitted": "auto-generated"},
        kind=template,
        message_id_domain=id_domain,
    )


def _warn(template: str) -> None:
    log.warning("mail_not_composed", kind=template, reason="refused address or value")
