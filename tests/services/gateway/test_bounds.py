"""Bounds on what clients can take up: connections, time, memory, sign-ins; and the certificate, also exchanged."""

import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from services.gateway import conversation, listening, sign_in, wire
from services.gateway.listening import Gateway
from tests.certificates import authority, stranger
from tests.gateway import MAIL, RunningGateway, Talk, queued
from tests.patience import stretched, wait_until
from tests.services.gateway.conftest import Alice
from utils.env_reader import ConfigurationError


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every time-out is short."""
    for name in ("LINE_SECONDS", "BLOCK_SECONDS", "GRACE"):
        monkeypatch.setattr(wire, name, stretched(0.5))
    for name in ("IDLE_SECONDS", "UNKNOWN_SECONDS"):
        monkeypatch.setattr(conversation, name, stretched(0.5))


def test_over_the_limits_of_connections_one_is_told_so_and_others_are_served(
    gateway: RunningGateway, alice: Alice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "MOST_OF_PEER", 2)
    monkeypatch.setattr(listening, "MOST_IN_ALL", 3)
    held = [gateway.talk(), gateway.talk()]
    refused = Talk(gateway.port)
    assert refused.heard().startswith("421 4.7.0")
    assert refused.is_ended()
    held.append(gateway.talk(source="127.0.0.2"))
    in_all = Talk(gateway.port, source="127.0.0.3")
    assert in_all.heard().startswith("421 4.3.2")
    for each in (*held, refused, in_all):
        each.socket.close()
    wait_until(lambda: not gateway.gateway._open)
    with gateway.talk() as again:
        assert again.hello()


def test_who_says_nothing_or_dribbles_is_sent_away_in_time(
    hurried: None, gateway: RunningGateway, alice: Alice
) -> None:
    idle, half = gateway.talk(), gateway.talk()
    half.send(b"EHL")
    dribbling = gateway.talk()
    dribbling.hello()
    dribbling.sign_in("alice", alice.token)
    for line in ("MAIL FROM:<a@example.com>", "RCPT TO:<jane@example.org>", "DATA"):
        dribbling.say(line)
    begun = time.monotonic()
    while time.monotonic() - begun < stretched(10):
        try:
            dribbling.send(b"x")
        except ConnectionError:
            break
        time.sleep(0.02)
    for talk in (idle, half, dribbling):
        last = talk.heard()
        assert last in ("421 4.4.2 This took too long. Connect again.", ""), last
        talk.socket.close()
    wait_until(lambda: not gateway.gateway._open)
    assert queued() == []


def test_two_hundred_that_send_an_octet_a_second_keep_no_one_from_sending(
    gateway: RunningGateway, alice: Alice
) -> None:
    slow = [Talk(gateway.port, source=f"127.0.0.{2 + number % 4}") for number in range(200)]
    try:
        for octet in b"EHLO":
            for each in slow:
                each.send(bytes([octet]))
        with gateway.talk() as talk:
            talk.hello()
            talk.sign_in("alice", alice.token)
            assert talk.hand_over().startswith("250")
    finally:
        for each in slow:
            each.socket.close()


def test_a_client_that_reads_no_replies_is_given_up(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "REPLY_SECONDS", stretched(0.5))
    monkeypatch.setattr(conversation, "MOST_COMMANDS", 10**9)
    with gateway.talk() as talk:
        talk.socket.setblocking(False)
        until = time.monotonic() + stretched(30)
        while gateway.gateway._open and time.monotonic() < until:
            try:
                talk.socket.send(b"HELP\r\n" * 10_000)
            except BlockingIOError:
                time.sleep(0.01)
            except ConnectionError:
                break
        wait_until(lambda: not gateway.gateway._open)


def test_a_message_that_is_too_large_is_read_to_its_end_and_refused_and_an_endless_one_is_not(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "LARGEST", 10_000)
    assert talk.hand_over(MAIL + b"x\r\n" * 10_000).startswith("552 5.3.4")
    assert talk.say("NOOP").startswith("250")
    monkeypatch.setattr(wire, "MOST_DROPPED", 50_000)
    talk.say("MAIL FROM:<a@example.com>")
    talk.say("RCPT TO:<jane@example.org>")
    talk.say("DATA")
    try:
        for _ in range(10_000):
            talk.send(b"x" * 998 + b"\r\n")
    except ConnectionError:
        return
    assert talk.heard().startswith("552")


def test_over_the_memory_for_all_messages_one_is_put_off(
    gateway: RunningGateway, alice: Alice, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.gateway.budget = wire.MemoryBudget(20_000)
    with gateway.talk() as talk:
        talk.hello()
        talk.sign_in("alice", alice.token)
        assert talk.hand_over(MAIL + b"x\r\n" * 10_000).startswith("452 4.3.1")
        for _ in range(30):
            assert talk.hand_over(MAIL + b"x\r\n" * 500).startswith("250")


def test_wrong_sign_ins_of_a_network_are_counted_and_a_good_token_is_still_taken(
    gateway: RunningGateway, alice: Alice
) -> None:
    wrong = 0
    while True:
        with gateway.talk() as talk:
            talk.hello()
            replies = [talk.sign_in("alice", "sealpost_no") for _ in range(3)]
        wrong += sum(reply.startswith("535") for reply in replies)
        if replies[-1] == "" or replies[-1].startswith("421"):
            break
        assert wrong <= sign_in.MOST_WRONG
    assert wrong == sign_in.MOST_WRONG
    with gateway.talk() as talk:
        talk.hello()
        assert talk.sign_in("alice", "sealpost_no").startswith(
            "421 4.7.0 Too many wrong sign-ins from your address. Try again in "
        )
        assert talk.is_ended()
    with gateway.talk() as talk:
        talk.hello()
        assert talk.sign_in("alice", alice.token).startswith("235")


class TestCertificates:
    """TLS by files, which may be exchanged while connections are open."""

    @pytest.fixture
    def pair(self, tmp_path: Path) -> tuple[Path, Path]:
        certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
        _write(certificate, key)
        return certificate, key

    @pytest.fixture
    def environment(self, environment: dict[str, str], pair: tuple[Path, Path]) -> Iterator[dict[str, str]]:
        yield {
            **environment,
            "SUBMISSION_LISTEN": "127.0.0.1:0, smtps://127.0.0.1:0,0.0.0.0:0",
            "SUBMISSION_TLS_CERT": str(pair[0]),
            "SUBMISSION_TLS_KEY": str(pair[1]),
        }

    def test_both_ways_to_tls_lead_to_a_mail_and_elsewhere_than_on_loopback_it_is_a_must(
        self, gateway: RunningGateway, alice: Alice
    ) -> None:
        context = _trusting(authority())
        with Talk(gateway.ports[1]) as talk:
            talk.begin_tls(context)
            assert talk.heard().startswith("220 ")
            talk.hello()
            talk.sign_in("alice", alice.token)
            assert talk.hand_over().startswith("250")
        with gateway.talk(place=2) as talk:
            assert "AUTH" not in talk.hello()
            assert talk.sign_in("alice", alice.token).startswith("538 5.7.11")
            assert talk.say("MAIL FROM:<a@example.com>").startswith("530 5.7.0 Say STARTTLS first.")
            talk.say("STARTTLS")
            talk.begin_tls(context)
            assert "AUTH PLAIN LOGIN" in talk.hello()
        assert len(queued()) == 1

    def test_a_new_certificate_is_shown_to_who_connects_and_who_is_connected_goes_on(
        self, gateway: RunningGateway, alice: Alice, pair: tuple[Path, Path]
    ) -> None:
        with Talk(gateway.ports[1]) as talk:
            talk.begin_tls(_trusting(authority()))
            talk.heard()
            talk.hello()
            talk.sign_in("alice", alice.token)
            held = gateway.gateway._certificate
            assert held
            pair[0].write_text("half written")
            held.look_again()
            assert held.trouble == "SUBMISSION_TLS_CERT and SUBMISSION_TLS_KEY must be PEM files."
            with Talk(gateway.ports[1]) as other:
                other.begin_tls(_trusting(authority()))
                assert other.heard().startswith("220 ")
            _write(*pair, of_stranger=True)
            wait_until(lambda: not held.trouble)
            with Talk(gateway.ports[1]) as other:
                other.begin_tls(_trusting(stranger()))
                assert other.heard().startswith("220 ")
            assert talk.hand_over().startswith("250")

    def test_a_client_without_the_handshake_or_with_a_bad_one_is_only_cut_off(
        self, gateway: RunningGateway, alice: Alice
    ) -> None:
        for octets in (b"EHLO x\r\n", b"\x16\x03\x01\x00\x05hello", b""):
            with socket.create_connection(("127.0.0.1", gateway.ports[1])) as client:
                client.sendall(octets)
        with Talk(gateway.port) as talk:
            talk.heard()
            talk.hello()
            talk.say("STARTTLS")
            talk.send(b"NOOP\r\n")
            assert "250" not in talk.socket.recv(100).decode("latin-1")
        with gateway.talk() as talk:
            assert talk.hello()

    def test_who_never_begins_tls_counts_as_a_connection_and_keeps_no_one_else_out(
        self, gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(listening, "MOST_OF_PEER", 2)
        silent = [Talk(gateway.ports[1]) for _ in range(2)]
        wait_until(lambda: gateway.gateway._handshakes["127.0.0.1"] == 2)
        with Talk(gateway.ports[1]) as refused:
            assert refused.is_ended()
        with Talk(gateway.ports[1], source="127.0.0.2") as other:
            other.begin_tls(_trusting(authority()))
            assert other.heard().startswith("220 ")
        for each in silent:
            each.socket.close()
        wait_until(lambda: not gateway.gateway._handshakes)
        with Talk(gateway.ports[1]) as again:
            again.begin_tls(_trusting(authority()))
            assert again.heard().startswith("220 ")

    def test_without_a_usable_pair_the_gateway_does_not_start(self, app: Flask, pair: tuple[Path, Path]) -> None:
        pair[1].write_bytes(authority().issue_cert("other").private_key_pem.bytes())
        with pytest.raises(ConfigurationError, match="SUBMISSION_TLS_KEY is not the key of SUBMISSION_TLS_CERT"):
            Gateway(app)
        pair[1].unlink()
        with pytest.raises(ConfigurationError, match="cannot be read: No such file or directory"):
            Gateway(app)


def _write(certificate_file: Path, key: Path, *, of_stranger: bool = False) -> None:
    made = (stranger() if of_stranger else authority()).issue_cert("localhost")
    for path, octets in ((certificate_file, made.cert_chain_pems[0].bytes()), (key, made.private_key_pem.bytes())):
        new = path.with_suffix(".new")
        new.write_bytes(octets)
        new.replace(path)


def _trusting(issuer: object) -> ssl.SSLContext:
    context = ssl.create_default_context()
    issuer.configure_trust(context)  # type: ignore[attr-defined]
    return context
