"""What is wrong with the values of a stored row: they are checked again at each use, by the grammar of a save.

A row may have been edited in SQL, or saved when the rules were laxer; what a server or a header cannot be told must
not come to light in the middle of a mail.
"""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

from services.settings.fields import parse_change
from services.settings.row import StoredRow
from services.settings.table import CHECKED
from utils.errors import InvalidInput

Errors = Mapping[str, list[str]]

UNUSUAL: Final = "It is not written as Sealpost saves it; there may be an extra space."


def errors_of(row: StoredRow) -> Errors:
    """Each field that a save would refuse as it stands in the row, with what to do; empty for a good one."""
    return _errors_of(tuple(getattr(row, name) for name in CHECKED))


def in_words(errors: Errors) -> str:
    """One sentence about the first of the fields, and what to do."""
    field, sentences = next(iter(errors.items()))
    return f"The stored {CHECKED.get(field, field)} is not valid: {sentences[0]} Save the settings again."


@lru_cache(maxsize=256)
def _errors_of(values: tuple[Any, ...]) -> Errors:
    """Looked up for each mail, so what was found is kept."""
    stored = dict(zip(CHECKED, values, strict=True))
    try:
        change = parse_change(stored)
    except InvalidInput as refused:
        return MappingProxyType(refused.errors)
    unusual = [name for name, value in stored.items() if getattr(change, name) != value]
    return MappingProxyType({name: [UNUSUAL] for name in unusual})
