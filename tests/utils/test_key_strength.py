"""A key that chance made is taken in every usual form, one that a person thought of is known by its looks."""

import base64
import secrets
from collections.abc import Callable

import pytest

from utils.key_strength import human_hand, weakness_of_key

MADE_BY_CHANCE: dict[str, Callable[[], str]] = {
    "token_urlsafe(48)": lambda: secrets.token_urlsafe(48),
    "token_hex(32)": lambda: secrets.token_hex(32),
    "openssl rand -base64 32": lambda: base64.b64encode(secrets.token_bytes(32)).decode(),
    "openssl rand -base64 48": lambda: base64.b64encode(secrets.token_bytes(48)).decode(),
    "without its padding": lambda: base64.b64encode(secrets.token_bytes(32)).decode().rstrip("="),
}


@pytest.mark.parametrize("way", MADE_BY_CHANCE)
def test_of_random_keys_hardly_one_in_a_hundred_is_doubted(way: str) -> None:
    keys = [MADE_BY_CHANCE[way]() for _ in range(1000)]
    assert sum(human_hand(key) is not None or weakness_of_key(key) is not None for key in keys) <= 10


@pytest.mark.parametrize(
    "key",
    [
        "9f86d081884c7d659a2feaa0c55ad015",  # 16 bytes as hex
        "9F86D081884C7D659A2FEAA0C55AD015",
        "n4bQgYhMfWWaL+qgxVrQFQ==",  # and as base64
        "n4bQgYhMfWWaL-qgxVrQFQ",
        "Zk3vX9qLw2RbT7yNc5MdJ8hPfG4sVuEa",
        "Zk3vX9qLw2RbT7yNc5MdJ8hPfG4sVuEaQ",  # cut off where no byte ends
    ],
)
def test_sixteen_random_bytes_are_enough(key: str) -> None:
    assert (human_hand(key), weakness_of_key(key)) == (None, None)


@pytest.mark.parametrize(
    "key",
    [
        "correct horse battery staple and a lamp",
        "correct-horse-battery-staple-2024",
        "CorrectHorseBatteryStapleElephant",
        "CorrectHorse9BatteryStaple7ElephantSun",
        "C0rr3ctH0rs3B4tt3ryStapl3IsSafe12",
        "sealpost-production-key-of-my-company",
        "donaudampfschifffahrtsgesellschaft",
        "MyCompanyProductionMailServer2024",
        "Tr0ub4dor&3Tr0ub4dor&3Tr0ub4dor&3",
        "Zk3vX9qLw2RbT7yNZk3vX9qLw2RbT7yN",
        "314159265358979323846264338327950288",
        "550e8400-e29b-41d4-a716-446655440000",
        "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXQ",
        "n4bQgYhMfWWaL+qgxVrQFQ=",
        "n4bQgYhMfWWaL+qgxVrQ_-A1b2C3d4E5f",
        "Zk3vX9qLw2RbT7yN\tc5MdJ8hPfG4sVuEa",
    ],
)
def test_what_is_no_random_bytes_is_doubted(key: str) -> None:
    assert human_hand(key) is not None


@pytest.mark.parametrize("key", ["short", "n4bQgYhMfWWaL-qgxVrQ", "a" * 64, "your-secret-key-here-0123456789-abcdef"])
def test_a_short_or_famous_key_is_never_taken(key: str) -> None:
    assert weakness_of_key(key) is not None
