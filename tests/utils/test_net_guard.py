"""Which addresses are never connected to, in every spelling that an IPv6 address has for an IPv4 one."""

from ipaddress import ip_address

import pytest

from utils.net_guard import is_loopback, is_public, refusal

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

# What Python 3.11 calls global is among them, and what carries an address that is not public.
NOT_PUBLIC = """
    127.0.0.1 127.8.8.8 ::1 10.0.0.25 10.255.255.255 172.16.1.1 172.31.255.255 192.168.1.25 100.64.0.1 100.127.255.255
    192.0.0.9 192.0.0.10 192.0.2.1 198.51.100.1 203.0.113.5 198.18.0.1 198.19.255.255 192.88.99.1 192.31.196.1
    192.52.193.1 192.175.48.1 224.0.0.1 239.1.1.1 240.0.0.1 255.255.255.255 0.0.0.0 0.1.2.3 169.254.169.254
    :: ff02::1 ff0e::1 fe80::1 febf::1 fe80::1%eth0 fec0::1 feff::1 fc00::1 fd12::25 fd12::25%eth0 100::1 100:0:0:1::1
    2001::1 2001:2::1 2001:10::1 2001:20::1 2001:1ff::1 2001:db8::1 3fff::1 5f00::1 4000::1 8000::1 1::1
    ::127.0.0.1 ::10.0.0.1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:0:127.0.0.1 ::ffff:0:8.8.8.8
    64:ff9b::7f00:1 64:ff9b::a00:1 64:ff9b::c0a8:101 64:ff9b:1::7f00:1 64:ff9b:1::808:808 64:ff9b:1:808:8:800::
    2002:7f00:1:: 2002:a00:1:: 2002:a9fe:a9fe:: 2002:c058:6301:: 2001:0:4136:e378:8000:63bf:3fff:fdd2
    2606:4700::5efe:7f00:1 2606:4700::200:5efe:a00:1 2620:4f:8000::1
""".split()
PUBLIC = """
    8.8.8.8 1.1.1.1 172.15.255.255 172.32.0.1 192.167.255.255 192.169.0.1 100.63.255.255 100.128.0.1 198.17.255.255
    11.0.0.1 9.255.255.255 126.255.255.255 128.0.0.1 223.255.255.255 ::ffff:8.8.8.8 2606:4700::1 2a00:1450:4001::1
    2001:200::1 2001:4860:4860::8888 64:ff9b::808:808 2002:808:808:: 2606:4700::5efe:808:808 2606:4700::1%eth0
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


@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_this_address_is_not_public_in_every_reading(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_this_address_is_public(text: str) -> None:
    assert is_public(ip_address(text))


@pytest.mark.parametrize("text", ["fd00:ec2::254%eth0", "fd20:ce::254%1"])
def test_a_zone_hides_no_metadata_service(text: str) -> None:
    assert refusal(ip_address(text)) == "a cloud's metadata service"
