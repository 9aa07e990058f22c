"""What needs an administrator's attention now, and how many things that are, for every page."""

import time
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

import structlog

from services.alerts import showing
from services.alerts.rules import RuleName
from services.alerts.showing import AlertData
from services.outbox import holding
from services.overview import verdict
from services.overview.verdict import MailVerdict
from utils import application

FRESH_SECONDS: Final = 5.0
_NAME: Final = "sealpost_attention"
log = structlog.get_logger(__name__)
# What the verdict itself tells, in other words.
_OF_VERDICT: Final = (RuleName.NO_MAIL, RuleName.SERVER, RuleName.WAITING, RuleName.WORKER)


@dataclass(frozen=True, kw_only=True)
class Attention:
    """``alerts`` are those that fire beside ``told``, which say what the verdict tells; ``held`` is of held mail."""

    verdict: MailVerdict
    alerts: tuple[AlertData, ...]
    told: tuple[AlertData, ...]
    held: str

    @property
    def count(self) -> int:
        """How many things they are."""
        return int(self.verdict.needs_attention) + len(self.alerts) + bool(self.held)


@dataclass
class _Known:
    """What this process knows: how many things there are, and when it has looked."""

    count: int = 0
    looked_at: float | None = None
    is_looking: Lock = field(default_factory=Lock)


def look(*, has_configs: bool | None = None) -> Attention:
    """What there is now; every page of this process then says so. Raises SQLAlchemyError."""
    found = verdict.look(has_configs=has_configs)
    firing = showing.firing()
    attention = Attention(
        verdict=found,
        alerts=tuple(alert for alert in firing if not _is_told(alert.rule, found)),
        told=tuple(alert for alert in firing if _is_told(alert.rule, found)),
        held=holding.told(holding.count()),
    )
    _note(attention.count)
    return attention


def count() -> int:
    """How many things need attention, as it was a few seconds ago at most; 0 where nobody can tell."""
    known = _known()
    now = time.monotonic()
    if known.looked_at is not None and now - known.looked_at < FRESH_SECONDS:
        return known.count
    if not known.is_looking.acquire(blocking=False):
        return known.count  # another thread is about to know better
    try:
        return look().count
    except Exception as error:  # whatever it is, the page that asks is about something else
        log.warning("attention_not_known", kind=type(error).__name__)
        _note(0)
        return 0
    finally:
        known.is_looking.release()


def _is_told(rule: str, found: MailVerdict) -> bool:
    if found.is_only_about_ends:
        return rule == RuleName.ENDINGS
    return found.needs_attention and rule in _OF_VERDICT


def _known() -> _Known:
    return application.kept(_NAME, _Known)


def _note(found: int) -> None:
    known = _known()
    known.count, known.looked_at = found, time.monotonic()
