"""How a server is, said by one function from what was written down of it: a pure judgement, and its words."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from flask import Flask

from app import create_app
from database.engine import reading, transaction
from database.health_db import ServerHealth
from services.delivery import outcome, retry_policy
from services.outbox.reasons import Reason
from services.settings import configs, health, route
from services.settings.fields import parse_change
from services.settings.health import Health, HealthState, Meeting, What
from services.settings.sealing import StoredConfig
from services.smtp.habits import Habit, habits_of
from tests.conftest import APP_KEY
from utils import clock
from utils.errors import DeliveryError, Fault, Misconfigured, Permanent, Phase, Temporary

WENT = Meeting(what=What.WENT)
ANSWERED = Meeting(what=What.ANSWERED)
PASSED = Meeting(what=What.WENT, is_test=True)
MILD = Meeting(what=What.FAILED, reason=Reason.LINK_LOST)
UNREACHABLE = Meeting(what=What.FAILED, reason=Reason.CONNECT, is_broken=True, is_unreachable=True)
CROWDED = Meeting(what=What.FAILED, reason=Reason.GREETING, is_broken=True, is_unreachable=True, may_be_crowded=True)
REFUSED_US = Meeting(what=What.FAILED, reason=Reason.NO_RELAY, is_broken=True)
USED_UP = Meeting(what=What.PAUSED, reason=Reason.ALLOWANCE, seconds=3600)


@pytest.fixture
def stored(app: Flask) -> StoredConfig:
    return configs.save(parse_change({"smtp_server": "mail.example.com", "from_email": "a@example.com"}))


def met(stored: StoredConfig, meetings: Sequence[Meeting]) -> Health:
    step = route.step_of(stored)
    with transaction() as session:
        health.note(session, step.owner, step.config_id, step.fingerprint, meetings)
    return health.of_config(stored)


@pytest.mark.parametrize(
    ("meetings", "state"),
    [
        ([], HealthState.UNPROVEN),
        ([ANSWERED], HealthState.UNPROVEN),
        ([WENT], HealthState.WORKING),
        ([PASSED], HealthState.WORKING),
        ([WENT, ANSWERED, ANSWERED], HealthState.WORKING),
        ([MILD], HealthState.STRUGGLING),
        ([WENT, MILD], HealthState.STRUGGLING),
        ([WENT, MILD, WENT], HealthState.WORKING),
        ([WENT, MILD, WENT, MILD, WENT], HealthState.STRUGGLING),
        ([WENT, *[MILD] * 4], HealthState.STRUGGLING),
        ([WENT, *[MILD] * 5], HealthState.DOWN),
        ([*[MILD] * 5, WENT], HealthState.WORKING),
        ([MILD, WENT, MILD, WENT, *[WENT] * 20], HealthState.WORKING),
        ([WENT, UNREACHABLE], HealthState.DOWN),
        ([UNREACHABLE], HealthState.DOWN),
        ([WENT, UNREACHABLE, WENT], HealthState.WORKING),
        ([UNREACHABLE, MILD], HealthState.DOWN),
        ([UNREACHABLE, PASSED], HealthState.WORKING),
        ([WENT, UNREACHABLE, ANSWERED], HealthState.WORKING),
        ([UNREACHABLE, ANSWERED], HealthState.UNPROVEN),
        ([WENT, CROWDED], HealthState.STRUGGLING),
        ([WENT, *[CROWDED] * 5], HealthState.DOWN),
        ([CROWDED], HealthState.DOWN),
        ([WENT, REFUSED_US], HealthState.DOWN),
        ([WENT, REFUSED_US, ANSWERED], HealthState.DOWN),
        ([WENT, USED_UP], HealthState.PAUSED),
        ([WENT, USED_UP, WENT], HealthState.WORKING),
        ([WENT, USED_UP, PASSED], HealthState.PAUSED),
        ([WENT, UNREACHABLE, USED_UP], HealthState.DOWN),
    ],
)
def test_a_server_is_as_the_last_mails_and_tests_found_it(
    stored: StoredConfig, meetings: Sequence[Meeting], state: HealthState
) -> None:
    assert met(stored, meetings).state is state


def test_it_is_down_since_the_first_failure_after_a_success(stored: StoredConfig) -> None:
    began = clock.now()
    met(stored, [WENT, UNREACHABLE])
    first = clock.now()
    found = met(stored, [UNREACHABLE, UNREACHABLE])
    assert found.since
    assert began < found.since < first
    assert found.sentence == f"Down since {clock.readable(found.since)}: Could not connect to server."


def test_one_that_lets_nothing_out_for_minutes_is_down_after_few_failures(stored: StoredConfig) -> None:
    met(stored, [WENT, MILD])
    with transaction() as session:
        row = session.get(ServerHealth, health.owner_of(stored.id))
        assert row
        row.failing_since = clock.now() - timedelta(minutes=11)
    assert met(stored, [MILD]).state is HealthState.DOWN


def test_it_says_how_many_failed_of_how_many(stored: StoredConfig) -> None:
    found = met(stored, [MILD, WENT, MILD, WENT, WENT])
    assert found.sentence == "2 of its last 5 attempts failed: Connection was lost."


def test_it_struggles_no_more_once_its_failures_are_long_ago(stored: StoredConfig) -> None:
    met(stored, [MILD, WENT, MILD, WENT])
    with reading() as session:
        row = session.get(ServerHealth, health.owner_of(stored.id))
    assert health.judged(row, now=clock.now() + timedelta(minutes=11)).state is HealthState.WORKING


def test_a_pause_says_until_when_and_why_and_ends_by_itself(stored: StoredConfig) -> None:
    found = met(stored, [WENT, USED_UP])
    assert found.until
    assert found.sentence == f"Paused until {clock.readable(found.until)}: Sending quota is used up."
    with reading() as session:
        row = session.get(ServerHealth, health.owner_of(stored.id))
    assert health.judged(row, now=clock.now() + timedelta(hours=2)).state is HealthState.WORKING


def test_other_settings_are_unproven_whatever_was_known_of_the_old_ones(stored: StoredConfig) -> None:
    met(stored, [WENT, UNREACHABLE])
    other = configs.update(stored.id, parse_change({"smtp_server": "other.example.com"}))
    assert health.of_config(other) == Health(state=HealthState.UNPROVEN)
    assert met(other, [WENT]).state is HealthState.WORKING


def test_a_change_that_no_server_hears_of_leaves_it_as_it_is(stored: StoredConfig) -> None:
    met(stored, [WENT, UNREACHABLE])
    assert health.of_config(configs.update(stored.id, parse_change({"name": "Other"}))).is_down


def test_settings_that_passed_a_test_on_screen_are_proven_when_they_are_saved(stored: StoredConfig) -> None:
    configs.mark_tested(stored.settings, None, stored.id)
    assert health.of_config(configs.get(stored.id)).state is HealthState.WORKING


def test_one_whose_settings_cannot_be_used_says_why(stored: StoredConfig, environment: dict[str, str]) -> None:
    other = create_app({**environment, "APP_KEY": APP_KEY[::-1]})
    with other.app_context():
        found = health.of_config(configs.get(stored.id))
    assert (found.state, found.reason) == (HealthState.UNUSABLE, configs.get(stored.id).problem or found.reason)


def test_another_process_and_a_restarted_one_say_the_same(stored: StoredConfig, environment: dict[str, str]) -> None:
    told = met(stored, [WENT, UNREACHABLE])
    with create_app(environment).app_context():
        assert health.of_config(configs.get(stored.id)) == told


def test_what_is_known_of_a_server_is_deleted_with_it(stored: StoredConfig) -> None:
    met(stored, [WENT])
    configs.delete(stored.id)
    with reading() as session:
        assert session.get(ServerHealth, health.owner_of(stored.id)) is None


def test_what_works_and_what_nobody_tried_is_no_trouble_but_the_latter_is_doubtful() -> None:
    trouble = {each for each in HealthState if Health(state=each).has_trouble}
    doubtful = {each for each in HealthState if Health(state=each, last_success=clock.now()).is_doubtful}
    assert trouble == {HealthState.STRUGGLING, HealthState.PAUSED, HealthState.DOWN, HealthState.UNUSABLE}
    assert doubtful == {HealthState.UNPROVEN, HealthState.DOWN, HealthState.UNUSABLE}
    assert Health(state=HealthState.STRUGGLING).is_doubtful  # it never worked


@pytest.mark.parametrize(("days", "told"), [(20, ""), (13, "expires on"), (1, "expires on"), (-1, "expired on")])
def test_a_certificate_of_the_server_that_ends_soon_or_has_is_told(stored: StoredConfig, days: int, told: str) -> None:
    last_day = f"{clock.now() + timedelta(days=days):%Y-%m-%d}"
    habits_of(stored.host, stored.port).learn(Habit.CERTIFICATE, last_day)
    found = met(stored, [WENT])
    assert found.state is HealthState.WORKING
    assert found.level == ("warning" if told else "ok")
    assert found.sentence.startswith(f"The server’s certificate {told} {last_day} UTC." if told else "")
    assert bool(found.sentence) is bool(told)


def error(phase: Phase, text: str, kind: type[DeliveryError] = Permanent, fault: Fault = Fault.REPLY) -> DeliveryError:
    code = int(text[:3]) if text[:3].isdigit() else None
    return kind(phase, fault, text[4:], code=code, enhanced=text.split()[1] if "." in text.split()[1] else None)


@pytest.mark.parametrize(
    ("failure", "what", "is_broken"),
    [
        (error(Phase.RECIPIENT, "550 5.1.1 no such user"), What.ANSWERED, False),
        (error(Phase.RECIPIENT, "450 4.2.0 greylisted", Temporary), What.ANSWERED, False),
        (error(Phase.RECIPIENT, "452 4.2.2 mailbox full", Temporary), What.ANSWERED, False),
        (error(Phase.MESSAGE, "554 5.7.1 spam"), What.ANSWERED, False),
        (error(Phase.SENDER, "552 5.3.4 too large"), What.ANSWERED, False),
        (error(Phase.SENDER, "530 5.7.0 Authentication required"), What.FAILED, True),
        (error(Phase.SENDER, "553 5.7.1 sender not owned by user"), What.FAILED, True),
        (error(Phase.RECIPIENT, "554 5.7.1 Relay access denied"), What.FAILED, False),
        (error(Phase.SIGN_IN, "535 5.7.8 no", Misconfigured), What.FAILED, True),
        (error(Phase.CONNECT, "no one there", Temporary, Fault.REFUSED), What.FAILED, True),
        (error(Phase.GREETING, "no word", Temporary, Fault.TIMEOUT), What.FAILED, True),
        (error(Phase.SENDER, "421 4.3.2 shutting down", Temporary), What.FAILED, False),
        (error(Phase.SENDER, "452 4.3.1 no space", Temporary), What.FAILED, False),
        (error(Phase.SENDER, "550 5.4.5 Daily user sending limit exceeded."), What.PAUSED, False),
        (error(Phase.SENDER, "451 4.7.0 too many messages per second", Temporary), What.FAILED, False),
    ],
)
def test_only_what_is_the_servers_counts_by_the_one_table(failure: DeliveryError, what: What, is_broken: bool) -> None:
    found = outcome.meeting_of(retry_policy.of_error(failure))
    assert found
    assert (found.what, found.is_broken) == (what, is_broken)


def test_what_sealpost_itself_did_wrong_tells_nothing_of_a_server() -> None:
    ours = Temporary(Phase.SENDER, Fault.OURS, "")
    assert outcome.meeting_of(retry_policy.of_error(ours)) is None


def test_a_doubt_that_was_weighed_is_the_servers_or_the_mails() -> None:
    denied = retry_policy.of_error(error(Phase.RECIPIENT, "554 5.7.1 Relay access denied"))
    weighed = outcome.meeting_of(denied, is_weighed=True)
    about_it = outcome.meeting_of(denied, is_weighed=True, is_about_it=True)
    assert weighed
    assert about_it
    assert (weighed.is_broken, about_it.what) == (True, What.ANSWERED)
