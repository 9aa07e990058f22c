"""What each kind of channel is sent, what a failure means, and that nothing secret of one is shown or lost."""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app import create_app
from database import alert_db
from database.engine import reading, transaction
from services.alerts import bodies, channels, kinds, reaching, showing
from services.alerts.bodies import AlertChange, AlertNews, Target
from services.alerts.kinds import ChannelKind
from services.alerts.reaching import Trouble
from services.web_request import WebAnswer
from tests import certificates
from tests.conftest import APP_KEY
from tests.loopback import free_port
from tests.web_hook import WebHook
from tests.web_server import WebServer
from utils.encryption_utils import current_key_id
from utils.errors import Conflict, InvalidInput
from utils.secret import Secret

MOMENT = datetime(2026, 11, 28, 3, 5, tzinfo=UTC)
NEWS = AlertNews(
    notice_id="0" * 32,
    change=AlertChange.FIRING,
    rule="server",
    subject="config:1",
    headline="Shop <b>&[link](x) is down: @everyone.",
    remedy="Test it.",
    since=MOMENT,
    changed_at=MOMENT,
)
PAGE = "https://mail.example.com/settings/alerts"
ALL_OF_IT = "Shop <b>&[link](x) is down: @everyone. Test it. Since 2026-11-28 03:05 UTC."


@pytest.fixture
def hook() -> Iterator[WebHook]:
    with WebHook() as running:
        yield running


def body_for(kind: ChannelKind, url: str = "https://a.example/x", **more: Any) -> dict[str, Any]:
    target = Target(url=Secret(url), secret=Secret("k" * 24), token=Secret("7:abc"), chat="-100", **more)
    request = bodies.request_for(kind, target, NEWS, app_name="Shop", page=PAGE)
    found: dict[str, Any] = json.loads(request.body)
    return found


def test_each_kind_is_sent_what_it_understands_and_no_name_becomes_markup() -> None:
    slack = body_for(ChannelKind.SLACK)
    assert slack["text"].startswith("*Shop: Alert*\nShop &lt;b&gt;&amp;[link](x) is down")
    discord = body_for(ChannelKind.DISCORD)
    assert (discord["allowed_mentions"], ALL_OF_IT in discord["content"]) == ({"parse": []}, True)
    teams = body_for(ChannelKind.TEAMS)
    card = teams["attachments"][0]
    assert (teams["type"], card["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
    assert (card["content"]["type"], card["content"]["body"][0]["text"]) == ("AdaptiveCard", "Shop: Alert")
    assert "[" not in card["content"]["body"][1]["text"]
    telegram = body_for(ChannelKind.TELEGRAM)
    assert (telegram["chat_id"], telegram["text"]) == ("-100", f"Shop: Alert\n{ALL_OF_IT}\n{PAGE}")
    ntfy = body_for(ChannelKind.NTFY, "https://ntfy.example/base/my-topic")
    assert (ntfy["topic"], ntfy["message"], ntfy["priority"]) == ("my-topic", ALL_OF_IT, 4)


def test_a_webhook_is_signed_so_that_its_receiver_can_check_it(app: Flask, hook: WebHook) -> None:
    _, made = channels.save({"kind": "webhook", "url": hook.url})
    showing.test(1)
    call = hook.calls[0]
    signed = f"{call.headers['webhook-id']}.{call.headers['webhook-timestamp']}.".encode() + call.body
    key = base64.b64decode(made.reveal().removeprefix("whsec_"))
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert call.headers["webhook-signature"] == f"v1,{expected}"
    assert call.json["type"] == "alert.test"


def test_what_is_told_fits_into_the_shortest_message_there_is() -> None:
    long = AlertNews(**{**vars(NEWS), "headline": "x" * 5000})
    target = Target(url=Secret("https://a.example/x"))
    told = bodies.request_for(ChannelKind.DISCORD, target, long, app_name="A" * 64, page=PAGE)
    assert len(json.loads(told.body)["content"]) <= 2000


@pytest.mark.parametrize(
    ("status", "headers", "text", "remedy"),
    [
        (301, {"location": "https://10.0.0.1/secret"}, "redirects to 10.0.0.1 (301)", "never follows redirects"),
        (302, {}, "redirects elsewhere (302)", "never follows redirects"),
        (307, {"location": "//[::1]/"}, "redirects to", "never follows redirects"),
        (308, {"location": "javascript:x"}, "redirects elsewhere", "never follows redirects"),
        (400, {}, "did not understand", "this kind of channel"),
        (401, {}, "did not accept the sign-in", "Enter the token again"),
        (403, {}, "does not allow", "Check the token"),
        (404, {}, "does not know this URL", "typo"),
        (410, {}, "has been removed", "Create a new one"),
        (418, {}, "refused the message (418)", "typo"),
        (429, {"retry-after": "120"}, "no more messages for now", ""),
        (500, {}, "The server failed (500)", "keeps trying"),
        (503, {"retry-after": "9999999"}, "The server failed (503)", "keeps trying"),
    ],
)
def test_each_answer_says_what_is_wrong_and_what_to_do(
    status: int, headers: dict[str, str], text: str, remedy: str
) -> None:
    trouble = reaching.told_answer(ChannelKind.WEBHOOK, WebAnswer(status=status, headers=headers, body=b""))
    assert trouble
    assert text in trouble.text
    assert remedy in trouble.remedy
    assert "secret" not in trouble.sentence
    assert trouble.wait == min(int(headers.get("retry-after", 0)), 3600)


@pytest.mark.parametrize(
    ("body", "wait"),
    [
        (b'{"parameters": {"retry_after": 35}}', 36),
        (b'{"retry_after": 0.35}', 1),
        (b'{"retry_after": -1}', 0),
        (b'{"retry_after": true}', 0),
        (b'{"retry_after": NaN}', 0),
        (b"[" * 100_000, 0),
        (b"ok", 0),
        (b'"x"', 0),
    ],
)
def test_what_a_channel_says_of_when_it_wants_more_is_heeded(body: bytes, wait: int) -> None:
    trouble = reaching.told_answer(ChannelKind.TELEGRAM, WebAnswer(status=429, headers={}, body=body))
    assert trouble
    assert trouble.wait == wait


def test_faults_of_the_way_there_are_told_apart(app: Flask) -> None:
    def told(url: str) -> Trouble | None:
        return reaching.post(ChannelKind.WEBHOOK, bodies.ping_request(Target(url=Secret(url)), {}))

    with WebServer(certificates.good_context("other.example")) as web:
        cases = {
            f"http://127.0.0.1:{free_port()}/": "refused the connection",
            "https://no-such-name.invalid/": "No server has the name no-such-name.invalid.",
            f"https://localhost:{web.port}/": "The certificate of localhost does not hold.",
            "https://169.254.169.254/": "does not connect to",
            "https://[fd00:ec2::254]/": "does not connect to",
            "http://[::ffff:169.254.169.254]/": "does not connect to",
            "https://[fe80::1]/": "does not connect to",
            "https://0.0.0.0/": "does not connect to",
        }
        for url, text in cases.items():
            found = told(url)
            assert found, url
            assert text in found.text, (url, found)
    plain = told("http://8.8.8.8/")
    assert plain
    assert "Use https://" in plain.remedy


def test_a_redirect_is_not_followed(app: Flask, hook: WebHook) -> None:
    with WebHook() as inner:
        hook.status, hook.headers = 307, {"Location": inner.url}
        channels.save({"kind": "webhook", "url": hook.url})
        _, trouble = showing.test(1)
        assert trouble
        assert (trouble.status, inner.calls) == (307, [])


def test_a_target_is_sealed_and_survives_a_rotation_of_keys(app: Flask, environment: dict[str, str]) -> None:
    channels.save({"kind": "slack", "url": "https://hooks.slack.com/services/T0/B0/verys3cret"})
    with reading() as session:
        row = alert_db.channels(session)[0]
    assert "verys3cret" not in str(vars(row))
    assert "verys3cret" not in repr(channels.opened_one(1))
    rotated = environment | {"APP_KEY": "an0ther-k3y-f0r-t3sts-QmxyZ1vJ8sWd0aBnL7u", "APP_KEY_PREVIOUS": APP_KEY}
    with create_app(rotated, Path(app.instance_path)).app_context():
        assert channels.seal_anew() == 1
        assert channels.seal_anew() == 0
        with reading() as session:
            assert alert_db.channels(session)[0].key_id == current_key_id()
        assert channels.opened_one(1).target.url.reveal().endswith("verys3cret")
    with app.app_context():  # which does not have the new key
        assert channels.get(1).trouble == channels.KEY_MISSING
        assert channels.opened_one(1).problem == channels.KEY_MISSING


def test_a_target_in_the_row_of_another_kind_does_nothing(app: Flask) -> None:
    channels.save({"kind": "slack", "url": "https://hooks.slack.com/services/x"})
    channels.save({"kind": "discord", "url": "https://discord.com/api/webhooks/x"})
    with transaction() as session:
        first, second = alert_db.channels(session)
        first.target = second.target
    assert channels.opened_one(1).problem == channels.ALTERED


@pytest.mark.parametrize(
    ("kind", "url", "is_good"),
    [
        ("webhook", "https://hooks.example.com/a?b=c", True),
        ("webhook", "http://ntfy.lan/x", True),
        ("webhook", "http://10.1.2.3:8080/x", True),
        ("webhook", "http://[fd12::1]/x", True),
        ("webhook", "http://8.8.8.8/x", False),
        ("webhook", "https://user:pass@a.example/x", False),
        ("webhook", "https://a.example/x#y", False),
        ("webhook", "https://a.example:0/x", False),
        ("webhook", "https://169.254.1.1/x", False),
        ("webhook", "https://100.100.100.200/x", False),
        ("webhook", "https://[::ffff:169.254.169.254]/x", False),
        ("webhook", "javascript:alert(1)", False),
        ("webhook", "https://a.example/\r\nX: y", False),
        ("webhook", "https://" + "a" * 3000 + ".example/", False),
        ("webhook", "https://hooks.slack.com/services/x", False),
        ("ntfy", "https://ntfy.sh/topic", True),
        ("ntfy", "http://192.168.1.5/my_topic-1", True),
        ("ntfy", "https://ntfy.sh/to.pic", False),
        ("ntfy", "https://ntfy.sh", False),
        ("teams", "https://prod-1.westeurope.logic.azure.com:443/workflows/x?sig=y", True),
        ("teams", "https://a.webhook.office.com/webhookb2/x", False),
        ("ping", "https://hc-ping.com/uuid", True),
    ],
)
def test_a_url_is_judged_when_it_is_entered(kind: str, url: str, is_good: bool) -> None:
    assert (kinds.url_fault(ChannelKind(kind), url) == "") is is_good


def test_a_channel_that_was_changed_meanwhile_is_not_overwritten(app: Flask) -> None:
    channels.save({"kind": "ping", "url": "https://hc-ping.com/a"})
    channels.save({"name": "Watch"}, channel_id=1, version=1)
    with pytest.raises(Conflict):
        channels.save({"name": "Other"}, channel_id=1, version=1)
    with pytest.raises(InvalidInput):
        channels.save({"kind": "nonsense"})
    assert channels.get(1).name == "Watch"
