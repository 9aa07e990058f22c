"""What about a server will end: the day, the words, how sure it is, and which notice fits."""

import json
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.connecting import calendar
from services.connecting.calendar import (
    ENDED,
    NOTICE_DAYS,
    Certainty,
    EndAction,
    Ending,
    EndOf,
    ServerFacts,
    SignInFacts,
    endings,
)
from services.oauth.providers import CLOUDS, Grant, OAuthProvider
from services.providers import registry
from tests.certificates import client_pair
from utils import clock

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
MICROSOFT, GOOGLE = OAuthProvider.MICROSOFT, OAuthProvider.GOOGLE


def signed_in(provider: OAuthProvider = MICROSOFT, way: Grant = Grant.CODE, **facts: object) -> SignInFacts:
    known = {"granted_at": NOW, "has_refresh_token": True} | facts
    return SignInFacts(provider=provider, way=way, **known)  # type: ignore[arg-type]


def of_sign_in(sign_in: SignInFacts, now: datetime = NOW) -> list[Ending]:
    return list(endings(ServerFacts(host="smtp.example.com", sign_in=sign_in), now))


def only(found: list[Ending] | tuple[Ending, ...]) -> Ending:
    (ending,) = found
    return ending


@pytest.mark.parametrize(
    ("sign_in", "day", "certainty"),
    [
        (signed_in(), "2027-02-26", Certainty.UNLESS_RENEWED),
        (signed_in(way=Grant.DEVICE), "2027-02-26", Certainty.UNLESS_RENEWED),
        (signed_in(granted_at=NOW - timedelta(days=400), used_at=NOW), "2027-02-26", Certainty.UNLESS_RENEWED),
        (signed_in(granted_at=NOW, used_at=NOW - timedelta(days=80)), "2027-02-26", Certainty.UNLESS_RENEWED),
        (signed_in(granted_at=None, used_at=NOW - timedelta(days=80)), "2026-12-08", Certainty.UNLESS_RENEWED),
        (signed_in(is_testing=True), "2027-02-26", Certainty.UNLESS_RENEWED),  # which only Google has
        (signed_in(GOOGLE), "2027-05-28", Certainty.UNLESS_RENEWED),
        (signed_in(GOOGLE, used_at=datetime(2026, 8, 31, tzinfo=UTC), granted_at=None), "2027-02-28", None),
        (signed_in(GOOGLE, used_at=datetime(2027, 8, 31, tzinfo=UTC), granted_at=None), "2028-02-29", None),
        (signed_in(GOOGLE, is_testing=True), "2026-12-05", Certainty.CERTAIN),
        (signed_in(GOOGLE, is_testing=True, granted_at=NOW, used_at=NOW + timedelta(days=6)), "2026-12-05", None),
    ],
)
def test_a_refresh_token_ends_as_its_provider_says(sign_in: SignInFacts, day: str, certainty: Certainty | None) -> None:
    found = only(of_sign_in(sign_in))
    assert (found.what, str(found.ends_on)) == (EndOf.REFRESH_TOKEN, day)
    assert certainty in (found.certainty, None)
    assert found.action is EndAction.CONNECT
    assert f"ends on {day} UTC" in found.words


@pytest.mark.parametrize(
    "sign_in",
    [
        signed_in(OAuthProvider.FASTMAIL),
        signed_in(OAuthProvider.CUSTOM),
        signed_in(granted_at=None),
        signed_in(GOOGLE, granted_at=None, is_testing=True),
        signed_in(has_refresh_token=False),
        signed_in(needs_sign_in=True),
        signed_in(way=Grant.CLIENT_CREDENTIALS),
        signed_in(GOOGLE, way=Grant.SERVICE_ACCOUNT),
        signed_in(has_refresh_token=False, secret_ends_on=date(2027, 1, 1)),  # of a secret that has been removed
    ],
)
def test_where_nothing_is_known_to_end_nothing_is_said(sign_in: SignInFacts) -> None:
    assert of_sign_in(sign_in) == []


@pytest.mark.parametrize("way", [Grant.CODE, Grant.CLIENT_CREDENTIALS])
def test_a_secret_and_a_certificate_of_the_registration_end_whatever_the_way(way: Grant) -> None:
    pair = client_pair(days=20)
    facts: dict[str, Any] = {"has_secret": True, "secret_ends_on": date(2027, 1, 5), "certificate": pair.certificate}
    found = of_sign_in(signed_in(way=way, has_refresh_token=False, **facts), clock.now())
    assert {each.what for each in found} == {EndOf.CLIENT_SECRET, EndOf.OAUTH_CERTIFICATE}
    assert all("Microsoft" in each.remedy and each.action is EndAction.CONNECT for each in found)


def test_a_dead_sign_in_still_tells_when_its_secret_ends() -> None:
    found = only(of_sign_in(signed_in(needs_sign_in=True, has_secret=True, secret_ends_on=date(2026, 11, 27))))
    assert (found.what, found.is_over) == (EndOf.CLIENT_SECRET, True)
    assert found.words == "The client secret expired on 2026-11-27 UTC."


@pytest.mark.parametrize("host", sorted(host for cloud in CLOUDS.values() for host in cloud.smtp_hosts))
def test_every_server_of_microsoft_has_a_day_on_which_passwords_end(host: str) -> None:
    found = only(endings(ServerFacts(host=host, has_password=True), NOW))
    assert (found.what, found.certainty, found.action) == (EndOf.PASSWORD, Certainty.ANNOUNCED, EndAction.CONNECT)
    assert found.is_over == (host == "smtp-mail.outlook.com")  # of personal accounts, since September 2024
    assert str(found.ends_on) == ("2024-09-16" if found.is_over else "2026-12-31")
    assert endings(ServerFacts(host=host), NOW) == ()


@pytest.mark.parametrize("host", ["smtp-legacy.office365.com", "SMTP.Office365.com", "smtp.office365.com."])
def test_other_names_of_microsofts_servers_count_as_well(host: str) -> None:
    assert only(endings(ServerFacts(host=host, has_password=True), NOW)).what is EndOf.PASSWORD


@pytest.mark.parametrize(
    "host",
    ["smtp.gmail.com", "smtp.example.com", "smtp.office365.com.example.net", "smtp-hve.office365.com",
     "example-com.mail.protection.outlook.com", "192.0.2.7", "not a host", ""],
)  # fmt: skip
def test_passwords_elsewhere_have_no_end(host: str) -> None:
    assert endings(ServerFacts(host=host, has_password=True), NOW) == ()


def test_the_days_of_passwords_are_those_of_the_registry_and_have_their_sources() -> None:
    data = json.loads(calendar.DATA.read_text())["providers"]
    for provider_id, known in data.items():
        provider = registry.by_id(provider_id)
        assert provider
        assert known["ends_on"] in [change["date"] for change in provider["changes"]]
        assert {(registry.for_server(host) or {"id": ""})["id"] for host in known["hosts"]} == {provider_id}
        assert known["sources"]


def test_what_is_said_of_microsofts_date_changes_once_it_has_passed_and_is_no_trouble_then() -> None:
    server = ServerFacts(host="smtp.office365.com", has_password=True)
    before, after = (
        only(endings(server, datetime(2026, 12, 31, 23, 59, tzinfo=UTC) + timedelta(minutes=m))) for m in (0, 1)
    )
    assert (before.is_over, before.days_left, before.is_soon) == (False, 0, True)
    assert (after.is_over, after.days_left, after.is_soon, after.is_near) == (True, -1, False, False)
    assert "turns off" in before.words
    assert "Since the end of December 2026" in after.words
    for told in (before, after):
        assert "second half of 2027" in told.remedy


def test_a_client_certificate_is_told_of_as_the_connection_test_tells_it() -> None:
    for days in (13.9, 5, -1):
        pair = client_pair(days=days)
        found = only(endings(ServerFacts(host="smtp.example.com", certificate=pair.certificate), clock.now()))
        assert (found.is_soon, found.is_over) == (True, days < 0)
    assert only(
        endings(ServerFacts(host="x.example", certificate=client_pair(days=20).certificate), clock.now())
    ).is_near


@pytest.mark.parametrize("last_day", ["", "soon", "2026-13-01", "20260101T", "None"])
def test_a_day_of_the_server_that_is_none_is_left_out(last_day: str) -> None:
    assert endings(ServerFacts(host="smtp.example.com", last_day=last_day), NOW) == ()


def test_the_first_to_end_comes_first() -> None:
    sign_in = signed_in(GOOGLE, is_testing=True, has_secret=True, secret_ends_on=date(2026, 12, 4))
    server = ServerFacts(host="smtp.office365.com", has_password=True, last_day="2026-12-20", sign_in=sign_in)
    assert [each.what for each in endings(server, NOW)] == [
        EndOf.CLIENT_SECRET, EndOf.REFRESH_TOKEN, EndOf.SERVER_CERTIFICATE, EndOf.PASSWORD,
    ]  # fmt: skip


def of_secret(ends_on: date, now: datetime) -> Ending:
    return only(of_sign_in(signed_in(has_refresh_token=False, has_secret=True, secret_ends_on=ends_on), now))


@pytest.mark.parametrize(
    ("days", "notice"),
    [
        (400, None),
        (31, None),
        (30, 30),
        (29, 30),
        (8, 30),
        (7, 7),
        (6, 7),
        (2, 7),
        (1, 1),
        (0, None),
        (-1, 0),
        (-90, 0),
    ],
)
def test_a_notice_fits_so_many_days_before_and_none_on_the_day_itself(days: int, notice: int | None) -> None:
    for hour in (0, 12, 23):
        now = NOW.replace(hour=hour, minute=59)
        assert of_secret(now.date() + timedelta(days=days), now).notice == notice


@pytest.mark.parametrize("hours", [-11, 0, 14])
def test_days_are_those_of_utc_wherever_the_clock_is(hours: int) -> None:
    now = datetime(2026, 11, 28, 23, 30, tzinfo=UTC).astimezone(timezone(timedelta(hours=hours)))
    assert of_secret(date(2026, 11, 29), now).days_left == 1


def test_a_token_that_ends_tonight_has_ended_once_it_has_and_not_before() -> None:
    used_at = NOW - timedelta(days=90) + timedelta(hours=3)
    sign_in = signed_in(granted_at=None, used_at=used_at)
    before, after = (only(of_sign_in(sign_in, NOW + timedelta(hours=hours))) for hours in (2, 3))
    assert (before.is_over, before.notice, before.days_left) == (False, None, 0)
    assert (after.is_over, after.notice, after.days_left) == (True, ENDED, 0)
    assert "ended on" in after.words


@given(st.integers(-40, 400), st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1)))
def test_a_notice_is_of_use_until_the_next_one_fits_or_the_day_itself_begins(days: int, moment: datetime) -> None:
    now = moment.replace(tzinfo=UTC)
    ends_on = now.date() + timedelta(days=days)
    found = of_secret(ends_on, now)
    until = found.notice_until
    if found.notice in (None, ENDED):
        assert until is None
        return
    assert until is not None
    assert now < until <= calendar.midnight(ends_on)
    assert of_secret(ends_on, until - timedelta(microseconds=1)).notice == found.notice
    assert of_secret(ends_on, until).notice != found.notice


@given(
    st.integers(0, 120),
    st.lists(st.integers(0, 24 * 60), min_size=1, max_size=60),
)
def test_each_notice_comes_at_most_once_and_none_later_than_its_day(days: int, pauses: list[int]) -> None:
    """Whenever a process looks, and for however long none does: with what was told before it, as the table has it."""
    ends_on, now = NOW.date() + timedelta(days=days), NOW
    told: list[int] = []
    for hours in pauses:
        now += timedelta(hours=hours)
        notice = of_secret(ends_on, now).notice
        if notice is None or notice in told:
            continue
        left = (ends_on - now.date()).days
        assert left < 0 if notice == ENDED else 0 < left <= notice
        told.append(notice)
    assert told == sorted(set(told), reverse=True)
    assert set(told) <= {*NOTICE_DAYS, ENDED}
