"""Serving: what a server process does around the application, whichever server it is, and the one of `make run`."""

import errno
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import click
import structlog
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wsgi import ClosingIterator

from blueprints import announcing, live
from blueprints.sibling import Sibling, WatchedSibling
from services import local_inbox
from services.alerts.watching import AlertWatch
from services.checks import start
from services.smtp import pool
from services.worker import background, lease, threads
from services.worker.background import Background, Together, Work
from services.worker.open_writer import OpenWriter
from utils import ending, late
from utils.env_reader import ConfigurationError
from utils.env_utils import EXTENSION, Settings
from utils.process_guard import forbid_core_dumps

log = structlog.get_logger(__name__)

NOTHING_SENDS: Final = "`flask run` sends no queued email. Use `make run` or gunicorn, or also run: flask mail worker"


def announced(create_app: Callable[[], Flask]) -> Flask:
    """The application, about to serve. Raises ConfigurationError for what keeps it from that."""
    forbid_core_dumps()
    app = create_app()
    with app.app_context():
        start.check()
        announcing.announce(app)
    return app


def begin_work(app: Flask, *, at_once: bool) -> None:
    """Have this process, or those that it forks, do what a server does besides answering."""
    background.start(app, partial(_begin, app), at_once=at_once)


def for_commands(create_app: Callable[[], Flask]) -> Flask:
    """The application for Flask's own commands. `flask run` sends no queued mail, and says so."""
    app = create_app()
    context = click.get_current_context(silent=True)
    if context is not None and context.info_name == "run":
        with app.app_context():
            start.check()
            start.warn()
        click.echo(NOTHING_SENDS, err=True)
    return app


def for_celery(create_app: Callable[[], Flask]) -> Flask:
    """The application for Celery's processes, which outlive a database that is away for a while."""
    forbid_core_dumps()
    app = create_app()
    late.load("services.alerts.tasks")
    with app.app_context():
        start.check(is_database_needed=False)
    return app


def run(create_app: Callable[[], Flask]) -> None:
    """`make run`: migrate, start the local inbox, serve until Ctrl-C. Raises ConfigurationError."""
    for number in ending.STOP_SIGNALS:
        signal.signal(number, ending.interrupted)
    try:
        _serve_until_stopped(create_app)
    except KeyboardInterrupt:  # before it served
        sys.exit("Stopped.")


def _serve_until_stopped(create_app: Callable[[], Flask]) -> None:
    forbid_core_dumps()
    app = create_app()
    config: Settings = app.extensions[EXTENSION]
    with app.app_context():
        _bring_up_to_date()
    with _listen(config) as listener:
        server = make_server(
            config.host, config.port, app, threaded=True, request_handler=_QuietHandler, fd=listener.fileno()
        )
    live.places.fit(2 * live.MOST)  # it has a thread for each request
    in_flight = _InFlight(app.wsgi_app)
    app.wsgi_app = in_flight  # type: ignore[method-assign]
    with app.app_context():
        inbox_server = local_inbox.start(config)
    mailing: Background | None = None
    gateway: WatchedSibling | None = None
    try:
        with ending.uninterrupted():
            mailing = background.start(app, partial(_begin, app))
            gateway = WatchedSibling(Sibling()) if config.submission.listen else None
        with app.app_context():
            announcing.announce(app, listens=True)
        server.serve_forever()  # until KeyboardInterrupt
    finally:
        in_flight.wait(ending.seconds_left(lease.STOP_SECONDS))
        if gateway:
            gateway.stop()
        if mailing:
            mailing.stop()
        pool.pool.close()
        local_inbox.stop(inbox_server)


class _InFlight:
    """The application, with a count of the requests that it is at; they would die with their threads."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app
        self._requests = 0
        self._changed = threading.Condition()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self._count(1)
        try:
            answer = self._app(environ, start_response)
        except BaseException:
            self._count(-1)
            raise
        return ClosingIterator(answer, partial(self._count, -1))

    def wait(self, seconds: float) -> None:
        """Until all are answered, but not longer than this."""
        with self._changed:
            self._changed.wait_for(lambda: not self._requests, seconds)

    def _count(self, change: int) -> None:
        with self._changed:
            self._requests += change
            self._changed.notify_all()


def _bring_up_to_date() -> None:
    """Migrate, and see that this database can be worked with and written to. Raises ConfigurationError."""
    try:
        start.bring_up_to_date()
        start.check()
        start.check_writing()
    except SQLAlchemyError as error:
        raise ConfigurationError(start.words_for(error)) from None


def _begin(app: Flask) -> Work:
    return Together(OpenWriter(app).start(), _begin_mailing(app), AlertWatch(app).start())


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
        fault = "is already in use" if error.errno == errno.EADDRINUSE else "cannot be opened"
        sys.exit(f"Port {config.port} on {config.host} {fault}. Set another PORT or HOST in .env.")


class _QuietHandler(WSGIRequestHandler):
    """The development server's log: a structured line a request, without the query; none for style sheets."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        path = getattr(self, "path", "")  # there is none where the request's first line cannot be read
        if path.startswith(("/static/", "/bootstrap/")):
            return
        log.info("request", method=self.command, path=path.split("?")[0], status=str(int(code or 0)))

    def log_error(self, format: str, *args: object) -> None:
        """Nothing: log_request tells the status, and this text would repeat the first line, query and all."""
