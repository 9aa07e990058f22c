"""What one message makes a gateway's process hold."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from services.gateway.replies import LARGEST
from tests.faults.child import Place
from tests.faults.gateway_storm import GatewayProcess
from tests.gateway import MAIL, Talk, queued, token_of
from tests.loopback import free_port
from tests.visitors import make_alice

LINE = b".".ljust(74, b"x") + b"\r\n"


@pytest.mark.parametrize("place", ["SQLite"], indirect=True)
def test_a_message_of_the_largest_size_is_taken_and_holds_at_most_four_times_its_memory(place: Place) -> None:
    port, token = free_port(), token_of(make_alice().id)
    at = replace(place, environment=place.environment | {"SUBMISSION_LISTEN": f"127.0.0.1:{port}"})
    with closing(GatewayProcess(at, port)) as gateway:
        gateway.start()
        with Talk(port) as talk:
            talk.heard()
            talk.hello()
            talk.sign_in("alice", token)
            assert talk.hand_over().startswith("250")
            message = MAIL + LINE * ((LARGEST - len(MAIL) - 1000) // len(LINE))
            Path(f"/proc/{gateway.pid}/clear_refs").write_text("5")  # the peak begins anew: proc(5)
            before = peak(gateway.pid)
            assert talk.hand_over(message).startswith("250")
            assert peak(gateway.pid) - before <= 4 * len(message)
    assert len(queued()) == 2


def peak(pid: int) -> int:
    """The most octets that a process has held since that was last reset."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024
