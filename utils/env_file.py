"""`.env`, read strictly and literally: a line that python-dotenv would drop, or take for less, stops the start."""

import io
import os
import pwd
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dotenv import dotenv_values
from dotenv.parser import Binding, parse_stream

from utils.env_names import OURS, meant_by
from utils.env_reader import ConfigurationError

QUOTE: Final = "Put the whole value in 'single quotes', with \\' for a quote in it."
_ASSIGNED: Final = re.compile(r"^[^\S\n]*(?:export[^\S\n]+)?'?([A-Za-z_]\w*)'?[^\S\n]*=", re.MULTILINE)
_FIRST_WORD: Final = re.compile(r"\s*(?:(?:export|set)\s+)?['\"]?([A-Za-z_]\w*)")
_NAME: Final = re.compile(r"[A-Za-z_][\w.-]*")
_PUBLIC_NAME: Final = re.compile(r"[A-Z][A-Z0-9_]*")
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True)
class EnvFile:
    """What a `.env` says: each variable's own text, and the names that it gives twice."""

    values: dict[str, str]
    repeated: list[str]


def read(path: Path) -> EnvFile:
    """Every variable of the file, without ``${…}`` interpolation; nothing if there is no file.

    Raises ConfigurationError with the file, the line and the variable, and nothing of its value.
    """
    values: dict[str, str] = {}
    repeated: list[str] = []
    for name, value in _bindings(path, _text_of(path)):
        if name in OURS and values.get(name, value) != value:
            repeated.append(name)
        values[name] = value
    return EnvFile(values, repeated)


def interpolated(path: Path) -> dict[str, str | None]:
    """The same with ``${…}`` filled in, as Flask's command line loads it before we run."""
    return dotenv_values(path, interpolate=True)


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else ""
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigurationError(f"{path}, line {line}: this is not UTF-8. Save the file as UTF-8.") from None
    except OSError:
        raise ConfigurationError(
            f"{path} cannot be read by {_who()}. Make that user its owner with chown, or run as its owner."
        ) from None


def _who() -> str:
    """The user of this process, as advice names it."""
    try:
        return f"the user {pwd.getpwuid(os.geteuid()).pw_name}"
    except KeyError:  # a container's nameless user
        return f"the user with the number {os.geteuid()}"


def _bindings(path: Path, text: str) -> Iterator[tuple[str, str]]:
    for binding in parse_stream(io.StringIO(text)):
        fault = _fault(binding)
        if fault:
            source = binding.original.string
            line = binding.original.line + source[: len(source) - len(source.lstrip())].count("\n")
            raise ConfigurationError(f"{path}, line {line}: {fault}")
        if binding.key is not None:
            yield binding.key, binding.value or ""


def _fault(binding: Binding) -> str:
    """What is wrong with a line, as a sentence that shows nothing of a value; "" if nothing is."""
    if binding.error:
        return f"{_named(binding.original.string)} cannot be understood. Write NAME=value. {QUOTE}"
    if binding.key is None:
        return ""
    if binding.value is not None:
        return _fault_of_value(binding.original.string, binding.key, binding.value)
    if _NAME.fullmatch(binding.key) and meant_by(binding.key) is None:
        return ""  # a bare name, as Docker's env files have them
    return f"{_named(binding.original.string)} has no = after its name. Write NAME=value."


def _fault_of_value(source: str, key: str, value: str) -> str:
    if "\0" in source:
        return f"{_named(source)} has a NUL character. Save the file as UTF-8."
    if "\n" in source.strip() and (key in OURS or _hides_ours(source)):
        return f"the quote after {_named(source)} ends on another line. {QUOTE}"
    if key in OURS and (_CONTROLS.search(value) or ("\t" in value and "\t" not in source)):
        return f'{key} has a \\ in "double quotes", which makes a control character. {QUOTE}'
    return ""


def _hides_ours(source: str) -> bool:
    """Whether a value that spans lines has swallowed one that sets a variable of ours."""
    return any(name in OURS for name in _ASSIGNED.findall(source.strip())[1:])


def _named(source: str) -> str:
    """The variable of a line, if the word is surely a name and no piece of a secret that was torn apart."""
    word = _FIRST_WORD.match(source)
    if word is None:
        return "this"
    name, behind = word[1], source[word.end() :].lstrip("'\" \t")
    is_name = (_PUBLIC_NAME.fullmatch(name) and behind.startswith("=")) or meant_by(name)
    return name if is_name else "this"
