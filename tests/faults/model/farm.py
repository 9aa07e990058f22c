"""Many seeds at once: in processes, since each waits for servers most of the time, and in threads of each."""

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Final

from services import smtp_habits
from tests.faults.model import small_queue
from tests.faults.model.behaviour import Behaviour, behaviour_of
from tests.faults.model.fates import Violation, Wrong, violations
from tests.faults.model.mails import mails_for
from tests.faults.model.serial_client import delivers
from tests.faults.model.server import BehavingServer, Loop
from tests.faults.model.small_queue import STEP, Send

PATIENT: Final = 4  # times: what may be due to a busy machine is tried again alone, with so much more time
_BUSY: Final = (Wrong.LOST, Wrong.DENIED)
THREADS: Final = 8


def judge(seed: int, loop: Loop, send: Send, *, step: float = STEP, behaviour: Behaviour | None = None) -> list[Violation]:
    """What is wrong with how mail is sent to the server with this seed, all alone with it."""
    behaviour = behaviour or behaviour_of(seed)
    mails = mails_for(behaviour)
    with BehavingServer(behaviour, loop, late=step * 4) as server:
        fates = small_queue.deliver(server, mails, send, step=step)
    contents = {mail.number: mail.content for mail in mails}
    found = violations(
        server.ledger, fates, lambda mail, to: delivers(behaviour, loop, mail, to, step), contents=contents
    )
    if step == STEP and found and all(each.wrong in _BUSY for each in found):
        smtp_habits.forget_all()
        return judge(seed, loop, send, step=STEP * PATIENT, behaviour=behaviour)
    return found
