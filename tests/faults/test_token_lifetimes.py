"""Many processes send with one token: when it ends, one of them renews it, and no mail is lost or late for that.

A twentieth of the mails; all of them with FAULTS=full in the environment.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, Final

import pytest
from sqlalchemy import func, select

from database import oauth_db
from database.engine import reading, transaction
from database.outbox_db import OutboxMail, State
from tests import certificates
from tests.faults import figures, token_senders
from tests.faults.child import Orders, Place
from tests.faults.storm import Role, open_mails
from tests.faults.token_sink import TokenSink
from tests.long_run import ALL
from tests.oauth_provider import OAuthProviderServer
from tests.patience import PATIENCE, wait_until
from tests.processes import CONTEXT
from tests.signed_in_by_token import connected
from utils import clock

PROCESSES, SENDERS, EACH = 4, 50, 2
MAILS, LIVES, A_CONNECTION = (10_000, 40, 10) if ALL else (500, 10, 5)
LIFE: Final = 3600
# One ends before anyone needs another, the next one while there are still some minutes left of it.
TURNS: Final = (LIFE + 60, LIFE - 150)
TURNING: Final = "the clock is turned"
NEVER: Final = timedelta(hours=200)  # a lease that no turn of the clock ends


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return environment | {"SMTP_CA_FILE": str(certificates.ca_file())}


class Connected:
    """A server that takes the tokens of a provider, and the clock of all who are in it."""

    def __init__(self, place: Place, provider: OAuthProviderServer, sink: TokenSink) -> None:
        self._ahead = ahead = CONTEXT.Value("d", 0.0)
        self.place = replace(place, clock=ahead, pace=replace(place.pace, lease=NEVER))
        self.provider = provider
        self.sink = sink
        self.place.set_clock()
        provider.clock = lambda: time.time() + ahead.value
        self.config_id = connected(provider, sink.port).row.id

    def turn(self, seconds: float) -> None:
        """Let time pass, for everybody at once, while nobody asks for a token: no request lasts for an hour."""
        wait_until(self._has_lease, "the right to ask")
        self._ahead.value += seconds
        with transaction() as session:
            oauth_db.give_lease_back(session, self.config_id, TURNING)

    def _has_lease(self) -> bool:
        now = clock.now()
        with transaction() as session:
            return oauth_db.take_lease(session, self.config_id, TURNING, now, now + timedelta(seconds=30))

    @property
    def renewals(self) -> int:
        return self.provider.counts["refresh_token"]

    def has_come(self, mails: int) -> bool:
        return len(self.sink.arrived) >= mails

    def is_renewed(self, times: int) -> bool:
        """Whether the token was renewed so often, and the last one is stored."""
        with reading() as session:
            row = oauth_db.find(session, self.config_id)
            return self.renewals >= times and row is not None and not row.lease_id

    def is_renewed_or_done(self, times: int) -> bool:
        """The same, or no mail is left for which a token would be."""
        return self.is_renewed(times) or self.has_come(MAILS)


@pytest.fixture
def there(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connected]:
    monkeypatch.setattr(clock, "now", clock.now)  # to be what it was, afterwards
    with ExitStack() as running:
        provider = running.enter_context(OAuthProviderServer(certificates.good_context("localhost")))
        sink = running.enter_context(TokenSink(certificates.good_context(), provider.mailbox_of))
        yield Connected(place, provider, sink)


@pytest.mark.parametrize("is_told", [True, False], ids=["its time is over", "the mail server refuses it"])
def test_fifty_senders_in_four_processes_renew_a_token_once_when_it_ends(there: Connected, is_told: bool) -> None:
    start, roles, results = CONTEXT.Barrier(SENDERS + 1), [], []
    for number in range(PROCESSES):
        here, away = CONTEXT.Pipe(duplex=False)
        share = SENDERS // PROCESSES + (number < SENDERS % PROCESSES)
        orders = Orders(name=f"process{number}", count=share * EACH)
        roles.append(Role(work=token_senders.send_at_once, arguments=(there.place, orders, share, start, away)))
        results.append(here)
    try:
        for role in roles:
            role.start()
        wait_until(lambda: start.n_waiting == SENDERS, "the senders")
        there.turn(LIFE + 1) if is_told else there.provider.end_tokens()
        start.wait(PATIENCE)
        got = [sent for each in results for sent in received(each)]
    finally:
        for role in roles:
            role.end()
    assert got == [True] * (SENDERS * EACH)
    assert there.renewals == 1
    assert len(set(there.sink.arrived)) == len(there.sink.arrived) == SENDERS * EACH
    assert len(there.sink.signed_in) == 1
    assert bool(there.sink.refused) is not is_told


def received(pipe: Any) -> list[Any]:
    assert pipe.poll(PATIENCE), "a process gave up"
    found: list[Any] = pipe.recv()
    return found


def test_a_token_is_renewed_once_a_lifetime_however_much_is_sent(there: Connected) -> None:
    orders = [Orders(name=f"web{number}", count=MAILS // PROCESSES) for number in range(PROCESSES)]
    roles = []
    for each in orders:
        each.notes(there.place.folder).touch()
        roles.append(Role(work=token_senders.serve, arguments=(there.place, each, A_CONNECTION)))
    there.turn(TURNS[0])
    lives = 1
    try:
        for role in roles:
            role.start()
        for life in range(1, LIVES):
            wait_until(partial(there.has_come, life * MAILS // LIVES), f"the mail of life {life}")
            wait_until(partial(there.is_renewed_or_done, life), f"renewal {life}")
            if there.has_come(MAILS):  # sooner than the clock was turned: no mail is left that would want a token
                break
            there.turn(TURNS[life % 2])
            lives += 1
        last = time.monotonic()
        wait_until(lambda: there.has_come(MAILS) and not open_mails(), "the rest")
    finally:
        for role in roles:
            role.end()
    figures.add(
        fault="a token’s end",
        database="PostgreSQL" if there.place.environment["DATABASE_URL"].startswith("postgresql") else "SQLite",
        mails=MAILS,
        faults=lives,
        lost=MAILS - len(set(there.sink.arrived)),
        unexpected=max(0, there.renewals - lives),
        duplicates=there.sink.copies,
        bound=0,
        copies=1 + bool(there.sink.copies),
        given_up=0,
        seconds=time.monotonic() - last,
    )
    assert lives > LIVES // 2
    assert lives - 1 <= there.renewals <= lives
    assert len(set(there.sink.arrived)) == len(there.sink.arrived) == MAILS
    with reading() as session:
        fates = session.execute(
            select(OutboxMail.state, OutboxMail.attempts, func.count()).group_by("state", "attempts")
        )
        assert [tuple(fate) for fate in fates] == [(State.SENT, 1, MAILS)]
