"""Puts the application together, and runs it for `make run`."""

import errno
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import structlog
from celery import Celery
from flask import Flask, Response, current_app, request
from flask_bootstrap import Bootstrap5
from flask_migrate import Migrate, upgrade
from sqlalchemy.exc import DBAPIError
from werkzeug.exceptions import UnsupportedMediaType
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.serving import WSGIRequestHandler, make_server

from blueprints import access, errors, settings
from blueprints.api import configs_api, domain_api, health, messages_api, openapi, providers_api, settings_api
from blueprints.cli import register
from blueprints.pages import (
    account,
    audit_pages,
    auth,
    domain_pages,
    emails,
    headers_page,
    inbox,
    settings_form,
    token_pages,
)
from database.engine import db
from services import local_inbox
from services.accounts import accounts
from services.smtp import pool
from services.worker import background, celery_tasks, threads
from services.worker.background import Work
from utils.env_reader import ConfigurationError
from utils.env_utils import EXTENSION, ROOT, Settings, load_settings
from utils.errors import MalformedInput
from utils.log_utils import configure_logging
from utils.process_guard import forbid_core_dumps

log = structlog.get_logger(__name__)

MIGRATIONS = ROOT / "database" / "migrations"
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "object-src 'none'"
)
LARGEST_BODY = 64 * 1024
GUNICORN_GIVES_UP = 4  # gunicorn.arbiter.Arbiter.APP_LOAD_ERROR


def create_app(environment: Mapping[str, str] | None = None, instance_path: Path | None = None) -> Flask:
    """An application for these settings, or the environment's. Starts no thread and prints nothing.

    Raises ConfigurationError, which ends a process with one line that names the variable.
    """
    config = load_settings(environment)
    configure_logging(config.secrets(), as_json=config.is_production)
    app = Flask(__name__, instance_path=str(instance_path) if instance_path else None)
    if app.debug and (config.is_production or config.is_https):
        raise ConfigurationError("FLASK_DEBUG must be off in production: its debugger runs code for whoever asks.")
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
    app.json.sort_keys = False  # type: ignore[attr-defined]
    if config.trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=config.trusted_proxies, x_proto=0)  # type: ignore[method-assign]
    db.init_app(app)
    Migrate(app, db, directory=str(MIGRATIONS), render_as_batch=True)
    Bootstrap5(app)
    app.before_request(_read_body)
    with app.app_context():
        access.init_app(app)
    errors.init_app(app)
    for blueprint in (
        auth.pages,
        auth.bp,
        account.bp,
        settings.bp,
        settings_form.bp,
        settings_api.bp,
        configs_api.bp,
        emails.bp,
        messages_api.bp,
        providers_api.bp,
        domain_api.bp,
        domain_pages.bp,
        headers_page.bp,
        audit_pages.bp,
        token_pages.bp,
        inbox.bp,
        openapi.bp,
        health.bp,
    ):
        app.register_blueprint(blueprint)
    register.register(app)
    app.context_processor(_names_for_pages(config))
    app.after_request(_protect)
    return app


def __getattr__(name: str) -> Celery:
    """``celery``, for ``celery -A app:celery``, made when it is asked for: everybody else needs no broker."""
    if name != "celery":
        raise AttributeError(f"module 'app' has no attribute {name!r}")
    forbid_core_dumps()
    return celery_tasks.make_celery(create_app())


def serve() -> Flask:
    """The application with its background work, for a WSGI server: `gunicorn 'app:serve()'`.

    What cannot start says so in one line and exits with the status at which gunicorn gives up; at any other it
    would start the worker again, and again.
    """
    try:
        return _started()
    except ConfigurationError as error:
        print(error, file=sys.stderr, flush=True)  # noqa: T201
        sys.exit(GUNICORN_GIVES_UP)


def _started() -> Flask:
    forbid_core_dumps()
    app = create_app()
    with app.app_context():
        try:
            _announce(app)
        except DBAPIError:
            raise ConfigurationError("The database is not ready. Check DATABASE_URL, run: flask db upgrade") from None
    background.start(app, partial(_begin_mailing, app))
    return app


def main() -> None:
    """`make run`: migrate, start the local inbox, serve until Ctrl-C."""
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.default_int_handler)
    forbid_core_dumps()
    app = create_app()
    config: Settings = app.extensions[EXTENSION]
    with app.app_context():
        upgrade()
    with _listen(config) as listener:
        server = make_server(
            config.host, config.port, app, threaded=True, request_handler=_QuietHandler, fd=listener.fileno()
        )
    inbox_server = local_inbox.start(config)
    mailing = background.start(app, partial(_begin_mailing, app))
    with app.app_context():
        _announce(app)
    try:
        server.serve_forever()  # until KeyboardInterrupt
    finally:
        mailing.stop()
        pool.pool.close()
        local_inbox.stop(inbox_server)


def _begin_mailing(app: Flask) -> Work | None:
    """Send queued mail in this process, or tell the Celery workers of it if there are any."""
    config: Settings = app.extensions[EXTENSION]
    if not config.celery_broker_url:
        return threads.start(app, config.mail_senders) if config.mail_senders else None
    celery_tasks.make_celery(app)
    hints = celery_tasks.Hints()
    hints.start()
    return hints


def _listen(config: Settings) -> socket.socket:
    """The socket to serve on. Werkzeug would open one itself, but prints two lines of its own when it cannot."""
    is_ipv6 = ":" in config.host
    family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
    try:
        return socket.create_server((config.host, config.port), family=family, dualstack_ipv6=is_ipv6)
    except OSError as error:
        fault = "is taken" if error.errno == errno.EADDRINUSE else "cannot be opened"
        sys.exit(f"Port {config.port} on {config.host} {fault}. Set PORT or HOST in .env to another one.")


def _announce(app: Flask) -> None:
    """Print where the application is and, while there is no administrator, how to become the first."""
    config: Settings = app.extensions[EXTENSION]
    print(f"\n  Sealpost is at   {config.base_url}", flush=True)  # noqa: T201
    code = accounts.issue_setup_code()
    if code:
        print(f"  Set it up at     {config.base_url}/setup", flush=True)  # noqa: T201
        print(f"  One-time code    {code}", flush=True)  # noqa: T201
    if local_inbox.is_enabled(config):
        print(f"  Local inbox at   {config.base_url}/inbox", flush=True)  # noqa: T201
    if config.mail_suppress_send:
        log.warning("mail_is_suppressed", remedy="Take MAIL_SUPPRESS_SEND out of the environment to send mail.")
    print(flush=True)  # noqa: T201


def _names_for_pages(config: Settings) -> Callable[[], dict[str, object]]:
    def names() -> dict[str, object]:
        return {
            "app_name": config.app_name,
            "is_development": not config.is_production,
            "inbox_enabled": local_inbox.is_enabled(config),
        }

    return names


def _read_body() -> None:
    """Take the whole body, which is small, before anybody looks at it.

    A compressed one could unpack to any size; nobody needs one here. gunicorn finds out only while reading that
    a chunked one is garbled.
    """
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise UnsupportedMediaType
    try:
        request.get_data(parse_form_data=True)
    except OSError:
        raise MalformedInput("The body of the request is garbled.") from None


def _protect(response: Response) -> Response:
    """The headers of every answer. A view may set a stricter policy of its own first."""
    headers = response.headers
    headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
    headers.setdefault("Referrer-Policy", "same-origin")
    headers["X-Content-Type-Options"] = "nosniff"
    headers["X-Frame-Options"] = headers.get("X-Frame-Options", "DENY")
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=()"
    if current_app.extensions[EXTENSION].is_https:
        headers["Strict-Transport-Security"] = "max-age=31536000"
    if not (request.endpoint or "").endswith("static"):
        headers["Cache-Control"] = "no-store"
    return response


class _QuietHandler(WSGIRequestHandler):
    """The development server's log: a structured line a request, without the query; none for style sheets."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        path = getattr(self, "path", "")  # there is none where the request's first line cannot be read
        if path.startswith(("/static/", "/bootstrap/")):
            return
        log.info("request", method=self.command, path=path.split("?")[0], status=str(int(code or 0)))

    def log_error(self, format: str, *args: object) -> None:
        """Nothing: log_request tells the status, and this text would repeat the first line, query and all."""


if __name__ == "__main__":
    main()
