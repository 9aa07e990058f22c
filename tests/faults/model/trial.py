"""One sender against one server: what came of it, and what is wrong with that."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from services.outbox.reasons import Reason
from tests.faults.model.behaviour import Behaviour, behaviour_of
from tests.faults.model.fates import Fate, Violation, Wrong, violations
from tests.faults.model.ledger import Ledger
from tests.faults.model.mails import Mail, mails_for
from tests.faults.model.serial_client import delivers
from tests.faults.model.server import BehavingServer, Loop
from tests.faults.model.small_queue import STEP

PATIENT: Final = (4, 16)  # times as patient
LATE: Final = 4  # times the patience for an answer
_MAY_BE_BUSY: Final = (Wrong.LOST, Wrong.DENIED)


Deliver = Callable[[BehavingServer, Sequence[Mail], float], list[Fate]]  # the float: seconds for an answer


@dataclass
class Tally:
    """What came of some trials. ``wrong`` has a line for each server with which something is wrong."""

    servers: int = 0
    mails: int = 0
    lost: int = 0
    strangers: int = 0
    copies: int = 0  # beyond the first
    unknowns: int = 0
    most_copies: int = 0
    given_up: int = 0
    wrong: dict[int, list[Violation]] = field(default_factory=dict)

    def add(self, other: "Tally") -> None:
        for name in ("servers", "mails", "lost", "strangers", "copies", "unknowns", "given_up"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.most_copies = max(self.most_copies, other.most_copies)
        self.wrong |= other.wrong

    @property
    def complaints(self) -> str:
        """What to read, and what to run again; empty if nothing is wrong."""
        parts = []
        for seed, found in sorted(self.wrong.items()):
            parts += [f"SEED={seed} ({behaviour_of(seed)})", *(f"    {each}" for each in found[:3])]
        return "\n".join(parts)


def trial(seed: int, deliver: Deliver, loop: Loop, step: float = STEP, patient: Sequence[float] = PATIENT) -> Tally:
    """Have mail delivered to the server with this seed.

    What may be due to a busy machine is tried again ``patient`` times as patiently, and counts if it happens each time.
    """
    found = _once(behaviour_of(seed), deliver, loop, step)
    for times in patient:
        if found.wrong and all(each.wrong in _MAY_BE_BUSY for each in found.wrong[seed]):
            found = _once(behaviour_of(seed), deliver, loop, step * times)
    return found


def _once(behaviour: Behaviour, deliver: Deliver, loop: Loop, step: float) -> Tally:
    mails = mails_for(behaviour)
    with BehavingServer(behaviour, loop, late=step * LATE) as server:
        fates = deliver(server, mails, step)
    found = violations(server.ledger, fates, lambda mail, to: delivers(behaviour, loop, mail, to, step))
    return tally(behaviour.seed, server.ledger, fates, found)


def tally(seed: int, ledger: Ledger, fates: Sequence[Fate], found: Sequence[Violation]) -> Tally:
    """One trial in numbers."""
    copies = Counter((taken.number, to) for taken in ledger.taken for to in taken.recipients)
    kinds = Counter(each.wrong for each in found)
    return Tally(
        servers=1,
        mails=len(fates),
        lost=kinds[Wrong.LOST],
        strangers=kinds[Wrong.STRANGER],
        copies=sum(copies.values()) - len(copies),
        unknowns=sum(fate.unknowns for fate in fates),
        most_copies=max(copies.values(), default=0),
        given_up=sum(Reason.UNKNOWN_FATE in fate.dead.values() for fate in fates),
        wrong={seed: list(found)} if found else {},
    )
