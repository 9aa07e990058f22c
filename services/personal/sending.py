"""Sending over HTTP: the mails of one call are taken, all of them or none, and each caller hears who will send them."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from database import user_db
from database.engine import transaction
from services.accounts import api_tokens
from services.message import brand, templates
from services.message.brand import Brand
from services.message.draft import Draft, draft
from services.message.templates import MissingValues, Rendered
from services.outbox import log as mail_log
from services.outbox import promise
from services.outbox.facts import SETTLED, MailFacts
from services.outbox.promise import KeyTaken, Terms
from services.personal import at_once, waiting, who_sends
from services.personal.mail_fields import MailCall, MailFields, refused_argument
from services.personal.who_sends import WhoSends
from services.settings import route, usable_senders
from services.settings.personal_route import UnusableAccount
from utils.addresses import InvalidAddress, parse_mailbox
from utils.errors import Forbidden, InvalidInput, NotFound

log = structlog.get_logger(__name__)

_SYSTEM_MAIL: Final = "With ADMIN_TOKEN, email comes from the global address. Leave this out."
_NOT_CONFIRMED: Final = (
    "This address is not confirmed as yours. Add it to your senders, and follow the link sent there."
)
_OURS_ALONE: Final = "template: Only Sealpost sends this one. Use a template of your installation’s own."
_GONE: Final = "The account is disabled or deleted, or the token was revoked."
_REFUSED: Final = "Nothing was queued. Check the fields."


@dataclass(frozen=True, kw_only=True)
class SendingFor:
    """Whose mail it is, None for the system's, and the token that is shown, if it is one of an account."""

    account_id: int | None
    token_id: int | None = None


class KeyConflict(InvalidInput):
    """A key was used before, for another mail."""

    status = 409


@dataclass(frozen=True, kw_only=True)
class TakenMail:
    """A mail that was promised. ``is_duplicate``: by an earlier call with the same key.

    ``mail`` is how it stands where that is more than just queued.
    """

    id: str
    message_id: str
    who: WhoSends
    is_duplicate: bool
    mail: MailFacts | None

    @property
    def is_settled(self) -> bool:
        return self.mail is not None and self.mail.state in SETTLED


def take(asked: MailCall, caller: SendingFor) -> list[TakenMail]:
    """Promise the mails, in one transaction; if one is to be waited for, try it first.

    Raises InvalidInput for refused fields, KeyConflict, Forbidden if the caller may not send any more, TooMany if too
    much of its mail waits. Nothing fails once they are promised: who is told of a failure sends again.
    """
    try:
        drafts = _composed(asked, caller)
        who = who_sends.of_next(caller.account_id)
    except UnusableAccount:
        raise Forbidden(_GONE) from None
    terms = [_terms(mail, caller) for mail in asked.mails.values()]
    attempt = at_once.attempt_for(caller.account_id) if asked.waits else None
    try:
        with transaction() as session:
            check_caller(session, caller)
            if caller.account_id is not None:
                is_new = promise.are_new(session, terms)
                waiting.check(session, caller.account_id, [len(mail.rest) for mail in compress(drafts, is_new)])
            ids = _promised(session, asked, drafts, terms)
            earlier = [mail_id for mail_id, mail in zip(ids, drafts, strict=True) if mail_id != mail.mail_id]
            stand = mail_log.as_they_stand(session, earlier)
            if attempt and not earlier:
                attempt.claim(session, ids[0])
    except BaseException:
        if attempt:
            attempt.leave()
        raise
    if attempt and attempt.run():
        stand, who = _after_attempt(ids[0], caller, who)
    return [
        TakenMail(
            id=mail_id,
            message_id=stand[mail_id].message_id if mail_id in stand else mail.message_id,
            who=who,
            is_duplicate=mail_id != mail.mail_id,
            mail=stand.get(mail_id),
        )
        for mail_id, mail in zip(ids, drafts, strict=True)
    ]


def _after_attempt(mail_id: str, caller: SendingFor, who: WhoSends) -> tuple[dict[str, MailFacts], WhoSends]:
    """How the mail stands and which server had it in the end, if the database tells."""
    try:
        story = mail_log.story(mail_id, caller.account_id)
    except (SQLAlchemyError, NotFound) as failure:  # NotFound: the account was deleted meanwhile
        log.error("attempt_not_read", kind=type(failure).__name__, mail=mail_id)
        return {}, who
    servers = [each.server for each in story.attempts]
    return {mail_id: story.mail}, who_sends.in_the_end(who, servers)


def _composed(asked: MailCall, caller: SendingFor) -> list[Draft]:
    """Each mail written out. Raises InvalidInput with all that is wrong with any of them."""
    domain = route.message_id_domain(caller.account_id)
    refusals = {sender: _sender_refused(sender, caller) for sender in {mail.sender for mail in asked.mails.values()}}
    found: list[Draft] = []
    look = brand.current() if any(mail.template is not None for mail in asked.mails.values()) else brand.usual()
    for place, mail in asked.mails.items():
        if refusal := refusals[mail.sender]:
            asked.refuse(place, "from", refusal)
        try:
            found.append(_draft(mail, _shown(mail, look), domain, sender="" if refusal else mail.sender))
        except MissingValues as error:
            for name in error.names:
                asked.refuse(place, f"values.{name}", "This is missing.")
            if not error.names:
                asked.refuse(place, *refused_argument(error))
        except ValueError as error:
            asked.refuse(place, *refused_argument(error))
    if asked.errors:
        raise InvalidInput(asked.errors, _REFUSED)
    return found


def _shown(mail: MailFields, look: Brand) -> Rendered:
    """What a mail says. Raises ValueError for a template that cannot be sent so."""
    if mail.template is None:
        return Rendered(mail.subject, mail.text, mail.html)
    if not templates.is_for_applications(mail.template):
        raise ValueError(_OURS_ALONE)
    return templates.render_checked(mail.template, mail.values or {}, look)


def _draft(mail: MailFields, shown: Rendered, domain: str, sender: str) -> Draft:
    return draft(
        mail.to or None,
        shown.subject,
        shown.text,
        shown.html or None,
        cc=mail.cc or None,
        bcc=mail.bcc or None,
        reply_to=mail.reply_to or None,
        attachments=[*mail.files, *shown.attachments],
        kind=mail.template or "other",
        track_opens=mail.track,
        message_id_domain=domain,
        sender=sender,
    )


def _sender_refused(sender: str, caller: SendingFor) -> str:
    """Why this From address may not be used; "" if it may, or none was chosen."""
    if not sender:
        return ""
    if caller.account_id is None:
        return _SYSTEM_MAIL
    try:
        _, address = parse_mailbox(sender)
    except InvalidAddress as error:
        return str(error)
    return "" if usable_senders.may_use(caller.account_id, address) else _NOT_CONFIRMED


def check_caller(session: Session, caller: SendingFor) -> None:
    """Whatever happened since the call began: an account that is going away sends nothing more. Raises Forbidden.

    Until the transaction ends, no other call of the account gets past this.
    """
    if caller.account_id is None:
        return
    account = user_db.lock(session, caller.account_id)
    if account is None or account.disabled_at or not api_tokens.is_still_good(session, caller.token_id):
        raise Forbidden(_GONE)


def _promised(session: Session, asked: MailCall, drafts: Sequence[Draft], terms: Sequence[Terms]) -> list[str]:
    """The mails' ids, in order."""
    ids: dict[int, str] = {}
    mails = zip(asked.mails, drafts, terms, strict=True)
    # In the order of their keys: of two calls with the same ones, none waits for the other while that waits for it.
    for place, composed, theirs in sorted(mails, key=lambda each: each[2].idempotency_key or ""):
        try:
            ids[place] = promise.enqueue(composed, theirs, session)
        except KeyTaken as error:
            asked.refuse(place, *refused_argument(error))
    if asked.errors:
        raise KeyConflict(asked.errors, "A key was already used for another email. Nothing was queued.")
    return [ids[place] for place in asked.mails]


def _terms(mail: MailFields, caller: SendingFor) -> Terms:
    return Terms(
        send_at=mail.send_at,
        idempotency_key=mail.idempotency_key,
        digest=_digest(mail) if mail.idempotency_key is not None else "",
        account_id=caller.account_id,
        tag=mail.tag,
    )


def _digest(mail: MailFields) -> str:
    """Tells one mail from another, but not when it is to be sent."""
    files = [(file.filename, file.content_type, file.content_id, file.content) for file in mail.files]
    told = [
        *(mail.to, mail.cc, mail.bcc, mail.subject, mail.text, mail.html, mail.reply_to, mail.sender, mail.tag),
        *(["track"] if mail.track else ()),
        *([["template", mail.template, mail.values or {}]] if mail.template is not None else ()),
        *((*names, hashlib.sha256(content).hexdigest()) for *names, content in files),
    ]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()
