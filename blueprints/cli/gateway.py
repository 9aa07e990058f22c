"""`flask gateway run`: other programs hand over their email by SMTP."""

import asyncio
import os
import signal
import threading
import time
from typing import Final

import click
from flask import Flask, current_app
from flask.cli import AppGroup

from blueprints.cli.frame import answer, command
from services.checks import start
from services.gateway import memory
from services.gateway.listening import Gateway
from utils import ending, service_manager
from utils.process_guard import forbid_core_dumps

gateway = AppGroup("gateway", help="Take email from other programs by SMTP.")

_LOOK_SECONDS: Final = 0.5


@command(gateway, "run")
@click.option("--parent", type=int, hidden=True, help="End with the process of this id.")
def run(*, parent: int | None, as_json: bool) -> None:
    """Listen at SUBMISSION_LISTEN until stopped.

    Gunicorn and `make run` start it themselves where that is set.
    """
    forbid_core_dumps()
    memory.hold_little()
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    start.check_writing()
    made = Gateway(app)
    told = f"The gateway listens at {', '.join(made.addresses)}."

    def listens() -> None:
        for number in ending.STOP_SIGNALS:
            signal.signal(number, ending.by_signal)
        ending.hear(made.stop)
        if parent is not None:
            threading.Thread(target=_end_with, args=(parent,), name="parent", daemon=True).start()
        answer(as_json, {"listens": list(made.addresses)}, told)
        service_manager.ready()

    asyncio.run(made.run(listens))


def _end_with(parent: int) -> None:
    """Stop once the process that started this one is gone, also by a kill."""
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    ending.begin()
