"""Whole numbers as people, programs and addresses write them."""

from typing import Final

LARGEST: Final = 2**31 - 1  # of an id or a version: more fits in no column
_MEGABYTE: Final = 1_000_000
_KILOBYTE: Final = 1_000


def whole_number(text: str, low: int = 0, high: int = LARGEST) -> int | None:
    """The number from ``low`` to ``high`` that this text writes in ASCII digits, or None.

    `int` alone also reads "٣", "1_000" and " 7 ", and raises for some thousand digits.
    """
    if not text.isascii() or not text.isdigit() or len(text) > len(str(high)):
        return None
    number = int(text)
    return number if low <= number <= high else None


def counted(number: int, noun: str) -> str:
    """The number with its noun, as in "1 mail" and "2 mails"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def up_to(number: int, most: int) -> str:
    """The number as people read it; one beyond ``most`` only as more than that, as in "10,000+"."""
    return f"{most:,}+" if number > most else f"{number:,}"


def readable_size(octets: int) -> str:
    """So many octets, as people read it."""
    if octets >= _MEGABYTE:
        return f"{octets / _MEGABYTE:.1f} MB"
    return f"{octets / _KILOBYTE:.1f} kB" if octets >= _KILOBYTE else f"{octets} bytes"


def number_or_text(text: str) -> int | str:
    """The number, or the text as it is for whoever checks it afterwards to refuse."""
    number = whole_number(text)
    return text if number is None else number
