"""What every server of the tests shares: a port on loopback, and how long anybody waits."""

import errno
import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, cast

TURNS = 8  # of an event loop, in which somebody just accepted is known to have connected
_LOWEST: Final = 20_000
_FIRST_OF_CLIENTS: Final = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
_PORTS: Final = random.SystemRandom().sample(range(_LOWEST, _FIRST_OF_CLIENTS), _FIRST_OF_CLIENTS - _LOWEST)


def free_port(host: str = "127.0.0.1") -> int:
    """A port that is free, and which the system gives to nobody who connects, nor this process a second time."""
    while True:
        port = _PORTS.pop()
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            try:
                probe.bind((host, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return port


@contextmanager
def full_port(host: str = "127.0.0.1") -> Iterator[int]:
    """A port whose queue of new connections is full, so that it answers nothing, like a filtered one."""
    with ExitStack() as held:
        listener = held.enter_context(socket.create_server((host, 0), backlog=0))
        port = cast(int, listener.getsockname()[1])
        for _ in range(4):
            filler = held.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex((host, port))
        yield port
