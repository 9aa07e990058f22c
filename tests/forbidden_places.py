"""Sixty and more spellings of hosts that are not for accounts, and an ear that hears of every connection."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from tests.dns_server import Zone

ADDRESSES: Final = """
    127.0.0.1 127.0.0.2 127.1.2.3 127.255.255.254 10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1
    192.168.255.254 169.254.169.254 169.254.1.1 100.64.0.1 100.100.100.200 168.63.129.16 0.0.0.0 0.1.2.3
    255.255.255.255 224.0.0.1 239.1.1.1 240.0.0.1 192.0.0.1 192.0.0.192 192.0.2.1 198.18.0.1 198.51.100.1 203.0.113.1
    192.88.99.1 127.0.0.1. ::1 [::1] 0:0:0:0:0:0:0:1 :: ::ffff:127.0.0.1 [::ffff:7f00:1] ::127.0.0.1 ::ffff:10.0.0.1
    ::ffff:0:127.0.0.1 64:ff9b::7f00:1 64:ff9b::10.0.0.1 64:ff9b:1::7f00:1 2002:7f00:1:: 2001:0:7f00:1:: fe80::1 fec0::1
    fc00::1 fd12::25 fd00:ec2::254 fd20:ce::254 ff02::1 2001:db8::1 3fff::1 100::1 2606:4700::5efe:7f00:1
""".split()
# Not in this form: refused by the grammar of a host, whoever asks.
ODD_FORMS: Final = (
    *"2130706433 0x7f000001 017700000001 127.1 127.0.1 0177.0.0.1 0x7f.0.0.1 0x7f.1 0 0x0 1 127.0.0.1..".split(),
    *"127.0.0.256 fe80::1%eth0 fe80::1%25eth0 [::1%lo] [::1 ::1] 127.0.0.1:2525 [::1]:2525 user@127.0.0.1".split(),
    *"http://127.0.0.1/ smtp://127.0.0.1 127.0.0.1#a.example 127.0.0.1?a.example 127.0.0.1\\a.example".split(),
    "１２７.０.０.１",
    "①②⑦.⓪.⓪.①",
    "127。0。0。1",
    "ｌｏｃａｌｈｏｓｔ",
    " 127.0.0.1 8.8.8.8",
    "127.0.0.1,8.8.8.8",
    "127.0.0.1\r\n8.8.8.8",
    "127.0.0.1\x00.example",
)
ZONE: Final[Zone] = {
    ("loopback.test", "A"): ["127.0.0.1"],
    ("127.0.0.1.nip.test", "A"): ["127.0.0.1"],
    ("inner.test", "A"): ["10.0.0.1"],
    ("six.test", "AAAA"): ["::1"],
    ("ula.test", "AAAA"): ["fd12::25"],
    ("mixed.test", "A"): ["8.8.8.8", "127.0.0.1"],
    ("mixed6.test", "A"): ["8.8.8.8"],
    ("mixed6.test", "AAAA"): ["::1"],
    ("alias.test", "CNAME"): ["loopback.test."],
    ("mapped.test", "AAAA"): ["::ffff:127.0.0.1"],
    ("nat64.test", "AAAA"): ["64:ff9b::7f00:1"],
    ("sixtofour.test", "AAAA"): ["2002:7f00:1::"],
    ("metadata.test", "A"): ["169.254.169.254"],
    ("zero.test", "A"): ["0.0.0.0"],
    ("empty.test", "TXT"): ["nothing else"],
    ("xn--mnchen-3ya.test", "A"): ["127.0.0.1"],
    **{(f"_submission{s}._tcp.inner.test", "SRV"): ["0 0 587 inner.test."] for s in ("", "s")},
    ("_submissions._tcp.mixed.test", "SRV"): ["0 0 465 mixed.test."],
    ("autoconfig.loopback.test", "A"): ["127.0.0.1"],
}
NAMES: Final = (
    *"localhost LOCALHOST localhost. localhost.localdomain sub.localhost ip6-localhost localhost6".split(),
    *"intranet db redis host.docker.internal metadata.google.internal kubernetes.default.svc.cluster.local".split(),
    *"absent.test münchen.test LoopBack.Test.".split(),
    *dict.fromkeys(name for name, kind in ZONE if kind != "SRV"),
)
EVERY: Final = (*ADDRESSES, *NAMES)

_watched: list[tuple[str, int]] | None = None


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect" and _watched is not None and isinstance(arguments[1], tuple):
        _watched.append((str(arguments[1][0]), int(arguments[1][1])))


sys.addaudithook(_note)


@contextmanager
def watched(*, but: tuple[int, ...] = ()) -> Iterator[list[tuple[str, int]]]:
    """Every connection that this process begins within the block, but those to some ports, like that of a name server.

    Nothing has to listen for that, at ports that other tests expect to be closed.
    """
    global _watched  # noqa: PLW0603 - an audit hook stays for the life of the process
    seen: list[tuple[str, int]] = []
    _watched = seen
    try:
        yield seen
    finally:
        _watched = None
        seen[:] = [place for place in seen if place[1] not in but]
