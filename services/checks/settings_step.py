"""The first step of a connection test, before anything is said to anybody: what was entered."""

from typing import Final

from services.diagnosis import diagnosis
from services.smtp.dialogue import Step
from services.smtp.settings import Security, SmtpSettings
from utils.addresses import is_loopback
from utils.errors import Phase

_USUAL_MODES: Final = {465: Security.TLS, 587: Security.STARTTLS, 2465: Security.TLS, 2587: Security.STARTTLS}


def of(settings: SmtpSettings) -> Step:
    """The first step: what was entered, and a warning where port and encryption do not go together, or where
    characters look right and are not.
    """
    fact = f"{settings.host}, port {settings.port}, {settings.mode_name}"
    if odd := diagnosis.odd_in(settings):
        return Step(Phase.SETTINGS, "warning", 0, f"{fact}. {odd}")
    if settings.security is not _USUAL_MODES.get(settings.port, settings.security):
        return Step(Phase.SETTINGS, "warning", 0, f"{fact}: an unusual combination.")
    if settings.security is Security.NONE and not is_loopback(settings.host):
        return Step(Phase.SETTINGS, "warning", 0, f"{fact}: anyone on the network can read the mail.")
    return Step(Phase.SETTINGS, "ok", 0, fact)
