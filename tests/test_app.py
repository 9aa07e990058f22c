"""What every answer carries, and what no request can do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from app import create_app
from database.engine import transaction
from tests.patience import PATIENCE
from tests.visitors import Visitor, visit
from utils.env_reader import ConfigurationError

ROOT = Path(__file__).parent.parent

PAGES = ["/setup", "/login", "/forgot-password", "/reset-password", "/api/docs", "/api/openapi.json", "/nowhere"]


@pytest.mark.parametrize("path", PAGES)
def test_every_answer_carries_the_security_headers(client: Visitor, path: str) -> None:
    headers = client.get(path).headers
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Referrer-Policy"] in ("same-origin", "no-referrer")
    is_kept = path.startswith("/api/")  # the document, which is asked for again each time
    assert headers["Cache-Control"] == ("private, no-cache" if is_kept else "no-store")


HTML, JSON, CSV = "text/html; charset=utf-8", "application/json", "text/csv; charset=utf-8"
TYPES = {
    "/login": HTML,
    "/nowhere": HTML,
    "/account": HTML,
    "/settings/smtp": HTML,
    "/settings/audit": HTML,
    "/settings/audit.csv": CSV,
    "/emails": HTML,
    "/api/docs": HTML,
    "/api/openapi.json": JSON,
    "/api/settings/smtp": JSON,
    "/api/messages": JSON,
    "/api/nowhere": JSON,
    "/session": JSON,
    "/healthz": "text/plain; charset=utf-8",
    "/readyz": JSON,
    "/readyz/mail": JSON,
    "/static/sealpost.css": "text/css; charset=utf-8",
    "/static/forms.js": "text/javascript; charset=utf-8",
    "/static/shapes.svg": "image/svg+xml; charset=utf-8",
    "/bootstrap/static/css/bootstrap.min.css": "text/css; charset=utf-8",
}


def test_every_answer_tells_its_type_and_the_letters_of_a_text(admin: Visitor) -> None:
    answers = {path: admin.get(path).headers for path in TYPES}
    assert {path: headers["Content-Type"] for path, headers in answers.items()} == TYPES
    assert {headers["X-Content-Type-Options"] for headers in answers.values()} == {"nosniff"}


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_no_other_site_may_read_an_answer(admin: Visitor, origin: str, method: str) -> None:
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "X-CSRFToken"}
    for path in ("/account", "/session", "/api/settings/smtp", "/static/forms.js"):
        headers = admin.open(path, method=method, headers=asked).headers
        assert not [name for name, _ in headers.items() if name.lower().startswith("access-control-")]
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


@pytest.mark.parametrize("place", ["", "/static", "/static/..", "/static/%2e%2e", "/bootstrap/static", "/api"])
def test_nothing_of_the_folder_around_it_is_served(client: Visitor, place: str) -> None:
    for file in (".git/config", ".git/HEAD", ".svn/entries", ".env", "app.py", "instance/sealpost.db"):
        assert client.get(f"{place}/{file}").status_code == 404


def test_an_unchanged_style_sheet_is_not_sent_again(client: Visitor) -> None:
    first = client.get("/static/sealpost.css")
    again = client.get("/static/sealpost.css", headers={"If-None-Match": first.headers["ETag"]})
    assert (first.status_code, again.status_code) == (200, 304)


def test_a_body_over_64_kib_is_refused_on_a_page_too(admin: Visitor) -> None:
    answer = admin.post("/settings/smtp", data={"from_name": "x" * 70_000, "csrf_token": admin.csrf_token()})
    assert answer.status_code == 413


def test_an_unknown_page_is_a_page(client: Visitor) -> None:
    answer = client.get("/nowhere")
    assert answer.status_code == 404
    assert "Page not found" in answer.text


@pytest.mark.parametrize(
    "path", ["/settings/smtp%00", "/inbox/99999999999999999999", "/\r\nX: y", "/%ff", "/api/%2e%2e"]
)
def test_an_odd_path_is_no_server_error(client: Visitor, path: str) -> None:
    assert client.get(path).status_code < 500


def test_over_https_browsers_are_told_to_stay_there(environment: dict[str, str], tmp_path: Path) -> None:
    app = create_app({**environment, "BASE_URL": "https://app.example.com"}, instance_path=tmp_path)
    assert "max-age" in visit(app).get("/login").headers["Strict-Transport-Security"]


def test_over_http_they_are_not(client: Visitor) -> None:
    assert "Strict-Transport-Security" not in client.get("/login").headers


def test_a_dead_database_is_told_on_a_page(admin: Visitor) -> None:
    with transaction() as session:
        session.execute(text("DROP TABLE account"))
    answer = admin.get("/settings/smtp")
    assert answer.status_code == 503
    assert "The database is unavailable" in answer.text


@pytest.mark.parametrize("variables", [{"BASE_URL": "https://app.example.com"}, {"APP_ENV": "production"}])
def test_the_debugger_cannot_be_on_where_strangers_come(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    monkeypatch.setenv("FLASK_DEBUG", "1")
    with pytest.raises(ConfigurationError, match="FLASK_DEBUG"):
        create_app({**environment, **variables}, instance_path=tmp_path)


def gunicorn(
    environment: dict[str, str], *options: str, app: str = "app:serve()", folder: Path = ROOT, **variables: str
) -> "subprocess.CompletedProcess[str]":
    """Start gunicorn, with as many workers as we have by default, and wait for it to give up by itself."""
    return subprocess.run(
        [sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", *options, app],
        cwd=folder,
        env={**os.environ, **environment, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


def test_gunicorn_gives_up_on_an_unmigrated_database_and_says_what_to_run(
    environment: dict[str, str], tmp_path: Path
) -> None:
    run = gunicorn(environment, DATABASE_URL=f"sqlite:///{tmp_path / 'empty.db'}")
    assert run.returncode != 0
    assert "flask db upgrade" in run.stderr
    assert "Traceback" not in run.stderr


def test_gunicorn_gives_up_on_a_wrong_variable_and_names_it(environment: dict[str, str]) -> None:
    run = gunicorn(environment, TRUSTED_PROXIES="many")
    assert run.returncode != 0
    assert "TRUSTED_PROXIES must be a whole number" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("status", [3, 4], ids=["not booted", "not loaded"])
def test_of_several_workers_that_end_at_once_one_ends_gunicorn_wherever_it_is_started(
    environment: dict[str, str], tmp_path: Path, status: int
) -> None:
    (tmp_path / "hopeless.py").write_text(f"import os\nos._exit({status})\n")
    config = str(ROOT / "gunicorn.conf.py")
    run = gunicorn(environment, "--workers", "4", "--config", config, app="hopeless:app", folder=tmp_path)
    assert run.returncode == status
    assert "Traceback" not in run.stderr
