"""Connecting an application: whose token it gets, where the gateway is for it, and one token for one click."""

import threading

import pytest
from flask import Flask

from services import audit
from services.accounts import accounts, administration, api_tokens
from services.accounts.api_tokens import Scope
from services.audit import Action
from services.gateway import addresses, connecting, presence
from services.gateway.addresses import GatewayState
from services.gateway.connecting import ConnectedApp, ConnectionRequest
from services.settings import configs
from services.settings.fields import parse_change
from tests.turned_clock import Now
from tests.visitors import make_alice, make_bob
from utils import clock
from utils.errors import Conflict, InvalidInput

MARK = "a-mark-of-one-form-that-was-sent"


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "SUBMISSION_LISTEN": "127.0.0.1:2525", "BASE_URL": "https://mail.example.com"}


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    turned = Now()
    monkeypatch.setattr(clock, "now", turned)
    return turned


def runs(*listens: str) -> None:
    presence.beat("p", clock.now(), listens)


def connect(application: str = "grafana", login: str = "alice", **more: str) -> ConnectedApp:
    return connecting.connect(ConnectionRequest(application=application, login=login, **more))


def token_in(made: ConnectedApp) -> str:
    (line,) = [line for line in made.parts[0].lines.splitlines() if "PASSWORD=" in line]
    return line.partition("=")[2]


def test_the_token_in_the_lines_sends_in_the_accounts_name_and_has_no_end(app: Flask) -> None:
    make_alice(is_admin=True)
    made = connect(name="Dashboards")
    known = api_tokens.find_good(token_in(made))
    assert known
    assert (known.name, known.owner, known.scopes, known.expires_at) == ("Dashboards", "alice", (Scope.SEND,), None)
    assert [event.action for event in audit.events()][:1] == [Action.TOKEN_CREATED]
    assert made.over_http and token_in(made) in made.over_http.lines
    assert token_in(made) not in repr(made)


def test_two_of_one_kind_get_a_token_each_and_the_same_form_sent_twice_gets_one(app: Flask) -> None:
    make_alice()
    assert token_in(connect()) != token_in(connect())
    first = connect(mark=MARK)
    again = connect(mark=MARK)
    assert (token_in(again), again.token.id) == (token_in(first), first.token.id)
    assert token_in(connect(mark=MARK, name="Another")) != token_in(first)
    assert token_in(connect(mark=MARK[::-1])) != token_in(first)
    assert len(api_tokens.every()) == 5


def test_of_two_clicks_at_once_one_makes_the_token(app: Flask) -> None:
    make_alice()
    tokens, start = list[str](), threading.Barrier(4)

    def click() -> None:
        with app.app_context():
            start.wait()
            tokens.append(token_in(connect(mark=MARK)))

    threads = [threading.Thread(target=click) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tokens) == 4
    assert len(set(tokens)) == len(api_tokens.every()) == 1


@pytest.mark.parametrize("is_revoked", [True, False])
def test_a_form_that_comes_again_later_shows_no_token(app: Flask, now: Now, is_revoked: bool) -> None:
    make_alice()
    made = connect(mark=MARK)
    if is_revoked:
        api_tokens.revoke(made.token.id)
    else:
        now.turn(61)
    with pytest.raises(Conflict, match="shown then"):
        connect(mark=MARK)
    assert len(api_tokens.every()) == 1


@pytest.mark.parametrize(
    ("asked", "field", "said"),
    [
        ({"application": ""}, "application", "Choose an application"),
        ({"application": "sendgrid"}, "application", "gitea, nextcloud, grafana"),
        ({"login": "mallory"}, "account", "No such account"),
        ({"login": "\ud800"}, "account", "No such account"),
        ({"login": "bob"}, "account", "disabled"),
        ({"name": "x" * 65}, "name", "at most 64 characters"),
        ({"name": "a\nb", "mark": MARK}, "name", "at most 64 characters"),
        ({"sender": "boss@example.com"}, "sender", "alice may not send from this address"),
        ({"sender": "a@x, b@y"}, "sender", ""),
        ({"address": "tls:elsewhere:465"}, "address", "no longer listens there"),
    ],
)
def test_what_is_wrong_is_named_and_no_token_is_made(app: Flask, asked: dict[str, str], field: str, said: str) -> None:
    make_alice()
    administration.disable(make_bob().id)
    with pytest.raises(InvalidInput) as refused:
        connect(**asked)
    assert list(refused.value.errors) == [field]
    assert said in refused.value.errors[field][0]
    assert api_tokens.every() == []


def test_who_chose_no_address_sends_from_the_own_one_and_administrators_from_the_global_servers(app: Flask) -> None:
    make_alice(is_admin=True)
    make_bob()
    assert connect().sender == "alice@example.com"
    server = {"name": "Primary", "smtp_server": "127.0.0.1", "smtp_port": 9, "use_tls": False,
              "from_email": "noreply@example.com", "is_active": True}  # fmt: skip
    configs.create(parse_change(server))
    assert "GF_SMTP_FROM_ADDRESS=noreply@example.com" in connect().parts[0].lines
    assert connect(sender="alice@example.com").sender == "alice@example.com"
    assert connect(login="bob@example.com").sender == "bob@example.com"


def test_a_gateway_that_runs_is_named_as_it_is_reached(app: Flask) -> None:
    runs("127.0.0.1:2525", "0.0.0.0:587", "smtps://[::]:465", "smtps://0.0.0.0:465")
    stands = addresses.status()
    assert stands.state is GatewayState.RUNNING
    assert [each.words for each in stands.addresses] == [
        "mail.example.com, port 465, TLS",
        "mail.example.com, port 587, STARTTLS",
        "127.0.0.1, port 2525, no encryption (from this machine only)",
    ]
    make_alice()
    assert "GF_SMTP_HOST=mail.example.com:465" in connect().parts[0].lines
    chosen = connect(address=stands.addresses[1].id).parts[0].lines
    assert "GF_SMTP_HOST=mail.example.com:587" in chosen
    assert "GF_SMTP_STARTTLS_POLICY=MandatoryStartTLS" in chosen


def test_grafana_is_warned_of_tls_from_the_start_at_another_port(app: Flask) -> None:
    runs("smtps://0.0.0.0:8465")
    make_alice()
    assert "at port 465 only" in connect().caution
    assert connect("vaultwarden").caution == ""


def test_one_that_gives_no_sign_of_life_is_silent_and_its_settings_still_tell_where_it_will_be(
    app: Flask, now: Now
) -> None:
    assert addresses.status().state is GatewayState.SILENT
    assert [each.host for each in addresses.status().addresses] == ["127.0.0.1"]
    runs("127.0.0.1:2525")
    now.turn(120)
    stands = addresses.status()
    assert stands.state is GatewayState.SILENT
    assert stands.seen_at
    presence.leave("p")
    assert addresses.status().seen_at is None


class TestOff:
    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        return {**environment, "SUBMISSION_LISTEN": ""}

    def test_without_a_gateway_the_way_over_http_is_left(self, app: Flask) -> None:
        make_alice()
        assert addresses.status().state is GatewayState.OFF
        with pytest.raises(InvalidInput, match="The gateway is off"):
            connect()
        (part,) = connect("http").parts
        assert part.lines.startswith("curl -sS https://mail.example.com/api/messages/send-email")
        assert [token.name for token in api_tokens.every()] == ["Over HTTP (curl, any language)"]
        assert accounts.find_by_login("alice")
