"""Questions to the DNS: mail servers, texts, addresses; bounded in time, and a failure is never taken for "no"."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import ip_address
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, cast

from utils import late
from utils.addresses import ip_literal, parse_name_server
from utils.log_utils import printable
from utils.net_guard import IPAddress

SECONDS: Final = 3.0  # for one question, whatever the name server does
LONGEST_TEXT: Final = 4096  # characters of one TXT record that are read
_PAYLOAD: Final = 1232  # octets of UDP that cross every network unfragmented (DNS Flag Day 2020)
_ONE_TRY: Final = 1.0  # seconds; a lost datagram is asked for again

if TYPE_CHECKING:
    import dns.name
    import dns.rdata
    import dns.resolver
    from dns.rdtypes.ANY.MX import MX
    from dns.rdtypes.ANY.TXT import TXT
    from dns.rdtypes.IN.SRV import SRV

_Found = TypeVar("_Found")


class Service(NamedTuple):
    """Where a domain says that one of its services is; "." as the host: it does not offer it (RFC 2782)."""

    host: str
    port: int


class LookupFailed(Exception):
    """The DNS gave no usable answer, so nothing is known; ``text`` says in one sentence what happened."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def mx(domain: str, seconds: float = SECONDS, resolver: str = "") -> list[str]:
    """The mail servers of a domain (RFC 5321 5.1), the preferred first, in lower case, without the last dot.

    A domain that says it takes no mail (RFC 7505, "null MX") gives ``["."]``; one without MX records, or that
    does not exist, ``[]``. ``resolver`` is as ``DNS_RESOLVER``: an IP address, with or without a port; empty
    stands for the system's. Raises LookupFailed, at the latest after ``seconds``; so do the others here.
    """
    records = (cast("MX", record) for record in _ask(domain, "MX", seconds, resolver))
    return [host for _, host in sorted((record.preference, _text(record.exchange)) for record in records)]


def srv(name: str, seconds: float = SECONDS, resolver: str = "") -> list[Service]:
    """The servers of a service (RFC 2782), the preferred first: by priority, then by weight.

    Whoever asks keeps one server for good, so that there is nothing to share out between those of a priority.
    """
    records = (cast("SRV", record) for record in _ask(name, "SRV", seconds, resolver))
    ranked = sorted((record.priority, -record.weight, _text(record.target), record.port) for record in records)
    return [Service(host, port) for _, _, host, port in ranked]


def txt(name: str, seconds: float = SECONDS, resolver: str = "") -> list[str]:
    """The TXT records of a name, sorted, each with its strings joined (RFC 7208 3.3), free of control characters."""
    records = (cast("TXT", record) for record in _ask(name, "TXT", seconds, resolver))
    return sorted(printable(b"".join(record.strings).decode("utf-8", "replace"), LONGEST_TEXT) for record in records)


def addresses(host: str, seconds: float = SECONDS, resolver: str = "") -> list[IPAddress]:
    """The IPv6 and then the IPv4 addresses of a host, asked for at once; aliases are followed.

    An IP address is its own. They are as the DNS gives them: whoever connects asks ``utils.net_guard`` first.
    Raises LookupFailed only if one of the two answers is missing and the other is empty.
    """
    literal = ip_literal(host)
    if literal:
        return [literal]
    found: list[IPAddress] = []
    failed: LookupFailed | None = None
    with ThreadPoolExecutor(2, "dns") as pool:
        asked = [pool.submit(_ask, host, kind, seconds, resolver) for kind in ("AAAA", "A")]
    for answer in asked:
        try:
            found += [ip_address(record.to_text()) for record in answer.result()]
        except LookupFailed as error:
            failed = error
    if failed and not found:
        raise failed
    return found


def exists(name: str, seconds: float = SECONDS, resolver: str = "") -> bool:
    """Whether the DNS knows the name at all, with whatever records (not NXDOMAIN, RFC 8020)."""
    return _answer(name, "MX", seconds, resolver) is not None


def _ask(name: str, kind: str, seconds: float, resolver: str) -> "Iterator[dns.rdata.Rdata]":
    answer = _answer(name, kind, seconds, resolver)
    return iter(answer.rrset or ()) if answer else iter(())


def _answer(name: str, kind: str, seconds: float, resolver: str) -> "dns.resolver.Answer | None":
    """The answer, empty if the name has no such record; None if there is no such name."""
    dns = _dnspython()
    try:
        asked = dns.name.from_text(name, idna_codec=dns.name.IDNA_2008)
        resolve = partial(_resolver(resolver).resolve, search=False, raise_on_no_answer=False)
        return resolve(asked, kind, lifetime=seconds)
    except (dns.resolver.NXDOMAIN, dns.name.NameTooLong, dns.name.LabelTooLong, dns.name.EmptyLabel):
        return None
    except dns.exception.Timeout:
        raise LookupFailed(f"The DNS server gave no answer for {printable(name)} in {seconds:g} s.") from None
    except dns.resolver.NoResolverConfiguration:
        raise LookupFailed("This machine has no DNS server. Set DNS_RESOLVER to the address of one.") from None
    except dns.resolver.NoNameservers as error:
        raise LookupFailed(f"The DNS server could not answer for {printable(name)}: {_reason(error)}.") from None
    except (dns.exception.DNSException, OSError, UnicodeError):
        raise LookupFailed(f"The DNS server's answer for {printable(name)} cannot be read.") from None


def _resolver(address: str) -> "dns.resolver.Resolver":
    made: dns.resolver.Resolver = _dnspython().resolver.Resolver(configure=not address)
    if address:
        host, port = parse_name_server(address)
        made.nameservers = [host]
        made.port = port
    made.timeout = _ONE_TRY
    made.use_edns(0, payload=_PAYLOAD)
    return made


def _reason(error: "dns.resolver.NoNameservers") -> str:
    """What the last server asked said: a response code like SERVFAIL, or that it could not be reached."""
    *_, (_, _, _, _, response) = error.kwargs["errors"] or [(None, None, None, None, None)]
    return _dnspython().rcode.to_text(response.rcode()) if response else "it cannot be reached"


def _dnspython() -> Any:  # noqa: ANN401 - a package, with all parts that are asked for here
    late.load("dns.resolver")
    return late.load("dns")


def _text(name: "dns.name.Name") -> str:
    return printable(name.to_text().lower().rstrip("."), 255) or "."


class Questions:
    """Many questions under one deadline, each asked once; for one check, never kept longer.

    ``seconds`` is for all of them together. Every method raises LookupFailed like the function of its name.
    """

    def __init__(self, seconds: float, resolver: str = "") -> None:
        self._end = monotonic() + seconds
        self._resolver = resolver
        self._known: dict[tuple[object, str], Any] = {}

    def mx(self, domain: str) -> list[str]:
        return self._once(mx, domain)

    def txt(self, name: str) -> list[str]:
        return self._once(txt, name)

    def addresses(self, host: str) -> list[IPAddress]:
        return self._once(addresses, host)

    def exists(self, name: str) -> bool:
        return self._once(exists, name)

    def _once(self, ask: Callable[[str, float, str], _Found], name: str) -> _Found:
        key = ask, name.lower()
        if key not in self._known:
            left = self._end - monotonic()
            if left <= 0:
                raise LookupFailed("The DNS server is too slow: the time for all questions is up.")
            self._known[key] = ask(name, min(SECONDS, left), self._resolver)
        found: _Found = self._known[key]
        return found
