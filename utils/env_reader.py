"""Typed values from the environment; a wrong one is refused with one line that names the variable."""

from collections.abc import Mapping
from typing import Final

from utils.numbers import whole_number

_YES: Final = ("true", "1", "yes", "on")
_NO: Final = ("false", "0", "no", "off")


class ConfigurationError(ValueError):
    """A wrong environment value, in one line: the message names the variable and never its value.

    A program (`make run`, `app:serve()`, a command) prints that line and exits; a library's caller may catch it.
    """


class Reader:
    """Reads typed values; an empty value counts as absent."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def text(self, name: str, default: str = "") -> str:
        return self._environment.get(name, "").strip() or default

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        number = whole_number(self.text(name, str(default)), low, high)
        if number is None:
            raise ConfigurationError(f"{name} must be a whole number from {low} to {high}.")
        return number

    def boolean(self, name: str, *, default: bool) -> bool:
        said = as_boolean(self.text(name, str(default)))
        if said is None:
            raise ConfigurationError(f"{name} must be true or false.")
        return said

    def choice(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        text = self.text(name, default)
        if text not in allowed:
            raise ConfigurationError(f"{name} must be one of: {', '.join(allowed)}.")
        return text

    def listed(self, name: str) -> list[str]:
        return [part for part in self.text(name).split(",") if part.strip()]

    def starting_with(self, prefix: str, *more: str) -> dict[str, str]:
        return {name: value for name, value in self._environment.items() if name.startswith(prefix) or name in more}


def as_boolean(text: str) -> bool | None:
    """What a variable says, or None if it is neither yes nor no."""
    return True if text.lower() in _YES else False if text.lower() in _NO else None
