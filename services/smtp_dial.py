"""From a host name to a connected socket: look up once, judge every address, connect to a judged one."""

import errno
import os
import selectors
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from ipaddress import IPv4Address, ip_address
from itertools import chain, zip_longest
from queue import Empty, SimpleQueue
from typing import Final

from services import dns_lookup
from services.smtp_wire import Deadline, WireError
from utils import net_guard
from utils.addresses import is_loopback
from utils.errors import Fault
from utils.net_guard import IPAddress

_MOST_LOOK_UPS = 16
_look_ups = threading.BoundedSemaphore(_MOST_LOOK_UPS)

_NO_SUCH_NAME: Final = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
# With several addresses the first of these that occurred says most about the host.
_TELLING: Final = (Fault.REFUSED, Fault.TIMEOUT, Fault.UNREACHABLE)
WORDS: Final = {
    Fault.REFUSED: "refused",
    Fault.TIMEOUT: "no answer",
    Fault.UNREACHABLE: "unreachable",
}

Peer = tuple[IPAddress, int]  # address and port that a connection really has at its other end
_Answer = list[str] | OSError | UnicodeError


def look_up(host: str, deadline: Deadline, resolver: str = "") -> tuple[IPAddress, ...]:
    """Find the addresses of a DNS name or IP literal, IPv6 and IPv4 in turn, the preferred kind first.

    ``resolver`` (host or host:port) is asked for names with a dot in them; "" is the system's. Raises WireError:
    DNS_NOT_FOUND, DNS_FAILED (also if the resolver is slower than the deadline), or ADDRESS_REFUSED if any of
    the addresses is one that is never connected to.
    """
    try:
        addresses: Sequence[IPAddress] = [ip_address(host)]
    except ValueError:
        asks_dns = resolver and "." in host.rstrip(".") and not is_loopback(host)
        found = _ask_dns(host, deadline, resolver) if asks_dns else _resolve(host, deadline)
        addresses = _interleaved(found)
    for address in addresses:
        if reason := net_guard.refusal(address):
            raise WireError(Fault.ADDRESS_REFUSED, f"{address} is {reason}; no mail server is there.")
    return tuple(addresses)


def dial(
    addresses: Iterator[IPAddress],
    port: int,
    seconds: float,
    deadline: Deadline,
    missed: Callable[[IPAddress, Fault], None],
) -> tuple[socket.socket, Peer]:
    """Connect to the first address that answers, each given ``seconds`` and none beyond the deadline.

    ``addresses`` is left with those that were not needed; ``missed`` hears of each that failed while another was
    to be tried. Raises WireError (REFUSED, TIMEOUT or UNREACHABLE) with a text that names every address tried.
    """
    faults: dict[IPAddress, Fault] = {}
    for address in addresses:
        if faults:
            missed(*list(faults.items())[-1])
        if deadline.remaining() <= 0:
            faults[address] = Fault.TIMEOUT
            break
        try:
            return _connect(address, port, deadline.sooner(seconds))
        except OSError as error:
            faults[address] = _fault(error)
    worst = next(fault for fault in _TELLING if fault in faults.values())
    tried = ", ".join(f"{address} {WORDS[fault]}" for address, fault in faults.items())
    raise WireError(worst, f"Port {port}: {tried}.")


def knock(addresses: Sequence[IPAddress], port: int, deadline: Deadline) -> Iterator[tuple[IPAddress, Fault | None]]:
    """Connect to all of the addresses at once and hang up: each with its fault, or None, as soon as that is known."""
    with selectors.DefaultSelector() as waiting, ExitStack() as held:
        for address in addresses:
            try:
                sock = held.enter_context(_socket_for(address))
                sock.setblocking(False)
                begun = sock.connect_ex((str(address), port))
            except OSError as error:
                yield address, _fault(error)
                continue
            if begun == errno.EINPROGRESS:
                waiting.register(sock, selectors.EVENT_WRITE, (address, sock))
            else:
                yield address, _fault(OSError(begun, os.strerror(begun))) if begun else None
        while waiting.get_map() and deadline.remaining() > 0:
            for key, _ in waiting.select(deadline.remaining()):
                address, sock = key.data
                waiting.unregister(sock)
                number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                yield address, _fault(OSError(number, os.strerror(number))) if number else None
        for key in waiting.get_map().values():
            yield key.data[0], Fault.TIMEOUT


def _ask_dns(host: str, deadline: Deadline, resolver: str) -> list[IPAddress]:
    try:
        # Half of the time: where only one kind of address is answered for, the rest is for connecting to it.
        found = dns_lookup.addresses(host, deadline.seconds() / 2, resolver)
    except dns_lookup.LookupFailed as error:
        raise WireError(Fault.DNS_FAILED, error.text) from None
    if not found:
        raise WireError(Fault.DNS_NOT_FOUND, f"No server has the name {host}.")
    return list(dict.fromkeys(found))


def _resolve(host: str, deadline: Deadline) -> list[IPAddress]:
    answers: SimpleQueue[_Answer] = SimpleQueue()

    def ask() -> None:
        try:
            # As octets: the resolver gets the name as it stands, without another round of IDNA.
            found = socket.getaddrinfo(host.encode("ascii"), None, type=socket.SOCK_STREAM)
            answers.put([str(sockaddr[0]) for *_, sockaddr in found])
        except (OSError, UnicodeError) as error:
            answers.put(error)
        finally:
            _look_ups.release()

    # getaddrinfo knows no timeout. A daemon thread is left behind when it is slow, but never more than a few.
    if not _look_ups.acquire(timeout=max(0, deadline.remaining())):
        raise WireError(Fault.DNS_FAILED, "Too many look-ups are waiting for the name server.")
    try:
        threading.Thread(target=ask, name="smtp-look-up", daemon=True).start()
    except RuntimeError:
        _look_ups.release()
        raise
    try:
        answer = answers.get(timeout=max(0, deadline.remaining()))
    except Empty:
        raise WireError(Fault.DNS_FAILED, f"The name server did not answer for {host}.") from None
    return _read_answer(host, answer)


def _read_answer(host: str, answer: _Answer) -> list[IPAddress]:
    if isinstance(answer, socket.gaierror) and answer.errno not in _NO_SUCH_NAME:
        raise WireError(Fault.DNS_FAILED, f"The name server failed to look up {host}.")
    if isinstance(answer, Exception) or not answer:
        raise WireError(Fault.DNS_NOT_FOUND, f"No server has the name {host}.")
    return [ip_address(text) for text in dict.fromkeys(answer)]


def _interleaved(addresses: list[IPAddress]) -> list[IPAddress]:
    first = type(addresses[0])
    preferred = [address for address in addresses if isinstance(address, first)]
    others = [address for address in addresses if not isinstance(address, first)]
    return [address for address in chain(*zip_longest(preferred, others)) if address is not None]


def _connect(address: IPAddress, port: int, deadline: Deadline) -> tuple[socket.socket, Peer]:
    sock = _socket_for(address)
    try:
        sock.settimeout(max(deadline.remaining(), 0.001))  # 0 would mean: do not wait at all
        sock.connect((str(address), port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        host, port, *_ = sock.getpeername()
    except BaseException:
        sock.close()
        raise
    return sock, (ip_address(host), port)


def _socket_for(address: IPAddress) -> socket.socket:
    return socket.socket(socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6, socket.SOCK_STREAM)


def _fault(error: OSError) -> Fault:
    if isinstance(error, ConnectionError) or error.errno == errno.ENOTCONN:  # refused, or accepted and reset at once
        return Fault.REFUSED
    return Fault.TIMEOUT if isinstance(error, TimeoutError) else Fault.UNREACHABLE
