"""A gateway for each test, and Alice with a token for it."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from flask import Flask

from tests.gateway import RunningGateway, Talk, token_of
from tests.visitors import make_alice


@dataclass(frozen=True)
class Alice:
    """Whose mail it is."""

    id: int
    token: str


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "SUBMISSION_LISTEN": "127.0.0.1:0", "BASE_URL": "https://mail.example.com"}


@pytest.fixture
def alice(app: Flask) -> Alice:
    account_id = make_alice().id
    return Alice(account_id, token_of(account_id))


@pytest.fixture
def gateway(app: Flask) -> Iterator[RunningGateway]:
    with RunningGateway(app) as running:
        yield running


@pytest.fixture
def talk(gateway: RunningGateway, alice: Alice) -> Iterator[Talk]:
    """A connection on which Alice has signed in."""
    with gateway.talk() as talk:
        talk.hello()
        assert talk.sign_in("alice", alice.token).startswith("235")
        yield talk
