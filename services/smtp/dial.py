"""From a host name to a connected socket: look up once, judge every address, connect to the judged one that answers."""

import errno
import os
import select
import socket
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing, suppress
from ipaddress import IPv4Address, ip_address
from itertools import chain, zip_longest
from typing import Final, NamedTuple

import structlog

from services.smtp import dns
from services.smtp.wire import Deadline, WireError
from utils import allowed_places, incidents
from utils.addresses import is_loopback
from utils.allowed_places import EVERYWHERE, NOT_FOR_ACCOUNTS, AllowedPlaces
from utils.errors import Fault
from utils.net_guard import IPAddress

log = structlog.get_logger(__name__)

HEAD_START: Final = 0.25  # seconds before the next address is tried beside those under way (RFC 8305 5)
_MOST_LOOK_UPS = 16
_look_ups = threading.BoundedSemaphore(_MOST_LOOK_UPS)

_NO_SUCH_NAME: Final = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
# With several addresses the first of these that occurred says most about the host.
WORDS: Final = {
    Fault.REFUSED: "refused the connection",
    Fault.TIMEOUT: "did not respond",
    Fault.UNREACHABLE: "could not be reached",
}

Peer = tuple[IPAddress, int]  # address and port that a connection really has at its other end
Connected = tuple[socket.socket, Peer]


class _Attempt(NamedTuple):
    """A connection under way; not a moment after ``end``."""

    address: IPAddress
    sock: socket.socket
    end: Deadline


def look_up(
    host: str, deadline: Deadline, resolver: str = "", allowed: AllowedPlaces = EVERYWHERE
) -> tuple[list[IPAddress], dict[IPAddress, str]]:
    """Find the addresses of a DNS name or IP literal, IPv6 and IPv4 in turn, the preferred kind first.

    ``resolver`` (host or host:port) is asked for names with a dot in them; "" is the system's. Addresses that are
    never connected to come second, each with the reason. Raises WireError: DNS_NOT_FOUND, DNS_FAILED (also if the
    resolver is slower than the deadline), or ADDRESS_REFUSED if all are such. Where what is allowed is discreet, that
    is raised if any is such, and for a name without addresses: a resolver of ours may know names of our network.
    """
    try:
        addresses: Sequence[IPAddress] = [ip_address(host)]
    except ValueError:
        asks_dns = resolver and "." in host.rstrip(".") and not is_loopback(host)
        found = _ask_dns(host, deadline, resolver) if asks_dns else _resolve(host, deadline)
        if not found and not allowed.is_discreet:
            raise WireError(Fault.DNS_NOT_FOUND, f"No server has the name {host}.") from None
        addresses = _interleaved(list(dict.fromkeys(found)))
    left_out = {address: reason for address in addresses if (reason := allowed.refusal(address))}
    judged = [address for address in addresses if address not in left_out]
    if allowed.is_discreet and (left_out or not judged):
        why = {str(address): reason for address, reason in left_out.items()}
        log.warning("smtp_place_refused", host=host, addresses=why or "none")  # for the administrator who is asked
        raise WireError(Fault.ADDRESS_REFUSED, NOT_FOR_ACCOUNTS)
    if not judged:
        address, reason = next(iter(left_out.items()))
        raise WireError(Fault.ADDRESS_REFUSED, allowed_places.words(address, reason))
    return judged, left_out


def dial(
    addresses: list[IPAddress],
    port: int,
    seconds: float,
    deadline: Deadline,
    missed: Callable[[IPAddress, Fault], None],
    *,
    seen: dict[IPAddress, Fault | None] | None = None,
) -> Connected:
    """Connect to the address that answers first; each has ``seconds`` and none goes beyond the deadline.

    They begin in their order, each a moment after the one before or when that has failed, so that a dead one costs
    no more than that moment (RFC 8305 5). ``addresses`` is left with those of which nothing is known; ``missed`` hears
    of each that failed while another was to be tried, and ``seen`` gets all of which something is known. Raises
    WireError (REFUSED, TIMEOUT or UNREACHABLE) with a text that names every address tried.
    """
    faults: dict[IPAddress, Fault] = {}
    with closing(_attempts(addresses, port, seconds, deadline, HEAD_START)) as attempts:
        for address, result in attempts:
            addresses.remove(address)
            if seen is not None:
                seen[address] = result if isinstance(result, Fault) else None
            if not isinstance(result, Fault):
                return result
            faults[address] = result
            if addresses and deadline.remaining() > 0:
                missed(address, result)
    worst = next((fault for fault in WORDS if fault in faults.values()), Fault.TIMEOUT)
    tried = ", ".join(f"{address} {WORDS[fault]}" for address, fault in faults.items()) or "the time is up"
    raise WireError(worst, f"Port {port}: {tried}.")


def knock(addresses: Sequence[IPAddress], port: int, deadline: Deadline) -> Iterator[tuple[IPAddress, Fault | None]]:
    """Connect to all of the addresses at once and hang up: each with its fault, or None, as soon as that is known."""
    with closing(_attempts(addresses, port, deadline.remaining(), deadline, 0)) as attempts:
        for address, result in attempts:
            if isinstance(result, Fault):
                yield address, result
            else:
                result[0].close()
                yield address, None


def _ask_dns(host: str, deadline: Deadline, resolver: str) -> list[IPAddress]:
    try:
        # Half of the time: where only one kind of address is answered for, the rest is for connecting to it.
        return dns.addresses(host, deadline.seconds() / 2, resolver)
    except dns.LookupFailed as error:
        raise WireError(Fault.DNS_FAILED, error.text) from None


def _resolve(host: str, deadline: Deadline) -> list[IPAddress]:
    answer: Future[list[IPAddress]] = Future()

    def ask() -> None:
        try:
            # As octets: the resolver gets the name as it stands, without another round of IDNA.
            found = socket.getaddrinfo(host.encode("ascii"), None, type=socket.SOCK_STREAM)
            answer.set_result([ip_address(str(sockaddr[0])) for *_, sockaddr in found])
        except (OSError, UnicodeError) as error:
            failed = isinstance(error, socket.gaierror) and error.errno not in _NO_SUCH_NAME
            if failed:
                answer.set_exception(WireError(Fault.DNS_FAILED, f"The DNS server failed to look up {host}."))
            else:
                answer.set_result([])
        finally:
            _look_ups.release()

    # getaddrinfo knows no timeout. A daemon thread is left behind when it is slow, but never more than a few.
    if not _look_ups.acquire(timeout=max(0, deadline.remaining())):
        raise WireError(Fault.DNS_FAILED, "Too many lookups are waiting for the DNS server.")
    try:
        threading.Thread(target=incidents.watched(ask), name="smtp-look-up", daemon=True).start()
    except RuntimeError:
        _look_ups.release()
        raise
    try:
        return answer.result(timeout=max(0, deadline.remaining()))
    except TimeoutError:
        raise WireError(Fault.DNS_FAILED, f"The DNS server did not respond for {host}.") from None


def _interleaved(addresses: list[IPAddress]) -> list[IPAddress]:
    first = type(addresses[0]) if addresses else IPv4Address
    preferred = [address for address in addresses if isinstance(address, first)]
    others = [address for address in addresses if not isinstance(address, first)]
    return [address for address in chain(*zip_longest(preferred, others)) if address is not None]


def _attempts(
    addresses: Sequence[IPAddress], port: int, seconds: float, deadline: Deadline, delay: float
) -> Generator[tuple[IPAddress, Connected | Fault]]:
    """Begin to connect to one address after the other, ``delay`` seconds apart or as soon as one has failed.

    Gives what became of each as soon as that is known; whoever hears of a connection owns it. Ends with the deadline,
    or when it is closed; what is under way then is given up.
    """
    waiting, begun = deque(addresses), list[_Attempt]()
    next_turn = Deadline(0)
    try:
        while (waiting or begun) and deadline.remaining() > 0:
            if waiting and (not begun or next_turn.remaining() <= 0):
                address, next_turn = waiting.popleft(), Deadline(delay)
                attempt = _begin(address, port, deadline.sooner(seconds))
                if isinstance(attempt, _Attempt):
                    begun.append(attempt)
                else:
                    next_turn = Deadline(0)
                    yield address, attempt
            for attempt in _over(begun, next_turn if waiting else deadline):
                begun.remove(attempt)
                result = _result(attempt)
                if isinstance(result, Fault):
                    next_turn = Deadline(0)
                yield attempt.address, result
        for attempt in begun:
            yield attempt.address, Fault.TIMEOUT
    finally:
        for attempt in begun:
            attempt.sock.close()


def _begin(address: IPAddress, port: int, end: Deadline) -> _Attempt | Fault:
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    try:
        with ExitStack() as given_up:
            sock = socket.socket(family, socket.SOCK_STREAM)  # a machine may know no IPv6
            given_up.callback(sock.close)
            sock.setblocking(False)
            with suppress(BlockingIOError):  # it is under way
                sock.connect((str(address), port))
            given_up.pop_all()
    except OSError as error:
        return _fault(error)
    return _Attempt(address, sock, end)


def _over(begun: Sequence[_Attempt], until: Deadline) -> list[_Attempt]:
    """Wait until the first of these are decided or out of time, or until that moment; give those that are."""
    poll = select.poll()
    for attempt in begun:
        poll.register(attempt.sock, select.POLLOUT)
    seconds = min(end.remaining() for end in (until, *(attempt.end for attempt in begun)))
    ready = {descriptor for descriptor, _ in poll.poll(max(0, seconds) * 1000)} if begun else set()
    return [attempt for attempt in begun if attempt.sock.fileno() in ready or attempt.end.remaining() <= 0]


def _result(attempt: _Attempt) -> Connected | Fault:
    """The connection, or why there is none: then its socket is closed."""
    sock = attempt.sock
    try:
        if number := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(number, os.strerror(number))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        host, port, *_ = sock.getpeername()
    except OSError as error:
        sock.close()
        return Fault.TIMEOUT if attempt.end.remaining() <= 0 else _fault(error)
    return sock, (ip_address(host), port)


def _fault(error: OSError) -> Fault:
    if isinstance(error, ConnectionError) or error.errno == errno.ENOTCONN:  # refused, or accepted and reset at once
        return Fault.REFUSED
    return Fault.TIMEOUT if isinstance(error, TimeoutError) else Fault.UNREACHABLE
