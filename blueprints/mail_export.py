"""The mail log as CSV or JSON, on the page, in the API and from the command line."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from flask import Response, stream_with_context

from blueprints.csv_lines import csv_line
from services.outbox import exporting
from services.outbox.facts import DirectData, MailFacts, MessageData
from services.outbox.searching import MailFilter
from utils import clock
from utils.errors import InvalidInput
from utils.json_shapes import json_of

_PIECE: Final = 32 * 1024  # characters that are handed on at a time
_OF_MAILS: Final = (
    "queued at (UTC)", "id", "state", "reason", "recipients", "kind", "priority", "tag", "attempts", "due at (UTC)",
    "expires at (UTC)", "finished at (UTC)", "account", "message id",
)  # fmt: skip
_OF_MAILS_FOR_ADMINISTRATORS: Final = ("tries", "server", "subject")
_OF_DIRECT: Final = (
    "sent at (UTC)", "result", "recipients", "refused", "kind", "server", "ms", "code", "enhanced code", "reply",
    "diagnosis", "tag", "subject", "account", "message id",
)  # fmt: skip


class ExportForm(StrEnum):
    CSV = "csv"
    JSON = "json"


_MEDIA: Final = {ExportForm.CSV: "text/csv", ExportForm.JSON: "application/json"}


@dataclass(frozen=True, kw_only=True)
class ExportPlan:
    """What to export, and how: for administrators, or for the owner of the mail, who is not told of servers."""

    wanted: MailFilter
    form: ExportForm
    is_direct: bool = False
    has_whole_addresses: bool = False
    is_for_owner: bool = False


def form_of(text: str) -> ExportForm:
    """The format of this name. Raises InvalidInput."""
    if text not in list(ExportForm):
        raise InvalidInput({"format": [f"Enter {' or '.join(ExportForm)}."]})
    return ExportForm(text)


def streamed(plan: ExportPlan) -> Response:
    """The file as an answer, written while it is read; that it was taken stands in the audit trail."""
    name = f"{'direct' if plan.is_direct else 'emails'}-{clock.now():%Y-%m-%d}.{plan.form}"
    return Response(
        stream_with_context(pieces(plan)),
        mimetype=_MEDIA[plan.form],
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def pieces(plan: ExportPlan) -> Iterator[str]:
    """The file, in pieces. It is noted at once, before the first is asked for."""
    exporting.note(plan.wanted, plan.form, is_direct=plan.is_direct, has_whole_addresses=plan.has_whole_addresses)
    return _joined(_csv(plan) if plan.form is ExportForm.CSV else _json(plan))


def _found(plan: ExportPlan) -> Iterator[MailFacts | DirectData]:
    if plan.is_direct:
        return exporting.direct(plan.wanted)
    return exporting.mails(plan.wanted, has_whole_addresses=plan.has_whole_addresses)


def _csv(plan: ExportPlan) -> Iterator[str]:
    more = () if plan.is_for_owner else _OF_MAILS_FOR_ADMINISTRATORS
    yield csv_line(_OF_DIRECT if plan.is_direct else _OF_MAILS + more)
    for each in _found(plan):
        if isinstance(each, DirectData):
            yield csv_line(_direct_cells(each))
        else:
            yield csv_line(_mail_cells(each) + ((str(each.tries), each.server, each.subject or "") if more else ()))


def _json(plan: ExportPlan) -> Iterator[str]:
    """An array, one email a line; where it breaks off, it is no JSON, so nobody takes a part for all."""
    shape: type[object] = DirectData if plan.is_direct else MessageData if plan.is_for_owner else MailFacts
    before = "[\n"
    for each in _found(plan):
        yield before + json.dumps(json_of(shape, each), ensure_ascii=False)
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def _joined(lines: Iterable[str]) -> Iterator[str]:
    """Lines together: each piece costs the server a packet."""
    held: list[str] = []
    length = 0
    for line in lines:
        held.append(line)
        length += len(line)
        if length >= _PIECE:
            yield "".join(held)
            held, length = [], 0
    yield "".join(held)


def _mail_cells(mail: MailFacts) -> tuple[str, ...]:
    return (
        clock.in_lists(mail.created_at),
        mail.id,
        mail.state,
        mail.reason,
        ", ".join(each.address for each in mail.recipients),
        mail.kind,
        mail.priority,
        mail.tag or "",
        str(mail.attempts),
        clock.in_lists(mail.due_at),
        clock.in_lists(mail.expires_at),
        _or_empty(mail.settled_at),
        _number(mail.account_id),
        mail.message_id,
    )


def _direct_cells(attempt: DirectData) -> tuple[str, ...]:
    return (
        clock.in_lists(attempt.at),
        attempt.outcome,
        attempt.recipients,
        ", ".join(str(each.get("recipient", "")) for each in attempt.refused),
        attempt.kind,
        attempt.server,
        str(attempt.ms),
        _number(attempt.code),
        attempt.enhanced or "",
        attempt.reply,
        attempt.diagnosis.title if attempt.diagnosis else "",
        attempt.tag or "",
        attempt.subject or "",
        _number(attempt.account_id),
        attempt.message_id,
    )


def _or_empty(moment: datetime | None) -> str:
    return clock.in_lists(moment) if moment else ""


def _number(value: int | None) -> str:
    return "" if value is None else str(value)
