"""What production must not run with is refused; what goes unprotected to another host is a doubt."""

import pytest

from tests.utils.test_env_utils import GOOD, refused
from utils.env_utils import load_settings

PRODUCTION = {"APP_ENV": "production", "BASE_URL": "https://app.example.com"}
TOKEN = "Xw9vPq2LrM6yKd4Zs8Fh1JcTn5Ub3GeAoSi7"


def doubts(**variables: str) -> str:
    return " ".join(load_settings({**GOOD, **variables}).doubts)


def test_without_app_env_it_is_production() -> None:
    settings = load_settings({"APP_KEY": GOOD["APP_KEY"], "BASE_URL": "https://app.example.com"})
    assert settings.is_production


@pytest.mark.parametrize("host", ["app.example.com", "192.0.2.2", "10.0.0.1", "[2001:db8::1]:8000", "127.0.0.1.nip.io"])
def test_production_refuses_http_to_another_host(host: str) -> None:
    message = refused(APP_ENV="production", BASE_URL=f"http://{host}")
    assert message.startswith("BASE_URL is http:// in production")
    assert "ALLOW_HTTP=true" in message


@pytest.mark.parametrize("host", ["localhost:5000", "127.0.0.1", "127.1.2.3:80", "[::1]:5000"])
def test_production_takes_http_on_this_machine(host: str) -> None:
    assert load_settings({**GOOD, "APP_ENV": "production", "BASE_URL": f"http://{host}"}).base_url == f"http://{host}"


@pytest.mark.parametrize("variables", [{"APP_ENV": "production", "ALLOW_HTTP": "true"}, {"APP_ENV": "development"}])
def test_http_can_be_allowed_and_is_in_development(variables: dict[str, str]) -> None:
    assert load_settings({**GOOD, **variables, "BASE_URL": "http://app.example.com"}).base_url


def test_allow_http_is_yes_or_no() -> None:
    assert "ALLOW_HTTP" in refused(APP_ENV="production", BASE_URL="http://app.example.com", ALLOW_HTTP="perhaps")


@pytest.mark.parametrize(
    "variables", [{"APP_KEY": TOKEN}, {"APP_KEY_PREVIOUS": TOKEN}, {"APP_KEY_PREVIOUS": f"x,{TOKEN}"}]
)
def test_production_refuses_a_token_that_is_a_key(variables: dict[str, str]) -> None:
    message = refused(**PRODUCTION, ADMIN_TOKEN=TOKEN, **variables)
    assert message.startswith("ADMIN_TOKEN is the same as APP_KEY.")
    assert TOKEN not in message


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("DATABASE_URL", "postgresql://u:p@db.test/x"),
        ("DATABASE_URL", "postgres://db.test/x?sslmode=require"),
        ("DATABASE_URL", "postgresql://db.test/x?sslmode=verify-ca"),
        ("DATABASE_URL", "postgresql://u@127.0.0.1,db.test/x"),
        ("DATABASE_URL", "postgresql:///x?host=db.test"),
        ("DATABASE_URL", "postgresql+psycopg://u:p@[2001:db8::1]:5432/x?sslmode=prefer"),
        ("CELERY_BROKER_URL", "redis://:p@redis.test/0"),
        ("CELERY_BROKER_URL", "amqp://u:p@rabbit.test//"),
        ("CELERY_BROKER_URL", "amqps://a.test//;amqp://b.test//"),
        ("CELERY_BROKER_URL", "rediss://redis.test/0?ssl_cert_reqs=none"),
        ("CELERY_BROKER_URL", "amqps://rabbit.test//?ssl_cert_reqs=CERT_NONE"),
        ("RATELIMIT_STORAGE_URI", "redis://10.0.0.7:6379/1"),
        ("RATELIMIT_STORAGE_URI", "rediss://redis.test?ssl_cert_reqs=CERT_OPTIONAL"),
    ],
)
def test_another_host_without_verified_tls_is_a_doubt(variable: str, url: str) -> None:
    told = doubts(**{variable: url})
    assert told.startswith(f"{variable} names another host without ")
    assert ".test" not in told


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("DATABASE_URL", "sqlite:///x.db"),
        ("DATABASE_URL", "postgresql://u:p@127.0.0.1:5432/x"),
        ("DATABASE_URL", "postgresql://u@localhost/x?sslmode=disable"),
        ("DATABASE_URL", "postgresql:///x"),
        ("DATABASE_URL", "postgresql:///x?host=/var/run/postgresql"),
        ("DATABASE_URL", "postgresql://u:p@[::1]/x"),
        ("DATABASE_URL", "postgresql://u:p@db.test/x?sslmode=verify-full&sslrootcert=system"),
        ("CELERY_BROKER_URL", "redis://:p@[::1]:6379/0"),
        ("CELERY_BROKER_URL", "rediss://redis.test/0?ssl_cert_reqs=required"),
        ("CELERY_BROKER_URL", "amqps://rabbit.test//"),
        ("RATELIMIT_STORAGE_URI", "memory://"),
        ("RATELIMIT_STORAGE_URI", "rediss://redis.test"),
    ],
)
def test_here_or_with_verified_tls_it_is_none(variable: str, url: str) -> None:
    assert doubts(**{variable: url}) == ""


def test_the_mode_may_stand_in_the_environment_of_libpq() -> None:
    assert doubts(DATABASE_URL="postgresql://db.test/x", PGSSLMODE="verify-full") == ""


@pytest.mark.parametrize("password", ["hunter@2", "hunter/2", "hunter#2", "hunter?2", "[hunter2"])
def test_a_databases_password_that_is_not_escaped_is_told_how_to(password: str) -> None:
    message = refused(DATABASE_URL=f"postgresql://user:{password}@db.test/x")
    assert message.startswith("DATABASE_URL must be like ")
    assert "write @ as %40" in message
    assert "hunter" not in message


def test_an_escaped_one_is_taken() -> None:
    url = "postgresql://user:hunter%402%2F@127.0.0.1/x"
    assert load_settings({**GOOD, "DATABASE_URL": url}).database_url == url.replace("postgresql", "postgresql+psycopg")
