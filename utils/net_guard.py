"""Which addresses a mail server may have; the resolver's answer is judged, not the name."""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

# The services of clouds that hand credentials to whoever asks, outside the link-local ranges.
_METADATA: Final = frozenset(
    {
        IPv4Address("100.100.100.200"),  # Alibaba
        IPv4Address("168.63.129.16"),  # Azure
        IPv4Address("192.0.0.192"),  # Oracle
        IPv6Address("fd00:ec2::254"),  # Amazon
        IPv6Address("fd20:ce::254"),  # Google
        IPv6Address("fd00:42::42"),  # Scaleway
    }
)
_THIS_NETWORK: Final = IPv4Network("0.0.0.0/8")  # RFC 1122 3.2.1.3; Linux takes it for this host
_BROADCAST: Final = IPv4Address("255.255.255.255")
_NAT64: Final = IPv6Network("64:ff9b::/96")  # RFC 6052
_NAT64_LOCAL: Final = IPv6Network("64:ff9b:1::/48")  # RFC 8215
_V4_COMPATIBLE: Final = IPv6Network("::/96")  # RFC 4291 2.5.5.1
_ISATAP: Final = (0x00005EFE, 0x02005EFE)  # RFC 5214 6.1, the upper half of the interface part
# What IANA's registries of special-purpose addresses call public, or Python 3.11 does, and where no mail server is.
_NOT_PUBLIC: Final = tuple(
    IPv4Network(network)
    for network in (
        "192.0.0.0/24",  # RFC 6890; some of it is anycast
        "192.31.196.0/24",  # RFC 7535, AS112
        "192.52.193.0/24",  # RFC 7450, AMT
        "192.88.99.0/24",  # RFC 7526, relays of 6to4
        "192.175.48.0/24",  # RFC 7534, AS112
        "240.0.0.0/4",  # RFC 1112 4
    )
)
_UNICAST: Final = IPv6Network("2000::/3")  # RFC 4291 2.4: all else is of other kinds
_NOT_PUBLIC_6: Final = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # RFC 2928: protocols, with Teredo and ORCHID
        "2001:db8::/32",  # RFC 3849
        "2620:4f:8000::/48",  # RFC 7534, AS112
        "3fff::/20",  # RFC 9637
    )
)
_LOW_32: Final = 0xFFFFFFFF
_SMALLEST_EMBEDDED: Final = 2  # ::0 and ::1 are addresses of their own


def refusal(address: IPAddress) -> str | None:
    """Say why ``address`` is never connected to, or None if it may be.

    Loopback and private addresses are fine: a relay beside the application is the commonest set-up.
    An IPv6 address that carries an IPv4 one (mapped, 6to4, Teredo, NAT64, ...) is judged as both.
    """
    for reading in _readings(address):
        if reason := _plain_refusal(reading):
            return reason
    return None


def is_public(address: IPAddress, besides: Iterable[IPNetwork] = ()) -> bool:
    """Whether it is one host's on the public Internet or within ``besides``, in every reading: also as each IPv4
    address that it carries.

    A translator's address (RFC 6052) is, if it is one of a public host: a network without IPv4 has no other of it.
    """
    return all(_is_public(reading) or is_within(reading, besides) for reading in _readings(address))


def is_within(address: IPAddress, networks: Iterable[IPNetwork]) -> bool:
    return any(address in network for network in networks)


def _readings(address: IPAddress) -> list[IPAddress]:
    """The address as what it is on the wire, without a zone, and each IPv4 address that it may come to."""
    if isinstance(address, IPv4Address):
        return [address]
    plain = IPv6Address(int(address))
    return [plain.ipv4_mapped] if plain.ipv4_mapped else [plain, *_embedded(plain)]


def is_loopback(address: IPAddress) -> bool:
    """Whether what is sent to ``address`` cannot leave this machine."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def _is_public(address: IPAddress) -> bool:
    if isinstance(address, IPv4Address):
        return address.is_global and not (address.is_multicast or is_within(address, _NOT_PUBLIC))
    return address in _NAT64 or (address in _UNICAST and address.is_global and not is_within(address, _NOT_PUBLIC_6))


def _plain_refusal(address: IPAddress) -> str | None:
    if address in _METADATA or address == IPv4Address("169.254.169.254"):
        return "a cloud's metadata service"
    if address.is_link_local:
        return "a link-local address"
    if address.is_multicast or address == _BROADCAST:
        return "a multicast address"
    if address.is_unspecified or address in _THIS_NETWORK:
        return "an unspecified address"
    return None


def _embedded(address: IPv6Address) -> Iterator[IPv4Address]:
    if address.sixtofour:
        yield address.sixtofour
    if address.teredo:
        yield from address.teredo
    number = int(address)
    low = IPv4Address(number & _LOW_32)
    if address in _NAT64 or number >> 32 & _LOW_32 in _ISATAP:
        yield low
    if address in _V4_COMPATIBLE and number >= _SMALLEST_EMBEDDED:
        yield low
    if address in _NAT64_LOCAL:
        # The network chooses its prefix length: RFC 6052 2.2 puts the four octets at the end (96 bits)
        # or around the octet 64 to 71 (48 bits). The reading that does not apply begins with zeros.
        around = IPv4Address((number >> 64 & 0xFFFF) << 16 | number >> 40 & 0xFFFF)
        yield from (reading for reading in (low, around) if reading not in _THIS_NETWORK)
