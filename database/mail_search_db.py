"""The mail log, searched: queued mail and direct mail by the same filters, each state by an index of its own.

A list is put together from one ordered list of each state, and so never reads more than it shows of each. Where a
number of an address is asked for, rows that have none yet are looked at one by one; there are none but after an
upgrade, or while the key of addresses is away.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    FromClause,
    Integer,
    Select,
    String,
    Text,
    TextClause,
    cast,
    exists,
    false,
    func,
    literal,
    literal_column,
    or_,
    select,
    text,
    tuple_,
    union_all,
)
from sqlalchemy.orm import Session, defer

from database.attempt_db import IS_DIRECT, AttemptName, EmailAttempt
from database.mail_facets import PAIRS, SEVERAL, is_unindexed, key_of
from database.outbox_db import (
    IN_HAND,
    IS_IN_HAND,
    IS_SETTLED,
    IS_UNSENT,
    SETTLED,
    OutboxMail,
    OutboxName,
    State,
)
from database.types import UtcDateTime

_OUTCOMES: Final[dict[State, tuple[str, ...]]] = {
    State.SENT: ("accepted",),
    State.FAILED: ("temporary", "permanent", "misconfigured", "not_configured", "throttled"),
    State.UNCERTAIN: ("unknown",),
    State.SUPPRESSED: ("suppressed",),
}
_HAS_CAUSE: Final = text("reason <> ''")
_WITH_DETAIL: Final = ("account_limit", "global_limit", "failed_before_sending")  # the codes behind which one may stand
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
_RAREST_FIRST: Final = ("recipient_key", "reason", "account_id", "tag", "domain_key", "server_key")
_AT: Final = literal_column("at", UtcDateTime())
_ID: Final = literal_column("id", Integer())
_PROBED: Final = 20_000  # rows: fewer are read within a few milliseconds, whatever else is asked of them


@dataclass(frozen=True, kw_only=True)
class SearchTerms:
    """What is true of the rows that are wanted; what is empty is true of all.

    ``recipient`` is in its canonical form, ``number`` stands for it in the columns; None: there is no key yet.
    """

    recipient: str = ""
    number: int | None = None
    message_id: str = ""
    tag: str = ""
    states: Sequence[State] = ()
    server: str = ""
    account_id: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    cause: str = ""

    @property
    def is_domain(self) -> bool:
        return bool(self.recipient) and "@" not in self.recipient


class _Place(NamedTuple):
    """Of a row in the order of the log, which is by time."""

    at: datetime
    id: int


class _Part(NamedTuple):
    """Rows of a table that are in one state, and the condition of the partial indexes that they are in."""

    condition: TextClause
    state: str


class _Shape(NamedTuple):
    """A table of the log.

    Statements name the columns of tables, not those of mapped classes: to put one together took longer than to read.
    """

    rows: FromClause
    state: ColumnElement[str]  # columns of it
    moment: ColumnElement[datetime]
    names: FromClause  # of several recipients, and its column for a row of the first one
    named: ColumnElement[int]
    parts: Sequence[_Part]


def _condition_of(state: State) -> TextClause:
    if state in SETTLED:
        return IS_SETTLED
    return IS_IN_HAND if state in IN_HAND else IS_UNSENT


_MAILS: Final = OutboxMail.__table__
_ATTEMPTS: Final = EmailAttempt.__table__
_QUEUED: Final = _Shape(
    _MAILS,
    _MAILS.c.state,
    _MAILS.c.created_at,
    OutboxName.__table__,
    OutboxName.__table__.c.outbox_id,
    [_Part(_condition_of(state), state) for state in State],
)
_DIRECT: Final = _Shape(
    _ATTEMPTS,
    _ATTEMPTS.c.outcome,
    _ATTEMPTS.c.started_at,
    AttemptName.__table__,
    AttemptName.__table__.c.attempt_id,
    [_Part(IS_DIRECT, outcome) for outcomes in _OUTCOMES.values() for outcome in outcomes],
)


def page(session: Session, wanted: SearchTerms, before: int | None, limit: int) -> list[OutboxMail]:
    """The newest mails first, without content; with ``before`` only those that are older than that one."""
    ids = [place.id for place in _places(session, _QUEUED, wanted, _before(session, _QUEUED, before), limit)]
    query = select(OutboxMail).options(defer(OutboxMail.content)).where(OutboxMail.id.in_(ids))
    rows = {row.id: row for row in session.scalars(query)}
    return [rows[each] for each in ids if each in rows]


def direct(session: Session, wanted: SearchTerms, before: int | None, limit: int) -> list[EmailAttempt]:
    """The newest attempts at mails that were sent directly, likewise."""
    ids = [place.id for place in _places(session, _DIRECT, wanted, _before(session, _DIRECT, before), limit)]
    rows = {row.id: row for row in session.scalars(select(EmailAttempt).where(EmailAttempt.id.in_(ids)))}
    return [rows[each] for each in ids if each in rows]


def ids(session: Session, wanted: SearchTerms, before: int | None, limit: int, newest: int) -> list[tuple[int, str]]:
    """The numbers and the ids of the newest mails, of none that was added after number ``newest``."""
    start = _before(session, _QUEUED, before)
    numbers = [place.id for place in _places(session, _QUEUED, wanted, start, limit, OutboxMail.id <= newest)]
    found = select(OutboxMail.id, OutboxMail.mail_id).where(OutboxMail.id.in_(numbers))
    by_number = {row[0]: row[1] for row in session.execute(found)}
    return [(each, by_number.get(each, "")) for each in numbers]


def newest(session: Session) -> int:
    """The highest number of a mail."""
    return session.scalar(select(func.max(OutboxMail.id))) or 0


def count(session: Session, wanted: SearchTerms, most: int | None = None) -> int:
    """How many queued mails there are; of each part of the log no more than ``most`` are counted."""
    found = [
        select(literal_column("1")).select_from(_MAILS).where(*each).limit(most).subquery()
        for each in _conditions(session, _QUEUED, wanted)
    ]
    counted = [select(func.count().label("mails")).select_from(part) for part in found]
    if not counted:
        return 0
    parts = union_all(*counted).subquery()
    return session.scalar(select(func.sum(literal_column("mails"))).select_from(parts)) or 0


def counts(session: Session, most: int) -> dict[State, int]:
    """How many queued mails are in each state but SENT, up to ``most``: a page has no time to count a million."""
    return {State(state): mails for state, mails in session.execute(_counts(most)) if mails}


@cache
def _counts(most: int) -> CompoundSelect[str, int]:
    enough = literal_column(str(most), Integer)  # literal, since PostgreSQL plans by it
    found = []
    for part in _QUEUED.parts:
        if part.state != State.SENT:
            mails = select(_MAILS.c.id).where(part.condition, text(f"state = '{part.state}'")).limit(enough).subquery()
            found.append(select(literal_column(f"'{part.state}'", String), func.count()).select_from(mails))
    return union_all(*found)


def _before(session: Session, shape: _Shape, before: int | None) -> _Place | None:
    """Where in the order a row is; of one that was deleted, where the one before it is."""
    if before is None:
        return None
    at = session.scalar(select(shape.moment).where(shape.rows.c.id <= before).order_by(shape.rows.c.id.desc()).limit(1))
    return _Place(at or _LONG_AGO, before)


def _places(
    session: Session,
    shape: _Shape,
    wanted: SearchTerms,
    start: _Place | None,
    limit: int,
    *conditions: ColumnElement[bool],
) -> list[_Place]:
    """The newest rows first."""
    at, number = shape.moment, shape.rows.c.id
    older = [tuple_(at, number) < tuple_(literal(start.at, at.type), literal(start.id))] if start else []
    each = [
        select(at.label("at"), number.label("id"))
        .where(*among, *older, *conditions)
        .order_by(at.desc(), number.desc())
        .limit(limit)
        .subquery()
        for among in _conditions(session, shape, wanted)
    ]
    if not each:
        return []
    # The columns of a part by their names: SQLAlchemy takes long to make those of each.
    found = union_all(*[select(_AT, _ID).select_from(part) for part in each]).subquery()
    newest_first = select(_AT, _ID).select_from(found).order_by(_AT.desc(), _ID.desc()).limit(limit)
    return [_Place(row[0], row[1]) for row in session.execute(newest_first)]


def _conditions(session: Session, shape: _Shape, wanted: SearchTerms) -> list[list[Any]]:
    """Conditions of the rows that are wanted, each of which is found by one of them alone."""
    parts = _parts(shape, wanted.states)
    sources = [[*source, *_within(shape, wanted)] for source in _sources(session, shape, wanted)]
    if wanted.message_id:
        found = shape.rows.c.id.in_(_with_message_id(session, shape, wanted.message_id))
        states = shape.state.in_([part.state for part in parts])
        return [[found, states, *source] for source in sources]
    return [[part.condition, shape.state == part.state, *source] for source in sources for part in parts]


def _parts(shape: _Shape, states: Sequence[State]) -> list[_Part]:
    if shape is _QUEUED:
        return [part for part in shape.parts if not states or part.state in states]
    outcomes = {outcome for state in states or _OUTCOMES for outcome in _OUTCOMES.get(state, ())}
    return [part for part in shape.parts if part.state in outcomes]


def _within(shape: _Shape, wanted: SearchTerms) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.since:
        found.append(shape.moment >= wanted.since)
    if wanted.until:
        found.append(shape.moment < wanted.until)
    return found


def _sources(session: Session, shape: _Shape, wanted: SearchTerms) -> list[list[ColumnElement[bool] | TextClause]]:
    """Conditions besides state and time: together they are true of all that is wanted, no two of the same row."""
    facets, is_found = _facets(wanted), bool(wanted.message_id)
    has_unindexed = _needs_numbers(wanted) and _has_unindexed(session, shape)
    found: list[list[ColumnElement[bool] | TextClause]] = []
    key = "domain_key" if wanted.is_domain else "recipient_key"
    if not wanted.recipient:
        found.append(_by_facets(session, shape, facets, is_found))
    elif wanted.number is not None:
        found.append(_by_facets(session, shape, facets | {key: wanted.number}, is_found))
        if _is_named(session, shape, wanted.number):
            named = select(shape.named).where(shape.names.c.key == wanted.number)
            others = _by_facets(session, shape, facets, is_found=True)
            found.append([shape.rows.c.id.in_(named), shape.rows.c[key] == SEVERAL, *others])
    if has_unindexed:
        found = [[*source, shape.rows.c.recipient_key.is_not(None)] for source in found]
        found.append(_one_by_one(shape, wanted))
    return found


def _facets(wanted: SearchTerms) -> dict[str, Any]:
    """What columns of these names hold, but for addresses."""
    told = {
        "tag": wanted.tag or None,
        "account_id": wanted.account_id,
        "reason": wanted.cause or None,
        "server_key": key_of(wanted.server) if wanted.server else None,
    }
    return {name: value for name, value in told.items() if value is not None}


def _by_facets(
    session: Session, shape: _Shape, facets: Mapping[str, Any], is_found: bool
) -> list[ColumnElement[bool] | TextClause]:
    """The condition that columns hold these values; ``is_found``: by another index than theirs.

    PostgreSQL knows how much there is of each. SQLite does not, and is told which to begin with: it finds nothing by
    a column with a plus before it.
    """
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    leading = _leading(session, shape, facets) if is_sqlite and len(facets) > 1 and not is_found else facets
    found: list[ColumnElement[bool] | TextClause] = []
    for name, value in facets.items():
        own = shape.rows.c[name]
        column = own if name in leading and not (is_sqlite and is_found) else _plain(shape, name)
        if name != "reason":
            found.append(column == value)
            continue
        found.append(_HAS_CAUSE)
        detailed = own.startswith(f"{value}:", autoescape=True)
        found.append(or_(own == value, detailed) if value in _WITH_DETAIL else column == value)
    return found


def _plain(shape: _Shape, name: str) -> ColumnElement[Any]:
    """A column by which SQLite looks nothing up."""
    own = shape.rows.c[name]
    return literal_column(f"+{shape.rows.description}.{name}", own.type)


def _leading(session: Session, shape: _Shape, facets: Mapping[str, Any]) -> Sequence[str]:
    """By which columns to begin: two that have an index together, else the one with the fewest rows."""
    if pair := next((pair for pair in PAIRS if set(pair) <= set(facets)), None):
        return pair
    likely = sorted(facets, key=_RAREST_FIRST.index)
    return [min(likely, key=lambda name: _probed(session, shape, name, facets[name]))]


def _probed(session: Session, shape: _Shape, name: str, value: Any) -> int:  # noqa: ANN401 - of a column
    """How many rows have this value, if they are not very many."""
    among = IS_SETTLED if shape is _QUEUED else IS_DIRECT
    present = [_HAS_CAUSE] if name == "reason" else []
    rows: Select[Any] = select(literal_column("1")).select_from(shape.rows)
    some = rows.where(among, *present, shape.rows.c[name] == value).limit(_PROBED).subquery()
    return session.scalar(select(func.count()).select_from(some)) or 0


def _with_message_id(session: Session, shape: _Shape, message_id: str) -> list[int]:
    """The numbers of the rows with a Message-ID: ours names the mail, and a caller's own has a number."""
    ways: list[Any] = [IS_DIRECT]
    if shape is _QUEUED:
        mail_id = message_id[1:].partition("@")[0]
        ways = [OutboxMail.mail_id == mail_id, OutboxMail.message_key == key_of(message_id), is_unindexed()]
    found = [select(shape.rows.c.id).where(way, shape.rows.c.message_id == message_id) for way in ways]
    return sorted({number for query in found for number in session.scalars(query)})


def _is_named(session: Session, shape: _Shape, number: int) -> bool:
    """Whether a mail to several goes there, too."""
    return session.scalar(select(shape.named).where(shape.names.c.key == number).limit(1)) is not None


def _needs_numbers(wanted: SearchTerms) -> bool:
    return bool(wanted.recipient or wanted.server)


def _has_unindexed(session: Session, shape: _Shape) -> bool:
    return session.scalar(select(shape.rows.c.id).where(_is_unindexed(shape)).limit(1)) is not None


def _is_unindexed(shape: _Shape) -> TextClause:
    return is_unindexed() if shape is _QUEUED else is_unindexed(str(IS_DIRECT))


def _one_by_one(shape: _Shape, wanted: SearchTerms) -> list[ColumnElement[bool] | TextClause]:
    """The same of rows without numbers, from what else they hold."""
    facets = {name: value for name, value in _facets(wanted).items() if name not in ("server_key", "reason")}
    found: list[ColumnElement[bool] | TextClause] = [_is_unindexed(shape)]
    found += [shape.rows.c[name] == value for name, value in facets.items()]
    rows = shape.rows.c
    if wanted.cause:
        found.append(or_(rows.reason == wanted.cause, rows.reason.startswith(f"{wanted.cause}:", autoescape=True)))
    if wanted.message_id:
        found.append(rows.message_id == wanted.message_id)
    if wanted.server:
        tried = (EmailAttempt.mail_id == OutboxMail.mail_id, EmailAttempt.server == wanted.server)
        found.append(exists().where(*tried) if shape is _QUEUED else rows.server == wanted.server)
    if wanted.recipient:
        found.append(_names(wanted) if shape is _QUEUED else _masks(wanted))
    return found


def _names(wanted: SearchTerms) -> ColumnElement[bool]:
    """Whether the recipients name this address, or one at this domain; as JSON holds them."""
    before = "@" if wanted.is_domain else '"address": "'
    written = json.dumps(wanted.recipient)[1:-1]
    return cast(OutboxMail.recipients, Text).icontains(f'{before}{written}"', autoescape=True)


def _masks(wanted: SearchTerms) -> ColumnElement[bool]:
    """Whether one of the masked recipients is at this domain; which address it was, nobody knows any more."""
    if not wanted.is_domain:
        return false()
    masked = EmailAttempt.recipients
    end = f"@{wanted.recipient}"
    return or_(masked.iendswith(end, autoescape=True), masked.icontains(f"{end},", autoescape=True))
