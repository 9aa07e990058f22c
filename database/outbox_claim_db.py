"""Who may work on a mail: claims with a lease, the fence before the body, results, and what a dead worker left.

Every change is compare-and-set on the lease's token, so that a worker that was paused, or whose lease another has
taken over, changes nothing any more.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Final, NamedTuple, cast

from sqlalchemy import (
    BindParameter,
    Boolean,
    Column,
    ColumnElement,
    Integer,
    Table,
    TextClause,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    null,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.orm import Session, defer

from database import outbox_turn_db
from database.driver import Driver
from database.engine import changed
from database.outbox_db import (
    IN_HAND,
    IN_TURNS,
    IS_HELD,
    IS_IN_HAND,
    IS_URGENT,
    IS_WAITING,
    OutboxMail,
    Priority,
    Recipient,
    State,
    among,
    literally,
)
from database.prepared import Prepared

GROUP: Final = 8  # mails that are claimed, fenced and settled together
CLAIMS_OF_ACCOUNTS: Final = 7_365_618  # what PostgreSQL's advisory locks of accounts are called, beside others
_MAIL: Final = cast(Table, OutboxMail.__table__)
_C: Final = _MAIL.c
_UNLEASED: Final = {"lease_until": null(), "leased_by": null()}
_FREE: Final = {"lease_token": null(), **_UNLEASED}
# What waits again: a mail whose fate was unknown before keeps that mark, and its server.
_WAITS_AGAIN: Final = case((_C.pinned_to.is_(None), State.DEFERRED), else_=State.UNCERTAIN)
_UNCHARGED: Final = {"state": _WAITS_AGAIN, "attempts": _C.attempts - 1, **_FREE}
# A link in a mail that came too late must not lie around; the content of other dead letters can be sent again.
_DEAD_CONTENT: Final = case((_C.priority == Priority.SECURITY, null()), else_=_C.content)


@dataclass(frozen=True, slots=True)
class Claim:
    """A mail that this worker holds. ``attempts`` counts this one."""

    id: int
    mail_id: str
    message_id: str
    kind: str
    account_id: int | None
    priority: int
    recipients: list[Recipient]
    content: bytes = field(repr=False)
    key_id: str
    created_at: datetime
    due_at: datetime
    expires_at: datetime
    attempts: int
    uncertain: int
    pinned_to: str | None
    lease_token: str


_COLUMNS: Final = tuple(_C[each.name] for each in fields(Claim))


class Settlement(NamedTuple):
    """What is written of a claimed mail once its fate for now is known; ``keep``: whether its content stays."""

    mail: int
    token: str
    state: State
    recipients: list[Recipient]
    keep: bool
    due_at: datetime
    settled_at: datetime | None
    attempts: int
    uncertain: int
    pinned_to: str | None
    reason: str
    server_key: int | None = None


def _claim(most: int, whose: ColumnElement[bool] | TextClause, *order: Column[Any]) -> Prepared:
    """The statement that takes up what is due of these mails, in the order of their index.

    The number is literal, since PostgreSQL plans for a tenth of all rows where it does not know it.
    """
    due = (
        select(_C.id)
        .where(IS_WAITING, whose, _C.due_at <= bindparam("now"))
        .order_by(*order, _C.due_at, _C.id)
        .limit(literal_column(str(most), Integer))
        .with_for_update(skip_locked=True)  # PostgreSQL; SQLite has one writer anyway
        .cte("due")  # as a plain subquery, PostgreSQL might ask anew and lock more than the limit
    )
    claimed = update(_MAIL).where(_C.id.in_(select(due.c.id)))
    return Prepared(claimed.values(_LEASED).returning(*_COLUMNS), _COLUMNS)


_LEASED: Final = {
    "state": State.LEASED,
    "attempts": _C.attempts + 1,
    "lease_token": bindparam("token"),
    "lease_until": bindparam("until"),
    "leased_by": bindparam("worker"),
}
_CLAIM_URGENT: Final = _claim(1, IS_URGENT)
_OF_SYSTEM: Final = {each: and_(_C.priority == literally(each), _C.account_id.is_(None)) for each in IN_TURNS}
_CLAIM_OF_SYSTEM: Final = {each: _claim(GROUP, whose) for each, whose in _OF_SYSTEM.items()}
# They are of no account; only by naming that does PostgreSQL know the index, and SQLite takes twice as long for it.
_ON_POSTGRESQL: Final = {each: _claim(GROUP, whose, _C.account_id) for each, whose in _OF_SYSTEM.items()}
_ACCOUNT: Final = bindparam("account", type_=Integer)
_IS_FREE: Final = ~outbox_turn_db.is_taken(_ACCOUNT, bindparam("now", type_=_C.due_at.type))
_IS_THEIRS: Final = and_(_C.account_id == _ACCOUNT, _IS_FREE)
_CLAIM_OF_ACCOUNT: Final = {each: _claim(GROUP, and_(_C.priority == literally(each), _IS_THEIRS)) for each in IN_TURNS}
# Of two that claim at once neither sees what the other takes. Who is second passes the account over, and waits for
# nobody; said before the claim, which then sees all that the first has committed.
_LOCK: Final = func.pg_try_advisory_xact_lock(literal_column(str(CLAIMS_OF_ACCOUNTS), Integer), _ACCOUNT)
_TAKE_ACCOUNT: Final = Prepared(
    select(case((outbox_turn_db.has_own_server(_ACCOUNT), _LOCK), else_=true())), [Column("is_free", Boolean)]
)
_THIS_ONE: Final = (IS_WAITING, _C.mail_id == bindparam("wanted"), _C.due_at <= bindparam("now"))
_CLAIM_THIS: Final = Prepared(update(_MAIL).where(*_THIS_ONE).values(_LEASED).returning(*_COLUMNS), _COLUMNS)
_IDS: Final = [f"id_{number}" for number in range(GROUP)]
_FENCE: Final = Prepared(
    update(_MAIL)
    .where(
        _C.id.in_([bindparam(name) for name in _IDS]),
        _C.lease_token == bindparam("token"),
        IS_IN_HAND,  # also TRANSMITTING, for the next server when one was down
        _C.lease_until > bindparam("now"),
    )
    .values(state=State.TRANSMITTING, pinned_to=bindparam("server"))
    .returning(_C.id),
    [_C.id],
)
# Bound names may not be a column's.
_TO_NAMES: Final = [f"to_{name}" for name in Settlement._fields]
_TO: Final[dict[str, BindParameter[Any]]] = {
    name: bindparam(f"to_{name}", type_=_C[name].type if name in _C else None) for name in Settlement._fields
}
# A mail that was held while its worker was away is settled by what that brings only if it is final.
_CAN_SETTLE: Final = or_(among(*IN_HAND, State.UNCERTAIN), and_(IS_HELD, _TO["settled_at"].is_not(None)))
_SETTLE: Final = Prepared(
    update(_MAIL)
    .where(_C.id == _TO["mail"], _C.lease_token == _TO["token"], _CAN_SETTLE)
    .values(
        {name: value for name, value in _TO.items() if name not in ("mail", "token", "keep")}
        | {"server_key": func.coalesce(_TO["server_key"], _C.server_key)}
        | {"content": case((bindparam("to_keep", type_=Boolean), _C.content), else_=null()), **_FREE}
    )
)


class LeaseTerms(NamedTuple):
    """On which a worker claims: what is due by ``now``, under a token and a lease that ends at ``until``."""

    now: datetime
    until: datetime
    token: str
    worker: str


def claim_urgent(driver: Driver, terms: LeaseTerms) -> list[Claim]:
    """Take up one security mail that is due, the one that was due first."""
    return [Claim(*row) for row in _CLAIM_URGENT.rows(driver, terms._asdict())]


def claim(driver: Driver, priority: Priority, account_id: int | None, terms: LeaseTerms) -> list[Claim]:
    """Take up a group of one priority that is due, of an account or of the system; the longest due first.

    None of an account that has a server of its own while a worker has another group of it.
    """
    values: dict[str, Any] = terms._asdict()
    is_sqlite = driver.dialect.name == "sqlite"
    if account_id is None:
        rows = (_CLAIM_OF_SYSTEM if is_sqlite else _ON_POSTGRESQL)[priority].rows(driver, values)
    else:
        values["account"] = account_id
        is_ours = is_sqlite or _TAKE_ACCOUNT.rows(driver, values)[0][0]
        rows = _CLAIM_OF_ACCOUNT[priority].rows(driver, values) if is_ours else []
    return sorted([Claim(*row) for row in rows], key=lambda mail: (mail.due_at, mail.id))


def claim_this(driver: Driver, mail_id: str, terms: LeaseTerms) -> Claim | None:
    """Take this very mail, if it waits and is due."""
    values = {**terms._asdict(), "wanted": mail_id}
    return next((Claim(*row) for row in _CLAIM_THIS.rows(driver, values)), None)


def fence(driver: Driver, mails: Sequence[Claim], *, server: str, now: datetime) -> set[int]:
    """The ids of those that this worker still holds, marked as on their way to ``server``; the others are another's.

    They are of one group.
    """
    first = mails[0]
    ids = {name: mails[place].id if place < len(mails) else first.id for place, name in enumerate(_IDS)}
    values = {**ids, "token": first.lease_token, "now": now, "server": server}
    return {row[0] for row in _FENCE.rows(driver, values)}


def settle(driver: Driver, settlements: Iterable[Settlement]) -> None:
    """Write what became of mails that are still in hand, or that nobody has taken up since; nothing for the others."""
    # In one order, so that no two wait for each other.
    in_order = sorted(settlements, key=lambda settlement: settlement.mail)
    _SETTLE.run(driver, [dict(zip(_TO_NAMES, each, strict=True)) for each in in_order])


def renew(session: Session, token: str, ids: Sequence[int], until: datetime) -> int:
    """The heartbeat: put the end of a lease off; how many mails are still in hand under it."""
    in_hand = update(_MAIL).where(_C.id.in_(ids), _C.lease_token == token, IS_IN_HAND)
    return changed(session, in_hand.values(lease_until=until))


def release(session: Session, token: str, ids: Sequence[int], now: datetime) -> int:
    """Give back mails that were claimed and not begun, uncharged; how many."""
    unbegun = update(_MAIL).where(_C.id.in_(ids), _C.lease_token == token, _C.state == State.LEASED)
    return changed(session, unbegun.values(due_at=now, **_UNCHARGED))


def shorten(session: Session, longest: datetime, until: datetime) -> None:
    """Let leases that end after ``longest`` end at ``until``; whoever is alive puts that off again.

    Given while the clock was ahead, one would hold a dead worker's mail until the clock is there once more.
    """
    ahead = _idle(IS_IN_HAND, _C.lease_until > longest)
    session.execute(update(_MAIL).where(_C.id.in_(ahead)).values(lease_until=until))


def reap_leased(session: Session, now: datetime) -> list[str]:
    """Mails that a worker claimed, and died before their body: due again at once, uncharged. Gives their ids."""
    dead = _idle(IS_IN_HAND, _C.lease_until < now, _C.state == State.LEASED)
    return _written(session, dead, due_at=now, **_UNCHARGED)


def lost(session: Session, now: datetime) -> list[OutboxMail]:
    """Mails that a worker was handing over when it died, before they are reaped; without their content."""
    dead = select(OutboxMail).options(defer(OutboxMail.content)).where(*_lost_before(now))
    return list(session.scalars(dead.with_for_update(skip_locked=True)))


def reap_transmitting(session: Session, now: datetime, again_at: datetime, reason: str) -> list[str]:
    """Mails that a worker was handing over when it died: nobody knows their fate. Gives their ids.

    Their token stays, so that the worker's result still counts if it was only late, or could not be written.
    """
    unknown = {"state": State.UNCERTAIN, "uncertain": _C.uncertain + 1, "reason": reason}
    return _written(session, _idle(*_lost_before(now)), due_at=again_at, **unknown, **_UNLEASED)


def give_up_uncertain(session: Session, most: int, now: datetime, reason: str) -> list[str]:
    """Settle such mails whose fate is unknown for the ``most``-th time: another try could only double them.

    Gives their ids.
    """
    doubled = _idle(*_lost_before(now), _C.uncertain + 1 >= most)
    values = {"uncertain": most, "pinned_to": null(), "reason": reason, **_FREE}
    return _written(session, doubled, state=State.FAILED, content=_DEAD_CONTENT, settled_at=now, **values)


def expire(session: Session, most: int, now: datetime, reason: str) -> list[str]:
    """Settle up to ``most`` mails that waited for longer than they may. Gives their ids."""
    late = _idle(IS_WAITING, _C.expires_at <= now).limit(most)
    return _written(session, late, state=State.EXPIRED, content=_DEAD_CONTENT, settled_at=now, reason=reason)


def _lost_before(now: datetime) -> tuple[Any, ...]:
    """Mails whose worker has died while a server might have taken them."""
    return IS_IN_HAND, _C.lease_until < now, _C.state == State.TRANSMITTING


def _written(session: Session, ids: Any, **values: Any) -> list[str]:  # noqa: ANN401 - a shape, and SQL values
    """Write these values on such mails; their ids as the callers know them."""
    return list(session.scalars(update(_MAIL).where(_C.id.in_(ids)).values(**values).returning(_C.mail_id)))


def _idle(*where: Any) -> Any:  # noqa: ANN401 - SQL conditions, and a shape
    """The ids of such mails, but for those that another transaction has in hand just now.

    PostgreSQL would wait for it: every sweep of every worker, for as long as a machine is frozen in the middle of one.
    """
    return select(_C.id).where(*where).with_for_update(skip_locked=True)
