"""The checklist of a new installation: ticked by facts where there are any, and by hand where nobody can know."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import structlog
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from database import checklist_db
from database.engine import reading, transaction
from services.alerts.channels import ChannelInfo
from services.overview.servers import ServersFacts
from utils import clock
from utils.errors import NotFound


class ChecklistStep(StrEnum):
    """What there is to do, in this order."""

    SERVER = "server"
    TEST = "test"
    OWN_MAIL = "own_mail"
    DOMAIN = "domain"
    ALERTS = "alerts"
    KEY = "key"


BY_HAND: Final = (ChecklistStep.OWN_MAIL, ChecklistStep.DOMAIN, ChecklistStep.KEY)
_HIDDEN: Final = "hidden"
NO_SUCH: Final = "No such step."
log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class ChecklistItem:
    """A step. ``is_confirmed``: it is done since someone said so, who may say that it is not."""

    step: ChecklistStep
    is_done: bool
    is_confirmed: bool = False

    @property
    def by_hand(self) -> bool:
        return self.step in BY_HAND


@dataclass(frozen=True, kw_only=True)
class Checklist:
    """All steps. ``is_hidden``: someone has hidden the list."""

    items: tuple[ChecklistItem, ...]
    is_hidden: bool

    @property
    def done(self) -> int:
        return sum(item.is_done for item in self.items)

    @property
    def is_over(self) -> bool:
        """Whether everything is done."""
        return self.done == len(self.items)

    @property
    def next(self) -> ChecklistStep | None:
        """The first that is not done."""
        return next((item.step for item in self.items if not item.is_done), None)


def look(servers: ServersFacts, channels: Sequence[ChannelInfo]) -> Checklist:
    """How far it is, by how the servers and the channels of alerts are."""
    with reading() as session:
        noted = checklist_db.every(session)
    facts = {
        ChecklistStep.SERVER: servers.has_any,
        ChecklistStep.TEST: servers.has_worked,
        ChecklistStep.ALERTS: any(channel.is_on for channel in channels),
    }
    items = (
        ChecklistItem(step=step, is_done=facts.get(step, step in noted), is_confirmed=step in noted)
        for step in ChecklistStep
    )
    return Checklist(items=tuple(items), is_hidden=_HIDDEN in noted)


def confirm(name: str, *, is_done: bool, by: str) -> None:
    """Tick a step by hand, or take that back. Raises NotFound where it is none that can be."""
    if name not in list(BY_HAND):
        raise NotFound(NO_SUCH)
    _note(name, is_done=is_done, by=by)


def note_domain_checked(by: str) -> None:
    """The From domain that mail is sent from was found to be in order. Never raises: it is a note beside a page."""
    try:
        _note(ChecklistStep.DOMAIN, is_done=True, by=by)
    except SQLAlchemyError as failure:
        log.warning("step_not_noted", kind=type(failure).__name__)


def hide(*, is_hidden: bool, by: str) -> None:
    """Hide the list, or bring it back."""
    _note(_HIDDEN, is_done=is_hidden, by=by)


def _note(step: str, *, is_done: bool, by: str) -> None:
    try:
        with transaction() as session:
            if is_done:
                checklist_db.put(session, step, clock.now(), by)
            else:
                checklist_db.remove(session, step)
    except IntegrityError:  # someone else has just said so
        return
