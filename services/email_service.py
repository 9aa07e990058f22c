"""The public face: what application code calls to send mail, and never thinks of SMTP."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from services import connection_test, delivery, notices, smtp_configs, smtp_diagnosis, smtp_route, template_mail
from services.composing import Attachment, draft
from services.delivery import Outcome
from services.smtp_settings import Security, SmtpSettings, message_id_domain
from utils.env_utils import get_base_url
from utils.log_utils import printable

ORDER_FIELDS: Final = ("symbol", "action", "quantity", "price", "order_id", "time")
LONGEST_ORDER_VALUE: Final = 200


def get_smtp_config(account_id: int | None = None) -> dict[str, Any] | None:
    """The settings that mail goes through now, with the password in clear; None if nothing is usable."""
    server = smtp_route.first_usable(account_id)
    return _as_specified(server.settings) if server and server.settings else None


def send_email(
    to_email: str | Sequence[str],
    subject: str,
    body: str,
    html_body: str | None = None,
    *,
    cc: str | Sequence[str] | None = None,
    bcc: str | Sequence[str] | None = None,
    reply_to: str | None = None,
    headers: Mapping[str, str] | None = None,
    attachments: Sequence[Attachment] = (),
    account_id: int | None = None,
) -> bool:
    """Make one attempt now. True only if every recipient was accepted.

    A mail problem (not configured, refused, timed out, undecryptable password) gives False, one log line and one
    attempt row. Raises ValueError for a caller's mistake: no recipient, two addresses in one string, a line
    break in a header.
    """
    first, servers = smtp_route.looked_up(account_id)
    mail = draft(
        to_email,
        subject,
        body,
        html_body,
        cc=cc,
        bcc=bcc,
        reply_to=reply_to,
        headers=headers,
        attachments=attachments,
        kind="other",
        message_id_domain=message_id_domain(first),
    )
    return _settled(delivery.deliver(mail, servers, account_id))


def test_smtp_connection(account_id: int | None = None) -> tuple[bool, str]:
    """Test the settings that mail would go through now, up to the recipient; delivers nothing."""
    server = smtp_route.first_usable(account_id)
    if not server or not server.settings:
        return False, smtp_diagnosis.NOT_CONFIGURED
    result = connection_test.run(server.settings)
    smtp_configs.mark_tested(server.settings, None if result.ok else result.message, server.config_id)
    return result.ok, result.message


# pytest must not take the specified name for a test.
test_smtp_connection.__test__ = False  # type: ignore[attr-defined]


def send_password_reset_email(user_email: str, reset_token: str) -> bool:
    """Mail the link that holds this token. Never raises: a bad address gives False."""
    return send_template(user_email, "password_reset", reset_url=reset_url(reset_token))


def send_order_notification(user_email: str, order_details: Mapping[str, object]) -> bool:
    """Mail an executed order. Never raises: a missing key prints as ``-``, control characters as spaces."""
    details = order_details if isinstance(order_details, Mapping) else {}
    values = {name: _order_value(details.get(name)) for name in ORDER_FIELDS}
    return send_template(user_email, "order_notification", **values)


def send_template(to_email: str, template: str, **values: object) -> bool:
    """Render ``templates/email/<template>`` and send it once. Never raises; what went wrong is logged."""
    outcome = template_mail.send(to_email, template, **values)
    return outcome is not None and _settled(outcome)


def reset_url(reset_token: str) -> str:
    """The link of a reset mail: always below BASE_URL, whatever host the request named."""
    return f"{get_base_url()}/reset-password?token={quote(str(reset_token), safe='')}"


def _order_value(value: object) -> str:
    return printable(str(value), LONGEST_ORDER_VALUE) if value is not None and value != "" else "-"


def _settled(outcome: Outcome) -> bool:
    """Whether every recipient was accepted. Tells the administrators if that took another server."""
    notices.failed_over(outcome)
    return outcome.is_complete


def _as_specified(settings: SmtpSettings) -> dict[str, Any]:
    return {
        "server": settings.host,
        "port": settings.port,
        "username": settings.username,
        "password": settings.password.reveal(),
        "from_email": settings.from_email,
        "from_name": settings.from_name,
        "use_tls": settings.security is Security.STARTTLS,
        "use_ssl": settings.security is Security.TLS,
    }
