"""Whether mail gets out, in the words of pages, commands and probes: the servers' state and what waits for them."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from database.outbox_db import MailBacklog
from services.outbox import log
from services.outbox.log import DueMail
from services.settings import configs, route, state
from services.settings.state import SendingState
from utils import clock
from utils.env_utils import get_settings
from utils.numbers import counted

SEE_WHY: Final = "Test it to see what to do."
NOTHING_WAITING: Final = MailBacklog(0, None, None)


class MailFitness(StrEnum):
    """DEGRADED: not all is well with a server, or for less than MAIL_DOWN_MINUTES nothing gets out; then it is DOWN."""

    READY = "ready"
    DEGRADED = "degraded"
    DOWN = "down"


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """How mail goes now. ``state`` tells it in sentences, with what waits where no email gets out.

    ``since`` is when the last server went down, or the oldest email that cannot go was queued.
    """

    state: SendingState
    waiting: MailBacklog
    is_unattended: bool
    due: DueMail | None = None
    since: datetime | None = None

    @property
    def is_outage(self) -> bool:
        """Whether email is kept from going, or would be: not where nobody has set up a server yet."""
        return self.state.is_outage and self.since is not None

    @property
    def lines(self) -> tuple[str, ...]:
        """The state as a command tells it."""
        return tuple(filter(None, (self.state.headline, self.state.detail)))


def look(*, has_configs: bool | None = None) -> Outlook:
    """How it stands; ``has_configs`` whether any server is stored, if the caller knows."""
    found = state.describe(has_configs=configs.has_any() if has_configs is None else has_configs)
    waiting = log.waiting() if found.is_outage else NOTHING_WAITING
    due = log.due()
    if found.is_outage:
        found = _with_what_waits(found, waiting, due.is_unattended)
    since = found.since or waiting.oldest
    return Outlook(state=found, waiting=waiting, is_unattended=due.is_unattended, due=due, since=since)


def fitness(found: Outlook | None = None) -> MailFitness:
    """Whether mail gets out, for whoever watches: in a word, and by a handful of small queries.

    ``found`` is how it stands, if the caller has just looked.
    """
    if route.is_suppressed():
        return MailFitness.READY
    limit = timedelta(minutes=get_settings().mail_down_minutes)
    found = found or look(has_configs=True)
    down_since = found.state.since if found.is_outage else None
    # Where no server is set up at all, what waits for one tells for how long.
    if (down_since and clock.now() - down_since >= limit) or log.is_behind(limit, found.due):
        return MailFitness.DOWN
    is_troubled = found.is_unattended or found.state.has_trouble
    return MailFitness.DEGRADED if is_troubled else MailFitness.READY


def _with_what_waits(found: SendingState, waiting: MailBacklog, is_unattended: bool) -> SendingState:
    """The same, with how many emails wait and the oldest, what will happen next, and the one thing to do."""
    headline, next_step = found.headline, ""
    if waiting.mails and waiting.oldest:
        emails = f"{counted(waiting.mails, 'email')} {'is' if waiting.mails == 1 else 'are'} waiting"
        oldest = clock.readable(waiting.oldest)
        headline = f"{headline.removesuffix('.')}, and {emails}, the oldest since {oldest}."
        if not is_unattended:
            goes = "It goes out by itself" if waiting.mails == 1 else "They go out by themselves"
            next_step = f"{_next_attempt(found, waiting)} {goes} once a server works."
    if is_unattended:
        todo = log.NOBODY_SENDS  # ends in a command, which nobody wants to copy with a stop
    else:
        todo = SEE_WHY if found.since and found.needs_sign_in is None else ""
    return replace(found, headline=headline, detail=" ".join(filter(None, (found.detail, next_step, todo))))


def _next_attempt(found: SendingState, waiting: MailBacklog) -> str:
    moments = [moment for moment in (found.until, waiting.due_at) if moment and moment > clock.now()]
    if not moments:
        return "Sealpost keeps trying."
    return f"Sealpost will try again at {clock.readable(max(moments))}."
