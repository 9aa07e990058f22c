"""Mails whose content would be commands, if a server took it for commands; drawn from a seed."""

import random
from dataclasses import dataclass
from typing import Final

from tests.faults.model import replies
from tests.faults.model.behaviour import Behaviour

MOST: Final = 10
TARGET: Final = "target@victim.example"
SENDER: Final = "shop@sender.example"
LARGE: Final = 100_000  # octets, more than is said before a recipient is known to be accepted
SMUGGLED: Final = (
    "HELP me",
    "RSET",
    "MAIL FROM:<ceo@victim.example>",
    f"RCPT TO:<{TARGET}>",
    "DATA",
    "Subject: pay this",
    "",
    "Send it all.",
    ".",
    "..",
    "QUIT",
)


@dataclass(frozen=True, kw_only=True)
class Mail:
    """``number`` stands in the header field X-Number."""

    number: str
    recipients: tuple[str, ...]
    is_spam: bool = False
    octets: int = 0

    @property
    def fields(self) -> dict[str, str]:
        """What is in the header for the server of the test."""
        return {"X-Number": self.number} | ({"X-Fate": "spam"} if self.is_spam else {})

    @property
    def body(self) -> str:
        """Ended by CRLF."""
        filling = ("x" * 76 + "\r\n") * (self.octets // 78)
        return "\r\n".join(["Good morning.", *SMUGGLED, "Good night.", ""]) + filling

    @property
    def content(self) -> bytes:
        fields = {**self.fields, "From": SENDER, "Subject": "Hello", "Message-ID": f"<{self.number}@sender.example>"}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"{head}\r\n{self.body}".encode()


def mails_for(behaviour: Behaviour, most: int = MOST) -> list[Mail]:
    """Some mails for this server, of which it can be asked that all come through but those with a fate."""
    chance = random.Random(f"mails {behaviour.seed}")
    count = chance.choice((1, 2, 3, 4, 6, most))
    return [_mail(chance, behaviour, number) for number in range(min(count, most))]


def _mail(chance: random.Random, behaviour: Behaviour, number: int) -> Mail:
    people = chance.choice((1, 1, 1, 2, 3, 5))
    fates = ["ok"] * people
    if chance.random() < 0.35:
        fates[chance.randrange(people)] = chance.choice(
            [replies.UNKNOWN, replies.UNKNOWN, replies.UNKNOWN, replies.FORBIDDEN, replies.GREY, replies.FULL]
        )
    if people == 1 and chance.random() < 0.06:  # with others, they could only be reached by a mail for each
        fates = [chance.choice([replies.BYE, replies.GONE])]
    return Mail(
        number=f"{behaviour.seed}.{number}",
        recipients=tuple(f"{fate}-{number}-{place}@recipient.example" for place, fate in enumerate(fates)),
        is_spam=chance.random() < 0.04,
        octets=LARGE if chance.random() < 0.04 else 0,
    )
