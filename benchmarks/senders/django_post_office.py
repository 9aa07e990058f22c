"""django-post-office as its users run it: emails queued in batches, sent by four threads, settled at a batch's end."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Final

from django.apps import apps

from benchmarks.django_project import A_COMMIT, project
from benchmarks.message import HTML, SENDER, SENDER_NAME, SUBJECT, TEXT, TO, Target

THREADS: Final = 4
SENT: Final = 0  # post_office.models.STATUS, which cannot be imported before there are settings


@contextmanager
def sender(target: Target, database: str) -> Iterator[Callable[[int], None]]:
    backends = {"default": "django.core.mail.backends.smtp.EmailBackend"}
    project(target, database, "post_office", POST_OFFICE={"BACKENDS": backends, "THREADS_PER_PROCESS": THREADS})
    mail = import_module("post_office.mail")  # it reads the settings at once
    emails = apps.get_model("post_office", "Email").objects
    made = {
        "recipients": [TO],
        "sender": f"{SENDER_NAME} <{SENDER}>",
        "subject": SUBJECT,
        "message": TEXT,
        "html_message": HTML,
    }
    with tempfile.TemporaryDirectory() as folder:

        def send(count: int) -> None:
            for done in range(0, count, A_COMMIT):
                mail.send_many([made] * min(A_COMMIT, count - done))
            mail.send_queued_mail_until_done(str(Path(folder) / "lock"))
            if emails.exclude(status=SENT).exists():
                raise RuntimeError("django-post-office did not send every email.")

        yield send
