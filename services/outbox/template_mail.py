"""A mail from a template of ours: rendered, composed, and delivered with one attempt or promised."""

from collections.abc import Mapping
from datetime import datetime
from urllib.parse import quote

import structlog
from sqlalchemy.orm import Session

from database.outbox_db import Priority
from services.delivery import attempt
from services.delivery.outcome import Outcome
from services.message import brand, templates
from services.message.brand import Brand
from services.message.draft import Draft, draft
from services.message.templates import Rendered
from services.outbox import promise
from services.outbox.promise import Terms
from services.settings import route
from services.settings.rules import message_id_domain
from utils import incidents
from utils.env_utils import get_base_url

log = structlog.get_logger(__name__)


def send(to_email: str, template: str, tag: str | None = None, /, **values: object) -> Outcome | None:
    """Render a template and try to send it; None if it could not even be composed.

    Never raises; what went wrong is logged.
    """
    mail: Draft | None = None
    try:
        first, servers = route.looked_up()
        mail = _written(to_email, template, values, message_id_domain(first), brand.current(), tag=tag)
        return attempt.deliver(mail, servers) if mail else None
    except Exception as error:
        ids = {"mail": mail.mail_id, "message_id": mail.message_id} if mail else {}
        incidents.report("mail_not_sent", error, template=template, **ids)
    return None


def send_checked(to_email: str, template: str, values: Mapping[str, object], tag: str | None = None) -> Outcome:
    """The same for whoever is to hear what is wrong: ValueError names the argument."""
    first, servers = route.looked_up()
    mail = templates.render_checked(template, values, brand.current())
    return attempt.deliver(composed(to_email, template, mail, message_id_domain(first), tag), servers)


def composed(to_email: str, kind: str, mail: Rendered, id_domain: str, tag: str | None = None) -> Draft:
    """A rendered mail, written out. Raises ValueError for what is no address."""
    return draft(
        to_email,
        mail.subject,
        mail.text,
        mail.html or None,
        headers={"Auto-Submitted": "auto-generated"},  # RFC 3834 2: no absence is announced to it
        attachments=mail.attachments,
        kind=kind,
        message_id_domain=id_domain,
        tag=tag,
    )


def queue(session: Session, to_email: str, template: str, expires_at: datetime | None, **values: object) -> str | None:
    """Render ``templates/email/<template>``, security mail, and promise it within the caller's transaction; its id.

    None, and a line in the log, if it could not be composed: what the mail would tell of goes on without it.
    """
    mail = _written(to_email, template, values, route.message_id_domain(session=session), brand.current(session))
    terms = Terms(priority=Priority.SECURITY, expires_at=expires_at)
    return promise.enqueue(mail, terms, session) if mail else None


def reset_url(reset_token: str) -> str:
    """The link of a reset mail: always below BASE_URL, whatever host the request named."""
    return link("/reset-password", reset_token)


def link(path: str, token: str) -> str:
    """The link of a mail to the page that its token is for."""
    return f"{get_base_url()}{path}?token={quote(str(token), safe='')}"


def _written(
    to_email: str,
    template: str,
    values: Mapping[str, object],
    id_domain: str,
    look: Brand,
    *,
    tag: str | None = None,
) -> Draft | None:
    """The mail; None, and a line in the log, where its address or a value is refused."""
    try:
        return composed(to_email, template, templates.render_for(template, values, look), id_domain, tag)
    except ValueError:
        log.warning("mail_not_composed", kind=template, reason="refused address or value")
        return None
