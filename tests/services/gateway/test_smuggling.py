"""No mail gets in within another, no command before TLS, and nothing is relayed for strangers."""

import ssl
from collections.abc import Iterator

import pytest
from flask import Flask

from tests.certificates import authority, directory
from tests.gateway import MAIL, RunningGateway, Talk, queued
from tests.services.gateway.conftest import Alice

# What servers have taken for the end of the message (SEC Consult, December 2023), each but the true one.
ENDS = (b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\r\n.\n", b"\n.\r", b"\r\n\0.\r\n")
SMUGGLED = b"MAIL FROM:<a@example.com>\r\nRCPT TO:<eve@example.org>\r\nDATA\r\nFrom: a@example.com\r\n\r\nx\r\n.\r\n"
# Each way to write an address so that some server takes it for another one's, or sends it on.
RELAYS = (
    "victim@example.org", '"victim@example.org"', '"victim@example.org"@mail.example.com', "victim%example.org",
    "victim%example.org@mail.example.com", '"victim%example.org"@mail.example.com', "example.org!victim",
    "@mail.example.com:victim@example.org", "victim@example.org@mail.example.com",
    "example.org!victim@mail.example.com",
    '"example.org!victim"@mail.example.com', "victim@[127.0.0.1]", "victim@[192.0.2.1]", "victim@127.0.0.1",
    "victim@localhost", "victim%example.org@[127.0.0.1]", "@127.0.0.1:victim@example.org", "postmaster",
    "mail.example.com!victim@example.org", "victim@example.org@[127.0.0.1]",
)  # fmt: skip


def test_what_others_take_for_the_end_of_a_message_ends_none_and_the_whole_is_refused(
    gateway: RunningGateway, alice: Alice
) -> None:
    for end in ENDS:
        with gateway.talk() as talk:
            talk.hello()
            talk.sign_in("alice", alice.token)
            talk.send(b"MAIL FROM:<a@example.com>\r\nRCPT TO:<jane@example.org>\r\nDATA\r\n")
            assert talk.codes(3) == [250, 250, 354]
            # The first true end is the smuggled mail's, and all before it is one message.
            talk.send(MAIL + end + SMUGGLED + b"NOOP\r\n")
            assert talk.heard().startswith("554 5.6.0 The message "), end
            assert talk.heard() == "250 2.0.0 OK."
    assert queued() == []


def test_a_dot_alone_ends_a_message_wherever_the_octets_are_cut(talk: Talk) -> None:
    for cut in range(1, 6):
        talk.say("MAIL FROM:<a@example.com>")
        talk.say("RCPT TO:<jane@example.org>")
        talk.say("DATA")
        whole = MAIL + b".\r\nNOOP\r\n"
        place = len(MAIL) - 2 + cut
        talk.send(whole[:place])
        talk.send(whole[place:])
        assert talk.codes(2) == [250, 250]
    assert len(queued()) == 5


def test_a_message_that_nobody_waited_with_is_not_read_as_commands(talk: Talk) -> None:
    talk.send(b"MAIL FROM:<a@example.com>\r\nRCPT TO:<nobody>\r\nDATA\r\n" + SMUGGLED)
    assert talk.codes(4) == [250, 553, 554, 421]
    assert talk.is_ended()
    assert queued() == []


def test_a_chunk_that_was_not_asked_for_is_not_read_as_commands(talk: Talk) -> None:
    talk.send(b"MAIL FROM:<a@example.com>\r\nRCPT TO:<jane@example.org>\r\nBDAT %d LAST\r\n" % len(SMUGGLED))
    assert talk.codes(3) == [250, 250, 502]
    assert talk.is_ended()
    with pytest.raises(ConnectionError):
        for _ in range(100):
            talk.send(SMUGGLED)
    assert queued() == []


def test_a_message_may_not_be_odd_in_its_octets_or_its_header(talk: Talk) -> None:
    for message, words in (
        (MAIL + b"a\0b\r\n", "The message contains a NUL octet."),
        (MAIL + b"x" * 999 + b"\r\n", "The message has a line over 998 octets."),
        (b"no field\r\n" + MAIL, "The message's header has a line that is no field."),
        (b" folded\r\n" + MAIL, "The message's header has a line that is no field."),
        (b"X: y\r\n" * 1001 + MAIL, "The message's header has more than 1000 fields."),
        (b"X: y\r\n" + b" z\r\n" * 70_000 + MAIL, "The message's header has no end within 256 KB."),
    ):
        assert talk.hand_over(message).startswith(f"554 5.6.0 {words}"), words
    assert talk.hand_over(b"Received: from a\r\n" * 51 + MAIL).startswith("554 5.4.6")
    assert queued() == []
    assert talk.hand_over(MAIL + b"x" * 998 + b"\r\n").startswith("250")


def test_a_stranger_relays_to_no_form_of_address(gateway: RunningGateway) -> None:
    with gateway.talk() as talk:
        talk.hello()
        for sender in ("a@example.com", "", "a@mail.example.com", "a@localhost", "a@127.0.0.1"):
            assert talk.say(f"MAIL FROM:<{sender}>").startswith("530 5.7.0")
    for address in RELAYS:
        with gateway.talk() as talk:
            talk.send(b"EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<" + address.encode() + b">\r\nDATA\r\n")
            assert talk.codes(4) == [250, 530, 503, 503], address
    assert queued() == []


def test_an_account_sends_to_plain_addresses_only(talk: Talk) -> None:
    talk.say("MAIL FROM:<a@example.com>")
    taken = [address for address in RELAYS if talk.say(f"RCPT TO:<{address}>").startswith("250")]
    # All of them are mailboxes, of which the server that has them knows more than we do.
    assert [address.rpartition("@")[2] for address in taken] == [
        "example.org", "mail.example.com", "mail.example.com", "localhost", "example.org",
    ]  # fmt: skip


class TestBeforeTls:
    """Nothing that is said in clear counts once the connection is encrypted."""

    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> Iterator[dict[str, str]]:
        path = directory() / "gateway.pem"
        authority().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(path))
        yield {**environment, "SUBMISSION_LISTEN": "127.0.0.1:0", "SUBMISSION_TLS_CERT": str(path)}

    def test_a_command_behind_starttls_ends_the_connection(self, app: Flask) -> None:
        with RunningGateway(app) as gateway, gateway.talk() as talk:
            assert "250-STARTTLS" in talk.hello()
            talk.send(b"STARTTLS\r\nEHLO evil\r\nMAIL FROM:<a@example.com>\r\n")
            assert talk.heard().startswith("421 5.5.0")
            assert talk.is_ended()

    def test_what_was_said_before_tls_is_forgotten(self, app: Flask, alice: Alice) -> None:
        context = ssl.create_default_context()
        authority().configure_trust(context)
        with RunningGateway(app) as gateway, gateway.talk() as talk:
            talk.hello()
            talk.sign_in("alice", alice.token)
            talk.say("MAIL FROM:<a@example.com>")
            assert talk.say("STARTTLS").startswith("220")
            talk.begin_tls(context)
            assert talk.say("MAIL FROM:<a@example.com>").startswith("503 5.5.1 Say EHLO first.")
            assert "STARTTLS" not in talk.hello()
            assert talk.say("STARTTLS").startswith("503 5.5.1")
            assert talk.say("MAIL FROM:<a@example.com>").startswith("530 5.7.0")
            talk.sign_in("alice", alice.token)
            assert talk.hand_over().startswith("250")
        assert len(queued()) == 1
