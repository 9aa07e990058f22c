"""Compares what was promised with what has arrived, as Jepsen's total-queue does; how it came about is not asked."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select

from database.engine import reading
from database.outbox_db import IN_HAND, WAITING, OutboxMail, State
from services.outbox.reasons import Reason
from tests.faults.child import Orders
from tests.faults.sink import Event

MOST_COPIES: Final = 3


@dataclass(frozen=True, kw_only=True)
class Promises:
    """What web processes were asked for, and the ids of the mails that they have promised; each with its recipients."""

    asked: set[str] = field(default_factory=set)
    promised: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, all_orders: Iterable[Orders]) -> "Promises":
        found = cls()
        for orders in all_orders:
            for line in orders.notes(folder).read_text().splitlines():
                what, number, *mail_id = line.split()
                recipients = orders.recipients(int(number))
                if what == "asked":
                    found.asked.update(recipients)
                else:
                    found.promised[mail_id[0]] = recipients
        return found


@dataclass(frozen=True, kw_only=True)
class Row:
    """What the table says about a mail."""

    mail_id: str
    message_id: str
    state: str
    reason: str
    recipients: Mapping[str, str]  # address: state


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """``lost`` were promised and have neither arrived nor been refused; ``given_up`` neither, but the table says so.

    ``unexpected`` arrived without having been asked for; ``duplicates`` are copies beyond the first; ``untrue`` is
    where table and server contradict each other.
    """

    promised: int
    lost: set[str]
    given_up: set[str]
    unexpected: set[str]
    duplicates: int
    most_copies: int
    bound: int
    stuck: set[str]
    untrue: set[str]

    @property
    def complaints(self) -> dict[str, object]:
        """What is not as it must be; empty if all is well."""
        sets = {name: sorted(getattr(self, name))[:5] for name in ("lost", "unexpected", "stuck", "untrue")}
        numbers = {
            "duplicates": self.duplicates if self.duplicates > self.bound else 0,
            "copies": self.most_copies if self.most_copies > MOST_COPIES else 0,
        }
        return {name: what for name, what in {**sets, **numbers}.items() if what}


def rows() -> list[Row]:
    """The table, as it is now."""
    with reading() as session:
        return [
            Row(
                mail_id=mail.mail_id,
                message_id=mail.message_id,
                state=mail.state,
                reason=mail.reason,
                recipients={recipient["address"]: recipient["state"] for recipient in mail.recipients},
            )
            for mail in session.scalars(select(OutboxMail))
        ]


def judge(promises: Promises, table: Sequence[Row], ledger: Iterable[Mapping[str, Any]], *, bound: int) -> Verdict:
    """``bound`` is the most duplicates that the faults explain; replies that the server kept to itself are added."""
    copies: Counter[str] = Counter()
    ids: dict[str, set[str]] = {}
    refused: set[str] = set()
    untold = 0
    for entry in ledger:
        match entry["event"]:
            case Event.REFUSED:
                refused.update(entry["to"])
            case Event.TAKEN | Event.UNTOLD:
                untold += entry["event"] == Event.UNTOLD
                copies.update(entry["to"])
                for address in entry["to"]:
                    ids.setdefault(address, set()).add(entry["id"])
    most: dict[str, int] = {}  # the copies of a mail that any one of its recipients has
    for address, number in copies.items():
        mail = min(ids[address])
        most[mail] = max(most.get(mail, 0), number)
    by_id = {row.mail_id: row for row in table}
    missing = {
        address: by_id.get(mail_id)
        for mail_id, recipients in promises.promised.items()
        for address in recipients
        if address not in copies and address not in refused
    }
    told = {address for address, row in missing.items() if row and row.reason == Reason.UNKNOWN_FATE}
    return Verdict(
        promised=len(promises.promised),
        lost=set(missing) - told,
        given_up=told,
        unexpected=set(copies) - promises.asked,
        duplicates=sum(most.values()) - len(most),
        most_copies=max(copies.values(), default=0),
        bound=bound + untold,
        stuck={row.mail_id for row in table if row.state in (*WAITING, *IN_HAND)},
        untrue=set(_untrue(table, ids, refused)) | (promises.promised.keys() - by_id.keys()),
    )


def _untrue(table: Iterable[Row], ids: Mapping[str, set[str]], refused: set[str]) -> Iterable[str]:
    for row in table:
        for address, state in row.recipients.items():
            if not ids.get(address, set()) <= {row.message_id}:
                yield f"{address}: another Message-ID"
            if state == "accepted" and address not in ids:
                yield f"{address}: accepted, and never arrived"
            if state == "refused" and address not in refused:
                yield f"{address}: refused, but not by the server"
            if row.state == State.SENT and state not in ("accepted", "refused"):
                yield f"{address}: {state} in a mail that is sent"
        if row.state == State.FAILED and row.reason != Reason.UNKNOWN_FATE and not refused & set(row.recipients):
            yield f"{row.mail_id}: failed for no reason ({row.reason})"
