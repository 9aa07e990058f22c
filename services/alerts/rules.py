"""The rules: what each watches, its usual thresholds, and those that an administrator has chosen."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from database import alert_db
from database.alert_db import AlertRule
from database.engine import reading, transaction
from services import audit
from services.audit import Action
from utils.errors import Conflict, InvalidInput
from utils.numbers import whole_number

STALE: Final = "Someone else has just changed the rules. Check them, then save again."
_MINUTE: Final = 60.0
_HOUR: Final = 3600.0


class RuleName(StrEnum):
    """What is watched."""

    NO_MAIL = "no_mail"
    SERVER = "server"
    WAITING = "waiting"
    REFUSALS = "refusals"
    ENDINGS = "endings"
    WORKER = "worker"
    STORAGE = "storage"


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """A number that can be changed, from ``low`` to ``high``; ``unit`` stands behind it."""

    label: str
    usual: int
    low: int
    high: int
    unit: str


@dataclass(frozen=True, kw_only=True)
class RuleFacts:
    """A rule. ``is_timed``: its first number is for how many minutes there must be trouble before it fires.

    ``believes_after`` is for how many seconds after the clock was set its answer means nothing: it compares moments
    that were noted by another clock. None: for as long as its first number says.
    """

    title: str
    text: str
    amount: Threshold
    least: Threshold | None = None
    is_timed: bool = True
    hold: float = 0.0  # seconds, of one that is not timed
    believes_after: float | None = 0.0


_MINUTES: Final = "minutes"
RULES: Final[Mapping[RuleName, RuleFacts]] = {
    RuleName.NO_MAIL: RuleFacts(
        title="No email gets out",
        text="Email is waiting, and no server can send it.",
        amount=Threshold(label="For", usual=5, low=1, high=1440, unit=_MINUTES),
    ),
    RuleName.SERVER: RuleFacts(
        title="A server is down",
        text="The active server, or the one in .env, is down, cannot be used or needs a new sign-in.",
        amount=Threshold(label="For", usual=3, low=1, high=1440, unit=_MINUTES),
    ),
    RuleName.WAITING: RuleFacts(
        title="Email is late",
        text="The oldest email that is due has not been sent.",
        amount=Threshold(label="Later than", usual=15, low=1, high=1440, unit=_MINUTES),
        is_timed=False,
        hold=60.0,  # a worker that has just come back needs a moment
        believes_after=None,
    ),
    RuleName.REFUSALS: RuleFacts(
        title="Many emails are refused",
        text="Of the attempts within an hour, servers refused too many.",
        amount=Threshold(label="More than", usual=10, low=1, high=100, unit="percent"),
        least=Threshold(label="Of at least", usual=50, low=1, high=1_000_000, unit="attempts"),
        is_timed=False,
        believes_after=_HOUR,
    ),
    RuleName.ENDINGS: RuleFacts(
        title="Something expires",
        text="A certificate, token, client secret or password of a server will end soon, or has.",
        amount=Threshold(label="Within", usual=14, low=1, high=90, unit="days"),
        is_timed=False,
        believes_after=_HOUR,
    ),
    RuleName.WORKER: RuleFacts(
        title="No worker is running",
        text="No worker has shown a sign of life, or email is due and none takes it.",
        amount=Threshold(label="For", usual=3, low=1, high=1440, unit=_MINUTES),
    ),
    RuleName.STORAGE: RuleFacts(
        title="The disk or the database fails",
        text="The database does not respond or cannot be written to, or the disk is full.",
        amount=Threshold(label="For", usual=1, low=1, high=1440, unit=_MINUTES),
    ),
}


@dataclass(frozen=True, kw_only=True)
class RuleInForce:
    """A rule as it is in force."""

    name: RuleName
    is_on: bool
    amount: int
    least: int | None

    @property
    def facts(self) -> RuleFacts:
        return RULES[self.name]

    @property
    def hold(self) -> float:
        """For how many seconds there must be trouble before it fires."""
        return self.amount * _MINUTE if self.facts.is_timed else self.facts.hold

    @property
    def believes_after(self) -> float:
        """For how many seconds after the clock was set its answer means nothing."""
        own = self.facts.believes_after
        return self.amount * _MINUTE if own is None else own


USUAL: Final = tuple(
    RuleInForce(name=name, is_on=True, amount=facts.amount.usual, least=facts.least.usual if facts.least else None)
    for name, facts in RULES.items()
)


def every() -> list[RuleInForce]:
    """All rules, as they are in force."""
    with reading() as session:
        return in_force(alert_db.rules(session))


def in_force(changed: Mapping[str, AlertRule]) -> list[RuleInForce]:
    """The same, from those that were changed; what stands there and is no number of ours counts as usual."""
    return [_merged(rule, changed.get(rule.name)) for rule in USUAL]


def mark_of(rules: list[RuleInForce]) -> str:
    """Tells these from any others."""
    return " ".join(f"{rule.name}:{int(rule.is_on)}:{rule.amount}:{rule.least or 0}" for rule in rules)


def save(raw: Mapping[str, Mapping[str, object]], *, mark: str | None = None) -> list[RuleInForce]:
    """Change rules, by name: ``is_on``, ``amount``, ``least``; what is absent stays. Raises InvalidInput, Conflict."""
    if unknown := [name for name in raw if name not in list(RuleName)]:
        raise InvalidInput({name: ["No such rule."] for name in unknown})
    with transaction() as session:
        stored = alert_db.lock_rules(session)
        before = in_force(stored)
        if mark is not None and mark_of(before) != mark:
            raise Conflict(STALE)
        errors = dict[str, list[str]]()
        after = [_changed(rule, raw.get(rule.name, {}), errors) for rule in before]
        if errors:
            raise InvalidInput(errors)
        for old, new in zip(before, after, strict=True):
            if old != new:
                row = stored.get(new.name) or AlertRule(name=new.name.value)
                row.is_on, row.amount, row.least = new.is_on, new.amount, new.least
                session.add(row)
        details = [_told(new) for old, new in zip(before, after, strict=True) if old != new]
        if details:
            audit.record(session, Action.ALERT_RULES_SAVED, "alert rules", details)
        return after


def _told(rule: RuleInForce) -> str:
    if not rule.is_on:
        return f"{rule.name} off"
    least = f" of {rule.least}" if rule.least is not None else ""
    return f"{rule.name} {rule.amount} {rule.facts.amount.unit}{least}"


def _merged(usual: RuleInForce, row: AlertRule | None) -> RuleInForce:
    if row is None:
        return usual
    facts = usual.facts
    least = _within(facts.least, row.least, usual.least) if facts.least else None
    amount = _within(facts.amount, row.amount, usual.amount) or usual.amount
    return RuleInForce(name=usual.name, is_on=bool(row.is_on), amount=amount, least=least)


def _within(threshold: Threshold, number: int | None, usual: int | None) -> int | None:
    return number if isinstance(number, int) and threshold.low <= number <= threshold.high else usual


def _changed(rule: RuleInForce, change: Mapping[str, object], errors: dict[str, list[str]]) -> RuleInForce:
    values: dict[str, object] = {"is_on": rule.is_on, "amount": rule.amount, "least": rule.least}
    for name, given in change.items():
        threshold = {"amount": rule.facts.amount, "least": rule.facts.least}.get(name)
        if name == "is_on" and isinstance(given, bool):
            values[name] = given
        elif threshold is not None:
            values[name] = _number(given, threshold)
            if values[name] is None:
                told = f"Enter a whole number from {threshold.low} to {threshold.high}."
                errors.setdefault(f"{rule.name}_{name}", []).append(told)
        else:
            known = "true or false" if name == "is_on" else "is_on, amount and, where there is one, least"
            errors.setdefault(f"{rule.name}_{name}"[:64], []).append(f"Pass {known}.")
    return RuleInForce(name=rule.name, **values)  # type: ignore[arg-type]


def _number(given: object, threshold: Threshold) -> int | None:
    if isinstance(given, str):
        return whole_number(given.strip(), threshold.low, threshold.high)
    is_number = isinstance(given, int) and not isinstance(given, bool)
    return given if isinstance(given, int) and is_number and threshold.low <= given <= threshold.high else None
