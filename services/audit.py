"""Writing down who did what, in the transaction of what they did, and reading it again."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy.orm import Session

from database import audit_db
from database.audit_db import AuditEvent
from database.engine import reading, transaction
from utils import clock
from utils.env_utils import get_settings
from utils.log_utils import printable

PAGE: Final = 100
EXPORT_LIMIT: Final = 100_000


class Action(StrEnum):
    """What can happen."""

    CREATED = "created"
    UPDATED = "updated"
    ACTIVATED = "activated"
    DEACTIVATED = "deactivated"
    DELETED = "deleted"
    TESTED = "tested"
    VIEWED = "viewed"
    KEY_ROTATED = "key_rotated"
    TOKEN_CREATED = "token_created"  # noqa: S105 - the name of an action
    TOKEN_REVOKED = "token_revoked"  # noqa: S105
    SIGNED_IN = "signed_in"
    SIGN_IN_FAILED = "sign_in_failed"
    SIGNED_OUT = "signed_out"
    LOCKED_OUT = "locked_out"
    UNLOCKED = "unlocked"
    REFUSED = "refused"
    PASSWORD_RESET = "password_reset"  # noqa: S105
    PASSWORD_CHANGED = "password_changed"  # noqa: S105
    EMAIL_CHANGE_ASKED = "email_change_asked"
    EMAIL_CHANGE_WITHDRAWN = "email_change_withdrawn"
    EMAIL_CHANGED = "email_changed"
    SESSIONS_ENDED = "sessions_ended"
    FACTOR_ENROLLED = "factor_enrolled"
    FACTOR_REMOVED = "factor_removed"
    RECOVERY_CODES_MADE = "recovery_codes_made"
    SECOND_FACTOR_FAILED = "second_factor_failed"
    SECOND_FACTOR_RESET = "second_factor_reset"
    PASSKEY_COUNT_FELL = "passkey_count_fell"
    STEPPED_UP = "stepped_up"
    FACTOR_POLICY_CHANGED = "factor_policy_changed"
    ACCOUNT_CREATED = "account_created"
    ACCOUNT_INVITED = "account_invited"
    INVITATION_ACCEPTED = "invitation_accepted"
    ACCOUNT_DISABLED = "account_disabled"
    ACCOUNT_ENABLED = "account_enabled"
    ACCOUNT_PROMOTED = "account_promoted"
    ACCOUNT_DEMOTED = "account_demoted"
    ACCOUNT_DELETED = "account_deleted"
    SIGN_IN_LINK_ISSUED = "sign_in_link_issued"
    IDENTITY_LINKED = "identity_linked"
    IDENTITY_UNLINKED = "identity_unlinked"
    SENDER_ADDED = "sender_added"
    SENDER_CONFIRMED = "sender_confirmed"
    SENDER_REMOVED = "sender_removed"
    MAIL_RETRIED = "mail_retried"
    MAIL_CANCELLED = "mail_cancelled"
    MAIL_CORRECTED = "mail_corrected"
    MAIL_PURGED = "mail_purged"
    MAIL_HELD = "mail_held"
    MAIL_RELEASED = "mail_released"
    MAIL_EXPORTED = "mail_exported"
    OWN_SERVER_DISABLED = "own_server_disabled"
    OWN_SERVER_ALLOWED = "own_server_allowed"
    OWN_SERVER_BYPASSED = "own_server_bypassed"
    OWN_SERVER_DELETED = "own_server_deleted"
    LIMITS_CHANGED = "limits_changed"
    POLICY_CHANGED = "policy_changed"
    TEMPLATE_SAVED = "template_saved"
    TEMPLATE_DELETED = "template_deleted"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    SIGN_IN_NEEDED = "sign_in_needed"
    GRANT_REVOKED = "grant_revoked"
    GRANT_LEFT = "grant_left"  # the provider was not told, or did not hear
    DATABASE_RESTORED = "database_restored"
    ADDRESS_SUPPRESSED = "address_suppressed"
    SUPPRESSION_REMOVED = "suppression_removed"
    SUPPRESSION_IMPORTED = "suppression_imported"
    PERSON_EXPORTED = "person_exported"
    PERSON_FORGOTTEN = "person_forgotten"
    ALERT_CHANNEL_SAVED = "alert_channel_saved"
    ALERT_CHANNEL_DELETED = "alert_channel_deleted"
    ALERT_RULES_SAVED = "alert_rules_saved"
    BRANDING_SAVED = "branding_saved"


@dataclass(frozen=True)
class Actor:
    """Who acts, as the trail names them, and from where: an address, or the command line.

    ``origin`` is how, where that is known, and names nobody: ``command``, ``admin_token``, or ``token:`` and its id.
    """

    name: str
    source: str
    origin: str = ""


COMMAND, ADMIN_TOKEN, OF_TOKEN = "command", "admin_token", "token:"
NOBODY: Final = Actor("system", "application")

_actor: ContextVar[Actor] = ContextVar("actor", default=NOBODY)


def acting_as(actor: Actor) -> Token[Actor]:
    """Say who acts from here on, in this request or command; ``stop_acting`` ends it with what is returned."""
    return _actor.set(actor)


def stop_acting(token: Token[Actor]) -> None:
    """Put back who acted before, so that the next request of this thread is not taken for this one's actor."""
    _actor.reset(token)


@contextmanager
def acting(actor: Actor) -> Iterator[None]:
    """Let this actor act within the block, and who acted before after it."""
    token = acting_as(actor)
    try:
        yield
    finally:
        stop_acting(token)


def actor() -> Actor:
    return _actor.get()


def record(session: Session, action: Action, subject: str, details: Iterable[str] = (), *, by: str = "") -> None:
    """Add an event to the caller's transaction, so that it stands there exactly if what it tells of happened.

    ``by`` names another actor than the present one: whoever signs in has not acted under that name before.
    """
    who = _actor.get()
    session.add(
        AuditEvent(
            at=clock.now(),
            actor=printable(by or who.name, audit_db.LONGEST_ACTOR),
            source=printable(who.source, audit_db.LONGEST_SOURCE),
            action=action,
            subject=printable(subject, audit_db.LONGEST_SUBJECT),
            details=printable(", ".join(details), audit_db.LONGEST_DETAILS),
        )
    )


def note(action: Action, subject: str, details: Iterable[str] = ()) -> None:
    """Record something that changed nothing else: a view, a test, a failed sign-in."""
    with transaction() as session:
        record(session, action, subject, details)


def events(*, action: str = "", text: str = "", before_id: int | None = None, limit: int = PAGE) -> list[AuditEvent]:
    """The newest events first."""
    with reading() as session:
        # Databases refuse very long patterns, and PostgreSQL a NUL in any text; no row holds either.
        text = printable(text, audit_db.LONGEST_SUBJECT)
        return audit_db.find(session, action=action, text=text, before_id=before_id, limit=limit)


def purge() -> None:
    """Delete what is older than AUDIT_RETENTION_DAYS; 0 keeps everything."""
    days = get_settings().audit_retention_days
    if days:
        with transaction() as session:
            audit_db.delete_before(session, clock.now() - timedelta(days=days))
