"""Mail goes no faster than its server allows, in one process or counted together in Redis."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from structlog.testing import capture_logs

from services import audit
from services.delivery.limits import AWAY_SECONDS, Allowance, Allowances, Limits, limits_of, take
from services.settings import configs, route
from services.settings.fields import parse_change
from services.settings.shown import public_dict
from tests.loopback import free_port
from tests.redis_server import RedisServer
from tests.server_form import save, stored, url, version
from tests.visitors import Visitor
from utils.errors import InvalidInput

SERVER = {"smtp_server": "mail.example.com", "from_email": "a@example.com", "is_active": True}
MINUTE = Limits(per_minute=10)


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "EMAILS_PER_MINUTE": "60", "EMAILS_PER_MINUTE_PER_DOMAIN": "7"}


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=["memory", "redis"])
def allowances(request: pytest.FixtureRequest) -> Allowances:
    if request.param == "memory":
        return Allowances("memory://")
    server: RedisServer = request.getfixturevalue("redis")
    server.stop()
    server.start()  # empty
    return Allowances(server.url)


def going(
    allowances: Allowances,
    limits: Limits,
    times: int,
    *,
    owner: str = "config:1",
    domains: tuple[str, ...] = ("example.com",),
    is_security: bool = False,
) -> int:
    """How many of so many mails may go now."""
    wanted = [Allowance(owner, limits, domains)]
    return [allowances.take(wanted, is_security=is_security) for _ in range(times)].count(None)


def test_without_limits_everything_goes(allowances: Allowances) -> None:
    assert going(allowances, Limits(), 1000) == 1000


@pytest.mark.parametrize("limits", [MINUTE, Limits(per_day=10), Limits(per_minute_per_domain=10)])
def test_four_fifths_go_and_the_last_is_kept_for_security_mail(allowances: Allowances, limits: Limits) -> None:
    assert going(allowances, limits, 20) == 8
    assert going(allowances, limits, 20, is_security=True) == 2


def test_an_allowance_of_one_is_everybodys(allowances: Allowances) -> None:
    assert going(allowances, Limits(per_minute=1), 3) == 1


@pytest.mark.parametrize(("limits", "least", "most"), [(MINUTE, 50, 60), (Limits(per_day=10), 86_000, 86_400)])
def test_the_wait_is_until_the_first_place_is_free_again(
    allowances: Allowances, limits: Limits, least: float, most: float
) -> None:
    going(allowances, limits, 8)
    refusal = allowances.take([Allowance("config:1", limits)], is_security=False)
    assert refusal
    assert least <= refusal.seconds <= most


def test_another_configuration_has_its_own_allowance(allowances: Allowances) -> None:
    going(allowances, MINUTE, 8)
    assert going(allowances, MINUTE, 8, owner="config:2") == 8


def test_a_domain_counts_whichever_server_sends_and_other_domains_go_on(allowances: Allowances) -> None:
    limits = Limits(per_minute_per_domain=5)
    assert going(allowances, limits, 9) == 4
    assert going(allowances, limits, 9, owner="config:2") == 0
    assert going(allowances, limits, 1, domains=("example.com", "example.net")) == 0
    assert going(allowances, limits, 9, domains=("example.net",)) == 4


def test_who_is_held_back_takes_nothing(allowances: Allowances) -> None:
    both = Limits(per_minute=10, per_minute_per_domain=5)
    assert going(allowances, both, 50) == 4
    assert going(allowances, both, 50, domains=("example.net",)) == 4
    assert going(allowances, both, 50, domains=("example.org",)) == 0


def test_threads_together_take_no_more_than_there_is(allowances: Allowances) -> None:
    with ThreadPoolExecutor(8) as pool:
        took = sum(pool.map(lambda _: going(allowances, Limits(per_minute=100), 20), range(8)))
    assert took == 80


def test_two_processes_count_together_in_redis(redis: RedisServer) -> None:
    limits = Limits(per_minute=50)
    first, second = Allowances(redis.url), Allowances(redis.url)
    took = [going(each, limits, 1, owner="shared") for _ in range(50) for each in (first, second)]
    assert sum(took) == 40


def test_without_redis_each_process_keeps_to_a_share_and_warns_once() -> None:
    allowances, limits = Allowances(f"redis://:s3cret@127.0.0.1:{free_port()}/0"), Limits(per_minute=40)
    with capture_logs() as logs:
        assert going(allowances, limits, 50) == 8
        assert going(allowances, limits, 50, is_security=True) == 2
    assert [line["event"] for line in logs] == ["limits_storage_away"]
    assert "s3cret" not in str(logs)


def test_a_redis_that_does_not_answer_holds_nobody_up_for_long() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        allowances = Allowances(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        assert going(allowances, Limits(per_minute=4), 5) == 1


def test_redis_is_asked_again_after_a_while(redis: RedisServer) -> None:
    now = 1000.0
    allowances = Allowances(redis.url, clock=lambda: now)
    redis.stop()
    with capture_logs() as logs:
        assert going(allowances, MINUTE, 5) == 3
        redis.start()
        assert going(allowances, MINUTE, 5) == 0
        now += AWAY_SECONDS
        assert going(allowances, MINUTE, 20) == 8
    assert [line["event"] for line in logs] == ["limits_storage_away", "limits_storage_back"]


def test_a_configuration_names_its_own_limits_or_has_the_environments(app: Flask) -> None:
    assert limits_of(None, None) == Limits(per_minute=60, per_day=0, per_minute_per_domain=7)
    assert limits_of(5, 100) == Limits(per_minute=5, per_day=100, per_minute_per_domain=7)


def test_the_applications_allowance_is_one_for_all_its_callers(app: Flask) -> None:
    wanted = [Allowance("config:1", limits_of(5, None), ("example.com",))]
    assert [take(wanted, is_security=True) is None for _ in range(6)] == [True] * 5 + [False]


def test_limits_are_saved_shown_merged_and_handed_to_the_sender(app: Flask) -> None:
    made = configs.create(parse_change({**SERVER, "name": "One", "emails_per_minute": 30, "emails_per_day": 500}))
    kept = configs.update(made.row.id, parse_change({"from_name": "Shop", "emails_per_day": None}))
    shown = public_dict(kept)
    assert (shown["emails_per_minute"], shown["emails_per_day"]) == (30, None)
    step = next(route.steps())
    assert (step.emails_per_minute, step.emails_per_day) == (30, None)


def test_changing_limits_leaves_the_test_and_the_sealed_password_as_they_are(app: Flask) -> None:
    login = {"smtp_username": "user", "smtp_password": "s3cret"}
    made = configs.create(parse_change({**SERVER, **login, "name": "One"}))
    configs.mark_tested(made.settings, None, made.row.id)
    changed = configs.update(made.row.id, parse_change({"emails_per_minute": 30}))
    assert changed.is_verified
    assert changed.row.smtp_password == made.row.smtp_password
    assert [event.details for event in audit.events(action="updated")] == ["emails_per_minute"]


@pytest.mark.parametrize("field", ["emails_per_minute", "emails_per_day"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "30", 10**12])
def test_a_limit_is_a_whole_number_or_nothing(field: str, value: object) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_change({field: value})
    assert refused.value.errors == {field: ["Enter a whole number from 1 to 10000000."]}


def test_the_form_takes_keeps_and_clears_limits(admin: Visitor) -> None:
    save(admin, emails_per_minute="30", emails_per_day="500")
    assert (stored().row.emails_per_minute, stored().row.emails_per_day) == (30, 500)
    assert 'name="emails_per_minute" type="text" value="30"' in admin.get(url()).text
    save(admin, emails_per_minute="", emails_per_day="500", smtp_password="", version=version())
    assert (stored().row.emails_per_minute, stored().row.emails_per_day) == (None, 500)


@pytest.mark.parametrize("text", ["0", "many", "-5", "99999999999999"])
def test_a_wrong_limit_is_told_at_its_field_and_not_lost(admin: Visitor, text: str) -> None:
    answer = save(admin, emails_per_minute=text)
    assert answer.status_code == 422
    assert f'name="emails_per_minute" type="text" value="{text}"' in answer.text
    assert "Enter a whole number from 1 to 10000000." in answer.text
