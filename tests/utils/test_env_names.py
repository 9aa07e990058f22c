"""A name that is nearly ours is told; what must not be missed stops the start; other programs' names are left alone."""

import pytest

from tests.test_architecture import ROOT
from tests.utils.test_env_utils import GOOD
from utils.env_names import OURS
from utils.env_reader import ConfigurationError
from utils.env_utils import load_settings


def doubts(**variables: str) -> str:
    return " ".join(load_settings({**GOOD, **variables}).doubts)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("EMAILS_PER_MINTUE", "EMAILS_PER_MINUTE"),
        ("EMAIL_PER_MINUTE", "EMAILS_PER_MINUTE"),
        ("EMAILS_PER_DAYS", "EMAILS_PER_DAY"),
        ("emails_per_day", "EMAILS_PER_DAY"),
        ("Trusted_Proxies", "TRUSTED_PROXIES"),
        ("TRUSTED-PROXIES", "TRUSTED_PROXIES"),
        ("BASE_URI", "BASE_URL"),
        ("MAIL_HOST", "EMAIL_HOST"),
        ("EMAIL_HOST_PASWORD", "EMAIL_HOST_PASSWORD"),
        ("DEFAULT_FORM_EMAIL", "DEFAULT_FROM_EMAIL"),
        ("HSOT", "HOST"),
        ("SMTP_CAFILE", "SMTP_CA_FILE"),
    ],
)
def test_a_slip_is_a_doubt_that_names_both(written: str, meant: str) -> None:
    told = doubts(**{written: "2"})
    assert told.startswith(f"{written} ")
    assert told.endswith(f"Did you mean {meant}?")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("MAIL_SUPRESS_SEND", "MAIL_SUPPRESS_SEND"),
        ("MAIL_SUPPRESS_SENT", "MAIL_SUPPRESS_SEND"),
        ("mail_suppress_send", "MAIL_SUPPRESS_SEND"),
        ("DATABSE_URL", "DATABASE_URL"),
        ("DATABASE_URI", "DATABASE_URL"),
        ("Database_Url", "DATABASE_URL"),
        ("APP_KEY_PREVIUOS", "APP_KEY_PREVIOUS"),
        ("DATABASE_URL_FLIE", "DATABASE_URL_FILE"),
        ("app_key", "APP_KEY"),
    ],
)
def test_a_slip_that_must_not_be_missed_stops_the_start(written: str, meant: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings({**GOOD, written: "hunter2"})
    assert written in str(caught.value)
    assert f"Did you mean {meant}?" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_without_a_key_its_slip_is_told_before_its_absence() -> None:
    with pytest.raises(ConfigurationError, match="APP_KYE"):
        load_settings({"APP_KYE": GOOD["APP_KEY"]})


@pytest.mark.parametrize(
    "name",
    [
        "EMAIL_BACKEND", "EMAIL_SUBJECT_PREFIX", "EMAIL_FILE_PATH", "EMAIL_USE_LOCALTIME", "SERVER_EMAIL", "ADMINS",
        "SECRET_KEY", "DEBUG", "ALLOWED_HOSTS", "REDIS_URL", "API_KEY", "HOME", "PATH", "HOSTNAME", "APP_ID",
        "COMPOSE_PROJECT_NAME", "POSTGRES_PASSWORD", "MAIL_FROM",
    ],
)  # fmt: skip
def test_names_of_other_programs_are_left_alone(name: str) -> None:
    assert doubts(**{name: "x"}) == ""


def test_a_slip_that_says_nothing_is_no_doubt() -> None:
    assert doubts(EMAILS_PER_MINTUE="", MAIL_SUPRESS_SEND=" ") == ""


def test_a_database_uri_of_another_program_stops_nothing_beside_ours() -> None:
    assert "DATABASE_URI" in doubts(DATABASE_URL="sqlite:///x.db", DATABASE_URI="sqlite:///y.db")


def test_the_known_names_are_those_of_the_sample() -> None:
    sample = (ROOT / ".env.example").read_text()
    assert {name for name in OURS if f"\n{name}=" not in sample and f"\n#{name}=" not in sample} == set()
