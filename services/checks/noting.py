"""What a connection test came to, written down: in the trail, on the server that was tested, and for how that is."""

from dataclasses import replace

from sqlalchemy.orm import Session

from database import smtp_db
from database.engine import transaction
from services.checks.connection_test import TestResult
from services.delivery import refused_recipient, retry_policy
from services.delivery.outcome import meeting_of
from services.outbox import log
from services.settings import configs, health, route, sealing
from services.settings.health import Meeting, What
from services.smtp.settings import SmtpSettings
from utils import incidents
from utils.errors import Fault


def note_test(settings: SmtpSettings, result: TestResult, config_id: int | None) -> None:
    """Write down a test of these settings; those of the stored server with this id, of `.env`, or of neither.

    A failed test takes the mark of an earlier one away, unless it says nothing of the settings: a mistyped recipient,
    or a mistake of ours. Never raises: a result that cannot be written down is told all the same.
    """
    for write_down in (_mark, _note_health):
        try:
            write_down(settings, result, config_id)
        except Exception as error:
            incidents.report("test_not_written_down", error)


def _mark(settings: SmtpSettings, result: TestResult, config_id: int | None) -> None:
    error = result.error
    if error is None:
        configs.mark_tested(settings, None, config_id, reach=result.reach)
        return
    says_nothing = error.fault is Fault.OURS or refused_recipient.is_about_mailbox(error, is_local=True)
    configs.mark_tested(settings, result.message, config_id, keeps_mark=says_nothing)


def _note_health(settings: SmtpSettings, result: TestResult, config_id: int | None) -> None:
    meeting = _meeting(result)
    if meeting is None:
        return
    if config_id is None:
        step = route.without_database()
        if step.source != health.ENV or step.settings is None or step.fingerprint != sealing.fingerprint(settings):
            return
        owner = step.owner
    else:
        owner = health.owner_of(config_id)
        if not configs.holds(config_id, settings):
            return
    with transaction() as session:
        health.note(session, owner, config_id, sealing.fingerprint(settings), [meeting])
        if meeting.what is What.WENT:
            log.let_go(session, _account_of(session, config_id))


def _account_of(session: Session, config_id: int | None) -> int | None:
    config = smtp_db.find(session, config_id) if config_id is not None else None
    return config.account_id if config else None


def _meeting(result: TestResult) -> Meeting | None:
    if result.error is None:
        return Meeting(what=What.WENT, is_test=not result.message_id) if result.ok else None
    if result.error.ended_by_us:
        return None
    met = meeting_of(retry_policy.of_error(result.error), is_weighed=True, is_test=True)
    return replace(met, is_refused_sign_in=result.error.is_refused_sign_in) if met else None
