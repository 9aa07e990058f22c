"""Whom limits count: a client by its address, wrong tokens and never right ones."""

from pathlib import Path

import pytest
from flask import Flask

from app import create_app
from tests.conftest import ADMIN_TOKEN
from tests.loopback import free_port
from tests.visitors import Visitor, visit


def test_wrong_bearer_tokens_are_limited_per_client(app: Flask) -> None:
    guesser, other = visit(app), {"REMOTE_ADDR": "192.0.2.9"}
    wrong = {"Authorization": "Bearer wrong"}
    answers = [guesser.get("/api/settings/smtp", headers=wrong).status_code for _ in range(21)]
    assert answers == [401] * 20 + [429]
    assert guesser.get("/api/settings/smtp", headers=wrong, environ_base=other).status_code == 401


@pytest.mark.parametrize("wrong", ["wrong", "", ADMIN_TOKEN[:-1], "sealpost_" + "x" * 43])
def test_wrong_bearer_tokens_never_shut_out_a_right_one(app: Flask, bearer: dict[str, str], wrong: str) -> None:
    guesser = visit(app)
    for _ in range(25):
        guesser.get("/api/settings/smtp", headers={"Authorization": f"Bearer {wrong}"})
    assert {guesser.get("/api/settings/smtp", headers=bearer).status_code for _ in range(3)} == {404}
    assert guesser.get("/api/settings/smtp", headers={"Authorization": f"Bearer {wrong}"}).status_code == 429


def test_right_bearer_tokens_are_not_counted(app: Flask, bearer: dict[str, str]) -> None:
    visitor = visit(app)
    answers = {visitor.get("/api/settings/smtp", headers=bearer).status_code for _ in range(30)}
    assert answers == {404}


def test_the_limit_of_wrong_tokens_spans_the_whole_api(app: Flask) -> None:
    guesser, wrong = visit(app), {"Authorization": "Bearer wrong"}
    for _ in range(20):
        guesser.get("/api/settings/smtp", headers=wrong)
    assert guesser.post("/api/settings/smtp/test", headers=wrong).status_code == 429


def forgot(visitor: Visitor, **kwargs: object) -> int:
    return visitor.post_form("/forgot-password", {"email": "a@example.com"}, **kwargs).status_code


def test_headers_do_not_give_a_client_another_bucket(app: Flask) -> None:
    visitor = visit(app)
    token = {"email": "a@example.com", "csrf_token": visitor.csrf_token()}
    answers = []
    for number in range(200):
        address = f"198.51.100.{number}"
        headers = {
            "X-Forwarded-For": address,
            "Forwarded": f"for={address}",
            "X-Real-IP": address,
            "Client-IP": address,
            "True-Client-IP": address,
        }
        answers.append(visitor.post("/forgot-password", data=token, headers=headers).status_code)
    assert answers == [200] * 10 + [429] * 190


def test_two_clients_behind_a_trusted_proxy_have_two_buckets(environment: dict[str, str], tmp_path: Path) -> None:
    app = create_app(environment | {"TRUSTED_PROXIES": "1"}, instance_path=tmp_path)
    visitor = visit(app)
    for _ in range(10):
        assert forgot(visitor, headers={"X-Forwarded-For": "198.51.100.1"}) == 200
    assert forgot(visitor, headers={"X-Forwarded-For": "198.51.100.1"}) == 429
    assert forgot(visitor, headers={"X-Forwarded-For": "203.0.113.7, 198.51.100.1"}) == 429
    assert forgot(visitor, headers={"X-Forwarded-For": "198.51.100.2"}) == 200


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8::8000:0:0:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
def test_an_ipv6_client_is_its_64(app: Flask, first: str, second: str, same: bool) -> None:
    visitor = visit(app)
    for _ in range(10):
        forgot(visitor, environ_base={"REMOTE_ADDR": first})
    assert forgot(visitor, environ_base={"REMOTE_ADDR": second}) == (429 if same else 200)


@pytest.mark.parametrize(
    "forms",
    [
        ["198.51.100.1", "198.51.100.1:4711", "198.51.100.1:4712", "::ffff:198.51.100.1", "[::ffff:198.51.100.1]:4713"],
        ["2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:4711", "2001:DB8:0:0::2", "[2001:db8::3]:4712"],
    ],
    ids=["IPv4", "IPv6"],
)
def test_however_a_proxy_writes_an_address_it_is_one_client(
    environment: dict[str, str], tmp_path: Path, forms: list[str]
) -> None:
    visitor = visit(create_app(environment | {"TRUSTED_PROXIES": "1"}, instance_path=tmp_path))
    answers = [forgot(visitor, headers={"X-Forwarded-For": form}) for form in forms * 3]
    assert answers == [200] * 10 + [429] * 5


def test_the_page_over_a_limit_says_when_to_come_back(app: Flask) -> None:
    visitor = visit(app)
    for _ in range(10):
        forgot(visitor)
    answer = visitor.post_form("/forgot-password", {"email": "a@example.com"})
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 3600


def test_limits_hold_while_their_storage_is_away(environment: dict[str, str], tmp_path: Path) -> None:
    away = {"RATELIMIT_STORAGE_URI": f"redis://127.0.0.1:{free_port()}/0"}
    app = create_app(environment | away, instance_path=tmp_path)
    guesser, wrong = visit(app), {"Authorization": "Bearer wrong"}
    answers = [guesser.get("/api/settings/smtp", headers=wrong).status_code for _ in range(21)]
    assert answers == [401] * 20 + [429]
