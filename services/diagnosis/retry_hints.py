"""When a server says in words how long to wait."""

import re
from typing import Final

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_HINT: Final = re.compile(
    r"\b(?:in|after|for|wait|next|within)\s+(?:(?:about|at least|another|the|next|approximately)\s+){0,2}"
    r"(\d{1,6}|an?|one)\s*(s|sec(?:ond)?s?|m|min(?:ute)?s?|h|hours?|days?)\b",
    re.IGNORECASE | re.ASCII,
)
_CLOCK: Final = re.compile(r"\b(?:in|after|for|wait)\s+(\d{2}):(\d{2}):(\d{2})\b", re.IGNORECASE | re.ASCII)
_ASKS: Final = re.compile(
    r"\b(?:again|retry|wait|later|back|delay\w*|defer\w*|greylist\w*|throttl\w*)\b", re.IGNORECASE
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
    elif hint := _HINT.search(text):
        number, unit = hint.groups()
        seconds = (int(number) if number.isdigit() else 1) * _UNITS[unit[0].lower()]
    return min(seconds, _UNITS["d"]) if seconds else None
