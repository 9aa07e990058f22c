"""What administrators see and decide of accounts' own servers. They never read a secret of these, nor use one.

Each change takes what was ``seen``: whoever decides on something that has become something else meanwhile is told so.
The same decision twice is one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy.orm import Session

from database import own_server_db
from database.engine import reading, transaction
from database.own_server_db import Taken
from database.smtp_db import SmtpConfig
from database.user_db import Account, comparable
from services import audit
from services.accounts import sessions
from services.accounts.sessions import subject_of
from services.audit import Action
from services.outbox import promise
from services.settings import config_trail, health, personal_policy, personal_route, sealing, sign_ins
from services.settings.health import Health, HealthState
from services.settings.own_rows import INACTIVE, NOT_CONNECTED
from services.settings.personal_policy import Allowed, PersonalRules
from utils import clock
from utils.errors import Conflict, InvalidInput, NotFound
from utils.log_utils import printable
from utils.numbers import LARGEST
from utils.personal_env import MOST_EMAILS

PAGE: Final = 50
SUCCESS_DAYS: Final = 7  # in which the last success is looked for
STALE: Final = "Someone else has just decided about this server. Check it, then try again."
NO_SUCH: Final = "No such account."
NO_SERVER: Final = "This account no longer has its own server."
NOT_NAMED: Final = "The policy does not allow this host."
LONGEST_TEXT: Final = 100


class Decision(StrEnum):
    """What an administrator has decided of an account's own server."""

    OWN = personal_route.USED
    DISABLED = personal_route.SWITCHED_OFF  # as if it were broken: the policy decides what sends instead
    GLOBAL = personal_route.GLOBAL  # the global server sends, always


class Shown(StrEnum):
    """Which accounts are listed."""

    SERVERS = "servers"  # with a server, or with something that was decided of them
    BROKEN = "broken"
    DECIDED = "decided"
    ALL = "all"


@dataclass(frozen=True, kw_only=True)
class OwnServerFacts:
    """An account and its own server, without anything secret. ``host`` is "" where there is none.

    ``level`` and ``word`` are its state, ``unused_words`` why it is not used; ``last_success`` is within SUCCESS_DAYS;
    ``sent_today`` counts the mails of the account that a server took within 24 hours, whichever it was.
    """

    account_id: int
    username: str
    email: str
    is_admin: bool
    decision: Decision
    emails_per_minute: int | None
    emails_per_day: int | None
    config_id: int | None = None
    version: int | None = None
    host: str = ""
    port: int | None = None
    from_email: str = ""
    level: str = "empty"
    word: str = "No server"
    unused_words: str = ""
    last_error: str = ""
    broken_since: datetime | None = None
    fell_back: int = 0
    last_success: datetime | None = None
    sent_today: int = 0


@dataclass(frozen=True)
class OverseenPage:
    """A part of the list; ``after`` is where the next one begins, "" at the end."""

    rows: list[OwnServerFacts]
    after: str


_AUDITED: Final[Mapping[Decision, Action]] = {
    Decision.OWN: Action.OWN_SERVER_ALLOWED,
    Decision.DISABLED: Action.OWN_SERVER_DISABLED,
    Decision.GLOBAL: Action.OWN_SERVER_BYPASSED,
}


def search(text: str = "", *, shown: str = Shown.SERVERS, after: str = "", limit: int = PAGE) -> OverseenPage:
    """Accounts by user name, with this text in user name, address, host or From."""
    wanted = printable(text, LONGEST_TEXT).strip()
    with reading() as session:
        found = own_server_db.search(
            session, shown=shown, text=wanted, key=comparable(wanted), after=printable(after, 200), limit=limit + 1
        )
        rows = _facts(session, found[:limit])
    return OverseenPage(rows, found[limit - 1][0].username_key if len(found) > limit else "")


def get(account_id: int) -> OwnServerFacts:
    """One account. Raises NotFound."""
    with reading() as session:
        found = own_server_db.find(session, account_id) if 0 < account_id <= LARGEST else None
        if found is None:
            raise NotFound(NO_SUCH)
        return _facts(session, [found])[0]


def decide(account_id: int, decision: Decision, *, seen: str | None = None) -> OwnServerFacts:
    """Disable an account's own server, have the global one send for it, or allow its own again.

    ``seen`` is the decision that stood there before. Raises NotFound, Conflict.
    """
    with transaction() as session:
        account = sessions.held(session, account_id)
        if account.personal_smtp != decision:
            if seen is not None and account.personal_smtp != seen:
                raise Conflict(STALE)
            account.personal_smtp = decision
            promise.end_rest(session, account_id)
            audit.record(session, _AUDITED[decision], subject_of(account))
    return get(account_id)


def limit(
    account_id: int,
    per_minute: int | None,
    per_day: int | None,
    *,
    seen: tuple[int | None, int | None] | None = None,
) -> OwnServerFacts:
    """Set what one account may send; None is as for everybody, 0 no limit. Raises InvalidInput, NotFound, Conflict."""
    _check_limits({"emails_per_minute": per_minute, "emails_per_day": per_day})
    with transaction() as session:
        account = sessions.held(session, account_id)
        before = account.emails_per_minute, account.emails_per_day
        if before != (per_minute, per_day):
            if seen is not None and before != seen:
                raise Conflict(STALE)
            account.emails_per_minute, account.emails_per_day = per_minute, per_day
            promise.end_rest(session, account_id)
            audit.record(session, Action.LIMITS_CHANGED, subject_of(account), _limit_words(per_minute, per_day))
    return get(account_id)


def delete_server(account_id: int, *, version: int | None = None, config_id: int | None = None) -> OwnServerFacts:
    """Forget an account's own server for good, its sealed password included.

    Raises NotFound, or Conflict if it is another one, or another version of it, than ``config_id`` and ``version``.
    """
    with transaction() as session:
        account = sessions.held(session, account_id)
        row = own_server_db.lock(session, account.id)
        if row is None:
            raise NotFound(NO_SERVER)
        if (config_id is not None and row.id != config_id) or (version is not None and row.version != version):
            raise Conflict(STALE)
        server = config_trail.subject_of(row)
        audit.record(session, Action.OWN_SERVER_DELETED, subject_of(account), [server])
        sign_ins.forget(session, row)
        session.delete(row)
        promise.end_rest(session, account_id)
    return get(account_id)


def _check_limits(limits: Mapping[str, int | None]) -> None:
    text = f"Enter a whole number from 0 to {MOST_EMAILS}; 0 is no limit. Leave empty to use the limit of the policy."
    refused = {
        name: [text]
        for name, number in limits.items()
        if number is not None and (isinstance(number, bool) or not 0 <= number <= MOST_EMAILS)
    }
    if refused:
        raise InvalidInput(refused)


def _limit_words(per_minute: int | None, per_day: int | None) -> Iterable[str]:
    for number, span in ((per_minute, "minute"), (per_day, "day")):
        yield f"per {span}: {'as in the policy' if number is None else number or 'no limit'}"


def _facts(session: Session, found: Sequence[tuple[Account, SmtpConfig | None]]) -> list[OwnServerFacts]:
    now = clock.now()
    ids = [account.id for account, _ in found]
    since, lately = now - timedelta(days=SUCCESS_DAYS), now - timedelta(days=1)
    taken = own_server_db.taken(session, ids, since=since, lately=lately) if ids else []
    of_account = {id_: [each for each in taken if each.account_id == id_] for id_ in ids}
    policy = personal_policy.current(session)
    servers = [sealing.unsealed(row, by_administrator=account.is_admin) for account, row in found if row is not None]
    known = health.of_configs(servers, session)
    return [
        _facts_of(account, row, of_account[account.id], policy, known[row.id] if row else None)
        for account, row in found
    ]


def _facts_of(
    account: Account, row: SmtpConfig | None, taken: Sequence[Taken], policy: PersonalRules, known: Health | None
) -> OwnServerFacts:
    # The route takes whatever else somebody has written there by hand for this one.
    decision = Decision(account.personal_smtp) if account.personal_smtp in list(Decision) else Decision.OWN
    facts = OwnServerFacts(
        account_id=account.id,
        username=account.username,
        email=account.email,
        is_admin=account.is_admin,
        decision=decision,
        emails_per_minute=account.emails_per_minute,
        emails_per_day=account.emails_per_day,
        sent_today=sum(each.lately for each in taken),
    )
    if row is None or known is None:
        return facts
    level, word, why = _state(decision, row, policy, known)
    return replace(
        facts,
        config_id=row.id,
        version=row.version,
        host=row.smtp_server,
        port=row.smtp_port,
        from_email=row.from_email,
        level=level,
        word=word,
        unused_words=why,
        last_error=row.last_error or "",
        broken_since=row.broken_told_at,
        fell_back=row.fell_back,
        last_success=max((each.last for each in taken if each.config_id == row.id), default=None),
    )


def _state(decision: Decision, row: SmtpConfig, policy: PersonalRules, known: Health) -> tuple[str, str, str]:
    """A level and a word, as the route would judge the server now; and why it is not used, where it does not say so."""
    why = "" if row.is_active else INACTIVE.get(row.inactive_reason, "")
    if word := _passed_over(decision, policy):
        return "skipped", word, why
    if not row.is_active:
        is_apart = row.inactive_reason == NOT_CONNECTED
        return ("empty", "Not connected", why) if is_apart else ("warning", "Not allowed", why)
    if not policy.allows(row.smtp_server):
        return "warning", "Not allowed", NOT_NAMED
    return _state_in_use(row, known)


def _state_in_use(row: SmtpConfig, known: Health) -> tuple[str, str, str]:
    if known.needs_sign_in:
        return "error" if known.is_down else "warning", "Needs sign-in again", ""
    if known.has_trouble or row.broken_told_at:
        return "error", "Broken", known.reason if known.state is HealthState.UNUSABLE else ""
    return "ok", "In use", ""


def _passed_over(decision: Decision, policy: PersonalRules) -> str:
    """What an administrator has decided, in a word, of this account's server or of all; "" if it may be used."""
    if decision is not Decision.OWN:
        return "Disabled" if decision is Decision.DISABLED else "Global server"
    return "Not used" if policy.allowed is Allowed.OFF else ""
