"""How gunicorn serves Sealpost, where it is started in this folder; what stands on its command line comes first."""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # gunicorn may be started in another folder, with --config

from utils import service_manager

_NO_STATUS = -1  # which no process ends with

bind = "127.0.0.1:8000"
workers = 2
worker_class = "gthread"  # its threads get whole requests only (blueprints/gunicorn_requests.py)
threads = 8
timeout = 30  # seconds without a sign of life of a worker, whatever its threads wait for
graceful_timeout = 7  # from SIGTERM to the end of all; Docker kills after 10
keepalive = 5
control_socket_disable = True
# Where an access log is asked for: without queries and referrers, which hold links' tokens and providers' answers.
access_log_format = '%(h)s %(l)s %(u)s %(t)s "%(m)s %(U)s %(H)s" %(s)s %(b)s "-" "%(a)s"'


def on_starting(arbiter: Any) -> None:  # noqa: ANN401 - untyped
    """Have it end in peace where no worker can start, and tell systemd how it is.

    Of one more worker that gives up while it stops the rest, gunicorn itself would print a traceback beside our line.
    """
    stop, murder_workers = arbiter.stop, arbiter.murder_workers

    def stop_once(graceful: bool = True) -> None:
        arbiter.APP_LOAD_ERROR = arbiter.WORKER_BOOT_ERROR = _NO_STATUS
        stop(graceful)

    def look_after_workers() -> None:
        service_manager.sign_of_life()  # once a second: this loop ends workers that give none
        murder_workers()

    arbiter.stop, arbiter.murder_workers = stop_once, look_after_workers
    service_manager.take_over()


def post_worker_init(_worker: Any) -> None:  # noqa: ANN401 - untyped
    """The first worker has the application, and so it is ready; gunicorn would say so before it has tried."""
    service_manager.ready()


def when_ready(arbiter: Any) -> None:  # noqa: ANN401 - untyped
    """Import here what each worker runs, so that all share it in memory, and a new one is there at once; but no
    application is made, which is each worker's own. Requests wait for it, since the sockets listen already.

    And have the submission gateway run beside it, where SUBMISSION_LISTEN is set.
    """
    import app  # noqa: F401, PLC0415 - gunicorn reads this file before it looks for modules here
    from blueprints import sibling  # noqa: PLC0415

    sibling.under_gunicorn(arbiter)
