"""Writing the numbers by which mail is found into rows that have none yet, or other ones."""

from collections.abc import Iterable

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session, defer

from database.attempt_db import IS_DIRECT, AttemptName, EmailAttempt
from database.mail_facets import is_unindexed
from database.outbox_db import OutboxMail, OutboxName


def has_unindexed(session: Session) -> bool:
    """Whether a mail, or an attempt at one that was sent directly, has no numbers yet."""
    mail = select(OutboxMail.id).where(is_unindexed()).limit(1)
    attempt = select(EmailAttempt.id).where(is_unindexed(str(IS_DIRECT))).limit(1)
    return session.scalar(mail) is not None or session.scalar(attempt) is not None


def unindexed_mails(session: Session, limit: int) -> list[OutboxMail]:
    """The newest first, without content, but for those that another transaction has in hand."""
    query = select(OutboxMail).options(defer(OutboxMail.content)).where(is_unindexed()).order_by(OutboxMail.id.desc())
    return list(session.scalars(query.limit(limit).with_for_update(skip_locked=True)))


def unindexed_attempts(session: Session, limit: int) -> list[EmailAttempt]:
    """The same of attempts at mails that were sent directly."""
    query = select(EmailAttempt).where(is_unindexed(str(IS_DIRECT))).order_by(EmailAttempt.id.desc())
    return list(session.scalars(query.limit(limit).with_for_update(skip_locked=True)))


def number_mail(session: Session, outbox_id: int, recipient_key: int | None, domain_key: int | None) -> None:
    values = {"recipient_key": recipient_key, "domain_key": domain_key}
    session.execute(update(OutboxMail).where(OutboxMail.id == outbox_id).values(values))


def name_mail(session: Session, outbox_id: int, names: Iterable[int]) -> None:
    """Let a mail to several be found by these numbers, and no others."""
    session.execute(delete(OutboxName).where(OutboxName.outbox_id == outbox_id))
    session.add_all(OutboxName(key=name, outbox_id=outbox_id) for name in names)


def name_attempt(session: Session, attempt_id: int, names: Iterable[int]) -> None:
    """The same of an attempt at a mail that was sent directly."""
    session.execute(delete(AttemptName).where(AttemptName.attempt_id == attempt_id))
    session.add_all(AttemptName(key=name, attempt_id=attempt_id) for name in names)


def names_of_attempt(session: Session, attempt_id: int) -> set[int]:
    return set(session.scalars(select(AttemptName.key).where(AttemptName.attempt_id == attempt_id)))


def attempts_at(session: Session, number: int) -> list[EmailAttempt]:
    """The attempts at mails that were sent directly to the address that this number stands for."""
    alone = session.scalars(select(EmailAttempt).where(IS_DIRECT, EmailAttempt.recipient_key == number))
    named = select(AttemptName.attempt_id).where(AttemptName.key == number)
    among = session.scalars(select(EmailAttempt).where(EmailAttempt.id.in_(named)))
    return sorted([*alone, *among], key=lambda attempt: attempt.id)


def forget_all(session: Session) -> None:
    """Take all numbers of addresses back: the key that they were made under is gone. Workers make new ones.

    What was sent directly keeps none but what its masks tell.
    """
    none = {"recipient_key": None, "domain_key": None}
    session.execute(delete(OutboxName))
    session.execute(delete(AttemptName))
    session.execute(update(OutboxMail).where(OutboxMail.recipient_key.is_not(None)).values(none))
    session.execute(update(EmailAttempt).where(EmailAttempt.recipient_key.is_not(None)).values(none))
