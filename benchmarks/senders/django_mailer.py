"""django-mailer as its users run it: emails queued in the caller's transaction, sent and settled one by one."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from django.apps import apps
from django.db import transaction

from benchmarks.django_project import A_COMMIT, project
from benchmarks.message import HTML, SENDER, SENDER_NAME, SUBJECT, TEXT, TO, Target


@contextmanager
def sender(target: Target, database: str) -> Iterator[Callable[[int], None]]:
    with tempfile.TemporaryDirectory() as folder:
        project(target, database, "mailer", MAILER_LOCK_PATH=str(Path(folder) / "lock"))
        mailer, engine = import_module("mailer"), import_module("mailer.engine")  # they read the settings at once
        waiting = apps.get_model("mailer", "Message").objects

        def send(count: int) -> None:
            for done in range(0, count, A_COMMIT):
                with transaction.atomic():
                    for _ in range(min(A_COMMIT, count - done)):
                        mailer.send_html_mail(SUBJECT, TEXT, HTML, f"{SENDER_NAME} <{SENDER}>", [TO])
            engine.send_all()
            if waiting.exists():
                raise RuntimeError("django-mailer did not send every email.")

        yield send
