"""Hints in a reply on when to come back."""

import pytest

from services.diagnosis.retry_hints import reply_hint_seconds


@pytest.mark.parametrize(
    ("reply", "seconds"),
    [
        ("Greylisted, please try again in 5 minutes", 300),
        ("retry after 300 seconds", 300),
        ("Too many messages, wait 1 hour", 3600),
        ("Please wait at least 2 hours and try again", 7200),
        ("TRY AGAIN IN 90 SEC", 90),
        ("come back in about an hour", 3600),
        ("Greylisting in effect, please come back in 00:04:30", 270),
        ("Deferred: retry in 60s", 60),
        ("try again in 1 day", 86_400),
        ("Too many failed logins. Account locked for 15 minutes.", 900),
        ("Account is locked (30 minutes)", 1800),
        ("15-minute lockout in force", 900),
        ("Too many login attempts, try again in 1 hour 30 minutes", 5400),
        ("temporarily blocked for 2 hours and 5 minutes", 7500),
        ("Please wait 10 minute(s) before you try again", 600),
        ("try again after 999999 days", 86_400),
    ],
)
def test_the_time_to_wait_is_read(reply: str, seconds: int) -> None:
    assert reply_hint_seconds(reply) == seconds


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "Try again later",
        "You may send 500 mails in 24 hours",
        "try again in 0 seconds",
        "wait for port 25",
        "Account locked",
        "locked 3 times",
    ],
)
def test_without_a_time_nothing_is_guessed(reply: str) -> None:
    assert reply_hint_seconds(reply) is None
