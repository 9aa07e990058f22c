"""Reading the fields of a form, each of them once and as text."""

from flask import request

from utils.errors import MalformedInput


def text(name: str) -> str:
    """The field, or "" if it is absent. Raises MalformedInput if it was sent twice."""
    values = request.form.getlist(name)
    if len(values) > 1:
        raise MalformedInput("A field was sent twice. Reload the page.")
    return values[0] if values else ""


def ticked(name: str) -> bool:
    """Whether a checkbox was ticked."""
    return text(name) not in ("", "0", "false")
