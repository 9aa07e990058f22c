"""Whole numbers as people, programs and addresses write them."""

from typing import Final

LARGEST: Final = 2**31 - 1  # of an id or a version: more fits in no column


def whole_number(text: str, low: int = 0, high: int = LARGEST) -> int | None:
    """The number from ``low`` to ``high`` that this text writes in ASCII digits, or None.

    `int` alone also reads "٣", "1_000" and " 7 ", and raises for some thousand digits.
    """
    if not text.isascii() or not text.isdigit() or len(text) > len(str(high)):
        return None
    number = int(text)
    return number if low <= number <= high else None


def number_or_text(text: str) -> int | str:
    """The number, or the text as it is for whoever checks it afterwards to refuse."""
    number = whole_number(text)
    return text if number is None else number


def counted(number: object, thing: str) -> str:
    """The number with what it counts: one mail, two mails."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
