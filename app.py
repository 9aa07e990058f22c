"""Puts the application together. Here servers and Celery find it, and `python app.py` serves it."""

from utils import garbage

# isort: split
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, TypeVar

from flask import Flask, Response, current_app, request
from flask_bootstrap import Bootstrap5
from sqlalchemy.orm import Session, scoped_session
from werkzeug.exceptions import UnsupportedMediaType
from werkzeug.middleware.proxy_fix import ProxyFix

from blueprints import access, errors, large_body, serving, settings, way_back
from blueprints.api import (
    alerts_api,
    api_docs,
    branding_api,
    configs_api,
    domain_api,
    health,
    message_actions_api,
    message_export_api,
    messages_api,
    metrics_api,
    oauth_api,
    own_oauth_api,
    own_server_api,
    providers_api,
    send_api,
    senders_api,
    settings_api,
    suppressions_api,
    usage_api,
)
from blueprints.base_path import BelowPath
from blueprints.cli import commands, script
from blueprints.pages import (
    account,
    address_page,
    alert_pages,
    audit_pages,
    auth,
    branding_pages,
    connect_pages,
    domain_pages,
    emails,
    factor_policy_page,
    gateway_page,
    headers_page,
    inbox,
    mail_pages,
    many_mails,
    open_pixel,
    oversight_pages,
    own_connect_page,
    own_server_page,
    passkey_pages,
    people_pages,
    policy_pages,
    privacy_pages,
    security_pages,
    sender_pages,
    settings_form,
    single_sign_on,
    start_page,
    suppression_pages,
    template_pages,
    token_pages,
    typed_pages,
)
from blueprints.parts import Part, refuse_what_is_none
from database import engine, joined_session, migrating
from services.checks import start
from services.settings import route
from utils import late
from utils.env_reader import ConfigurationError
from utils.env_utils import EXTENSION, Settings, load_settings
from utils.errors import MalformedInput
from utils.home import home
from utils.log_utils import configure_logging, join_logging

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "object-src 'none'"
)
LARGEST_BODY = 64 * 1024
GUNICORN_GIVES_UP = 4  # gunicorn.arbiter.Arbiter.APP_LOAD_ERROR

Made = TypeVar("Made")
_making_guest: Final = threading.Lock()

garbage.look_again()


def create_app(
    environment: Mapping[str, str] | None = None,
    instance_path: Path | None = None,
    *,
    parts: Sequence[Part] = (),
    is_guest: bool = False,
) -> Flask:
    """An application for these settings, or the environment's. Starts no thread and prints nothing.

    ``parts`` are what another application adds to it: pages, calls and tables of its own (docs/embedding.md). One that
    ``is_guest`` in another application's process leaves that one's logging as it is.
    Raises ConfigurationError, a ValueError of one line that names the variable.
    """
    refuse_what_is_none(parts)
    config = load_settings(environment)
    if is_guest:
        join_logging(config.secrets())
    else:
        configure_logging(config.secrets(), as_json=config.is_production)
    app = Flask(__name__, instance_path=str(instance_path or home() / "instance"))
    if app.debug and (config.is_production or config.is_https):
        raise ConfigurationError("FLASK_DEBUG must be off in production: its debugger runs code for anyone who asks.")
    app.extensions[EXTENSION] = config
    app.config.update(
        SQLALCHEMY_DATABASE_URI=config.database_url,
        SQLALCHEMY_ENGINE_OPTIONS={"hide_parameters": True},  # an error's text would hold what was being stored
        MAX_CONTENT_LENGTH=LARGEST_BODY,
        MAX_FORM_MEMORY_SIZE=LARGEST_BODY,
        MAX_FORM_PARTS=100,
        BOOTSTRAP_SERVE_LOCAL=True,
        SEND_FILE_MAX_AGE_DEFAULT=0,  # asked for again each time, answered by 304: an upgrade shows at once
        TEMPLATES_AUTO_RELOAD=False,
    )
    if config.base_path:
        app.wsgi_app = BelowPath(app.wsgi_app, config.base_path)  # type: ignore[method-assign]
    app.json.sort_keys = False  # type: ignore[attr-defined]
    if config.trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=config.trusted_proxies, x_proto=0)  # type: ignore[method-assign]
    commands.init_app(app)
    try:
        engine.init_app(app, takes_driver_path=config.database_driver_path)
    except OSError as error:
        raise ConfigurationError(
            f"{app.instance_path} cannot be created: {error.strerror}. Make your user the owner of this folder, or "
            "set DATABASE_URL to a place where it can write."
        ) from None
    migrating.init_app(
        app,
        commands.of_the_database,
        [part.migrations for part in parts if part.migrations],
        [part.tables for part in parts if part.tables is not None],
    )
    Bootstrap5(app)
    app.before_request(_read_body)
    with app.app_context():
        access.init_app(app)
    errors.init_app(app)
    way_back.init_app(app)
    for blueprint in (
        auth.pages,
        auth.bp,
        single_sign_on.bp,
        start_page.bp,
        account.bp,
        address_page.bp,
        sender_pages.bp,
        sender_pages.link_bp,
        senders_api.bp,
        usage_api.bp,
        people_pages.bp,
        factor_policy_page.bp,
        own_server_page.bp,
        own_connect_page.bp,
        oversight_pages.bp,
        policy_pages.bp,
        template_pages.bp,
        settings.bp,
        settings_form.bp,
        connect_pages.bp,
        connect_pages.callback_bp,
        settings_api.bp,
        configs_api.bp,
        oauth_api.bp,
        emails.bp,
        suppression_pages.bp,
        many_mails.bp,
        suppressions_api.bp,
        privacy_pages.bp,
        message_actions_api.bp,
        messages_api.bp,
        message_export_api.bp,
        send_api.bp,
        own_server_api.bp,
        own_oauth_api.bp,
        providers_api.bp,
        domain_api.bp,
        domain_pages.bp,
        headers_page.bp,
        audit_pages.bp,
        alert_pages.bp,
        alerts_api.bp,
        mail_pages.bp,
        branding_pages.bp,
        branding_api.bp,
        token_pages.bp,
        token_pages.own_bp,
        gateway_page.bp,
        typed_pages.bp,
        security_pages.bp,
        passkey_pages.bp,
        inbox.bp,
        api_docs.bp,
        health.bp,
        metrics_api.bp,
        open_pixel.bp,
    ):
        app.register_blueprint(blueprint)
    for part in parts:
        part.add_to(app)
    app.jinja_env.globals.update(_names_for_pages(config))
    app.after_request(_protect)
    return app


@contextmanager
def sealpost_context(session: Session | scoped_session[Any] | None = None) -> Iterator[Session | None]:
    """For code of another application in this process: within it, the functions of ``services/email_service.py`` work.

    Gives what to pass on to them as ``session``: one in the transaction of yours, which has to be on Sealpost's
    database. What is queued is committed, or rolled back, with that; if the block raises, it is undone. Without yours
    there is none, and each email is queued at once.

    The settings are those of SEALPOST_HOME and the environment; no thread is started, so that the processes of Sealpost
    send what is queued. Raises ConfigurationError, TypeError for what is no session.
    """
    connection = None if session is None else joined_session.connection_of(session)
    with guest().app_context():
        if connection is None:
            yield None
            return
        with joined_session.joined(connection) as own:
            yield own


def guest() -> Flask:
    """The application for ``sealpost_context``, one in a process. Raises ConfigurationError."""
    with _making_guest:
        return _guest(os.getpid())


@cache
def _guest(_process: int) -> Flask:
    """One that was made before a fork has connections that are its parent's."""
    made = create_app(is_guest=True)
    with made.app_context():
        start.check(is_database_needed=False)
    return made


def __getattr__(name: str) -> Any:  # noqa: ANN401 - Celery is untyped
    """What programs look for here and others need not pay for: made when it is asked for, or the program ends.

    ``celery`` is for ``celery -A app:celery``. ``app`` is for Flask's commands alone, which would print a traceback
    where ``create_app`` raises.
    """
    if name == "celery":
        make_celery = late.load("services.worker.celery_tasks").make_celery
        return _or_exit(lambda: make_celery(serving.for_celery(create_app)))
    if name == "app" and os.environ.get("FLASK_RUN_FROM_CLI") == "true":
        return _or_exit(lambda: serving.for_commands(create_app))
    raise AttributeError(f"module 'app' has no attribute {name!r}")


def serve(make: Callable[[], Flask] | None = None) -> Flask:
    """The application with its background work, for a WSGI server: `gunicorn 'app:serve()'`.

    ``make`` gives another than ``create_app`` without arguments, as one with parts.
    What cannot start says so in one line and exits with the status at which gunicorn gives up; at any other it
    would start the worker again, and again.
    """
    app = _or_exit(lambda: serving.announced(make or create_app), GUNICORN_GIVES_UP)
    is_worker = True
    if "gunicorn" in sys.modules:
        is_worker = late.load("blueprints.under_gunicorn").prepare(app.extensions[EXTENSION].hsts)
    serving.begin_work(app, at_once=is_worker)
    return app


def _or_exit(make: Callable[[], Made], status: int = 1) -> Made:
    """What is made; a program whose settings forbid that says so in one line and exits with this status."""
    try:
        return make()
    except ConfigurationError as error:
        print(error, file=sys.stderr, flush=True)  # noqa: T201
        sys.exit(status)


def _names_for_pages(config: Settings) -> dict[str, object]:
    return {
        "app_name": config.app_name,
        "is_development": not config.is_production,
        "inbox_enabled": config.has_local_inbox,
        "single_sign_on": config.oidc,
        "nothing_is_sent": route.NOTHING_IS_SENT if config.mail_suppress_send else "",
    }


def _read_body() -> None:
    """Take the whole body, which is small, before anybody looks at it; but where it may be large, who sends it first.

    A compressed one could unpack to any size; nobody needs one here. gunicorn finds out only while reading that
    a chunked one is garbled.
    """
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise UnsupportedMediaType
    if large_body.is_read_by_view():
        return
    large_body.bound_for_view()
    try:
        request.get_data(parse_form_data=True)
    except OSError:
        raise MalformedInput("The body of the request is garbled.") from None


def _protect(response: Response) -> Response:
    """The headers of every answer. A view may set a policy of its own first, and what a browser may keep."""
    headers = response.headers
    headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
    headers.setdefault("Referrer-Policy", "same-origin")
    headers["X-Content-Type-Options"] = "nosniff"
    headers["X-Frame-Options"] = headers.get("X-Frame-Options", "DENY")
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
    headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=()"
    if hsts := current_app.extensions[EXTENSION].hsts:
        headers["Strict-Transport-Security"] = hsts
    if not (request.endpoint or "").endswith("static"):
        headers.setdefault("Cache-Control", "no-store")
    return response


def main() -> None:
    """`sealpost …`, which pip installs (pyproject.toml)."""
    make = partial(_or_exit, lambda: serving.for_commands(create_app))
    run = partial(_or_exit, lambda: serving.run(create_app))
    _or_exit(script.group(make, run))


if __name__ == "__main__":
    _or_exit(lambda: serving.run(create_app))
