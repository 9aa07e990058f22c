"""A flag is seen by every process that was forked, and none takes it along when it is killed."""

import subprocess
import sys

from tests.patience import PATIENCE
from tests.running import ROOT

PROGRAM = """
import os, signal, time
from utils.shared_flag import SharedFlag
flag, said = SharedFlag(), SharedFlag()
for _ in range(5):
    if not (child := os.fork()):
        said.set()
        while True:
            flag.is_set()
    while not said.is_set():
        pass
    time.sleep(0.01)  # so that it is in the midst of a look
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    said.clear()
if not (child := os.fork()):
    while not flag.is_set():
        pass
    said.set()
    os._exit(0)
flag.set()
os.waitpid(child, 0)
assert said.is_set()
flag.clear()
assert not flag.is_set()
"""


def test_a_flag_outlives_whoever_is_killed_while_looking_at_it() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, timeout=PATIENCE, check=True)
