"""How mail is in one sentence, and the one next step."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from flask import Flask

from database.outbox_db import MailBacklog
from services.checks.outlook import Outlook
from services.overview import verdict
from services.overview.verdict import MailVerdict, NextStep
from services.settings.health import Health, HealthState
from services.settings.state import EnvLine, RouteLine, SendingState
from services.smtp.settings import Security, SmtpSettings

SINCE = datetime(2026, 11, 28, 3, tzinfo=UTC)
NO_ENV = EnvLine(name=".env", status="skipped", place="", settings=None, health=None)
SERVER = SmtpSettings(host="smtp.example.com", port=587, security=Security.STARTTLS, from_email="a@example.com")
ENV = replace(NO_ENV, settings=SERVER, health=Health(state=HealthState.UNPROVEN))
WELL = SendingState(level="ok", headline="Mail goes through Shop as a@example.com.", env=NO_ENV)
DOWN = SendingState(
    level="error",
    headline="No email gets out: Shop is down.",
    since=SINCE,
    config_id=1,
    is_outage=True,
    has_trouble=True,
    route=[RouteLine(name="Shop", status="failed", reason="")],
    env=NO_ENV,
)
UNTRIED = replace(WELL, level="warning", config_id=1, detail="It is not tested.")
NEW = SendingState(level="error", headline="No mail can be sent.", is_outage=True, has_trouble=True, env=NO_ENV)


def judge(
    state: SendingState,
    *,
    is_unattended: bool = False,
    is_down: bool = False,
    late: int | None = None,
    has_configs: bool = True,
) -> MailVerdict:
    outlook = Outlook(state=state, waiting=MailBacklog(0, None, None), is_unattended=is_unattended, since=state.since)
    return verdict.judged(outlook, is_down=is_down, late_minutes=late, has_configs=has_configs)


@pytest.mark.parametrize(
    ("state", "more", "word", "step"),
    [
        (WELL, {}, "Working", NextStep.NONE),
        (WELL, {"late": 15}, "Needs attention", NextStep.SEE_WAITING),
        (WELL, {"late": 5, "is_down": True}, "Down", NextStep.SEE_WAITING),
        (WELL, {"is_unattended": True}, "Needs attention", NextStep.SEE_WAITING),
        (UNTRIED, {}, "Needs attention", NextStep.TEST_SERVER),
        (UNTRIED, {"is_unattended": True}, "Needs attention", NextStep.SEE_WAITING),
        (UNTRIED, {"late": 15}, "Needs attention", NextStep.SEE_WAITING),
        (DOWN, {}, "Down", NextStep.TEST_SERVER),
        (DOWN, {"late": 15, "is_down": True, "is_unattended": True}, "Down", NextStep.TEST_SERVER),
        (replace(DOWN, needs_sign_in=1), {}, "Down", NextStep.CONNECT),
        (replace(WELL, level="warning", needs_sign_in=2), {}, "Needs attention", NextStep.CONNECT),
        (replace(DOWN, config_id=None, env=ENV), {"has_configs": False}, "Down", NextStep.SEE_SERVERS),
        (replace(WELL, level="warning", env=ENV), {"has_configs": False}, "Needs attention", NextStep.SEE_SERVERS),
        (replace(NEW, config_id=None), {}, "Down", NextStep.ACTIVATE),
        (NEW, {"has_configs": False}, "Not set up", NextStep.ADD_SERVER),
        (NEW, {"has_configs": False, "is_down": True, "late": 5}, "Down", NextStep.ADD_SERVER),
        (
            replace(DOWN, since=None, route=[RouteLine(name="Shop", status="skipped", reason="")]),
            {},
            "Down",
            NextStep.EDIT_SERVER,
        ),
    ],
)  # fmt: skip
def test_the_light_and_the_next_step_follow_from_how_mail_is(
    app: Flask, state: SendingState, more: dict[str, int], word: str, step: NextStep
) -> None:
    found = judge(state, **more)  # type: ignore[arg-type]
    assert (found.word, found.step) == (word, step)
    assert found.sentence.endswith(".")


def test_mail_that_is_late_is_told_by_how_much_and_the_server_beside_it(app: Flask) -> None:
    late = judge(WELL, late=15)
    assert late.sentence == "Some email is more than 15 minutes late."
    assert late.detail == WELL.headline
    assert judge(WELL, late=1, is_down=True).sentence == "Some email is more than 1 minute late."
    assert judge(WELL, late=0, is_down=True).sentence == "Some email is late."


def test_a_warning_of_what_ends_is_none_of_trouble(app: Flask) -> None:
    assert judge(replace(WELL, level="warning")).is_only_about_ends
    assert not judge(replace(WELL, level="warning", has_trouble=True)).is_only_about_ends
    assert not judge(WELL, late=15).is_only_about_ends
    assert not judge(WELL).needs_attention
