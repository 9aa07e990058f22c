"""Reading a query strictly: each parameter known, given once, and with a value that is meant."""

from typing import TypeVar

from flask import request
from pydantic import BaseModel

from services.smtp_fields import checked
from utils.errors import InvalidInput

_Model = TypeVar("_Model", bound=BaseModel)


def parsed_query(model: type[_Model]) -> _Model:
    """The request's query as ``model``. Raises InvalidInput."""
    repeated = [name for name, values in request.args.lists() if len(values) > 1]
    if repeated:
        raise InvalidInput({name if name in model.model_fields else "form": ["Give it once."] for name in repeated})
    return checked(model, request.args.to_dict())
