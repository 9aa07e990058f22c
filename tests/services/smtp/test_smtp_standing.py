"""What holds between two mails on one connection: when content may go blind, and what a server's end teaches."""

import time
from collections.abc import Iterator

import pytest

from services.smtp.client import SmtpClient
from services.smtp.habits import Habit, Habits, habits_of
from tests.odd_servers import OddServer
from tests.scripted_server import Answer, ScriptedServer, close
from tests.smtp_clients import CONTENT, ENVELOPE, Script, client_for, parcels, word
from utils.errors import DeliveryError

CHUNKED = "250-scripted.test\n250-PIPELINING\n250 CHUNKING"
LIGHT, HEAVY = 64 * 1024, 64 * 1024 + 1  # octets


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer({"EHLO": CHUNKED}) as server:
        yield server


def habits(server: ScriptedServer | OddServer) -> Habits:
    return habits_of(server.host, server.port)


def learn(client: SmtpClient) -> None:
    """Send two mails at once, before which the client finds out whether the server swallows a refused chunk."""
    assert [word(outcome) for _, outcome in client.send_all(parcels(2))] == ["accepted"] * 2


def said_for(client: SmtpClient, server: ScriptedServer, content: bytes = CONTENT) -> list[str]:
    """What the server hears of one more mail."""
    before = len(server.verbs)
    client.send(ENVELOPE, content)
    return server.verbs[before:]


def test_a_server_that_was_seen_to_swallow_gets_a_whole_mail_at_once(server: ScriptedServer) -> None:
    with client_for(server) as client:
        learn(client)
        assert said_for(client, server) == ["MAIL", "RCPT", "BDAT"]


@pytest.mark.parametrize(("octets", "way"), [(LIGHT, "BDAT"), (HEAVY, "DATA")])
def test_a_heavy_mail_waits_for_its_go_ahead(server: ScriptedServer, octets: int, way: str) -> None:
    with client_for(server) as client:
        learn(client)
        assert said_for(client, server, b"Subject: x\r\n\r\n".ljust(octets - 2, b"x") + b"\r\n")[-1] == way


@pytest.mark.parametrize(("seconds", "way"), [(9.0, "BDAT"), (10.5, "DATA"), (3600.0, "DATA")])
def test_after_ten_seconds_of_silence_the_next_mail_waits_for_its_go_ahead(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, seconds: float, way: str
) -> None:
    with client_for(server) as client:
        learn(client)
        monkeypatch.setattr("services.smtp.standing.monotonic", lambda: time.monotonic() + seconds)
        assert said_for(client, server)[-1] == way
        assert said_for(client, server)[-1] == "BDAT"  # it has just answered


def test_where_it_is_known_the_first_mail_alone_waits_and_nothing_is_reset(server: ScriptedServer) -> None:
    with client_for(server) as client:
        learn(client)
    with client_for(server) as client:
        assert said_for(client, server) == ["MAIL", "RCPT", "DATA"]
        assert said_for(client, server) == ["MAIL", "RCPT", "BDAT"]
        assert said_for(client, server) == ["MAIL", "RCPT", "BDAT"]


def test_a_server_that_is_deaf_behind_the_dot_is_not_asked_about_chunks(server: ScriptedServer) -> None:
    habits(server).learn(Habit.BEHIND_DOT, False)
    with client_for(server) as client:
        learn(client)
    assert "BDAT" not in server.verbs


def test_what_swallows_and_is_deaf_behind_the_dot_gets_no_mail_blind(server: ScriptedServer) -> None:
    with client_for(server) as client:
        learn(client)
    habits(server).learn(Habit.BEHIND_DOT, False)
    with client_for(server) as client:
        assert [said_for(client, server)[-1] for _ in range(3)] == ["DATA"] * 3


@pytest.mark.parametrize("missing", ["PIPELINING", "CHUNKING"])
def test_what_is_not_announced_is_not_asked_for(missing: str) -> None:
    hello = "\n".join(["250-scripted.test", *(f"250-{name}" for name in ("PIPELINING", "CHUNKING") if name != missing)])
    with ScriptedServer({"EHLO": f"{hello}\n250 8BITMIME"}) as server, client_for(server) as client:
        learn(client)
        assert "BDAT" not in server.verbs
    assert habits(server).fact(Habit.SWALLOWS) is None


@pytest.mark.parametrize("pipelining", [False, True])
def test_a_size_that_was_refused_is_not_said_again_on_the_same_connection(pipelining: bool) -> None:
    with OddServer(pipelining=pipelining, size="555 5.5.4 no") as server, client_for(server) as client:
        for parcel in parcels(4):
            client.send(parcel.envelope, parcel.content)
        assert sum("SIZE=" in command for command in server.commands) == 1


@pytest.mark.parametrize(
    ("taken", "goodbye", "most"),
    [
        (2, "421 4.7.0 Too many messages in this session", 2),
        (1, "421 4.7.0 Too many messages in this session", 1),
        (0, "421 4.7.0 Too many messages in this session", None),
        (2, "421 4.3.2 Going away", None),
        (2, "451 4.7.0 Too many messages in this session", None),
    ],
)
def test_a_server_that_leaves_since_it_carried_enough_teaches_how_many_it_carries(
    taken: int, goodbye: str, most: int | None
) -> None:
    leaves: Answer = (goodbye, close)
    script: Script = {"MAIL": [*["250 ok"] * taken, leaves]}
    with ScriptedServer(script) as server, client_for(server) as client:
        for _ in range(taken):
            client.send(ENVELOPE, CONTENT)
        with pytest.raises(DeliveryError):
            client.send(ENVELOPE, CONTENT)
    assert habits(server).most(Habit.MOST_MAILS) == most
