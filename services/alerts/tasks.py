"""The look for alerts as a task of Celery's beat: for where no web process is there to do it."""

from pathlib import Path
from typing import Final

from celery import shared_task
from flask import current_app

from services.alerts import watching
from services.alerts.watching import Watcher

_watchers: Final[dict[Path, Watcher]] = {}


@shared_task(name="alerts.look")  # type: ignore[untyped-decorator]
def look() -> None:
    """Look once, unless a process watches already."""
    place = Path(current_app.instance_path)
    watching.look_once(_watchers.setdefault(place, watching.here(remembers=False)))
