"""``"wait": true``: one attempt now, and its outcome; what is not settled by then goes on in the queue, once."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import update

from app import create_app
from database.engine import transaction
from database.user_db import Account
from services import email_service
from services.accounts import api_tokens
from services.delivery import held_servers
from services.outbox import promise
from services.personal import at_once
from services.settings import configs
from services.settings.fields import parse_change
from services.worker import groups
from services.worker.lease import Pace
from tests.loopback import free_port
from tests.mails import change
from tests.outbox import drain, row_of
from tests.own_servers import PLACES, PORT, bring, free_host
from tests.patience import PATIENCE, wait_until
from tests.scripted_server import Action, Answer, ScriptedServer, close
from tests.visitors import Visitor, make_alice, visit
from utils import clock

URL = "/api/messages/send-email"
MAIL: dict[str, Any] = {"to": "jane@example.com", "subject": "Hello", "text": "Now.", "wait": True}


@pytest.fixture
def token(app: Flask) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_tokens.create(make_alice().id, 'shop', scopes=['send'])[0]}"}


@pytest.fixture(autouse=True)
def _attempts_end() -> Iterator[None]:
    yield
    wait_until(lambda: not any(thread.name == "mail-at-once" for thread in threading.enumerate()))


def serve(port: int) -> None:
    server = {"smtp_server": "127.0.0.1", "smtp_port": port, "use_tls": False, "from_email": "shop@example.com"}
    configs.create(parse_change({"name": "Primary", "is_active": True, **server}))


def send(app: Flask, token: dict[str, str], **more: Any) -> tuple[int, dict[str, Any]]:
    answer = visit(app).post(URL, json={**MAIL, **more}, headers=token)
    return answer.status_code, answer.get_json()


def _after(event: threading.Event) -> Action:
    return lambda _connection: assert_set(event)


def assert_set(event: threading.Event) -> None:
    assert event.wait(PATIENCE)


def test_a_mail_that_is_accepted_is_told_with_each_recipient(app: Flask, token: dict[str, str]) -> None:
    with ScriptedServer() as server:
        serve(server.port)
        status, told = send(app, token)
        assert (status, told["success"], told["state"]) == (200, True, "sent")
        assert [(each["address"], each["state"]) for each in told["recipients"]] == [("jane@example.com", "accepted")]
        assert drain() == 0
        assert len(server.messages) == 1


def test_where_nothing_is_sent_it_is_as_good_as_sent(environment: dict[str, str], tmp_path: Path) -> None:
    app = create_app({**environment, "MAIL_SUPPRESS_SEND": "true"}, instance_path=tmp_path)
    with app.app_context():
        upgrade()
        token = {"Authorization": f"Bearer {api_tokens.create(make_alice().id, 'shop', scopes=['send'])[0]}"}
        status, told = send(app, token)
        assert (status, told["success"], told["state"]) == (200, True, "suppressed")
        assert told["reason"] == "MAIL_SUPPRESS_SEND is on, so nothing is sent."
        assert email_service.send_email("jane@example.com", "Hello", "Now.") is told["success"]


def test_one_that_is_refused_for_good_is_told_so(app: Flask, token: dict[str, str]) -> None:
    with ScriptedServer({"RCPT": "550 5.1.1 no such user"}) as server:
        serve(server.port)
        status, told = send(app, token)
        assert (status, told["success"], told["state"]) == (200, False, "failed")
        assert told["error"] == told["reason"]
        assert (told["recipients"][0]["state"], told["recipients"][0]["code"]) == ("refused", 550)
        assert "no such user" not in str(told)


def test_one_that_goes_to_some_of_its_recipients_is_no_success(app: Flask, token: dict[str, str]) -> None:
    with ScriptedServer({"RCPT": ["250 ok", "550 5.1.1 no such user"]}) as server:
        serve(server.port)
        status, told = send(app, token, to=["a@example.com", "b@example.com"])
        assert (status, told["success"], told["state"]) == (200, False, "sent")
        assert sorted(each["state"] for each in told["recipients"]) == ["accepted", "refused"]


def test_one_that_is_put_off_goes_on_in_the_queue(app: Flask, token: dict[str, str]) -> None:
    with ScriptedServer({"RCPT": "450 4.2.0 greylisted"}) as server:
        serve(server.port)
        status, told = send(app, token)
        assert (status, told["success"], told["state"]) == (202, True, "deferred")
        assert told["reason"]
        assert row_of(told["id"]).content


@pytest.mark.parametrize("script", [{"GREETING": close}, {"MAIL": close}], ids=["at the greeting", "at MAIL"])
def test_a_server_that_hangs_up_loses_nothing(app: Flask, token: dict[str, str], script: dict[str, Answer]) -> None:
    with ScriptedServer(script) as server:
        serve(server.port)
        status, told = send(app, token)
        assert (status, told["state"]) == (202, "deferred")


def test_a_server_that_is_dead_loses_nothing(app: Flask, token: dict[str, str]) -> None:
    serve(free_port())
    status, told = send(app, token)
    assert (status, told["state"]) == (202, "deferred")


def test_without_any_server_it_waits_in_the_queue(app: Flask, token: dict[str, str]) -> None:
    status, told = send(app, token)
    assert (status, told["state"]) == (202, "deferred")
    assert "no mail server" in told["reason"].lower()


def test_a_slow_server_is_waited_for_without_the_caller_and_gets_one_mail(
    app: Flask, token: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(at_once, "SECONDS", 0.2)
    may_go_on = threading.Event()
    with ScriptedServer({"MESSAGE": (_after(may_go_on), "250 2.0.0 late")}) as server:
        serve(server.port)
        try:
            status, told = send(app, token)
            assert status == 202
            assert told["state"] in ("leased", "transmitting")  # as far as it has come in that time
            wait_until(lambda: row_of(told["id"]).state == "transmitting")
            assert drain() == 0  # nobody else takes it meanwhile
        finally:
            may_go_on.set()
        wait_until(lambda: row_of(told["id"]).state == "sent")
        assert len(server.messages) == 1


def test_one_whose_fate_nobody_knows_is_no_success_and_not_sent_at_once_again(
    app: Flask, token: dict[str, str]
) -> None:
    with ScriptedServer({"MESSAGE": close}) as server:
        serve(server.port)
        status, told = send(app, token)
        assert (status, told["state"]) == (202, "uncertain")
        assert drain() == 0
        assert len(server.messages) == 1


def test_an_attempt_that_breaks_leaves_the_mail_to_the_queue(
    app: Flask, token: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer() as server, monkeypatch.context() as broken:
        serve(server.port)
        broken.setattr(groups, "work_off", lambda *_: 1 / 0)
        status, told = send(app, token)
        assert (status, told["state"]) == (202, "leased")
        broken.undo()
        change(told["id"], lease_until=clock.now() - timedelta(seconds=1))
        groups.sweep(Pace())
        drain()
        assert (row_of(told["id"]).state, len(server.messages)) == ("sent", 1)


def test_a_key_that_was_used_sends_nothing_more_and_tells_the_outcome(app: Flask, token: dict[str, str]) -> None:
    with ScriptedServer() as server:
        serve(server.port)
        first = send(app, token, idempotencyKey="k")[1]
        status, again = send(app, token, idempotencyKey="k")
        assert (status, again["id"], again["state"], again["duplicate"]) == (200, first["id"], "sent", True)
        assert len(server.messages) == 1


def test_two_at_once_with_one_key_are_sent_once(app: Flask, token: dict[str, str]) -> None:
    with ScriptedServer() as server:
        serve(server.port)
        threads = [threading.Thread(target=send, args=(app, token), kwargs={"idempotencyKey": "k"}) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        drain()
        assert len(server.messages) == 1


def test_more_than_a_few_at_once_are_left_to_the_queue(app: Flask, token: dict[str, str]) -> None:
    may_go_on = threading.Event()
    with ScriptedServer({"GREETING": (_after(may_go_on), "220 scripted.test ESMTP")}) as server:
        serve(server.port)
        threads = [threading.Thread(target=send, args=(app, token)) for _ in range(at_once.PLACES_OF_ONE)]
        for thread in threads:
            thread.start()
        wait_until(lambda: sum(thread.name == "mail-at-once" for thread in threading.enumerate()) == len(threads))
        status, told = send(app, token)
        assert (status, told["state"]) == (202, "queued")
        may_go_on.set()
        for thread in threads:
            thread.join()


def test_one_over_the_limit_of_its_account_waits_in_the_queue(app: Flask, token: dict[str, str]) -> None:
    accounts_limit(1)
    with ScriptedServer() as server:
        serve(server.port)
        assert send(app, token)[0] == 200
        status, told = send(app, token)
        assert (status, told["state"], len(server.messages)) == (202, "deferred", 1)
        assert told["reason"]


def accounts_limit(emails_per_minute: int) -> None:
    with transaction() as session:
        session.execute(update(Account).values(emails_per_minute=emails_per_minute))


class TestWithAServerOfItsOwn:
    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        return {**environment, **PLACES}

    def test_while_one_attempt_is_held_the_queue_takes_no_more_of_the_account_and_another_attempt_goes(
        self, app: Flask, token: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(held_servers, "HELD_BY_OWN", PATIENCE)  # half a second is over soon on a busy machine
        may_answer, told = threading.Event(), threading.Event()
        slowly: Answer = (_after(may_answer), "250 ok")
        with ScriptedServer({"MESSAGE": [slowly, "250 ok"]}, host=free_host(), port=PORT) as server:
            bring(1, server.host, PORT, from_email="alice@example.com")
            _, queued = send(app, token, wait=False)
            held = threading.Thread(target=send, args=(app, token))
            held.start()
            wait_until(lambda: server.messages)
            assert groups.claim_group("test", Pace()) is None
            assert send(app, token)[0] == 200
            promise.new_mail.add(told.set)
            may_answer.set()
            held.join()
            assert told.wait(PATIENCE)
            promise.new_mail.remove(told.set)
            drain()
            assert row_of(queued["id"]).state == "sent"


def test_one_that_is_sent_later_is_not_waited_for(client: Visitor, token: dict[str, str]) -> None:
    later = (clock.now() + timedelta(hours=1)).isoformat()
    answer = client.post(URL, json={**MAIL, "sendAt": later}, headers=token)
    assert (answer.status_code, list(answer.get_json()["errors"])) == (422, ["wait"])
