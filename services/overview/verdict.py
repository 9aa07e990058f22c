"""How mail is, in one word and one sentence, and the one thing to do next."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from services.checks import outlook
from services.checks.outlook import MailFitness, Outlook
from services.outbox import log
from services.settings import configs, route
from services.settings.state import SendingState
from utils.env_utils import get_settings
from utils.numbers import counted

LATE: Final = "Some email is late."
NOBODY: Final = "Email is due, and no worker is sending it."
MINUTE: Final = timedelta(minutes=1)


class NextStep(StrEnum):
    """What helps now, by the page where it is done. NONE: nothing there is to do, or only outside of Sealpost."""

    NONE = ""
    ADD_SERVER = "add_server"
    ACTIVATE = "activate"
    CONNECT = "connect"
    TEST_SERVER = "test_server"
    EDIT_SERVER = "edit_server"
    SEE_SERVERS = "see_servers"
    SEE_WAITING = "see_waiting"


_WORDS: Final = {"ok": "Working", "warning": "Needs attention", "error": "Down", "empty": "Not set up"}


@dataclass(frozen=True, kw_only=True)
class MailVerdict:
    """``level`` is ok, warning, error or empty, and ``word`` its name; ``sentence`` how mail is, ``detail`` why.

    ``config_id`` is the server that ``step`` is about, if it is about one; ``state`` how all servers are.
    ``is_only_about_ends``: mail gets out, and the warning is of what will end soon, or was never tested.
    """

    level: str
    word: str
    sentence: str
    detail: str
    step: NextStep
    config_id: int | None = None
    state: SendingState
    is_only_about_ends: bool = False

    @property
    def needs_attention(self) -> bool:
        return self.level in ("warning", "error")


def look(*, has_configs: bool | None = None) -> MailVerdict:
    """How mail is now; ``has_configs`` whether any server is stored, if the caller knows."""
    has_configs = configs.has_any() if has_configs is None else has_configs
    found = outlook.look(has_configs=has_configs)
    is_down, late_minutes = False, None
    if not route.is_suppressed():
        is_down = outlook.fitness(found) is MailFitness.DOWN
        late_minutes = _late_minutes(found, is_down=is_down)
    return judged(found, is_down=is_down, late_minutes=late_minutes, has_configs=has_configs)


def judged(found: Outlook, *, is_down: bool, late_minutes: int | None, has_configs: bool) -> MailVerdict:
    """The verdict that follows from how the servers are, and from by how much email is late at least, if any is."""
    is_late = late_minutes is not None
    state = found.state
    sentence, detail = state.headline, state.detail
    step, config_id = _step(state, has_configs=has_configs)
    is_new = step is NextStep.ADD_SERVER and not (found.is_outage or is_down)
    level = "empty" if is_new else _level(found, is_down=is_down, is_late=is_late)
    if found.is_unattended and not (state.is_outage or route.is_suppressed()):
        sentence, detail, step, config_id = NOBODY, log.NOBODY_SENDS, NextStep.SEE_WAITING, None
    elif is_late and not state.has_trouble:
        sentence = f"Some email is more than {counted(late_minutes, 'minute')} late." if late_minutes else LATE
        detail, step, config_id = state.headline, NextStep.SEE_WAITING, None
    return MailVerdict(
        level=level,
        word=_WORDS[level],
        sentence=sentence,
        detail=detail,
        step=step,
        config_id=config_id,
        state=state,
        is_only_about_ends=level == "warning" and not (state.has_trouble or found.is_unattended or is_late),
    )


def _late_minutes(found: Outlook, *, is_down: bool) -> int | None:
    """By how many minutes some email is late at least; None if none is."""
    limit = get_settings().mail_down_minutes
    behind = int(log.BEHIND / MINUTE)
    # What is not late by the smaller of the two is not by the other, and each is a handful of queries.
    if (is_down or limit > behind) and log.is_behind(known=found.due):
        return behind
    return limit if is_down else None


def _level(found: Outlook, *, is_down: bool, is_late: bool) -> str:
    if found.state.level == "error" or is_down:
        return "error"
    if found.state.level == "ok" and (found.is_unattended or is_late):
        return "warning"
    return found.state.level


def _step(state: SendingState, *, has_configs: bool) -> tuple[NextStep, int | None]:
    """What to do about the servers, and about which."""
    if state.needs_sign_in:
        return NextStep.CONNECT, state.needs_sign_in
    if state.level == "ok" or route.is_suppressed():
        return NextStep.NONE, None
    if state.config_id is not None:
        is_skipped = bool(state.route) and state.route[0].status == "skipped"
        return NextStep.EDIT_SERVER if is_skipped else NextStep.TEST_SERVER, state.config_id
    if state.env.can_be_tested:
        return NextStep.SEE_SERVERS, None
    return NextStep.ACTIVATE if has_configs else NextStep.ADD_SERVER, None
