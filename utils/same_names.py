"""What one object has under the names of another's fields: rows of the database, as the values that stand for them."""

from dataclasses import fields
from typing import Any


def shared(shape: type[Any], source: object) -> dict[str, Any]:
    """The fields of a dataclass that stand in ``source`` as they are, under the same name."""
    return {each.name: getattr(source, each.name) for each in fields(shape) if hasattr(source, each.name)}
