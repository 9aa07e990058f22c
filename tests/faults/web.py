"""gunicorn on the database of a place, for faults that have to be seen through HTTP."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from database.engine import db
from tests.faults.child import Place
from tests.live_server import Browser, LiveServer, gunicorn, start
from tests.loopback import free_port


@contextmanager
def serving(place: Place, folder: Path, **variables: str) -> Iterator[LiveServer]:
    """A server that has answered once; with MAIL_SENDERS=0 it only writes down what it is asked for."""
    db.engine.dispose()
    port = free_port()
    ours = place.environment | {"PORT": str(port), "BASE_URL": f"http://127.0.0.1:{port}", **variables}
    del ours["LOCAL_INBOX_PORT"]  # which live servers never have
    with start(gunicorn(port), folder, **ours) as server:
        assert Browser(server).get("/readyz").status == 200
        yield server
