"""What a test knows of a mail afterwards, and what may never be so: a pure function over ledger and fates."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from services.outbox.reasons import Reason
from tests.faults.model import replies
from tests.faults.model.ledger import Ledger, Taken
from tests.faults.model.mails import Mail

VERBS: Final = frozenset(b"EHLO HELO MAIL RCPT DATA BDAT RSET NOOP HELP QUIT".split())
_VICTIM: Final = b"victim.example"


@dataclass
class Fate:
    """What the sender says of a mail. ``unknowns`` counts attempts of unknown outcome; ``dead`` gives reasons."""

    mail: Mail
    accepted: Counter[str] = field(default_factory=Counter)
    dead: dict[str, str] = field(default_factory=dict)
    unknowns: int = 0
    attempts: int = 0
    trail: list[str] = field(default_factory=list)  # what became of each attempt, for people
    raised: str = ""

    @property
    def pending(self) -> tuple[str, ...]:
        """Who is still to get it."""
        return tuple(to for to in self.mail.recipients if to not in self.accepted and to not in self.dead)


class Wrong(StrEnum):
    """A kind of violation."""

    NOT_TAKEN = "counted as sent, and the server did not take it"
    TWICE = "sent twice without an unknown outcome"
    LOST = "not delivered, where a serial client delivers it"
    OUTSIDE = "content outside DATA and BDAT"
    ALTERED = "taken with another body"
    STRANGER = "taken for somebody that it was not for"
    DENIED = "taken, and the server said so, and it is refused or never counted as sent"
    RAISED = "an exception that is no outcome"


@dataclass(frozen=True)
class Violation:
    """One of them, at one mail or line."""

    wrong: Wrong
    what: str

    def __str__(self) -> str:
        return f"{self.wrong}: {self.what}"


Delivers = Callable[[Mail, str], bool]  # whether a serial client delivers the mail to the recipient


def violations(ledger: Ledger, fates: Iterable[Fate], delivers: Delivers) -> list[Violation]:
    """All that is wrong. ``delivers`` is asked only of mail that has not arrived."""
    fates = list(fates)
    found = [Violation(Wrong.OUTSIDE, repr(line)) for line in ledger.lines if is_content(line)][:3]
    found += _of_messages(ledger, {fate.mail.number: fate for fate in fates})
    for fate in fates:
        found += _of_mail(fate, [taken for taken in ledger.taken if taken.number == fate.mail.number], delivers)
    return found


def is_content(line: bytes) -> bool:
    """Whether a line that was taken for a command is of a message: none of ours looks like that."""
    return line.partition(b" ")[0].upper() not in VERBS or _VICTIM in line or line == b"HELP me"


def _of_messages(ledger: Ledger, fates: Mapping[str, Fate]) -> Iterator[Violation]:
    for taken in ledger.taken:
        fate = fates.get(taken.number)
        if fate is None or not set(taken.recipients) <= set(fate.mail.recipients):
            yield Violation(Wrong.STRANGER, f"{taken.number or taken.content[:60]!r} for {', '.join(taken.recipients)}")
        elif not taken.content.endswith(fate.mail.body.encode()):
            yield Violation(Wrong.ALTERED, taken.number)


def _of_mail(fate: Fate, copies: list[Taken], delivers: Delivers) -> Iterator[Violation]:
    arrived = Counter(to for taken in copies for to in taken.recipients)
    told = Counter(to for taken in copies if taken.told for to in taken.recipients)
    if fate.raised:
        yield Violation(Wrong.RAISED, _about(fate, fate.raised))
    for to in fate.mail.recipients:
        if fate.accepted[to] and not arrived[to]:
            yield Violation(Wrong.NOT_TAKEN, _about(fate, to))
        if arrived[to] > 1 + fate.unknowns:
            yield Violation(Wrong.TWICE, _about(fate, f"{to}, {arrived[to]} copies"))
        if _is_denied(fate, to, told[to]):
            yield Violation(Wrong.DENIED, _about(fate, to))
        if not arrived[to] and not fate.accepted[to] and _may_arrive(fate.mail, to) and delivers(fate.mail, to):
            yield Violation(Wrong.LOST, _about(fate, f"{to} ({fate.dead.get(to, 'still waiting')})"))


def _is_denied(fate: Fate, to: str, told: int) -> bool:
    """Once told, it may be of unknown fate if we had to hang up meanwhile; that does not happen time and again."""
    is_refused = fate.dead.get(to, Reason.UNKNOWN_FATE) != Reason.UNKNOWN_FATE
    return not fate.accepted[to] and told > (0 if is_refused else 1)


def _may_arrive(mail: Mail, to: str) -> bool:
    return not mail.is_spam and replies.fate_of(to) not in replies.FOR_GOOD


def _about(fate: Fate, what: str) -> str:
    return f"{fate.mail.number} {what} [{' | '.join(fate.trail)}]"
