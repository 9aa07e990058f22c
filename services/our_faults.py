"""Exceptions that nobody foresaw: a mail or a test goes on with a failure of ours, and the log tells which it was."""

import secrets
import traceback
from pathlib import Path
from typing import Final

import structlog

from utils.errors import DeliveryError, Fault, Phase, Temporary

log = structlog.get_logger(__name__)

PAUSE: Final = 5 * 60.0  # seconds that a mail rests which met one


def told(event: str, error: Exception, **facts: object) -> DeliveryError:
    """The failure that stands for ``error``: its text has a reference, under which the log has class and place.

    What the exception says is not told: it may hold what was in the mail, or a secret.
    """
    reference = secrets.token_hex(4)
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    log.error(event, error=type(error).__name__, place=place, reference=reference, **facts)
    return Temporary(Phase.SETTINGS, Fault.OURS, f"The log of Sealpost has it under the reference {reference}.")
