"""An installation's own templates of mails: the folder MAIL_TEMPLATES, laid out as ``templates/email`` is.

A file there stands in for the built-in one of the same name, part by part: a subject of its own, and the built-in body.
"""

import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from jinja2 import BaseLoader, Environment, TemplateError, TemplateNotFound, TemplateSyntaxError, UndefinedError
from jinja2.exceptions import SecurityError

from services.message.sandbox import TOO_MUCH, BoundedEnvironment, TooMuch, bounded
from utils.env_utils import ROOT

FOLDER: Final = ROOT / "templates" / "email"  # the built-in ones
PARTS: Final = ("subject.txt", "body.txt", "body.html")
SUBJECT, TEXT, HTML = PARTS
SAMPLE: Final = "sample.json"
LARGEST: Final = 128 * 1024  # octets of a file
MOST: Final = 500  # templates of a folder
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_FILE: Final = re.compile(rf"(?:{NAME.pattern}/)?[A-Za-z0-9_][A-Za-z0-9_-]{{0,63}}\.(?:html|txt|json)")

ODD_NAME: Final = "Its name has other characters than letters, digits, - and _."
LEADS_OUT: Final = "It leads out of the folder."
NO_FILE: Final = "It is not a file."
TOO_LARGE: Final = f"It is larger than {LARGEST // 1024} KB."
NO_TEXT: Final = "It is not text in UTF-8."
UNREADABLE: Final = "It cannot be read."
NO_SUBJECT: Final = "It has no subject.txt."
NO_BODY: Final = "It has neither body.txt nor body.html."
TOO_DEEP: Final = "It includes itself."
NO_PART: Final = "It uses a part of a value that is not there."
NOT_ALLOWED: Final = "It uses something that templates may not use."

_PROBLEMS: Final[tuple[tuple[tuple[type[Exception], ...], str], ...]] = (
    ((RecursionError,), TOO_DEEP),
    ((TooMuch, MemoryError, OverflowError), TOO_MUCH),
    ((SecurityError,), NOT_ALLOWED),
)


@dataclass(frozen=True)
class TemplateFault:
    """What is wrong with a template: in which file, in which line if that is known, in a sentence."""

    file: str
    line: int | None
    problem: str

    def __str__(self) -> str:
        place = f"{self.file}, line {self.line}" if self.line else self.file
        return f"{place}: {self.problem}"


class RefusedFile(TemplateError):
    """A file that is there, and is not read."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(problem)
        self.name = name


class OwnLoader(BaseLoader):
    """Files of the folder, and for those that it has not the built-in ones. A change shows at the next mail."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        found, mark = read(self._folder, template), _mark(self._folder, template)
        if found is None and _FILE.fullmatch(template):
            built_in = FOLDER / template
            found = built_in.read_text() if built_in.is_file() else None
        if found is None:
            raise TemplateNotFound(template)
        return found, template, lambda: _mark(self._folder, template) == mark


@lru_cache(maxsize=4)
def environment(folder: Path) -> BoundedEnvironment:
    return BoundedEnvironment(OwnLoader(folder))


def read(folder: Path, name: str) -> str | None:
    """The text of a file of the folder; None if it is not there. Raises RefusedFile."""
    if not _FILE.fullmatch(name):
        return None
    try:
        place = (folder / name).resolve(strict=True)
        if not place.is_relative_to(folder.resolve(strict=True)):
            raise RefusedFile(name, LEADS_OUT)
        if not stat.S_ISREG(place.stat().st_mode):
            raise RefusedFile(name, NO_FILE)
        with place.open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise RefusedFile(name, TOO_LARGE)
        return data.decode().removeprefix("\ufeff").replace("\r\n", "\n")
    except (FileNotFoundError, NotADirectoryError):
        if (folder / name).is_symlink():
            raise RefusedFile(name, LEADS_OUT) from None
        return None
    except (OSError, RuntimeError):  # a link that leads to itself
        raise RefusedFile(name, UNREADABLE) from None
    except UnicodeDecodeError:
        raise RefusedFile(name, NO_TEXT) from None


def render(folder: Path, name: str, values: dict[str, object]) -> dict[str, str]:
    """Each part of a mail that there is, rendered. Raises TemplateNotFound, or what is wrong with the template.

    A template without a subject, or without any body, is refused.
    """
    own = environment(folder)
    with bounded():
        found = {part: text for part in PARTS if (text := _rendered(own, f"{name}/{part}", values)) is not None}
    if not found:
        raise TemplateNotFound(name)
    if not found.get(SUBJECT, "").strip():
        raise RefusedFile(f"{name}/{SUBJECT}", NO_SUBJECT)
    if not any(found.get(part, "").strip() for part in (TEXT, HTML)):
        raise RefusedFile(name, NO_BODY)
    return found


def _rendered(own: Environment, name: str, values: dict[str, object]) -> str | None:
    try:
        template = own.get_template(name)
    except TemplateNotFound as missing:
        if missing.name == name:
            return None
        raise
    return template.render(values)


def names(folder: Path) -> Iterator[tuple[str, str]]:
    """The templates that the folder has, each with why it cannot be one, or ""."""
    try:
        entries = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() or entry.is_symlink())
    except OSError:
        return
    for name in entries[:MOST]:
        if name.startswith((".", "_", "..")):
            continue
        if not NAME.fullmatch(name):
            yield ascii(name)[1:-1][:64], ODD_NAME
        elif not (folder / name).resolve().is_relative_to(folder.resolve()):
            yield name, LEADS_OUT
        else:
            yield name, ""


def fault_of(name: str, error: Exception) -> TemplateFault:
    """What is wrong with the template of this name, from what was raised while it was rendered."""
    if isinstance(error, RefusedFile):
        return TemplateFault(error.name, None, str(error))
    if isinstance(error, TemplateSyntaxError):
        return TemplateFault(error.name or name, error.lineno, _sentence(error.message or NO_TEXT))
    file, line = _place(error) or (name, None)
    return TemplateFault(file, line, _problem(error))


def _problem(error: Exception) -> str:
    """In words that hold nothing of a value."""
    if isinstance(error, TemplateNotFound):
        return f"There is no {error.name}."
    if isinstance(error, UndefinedError):
        told = error.message or ""
        return _sentence(told) if told.endswith(" is undefined") else NO_PART
    for kinds, told in _PROBLEMS:
        if isinstance(error, kinds):
            return told
    return f"It fails with {type(error).__name__}."


def _place(error: Exception) -> tuple[str, int] | None:
    """The file and line of the template that an error came from: Jinja lets them stand in the traceback."""
    found, step = None, error.__traceback__
    while step is not None:
        file = step.tb_frame.f_code.co_filename
        if _FILE.fullmatch(file):
            found = (file, step.tb_lineno)
        step = step.tb_next
    return found


def _sentence(text: str) -> str:
    text = " ".join(text.split())[:200].rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."


def _mark(folder: Path, name: str) -> tuple[int, int] | None:
    """By which it is known whether a file has changed."""
    try:
        found = (folder / name).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
