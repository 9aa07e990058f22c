"""The gateway is killed -9 while programs send to it: what it has answered is in the queue, once (fault F2)."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import pytest

from tests.faults import figures, gateway_storm
from tests.faults.child import Place
from tests.faults.gateway_storm import ACCOUNT, GatewayStorm
from tests.faults.points import Point
from tests.gateway import token_of
from tests.long_run import ALL
from tests.loopback import free_port
from tests.visitors import make_alice

ROUNDS, KILLS = (25, 250) if ALL else (1, 5)  # at each point so often, and so often wherever it is
OF_POSTGRESQL: Final = 500 if ALL else 5
SENDER: Final = f"{ACCOUNT}@example.com"


def _point(name: str, function: str, *, is_after: bool = True, most: int = 3) -> Point:
    return Point(name=name, function=function, is_after=is_after, most=most)


POINTS: Final = (
    _point("a program signs in", "services.gateway.sign_in:sign_in"),
    _point("a message begins", "services.gateway.wire:ClientWire.message"),
    _point("a message is read", "services.gateway.listening:Gateway.take", is_after=False),
    _point("messages are sealed", "services.gateway.accepting:_seal_all"),
    _point("a row is added, uncommitted", "services.outbox.promise:add"),
    _point("who came is noted, uncommitted", "services.gateway.uses:note"),
    _point("anybody hears of the commit", "utils.listeners:Listeners.tell", is_after=False),
    _point("rows are committed", "services.gateway.accepting:write"),
    _point("the answers are on their way", "services.gateway.listening:_give", is_after=False),
)


@pytest.fixture
def storm(place: Place) -> Callable[[int], GatewayStorm]:
    """Programs of alice that send to a gateway at a port that stays the same."""

    def make(seed: int) -> GatewayStorm:
        port = free_port()
        more = {"SUBMISSION_LISTEN": f"127.0.0.1:{port}", "ACCOUNT_WAITING_EMAILS": "0"}  # as many as there are
        at = replace(place, environment=place.environment | more)
        return GatewayStorm(place=at, port=port, token=token_of(make_alice().id), sender=SENDER, seed=seed)

    return make


@pytest.mark.parametrize("place", ["SQLite"], indirect=True)
def test_a_gateway_that_is_killed_at_any_point_keeps_what_it_has_answered(
    storm: Callable[[int], GatewayStorm],
) -> None:
    with storm(1) as running:
        for _ in range(ROUNDS):
            running.crash(POINTS)
        for _ in range(KILLS):
            running.kill()
        running.wait_for(gateway_storm.CLIENTS)
    check(running)


@pytest.mark.parametrize("place", ["PostgreSQL"], indirect=True)
def test_on_postgresql_too_it_keeps_what_it_has_answered(storm: Callable[[int], GatewayStorm]) -> None:
    with storm(2) as running:
        for _ in range(OF_POSTGRESQL):
            running.kill()
        running.wait_for(gateway_storm.CLIENTS)
    check(running)


def check(storm: GatewayStorm) -> None:
    """What was answered is there once, what was not at most once, and nothing is there by half."""
    found = gateway_storm.harm(storm.told, storm.sender)
    url = storm.place.environment["DATABASE_URL"]
    figures.add(
        fault="kill -9, gateway",
        database="PostgreSQL" if url.startswith("postgresql") else "SQLite",
        mails=len(storm.told.answered),
        faults=storm.kills,
        lost=len(found.lost),
        unexpected=len(found.false),
        duplicates=len(found.twice),
        bound=0,
        copies=2 if found.twice else 1,
        given_up=0,
        seconds=0,
    )
    assert (found.lost, found.twice, found.false, found.damaged) == (set(), set(), set(), set())
    assert storm.told.answered
    assert storm.told.refused == {}
