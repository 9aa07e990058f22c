"""Many accounts, each with a server of its own, a few of which are dead: how long the mail of the others takes.

A process of its own. It queues mails at a steady rate, spread over all accounts, as applications would, and sends them.
"""

import random
import tempfile
import time
from pathlib import Path
from statistics import quantiles
from typing import Final

from flask_migrate import upgrade
from sqlalchemy import select

from benchmarks.application import environment, opened
from benchmarks.child import answer, questions, settings_line
from benchmarks.message import HTML, SUBJECT, TEXT, TO, Target
from database.engine import reading, transaction
from database.outbox_db import OutboxMail, State
from database.user_db import Account
from services import email_service
from services.worker import threads
from tests.own_servers import PLACES, bring
from utils import clock

LAST_SECONDS: Final = 30.0  # for what is still on its way at the end


def add_account(number: int, host: str, port: int) -> int:
    """An account with this server as its own."""
    name, now = f"user{number}", clock.now()
    keys = {"username_key": name, "email_key": f"{name}@example.com"}
    times = {"created_at": now, "password_changed_at": now}
    with transaction() as session:
        account = Account(username=name, email=f"{name}@example.com", password_hash="-", **keys, **times)
        session.add(account)
        session.flush()
    bring(account.id, host, port)
    return account.id


def queue_steadily(accounts: list[int], rate: float, seconds: float) -> None:
    """One mail after the other, each for an account that chance names."""
    began = time.monotonic()
    for number in range(round(rate * seconds)):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        email_service.queue_email(TO, SUBJECT, TEXT, HTML, account_id=random.choice(accounts))


def wait_for(healthy: set[int]) -> list[float]:
    """The seconds from the queue to the settled row, of each mail of these accounts. Raises RuntimeError."""
    until = time.monotonic() + LAST_SECONDS
    query = select(OutboxMail.account_id, OutboxMail.state, OutboxMail.created_at, OutboxMail.settled_at)
    while True:
        with reading() as session:
            rows = [row for row in session.execute(query) if row.account_id in healthy]
        if all(row.state == State.SENT for row in rows):
            return [(row.settled_at - row.created_at).total_seconds() for row in rows]
        if time.monotonic() > until:
            raise RuntimeError("Mail of accounts whose server is well was not sent.")
        time.sleep(0.2)


def main() -> None:
    settings = settings_line()
    hosts, dead, port = settings["hosts"], settings["dead"], settings["port"]
    target = Target(host=hosts[0], port=port, starttls=False)
    with tempfile.TemporaryDirectory(prefix="sealpost-benchmark-") as name:
        folder = Path(name)
        with opened({**environment(target, folder, settings["database"]), **PLACES}, folder) as app:
            upgrade()
            places = [*dead, *(hosts[number % len(hosts)] for number in range(settings["accounts"] - len(dead)))]
            accounts = [add_account(number, host, port) for number, host in enumerate(places)]
            worker = threads.start(app)
            answer(ready=True)
            for _ in questions():
                queue_steadily(accounts, settings["rate"], settings["seconds"])
                took = wait_for(set(accounts[len(dead) :]))
                answer(mails=len(took), p50=quantiles(took, n=100)[49], p99=quantiles(took, n=100)[98])
            worker.stop()


if __name__ == "__main__":
    main()
