"""What a server notes: the messages that it has taken, and the lines that it has obeyed."""

import re
from dataclasses import dataclass, field
from typing import Final

_NUMBER: Final = re.compile(rb"^X-Number: (\S+)\r$", re.MULTILINE)


@dataclass
class Taken:
    """A message. ``told``: the server's yes was written to its last octet, in time."""

    number: str  # "" if it is none of ours
    recipients: tuple[str, ...]
    content: bytes
    told: bool = False


@dataclass
class Ledger:
    """``lines`` are those that were taken for commands."""

    taken: list[Taken] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)

    def take(self, recipients: tuple[str, ...], content: bytes) -> Taken:
        found = _NUMBER.search(content)
        taken = Taken(number=found[1].decode() if found else "", recipients=recipients, content=content)
        self.taken.append(taken)
        return taken
