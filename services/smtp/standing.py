"""What holds on one open session between two mails: what the server offers, has shown, and may be asked for."""

from collections.abc import Mapping
from time import monotonic
from typing import Final

from services.smtp import grammar
from services.smtp.habits import Habit, Habits
from services.smtp.transaction import Transaction
from utils.errors import DeliveryError

_FRESH: Final = 10.0  # seconds; a connection that was silent for longer may be dead without a sign


class Standing:
    """``face`` is how the server introduced itself, which tells it from another behind the same address.

    ``clean``: it holds no half-done transaction that the next could add to. ``is_shaken``: a chunk was refused, and no
    answer since shows that the server is still in step. ``carried`` counts the mails that the session was used
    for, ``taken`` those that the server took.
    """

    def __init__(self, features: Mapping[str, str], habits: Habits, face: str = "") -> None:
        self.features = features
        self.habits = habits
        self.clean = True
        self.is_shaken = False
        self.carried = self.taken = 0
        self.is_bare = habits.lacks(Habit.PARAMETERS)
        self.behind_dot = not habits.lacks(Habit.BEHIND_DOT)
        self.pipelining = "PIPELINING" in features and not habits.lacks(Habit.PIPELINING)
        self.chunking = self.pipelining and "CHUNKING" in features and not habits.lacks(Habit.CHUNKING)
        self._face = face
        self._blind_until = 0.0
        fact = habits.fact(Habit.SWALLOWS)
        # Behind one address may stand several servers, of which one swallows: what is known is of this face alone.
        self.swallows = self.chunking and self.behind_dot and fact is not None and fact[::2] == (True, face)

    def asks_about_chunks(self) -> bool:
        """Whether to find out now if the server swallows a chunk that it refuses; who gets True does."""
        return self.chunking and self.behind_dot and self.habits.ask(Habit.SWALLOWS)

    def learn_to_swallow(self, swallows: bool) -> None:
        """Remember whether this server swallows a refused chunk: where it does not, no content goes blind."""
        self.swallows = swallows
        self.habits.learn(Habit.SWALLOWS, swallows, face=self._face)

    def distrust(self) -> None:
        """After a refused chunk came something else than the answer to what was said next: it was not swallowed."""
        if self.is_shaken:
            self.learn_to_swallow(False)

    def trust(self) -> None:
        """The server has just answered as it should."""
        self._blind_until = monotonic() + _FRESH

    def may_go_blind(self, mail: Transaction) -> bool:
        """Whether all of a mail may be written at once, since the server swallows and is certainly there."""
        return self.swallows and mail.is_light and monotonic() < self._blind_until

    def lose_chunking(self) -> None:
        self.chunking = self.swallows = False
        self.habits.learn(Habit.CHUNKING, False)

    def lose_parameters(self) -> None:
        self.is_bare = True
        self.habits.learn(Habit.PARAMETERS, False)

    def note_end(self, error: DeliveryError) -> None:
        """Learn from a server that leaves how many mails it carries on one connection, if it says so."""
        if self.taken and error.code == grammar.GOING_AWAY and grammar.is_about_one_connection(error.text):
            self.habits.learn(Habit.MOST_MAILS, self.taken)
