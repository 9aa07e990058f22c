"""To where mail may be sent at all: what ``SMTP_ALLOWED_CIDRS`` and ``SMTP_ALLOWED_PORTS`` say, for everybody.

Whoever is no administrator may use less: public servers, at the ports of mail.
"""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import ClassVar, Final

from utils import net_guard
from utils.addresses import HIGHEST_PORT, ip_literal
from utils.env_reader import ConfigurationError, Reader
from utils.net_guard import IPAddress, IPNetwork
from utils.numbers import whole_number

CIDRS: Final = "SMTP_ALLOWED_CIDRS"
PORTS: Final = "SMTP_ALLOWED_PORTS"
CIDRS_OF_ACCOUNTS: Final = "SMTP_ALLOWED_CIDRS_ACCOUNTS"
PORTS_OF_ACCOUNTS: Final = (25, 465, 587, 2525)
# For all that is refused to an account, so that nobody finds out by it what there is in our network.
NOT_FOR_ACCOUNTS: Final = "This server cannot be used. Check its name, or ask an administrator."
_NOT_PUBLIC: Final = "no public address"
_OUTSIDE: Final = f"outside {CIDRS}"
_MAPPED: Final = IPv6Network("::ffff:0:0/96")  # RFC 4291 2.5.5.2


@dataclass(frozen=True)
class AllowedPlaces:
    """Networks, and ports from one to another; where none are named, all that ``net_guard`` lets through.

    ``is_discreet``: nobody may find out by a refusal what is refused.
    """

    networks: tuple[IPNetwork, ...] = ()
    ports: tuple[tuple[int, int], ...] = ()
    is_discreet: ClassVar[bool] = False

    def refusal(self, address: IPAddress) -> str | None:
        """Say why ``address`` is not connected to, or None if it may be."""
        if reason := net_guard.refusal(address):
            return reason
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        is_outside = self.networks and not net_guard.is_within(mapped or address, self.networks)
        return _OUTSIDE if is_outside else None

    def refusal_of_port(self, port: int) -> str:
        """The same of a port, in a sentence; "" if it may be connected to."""
        is_outside = self.ports and not any(first <= port <= last for first, last in self.ports)
        return f"Port {port} is not among {PORTS}." if is_outside else ""

    def refusal_of_host(self, host: str) -> str:
        """The same of an address that was entered as one; a name is judged by where it leads, when it is used."""
        address = ip_literal(host)
        if address is None or self.refusal(address) != _OUTSIDE:
            return ""  # what is never connected to is told by the test of it
        return words(address, _OUTSIDE)


@dataclass(frozen=True)
class PlacesForAccounts(AllowedPlaces):
    """Of these the public ones, and those within ``own_networks``; the ports are few, whatever ``ports`` allow.

    A name has to lead to nothing else (a server could answer with one of each, and choose later which is used), and one
    that leads nowhere is refused like one that leads into our network: a name server of ours may know inner names.
    """

    own_networks: tuple[IPNetwork, ...] = ()
    is_discreet: ClassVar[bool] = True

    def refusal(self, address: IPAddress) -> str | None:
        """The same, if each reading of the address is such."""
        if reason := super().refusal(address):
            return reason
        return None if net_guard.is_public(address, self.own_networks) else _NOT_PUBLIC

    def refusal_of_port(self, port: int) -> str:
        """A rule for everybody, which tells nothing of what there is."""
        if port in PORTS_OF_ACCOUNTS:
            return super().refusal_of_port(port) and f"Port {port} cannot be used. Ask an administrator."
        *others, last = map(str, PORTS_OF_ACCOUNTS)
        return f"Use port {', '.join(others)} or {last}."

    def refusal_of_host(self, host: str) -> str:
        """Every refusal of an address is told at once, and alike."""
        address = ip_literal(host)
        return NOT_FOR_ACCOUNTS if address is not None and self.refusal(address) else ""


EVERYWHERE: Final = AllowedPlaces()


def words(address: IPAddress, reason: str) -> str:
    """Why there is no connection to an address, in a sentence."""
    return (
        f"{address} is {reason}; "
        f"{'Sealpost does not connect to it' if reason == _OUTSIDE else 'no mail server can be there'}."
    )


def named_by(env: Reader) -> AllowedPlaces:
    """What the variables say. Raises ConfigurationError."""
    return AllowedPlaces(_networks(env, CIDRS), tuple(_ports(text) for text in _listed(env, PORTS, _bad_ports())))


def for_accounts(env: Reader) -> PlacesForAccounts:
    """What they say for servers of those who are no administrators. Raises ConfigurationError."""
    for_all = named_by(env)
    return PlacesForAccounts(for_all.networks, for_all.ports, _networks(env, CIDRS_OF_ACCOUNTS))


def networks_named(env: Reader, name: str) -> tuple[IPNetwork, ...]:
    """The networks of a variable that is a list of them, or of addresses. Raises ConfigurationError."""
    return _networks(env, name)


def _networks(env: Reader, name: str) -> tuple[IPNetwork, ...]:
    return tuple(_network(text, name) for text in _listed(env, name, _bad_cidrs(name)))


def _listed(env: Reader, name: str, fault: ConfigurationError) -> list[str]:
    """The parts of a list. One that says nothing between its commas would allow everything, and says so to nobody."""
    text = env.text(name)
    parts = [part.strip() for part in text.split(",")] if text else []
    if not all(parts):
        raise fault
    return parts


def _network(text: str, name: str) -> IPNetwork:
    try:
        network = ip_network(text.replace("%", " "))  # an interface's name says nothing of a network
    except ValueError:
        raise _bad_cidrs(name) from None
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        return IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - _MAPPED.prefixlen))
    return network


def _ports(text: str) -> tuple[int, int]:
    first, dash, last = (part.strip() for part in text.partition("-"))
    numbers = [whole_number(part, 1, HIGHEST_PORT) for part in (first, last if dash else first)]
    low, high = numbers
    if low is None or high is None or low > high:
        raise _bad_ports()
    return low, high


def _bad_cidrs(name: str) -> ConfigurationError:
    return ConfigurationError(
        f"{name} must be networks like 192.0.2.0/24 or 2001:db8::/32, each by its first address, with commas between. "
        "Correct it, or leave it empty."
    )


def _bad_ports() -> ConfigurationError:
    return ConfigurationError(
        f"{PORTS} must be ports from 1 to {HIGHEST_PORT} like 465,587,2500-2599, with commas between. Correct it, or "
        "leave it empty."
    )
