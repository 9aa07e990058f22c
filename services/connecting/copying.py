"""Lines to copy into somebody else's console: what was entered stands in them as one argument each, whatever it is.

PowerShell expands nothing within single quotes (about_Quoting_Rules). Its grammar takes four more characters for the
same quote, and each is written twice to stand for itself. Nothing of a line may begin a second one.
"""

import re
from dataclasses import dataclass
from string import Formatter
from typing import Final

from utils.addresses import BIDI_CONTROLS, CONTROLS

LONGEST_VALUE: Final = 320  # characters, which any address, id or domain has fewer of
_QUOTES: Final = re.compile("(['\u2018\u2019\u201a\u201b])")
_UNPAIRED: Final = re.compile("[\ud800-\udfff]")


class UnusableValue(ValueError):
    """What was entered cannot stand in a line that someone runs."""


@dataclass(frozen=True, kw_only=True)
class CopyLine:
    """A text to copy, and what it is. With ``lacking`` it is not whole, and says what to enter first."""

    label: str
    text: str
    lacking: str = ""
    is_code: bool = False  # a command, rather than a value for a field


def quoted(value: str) -> str:
    """The value as one argument of PowerShell. Raises UnusableValue."""
    value = value.strip(" ")
    is_odd = any(pattern.search(value) for pattern in (CONTROLS, BIDI_CONTROLS, _UNPAIRED))
    if is_odd or not value or len(value) > LONGEST_VALUE:
        raise UnusableValue
    return "'" + _QUOTES.sub(r"\1\1", value) + "'"


def command(label: str, form: str, names: dict[str, str], values: dict[str, str]) -> CopyLine:
    """A command: each ``{name}`` of ``form`` is replaced by the value of that name; ``names`` says what it is."""
    arguments, lacking = {}, ""
    for _, name, _, _ in Formatter().parse(form):
        if not name:
            continue
        try:
            arguments[name] = quoted(values[name])
        except UnusableValue:
            arguments[name] = f"‹{names[name]}›"
            lacking = lacking or _lacking(names[name], values[name])
    return CopyLine(label=label, text=form.format(**arguments), lacking=lacking, is_code=True)


def entry(label: str, text: str, lacking: str = "") -> CopyLine:
    """A text for a field of the provider's; ``lacking`` says what to enter first where there is none yet."""
    return CopyLine(label=label, text=text or "‹…›", lacking="" if text else lacking)


def _lacking(name: str, entered: str) -> str:
    if entered.strip(" "):
        return f"The {name} has a line break or a hidden character, or is too long. Enter it again."
    return f"Enter the {name} to fill this line in."
