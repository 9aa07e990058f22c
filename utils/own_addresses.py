"""The addresses of this machine that a browser elsewhere could open."""

import fcntl
import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Final

_ASK_ADDRESS: Final = 0x8915  # SIOCGIFADDR of netdevice(7)
_IPV6: Final = Path("/proc/net/if_inet6")
_GLOBAL: Final = "00"  # its scope of an address that is no link's own
_FAR: Final = (("192.0.2.1", socket.AF_INET), ("2001:db8::1", socket.AF_INET6))  # for examples: nobody has them


def reachable(host: str) -> list[str]:
    """The addresses by which ``HOST=0.0.0.0`` or ``::`` can be opened: those of the network first, loopback last."""
    found = [*_ipv4(), *(_ipv6() if ":" in host else [])] or list(_of_routes(with_ipv6=":" in host))
    return [*dict.fromkeys(each for each in found if not ip_address(each).is_loopback), "127.0.0.1"]


def _ipv4() -> Iterator[str]:
    """Each interface's address (Linux)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(asking.fileno(), _ASK_ADDRESS, struct.pack("256s", name.encode()[:15]))
            except OSError:
                continue  # it has none, or this system asks otherwise
            yield socket.inet_ntoa(answer[20:24])


def _ipv6() -> Iterator[str]:
    try:
        lines = _IPV6.read_text().splitlines()
    except OSError:
        return
    for digits, _, _, scope, *_ in map(str.split, lines):
        if scope == _GLOBAL:
            yield str(ip_address(bytes.fromhex(digits)))


def _of_routes(*, with_ipv6: bool) -> Iterator[str]:
    """The address that a datagram to far away would carry; none is sent."""
    for far, family in _FAR[: 1 + with_ipv6]:
        with socket.socket(family, socket.SOCK_DGRAM) as asking:
            try:
                asking.connect((far, 9))
            except OSError:
                continue
            yield asking.getsockname()[0]
