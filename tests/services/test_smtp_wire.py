"""Bytes on the socket: deadlines, limits of replies, nothing lost and nothing invented."""

import socket
import threading
from collections.abc import Iterator

import pytest

from services.smtp_wire import LONGEST_LINE, MOST_LINES, Deadline, Reply, Wire, WireError
from utils.errors import Fault


@pytest.fixture
def pair() -> Iterator[tuple[Wire, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    with ours, theirs:
        yield Wire(ours), theirs


def read(pair: tuple[Wire, socket.socket], said: bytes) -> Reply:
    wire, server = pair
    if said:
        server.sendall(said)
    return wire.read_reply(Deadline(1))


def fault_of(pair: tuple[Wire, socket.socket], said: bytes) -> Fault:
    with pytest.raises(WireError) as caught:
        read(pair, said)
    return caught.value.fault


def test_a_reply_of_several_lines_is_one_reply(pair: tuple[Wire, socket.socket]) -> None:
    assert read(pair, b"250-first\r\n250-\r\n250 last\r\n").lines == ("first", "", "last")


def test_a_code_alone_is_a_reply(pair: tuple[Wire, socket.socket]) -> None:
    assert read(pair, b"250\r\n") == Reply(250, None, ("",))


def test_two_replies_in_one_segment_stay_two(pair: tuple[Wire, socket.socket]) -> None:
    assert read(pair, b"250 one\r\n354 two\r\n").text == "one"
    assert pair[0].read_reply(Deadline(1)).text == "two"


def test_a_reply_may_come_octet_by_octet(pair: tuple[Wire, socket.socket]) -> None:
    wire, server = pair

    def drip() -> None:
        for octet in b"250-one\r\n250 two\r\n":
            server.sendall(bytes([octet]))

    thread = threading.Thread(target=drip)
    thread.start()
    assert wire.read_reply(Deadline(5)).text == "one two"
    thread.join()


def test_a_line_feed_alone_ends_a_line(pair: tuple[Wire, socket.socket]) -> None:
    assert read(pair, b"250 fine\n").text == "fine"


@pytest.mark.parametrize(
    ("said", "enhanced"),
    [
        (b"550 5.1.1 no such user\r\n", "5.1.1"),
        (b"550-5.7.26 first\r\n550 5.7.26 last\r\n", "5.7.26"),
        (b"250 2.0.0\r\n", "2.0.0"),
        (b"550 4.1.1 the class does not agree\r\n", None),
        (b"550 5.1.1234 too long\r\n", None),
        (b"550 5.1 too short\r\n", None),
        (b"550 user 5.1.1 in the text\r\n", None),
        (b"250 127.0.0.1 is not a status\r\n", None),
    ],
)
def test_the_enhanced_code_is_read_only_where_it_is_one(
    pair: tuple[Wire, socket.socket], said: bytes, enhanced: str | None
) -> None:
    assert read(pair, said).enhanced == enhanced


def test_control_characters_do_not_survive_in_a_reply(pair: tuple[Wire, socket.socket]) -> None:
    reply = read(pair, b"550 a\x1b[31mb\x00c\rd\xe2\x80\xaee \xff\r\n")
    assert reply.text.isprintable()
    assert "\x1b" not in reply.text


def test_what_the_wire_redacts_is_not_in_the_reply(pair: tuple[Wire, socket.socket]) -> None:
    pair[0].redact = lambda text: text.replace("geheim", "*")
    assert read(pair, b"535 wrong password geheim\r\n").text == "wrong password *"


@pytest.mark.parametrize(
    "said",
    [
        b"hello\r\n",
        b"25 short\r\n",
        b"2500 long\r\n",
        b"250_odd\r\n",
        b"150 no such class\r\n",
        b"650 no such class\r\n",
        b"\r\n",
        b"\xff\xfe\x00\x01",
        b"250-one\r\n220 two\r\n",
        b"250-one\r\nnext\r\n",
    ],
)
def test_what_is_no_reply_is_not_taken_for_one(pair: tuple[Wire, socket.socket], said: bytes) -> None:
    assert fault_of(pair, said) is Fault.NOT_SMTP


@pytest.mark.parametrize(
    ("said", "who"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH"),
        (b"* OK IMAP4rev1\r\n", "IMAP"),
        (b"+OK POP3 ready\r\n", "POP3"),
    ],
)
def test_another_protocol_is_called_by_its_name(pair: tuple[Wire, socket.socket], said: bytes, who: str) -> None:
    with pytest.raises(WireError) as caught:
        read(pair, said)
    assert who in caught.value.text


def test_a_tls_alert_tells_that_the_port_wants_tls(pair: tuple[Wire, socket.socket]) -> None:
    assert fault_of(pair, b"\x15\x03\x01\x00\x02\x02\x46") is Fault.TLS_EXPECTED


def test_the_longest_allowed_line_is_read(pair: tuple[Wire, socket.socket]) -> None:
    line = b"250 " + b"x" * (LONGEST_LINE - 6) + b"\r\n"
    assert len(read(pair, line).text) == LONGEST_LINE - 6


def test_a_longer_line_is_not_read(pair: tuple[Wire, socket.socket]) -> None:
    assert fault_of(pair, b"250 " + b"x" * (LONGEST_LINE - 5) + b"\r\n") is Fault.NOT_SMTP


def test_the_most_lines_are_read(pair: tuple[Wire, socket.socket]) -> None:
    assert len(read(pair, b"250-x\r\n" * (MOST_LINES - 1) + b"250 x\r\n").lines) == MOST_LINES


def test_more_lines_are_not_read(pair: tuple[Wire, socket.socket]) -> None:
    assert fault_of(pair, b"250-x\r\n" * MOST_LINES + b"250 x\r\n") is Fault.NOT_SMTP


def test_a_reply_is_not_read_beyond_its_total_size(pair: tuple[Wire, socket.socket]) -> None:
    assert fault_of(pair, (b"250-" + b"x" * 1990 + b"\r\n") * 40) is Fault.NOT_SMTP


def test_the_end_of_the_connection_is_told(pair: tuple[Wire, socket.socket]) -> None:
    pair[1].shutdown(socket.SHUT_WR)
    assert fault_of(pair, b"") is Fault.CLOSED


def test_silence_ends_at_the_deadline(pair: tuple[Wire, socket.socket]) -> None:
    with pytest.raises(WireError) as caught:
        pair[0].read_reply(Deadline(0.01))
    assert caught.value.fault is Fault.TIMEOUT


def test_a_deadline_that_is_over_is_not_waited_for(pair: tuple[Wire, socket.socket]) -> None:
    with pytest.raises(WireError) as caught:
        pair[0].send(b"NOOP\r\n", Deadline(-1))
    assert caught.value.fault is Fault.TIMEOUT


def test_the_sooner_of_two_deadlines_counts() -> None:
    assert Deadline(10).sooner(100).remaining() <= 10
    assert Deadline(100).sooner(10).remaining() <= 10


def test_a_peer_that_does_not_read_ends_at_the_deadline(pair: tuple[Wire, socket.socket]) -> None:
    with pytest.raises(WireError) as caught:
        pair[0].send(bytes(50_000_000), Deadline(0.05))
    assert caught.value.fault is Fault.TIMEOUT


def test_everything_is_sent_however_small_the_pieces(pair: tuple[Wire, socket.socket]) -> None:
    wire, server = pair
    data = bytes(range(256)) * 8192
    got = bytearray()

    def take() -> None:
        while len(got) < len(data):
            got.extend(server.recv(1000))

    thread = threading.Thread(target=take)
    thread.start()
    wire.send(data, Deadline(10))
    thread.join()
    assert got == data


def test_a_quiet_server_has_nothing_pending(pair: tuple[Wire, socket.socket]) -> None:
    assert not pair[0].pending()


def test_a_late_line_is_pending_until_it_is_read(pair: tuple[Wire, socket.socket]) -> None:
    wire, server = pair
    server.sendall(b"421 going\r\n")
    assert wire.pending()
    assert wire.read_reply(Deadline(1)).code == 421
    assert not wire.pending()
