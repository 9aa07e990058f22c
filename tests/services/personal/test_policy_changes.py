"""The policy for servers of accounts: what administrators save, what the environment fixes, two of them at once."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from flask import Flask
from sqlalchemy import text

from app import create_app
from database.engine import transaction
from services import audit
from services.personal import oversight, policy_changes
from services.settings import personal_policy, personal_route, route
from services.settings.personal_policy import Allowed, Fallback
from tests.patience import PATIENCE
from tests.services.personal.own_rows import own_row
from tests.visitors import make_bob
from utils.errors import Conflict, InvalidInput
from utils.personal_env import LIMITS

pytestmark = pytest.mark.usefixtures("app")

HOSTILE_HOSTS = [
    "https://smtp.example.com", "smtp.example.com:587", "*.example.com", ".example.com", "@example.com", "a@b.example",
    "127.1", "0x7f.1", "exa..mple", "-a.example", "a" * 64 + ".example", "smtp。example．com", "a/b", "[::1",
    "1.2.3.256",
]  # fmt: skip


def test_what_is_saved_is_in_force_and_counted() -> None:
    policy = policy_changes.save({"allowed": "named", "hosts": "SMTP.Gmail.com\nexample.com.", "fallback": "never"})
    assert (policy.allowed, policy.hosts, policy.fallback) == (
        Allowed.NAMED,
        ("smtp.gmail.com", "example.com"),
        Fallback.NEVER,
    )
    assert policy.version == 1
    assert policy_changes.save({"emails_per_day": 0, "fallback_per_minute": None}, version=1).version == 2
    policy = personal_policy.current()
    assert (policy.emails_per_day, policy.fallback_per_minute, policy.allowed) == (0, 10, Allowed.NAMED)


def test_a_domain_stands_for_itself_and_for_all_below_it_and_for_nothing_else() -> None:
    policy = policy_changes.save({"allowed": "named", "hosts": "example.com, 192.0.2.1"})
    assert all(map(policy.allows, ("example.com", "smtp.example.com", "a.b.example.com", "192.0.2.1")))
    assert not any(map(policy.allows, ("badexample.com", "example.com.evil.example", "com", "192.0.2.10", "")))
    assert not policy_changes.save({"allowed": "off"}).allows("example.com")
    assert policy_changes.save({"allowed": "any"}).allows("evil.example")


@pytest.mark.parametrize("text", HOSTILE_HOSTS)
def test_what_is_no_host_is_refused_by_its_number_and_not_repeated(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        policy_changes.save({"hosts": f"good.example {text}"})
    (sentence,) = refused.value.errors["hosts"]
    assert sentence.startswith("Number 2:")
    assert text not in sentence or text in ("127.1",)
    assert personal_policy.current().version == 0


@pytest.mark.parametrize("hosts", ["", " \n ,;", []])
def test_named_servers_need_a_name(hosts: object) -> None:
    with pytest.raises(InvalidInput, match="Check") as refused:
        policy_changes.save({"allowed": "named", "hosts": hosts})
    assert refused.value.errors == {"hosts": [policy_changes.NAME_ONE]}


def test_names_cannot_be_taken_away_while_they_decide() -> None:
    policy_changes.save({"allowed": "named", "hosts": "example.com"})
    with pytest.raises(InvalidInput):
        policy_changes.save({"hosts": ""})
    assert policy_changes.save({"allowed": "any", "hosts": ""}).hosts == ()


def test_there_is_an_end_to_the_names() -> None:
    for hosts in ("\n".join(f"h{number}.example" for number in range(201)), "a" * 20_001):
        with pytest.raises(InvalidInput):
            policy_changes.save({"hosts": hosts})


@pytest.mark.parametrize("value", [-1, True, 1.5, "30", 10_000_001, 2**63, [], float("nan")])
@pytest.mark.parametrize("name", LIMITS)
def test_what_is_no_limit_is_refused_at_its_field(name: str, value: object) -> None:
    with pytest.raises(InvalidInput) as refused:
        policy_changes.save({name: value})
    assert list(refused.value.errors) == [name]


@pytest.mark.parametrize("value", ["", "OFF", "public", None, 1, ["any"]])
@pytest.mark.parametrize("name", ["allowed", "fallback"])
def test_what_is_no_choice_is_refused_at_its_field(name: str, value: object) -> None:
    with pytest.raises(InvalidInput) as refused:
        policy_changes.save({name: value})
    assert list(refused.value.errors) == [name]


def test_a_field_that_nobody_knows_is_refused() -> None:
    with pytest.raises(InvalidInput):
        policy_changes.save({"version": 3})


def test_the_trail_names_what_was_changed_and_a_second_press_adds_nothing() -> None:
    for _ in range(2):
        policy_changes.save({"allowed": "off", "emails_per_minute": 5})
    (event,) = audit.events(action="policy_changed")
    assert set(event.details.split(", ")) == {"allowed", "emails_per_minute"}
    assert personal_policy.current().version == 1


def test_a_stale_save_is_refused() -> None:
    policy_changes.save({"allowed": "off"}, version=0)
    with pytest.raises(Conflict):
        policy_changes.save({"allowed": "any"}, version=0)
    assert personal_policy.current().allowed is Allowed.OFF


def test_of_two_administrators_at_once_one_is_told(app: Flask) -> None:
    start = Barrier(2)

    def save(allowed: str) -> bool:
        with app.app_context():
            start.wait(PATIENCE)
            try:
                policy_changes.save({"allowed": allowed}, version=0)
            except Conflict:
                return False
            return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(save, ("off", "any"))) == [False, True]
    assert personal_policy.current().version == 1


FIXED = {
    "PERSONAL_SMTP": "named",
    "PERSONAL_SMTP_HOSTS": "smtp.gmail.com",
    "PERSONAL_SMTP_FALLBACK": "never",
    "ACCOUNT_EMAILS_PER_MINUTE": "0",
    "FALLBACK_EMAILS_PER_DAY": "7",
}


@pytest.mark.parametrize(
    "change",
    [
        {"allowed": "any"},
        {"hosts": "evil.example"},
        {"hosts": "smtp.gmail.com evil.example"},
        {"fallback": "always"},
        {"emails_per_minute": 5},
        {"emails_per_minute": None},
        {"fallback_per_day": 0},
    ],
)
def test_what_the_environment_fixes_nobody_changes(
    environment: dict[str, str], tmp_path: Path, change: dict[str, object]
) -> None:
    with create_app(environment | FIXED, instance_path=tmp_path).app_context():
        with pytest.raises(InvalidInput) as refused:
            policy_changes.save({**change, "emails_per_day": 9})
        assert "in the environment" in str(refused.value.errors)
        assert personal_policy.current().version == 0


def test_what_is_fixed_may_be_sent_as_it_is_and_is_not_stored(environment: dict[str, str], tmp_path: Path) -> None:
    with create_app(environment | FIXED, instance_path=tmp_path).app_context():
        same = {"allowed": "named", "hosts": "smtp.gmail.com", "fallback": "never", "emails_per_minute": 0}
        policy_changes.save({**same, "emails_per_day": 9})
        assert personal_policy.current().emails_per_day == 9
    with create_app(environment, instance_path=tmp_path).app_context():
        policy = personal_policy.current()
        assert (policy.allowed, policy.hosts, policy.emails_per_day) == (Allowed.ANY, (), 9)


def test_a_policy_that_somebody_has_edited_by_hand_allows_nothing_and_stops_no_mail(app: Flask) -> None:
    bob = make_bob().id
    own_row(bob)
    policy_changes.save({"allowed": "any", "fallback": "always"}, actor="tester")
    with transaction() as session:
        session.execute(text("UPDATE personal_policy SET allowed = 'x', fallback = 'y'"))
        session.execute(text("UPDATE account SET personal_smtp = 'z'"))
    policy = personal_policy.current()
    assert (policy.allowed, policy.fallback) == (Allowed.OFF, Fallback.NEVER)
    assert next(route.steps(bob)).reason == personal_route.ALL_OFF
    assert oversight.get(bob).decision == oversight.Decision.OWN
