"""What nobody foresaw: one line in the log without a value of the moment, and the reference that leads to it."""

import os
import secrets
import threading
import traceback
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Final

import structlog

from utils.errors import AppError
from utils.log_utils import printable

_ROOT: Final = Path(__file__).parent.parent
_LAYERS: Final = {"app.py", "blueprints", "services", "database", "utils"}
_LIBRARIES: Final = "site-packages"
_STANDARD: Final = Path(os.__file__).parent
_FIRST: Final = 10  # of the frames of an endless recursion, say, these and
_LAST: Final = 30  # these are told
_CHAIN: Final = 6  # exceptions that led to one another

STOPS: Final = (KeyboardInterrupt, SystemExit, GeneratorExit)  # they are meant, unlike a panic in compiled code

log = structlog.get_logger(__name__)


def report(event: str, error: BaseException, **facts: object) -> str:
    """Log ``error`` by its class, its way through the code, and ``facts``; give the reference, which may be shown.

    Its message stays out of the log: it can repeat anything, a password too. So do lines of source and variables.
    Only what an error of ours says is written for people.
    """
    reference = secrets.token_hex(4).upper()
    said = {"said": error.message} if isinstance(error, AppError) else {}
    told = {"kind": _kind(error), "where": place(error), **said, **facts, "traceback": _way(error)}
    log.error(event, reference=reference, **told)
    return reference


def place(error: BaseException) -> str:
    """The last place in our code that ``error`` went through, like ``services/x.py:12 in run``."""
    places = [_place(frame, line) for frame, line in traceback.walk_tb(error.__traceback__) if _is_ours(frame)]
    return places[-1] if places else "elsewhere"


def watched(work: Callable[[], object]) -> Callable[[], None]:
    """``work`` as what a thread runs: should it break, that is reported, where Python would print it with its words."""

    def run() -> None:
        try:
            work()
        except STOPS:
            raise
        except BaseException as error:
            report("thread_broken", error, thread=threading.current_thread().name)

    return run


def each_of(*works: Callable[[], object]) -> None:
    """Do each of these, whatever becomes of the others; raise then what the first that failed has raised.

    Whoever does them again and again hears of the others' errors once that is mended.
    """
    errors = []
    for work in works:
        try:
            work()
        except Exception as error:
            errors.append(error)
    if errors:
        raise errors[0]


def _way(error: BaseException) -> list[str]:
    """Each exception that led to ``error`` and itself, the first one first: its class, then its frames."""
    chain = list(islice(_causes(error), _CHAIN))
    return [line for each in reversed(chain) for line in (f"{_kind(each)}:", *_frames(each))]


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _frames(error: BaseException) -> list[str]:
    frames = [_place(frame, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    left_out = len(frames) - _FIRST - _LAST
    return [*frames[:_FIRST], f"… {left_out} more …", *frames[-_LAST:]] if left_out > 0 else frames


def _kind(error: BaseException) -> str:
    return printable(f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins."), 150)


def _is_ours(frame: FrameType) -> bool:
    file = Path(frame.f_code.co_filename)
    return file.is_relative_to(_ROOT) and file.relative_to(_ROOT).parts[0] in _LAYERS


def _place(frame: FrameType, line: int) -> str:
    """File, line and function; the file as it is called everywhere, not by where it was put on this machine."""
    file = Path(frame.f_code.co_filename)
    if _LIBRARIES in file.parts:
        name = file.as_posix().rpartition(f"{_LIBRARIES}/")[2]
    else:
        home = next((home for home in (_ROOT, _STANDARD) if file.is_relative_to(home)), file.parent)
        name = file.relative_to(home).as_posix()
    return printable(f"{name}:{line} in {frame.f_code.co_name}")
