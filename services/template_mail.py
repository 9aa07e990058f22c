"""A mail from a template of ours: rendered, composed, and delivered with one attempt."""

from collections.abc import Mapping

import structlog

from services import delivery, email_templates, smtp_route
from services.composing import draft
from services.delivery import Outcome
from services.smtp_route import RouteStep
from services.smtp_settings import message_id_domain

log = structlog.get_logger(__name__)


def send(to_email: str, template: str, **values: object) -> Outcome | None:
    """Render ``templates/email/<template>`` and try to send it; None if it could not even be composed.

    Never raises; what went wrong is logged.
    """
    return _sent(to_email, template, values, None)


def send_through(server: RouteStep, to_email: str, template: str, **values: object) -> Outcome | None:
    """The same through this one server, whatever the route says."""
    return _sent(to_email, template, values, server)


def _sent(to_email: str, template: str, values: Mapping[str, object], server: RouteStep | None) -> Outcome | None:
    try:
        first, servers = (server.settings, iter([server])) if server else smtp_route.looked_up()
        mail = email_templates.render(template, **values)
        frozen = draft(
            to_email,
            mail.subject,
            mail.text,
            mail.html,
            headers={"Auto-Submitted": "auto-generated"},
            kind=template,
            message_id_domain=message_id_domain(first),
        )
        return delivery.deliver(frozen, servers)
    except ValueError:
        log.warning("mail_not_composed", kind=template, reason="refused address or value")
    except Exception as error:
        log.error("mail_not_sent", kind=template, error=type(error).__name__)
    return None
