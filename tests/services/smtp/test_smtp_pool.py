"""Kept connections: used again, replaced when they are gone, bounded, and closed when they should be."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from services.delivery.retry_policy import is_crowded
from services.smtp import pool as smtp_pool
from services.smtp.client import Parcel, Receipt
from services.smtp.pool import Lane, Pool, PoolLimits
from services.smtp.settings import Security
from tests import certificates
from tests.patience import PATIENCE
from tests.recording_server import RecordingServer
from tests.scripted_server import Answer, Connection, ScriptedServer, close, hang, pause, reset
from tests.smtp_clients import CONTENT, ENVELOPE, PARCEL, Script, parcels, policy, settings_for, word
from utils.errors import DeliveryError, Fault, Misconfigured, OutcomeUnknown, Permanent, Phase, Temporary

GONE: Answer = close
CHUNKED = "250-scripted.test\n250-PIPELINING\n250 CHUNKING"
TOO_MANY: list[Answer] = [
    ("421 4.3.2 Too many connections", close),
    ("421 4.7.0 too many concurrent sessions from you", close),
    ("432 4.3.2 Concurrent connections limit exceeded", close),
    ("454 4.7.652 The maximum number of concurrent connections has exceeded a limit", close),
]


class Clock:
    """Turned by the tests."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pool(clock: Clock) -> Iterator[Pool]:
    pool = Pool(PoolLimits(size=2, messages=5, age=600, idle=60), clock)
    yield pool
    pool.close()


def send(pool: Pool, server: ScriptedServer | RecordingServer, owner: str = "env", **changes: object) -> Receipt:
    settings = settings_for(server, **changes)
    return pool.send(settings, policy(total_seconds=5), PARCEL, owner=owner)


def test_a_connection_is_used_again(pool: Pool) -> None:
    with ScriptedServer() as server:
        for _ in range(3):
            send(pool, server)
    assert server.verbs == ["EHLO", *["MAIL", "RCPT", "DATA"] * 3]
    assert len(server.connections) == 1


def test_a_login_and_tls_are_used_again(pool: Pool) -> None:
    hello = "250-scripted.test\n250-STARTTLS\n250 AUTH PLAIN"
    with ScriptedServer({"EHLO": hello}, tls=certificates.good_context()) as server:
        for _ in range(3):
            send(pool, server, security=Security.STARTTLS, username="shop", password="geheim-8472")
    assert server.verbs.count("AUTH") == 1


def test_the_connection_used_last_is_used_next(pool: Pool) -> None:
    both = threading.Barrier(2)

    def meet(connection: Connection) -> None:
        both.wait(PATIENCE)
        connection.send(b"250 ok\r\n")

    meetings: list[Answer] = [meet, meet, "250 ok"]
    with ScriptedServer({"MESSAGE": meetings}) as server, ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda _: send(pool, server), range(2)))
        for _ in range(2):
            send(pool, server)
        assert sorted(bytes(each.received).count(b"MAIL") for each in server.connections) == [1, 3]


@pytest.mark.parametrize(
    "other",
    [
        {"password": "another"}, {"username": "other"}, {"from_email": "b@sender.example"}, {"timeout_seconds": 7},
        {"helo_hostname": "other.example"}, {"auth_method": "LOGIN"},
    ],
)  # fmt: skip
def test_other_settings_have_other_connections(pool: Pool, other: dict[str, object]) -> None:
    hello = "250-scripted.test\n250 AUTH PLAIN LOGIN"
    with ScriptedServer({"EHLO": hello}) as server:
        settings = {"username": "shop", "password": "geheim-8472"}
        send(pool, server, owner="config:1", **settings)
        send(pool, server, owner="config:2", **{**settings, **other})
        send(pool, server, owner="config:1", **settings)
    assert len(server.connections) == 2


def test_a_different_patience_is_no_other_connection(pool: Pool) -> None:
    with ScriptedServer() as server:
        send(pool, server)
        pool.send(settings_for(server), policy(total_seconds=9), PARCEL, owner="env")
    assert len(server.connections) == 1


def test_a_changed_configuration_closes_its_former_connections(pool: Pool) -> None:
    with ScriptedServer() as server:
        send(pool, server, owner="config:1")
        send(pool, server, owner="config:1", timeout_seconds=7)
        server.wait_for("QUIT")
        send(pool, server, owner="config:1", timeout_seconds=7)
        assert len(server.connections) == 2


def test_a_connection_in_use_is_closed_when_it_comes_back_to_a_changed_configuration(pool: Pool) -> None:
    with ScriptedServer() as server:
        found = pool.send_all(settings_for(server), policy(), parcels(2), owner="config:1")
        next(found)
        send(pool, server, owner="config:1", timeout_seconds=7)
        list(found)
        server.wait_for("QUIT")
        assert len(server.messages) == 3


def test_two_owners_with_the_same_settings_do_not_close_each_others(pool: Pool) -> None:
    with ScriptedServer() as server:
        send(pool, server, owner="config:1")
        send(pool, server, owner="env")
        send(pool, server, owner="config:1", timeout_seconds=7)
        send(pool, server, owner="env")
    assert len(server.connections) == 2


@pytest.mark.parametrize("seconds", [60, 600])
def test_a_connection_that_is_idle_for_too_long_is_closed(pool: Pool, clock: Clock, seconds: float) -> None:
    with ScriptedServer() as server:
        send(pool, server)
        clock.now += 59
        assert pool.reap() == pytest.approx(1)
        clock.now += seconds - 59
        assert pool.reap() is None
        server.wait_for("QUIT")
        send(pool, server)
        assert len(server.connections) == 2


def test_an_old_connection_is_replaced(clock: Clock) -> None:
    pool = Pool(PoolLimits(age=600), clock)
    with ScriptedServer() as server:
        for _ in range(13):
            send(pool, server)
            clock.now += 50
        assert [bytes(each.received).count(b"MAIL") for each in server.connections] == [12, 1]
    pool.close()


def test_a_connection_carries_only_so_many_mails(pool: Pool) -> None:
    with ScriptedServer() as server:
        for _ in range(6):
            send(pool, server)
        assert list(pool.send_all(settings_for(server), policy(), parcels(9), owner="env"))[-1][1]
        assert [bytes(each.received).count(b"MAIL") for each in server.connections] == [5, 5, 5]


def test_an_idle_connection_closes_by_itself() -> None:
    pool = Pool(PoolLimits(idle=0.05))
    with ScriptedServer() as server:
        send(pool, server)
        server.wait_for("QUIT")


# Connections that are gone.


@pytest.mark.parametrize(
    "end", [("250 ok", close), ("250 ok", pause(0.05), reset), ("250 ok", "421 4.4.2 idle too long", close)]
)
def test_a_connection_that_went_away_while_idle_is_replaced_unnoticed(pool: Pool, end: Answer) -> None:
    with ScriptedServer({"MESSAGE": end}) as server:
        send(pool, server)
        server.wait_until_left()
        send(pool, server)
        assert len(server.connections) == 2
        assert len(server.messages) == 2


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("end", [close, reset, ("421 4.7.0 enough", close)])
def test_a_connection_that_ends_before_the_message_is_replaced_once(pool: Pool, verb: str, end: Answer) -> None:
    first = "354 go" if verb == "DATA" else "250 ok"
    with ScriptedServer({verb: [first, end, first]}) as server:
        send(pool, server)
        send(pool, server)
        assert len(server.connections) == 2
        assert len(server.messages) == 2


@pytest.mark.parametrize(("hello", "connections"), [("250 scripted.test", 1), ("250-scripted.test\n250 PIPELINING", 2)])
def test_a_new_connection_that_ends_is_replaced_only_to_say_commands_singly(
    pool: Pool, hello: str, connections: int
) -> None:
    with ScriptedServer({"EHLO": hello, "MAIL": close}) as server, pytest.raises(Temporary):
        send(pool, server)
    assert len(server.connections) == connections


def test_of_two_that_end_only_the_first_is_replaced(pool: Pool) -> None:
    gone: list[Answer] = ["250 ok", close]
    with ScriptedServer({"MAIL": gone}) as server:
        send(pool, server)
        with pytest.raises(Temporary):
            send(pool, server)
        assert len(server.connections) == 2


@pytest.mark.parametrize("hello", ["250 PIPELINING", CHUNKED])
def test_a_message_that_may_have_been_taken_is_not_sent_again(pool: Pool, hello: str) -> None:
    with ScriptedServer({"EHLO": "250-x\n" + hello, "MESSAGE": ["250 ok", GONE, "250 ok"]}) as server:
        send(pool, server)
        with pytest.raises(OutcomeUnknown):
            send(pool, server)
        assert len(server.messages) == 2
        send(pool, server)
        assert len(server.connections) == 2


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "MESSAGE"])
def test_a_clean_refusal_leaves_the_connection_fit(pool: Pool, verb: str) -> None:
    script: Script = {verb: ["550 5.7.1 no", "250 ok"], "EHLO": "250 scripted.test"}
    with ScriptedServer(script) as server:
        with pytest.raises(Permanent):
            send(pool, server)
        send(pool, server)
        assert len(server.connections) == 1


def test_a_timeout_ends_a_connection(pool: Pool) -> None:
    silence: list[Answer] = ["250 ok", hang, "250 ok"]
    script: Script = {"MAIL": silence}
    with ScriptedServer(script) as server:
        send(pool, server)
        with pytest.raises(Temporary) as caught:
            pool.send(settings_for(server), policy(total_seconds=0.2), PARCEL, owner="env")
        assert caught.value.fault is Fault.TIMEOUT
        send(pool, server)
        assert len(server.connections) == 2


def test_all_of_a_mail_stays_within_its_time(pool: Pool) -> None:
    with ScriptedServer({"GREETING": hang}) as server, pytest.raises(DeliveryError) as caught:
        pool.send(settings_for(server), policy(total_seconds=0.2), PARCEL, owner="env")
    assert (caught.value.phase, caught.value.fault) == (Phase.GREETING, Fault.TIMEOUT)


# Many mails.


def test_many_mails_go_over_as_many_connections_as_it_takes(pool: Pool) -> None:
    enough: Answer = ("421 4.7.0 enough", close)
    with ScriptedServer({"MAIL": ["250 ok", "250 ok", "250 ok", enough, "250 ok"]}) as server:
        found = list(pool.send_all(settings_for(server), policy(), parcels(12), owner="env"))
    assert [word(result) for _, result in found] == ["accepted"] * 12
    assert sorted(server.messages) == sorted(parcel.content for parcel in parcels(12))


def test_a_dead_connection_costs_none_of_many_mails(pool: Pool) -> None:
    with ScriptedServer({"MAIL": ["250 ok", GONE, "250 ok"]}) as server:
        send(pool, server)
        found = list(pool.send_all(settings_for(server), policy(), parcels(3), owner="env"))
        assert [word(result) for _, result in found] == ["accepted"] * 3


def test_a_server_that_is_down_is_the_error_of_all_that_are_left(pool: Pool) -> None:
    with ScriptedServer({"GREETING": ["220 hello", "554 5.3.2 down"], "MAIL": ["250 ok", GONE]}) as server:
        found = list(pool.send_all(settings_for(server), policy(), parcels(3), owner="env"))
    assert [word(result) for _, result in found] == ["accepted", "misconfigured 554", "misconfigured 554"]


def test_mails_that_are_given_up_do_not_leave_a_dirty_connection(pool: Pool) -> None:
    with ScriptedServer() as server:
        found = pool.send_all(settings_for(server), policy(), parcels(3), owner="env")
        next(found)
        found.close()
        send(pool, server)
        assert len(server.connections) == 2
        assert server.messages == [parcels(1)[0].content, CONTENT]


def test_a_bug_of_ours_leaves_the_connection_fit(pool: Pool) -> None:
    bad = Parcel(envelope=ENVELOPE, content=b"a\nb\r\n")
    with ScriptedServer() as server:
        with pytest.raises(ValueError, match="CRLF"):
            list(pool.send_all(settings_for(server), policy(), [bad], owner="env"))
        send(pool, server)
        assert len(server.connections) == 1


# How many there may be.


def test_sixteen_threads_share_two_connections(pool: Pool) -> None:
    with ScriptedServer() as server, ThreadPoolExecutor(16) as threads:
        busy = Pool(PoolLimits(size=2))
        list(threads.map(lambda _: send(busy, server), range(64)))
        busy.close()
    assert len(server.connections) <= 2
    assert len(server.messages) == 64


def test_a_mail_that_finds_no_free_connection_in_its_time_is_temporary(clock: Clock) -> None:
    pool = Pool(PoolLimits(size=1), clock)
    with ScriptedServer() as server:
        found = pool.send_all(settings_for(server), policy(), parcels(2), owner="env")
        next(found)
        with pytest.raises(Temporary) as caught:
            pool.send(
                settings_for(server),
                policy(total_seconds=0.05),
                PARCEL,
                owner="env",
            )
        assert caught.value.text == "All connections to the server are in use."
        list(found)
        send(pool, server)
    pool.close()


@pytest.mark.parametrize("answer", TOO_MANY)
def test_where_the_server_has_too_many_the_mail_waits_for_one_of_ours(pool: Pool, answer: Answer) -> None:
    with ScriptedServer({"GREETING": ["220 hello", answer]}) as server, ThreadPoolExecutor(1) as thread:
        found = pool.send_all(settings_for(server), policy(), parcels(2), owner="env")
        next(found)
        second = thread.submit(send, pool, server)
        while len(server.connections) < 2 and not second.done():
            threading.Event().wait(0.005)
        list(found)
        assert isinstance(second.result(5), Receipt)
    assert len(server.connections) == 2
    assert len(server.messages) == 3


def test_the_cap_is_halved_for_ten_minutes_and_then_grows_by_one_a_minute(clock: Clock) -> None:
    lane = Lane(PoolLimits(size=8), clock, threading.Lock())
    lane.shrink()
    caps = []
    for minutes in (0, 9, 10, 11, 13, 60):
        clock.now = 1000.0 + minutes * 60
        caps.append(lane.cap)
    assert caps == [4, 4, 5, 6, 8, 8]


@pytest.mark.parametrize("answer", TOO_MANY)
def test_the_first_connection_that_is_one_too_many_is_an_error(pool: Pool, answer: Answer) -> None:
    with ScriptedServer({"GREETING": answer}) as server, pytest.raises(DeliveryError) as caught:
        send(pool, server)
    assert is_crowded(caught.value)


def test_a_refusal_of_another_kind_is_not_taken_for_too_many(pool: Pool) -> None:
    with ScriptedServer({"GREETING": "554 5.7.1 not you"}) as server, pytest.raises(Misconfigured) as caught:
        send(pool, server)
    assert not is_crowded(caught.value)


# The end.


def test_closing_says_goodbye_and_the_pool_can_go_on(pool: Pool) -> None:
    with ScriptedServer() as server:
        send(pool, server)
        pool.close()
        server.wait_for("QUIT")
        send(pool, server)
        assert len(server.connections) == 2


def test_a_process_that_ends_says_goodbye() -> None:
    program = "import sys; from tests.services.smtp.test_smtp_pool import send_once; send_once(int(sys.argv[1]))"
    with ScriptedServer() as server:
        subprocess.run([sys.executable, "-c", program, str(server.port)], check=True, timeout=PATIENCE)
        server.wait_for("QUIT")


def send_once(port: int) -> None:
    """What the process does that ends."""
    place = settings_for(SimpleNamespace(host="127.0.0.1", port=port))
    smtp_pool.pool.send(place, policy(), PARCEL, owner="env")


def test_a_forked_child_leaves_its_parents_connections_alone(pool: Pool) -> None:
    with ScriptedServer() as server:
        send(pool, server)
        child = os.fork()
        if not child:
            try:
                pool.close()
                send(pool, server)
                pool.close()
                os._exit(0)
            except BaseException:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        send(pool, server)
        assert [bytes(each.received).count(b"MAIL") for each in server.connections] == [2, 1]
        assert b"QUIT" not in server.connections[0].received


def test_no_password_stands_in_what_a_pool_prints(pool: Pool) -> None:
    with ScriptedServer({"EHLO": "250-scripted.test\n250 AUTH PLAIN"}) as server:
        send(pool, server, username="shop", password="geheim-8472")
        assert "geheim" not in repr(vars(pool))
