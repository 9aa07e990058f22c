"""What will end of a server as it is stored, or as `.env` has it: its facts, as the calendar asks for them."""

from services.connecting import calendar
from services.connecting.calendar import Ending, ServerFacts
from services.settings import server_habits
from services.settings.sealing import StoredConfig
from services.smtp import sasl
from services.smtp.habits import Habit
from services.smtp.settings import SmtpSettings
from utils import clock


def of_settings(settings: SmtpSettings) -> tuple[Ending, ...]:
    """The first to end first, of a server that is stored nowhere."""
    return _of(settings, has_password=bool(settings.password))


def of_stored(stored: StoredConfig) -> tuple[Ending, ...]:
    """The same of a stored one."""
    return _of(stored.settings, has_password=bool(stored.row.smtp_password))


def _of(settings: SmtpSettings, *, has_password: bool) -> tuple[Ending, ...]:
    facts = ServerFacts(
        host=settings.host,
        has_password=has_password and settings.auth_method not in sasl.BY_TOKEN,
        certificate=settings.client_certificate,
        last_day=str(server_habits.recall(settings.host, settings.port).name(Habit.CERTIFICATE) or ""),
    )
    return calendar.endings(facts, clock.now())
