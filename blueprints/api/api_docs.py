"""The API document as it is sent, and as pages to read: authentication first, then a page for each subject."""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final, ParamSpec

from flask import Blueprint, Response, current_app, make_response, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user
from flask_wtf.csrf import generate_csrf
from markupsafe import Markup

from blueprints.access import any_token, signed_in
from blueprints.api import openapi
from blueprints.sessions import uses_bearer
from utils.env_utils import get_settings
from utils.errors import NotFound

bp = Blueprint("openapi", __name__)

P = ParamSpec("P")
EXTENSION: Final = "sealpost_api_document"
FIRST: Final = ("Sending", "Mail log", "Your own mail server")
PAGES: Final = ("openapi.page", "openapi.subject")

_building: Final = threading.Lock()  # two threads must not finish the same model at once


@dataclass(frozen=True)
class _Built:
    """The document as it is sent and as it is shown, by subject ("" is the first page), with its digest.

    Routes and models are the process's own.
    """

    json: bytes
    html: Mapping[str, Markup]
    digest: str


def document_reader(view: Callable[P, ResponseReturnValue]) -> Callable[P, ResponseReturnValue]:
    """Whoever is signed in or has a token; in development anybody. A person who is signed out is led to the sign-in."""

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
        if not get_settings().is_production:
            return view(*args, **kwargs)
        if uses_bearer():
            return by_token(*args, **kwargs)
        if not current_user.is_authenticated and request.accept_mimetypes.accept_html and request.endpoint in PAGES:
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
    """How to sign in, and what there is."""
    return _page("")


@bp.get("/api/docs/<name>")
@document_reader
def subject(name: str) -> Response:
    """All calls of one subject."""
    return _page(name)


def _page(name: str) -> Response:
    """A part of the document. What the page says beside it belongs to the session, and so does its tag."""
    built = _built()
    if name not in built.html:
        raise NotFound("No such subject.")
    tag = hashlib.sha256(f"{built.digest} {_whose_page()}".encode()).hexdigest()
    if "_flashes" in session:  # a message that is shown once must not be on a page that is kept
        return make_response(render_template("api/docs.html", part=built.html[name]))
    is_kept = tag in request.if_none_match
    text = "" if is_kept else render_template("api/docs.html", part=built.html[name])
    response = make_response(text, 304 if is_kept else 200)
    response.set_etag(tag)
    return _to_be_asked_for_again(response)


def _built() -> _Built:
    """What was built when it was first asked for in this process."""
    with _building:
        return _kept()


def _kept() -> _Built:
    built: _Built | None = current_app.extensions.get(EXTENSION)
    if built is None:
        described = openapi.build_document()
        body = current_app.json.dumps(described).encode() + b"\n"
        subjects = _subjects(described)
        html = {
            name: Markup(  # noqa: S704 - a template's
                render_template("api/_part.html", document=described, subjects=subjects, name=name, as_json=_as_json)
            )
            for name in ("", *subjects)
        }
        built = _Built(body, html, hashlib.sha256(body).hexdigest())
        current_app.extensions[EXTENSION] = built
    return built


def _subjects(described: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Each subject by its name in the address: its title, and its calls with method, path and what is said of them."""
    found: dict[str, dict[str, Any]] = {}
    for path, methods in described["paths"].items():
        for method, spec in methods.items():
            title = spec["tags"][0]
            name = re.sub(r"\W+", "-", title.lower())
            known = found.setdefault(name, {"title": title, "calls": []})
            known["calls"].append({"method": method, "path": path, "spec": spec})
    return dict(sorted(found.items(), key=lambda item: _place(item[1]["title"])))


def _as_json(example: object) -> str:
    """An example with its keys as they were given, which the tojson filter would sort."""
    return json.dumps(example, indent=2, ensure_ascii=False)


def _place(title: str) -> tuple[int, str]:
    """What most readers look for stands first."""
    return (FIRST.index(title) if title in FIRST else len(FIRST), title)


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
