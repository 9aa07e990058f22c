"""What a process that is a gateway, and nothing else, does to hold little memory."""

import ctypes
from asyncio import sslproto
from contextlib import suppress
from typing import Final

_MMAP_THRESHOLD: Final = -3  # mallopt(3)
_LARGE: Final = 1 << 20  # octets
_TLS_OCTETS: Final = 1 << 15  # two records of TLS (RFC 8446 5.1)


def hold_little() -> None:
    """Give what a large message took back to the system, and give each connection a small buffer. For all of its time.

    glibc would raise the bound from which it gives back with each large message; asyncio has 256 KiB ready for each
    connection over TLS, which is 50 MiB for 200 that are idle.
    """
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE)
    sslproto.SSLProtocol.max_size = _TLS_OCTETS
