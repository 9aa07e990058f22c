"""Which addresses are never connected to, in every spelling that an IPv6 address has for an IPv4 one."""

from ipaddress import ip_address

import pytest

from utils.net_guard import is_loopback, refusal

FORBIDDEN = """
    169.254.169.254 169.254.0.1 169.254.170.2 100.100.100.200 168.63.129.16 192.0.0.192
    fd00:ec2::254 fd20:ce::254 fd00:42::42 fe80::1 fe80::1%eth0 febf::1
    224.0.0.1 239.1.1.1 255.255.255.255 ff02::1 ff0e::1
    0.0.0.0 0.0.0.1 ::
    ::ffff:169.254.169.254 ::ffff:224.0.0.1 ::ffff:0.0.0.0 ::169.254.169.254
    2002:a9fe:a9fe:: 2002:e000:1:: 2001:0:a9fe:a9fe:0:0:0:1 2001:0:808:808:0:0:5601:5601
    64:ff9b::a9fe:a9fe 64:ff9b:1::a9fe:a9fe 64:ff9b:1:a9fe:a9:fe00:: fd12::5efe:a9fe:a9fe
""".split()
ALLOWED = """
    127.0.0.1 127.8.8.8 ::1 10.0.0.25 172.16.1.1 192.168.1.25 100.64.0.1 8.8.8.8 203.0.113.5
    fd12::25 fec0::1 2606:4700::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 64:ff9b::808:808 64:ff9b:1::808:808
    64:ff9b:1:808:8:800:: 2002:808:808::
""".split()


@pytest.mark.parametrize("text", FORBIDDEN)
def test_this_address_is_never_connected_to(text: str) -> None:
    assert refusal(ip_address(text))


@pytest.mark.parametrize("text", ALLOWED)
def test_an_administrator_may_use_this_address(text: str) -> None:
    assert refusal(ip_address(text)) is None


@pytest.mark.parametrize("text", ["127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1"])
def test_what_stays_on_this_machine_is_loopback(text: str) -> None:
    assert is_loopback(ip_address(text))


@pytest.mark.parametrize("text", ["10.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1", "::127.0.0.1", "8.8.8.8"])
def test_what_could_leave_this_machine_is_not_loopback(text: str) -> None:
    assert not is_loopback(ip_address(text))
