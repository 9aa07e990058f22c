"""Bytes on the socket: deadlines, limits of replies, nothing lost and nothing invented."""

import socket
import threading
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.smtp.wire import LONGEST_LINE, LONGEST_REPLY, MOST_LINES, Deadline, Reply, Wire, WireError
from tests.patience import PATIENCE
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
    return wire.read_reply(Deadline(PATIENCE))


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
    assert pair[0].read_reply(Deadline(PATIENCE)).text == "two"


def test_a_reply_may_come_octet_by_octet(pair: tuple[Wire, socket.socket]) -> None:
    wire, server = pair

    def drip() -> None:
        for octet in b"250-one\r\n250 two\r\n":
            server.sendall(bytes([octet]))

    thread = threading.Thread(target=drip)
    thread.start()
    assert wire.read_reply(Deadline(PATIENCE)).text == "one two"
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
        b"150 no such class\r\n",
        b"650 no such class\r\n",
        b"\r\n",
        b"\r\n250 late\r\n",
        b" 250 indented\r\n",
        b"\xff\xfe\x00\x01",
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


def test_a_longer_line_is_cut_and_the_next_reply_is_the_next(pair: tuple[Wire, socket.socket]) -> None:
    reply = read(pair, b"250 2.0.0 " + b"x" * 20_000 + b"\r\n354 next\r\n")
    assert (reply.code, reply.enhanced, len(reply.text)) == (250, "2.0.0", LONGEST_LINE - 4)
    assert read(pair, b"") == Reply(354, None, ("next",))


def test_the_most_lines_are_read(pair: tuple[Wire, socket.socket]) -> None:
    assert len(read(pair, b"250-x\r\n" * (MOST_LINES - 1) + b"250 x\r\n").lines) == MOST_LINES


def test_more_lines_are_forgotten_and_the_next_reply_is_the_next(pair: tuple[Wire, socket.socket]) -> None:
    assert len(read(pair, b"250-x\r\n" * 500 + b"250 x\r\n354 next\r\n").lines) == MOST_LINES
    assert read(pair, b"").code == 354


def test_text_beyond_the_total_size_is_forgotten_and_the_next_reply_is_the_next(
    pair: tuple[Wire, socket.socket],
) -> None:
    reply = read(pair, (b"250-" + b"x" * 1990 + b"\r\n") * 40 + b"250 end\r\n354 next\r\n")
    assert len("".join(reply.lines)) <= LONGEST_REPLY
    assert read(pair, b"").code == 354


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (b"250OK queued\r\n", "OK queued"),
        (b"250\tok\r\n", "ok"),
        (b"250\t2.0.0 ok\r\n", "2.0.0 ok"),
        (b"2502.0.0 ok\r\n", "2.0.0 ok"),
        (b"250 \r\n", ""),
        (b"250  2.0.0 ok\r\n", "2.0.0 ok"),
        (b"250:ok\r\n", ":ok"),
        (b"250_ok\r\n", "_ok"),
        (b"250\xffok\r\n", "\ufffdok"),
        (b"250\r\r\n", ""),
        (b"250\n", ""),
    ],
)
def test_a_code_counts_whatever_stands_behind_it(pair: tuple[Wire, socket.socket], said: bytes, text: str) -> None:
    reply = read(pair, said + b"354 next\r\n")
    assert (reply.code, reply.text) == (250, text)
    assert reply.enhanced == ("2.0.0" if "2.0.0" in text else None)
    assert read(pair, b"").code == 354


@pytest.mark.parametrize(
    "behind",
    [
        b"\r\n250 2.0.0 queued\r\n",
        b"\n",
        b"queued\r\n",
        b"25\r\n",
        b"354 go\r\n",
        b"550 no\r\n",
        b" 250 ok\r\n",
        b"\x00\xff\r\n",
        b"250-2.0.0 more\r\n" * 50_000,
        b"250-" + b"x" * 500_000,
    ],
)
def test_a_reply_that_has_no_proper_end_counts_and_is_the_last(pair: tuple[Wire, socket.socket], behind: bytes) -> None:
    wire, server = pair
    writer = threading.Thread(target=server.sendall, args=[b"250-2.0.0 ok\r\n" + behind], daemon=True)
    writer.start()
    reply = wire.read_reply(Deadline(PATIENCE))
    assert (reply.code, reply.enhanced, wire.is_spoiled) == (250, "2.0.0", True)
    assert fault_of(pair, b"") is Fault.BROKEN_REPLY
    with pytest.raises(WireError):
        wire.send(b"RSET\r\n", Deadline(PATIENCE))
    server.shutdown(socket.SHUT_RDWR)
    writer.join()


@pytest.mark.parametrize("said", [b"250", b"250 2.0.0 o", b"250-one\r\n", b"250-one\r\n250", b"250-" + b"x" * 5000])
def test_a_reply_that_the_end_of_the_connection_cuts_counts_and_is_the_last(
    pair: tuple[Wire, socket.socket], said: bytes
) -> None:
    pair[1].sendall(said)
    pair[1].shutdown(socket.SHUT_WR)
    assert (read(pair, b"").code, pair[0].is_spoiled) == (250, True)
    assert fault_of(pair, b"") is Fault.CLOSED


@pytest.mark.parametrize("said", [b"550", b"550 no such us", b"550-one\r\n", b"550-one\r\n550 tw"])
def test_a_reply_that_the_deadline_cuts_counts_and_is_the_last(pair: tuple[Wire, socket.socket], said: bytes) -> None:
    pair[1].sendall(said)
    assert (pair[0].read_reply(Deadline(0.05)).code, pair[0].is_spoiled) == (550, True)
    assert fault_of(pair, b"550 late\r\n") is Fault.TIMEOUT


@pytest.mark.parametrize("said", [b"", b"2", b"25"])
def test_less_than_three_digits_are_no_reply(pair: tuple[Wire, socket.socket], said: bytes) -> None:
    pair[1].sendall(said)
    pair[1].shutdown(socket.SHUT_WR)
    assert fault_of(pair, b"") is Fault.CLOSED


def test_a_line_without_end_is_kept_only_to_its_limit(pair: tuple[Wire, socket.socket]) -> None:
    wire, server = pair
    writer = threading.Thread(target=server.sendall, args=[b"250 " + b"x" * 1_000_000], daemon=True)
    writer.start()
    assert len(wire.read_reply(Deadline(PATIENCE)).text) < LONGEST_LINE
    assert wire.is_spoiled
    server.shutdown(socket.SHUT_RDWR)
    writer.join()


@pytest.mark.parametrize(
    "said", [b"hello\r\n", b"\r\n", b"150 odd\r\n", b"HTTP/1.1 400\r\n", b"\x15\x03\x01\x00\x02\x02\x46"]
)
def test_once_a_mail_server_has_spoken_nobody_says_that_it_is_none(
    pair: tuple[Wire, socket.socket], said: bytes
) -> None:
    read(pair, b"220 mail.example\r\n")
    with pytest.raises(WireError) as caught:
        read(pair, said)
    assert (caught.value.fault, "mail server" in caught.value.text) == (Fault.BROKEN_REPLY, False)


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
    assert wire.read_reply(Deadline(PATIENCE)).code == 421
    assert not wire.pending()


def all_replies(pieces: list[bytes]) -> tuple[list[tuple[int, str]], Fault]:
    """What is read of octets that come in these pieces, up to the fault at the end of the connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        wire, found = Wire(ours), []
        for piece in pieces:
            theirs.sendall(piece)
            wire.pending()  # takes it in, unless something is waiting to be read
        theirs.shutdown(socket.SHUT_WR)
        try:
            while True:
                reply = wire.read_reply(Deadline(PATIENCE))
                found.append((reply.code, reply.text))
        except WireError as error:
            return found, error.fault


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [b"250", b"354", b"2", b"-", b" ", b"\t", b"ok", b"\r\n", b"\n", b"\r", b"250-a\r\n", b"x" * 3000]
        ),
        max_size=14,
    ),
    st.randoms(use_true_random=False),
)
def test_a_reply_does_not_depend_on_the_pieces_in_which_it_comes(parts: list[bytes], random: Random) -> None:
    whole = b"220 hello\r\n" + b"".join(parts)
    cuts = sorted(random.sample(range(len(whole) + 1), min(6, len(whole))))
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert all_replies([piece for piece in pieces if piece]) == all_replies([whole])
