"""Bytes on an encrypted socket: records that come in pieces, or want to be read, stop nobody and nothing for ever."""

import socket
import ssl
import threading
from collections.abc import Iterator

import pytest

from services.smtp.wire import Deadline, Wire, WireError
from tests import certificates
from tests.patience import PATIENCE
from utils.errors import Fault


class Server:
    """The other end, whose records are cut by the test."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = certificates.good_context().wrap_bio(self._incoming, self._outgoing, server_side=True)

    def shake_hands(self) -> None:
        """Behind a handshake of TLS 1.3 come session tickets: something to read that says nothing."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self.sock.sendall(self._outgoing.read())
                self._incoming.write(self.sock.recv(65536))
            else:
                return self.sock.sendall(self._outgoing.read())

    def record(self, text: bytes) -> bytes:
        self._tls.write(text)
        return self._outgoing.read()

    def hear(self, size: int) -> bytes:
        got = bytearray()
        while len(got) < size:
            try:
                got += self._tls.read(1000)
            except ssl.SSLWantReadError:
                self._incoming.write(self.sock.recv(1000))
        return bytes(got)


@pytest.fixture
def pair() -> Iterator[tuple[Wire, Server]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        plain = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    server = Server(theirs)
    thread = threading.Thread(target=server.shake_hands)
    thread.start()
    context = ssl.create_default_context(cafile=str(certificates.ca_file()))
    with context.wrap_socket(plain, server_hostname="localhost") as ours, theirs:
        thread.join()
        yield Wire(ours), server


def test_what_tls_says_by_itself_is_not_pending(pair: tuple[Wire, Server]) -> None:
    assert not pair[0].pending()


def test_a_late_line_in_a_record_is_pending(pair: tuple[Wire, Server]) -> None:
    wire, server = pair
    server.sock.sendall(server.record(b"250 ok\r\n"))
    assert wire.read_reply(Deadline(PATIENCE)).code == 250
    server.sock.sendall(server.record(b"421 going\r\n"))
    assert wire.pending()
    assert wire.read_reply(Deadline(PATIENCE)).code == 421


def test_two_lines_in_two_records_of_one_segment_are_both_read(pair: tuple[Wire, Server]) -> None:
    wire, server = pair
    server.sock.sendall(server.record(b"250 one\r\n") + server.record(b"250 two\r\n"))
    assert [wire.read_reply(Deadline(PATIENCE)).text for _ in range(2)] == ["one", "two"]


def test_a_record_in_pieces_is_waited_for(pair: tuple[Wire, Server]) -> None:
    wire, server = pair
    record = server.record(b"250 ok\r\n")
    server.sock.sendall(record[:9])
    assert not wire.pending()
    server.sock.sendall(record[9:])
    assert wire.read_reply(Deadline(PATIENCE)).text == "ok"


def test_half_a_record_ends_at_the_deadline(pair: tuple[Wire, Server]) -> None:
    wire, server = pair
    server.sock.sendall(server.record(b"250 ok\r\n")[:9])
    with pytest.raises(WireError) as caught:
        wire.read_reply(Deadline(0.05))
    assert caught.value.fault is Fault.TIMEOUT


def test_everything_is_sent_however_slowly_it_is_taken(pair: tuple[Wire, Server]) -> None:
    wire, server = pair
    data = bytes(range(256)) * 32768
    got: list[bytes] = []
    thread = threading.Thread(target=lambda: got.append(server.hear(len(data))))
    thread.start()
    wire.send(data, Deadline(PATIENCE))
    thread.join()
    assert got == [data]
    assert wire.sent == len(data)


def test_a_peer_that_does_not_read_ends_at_the_deadline(pair: tuple[Wire, Server]) -> None:
    with pytest.raises(WireError) as caught:
        pair[0].send(bytes(50_000_000), Deadline(0.1))
    assert caught.value.fault is Fault.TIMEOUT
