"""Exceptions that nobody foresaw: the mail that they met waits, and the log tells which they were."""

from typing import Final

from utils import incidents
from utils.errors import DeliveryError, Fault, Phase, Temporary

PAUSE: Final = 5 * 60.0  # seconds that a mail rests which met one


def told(event: str, error: BaseException, **facts: object) -> DeliveryError:
    """The failure that stands for ``error``, before anything of the mail was said; its text has the log's reference."""
    reference = incidents.report(event, error, **facts)
    return Temporary(Phase.SETTINGS, Fault.OURS, f"Sealpost failed. Reference: {reference}.")
