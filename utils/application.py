"""What belongs to the application that is at work, which is asked for some twenty times with every mail."""

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

from flask import Flask, current_app

T = TypeVar("T")

# To ask the proxy for an attribute takes ten times as long.
_current: Final[Callable[[], Flask]] = current_app._get_current_object  # type: ignore[attr-defined]


def extensions() -> dict[str, Any] | None:
    """The extensions of the current application; None outside of any."""
    try:
        return _current().extensions
    except RuntimeError:
        return None


def kept(name: str, make: Callable[[], T]) -> T:
    """What the current application keeps under this name, made when it is first asked for.

    Raises RuntimeError outside of any.
    """
    found = _current().extensions
    return cast(T, found[name] if name in found else found.setdefault(name, make()))
