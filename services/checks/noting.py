"""What a connection test leaves behind: a line in the trail, and its mark on the configuration that it was of."""

from services.checks.connection_test import TestResult
from services.delivery import refused_recipient
from services.settings import configs
from services.smtp.settings import SmtpSettings
from utils.errors import Fault


def note(settings: SmtpSettings, result: TestResult, config_id: int | None) -> None:
    """Write the result down, on the stored configuration too if it is exactly its values that were tested.

    A failed test takes the mark of an earlier one away, unless it says nothing of the settings: a mistyped recipient,
    or a mistake of ours. Never raises.
    """
    error = result.error
    if error is None:
        configs.mark_tested(settings, None, config_id, reach=result.reach)
        return
    says_nothing = error.fault is Fault.OURS or refused_recipient.is_about_mailbox(error, is_local=True)
    configs.mark_tested(settings, result.message, config_id, keeps_mark=says_nothing)
