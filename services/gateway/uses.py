"""Who has used the gateway and how that went: what the page tells of each token while an application is connected.

What is noted here is an observation: it is written along with the mails of a group, never with a transaction for each,
and losing it loses no mail.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy.orm import Session

from database import gateway_db
from database.engine import reading_in
from database.gateway_db import LONGEST_EHLO, LONGEST_PEER, GatewayUse
from utils import clock
from utils.log_utils import printable
from utils.same_names import shared

_NETWORK: Final = "network:"


class UseState(StrEnum):
    """How far an application has come."""

    WAITING = "waiting"  # nobody has come with this token yet
    CONNECTED = "connected"  # it has signed in, and has not sent yet
    REFUSED = "refused"  # the last that it heard is a refusal
    CAME = "came"  # the last that it sent was taken


@dataclass(frozen=True, kw_only=True)
class Use:
    """What a token, a trusted network, or an account at sign-in has done at the gateway.

    ``address`` and ``ehlo`` are from where and as whom it was there last, at ``used_at``. ``refusal`` is the sentence
    of the last reply that refused it, which said ``refusal_code``. ``mails`` were taken.
    """

    used_at: datetime | None = None
    address: str = ""
    ehlo: str = ""
    mails: int = 0
    first_mail_id: str | None = None
    first_mail_at: datetime | None = None
    last_mail_id: str | None = None
    last_mail_at: datetime | None = None
    refused_at: datetime | None = None
    refusal_code: int | None = None
    refusal: str = ""

    @property
    def state(self) -> UseState:
        if self.refused_at and (self.last_mail_at is None or self.refused_at > self.last_mail_at):
            return UseState.REFUSED
        if self.mails:
            return UseState.CAME
        return UseState.CONNECTED if self.used_at else UseState.WAITING


NEVER: Final = Use()


@dataclass(frozen=True)
class Who:
    """Whose use it is: a token's, an account's whose sign-in was refused before a token was known, or a network's."""

    token_id: int | None = None
    account_id: int | None = None
    network: str = ""

    @property
    def key(self) -> str:
        if self.token_id is not None:
            return f"token:{self.token_id}"
        return f"account:{self.account_id}" if self.account_id is not None else f"{_NETWORK}{self.network}"


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A refusal as the gateway said it."""

    code: int
    words: str


@dataclass(frozen=True, kw_only=True)
class Visit:
    """What one sender did since it was last written down: was there, was refused, handed over mails."""

    who: Who
    address: str
    ehlo: str
    mail_ids: Sequence[str] = ()
    refused: Refused | None = None


def by_token(token_ids: Collection[int], session: Session | None = None) -> dict[int, Use]:
    """What each of these tokens has done; for one that never came, ``NEVER``. Asked in the caller's session if any."""
    with reading_in(session) as own:
        known = {row.token_id: _use(row) for row in gateway_db.of_tokens(own, token_ids)}
    return {token_id: known.get(token_id, NEVER) for token_id in token_ids}


def refused_sign_ins(account_id: int, session: Session | None = None) -> Use:
    """The last sign-in in this account's name that was refused without a token of it; ``NEVER`` if none was."""
    with reading_in(session) as own:
        row = gateway_db.of_account(own, account_id)
        return _use(row) if row else NEVER


def by_network(session: Session | None = None) -> dict[str, Use]:
    """What each trusted network has done, by its CIDR, the one that was there last first."""
    with reading_in(session) as own:
        return {row.who.removeprefix(_NETWORK): _use(row) for row in gateway_db.of_networks(own)}


def note(session: Session, visits: Iterable[Visit]) -> None:
    """Write down what senders did, within the caller's transaction; of a token that is gone, nothing."""
    now = clock.now()
    # Always in the same order, so that of two gateways neither waits for the other while that waits for it.
    for visit in sorted(visits, key=lambda each: each.who.key):
        who, key = visit.who, visit.who.key
        place = {"address": visit.address[:LONGEST_PEER], "ehlo": printable(visit.ehlo, LONGEST_EHLO)}
        if not gateway_db.note_use(session, key, now, place, visit.mail_ids):
            gateway_db.add_missing(session, GatewayUse(who=key, token_id=who.token_id, account_id=_own(who)))
            gateway_db.note_use(session, key, now, place, visit.mail_ids)
        if visit.refused:
            gateway_db.note_refusal(session, key, now, visit.refused.code, visit.refused.words)


def _own(who: Who) -> int | None:
    return who.account_id if who.token_id is None else None


def _use(row: GatewayUse) -> Use:
    return Use(**shared(Use, row))
