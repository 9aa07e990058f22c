"""What every server of the tests shares: a port on loopback, and how long anybody waits."""

import socket
from typing import cast

PATIENCE = 5.0  # seconds; a test that waits longer has failed
TURNS = 8  # of an event loop, in which somebody just accepted is known to have connected


def free_port(host: str = "127.0.0.1") -> int:
    """A port that was free a moment ago."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return cast(int, probe.getsockname()[1])
