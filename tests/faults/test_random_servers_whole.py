"""Servers of any behaviour, drawn from seeds, against the whole application: its queue and `send_email`."""

import time
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import APP_KEY
from tests.faults.model import whole
from tests.faults.model.farm import harvest
from tests.faults.model.trial import trial
from tests.faults.model.whole import Places
from tests.faults.test_random_servers import SERVERS, chosen, settle

EVERY = 10  # of the servers
WAYS = {"queue": whole.by_queue, "send_email": whole.by_send_email}


@pytest.mark.parametrize("way", WAYS)
def test_whatever_a_server_does_no_mail_is_lost_doubled_or_let_out(
    way: str, tmp_path: Path, migrated_database: Path
) -> None:
    began = time.monotonic()
    places = Places(folder=tmp_path, empty=migrated_database, app_key=APP_KEY)
    seeds = chosen(range(list(WAYS).index(way), SERVERS, EVERY))
    deliver = partial(whole.deliver, places=places, way=WAYS[way])
    settle(f"random servers, {way}", harvest(partial(trial, deliver=deliver), seeds), began)
