"""The mail log as a file: all that a filter finds, of which little is in memory at a time."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from database import attempt_db
from database.engine import reading
from services import audit
from services.audit import Action
from services.outbox import log, searching
from services.outbox.facts import DirectData, MailFacts
from services.outbox.searching import MailFilter
from utils import ending
from utils.addresses import mask_address
from utils.errors import Stopping

_BATCH: Final = 500  # attempts


def note(wanted: MailFilter, form: str, *, is_direct: bool, has_whole_addresses: bool) -> None:
    """Write into the audit trail what is taken out; no address stands there whole."""
    asked = searching.to_args(wanted)
    if "@" in asked.get("recipient", ""):
        asked["recipient"] = mask_address(asked["recipient"])
    told = [form, *(["whole addresses"] if has_whole_addresses else []), *(f"{name} {asked[name]}" for name in asked)]
    audit.note(Action.MAIL_EXPORTED, "email sent directly" if is_direct else "queued email", told)


def mails(wanted: MailFilter, *, has_whole_addresses: bool = False) -> Iterator[MailFacts]:
    """The queued mails, the newest first; none that is queued meanwhile.

    Addresses are masked. No transaction is open between two batches. Raises Stopping once the process is to end.
    """
    for mail_ids in searching.ids(wanted):
        _go_on()
        with reading() as session:
            found = log.as_they_stand(session, mail_ids)
            tried = attempt_db.tried(session, mail_ids)
        for mail_id in mail_ids:
            if mail := found.get(mail_id):  # it may have been deleted meanwhile
                shown = mail if has_whole_addresses else _masked(mail)
                yield replace(shown, **tried[mail_id]._asdict()) if mail_id in tried else shown


def direct(wanted: MailFilter) -> Iterator[DirectData]:
    """The same of mails that were sent directly, of which the log holds masked addresses only."""
    before: int | None = None
    while True:
        _go_on()
        found, before = searching.direct(wanted, before, _BATCH)
        yield from found
        if before is None:
            return


def _go_on() -> None:
    if ending.is_near():
        raise Stopping


def _masked(mail: MailFacts) -> MailFacts:
    return replace(mail, recipients=[replace(each, address=mask_address(each.address)) for each in mail.recipients])
