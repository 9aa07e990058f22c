"""The API document, generated from the routes and from the very models that validate them, and a page that shows it."""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

from flask import (
    Blueprint,
    Response,
    current_app,
    make_response,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from flask.typing import ResponseReturnValue
from flask_login import current_user
from flask_wtf.csrf import generate_csrf
from markupsafe import Markup
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from blueprints.access import any_token, signed_in
from blueprints.sessions import uses_bearer
from services.accounts.api_tokens import MEANINGS, Scope
from utils.env_utils import get_settings

bp = Blueprint("openapi", __name__)

P = ParamSpec("P")
EXTENSION: Final = "sealpost_api_document"
PAGE: Final = "openapi.page"
CONVERTER = re.compile(r"<(?:\w+:)?(\w+)>")
IN_BRACES = re.compile(r"{(\w+)}")
REF = "#/components/schemas/{model}"


class AnyAnswer(BaseModel):
    status: str


class ErrorAnswer(AnyAnswer):
    """Every error. ``errors`` stands there where fields were refused."""

    status: str = "error"
    message: str
    errors: dict[str, list[str]] | None = None


_View = TypeVar("_View", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What the document says of a route beyond its path; it decorates the view."""

    summary: str
    tag: str
    answers: Mapping[int, type[BaseModel]]
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    body_required: bool = True
    example: Mapping[str, object] | None = None
    streams: bool = False
    description: str = ""

    def __call__(self, view: _View) -> _View:
        view.operation = self  # type: ignore[attr-defined]
        return view


@dataclass(frozen=True)
class _Built:
    """The document as it is sent and as it is shown, each with its digest. Routes and models are the process's own."""

    json: bytes
    html: Markup
    digest: str


def document_reader(view: Callable[P, ResponseReturnValue]) -> Callable[P, ResponseReturnValue]:
    """Whoever is signed in or has a token; in development anybody. A person who is signed out is led to the sign-in."""

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
        if not get_settings().is_production:
            return view(*args, **kwargs)
        if uses_bearer():
            return by_token(*args, **kwargs)
        if not current_user.is_authenticated and request.accept_mimetypes.accept_html and request.endpoint == PAGE:
            return redirect(url_for("auth.login", next=request.path), 303)
        return by_session(*args, **kwargs)

    by_token, by_session = any_token(view), signed_in(view)
    guarded.guard = "document_reader"  # type: ignore[attr-defined]
    return guarded


@bp.get("/api/openapi.json")
@document_reader
def document() -> Response:
    """The OpenAPI document."""
    built = _built()
    response = current_app.response_class(built.json, mimetype="application/json")
    response.set_etag(built.digest)
    return _to_be_asked_for_again(response)


@bp.get("/api/docs")
@document_reader
def page() -> Response:
    """The same, to read. What the page says beside it belongs to the session, and so does its tag."""
    built = _built()
    tag = hashlib.sha256(f"{built.digest} {_whose_page()}".encode()).hexdigest()
    if "_flashes" in session:  # a message that is shown once must not be on a page that is kept
        return make_response(render_template("api/docs.html", operations=built.html))
    is_kept = tag in request.if_none_match
    text = "" if is_kept else render_template("api/docs.html", operations=built.html)
    response = make_response(text, 304 if is_kept else 200)
    response.set_etag(tag)
    return _to_be_asked_for_again(response)


def _built() -> _Built:
    """What was built when it was first asked for in this process."""
    built: _Built | None = current_app.extensions.get(EXTENSION)
    if built is None:
        described = build_document()
        body = current_app.json.dumps(described).encode() + b"\n"
        html = Markup(render_template("api/_operations.html", document=described))  # noqa: S704 - a template's
        built = _Built(body, html, hashlib.sha256(body).hexdigest())
        current_app.extensions[EXTENSION] = built
    return built


def _whose_page() -> str:
    if not current_user.is_authenticated:
        return "nobody"
    generate_csrf()  # what is not there yet, the page's own form would put there
    return f"{current_user.session.key} {current_user.is_admin} {session.get('csrf_token', '')}"


def _to_be_asked_for_again(response: Response) -> Response:
    """A browser may keep it for its own user, and asks each time whether it is still good."""
    response.headers["Cache-Control"] = "private, no-cache"
    response.vary.update(("Cookie", "Authorization"))
    response.make_conditional(request)
    return response


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
    return {
        "openapi": "3.1.0",
        "info": {"title": f"{settings.app_name} mail settings", "version": "1"},
        "servers": [{"url": settings.base_url}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": _without_null_defaults(schemas["$defs"]),
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
            str(status): _answer(status, model, operation.streams) for status, model in operation.answers.items()
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


_MEANT: Final = "; ".join(f"{scope} ({meaning})" for scope, meaning in MEANINGS.items())
_OF_TOKENS: Final = (
    "An API token, made at /account/tokens or by flask token create, sent as Authorization: Bearer sealpost_…. "
    f"Each is good for its scopes: {_MEANT}; admin includes the others. ADMIN_TOKEN is good for all but what is an "
    "account's own."
)
DESCRIPTIONS = {
    200: "Done",
    201: "Created",
    202: "Taken, and queued",
    400: "Not JSON, not an object, or a key given twice",
    401: "No token, or a wrong one",
    403: "Not an administrator, a token without the scope, or switched off",
    404: "There is none with this id; or SMTP not configured",
    409: "Somebody else saved meanwhile; or it is too late",
    413: "Larger than 64 KiB",
    415: "Not application/json",
    422: "A field was refused, or the test ran and failed",
    429: "Too many requests; see Retry-After",
    503: "The database takes no changes now",
}


def _answer(status: int, model: type[BaseModel], streams: bool) -> dict[str, Any]:
    schema = {"$ref": REF.format(model=model.__name__)}
    content: dict[str, Any] = {"application/json": {"schema": schema}}
    if streams and status == 200:  # noqa: PLR2004
        content["application/x-ndjson"] = {"schema": {"type": "string"}}
    return {"description": DESCRIPTIONS[status], "content": content}


def _without_null_defaults(schemas: dict[str, Any]) -> dict[str, Any]:
    """Absent means «as stored»; the stand-in defaults of the models are no part of the contract."""
    for schema in schemas.values():
        for facts in schema.get("properties", {}).values():
            facts.pop("default", None)
            facts.pop("title", None)
    return schemas
