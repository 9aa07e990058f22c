"""What nobody foresaw: one line in the log without a value of the moment, and the reference that leads to it."""

import secrets
import traceback
from pathlib import Path
from types import FrameType
from typing import Final

import structlog

_ROOT: Final = Path(__file__).parent.parent
_LAYERS: Final = {"app.py", "blueprints", "services", "database", "utils"}

STOPS: Final = (KeyboardInterrupt, SystemExit, GeneratorExit)  # they are meant, unlike a panic in compiled code

log = structlog.get_logger(__name__)


def report(event: str, error: BaseException, **facts: object) -> str:
    """Log ``error`` by its class and its last place in our code; give the reference, which may be shown.

    Its message stays out of the log: it can repeat anything, a password too.
    """
    reference = secrets.token_hex(4).upper()
    kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    log.error(event, reference=reference, kind=kind, where=_last_place_of_ours(error), **facts)
    return reference


def _last_place_of_ours(error: BaseException) -> str:
    places = [place for frame, line in traceback.walk_tb(error.__traceback__) if (place := _place(frame, line))]
    return places[-1] if places else "elsewhere"


def _place(frame: FrameType, line: int) -> str:
    """Like ``services/x.py:12 in run``; "" if it is not ours."""
    file = Path(frame.f_code.co_filename)
    if not file.is_relative_to(_ROOT) or file.relative_to(_ROOT).parts[0] not in _LAYERS:
        return ""
    return f"{file.relative_to(_ROOT).as_posix()}:{line} in {frame.f_code.co_name}"
