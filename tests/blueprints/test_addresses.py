"""A browser that came by another address than BASE_URL is told which is the right one, and not that a form expired."""

from pathlib import Path

import pytest

from app import create_app
from tests.visitors import Visitor, visit


def opened(environment: dict[str, str], tmp_path: Path, base_url: str, **variables: str) -> Visitor:
    return visit(create_app({**environment, "BASE_URL": base_url, **variables}, instance_path=tmp_path))


LAN, HTTPS = "http://0.0.0.0:5000", "https://app.example.com"


@pytest.mark.parametrize(
    ("base_url", "headers", "shown"),
    [
        (LAN, {"Host": "192.0.2.2:5000", "Origin": "http://192.0.2.2:5000"}, "http://192.0.2.2:5000"),
        (LAN, {"Host": "192.0.2.2:5000", "Origin": "null"}, "http://192.0.2.2:5000"),
        (LAN, {"Host": "192.0.2.2:5000"}, "http://192.0.2.2:5000"),
        (LAN, {"Host": "[2001:db8::2]:5000", "Origin": "http://[2001:db8::2]:5000"}, "http://[2001:db8::2]:5000"),
        (HTTPS, {"Host": "app.example.com", "Origin": "http://app.example.com"}, "http://app.example.com"),
        (HTTPS, {"Host": "127.0.0.1:8000", "Origin": "http://app.example.com"}, "http://app.example.com"),
        (
            HTTPS,
            {"Host": "www.app.example.com", "Origin": "https://www.app.example.com"},
            "https://www.app.example.com",
        ),
        (HTTPS, {"Host": "app.example.com", "Origin": "https://app.example.com:8443"}, "https://app.example.com:8443"),
        (
            HTTPS,
            {"Host": "localhost:5000", "Origin": "http://localhost:5000", "Sec-Fetch-Site": "same-origin"},
            "http://localhost:5000",
        ),
    ],
)
def test_the_page_names_both_addresses_and_links_to_the_right_one(
    environment: dict[str, str], tmp_path: Path, base_url: str, headers: dict[str, str], shown: str
) -> None:
    visitor = opened(environment, tmp_path, base_url)
    answer = visitor.post("/login", data={"login": "alice", "password": "x"}, headers=headers)
    assert answer.status_code == 400
    assert f"Sealpost is at {base_url}, but you opened {shown}." in answer.text
    assert f'href="{base_url}/"' in answer.text
    assert "expired" not in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "app.example.com", "Origin": "https://evil.example"},
        {"Host": "app.example.com", "Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
        {"Host": "evil.example", "Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
        {"Host": "app.example.com", "Origin": "https://a@app.example.com"},
        {"Host": "app.example.com", "Origin": "https://<b>.example.com"},
        {"Host": "app.example.com", "Origin": "https://app.example.com"},
        {"Host": "app.example.com", "Origin": "https://other.app.example.com", "Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_strangers_page_and_an_old_form_are_told_what_they_were(
    environment: dict[str, str], tmp_path: Path, headers: dict[str, str]
) -> None:
    answer = opened(environment, tmp_path, HTTPS).post("/login", data={"login": "a"}, headers=headers)
    assert answer.status_code == 400
    assert "form has expired" in answer.text
    assert "evil" not in answer.text


def test_behind_a_proxy_its_own_host_says_nothing_of_where_the_browser_came(
    environment: dict[str, str], tmp_path: Path
) -> None:
    visitor = opened(environment, tmp_path, HTTPS, TRUSTED_PROXIES="1")
    answer = visitor.post("/login", data={"login": "a"}, headers={"Host": "127.0.0.1:8000"})
    assert "form has expired" in answer.text


def test_it_is_in_the_log(environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    headers = {"Host": "192.0.2.2:5000", "Origin": "http://192.0.2.2:5000"}
    opened(environment, tmp_path, LAN).post("/login", data={"login": "a"}, headers=headers)
    assert "opened=http://192.0.2.2:5000" in capsys.readouterr().err


def test_a_script_is_told_in_json(environment: dict[str, str], tmp_path: Path) -> None:
    visitor = opened(environment, tmp_path, LAN)
    headers = {"Host": "192.0.2.2:5000", "Origin": "http://192.0.2.2:5000", "Accept": "application/x-ndjson"}
    answer = visitor.post("/login", data={"login": "a"}, headers=headers)
    assert answer.get_json()["message"] == f"Sealpost is at {LAN}, but you opened http://192.0.2.2:5000."
