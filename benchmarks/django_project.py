"""A Django project with one of its mail queues, on a database of its own that is as durable as ours."""

import logging
from typing import Any
from urllib.parse import urlsplit

import django
from django.conf import settings
from django.core.management import call_command

from benchmarks.message import Target

A_COMMIT = 100  # emails that the caller's transaction queues, as ours does


def project(target: Target, database: str, app: str, **more: object) -> None:
    """Configure Django for this process, with the app's tables made."""
    settings.configure(
        DATABASES={"default": _database(database)},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=["django.contrib.contenttypes", app],
        USE_TZ=True,
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
        EMAIL_HOST=target.host,
        EMAIL_PORT=target.port,
        EMAIL_USE_TLS=target.starttls,
        EMAIL_HOST_USER=target.username,
        EMAIL_HOST_PASSWORD=target.password,
        LOGGING_CONFIG=None,
        **more,
    )
    logging.disable()  # nobody pays for a terminal
    django.setup()
    call_command("migrate", verbosity=0)


def _database(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        pragmas = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL"
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": parts.path.removeprefix("/"),
            "OPTIONS": {"init_command": pragmas, "transaction_mode": "IMMEDIATE"},
        }
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.removeprefix("/"),
        "USER": parts.username,
        "PASSWORD": parts.password or "",
        "HOST": parts.hostname or "",
        "PORT": parts.port or "",
        "CONN_MAX_AGE": None,
    }
