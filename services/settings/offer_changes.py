"""What is new of a server's offers since it was looked at before: kept for a week, and told loudly where it matters."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from database.probe_db import ServerProbe
from services.smtp import offers
from services.smtp.offers import Offers
from services.smtp.settings import Security, SmtpSettings
from utils import clock
from utils.numbers import readable_size, whole_number

KEPT_FOR: Final = timedelta(days=7)
TEST_IT: Final = "Test it to see what to do."
_MOST: Final = 30
_LARGEST_SIZE: Final = 10**20  # more digits than any SIZE has (RFC 1870 3)
_LEAST_SIZE: Final = 1_000_000  # octets; a server that accepts less does so for no email with a picture
_PLAIN: Final = f"{offers.AUTH}PLAIN"


@dataclass(frozen=True, kw_only=True)
class OfferChange:
    """One thing that was offered otherwise ``before``; None stands for not at all. ``is_loud``: mail may suffer."""

    what: str
    before: str | None
    after: str | None
    at: datetime
    is_loud: bool = False

    @property
    def sentence(self) -> str:
        """What is new, and since when it was seen."""
        return f"Since {clock.readable(self.at)} it {self._told}."

    @property
    def _told(self) -> str:
        match self.what, self.before, self.after:
            case what, _, None:
                return f"no longer {_shows(what)}"
            case what, None, _:
                return f"{_shows(what)}{_much(what, self.after or '')}"
            case offers.SIZE, before, after:
                return f"accepts messages{_much(offers.SIZE, after)} instead of {_size(before) or 'any size'}"
            case offers.CERTIFICATE, _, after:
                return f"shows another certificate, which ends on {after}"
            case what, before, after:
                return f"uses {after} instead of {before}"


def of_row(row: ServerProbe) -> tuple[OfferChange, ...]:
    """What is written down of a server, the loud first."""
    found = [each for each in map(_read, row.changes or ()) if each and clock.now() - each.at < KEPT_FOR]
    return tuple(sorted(found, key=lambda each: (not each.is_loud, each.what)))


def in_sentences(changes: Iterable[OfferChange]) -> str:
    """The loud ones, and what to do; "" if there are none."""
    told = [each.sentence for each in changes if each.is_loud]
    return " ".join([*told, TEST_IT]) if told else ""


def brought_up(
    known: Sequence[OfferChange],
    before: Offers,
    after: Offers,
    looked_at: frozenset[str] | None,
    *,
    settings: SmtpSettings,
    largest: int,
) -> list[OfferChange]:
    """The changes with those of this look; what is again as it was is none any more.

    ``largest`` is how many octets the largest email has that waits.
    """
    by_name = {each.what: each for each in known if clock.now() - each.at < KEPT_FOR}
    for what in {*offers.changed(before, after, looked_at), *by_name}:
        if looked_at is not None and what not in looked_at:
            continue
        earlier = by_name.pop(what, None)
        was = earlier.before if earlier else before.get(what)
        if was != after.get(what):
            at = earlier.at if earlier else clock.now()
            change = OfferChange(what=what, before=was, after=after.get(what), at=at)
            by_name[what] = replace(change, is_loud=_matters(change, after, settings, largest))
    return sorted(by_name.values(), key=lambda each: each.what)[:_MOST]


def as_json(changes: Iterable[OfferChange]) -> list[dict[str, Any]]:
    """As they are stored."""
    return [
        {"what": each.what, "before": each.before, "after": each.after, "at": each.at.isoformat(), "loud": each.is_loud}
        for each in changes
    ]


def _read(stored: Any) -> OfferChange | None:  # noqa: ANN401 - whatever stands there
    try:
        texts = {name: stored[name] for name in ("what", "before", "after")}
        if not all(text is None or isinstance(text, str) for text in texts.values()) or not texts["what"]:
            return None
        at = datetime.fromisoformat(stored["at"])
        return OfferChange(**texts, at=at, is_loud=stored["loud"] is True) if at.tzinfo else None
    except (LookupError, TypeError, ValueError):
        return None


def _matters(change: OfferChange, after: Offers, settings: SmtpSettings, largest: int) -> bool:
    """Whether mail may suffer: no encryption, no way to sign in, or less room than an email needs that waits."""
    if change.what == offers.STARTTLS:
        return change.after is None and settings.security is Security.STARTTLS
    if change.what == offers.SIZE:
        limit = whole_number(change.after or "", 1, _LARGEST_SIZE)
        return limit is not None and limit < max(largest, _LEAST_SIZE)
    if change.after is None and change.what.startswith(offers.AUTH) and settings.has_login:
        is_chosen = change.what == f"{offers.AUTH}{settings.auth_method}"
        is_last = not any(name.startswith(offers.AUTH) for name in after)
        return is_chosen or is_last or (change.what == _PLAIN and settings.bearer is None)
    return False


def _shows(what: str) -> str:
    if what == offers.CERTIFICATE:
        return "shows a certificate that can be read"
    if what == offers.TLS:
        return "encrypts"
    return f"offers {what}"


def _much(what: str, value: str) -> str:
    if what == offers.SIZE:
        return f" of up to {_size(value)}" if value else " of any size"
    return ""


def _size(value: str) -> str:
    octets = whole_number(value, 1, _LARGEST_SIZE)
    return readable_size(octets) if octets else ""
