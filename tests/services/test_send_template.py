"""Sending by template: from Python at once and queued, and over HTTP, with an application's own templates."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from database.engine import transaction
from services.checks import validation
from services.checks.validation import Mark
from services.email_service import queue_template, record_messages, send_order_notification, send_template
from services.gallery import branding
from services.message.templates import BrokenTemplate, MissingValues
from tests.conftest import ADMIN_TOKEN
from tests.visitors import Visitor
from utils.env_reader import ConfigurationError
from utils.env_utils import EXTENSION, load_settings

SEND = "/api/messages/send-email"
ORDER: dict[str, Any] = {"symbol": "TCS", "action": "BUY", "quantity": 1, "price": 5, "order_id": "1", "time": "09:15"}


@pytest.fixture(autouse=True)
def folder(app: Flask, tmp_path: Path) -> Iterator[Path]:
    made = tmp_path / "mails"
    for name, text in {"welcome": "Hello {{ name }}, {{ plan }}", "broken": "{% if %}"}.items():
        (made / name).mkdir(parents=True)
        (made / name / "subject.txt").write_text("Welcome, {{ name }}")
        (made / name / "body.txt").write_text(text)
    app.extensions[EXTENSION] = replace(app.extensions[EXTENSION], mail_templates=made)
    yield made


def ask(client: Visitor, **fields: Any) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    answer = client.post(SEND, json={"to": "jane@example.com", **fields}, headers=headers)
    return answer.status_code, answer.json


def test_a_template_of_ones_own_is_sent_with_its_values_given_either_way(app: Flask) -> None:
    with record_messages() as recorded:
        assert send_template("jane@example.com", "welcome", {"name": "Jane", "plan": "free"})
        assert send_template("jane@example.com", "welcome", name="Jane", plan="free")
    assert [(mail.subject, mail.text) for mail in recorded] == [("Welcome, Jane", "Hello Jane, free\n")] * 2


def test_what_cannot_be_sent_is_told_to_the_caller(app: Flask) -> None:
    with pytest.raises(MissingValues, match=r"values: These are missing: name, plan\."):
        send_template("jane@example.com", "welcome")
    with pytest.raises(BrokenTemplate, match=r"broken/body.txt, line 1"):
        send_template("jane@example.com", "broken", {"name": "Jane"})
    with pytest.raises(ValueError, match=r"template: There is no template of this name\."):
        send_template("jane@example.com", "no_such")
    with pytest.raises(ValueError, match="to_email: "):
        send_template("jane", "welcome", {"name": "Jane", "plan": "free"})
    assert not send_template("jane@example.com", "password_reset")  # one of ours never raises


def test_a_queued_one_is_part_of_the_transaction_and_its_key_is_for_the_call_and_not_the_look(app: Flask) -> None:
    values = {"name": "Jane", "plan": "free"}
    with record_messages() as recorded, transaction() as session:
        queue_template("jane@example.com", "welcome", values, session=session)
    assert [mail.subject for mail in recorded] == ["Welcome, Jane"]
    first = queue_template("jane@example.com", "welcome", values, idempotency_key="a")
    branding.save({"footer": "Acme"})
    assert queue_template("jane@example.com", "welcome", values, idempotency_key="a") == first
    with pytest.raises(ValueError, match="idempotency_key: "):
        queue_template("jane@example.com", "welcome", values | {"plan": "gold"}, idempotency_key="a")
    with pytest.raises(MissingValues):
        queue_template("jane@example.com", "welcome", {})


def test_the_currency_of_an_order_is_a_setting_or_a_value(app: Flask, environment: dict[str, str]) -> None:
    def price(**details: Any) -> str:
        with record_messages() as recorded:
            assert send_order_notification("jane@example.com", ORDER | details)
        assert recorded[0].html is not None
        told = recorded[0].text.partition("Price: ")[2].partition("\n")[0]
        assert f">{told}</td>" in recorded[0].html
        return told

    assert [price(), price(currency="€"), price(currency="EUR"), price(currency="")] == ["₹5", "€5", "EUR 5", "5"]
    for said, shown in (("$", "$5"), ("USD", "USD 5"), ("kr.", "kr.5"), ("", "₹5")):
        told = load_settings(environment | {"ORDER_CURRENCY": said}).order_currency
        app.extensions[EXTENSION] = replace(app.extensions[EXTENSION], order_currency=told)
        assert price() == shown
    with pytest.raises(ConfigurationError, match="ORDER_CURRENCY"):
        load_settings(environment | {"ORDER_CURRENCY": "x" * 9})


def test_programs_send_by_template(client: Visitor) -> None:
    with record_messages() as recorded:
        status, told = ask(client, template="welcome", values={"name": "Jané", "plan": ["a", 1, {"b": True}]})
        assert (status, told["success"]) == (202, True)
        assert ask(client, template="order_notification", values=ORDER)[0] == 202
        half = {"name": "a\ud83d\0b\r\nBcc: x@example.com", "plan": "\udc00"}  # what JSON can say and mail cannot
        assert ask(client, template="welcome", values=half)[0] == 202
        assert ask(client, template="order_notification", values=ORDER | {"symbol": "\ud83d"})[0] == 202
    assert [mail.subject for mail in recorded] == [
        "Welcome, Jané",
        "Order Executed: BUY TCS",
        "Welcome, a? b Bcc: x@example.com",
        "Order Executed: BUY ?",
    ]


def test_a_call_by_template_is_refused_by_the_names_of_its_fields(client: Visitor) -> None:
    good = {"template": "welcome", "values": {"name": "J", "plan": "free"}}
    cases: list[tuple[dict[str, Any], set[str]]] = [
        (good | {"subject": "x", "text": "x", "html": "x"}, {"subject", "text", "html"}),
        (good | {"subject": ""}, {"subject"}),
        ({"template": "welcome"}, {"values.name", "values.plan"}),
        ({"template": "welcome", "values": {"name": "J"}}, {"values.plan"}),
        ({"template": "no_such", "values": {}}, {"template"}),
        ({"template": "../welcome"}, {"template"}),
        ({"template": ""}, {"template"}),
        ({"template": 5}, {"template"}),
        ({"template": "broken", "values": {"name": "J"}}, {"template"}),
        ({"template": "password_reset", "values": {"reset_url": "https://evil.example"}}, {"template"}),
        ({"template": "welcome", "values": [1]}, {"values"}),
        ({"template": "welcome", "values": {"a b": 1}}, {"values"}),
        ({"template": "welcome", "values": {str(number): 1 for number in range(300)}}, {"values"}),
        ({"subject": "x", "text": "x", "values": {"a": 1}}, {"values"}),
        ({"text": "x"}, {"subject"}),
    ]
    found = [ask(client, **fields) for fields, _ in cases]
    assert [status for status, _ in found] == [422] * len(cases)
    assert [set(told["errors"]) for _, told in found] == [fields for _, fields in cases]
    _, told = ask(client, **good, to="x")
    assert set(told["errors"]) == {"to"}


def test_of_several_each_is_refused_at_its_place(client: Visitor) -> None:
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    mails = [{"to": "a@example.com", "template": "welcome", "values": {"name": "J", "plan": "x"}}]
    mails.append({"to": "b@example.com", "template": "welcome", "values": {"plan": "x"}})
    answer = client.post(SEND, json={"messages": mails}, headers=headers)
    assert answer.json is not None
    assert answer.json["errors"] == {"messages[1].values.name": ["This is missing."]}


def test_the_same_key_with_other_values_is_another_mail(client: Visitor) -> None:
    first = {"template": "welcome", "values": {"name": "J", "plan": "x"}, "idempotencyKey": "k"}
    assert ask(client, **first)[0] == 202
    assert ask(client, **first)[1]["duplicate"] is True
    assert ask(client, **first | {"values": {"name": "J", "plan": "y"}})[0] == 409


def test_a_validation_says_which_template_is_broken_and_where(app: Flask, folder: Path) -> None:
    check = validation.checks()[0]
    found = next(check.findings())
    assert (found.mark, found.remedy) == (Mark.FAILED, "It cannot be sent.")
    assert found.text.startswith("broken/body.txt, line 1: ")
    (folder / "broken" / "body.txt").write_text("Hello")
    assert "broken" not in next(check.findings()).text
