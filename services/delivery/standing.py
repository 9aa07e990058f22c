"""How each server stands with this process: whether its circuit lets a mail go, and what its answer tells of it."""

from collections.abc import Collection

import structlog

from services.delivery.circuit import Admission, Circuits, Key
from services.delivery.outcome import Outcome
from services.outbox.reasons import words
from services.settings.route import RouteStep
from services.smtp import habits
from services.smtp.habits import Habit
from utils import application
from utils.errors import Phase

log = structlog.get_logger(__name__)


def admit(server: RouteStep, mails: Collection[int], *, is_security: bool) -> Admission:
    """Which of these mails the server's circuit lets go now."""
    return _circuits().admit(Key(server.owner, server.fingerprint), mails, is_urgent=is_security)


def note(server: RouteStep, mail: int, outcome: Outcome) -> bool:
    """Let the circuit know what became of a mail; whether what the server said is about this mail alone."""
    circuits, key = _circuits(), Key(server.owner, server.fingerprint)
    verdict, error = outcome.verdict, outcome.error
    if verdict is None or error is None:
        circuits.note_success(key)
        return False
    cause = verdict.reason  # which the mails show that wait for it
    is_about_it = False
    if verdict.is_doubtful:
        # At MAIL, the server has heard nothing yet that sets this mail apart.
        is_likely = verdict.opens or error.phase is Phase.SENDER
        is_about_it = not circuits.note_doubt(key, mail, is_likely=is_likely, long=verdict.opens, cause=cause)
    elif verdict.trips or verdict.opens:
        circuits.note_failure(key, long=verdict.opens, cause=cause, is_unreachable=verdict.is_unreachable)
    elif verdict.is_an_answer:
        circuits.note_success(key)  # if only to refuse this mail
    if verdict.opens and not is_about_it:
        log.warning("server_paused", server=server.name, config_id=server.config_id, reason=words(verdict.reason))
    return is_about_it


def pause_of(server: RouteStep) -> float:
    """For how many seconds this process still leaves the server alone."""
    return _circuits().pause(Key(server.owner, server.fingerprint))


def place_of(server: RouteStep) -> tuple[str, int]:
    """Its host and port, by which its habits are known."""
    return (server.settings.host, server.settings.port) if server.settings else ("", 0)


def goes_blind(server: RouteStep) -> bool:
    """Whether a whole group may be on its way before the first answer comes."""
    return habits.habits_of(*place_of(server)).shows(Habit.SWALLOWS)


def _circuits() -> Circuits:
    """The circuits of this application in this process."""
    return application.kept("sealpost_circuits", Circuits)
