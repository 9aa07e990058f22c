"""A real DNS server for the tests, on loopback, UDP and TCP: it knows a few names and fails as it is told."""

import socketserver
import threading
from collections.abc import Mapping
from enum import Enum
from typing import Any, Self

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

_AGAIN = 0.02  # seconds between two looks at whether the test is over
_LONGEST_CHAIN = 8


class Fails(Enum):
    """What a name may have instead of records."""

    SERVFAIL = "an error of the server"
    REFUSED = "not for you"
    SILENCE = "no answer at all"
    GARBAGE = "octets that are no answer"


class Turns:
    """A different answer each time, the last one for ever: what rebinding needs."""

    def __init__(self, *answers: "list[str] | Fails") -> None:
        self._answers = list(answers)

    def next(self) -> "list[str] | Fails":
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


# {("shop.example", "MX"): ["10 mx.shop.example."], ("shop.example", "TXT"): ["v=spf1 -all"], ...}, texts unquoted;
# the type "*" stands for every type. A name that is not in it does not exist (NXDOMAIN).
Zone = Mapping[tuple[str, str], list[str] | Fails | Turns]


class DnsServer:
    """``with DnsServer(zone) as dns:`` answers at ``dns.address``; ``dns.questions`` is what was asked.

    An answer that is longer than the client takes by UDP comes cut off, so that it must ask by TCP;
    ``truncate`` makes every answer so.
    """

    def __init__(self, zone: Zone, *, truncate: bool = False) -> None:
        self.zone = dict(zone)
        self.truncate = truncate
        self.questions: list[tuple[str, str, str]] = []  # name, type, "udp" or "tcp"
        self._tcp = _Tcp(("127.0.0.1", 0), _TcpHandler)
        self._udp = _Udp(self._tcp.server_address, _UdpHandler)
        self._tcp.dns = self._udp.dns = self
        self.address = f"127.0.0.1:{self._tcp.server_address[1]}"

    def __enter__(self) -> Self:
        for server in (self._udp, self._tcp):
            threading.Thread(target=server.serve_forever, args=(_AGAIN,), name="dns-server", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in (self._udp, self._tcp):
            server.shutdown()
            server.server_close()

    def answer(self, octets: bytes, way: str) -> bytes | None:
        """The answer to one question; None for silence."""
        question = dns.message.from_wire(octets)
        name, kind = question.question[0].name, question.question[0].rdtype
        self.questions.append((_plain(name), dns.rdatatype.to_text(kind), way))
        response = dns.message.make_response(question, recursion_available=True)
        failure = self._fill(response, name, dns.rdatatype.to_text(kind))
        if failure is Fails.SILENCE:
            return None
        if failure is Fails.GARBAGE:
            return octets[:2] + b"\x81\x80not an answer"
        if failure:
            response.set_rcode(dns.rcode.from_text(failure.name))
        return self._wire(response, question.payload or 512, way)

    def _wire(self, response: dns.message.Message, payload: int, way: str) -> bytes:
        wire = response.to_wire(max_size=65535)
        if way == "udp" and (self.truncate or len(wire) > payload):
            response.answer.clear()
            response.flags |= dns.flags.TC
            wire = response.to_wire()
        return wire

    def _fill(self, response: dns.message.Message, name: dns.name.Name, kind: str) -> Fails | None:
        """Put the records of a name into the answer, following aliases as a resolver does."""
        for _ in range(_LONGEST_CHAIN):
            found = self._records(name, kind)
            if isinstance(found, Fails):
                return found
            if found:
                response.answer.append(_rrset(name, kind, found))
            alias = self._records(name, "CNAME") if found is None and kind != "CNAME" else None
            if not isinstance(alias, list):
                break
            response.answer.append(_rrset(name, "CNAME", alias))
            name = dns.name.from_text(alias[0])
        if not any(known == _plain(name) or known.endswith("." + _plain(name)) for known, _ in self.zone):
            response.set_rcode(dns.rcode.NXDOMAIN)
        return None

    def _records(self, name: dns.name.Name, kind: str) -> list[str] | Fails | None:
        found = self.zone.get((_plain(name), kind), self.zone.get((_plain(name), "*")))
        return found.next() if isinstance(found, Turns) else found


class _Udp(socketserver.ThreadingUDPServer):
    daemon_threads = True
    dns: DnsServer


class _Tcp(socketserver.ThreadingTCPServer):
    daemon_threads = True
    dns: DnsServer


class _UdpHandler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        octets, sock = self.request
        answer = _server_of(self.server).answer(octets, "udp")
        if answer is not None:
            sock.sendto(answer, self.client_address)


class _TcpHandler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        length = int.from_bytes(self.rfile.read(2))
        answer = _server_of(self.server).answer(self.rfile.read(length), "tcp") if length else None
        if answer is not None:
            self.wfile.write(len(answer).to_bytes(2) + answer)


def _server_of(server: Any) -> DnsServer:
    found: DnsServer = server.dns
    return found


def _plain(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


def _rrset(name: dns.name.Name, kind: str, records: list[str]) -> dns.rrset.RRset:
    texts = [_quoted(record) for record in records] if kind == "TXT" else records
    return dns.rrset.from_text_list(name, 60, dns.rdataclass.IN, dns.rdatatype.from_text(kind), texts)


def _quoted(text: str) -> str:
    """A TXT record as strings of at most 255 octets each."""
    octets = text.encode()
    parts = [octets[start : start + 255] for start in range(0, len(octets), 255)] or [b""]
    return " ".join('"' + "".join(f"\\{octet:03d}" for octet in part) + '"' for part in parts)
