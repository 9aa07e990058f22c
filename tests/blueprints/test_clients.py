"""Who asks: a proxy that nobody told us of, and what a list of sessions calls a browser."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app import create_app
from blueprints.clients import browser_in_short
from tests.visitors import Visitor, visit

WARNING = "TRUSTED_PROXIES is 0"


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    kept: list[dict[str, Any]] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            assert isinstance(record.msg, dict)
            kept.append(record.msg)

    keeper = Keeper()
    logger = logging.getLogger("blueprints.clients")
    logger.addHandler(keeper)
    yield kept
    logger.removeHandler(keeper)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "198.51.100.1"},
        {"X-Forwarded-For": "198.51.100.1, 203.0.113.7"},
        {"x-forwarded-for": ""},
        {"Forwarded": "for=198.51.100.1;proto=https"},
        {"X-Real-IP": "198.51.100.1"},
    ],
)
def test_a_proxy_in_front_that_is_not_trusted_makes_one_warning(
    admin: Visitor, lines: list[dict[str, Any]], headers: dict[str, str]
) -> None:
    assert WARNING not in admin.get("/settings/smtp").text
    for path in ("/login", "/static/sealpost.css", "/nowhere", "/login"):
        admin.get(path, headers=headers)
    assert [(line["event"], line["header"].lower()) for line in lines] == [
        ("proxy_not_trusted", next(iter(headers)).lower())
    ]
    assert "TRUSTED_PROXIES" in lines[0]["remedy"]
    for _ in range(2):
        assert admin.get("/settings/smtp").text.count(WARNING) == 1


def test_no_proxy_makes_none(admin: Visitor, lines: list[dict[str, Any]]) -> None:
    admin.get("/login", headers={"X-Forwarded-Proto": "https", "User-Agent": "X-Forwarded-For"})
    assert lines == []
    assert WARNING not in admin.get("/settings/smtp").text


def test_nor_does_a_trusted_one(environment: dict[str, str], tmp_path: Path, lines: list[dict[str, Any]]) -> None:
    app = create_app(environment | {"TRUSTED_PROXIES": "1"}, instance_path=tmp_path)
    visit(app).get("/login", headers={"X-Forwarded-For": "198.51.100.1"})
    assert lines == []


def test_two_applications_warn_each_for_itself(
    app: Flask, environment: dict[str, str], tmp_path: Path, lines: list[dict[str, Any]]
) -> None:
    for each in (app, create_app(environment, instance_path=tmp_path)):
        visit(each).get("/login", headers={"X-Forwarded-For": "198.51.100.1"})
    assert len(lines) == 2


_CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0"
_SAFARI = "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1"


@pytest.mark.parametrize(
    ("user_agent", "short"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0", "Firefox on Linux"),
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_CHROME} Safari/537.36", "Chrome on Windows"),
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_CHROME} Safari/537.36 Edg/131.0.0.0", "Edge on Windows"),
        (f"Mozilla/5.0 (Linux; Android 15) {_CHROME} Mobile Safari/537.36 EdgA/131.0", "Edge on Android"),
        (f"Mozilla/5.0 (Linux; Android 15) {_CHROME} Mobile Safari/537.36", "Chrome on Android"),
        (f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {_CHROME} Safari/537.36", "Chrome on ChromeOS"),
        (f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {_CHROME} Safari/537.36 OPR/116.0.0.0", "Opera on macOS"),
        (f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {_SAFARI} Safari/605.1.15", "Safari on macOS"),
        (
            f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) {_SAFARI} Mobile/15E148 Safari/604.1",
            "Safari on iPhone",
        ),
        (
            "Mozilla/5.0 (iPad; CPU OS 18_1 like Mac OS X) AppleWebKit/605.1.15 CriOS/131.0 Mobile/15E148",
            "Chrome on iPad",
        ),
        ("curl/8.5.0", "curl"),
        ("Mozilla/5.0", "Unknown browser"),
        ("", "Unknown browser"),
        ("\x1b[31m<script>", "Unknown browser"),
        ("x" * 5000, "Unknown browser"),
    ],
)
def test_a_browser_in_short(user_agent: str, short: str) -> None:
    assert browser_in_short(user_agent) == short
