"""What every server of the tests shares: a port on loopback, and how long anybody waits."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import cast

TURNS = 8  # of an event loop, in which somebody just accepted is known to have connected


def free_port(host: str = "127.0.0.1") -> int:
    """A port that was free a moment ago."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return cast(int, probe.getsockname()[1])


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
