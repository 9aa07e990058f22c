"""How a connection is told: who connected it, what went wrong, what will end."""

from datetime import UTC, datetime
from typing import Any

import pytest

from services.connecting.calendar import Certainty, EndAction, Ending, EndOf
from services.connecting.connected import end_line, state_of
from services.oauth.providers import Grant, OAuthProvider
from services.oauth.registration import Registration
from services.oauth.sealed import SignInCondition, StoredSignIn

THEN, LATER = datetime(2026, 11, 2, 9, tzinfo=UTC), datetime(2026, 11, 9, 9, tzinfo=UTC)
REGISTRATION = Registration(provider=OAuthProvider.MICROSOFT, way=Grant.CODE)


def stored(**changes: Any) -> StoredSignIn:
    usual: dict[str, Any] = {
        "config_id": 1,
        "condition": SignInCondition.GOOD,
        "registration": REGISTRATION,
        "smtp_host": "smtp.office365.com",
        "username": "shop@example.com",
        "key_id": "k",
        "consent": 1,
        "mailbox": "shop@example.com",
        "granted_scopes": (),
        "granted_by": "alice",
        "granted_at": THEN,
        "obtained_at": LATER,
        "access_ends_at": None,
        "needs_sign_in": False,
        "trouble": None,
        "trouble_at": None,
        "failures": 0,
        "retry_at": None,
        "refused_at": None,
    }
    return StoredSignIn(**usual | changes)


def ending(days_left: int, *, is_over: bool = False, certainty: Certainty = Certainty.CERTAIN) -> Ending:
    return Ending(
        what=EndOf.CLIENT_SECRET,
        ends_on=LATER.date(),
        days_left=days_left,
        is_over=is_over,
        is_close=is_over or days_left <= 14,
        certainty=certainty,
        words="The client secret ends.",
        remedy="Create a new one.",
        action=EndAction.CONNECT,
    )


@pytest.mark.parametrize(
    ("changes", "trouble", "level", "headline"),
    [
        ({}, "", "ok", "Connected with Microsoft"),
        ({}, "Microsoft is down.", "warning", "Connected with Microsoft, but the last renewal failed"),
        ({"needs_sign_in": True}, "The password was changed.", "error", "Needs sign-in again"),
        ({"consent": 0, "granted_at": None}, "", "warning", "Not connected yet"),
        ({"condition": SignInCondition.KEY_MISSING}, "", "error", "What is registered cannot be read"),
        ({"condition": SignInCondition.ALTERED, "consent": 0}, "", "error", "What is registered cannot be read"),
    ],
)
def test_each_state_has_its_words(changes: dict[str, Any], trouble: str, level: str, headline: str) -> None:
    found = state_of(stored(**changes), trouble=trouble)
    assert (found.level, found.headline) == (level, headline)
    assert found.detail.startswith(trouble)
    assert found.detail or level == "ok"


def test_every_condition_that_is_not_good_says_what_to_do() -> None:
    for condition in SignInCondition:
        found = state_of(stored(condition=condition))
        assert ("Enter everything again" in found.detail or "enter everything again" in found.detail) is (
            condition is not SignInCondition.GOOD
        )
        assert found.needs_sign_in is (condition is not SignInCondition.GOOD)


def test_a_custom_provider_is_connected_by_oauth() -> None:
    custom = Registration(provider=OAuthProvider.CUSTOM, way=Grant.CODE)
    assert state_of(stored(registration=custom)).headline == "Connected by OAuth"


def test_it_is_told_who_connected_when_and_when_it_was_renewed() -> None:
    found = state_of(stored())
    assert (found.mailbox, found.granted_by, found.granted_at) == ("shop@example.com", "alice", THEN)
    assert found.renewed_at == LATER
    assert state_of(stored(obtained_at=THEN)).renewed_at is None


@pytest.mark.parametrize(
    ("days_left", "is_over", "certainty", "level"),
    [
        (200, False, Certainty.CERTAIN, "info"),
        (30, False, Certainty.CERTAIN, "warning"),
        (1, False, Certainty.UNLESS_RENEWED, "warning"),
        (-3, True, Certainty.CERTAIN, "error"),
    ],
)
def test_what_ends_is_the_louder_the_nearer(days_left: int, is_over: bool, certainty: Certainty, level: str) -> None:
    found = end_line(ending(days_left, is_over=is_over, certainty=certainty))
    assert found.level == level
    assert bool(found.remedy) is (level != "info")
