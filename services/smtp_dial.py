"""From a host name to a connected socket: look up once, judge every address, connect to a judged one."""

import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_address
from itertools import chain, zip_longest
from queue import Empty, SimpleQueue
from typing import Final

from services.smtp_wire import Deadline, WireError
from utils import net_guard
from utils.errors import Fault
from utils.net_guard import IPAddress

_MOST_LOOK_UPS = 16
_look_ups = threading.BoundedSemaphore(_MOST_LOOK_UPS)

_NO_SUCH_NAME: Final = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
# With several addresses the first of these that occurred says most about the host.
_TELLING: Final = (Fault.REFUSED, Fault.TIMEOUT, Fault.UNREACHABLE)
_WORDS: Final = {
    Fault.REFUSED: "refused",
    Fault.TIMEOUT: "no answer",
    Fault.UNREACHABLE: "unreachable",
}

_Answer = list[str] | OSError | UnicodeError


@dataclass
class Attempts:
    """What became of each address, in the order tried."""

    faults: dict[IPAddress, Fault | None] = field(default_factory=dict)

    @property
    def last(self) -> IPAddress:
        """The address tried last: the connected one, if any is."""
        return next(reversed(self.faults))

    def __str__(self) -> str:
        return ", ".join(
            f"{address} {_WORDS[fault] if fault else 'connected'}" for address, fault in self.faults.items()
        )


def look_up(host: str, deadline: Deadline) -> tuple[IPAddress, ...]:
    """Find the addresses of a DNS name or IP literal, IPv6 and IPv4 in turn, the preferred kind first.

    Raises WireError: DNS_NOT_FOUND, DNS_FAILED (also if the resolver is slower than the deadline), or
    ADDRESS_REFUSED if any of the addresses is one that is never connected to.
    """
    try:
        addresses: Sequence[IPAddress] = [ip_address(host)]
    except ValueError:
        addresses = _interleaved(_resolve(host, deadline))
    for address in addresses:
        if reason := net_guard.refusal(address):
            raise WireError(Fault.ADDRESS_REFUSED, f"{address} is {reason}; no mail server is there.")
    return tuple(addresses)


def dial(
    addresses: Sequence[IPAddress], port: int, seconds: float, deadline: Deadline
) -> tuple[socket.socket, Attempts]:
    """Connect to the first address that answers, each given ``seconds`` and none beyond the deadline.

    Raises WireError (REFUSED, TIMEOUT or UNREACHABLE) with a text that names every address tried.
    """
    attempts = Attempts()
    for address in addresses:
        if deadline.remaining() <= 0:
            attempts.faults[address] = Fault.TIMEOUT
            break
        try:
            sock = _connect(address, port, deadline.sooner(seconds))
        except OSError as error:
            attempts.faults[address] = _fault(error)
        else:
            attempts.faults[address] = None
            return sock, attempts
    worst = next(fault for fault in _TELLING if fault in attempts.faults.values())
    raise WireError(worst, f"Port {port}: {attempts}.")


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


def _connect(address: IPAddress, port: int, deadline: Deadline) -> socket.socket:
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(max(deadline.remaining(), 0.001))  # 0 would mean: do not wait at all
        sock.connect((str(address), port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


def _fault(error: OSError) -> Fault:
    if isinstance(error, ConnectionError):  # refused, or accepted and reset at once
        return Fault.REFUSED
    return Fault.TIMEOUT if isinstance(error, TimeoutError) else Fault.UNREACHABLE
