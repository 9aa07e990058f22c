"""How mail is, in one word and one sentence, and the one thing to do next."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from services.checks import outlook
from services.checks.outlook import MailFitness, Outlook
from services.outbox import log
from services.settings import configs, route
from services.settings.state import SendingState

LATE: Final = "Some email is more than 15 minutes late."
NOBODY: Final = "Email is due, and no worker is sending it."


class NextStep(StrEnum):
    """What helps now, by the page where it is done. NONE: nothing there is to do, or only outside of Sealpost."""

    NONE = ""
    ADD_SERVER = "add_server"
    ACTIVATE = "activate"
    CONNECT = "connect"
    TEST_SERVER = "test_server"
    SEE_SERVERS = "see_servers"
    SEE_WAITING = "see_waiting"


_WORDS: Final = {"ok": "Working", "warning": "Needs attention", "error": "Down", "empty": "Not set up"}


@dataclass(frozen=True, kw_only=True)
class MailVerdict:
    """``level`` is ok, warning, error or empty, and ``word`` its name; ``sentence`` how mail is, ``detail`` why.

    ``config_id`` is the server that ``step`` is about, if it is about one; ``state`` how all servers are.
    ``is_only_about_ends``: mail gets out, and the warning is of what will end soon.
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
    has_configs = bool(configs.search()) if has_configs is None else has_configs
    found = outlook.look(has_configs=has_configs)
    if route.is_suppressed():
        is_down, is_late = False, False
    else:
        is_down, is_late = outlook.fitness(found) is MailFitness.DOWN, log.is_behind()
    return judged(found, is_down=is_down, is_late=is_late, has_configs=has_configs)


def judged(found: Outlook, *, is_down: bool, is_late: bool, has_configs: bool) -> MailVerdict:
    """The verdict that follows from how the servers are, and from whether email is late."""
    state = found.state
    sentence, detail = state.headline, state.detail
    step, config_id = _step(state, has_configs=has_configs)
    is_new = step is NextStep.ADD_SERVER and not (found.is_outage or is_down)
    level = "empty" if is_new else _level(found, is_down=is_down, is_late=is_late)
    is_told = state.level in ("warning", "error", "empty")
    if not is_told and found.is_unattended:
        sentence, detail, step, config_id = NOBODY, log.NOBODY_SENDS, NextStep.SEE_WAITING, None
    elif not is_told and (is_late or is_down):
        sentence, detail, step, config_id = LATE, state.headline, NextStep.SEE_WAITING, None
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
        return NextStep.TEST_SERVER, state.config_id
    if not has_configs:
        return NextStep.ADD_SERVER, None
    return (NextStep.SEE_SERVERS if state.since or state.has_trouble else NextStep.ACTIVATE), None
