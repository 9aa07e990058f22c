"""Serving: what a server process does around the application, whichever server it is, and the one of `make run`."""

import errno
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial

import structlog
from flask import Flask
from sqlalchemy.exc import DBAPIError
from werkzeug.serving import WSGIRequestHandler, make_server

from services import local_inbox
from services.accounts import accounts
from services.smtp import pool
from services.worker import background, threads
from services.worker.background import Work
from utils import late
from utils.env_reader import ConfigurationError
from utils.env_utils import EXTENSION, Settings
from utils.process_guard import forbid_core_dumps

log = structlog.get_logger(__name__)


def begun(create_app: Callable[[], Flask]) -> Flask:
    """The application with its background work, announced. Raises ConfigurationError for what keeps it from serving."""
    forbid_core_dumps()
    app = create_app()
    with app.app_context():
        try:
            announce(app)
        except DBAPIError:
            raise ConfigurationError("The database is not ready. Check DATABASE_URL, run: flask db upgrade") from None
    background.start(app, partial(_begin_mailing, app))
    return app


def run(create_app: Callable[[], Flask]) -> None:
    """`make run`: migrate, start the local inbox, serve until Ctrl-C."""
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.default_int_handler)
    forbid_core_dumps()
    app = create_app()
    config: Settings = app.extensions[EXTENSION]
    with app.app_context():
        late.load("flask_migrate").upgrade()
    with _listen(config) as listener:
        server = make_server(
            config.host, config.port, app, threaded=True, request_handler=_QuietHandler, fd=listener.fileno()
        )
    inbox_server = local_inbox.start(config)
    mailing = background.start(app, partial(_begin_mailing, app))
    with app.app_context():
        announce(app)
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
    tasks = late.load("services.worker.celery_tasks")
    tasks.make_celery(app)
    hints: Work = tasks.Hints().start()
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


def announce(app: Flask) -> None:
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


class _QuietHandler(WSGIRequestHandler):
    """The development server's log: a structured line a request, without the query; none for style sheets."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        path = getattr(self, "path", "")  # there is none where the request's first line cannot be read
        if path.startswith(("/static/", "/bootstrap/")):
            return
        log.info("request", method=self.command, path=path.split("?")[0], status=str(int(code or 0)))

    def log_error(self, format: str, *args: object) -> None:
        """Nothing: log_request tells the status, and this text would repeat the first line, query and all."""
