"""How a mail server behaves: habits that stay as they are, and accidents that happen once; all drawn from a seed."""

import random
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Final


class Sees(StrEnum):
    """What it takes notice of, of the commands that one read brings."""

    ALL = "all"
    FIRST = "the first"
    LAST = "the last"


class BehindDot(StrEnum):
    """What it does with that which comes in the same read as the end of a message."""

    TAKES = "takes it"
    REFUSES = "answers 503 to each line"  # Haraka, since GHSA-rp4q-8m6x-c43c
    MISSES_DOT = "takes it for more of the message"  # since it looks for the dot where a read ends


class Chunks(StrEnum):
    """What comes of BDAT."""

    TAKES = "takes"
    STOPS = "says nothing more"
    SKIPS = "says nothing to BDAT"
    REFUSES_LAST = "503 to LAST"
    UNKNOWN = "502"  # although it was announced; and what is no command's parameter is a command


class Form(StrEnum):
    """How a reply looks."""

    USUAL = "usual"
    GLUED = "250OK"
    TAB = "250<TAB>ok"
    BARE = "250"
    LINES = "of several lines"
    LONG = "longer than a line may be"
    BROKEN = "lines that are no lines of a reply"  # an empty one between two of the same reply


class Stage(StrEnum):
    """Where an accident happens: instead of the answer to a command, or around the answer to a message."""

    GREETING = "greeting"
    EHLO = "EHLO"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"  # or a chunk
    CONTENT = "within the message"
    UNTAKEN = "the message has come and is not taken"
    TAKEN = "the message is taken, and the answer not said"
    HALF = "within the answer"
    ANSWERED = "behind the answer"


class Kind(StrEnum):
    """What happens there; LATE is an answer that comes when nobody waits for it any more."""

    FIN = "FIN"
    RST = "RST"
    SILENCE = "silence"
    LATE = "late"
    GOING = "421"
    NOT_NOW = "451"


REPLIES: Final = (Kind.GOING, Kind.NOT_NOW)
_AROUND_MESSAGE: Final = (Stage.CONTENT, Stage.UNTAKEN, Stage.UNTAKEN, Stage.TAKEN, Stage.HALF)
_ANSWERED_ONLY: Final = (Stage.GREETING, Stage.EHLO, Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.UNTAKEN)


@dataclass(frozen=True, kw_only=True)
class Accident:
    """Something that happens once: on the n-th connection, when it comes to the m-th mail there."""

    connection: int
    mail: int
    stage: Stage
    kind: Kind


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """One server. 0 is no limit; ``rate`` is mails in an hour, which is what passes between two rounds of a test."""

    seed: int = 0
    hello: bool = True  # it knows EHLO
    pipelining: bool = True
    chunking: bool = True
    eightbit: bool = True
    size: int = 0  # 1 announces SIZE without a number
    sees: Sees = Sees.ALL
    behind_dot: BehindDot = BehindDot.TAKES
    chunks: Chunks = Chunks.TAKES
    swallows: bool = True  # a refused chunk; else it is read as commands
    parameters: int = 0  # the code for MAIL with any of them
    most_recipients: int = 0
    too_many_recipients: int = 452  # 0 is silence
    most_mails: int = 0  # on a connection
    most_connections: int = 0
    rate: int = 0
    too_fast: int = 450
    most_errors: int = 0  # on a connection
    no_recipients: int = 503  # what DATA is answered without any; may be 354
    reset: int = 250
    form: Form = Form.USUAL
    form_everywhere: bool = False  # else of the answers to messages alone
    slices: bool = False
    delay: float = 0.0  # seconds
    accidents: tuple[Accident, ...] = ()

    def __str__(self) -> str:
        """The seed, and what is unusual."""
        usual = Behaviour()
        told = [f"{field.name}={getattr(self, field.name)}" for field in fields(self) if field.name != "accidents"]
        plain = {f"{field.name}={getattr(usual, field.name)}" for field in fields(self)}
        told = [one for one in told if one not in plain]
        told += [f"{each.kind} at {each.stage} ({each.connection}.{each.mail})" for each in self.accidents]
        return ", ".join(told)


def behaviour_of(seed: int) -> Behaviour:
    """The server with this seed: most of its habits are the usual ones."""
    chance = random.Random(f"behaviour {seed}")

    def rarely(usual: object, *others: object, often: float = 0.12) -> object:
        return chance.choice(others) if chance.random() < often else usual

    drawn: dict[str, object] = {
        "hello": rarely(True, False, often=0.04),
        "pipelining": rarely(True, False, often=0.2),
        "chunking": rarely(True, False, often=0.35),
        "eightbit": rarely(True, False),
        "size": rarely(0, 1, 10_000_000, often=0.5),
        "sees": rarely(Sees.ALL, Sees.FIRST, Sees.LAST),
        "behind_dot": rarely(BehindDot.TAKES, BehindDot.REFUSES, BehindDot.MISSES_DOT, often=0.2),
        "chunks": rarely(Chunks.TAKES, *list(Chunks)[1:], often=0.25),
        "swallows": rarely(True, False, often=0.4),
        "parameters": rarely(0, 555, 501, 504),
        "most_recipients": rarely(0, 1, 2, 3),
        "too_many_recipients": chance.choice((452, 452, 502, 0)),
        "most_mails": rarely(0, 1, 2, 5),
        "most_connections": rarely(0, 1),
        "rate": rarely(0, 3, 5),
        "too_fast": chance.choice((450, 450, 421)),
        "most_errors": rarely(0, 4, 6),
        "no_recipients": rarely(503, 354, 554, often=0.5),
        "reset": rarely(250, 500, 421, often=0.08),
        "form": rarely(Form.USUAL, *list(Form)[1:], often=0.15),
        "form_everywhere": rarely(False, True, often=0.3),
        "slices": rarely(False, True),
        "delay": rarely(0.0, 0.002, 0.02, often=0.2),
        "accidents": tuple(_accident(chance) for _ in range(chance.choice((0, 0, 1, 1, 2)))),
    }
    if drawn["chunks"] is Chunks.UNKNOWN:
        drawn["swallows"] = False
    if (drawn["sees"], drawn["behind_dot"], drawn["chunks"]) != (Sees.ALL, BehindDot.TAKES, Chunks.TAKES):
        # To learn such a habit may cost an unknown outcome, and after three of them a mail is given up.
        drawn["accidents"] = drawn["accidents"][:1]  # type: ignore[index]
    if drawn["most_recipients"]:  # no client gets a mail of many recipients past both
        drawn["most_errors"] = 0
    return Behaviour(seed=seed, **drawn)  # type: ignore[arg-type]


def _accident(chance: random.Random) -> Accident:
    stage = chance.choice([*Stage, *_AROUND_MESSAGE])
    kinds = [kind for kind in Kind if kind not in REPLIES or stage in _ANSWERED_ONLY]
    if stage in (Stage.CONTENT, Stage.HALF, Stage.ANSWERED):
        kinds = [Kind.FIN, Kind.RST, Kind.SILENCE]
    mail = chance.choice((0, 0, 0, 1, 2, 3, 5))
    return Accident(connection=chance.randrange(4), mail=mail, stage=stage, kind=chance.choice(kinds))
