"""What becomes of a server's sign-in by token when the server changes or goes: it is forgotten, and its grant revoked.

It is forgotten with the caller's change. The provider is told once, after the commit and beside everything else: one
that is down keeps nobody from leaving. The audit trail says what came of it.
"""

import threading
from collections.abc import Sequence
from functools import partial
from typing import Final

import structlog
from flask import Flask, current_app
from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction

from database import oauth_db
from database.smtp_db import SmtpConfig
from services import audit
from services.audit import Action, Actor
from services.oauth import consents, keeping
from services.oauth.providers import OAuthProvider, UnusableProvider
from services.oauth.registration import Registration
from services.oauth.sealed import SignInCondition, StoredSignIn, unsealed
from services.settings.config_trail import subject_of
from services.smtp.settings import SmtpSettings
from utils import incidents
from utils.log_utils import logged

log = structlog.get_logger(__name__)

THREAD: Final = "grant-revoker"
# Where whoever has signed in takes back what they granted, if they are to do it themselves.
TAKEN_BACK_AT: Final = {
    OAuthProvider.MICROSOFT: "myapps.microsoft.com",
    OAuthProvider.GOOGLE: "myaccount.google.com/connections",
    OAuthProvider.FASTMAIL: "app.fastmail.com, Settings, Connected apps",
    OAuthProvider.CUSTOM: "the provider",
}
# The same where the application signs in by itself.
_APPLICATION_AT: Final = {
    OAuthProvider.MICROSOFT: "entra.microsoft.com, Enterprise applications",
    OAuthProvider.GOOGLE: "admin.google.com, Domain-wide delegation",
}
_PROBLEMS: Final = {
    SignInCondition.KEY_MISSING: "The stored connection cannot be read. Restore APP_KEY or connect the server again.",
    SignInCondition.ALTERED: "The stored connection was changed outside Sealpost. Connect the server again.",
}
_TO_REVOKE: Final = "sealpost_to_revoke"


def find(session: Session, row: SmtpConfig) -> StoredSignIn | None:
    """The sign-in of a server as it is now, held until the transaction's end: nobody renews it meanwhile."""
    found = oauth_db.held(session, row.id)
    return unsealed(found, row, is_personal=keeping.is_personal(session, row)) if found else None


def forget(session: Session, row: SmtpConfig, known: StoredSignIn | None = None) -> StoredSignIn | None:
    """Take the sign-in of a server out, in the caller's transaction, after whose commit the grant is revoked.

    ``known`` is what it was before the server changed, to which it is bound. Gives what it was, if there was one.
    """
    known = known or find(session, row)
    if known is None:
        return None
    consents.forget(session, row)
    audit.record(session, Action.DISCONNECTED, subject_of(row), _told(known))
    if known.consent and not known.registration.is_app_only:
        _revoke_after_commit(session, known, subject_of(row))
    return known


def register(session: Session, row: SmtpConfig, registration: Registration) -> None:
    """Write a registration, in the caller's transaction; a grant that was another application's is revoked after it.

    Raises NotFound if the server was deleted meanwhile.
    """
    known = find(session, row)
    after = consents.register(session, row, registration)
    if known and known.refresh_token and not after.refresh_token:
        _revoke_after_commit(session, known, subject_of(row))


def follow(session: Session, row: SmtpConfig, known: StoredSignIn, before: SmtpSettings, after: SmtpSettings) -> None:
    """Let the sign-in follow its server, which was just changed.

    Whoever enters a password signs in with that. What was granted says nothing of another mailbox or another host; what
    is registered stays, where its tokens may go to the new host at all.
    """
    is_left = before.is_by_token and not after.is_by_token
    if not is_left and (before.host, before.username) == (after.host, after.username):
        return
    forget(session, row, known)
    if not is_left and known.is_usable and _may_go_to(known, after.host):
        consents.register(session, row, known.registration)


def of(session: Session, rows: Sequence[SmtpConfig]) -> dict[int, StoredSignIn]:
    """The sign-ins of these servers, by the ids of the servers that have one."""
    found = oauth_db.of(session, [row.id for row in rows])
    return {row.id: unsealed(found[row.id], row) for row in rows if row.id in found}


def problem_of(known: StoredSignIn) -> str:
    """Why a stored sign-in cannot be used at all, and what to do; "" for a good one."""
    return _PROBLEMS.get(known.condition, "")


def taken_back_at(known: StoredSignIn) -> str:
    """Where whoever has signed in takes back the grant themselves; "" where revoking it here is enough."""
    if _can_be_revoked(known):
        return ""
    places = _APPLICATION_AT if known.registration.is_app_only else TAKEN_BACK_AT
    return places.get(known.registration.provider, TAKEN_BACK_AT[OAuthProvider.CUSTOM])


def _told(known: StoredSignIn) -> list[str]:
    if not known.consent:
        return ["no one had signed in yet"]
    return [f"signed in as {known.mailbox}"] if known.mailbox else []


def _may_go_to(known: StoredSignIn, host: str) -> bool:
    """Not what was entered for one pair of a mail server and a token service."""
    if known.registration.provider is OAuthProvider.CUSTOM:
        return False
    try:
        return bool(known.registration.token_provider(host, may_be_plain=keeping.policy().may_be_plain))
    except UnusableProvider:
        return False


def _can_be_revoked(known: StoredSignIn) -> bool:
    try:
        by = keeping.policy(for_account=known.is_personal)
        provider = known.registration.token_provider(known.smtp_host, may_be_plain=by.may_be_plain)
    except UnusableProvider:
        return False
    return bool(provider.revoke_url and known.refresh_token)


def _revoke_after_commit(session: Session, known: StoredSignIn, subject: str) -> None:
    if not event.contains(session, "after_commit", _committed):  # on this session: others are not ours
        event.listen(session, "after_commit", _committed)
        event.listen(session, "after_soft_rollback", _rolled_back)
    session.info.setdefault(_TO_REVOKE, []).append((known, subject))


def _committed(session: Session) -> None:
    if session.in_nested_transaction():  # a savepoint that is released
        return
    for known, subject in session.info.pop(_TO_REVOKE, []):
        app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
        work = partial(_revoke, app, audit.actor(), known, subject)
        # Not a daemon: a command ends once this is done.
        thread = threading.Thread(target=incidents.watched(work), name=THREAD, daemon=False)
        with logged(log.error, "grant_not_revoked", RuntimeError, config_id=known.config_id):  # the process ends
            thread.start()


def _rolled_back(session: Session, previous: SessionTransaction) -> None:
    if previous.parent is None:
        session.info.pop(_TO_REVOKE, None)


def _revoke(app: Flask, by: Actor, known: StoredSignIn, subject: str) -> None:
    with app.app_context(), audit.acting(by):
        if consents.revoke(known):
            audit.note(Action.GRANT_REVOKED, subject)
        else:
            audit.note(Action.GRANT_LEFT, subject, [f"take it back at {TAKEN_BACK_AT[known.registration.provider]}"])
