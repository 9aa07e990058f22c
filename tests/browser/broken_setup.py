"""What administrators get wrong, or their providers: what is there, what is typed, and what the page says to it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tests.browser.broken_servers import LOGIN, PASSWORD, Operator, Place

SENDER: Final = "hello@firm.example"
NO_LOGIN: Final = {"User name": "", "Password": ""}
THE_LOGIN: Final = {"User name": LOGIN, "Password": PASSWORD}


@dataclass(frozen=True, kw_only=True)
class BrokenSetup:
    """``place`` runs what is there and gives its port; ``typed`` is what differs from a good form, by label, and
    ``stored`` what an API has saved of it. Whoever ``is_impatient`` has entered a timeout of a second.

    The page has to show ``title`` and ``says``. Where it offers an action, the first one is ``press``. Otherwise its
    words name what to do: to type ``correct``, to ``choose`` an encryption, to have the operator ``mend`` something
    that ``says`` begins with, or to wait; and then to test again.
    """

    name: str
    place: Place
    typed: Mapping[str, str] = field(default_factory=dict)
    stored: Mapping[str, str] = field(default_factory=dict)
    is_impatient: bool = False
    security: str = "STARTTLS"
    sends: bool = False
    title: str
    says: tuple[str, ...] = ()
    press: str = ""
    correct: Mapping[str, str] = field(default_factory=dict)
    choose: str = ""
    mend: Callable[[Operator], None] | None = None
    changed: Mapping[str, str] = field(default_factory=dict)
