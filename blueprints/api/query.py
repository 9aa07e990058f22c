"""Reading a query strictly: each parameter known, with a value that is meant, and given once unless it is a list."""

from typing import TypeVar, get_origin

from flask import request
from pydantic import BaseModel
from pydantic_core import PydanticCustomError

from services.settings.fields import Checked, checked
from utils.errors import InvalidInput
from utils.numbers import whole_number

_Model = TypeVar("_Model", bound=BaseModel)


def parsed_query(model: type[_Model]) -> _Model:
    """The request's query as ``model``. Raises InvalidInput."""
    lists = {name for name, field in model.model_fields.items() if get_origin(field.annotation) is list}
    given = dict(request.args.lists())
    repeated = [name for name, values in given.items() if len(values) > 1 and name not in lists]
    if repeated:
        raise InvalidInput(
            {name if name in model.model_fields else "form": ["Enter it only once."] for name in repeated}
        )
    return checked(model, {name: values if name in lists else values[0] for name, values in given.items()})


def number_parameter(low: int, high: int, told: str) -> Checked:
    """A parameter that is a whole number; ``told`` is what the document says of it."""

    def number(text: str) -> int:
        found = whole_number(text, low, high)
        if found is None:
            raise PydanticCustomError("refused", f"Enter a whole number from {low} to {high}.")
        return found

    return Checked(number, "integer", told, minimum=low, maximum=high)
