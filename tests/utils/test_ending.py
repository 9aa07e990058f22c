"""The end of a process: told to whoever works, over in time though somebody never stops, at once by a second signal."""

import signal
import subprocess
import sys
import time

import pytest

from tests.patience import PATIENCE, stretched
from tests.running import ROOT

pytestmark = pytest.mark.alone
BEGIN = """
import signal, sys, threading, time
from utils import ending
for number in ending.STOP_SIGNALS:
    signal.signal(number, ending.HANDLER)
"""
# Asleep for moments only: a signal that comes between the last look for one and a long wait is seen at the wait's end.
STUBBORN = (
    "try:\n    READY\n    while True: time.sleep(60)\nexcept KeyboardInterrupt:\n    while True: time.sleep(0.05)\n"
)


def started(program: str, handler: str = "interrupted") -> "subprocess.Popen[str]":
    """A process that runs this, and has said that it is ready."""
    whole = BEGIN.replace("HANDLER", handler) + program.replace("READY", "print('ready', flush=True)")
    process = subprocess.Popen([sys.executable, "-c", whole], cwd=ROOT, stdout=-1, stderr=-1, text=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("handler", ["interrupted", "by_signal"])
def test_whoever_asked_hears_of_it_once(number: signal.Signals, handler: str) -> None:
    program = "heard = threading.Event()\nending.hear(lambda: (print('heard', flush=True), heard.set()))\n"
    program += "try:\n    READY\n    heard.wait()\nexcept KeyboardInterrupt:\n    heard.wait()\nending.begin()\n"
    process = started(program, handler)
    process.send_signal(number)
    said, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, said) == (0, "heard\n")


def test_whoever_never_stops_is_ended_in_time() -> None:
    process = started(STUBBORN)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    said, complaint = process.communicate(timeout=PATIENCE)
    assert time.monotonic() - began < stretched(8)
    assert process.returncode == 1
    assert "stopped_in_midst" in said + complaint


@pytest.mark.parametrize("numbers", [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGTERM)])
def test_a_second_signal_ends_it_at_once_with_one_line(numbers: tuple[signal.Signals, signal.Signals]) -> None:
    process = started("ending.hear(lambda: print('heard', flush=True))\n" + STUBBORN)
    process.send_signal(numbers[0])
    assert process.stdout
    assert process.stdout.readline() == "heard\n"
    process.send_signal(numbers[1])
    _, complaint = process.communicate(timeout=PATIENCE)
    assert process.returncode == -numbers[1]
    assert complaint == "Stopped at once. The next start finds the mail that was under way.\n"


def test_a_child_does_not_end_with_its_parent() -> None:
    program = "import os\nending.begin()\nif os.fork() == 0:\n    os._exit(int(ending.is_near()))\n"
    program += (
        "print('ready', flush=True)\nprint(os.waitstatus_to_exitcode(os.wait()[1]), ending.is_near(), flush=True)\n"
    )
    said, _ = started(program).communicate(timeout=PATIENCE)
    assert said == "0 True\n"
