"""Changing what is allowed to accounts with servers of their own. What the environment fixes nobody changes here."""

import re
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any, Final

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from database import policy_db, smtp_db
from database.engine import reading, transaction
from database.policy_db import PersonalPolicy
from database.smtp_db import LONGEST_UPDATED_BY
from services import audit
from services.audit import Action
from services.outbox import promise
from services.settings import own_rows, personal_policy
from services.settings.personal_policy import Allowed, AllowedSignIn, Fallback, PersonalRules
from utils import clock
from utils.addresses import InvalidAddress, parse_host
from utils.errors import Conflict, InvalidInput
from utils.personal_env import LIMITS, MOST_EMAILS, VARIABLES

MOST_HOSTS: Final = 200
LONGEST_HOSTS: Final = 20_000  # characters
STALE: Final = "Someone else has saved the policy. Reload the page."
NAME_ONE: Final = "Enter at least one host or domain, or allow any public host."
_SUBJECT: Final = "policy for servers of accounts"
_ROW: Final = 1  # there is one row; of two that are added at once the second is refused by its id


def fixed_by(field: str) -> str:
    """What is said of a field that the environment fixes."""
    return f"{VARIABLES[field]} in the environment sets this. Change it there and restart."


def save(changes: Mapping[str, object], *, version: int | None = None, actor: str = "") -> PersonalRules:
    """Change these fields; what is absent stays. A limit that is None is as usual, 0 is none.

    ``version`` is that of the policy that was read. Raises InvalidInput by field, also for what the environment fixes,
    and Conflict if somebody has saved since.
    """
    try:
        with transaction() as session:
            row, before = policy_db.lock(session), personal_policy.current(session)
            if version is not None and version != before.version:
                raise Conflict(STALE)
            _write(session, row, _checked(changes, before), actor)
            _end_what_is_forbidden(session)
    except IntegrityError:
        raise Conflict(STALE) from None
    return personal_policy.current()


def saved_by() -> tuple[str, Any]:
    """Who saved the policy last, and when; ("", None) while nobody has."""
    with reading() as session:
        row = policy_db.find(session)
        return (row.updated_by, row.updated_at) if row else ("", None)


def _write(session: Session, row: PersonalPolicy | None, values: Mapping[str, object], actor: str) -> None:
    if row is None:
        row = PersonalPolicy(id=_ROW, hosts="", version=0)
        session.add(row)
    changed = [name for name, value in values.items() if getattr(row, name) != value]
    if not changed and row.version:
        return  # the same again, from a second press of the button
    for name in changed:
        setattr(row, name, values[name])
    row.version += 1
    row.updated_at, row.updated_by = clock.now(), (actor or audit.actor().name)[:LONGEST_UPDATED_BY]
    session.flush()
    promise.end_rest(session, None)
    audit.record(session, Action.POLICY_CHANGED, _SUBJECT, changed)


def _end_what_is_forbidden(session: Session) -> None:
    """What was granted for a server that its account may not use any more is not kept; a server itself is."""
    policy = personal_policy.current(session)
    for row in smtp_db.connected_own(session):
        if row.account_id is not None and not policy.allows(row.smtp_server):
            own_rows.disconnect(session, row.account_id)


def _checked(changes: Mapping[str, object], before: PersonalRules) -> dict[str, object]:
    """The columns to write. Raises InvalidInput."""
    values, errors = dict[str, object](), dict[str, list[str]]()
    for name, value in changes.items():
        try:
            parsed = _CHECKS[name](value) if name in _CHECKS else _unknown()
        except ValueError as refused:
            errors[name if name in _CHECKS else "form"] = [str(refused)]
            continue
        if name not in before.fixed:
            values[name] = parsed
        elif not _is_as_fixed(name, parsed, before):
            errors[name] = [fixed_by(name)]
    names_none = not _after("hosts", values, "\n".join(before.hosts))
    if _after("allowed", values, before.allowed) == Allowed.NAMED and names_none and not errors:
        errors["hosts"] = [NAME_ONE]
    if errors:
        raise InvalidInput(errors)
    return values


def _after(name: str, values: Mapping[str, object], before: object) -> object:
    return values.get(name, before)


def _is_as_fixed(name: str, parsed: object, before: PersonalRules) -> bool:
    """Whether a field that is fixed was sent as it is, as a page may do."""
    now = "\n".join(before.hosts) if name == "hosts" else getattr(before, name)
    return bool(parsed == now)


def _unknown() -> object:
    raise ValueError("Unknown field.")


def _choice(choices: type[StrEnum]) -> Callable[[object], object]:
    def check(value: object) -> object:
        if not isinstance(value, str) or value not in list(choices):
            raise ValueError(f"Choose one of: {', '.join(choices)}.")
        return str(value)

    return check


def _hosts(value: object) -> str:
    """The names, one a line, each once."""
    if isinstance(value, str):
        lines = re.split(r"[\s,;]+", value) if len(value) <= LONGEST_HOSTS else None
    else:
        lines = list(value) if isinstance(value, Iterable) else None
    if lines is None:
        raise ValueError(f"Enter hosts or domains, one per line, at most {MOST_HOSTS}.")
    names = dict.fromkeys(_host(text, number) for number, text in enumerate(filter(None, lines), 1))
    if len(names) > MOST_HOSTS:
        raise ValueError(f"Enter at most {MOST_HOSTS} hosts or domains.")
    return "\n".join(names)


def _host(text: object, number: int) -> str:
    if not isinstance(text, str):
        raise ValueError(f"Number {number}: enter text.")
    if text.startswith(("*.", ".", "@")):
        raise ValueError(f"Number {number}: enter only the domain, like example.com. It includes every host below it.")
    try:
        return parse_host(text)
    except InvalidAddress as refused:
        raise ValueError(f"Number {number}: {refused}") from None


def _limit(value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST_EMAILS:
        raise ValueError(f"Enter a whole number from 0 to {MOST_EMAILS}; 0 is no limit.")
    return value


_CHECKS: Final[Mapping[str, Callable[[object], object]]] = {
    "allowed": _choice(Allowed),
    "hosts": _hosts,
    "fallback": _choice(Fallback),
    "sign_in": _choice(AllowedSignIn),
    **dict.fromkeys(LIMITS, _limit),
}
