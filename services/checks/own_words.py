"""A test told without a word of the server's: whoever is no administrator may not look at servers through us."""

from dataclasses import replace
from typing import Final

from services.diagnosis import diagnosis
from services.outbox import reasons
from services.smtp.client import Step
from utils.errors import DeliveryError, Phase

# Of the phases before a server is heard the facts are our own, and so are those of what is looked at beside them.
_WELL: Final = {
    Phase.GREETING: "The server sent its greeting",
    Phase.EHLO: "The server accepted the EHLO name",
    Phase.ENCRYPTION: "Encrypted, and the certificate is valid",
    Phase.SIGN_IN: "Signed in",
    Phase.SENDER: "The server accepts mail from this address",
    Phase.RECIPIENT: "The server accepts mail to this address",
    Phase.DATA: "The server is ready for the message",
    Phase.MESSAGE: "The server accepted the message",
}
_DOUBTFUL: Final = {
    Phase.ENCRYPTION: "Encrypted, and a certificate expires soon",
    Phase.RECIPIENT: "The server refused mail to this address for now",
}


def of_step(step: Step) -> Step:
    """The same step, in our own words."""
    if not isinstance(step.name, Phase) or step.name not in _WELL or step.status == "skipped":
        return step
    fact = _WELL[step.name] if step.status == "ok" else reasons.words(diagnosis.phase_reason(step.name))
    if step.status == "warning":
        fact = _DOUBTFUL.get(step.name, fact)
    return replace(step, fact=fact)


def of_error(error: DeliveryError) -> DeliveryError:
    """The same error without its text; its codes are numbers."""
    silent = type(error)(
        error.phase,
        error.fault,
        code=error.code,
        enhanced=error.enhanced,
        may_have_been_sent=error.may_have_been_sent,
    )
    silent.ended_by_us = error.ended_by_us
    return silent
