"""When a server says in words how long to wait."""

import re
from typing import Final

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LENGTH: Final = r"(\d{1,6}|an?|one)[\s-]*(s|sec(?:ond)?(?:s|\(s\))?|m|min(?:ute)?(?:s|\(s\))?|h|hours?|days?)\b\)?"
_HINT: Final = re.compile(
    r"\b(?:in|after|for|wait|next|within)\s+(?:(?:about|at least|another|the|next|approximately)\s+){0,2}"
    rf"{_LENGTH}(?:,?\s+(?:and\s+)?{_LENGTH})?",
    re.IGNORECASE | re.ASCII,
)
# What is said of a lock needs no word before the time: "locked (30 minutes)", "a 15-minute lockout".
_LOCK: Final = re.compile(rf"\block\w*\W{{1,3}}{_LENGTH}|{_LENGTH}\W{{1,3}}lock", re.IGNORECASE | re.ASCII)
_CLOCK: Final = re.compile(r"\b(?:in|after|for|wait)\s+(\d{2}):(\d{2}):(\d{2})\b", re.IGNORECASE | re.ASCII)
_ASKS: Final = re.compile(
    r"\b(?:again|retry|wait|later|back|delay\w*|defer\w*|greylist\w*|throttl\w*"
    r"|(?:un)?lock\w*|suspend\w*|banned|blocked|too many (?:failed|bad|invalid|login|auth)\w*)\b",
    re.IGNORECASE,
)
_LONGEST: Final = 4096  # characters that are looked at


def reply_hint_seconds(text: str) -> int | None:
    """The seconds that a reply asks to wait ("try again in 5 minutes"), at most a day; None if it names none."""
    text = text[:_LONGEST]
    if not _ASKS.search(text):
        return None
    seconds = None
    if clock := _CLOCK.search(text):
        hours, minutes, rest = map(int, clock.groups())
        seconds = hours * 3600 + minutes * 60 + rest
    elif hint := _HINT.search(text) or _LOCK.search(text):
        said = [each for each in hint.groups() if each]
        seconds = sum(_seconds(number, unit) for number, unit in zip(said[::2], said[1::2], strict=True))
    return min(seconds, _UNITS["d"]) if seconds else None


def _seconds(number: str, unit: str) -> int:
    return (int(number) if number.isdigit() else 1) * _UNITS[unit[0].lower()]
