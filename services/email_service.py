"""The public face: what application code calls to send mail, and never thinks of SMTP.

``send_email`` makes one attempt now; ``queue_email`` promises a mail, whatever dies. Both take the same content:
an address may be ``"Name" <a@b>``, and ``to_email`` may be empty if there is ``cc`` or ``bcc``. Without a ``body`` the
text is made from ``html_body``. An ``Attachment`` with a ``content_id`` is an image of the HTML, ``cid:`` there; one of
type ``message/rfc822`` is a whole mail. ``calendar`` is an iCalendar object with its METHOD, which readers can accept.
A ``Message-ID`` among the ``headers`` is kept, so that its giver can refer to the mail later; see also ``message_id``.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from flask import current_app
from sqlalchemy.orm import Session, scoped_session

from database import joined_session
from database.outbox_db import Priority
from services.checks import connection_test, noting
from services.delivery import attempt
from services.delivery.outcome import Outcome
from services.diagnosis import diagnosis
from services.message import brand, templates
from services.message.draft import Attachment, draft
from services.message.recording import RecordedMail, record_messages
from services.outbox import notices, promise, template_mail
from services.outbox.promise import Terms
from services.outbox.template_mail import reset_url
from services.settings import personal_route, route
from services.settings.rules import message_id_domain
from services.smtp.settings import Security, SmtpSettings
from utils import application
from utils.env_utils import EXTENSION, currency_before
from utils.log_utils import printable

__all__ = [
    "Attachment",
    "RecordedMail",
    "get_smtp_config",
    "message_id",
    "queue_email",
    "queue_template",
    "record_messages",
    "reset_url",
    "send_email",
    "send_order_notification",
    "send_password_reset_email",
    "send_template",
    "test_smtp_connection",
]

_ORDER_FIELDS: Final = ("symbol", "action", "quantity", "price", "order_id", "time")
_LONGEST_ORDER_VALUE: Final = 200
_LONGEST_CURRENCY: Final = 16


def get_smtp_config(account_id: int | None = None) -> dict[str, Any] | None:
    """The settings that mail of this account, or of the system, goes through now, with the password in clear.

    None if nothing is usable. Raises ValueError for an account that does not exist, or is disabled.
    """
    server = route.first_usable(account_id)
    if not server or not server.settings:
        return None
    found = _as_specified(server.settings)
    return found | {"from_name": server.behalf.name} if server.behalf else found


def send_email(
    to_email: str | Sequence[str] | None,
    subject: str,
    body: str,
    html_body: str | None = None,
    *,
    cc: str | Sequence[str] | None = None,
    bcc: str | Sequence[str] | None = None,
    reply_to: str | Sequence[str] | None = None,
    headers: Mapping[str, str] | None = None,
    attachments: Sequence[Attachment] = (),
    calendar: str | bytes | None = None,
    account_id: int | None = None,
    from_email: str | None = None,
    tag: str | None = None,
) -> bool:
    """Make one attempt now. True only if every recipient was accepted.

    ``account_id``: for this account, through its own server if it has one; that alone says ``from_email``, which is an
    address that the account has confirmed. ``tag``: a word of the caller's own, by which the mail log finds the mail.

    A mail problem (not configured, refused, timed out, undecryptable password, sending limit reached) gives False,
    one log line and one attempt row; so does a recipient on the suppression list, whom the mail does not go to.
    Raises ValueError for a caller's mistake: no recipient, two addresses in one string, a line break in a header, an
    account that does not exist or is disabled; RuntimeError outside an application context. Who wants to refer to the
    mail later gives its Message-ID:
    ``headers={"Message-ID": email.utils.make_msgid(domain="example.com")}``.
    """
    _need_application("send_email")
    sender = _chosen(from_email, account_id)
    first, servers = route.looked_up(account_id)
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
        calendar=calendar,
        kind="other",
        message_id_domain=message_id_domain(first),
        sender=sender,
        tag=tag,
    )
    return _settled(attempt.deliver(mail, servers, account_id))


def queue_email(
    to_email: str | Sequence[str] | None,
    subject: str,
    body: str,
    html_body: str | None = None,
    *,
    cc: str | Sequence[str] | None = None,
    bcc: str | Sequence[str] | None = None,
    reply_to: str | Sequence[str] | None = None,
    headers: Mapping[str, str] | None = None,
    attachments: Sequence[Attachment] = (),
    calendar: str | bytes | None = None,
    account_id: int | None = None,
    from_email: str | None = None,
    tag: str | None = None,
    idempotency_key: str | None = None,
    send_at: datetime | None = None,
    expires_at: datetime | None = None,
    priority: str = "normal",
    track_opens: bool = False,
    traceparent: str | None = None,
    session: Session | scoped_session[Any] | None = None,
) -> str:
    """Promise a mail and give its id: it is tried until it is sent, refused for good, or ``expires_at`` is past.

    With ``session`` it is part of the caller's transaction: promised if that is committed, otherwise it never was. The
    first mail of a transaction, a large one, and any with an ``idempotency_key`` is written at once, others as by
    ``session.add``: with the next flush or commit at the latest. Until then ``session.connection()`` does not see them,
    and ``session.expunge_all()`` takes them back. If the database does not take a mail, whichever writes it raises
    SQLAlchemyError: this call, the flush or the commit.

    A key that was used before gives the first mail's id. ``priority`` is security, normal or bulk; the times have a
    time zone; without ``expires_at`` a mail is given up after 72 hours. With ``track_opens`` the mail log shows when
    the mail was opened, by a pixel at the end of its HTML; ask its recipients first. By its ``tag``, a word of the
    caller's own, the log finds it. ``traceparent`` (W3C Trace Context) says in whose trace the mail is queued, or else
    the caller's OpenTelemetry does; a bad one is ignored.

    Raises ValueError for a caller's mistake, the same key with other content and security mail that would be tracked
    among them.
    """
    _need_application("queue_email")
    given, sender = _plain_session(session), _chosen(from_email, account_id)
    if account_id is not None:
        personal_route.require(account_id, given)
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
        calendar=calendar,
        kind="other",
        track_opens=track_opens,
        message_id_domain=route.message_id_domain(account_id, given),
        sender=sender,
        tag=tag,
    )
    asked: list[object] = [to_email, subject, body, html_body, cc, bcc, reply_to, headers, attachments]
    asked += [calendar] if calendar else []  # keys that were used before there were invitations stay the same
    asked += [{"from_email": sender}] if sender else []
    asked += ["track_opens"] if track_opens else []
    asked += [{"tag": tag}] if tag else []
    terms = Terms(
        priority=_priority(priority),
        send_at=send_at,
        expires_at=expires_at,
        idempotency_key=idempotency_key,
        digest=_digest(asked) if idempotency_key is not None else "",
        account_id=account_id,
        traceparent=traceparent,
    )
    return promise.enqueue(mail, terms, given)


def message_id(mail_id: str, *, session: Session | scoped_session[Any] | None = None) -> str | None:
    """The Message-ID of a mail that was queued, for the In-Reply-To and References of those that follow it.

    With ``session`` also of one that its transaction has queued and not committed yet. None if there is no such mail,
    or none any more: the log of mails is kept for a time only, so keep what a long thread needs.
    """
    return promise.message_id(mail_id, _plain_session(session))


def test_smtp_connection(account_id: int | None = None) -> tuple[bool, str]:
    """Test the settings that mail of this account, or of the system, would go through now; delivers nothing.

    Raises ValueError for an account that does not exist, or is disabled.
    """
    server = route.first_usable(account_id)
    if not server or not server.settings:
        return False, diagnosis.NOT_CONFIGURED
    result = connection_test.run(server.settings, server=server)
    noting.note_test(server.settings, result, server.config_id)
    return result.ok, result.message


# pytest must not take the specified name for a test.
test_smtp_connection.__test__ = False  # type: ignore[attr-defined]


def send_password_reset_email(user_email: str, reset_token: str, *, tag: str | None = None) -> bool:
    """Mail the link that holds this token. Never raises: a bad address gives False."""
    outcome = template_mail.send(user_email, "password_reset", tag, reset_url=reset_url(reset_token))
    return outcome is not None and _settled(outcome)


def send_order_notification(user_email: str, order_details: Mapping[str, object], *, tag: str | None = None) -> bool:
    """Mail an executed order. Never raises: a missing key prints as ``-``, control characters as spaces.

    ``currency`` among the details stands before the price; without it, what ORDER_CURRENCY says.
    """
    details = order_details if isinstance(order_details, Mapping) else {}
    values = {name: _order_value(details.get(name)) for name in _ORDER_FIELDS}
    if details.get("currency") is not None:
        values["currency"] = currency_before(printable(str(details["currency"]), _LONGEST_CURRENCY))
    outcome = template_mail.send(user_email, templates.ORDER, tag, **values)
    return outcome is not None and _settled(outcome)


def send_template(
    to_email: str,
    template: str,
    values: Mapping[str, object] | None = None,
    /,
    *,
    tag: str | None = None,
    **named: object,
) -> bool:
    """Render a template with these values, of either way of giving them, and make one attempt now.

    A template is one of ``templates/email``, or of your own in MAIL_TEMPLATES. Of the former none ever raises, and what
    went wrong is logged. A template of your own that is not there or broken, or that lacks a value, is a ValueError.
    """
    given = {**(values or {}), **named}
    if templates.is_built_in(template):
        outcome = template_mail.send(to_email, template, tag, **given)
        return outcome is not None and _settled(outcome)
    _need_application("send_template")
    return _settled(template_mail.send_checked(to_email, template, given, tag))


def queue_template(
    to_email: str | Sequence[str] | None,
    template: str,
    values: Mapping[str, object] | None = None,
    *,
    cc: str | Sequence[str] | None = None,
    bcc: str | Sequence[str] | None = None,
    reply_to: str | Sequence[str] | None = None,
    attachments: Sequence[Attachment] = (),
    account_id: int | None = None,
    from_email: str | None = None,
    idempotency_key: str | None = None,
    send_at: datetime | None = None,
    expires_at: datetime | None = None,
    priority: str = "normal",
    tag: str | None = None,
    session: Session | scoped_session[Any] | None = None,
) -> str:
    """Promise a mail from a template, as ``queue_email`` does; gives its id.

    Raises ValueError, naming the argument, for a template that is not there or broken, and for values that are missing.
    """
    _need_application("queue_template")
    given, sender = _plain_session(session), _chosen(from_email, account_id)
    if account_id is not None:
        personal_route.require(account_id, given)
    shown = templates.render_checked(template, values or {}, brand.current(given))
    mail = draft(
        to_email,
        shown.subject,
        shown.text,
        shown.html or None,
        cc=cc,
        bcc=bcc,
        reply_to=reply_to,
        attachments=[*attachments, *shown.attachments],
        kind=template,
        message_id_domain=route.message_id_domain(account_id, given),
        sender=sender,
        tag=tag,
    )
    # Not what it says: the same call again is the same mail, though how mails look was changed in between.
    asked = [to_email, template, templates.given(values or {}), cc, bcc, reply_to, attachments, sender]
    terms = Terms(
        priority=_priority(priority),
        send_at=send_at,
        expires_at=expires_at,
        idempotency_key=idempotency_key,
        digest=_digest(asked) if idempotency_key is not None else "",
        account_id=account_id,
    )
    return promise.enqueue(mail, terms, given)


def _need_application(name: str) -> None:
    """Say what a script has forgotten, before something deeper says it less clearly. Raises RuntimeError."""
    found = application.extensions()
    if found is None:
        raise RuntimeError(f"{name} needs the application: call it in a view, or inside `with app.app_context():`")
    if EXTENSION not in found:
        raise RuntimeError(
            f"{name} needs Sealpost’s application, and the current one is {current_app.name}: call it inside "
            "`with sealpost_context():` (docs/embedding.md)"
        )


def _plain_session(session: Session | scoped_session[Any] | None) -> Session | None:
    """Raises ValueError for one that finds its database by the application that is current, where that is another's."""
    own = session() if isinstance(session, scoped_session) else session
    if joined_session.is_anothers(own):
        raise ValueError("session: Pass what `with sealpost_context(session) as joined:` gives (docs/embedding.md).")
    return own


def _chosen(from_email: str | None, account_id: int | None) -> str:
    """The From that the caller chose, or ""."""
    if from_email and account_id is None:
        raise ValueError("from_email: Only an account’s email can have its own From. Pass account_id too.")
    return from_email or ""


def _priority(name: str) -> Priority:
    try:
        return Priority[name.upper()]
    except (KeyError, AttributeError):
        raise ValueError("priority: Pass security, normal or bulk.") from None


def _digest(asked: Sequence[object]) -> str:
    """Tells one mail from another, before anything random is added to it."""
    return hashlib.sha256(json.dumps(asked, default=_plain).encode()).hexdigest()


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, Attachment) and not value.content_id:  # as before there were any
        return {name: given for name, given in vars(value).items() if name != "content_id"}
    return vars(value)


def _order_value(value: object) -> str:
    return printable(str(value), _LONGEST_ORDER_VALUE) if value is not None and value != "" else "-"


def _settled(outcome: Outcome) -> bool:
    """Whether every recipient was accepted. Tells the administrators if a server was down for it."""
    notices.tell(outcome)
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
