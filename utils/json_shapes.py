"""Dataclasses that are models of the API as they stand: what they hold as JSON."""

from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import PlainSerializer, TypeAdapter

Moment = Annotated[datetime, PlainSerializer(datetime.isoformat, return_type=str)]
_ADAPTERS: Final[dict[type[object], TypeAdapter[Any]]] = {}


def json_of(shape: type[object], value: object) -> dict[str, Any]:
    """The fields of ``value`` that ``shape`` has, which is its class or one above it."""
    adapter = _ADAPTERS.get(shape) or _ADAPTERS.setdefault(shape, TypeAdapter(shape))
    fields: dict[str, Any] = adapter.dump_python(value, mode="json")
    return fields
