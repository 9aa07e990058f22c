"""Codes that are stored, each with the words that people read."""

from enum import StrEnum
from typing import Self


class WordedCode(StrEnum):
    """A member is written as its code and the words for it: ``SENT = "sent", "Already sent"``."""

    text: str

    def __new__(cls, code: str, text: str = "") -> Self:
        found = str.__new__(cls, code)
        found._value_, found.text = code, text
        return found
