"""The filter of the mail log as its pages show it: what was typed, what is wrong with it, and what is set."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, NamedTuple

from services.accounts import accounts
from services.outbox import searching
from services.outbox.facts import State
from services.outbox.reasons import Reason, words
from services.outbox.searching import MailFilter
from utils.errors import InvalidInput
from utils.numbers import whole_number

LABELS: Final = {
    "recipient": "Recipient",
    "message_id": "Message-ID",
    "tag": "Tag",
    "state": "State",
    "since": "From",
    "until": "Until",
    "server": "Server",
    "account_id": "Account",
    "cause": "Cause",
}
_SENDING: Final = (State.LEASED, State.TRANSMITTING)  # one word for both, and one chip
_NO_ACCOUNT: Final = "No account has this name or number."


class SetFilter(NamedTuple):
    """One thing that is asked for: its name in the address, and how people read it; in place of a text a moment."""

    name: str
    label: str
    text: str
    moment: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class AskedFilter:
    """What a page was asked to show. Where there are ``errors``, nothing of it is wanted."""

    typed: Mapping[str, str]
    wanted: MailFilter
    errors: Mapping[str, list[str]]

    @property
    def args(self) -> dict[str, str]:
        """What stands in the address of a page with the same filter."""
        return searching.to_args(self.wanted)

    @property
    def values(self) -> dict[str, str]:
        """What stands in each field: as it was understood, or as it was typed if it was not."""
        return {name: self.typed.get(name, "") for name in LABELS} | self.args

    @property
    def is_set(self) -> bool:
        return bool(self.args)

    def set_ones(self) -> list[SetFilter]:
        """What is asked for, but for a state: the chips show that."""
        args = self.args
        moments = {"since": self.wanted.since, "until": self.wanted.until}
        told = {name: _told(self.wanted, name, text) for name, text in args.items() if name != "state"}
        return [SetFilter(name, LABELS[name], text, moments.get(name)) for name, text in told.items()]


def asked(args: Mapping[str, str]) -> AskedFilter:
    """What these arguments of an address ask for."""
    typed = {name: args.get(name, "").strip() for name in LABELS}
    read = dict(typed)
    errors: dict[str, list[str]] = {}
    wanted = MailFilter()
    name = typed["account_id"]
    if name and whole_number(name) is None:
        person = accounts.find_by_login(name)
        read["account_id"] = str(person.id) if person else ""
        if person is None:
            errors["account_id"] = [_NO_ACCOUNT]
    try:
        wanted = searching.parse(read)
    except InvalidInput as refused:
        errors |= refused.errors
    if "state" in errors:  # which no field is for
        errors["form"] = errors.pop("state")
    return AskedFilter(typed=typed, wanted=_widened(wanted), errors=errors)


def chips(wanted: MailFilter, counts: Mapping[State, int]) -> list[tuple[str, State, bool, int]]:
    """The states to choose from: how each stands in an address, it, whether it is chosen, and how many there are.

    Of those that have no mail only the ones that are chosen, and SENT, which is not counted.
    """
    found = []
    for state in State:
        alike = alike_states(state)
        chosen, number = set(alike) <= set(wanted.states), sum(counts.get(each, 0) for each in alike)
        if state is alike[0] and (chosen or number or state is State.SENT):
            found.append((",".join(alike), state, chosen, number))
    return found


def alike_states(state: State) -> tuple[State, ...]:
    """The states that people know by one word."""
    return _SENDING if state in _SENDING else (state,)


def causes() -> list[tuple[str, str]]:
    """Each cause with its words, in the order of these; of those alike the first."""
    found: dict[str, str] = {}
    for reason in Reason:
        found.setdefault(reason.text.rstrip(".:"), reason.value)
    return sorted(((code, text) for text, code in found.items()), key=lambda cause: cause[1].lower())


def _widened(wanted: MailFilter) -> MailFilter:
    every = {one for state in wanted.states for one in alike_states(state)}
    return replace(wanted, states=tuple(state for state in State if state in every))


def _told(wanted: MailFilter, name: str, text: str) -> str:
    if name == "cause":
        return words(wanted.cause).rstrip(".:")
    if name == "account_id":
        person = accounts.find(wanted.account_id or 0)
        return person.username if person else text
    return text
