"""The API document, generated from the routes and from the very models that validate them."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from flask import current_app
from pydantic import BaseModel, ConfigDict
from pydantic.json_schema import models_json_schema

from blueprints.api import samples
from services.accounts.api_tokens import MEANINGS, Scope
from utils.env_utils import get_settings

SUCCESSES: Final = (200, 201, 202)
CONVERTER = re.compile(r"<(?:\w+:)?(\w+)>")
IN_BRACES = re.compile(r"{(\w+)}")
REF = "#/components/schemas/{model}"


class AnyAnswer(BaseModel):
    """Only the document is made from it. Pydantic finishes it when that is asked for: few processes ever are."""

    model_config = ConfigDict(defer_build=True)

    status: str


class ErrorAnswer(AnyAnswer):
    """Every error. ``errors`` stands there where fields were refused."""

    status: str = "error"
    message: str
    errors: dict[str, list[str]] | None = None


_View = TypeVar("_View", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What the document says of a route beyond its path; it decorates the view.

    ``example`` and ``answer`` are a body and what it is answered with, ``example_query`` what stands behind the path.
    """

    summary: str
    tag: str
    answers: Mapping[int, type[BaseModel]]
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    body_required: bool = True
    example: Mapping[str, object] | None = None
    streams: bool = False
    media: tuple[str, ...] = ()  # what else than JSON can be asked for
    description: str = ""
    answer: Mapping[str, object] | None = None
    example_query: str = ""

    def __call__(self, view: _View) -> _View:
        view.operation = self  # type: ignore[attr-defined]
        return view


def build_document() -> dict[str, Any]:
    """OpenAPI 3.1 for every documented route."""
    operations = _operations()
    models: set[type[BaseModel]] = {ErrorAnswer}
    models.update(model for _, _, known, _ in operations for model in _models_of(known))
    _, schemas = models_json_schema(
        [(model, "validation") for model in sorted(models, key=lambda model: model.__name__)],
        ref_template=REF,
    )
    paths: dict[str, dict[str, Any]] = {}
    for path, method, operation, scope in operations:
        # A role is what OpenAPI 3.1 has for what a bearer token must be good for.
        paths.setdefault(path, {})[method] = {**_described(operation, path, method), "security": [{"bearer": [scope]}]}
    settings = get_settings()
    schemas = _without_null_defaults(schemas["$defs"])
    for path, method, operation, _ in operations:
        _show(operation, path, method, paths[path][method], schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": f"{settings.app_name} mail settings", "version": "1"},
        "servers": [{"url": settings.base_url}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "description": _OF_TOKENS}},
        },
    }


def _operations() -> list[tuple[str, str, Operation, Scope]]:
    """Path, method, what is said of it, and the scope that a token must have."""
    found = []
    for rule in current_app.url_map.iter_rules():
        view = current_app.view_functions[rule.endpoint]
        operation, scope = getattr(view, "operation", None), getattr(view, "scope", Scope.ADMIN)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            if operation:
                found.append((CONVERTER.sub(r"{\1}", rule.rule), method.lower(), operation, scope))
    return sorted(found, key=lambda known: (known[0], known[1]))


def _models_of(operation: Operation) -> list[type[BaseModel]]:
    return [*operation.answers.values(), *([operation.body] if operation.body else [])]


def _described(operation: Operation, path: str, method: str) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{method}{path}").rstrip("_"),
        "summary": operation.summary,
        "description": operation.description,
        "tags": [operation.tag],
        "responses": {
            str(status): _answer(status, model, (*operation.media, *([_LINES] if operation.streams else [])))
            for status, model in sorted(operation.answers.items())
        },
    }
    parameters = [*_in_path(path), *(_in_query(operation.query) if operation.query else [])]
    if parameters:
        described["parameters"] = parameters
    if operation.body:
        content: dict[str, Any] = {"schema": {"$ref": REF.format(model=operation.body.__name__)}}
        if operation.example:
            content["example"] = operation.example
        described["requestBody"] = {
            "required": operation.body_required,
            "content": {"application/json": content},
        }
    return described


def _show(operation: Operation, path: str, method: str, described: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Add one call by curl, and the answer to it."""
    place = samples.url(get_settings().base_url, path, operation.example_query)
    body = operation.example if operation.body_required or operation.example else None
    call = samples.curl(method.upper(), place, body)
    described["x-codeSamples"] = [{"lang": "Shell", "label": "curl", "source": call}]
    status = next(status for status in SUCCESSES if str(status) in described["responses"])
    if operation.body and str(202) in described["responses"]:
        status = 202
    content = described["responses"][str(status)]["content"]["application/json"]
    content["example"] = operation.answer or samples.of_schema(content["schema"], schemas)


def _in_path(path: str) -> list[dict[str, Any]]:
    """Every variable part of a path is the number of a row, but for the id of a mail."""
    number = {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}
    mail_id = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
    return [
        {"name": name, "in": "path", "required": True, "schema": mail_id if name == "mail_id" else number}
        for name in IN_BRACES.findall(path)
    ]


def _in_query(model: type[BaseModel]) -> list[dict[str, Any]]:
    fields = _without_null_defaults({"": model.model_json_schema()})[""].get("properties", {})
    return [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in fields.items()]


_LINES: Final = "application/x-ndjson"
_MEANT: Final = "; ".join(f"{scope} ({meaning})" for scope, meaning in MEANINGS.items())
_OF_TOKENS: Final = (
    "An API token, created at /account/tokens or by flask token create, sent as Authorization: Bearer sealpost_…. "
    f"Each allows what its scopes say: {_MEANT}; admin includes the others. ADMIN_TOKEN allows everything except what "
    "belongs to an account."
)
DESCRIPTIONS: Final = {
    200: "Done",
    201: "Created",
    202: "Accepted and queued",
    400: "Not JSON, not an object, or a key twice",
    401: "No token, or one that is not valid",
    403: "Not an administrator, a token without the scope, or turned off by an administrator",
    404: "No such id, or SMTP not configured",
    409: "Changed by someone else, or too late",
    413: "Larger than 64 KiB, or 40 MB where emails are sent",
    415: "Not application/json",
    422: "A field is not valid, or the test failed",
    429: "Too many requests; see Retry-After",
    503: "The database is unavailable",
}


def _answer(status: int, model: type[BaseModel], media: Sequence[str]) -> dict[str, Any]:
    schema = {"$ref": REF.format(model=model.__name__)}
    content: dict[str, Any] = {"application/json": {"schema": schema}}
    if status == 200:  # noqa: PLR2004
        content |= {each: {"schema": {"type": "string"}} for each in media}
    return {"description": DESCRIPTIONS[status], "content": content}


def _without_null_defaults(schemas: dict[str, Any]) -> dict[str, Any]:
    """Absent means «as stored»; the stand-in defaults of the models are no part of the contract."""
    for schema in schemas.values():
        for facts in schema.get("properties", {}).values():
            facts.pop("default", None)
            facts.pop("title", None)
    return schemas
