"""The colours of a mail, made from one: whatever it is, text in it and on it can be read in both themes (WCAG 2.2)."""

import re
from dataclasses import dataclass
from typing import Final

USUAL: Final = "#4F46E5"
READABLE: Final = 4.5  # 1.4.3: text against what it stands on
VISIBLE: Final = 3.0  # 1.4.11: the edge of a button
# What our mails stand on, as templates/email/_base.html has it: the page and the card, in both themes.
_LIGHT: Final = ("#f4f4f7", "#ffffff")
_DARK: Final = ("#12141a", "#1b1e26")
_ON_IT: Final = ("white", "black")
_NAMED: Final = {"white": "#ffffff", "black": "#000000"}
_USUAL_IN_THE_DARK: Final = "#a9b1ff"
_STEPS: Final = 50
_SHORT: Final = 3  # digits of #48e
_COLOUR: Final = re.compile(r"#?([0-9A-Fa-f]{6}|[0-9A-Fa-f]{3})")
_Rgb = tuple[float, float, float]

NO_COLOUR: Final = f"Enter a colour as six hexadecimal digits, like {USUAL}."


@dataclass(frozen=True, kw_only=True)
class Shades:
    """``on_button`` is text on a button of ``button``; ``text`` and ``text_dark`` are the name and links in each theme.

    ``edge`` and ``edge_dark`` are drawn round a button that would not stand out, and "" where it does.
    """

    button: str
    on_button: str
    text: str
    text_dark: str
    edge: str
    edge_dark: str


def parse(text: str) -> str:
    """A colour as ``#RRGGBB``. Raises ValueError."""
    found = _COLOUR.fullmatch(text.strip())
    if not found:
        raise ValueError(NO_COLOUR)
    digits = found[1]
    return f"#{''.join(digit * 2 for digit in digits) if len(digits) == _SHORT else digits}".upper()


def shades(colour: str) -> Shades:
    """The shades of a colour that is as ``parse`` gives it."""
    text = _until_readable(colour, "#000000", _LIGHT)
    text_dark = _USUAL_IN_THE_DARK if colour == USUAL else _until_readable(colour, "#ffffff", _DARK)
    return Shades(
        button=colour,
        on_button=next(each for each in _ON_IT if contrast(_NAMED[each], colour) >= READABLE),
        text=text,
        text_dark=text_dark,
        edge="" if contrast(colour, _LIGHT[1]) >= VISIBLE else text,
        edge_dark="" if contrast(colour, _DARK[1]) >= VISIBLE else text_dark,
    )


def contrast(one: str, other: str) -> float:
    """How far two colours are apart, from 1 to 21."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _until_readable(colour: str, towards: str, grounds: tuple[str, ...]) -> str:
    """The colour, or as little as needed of another mixed into it."""
    for step in range(_STEPS + 1):
        mixed = _mixed(colour, towards, step / _STEPS)
        if all(contrast(mixed, ground) >= READABLE for ground in grounds):
            return mixed
    return towards


def _mixed(one: str, other: str, share: float) -> str:
    if not share:
        return one
    parts = zip(_rgb(one), _rgb(other), strict=True)
    return "#" + "".join(f"{round(255 * (mine + (theirs - mine) * share)):02X}" for mine, theirs in parts)


def _luminance(colour: str) -> float:
    low, ramp = 0.04045, 2.4
    red, green, blue = (part / 12.92 if part <= low else ((part + 0.055) / 1.055) ** ramp for part in _rgb(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _rgb(colour: str) -> _Rgb:
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return red, green, blue
