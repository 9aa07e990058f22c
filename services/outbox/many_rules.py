"""What can be done to a mail together with others, and what hinders it: rules without a database, for every deed."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from database.mail_deed_db import MailStanding
from database.outbox_db import DEAD, IN_HAND, SETTLED, UNSENT, Priority, Recipient, RecipientState, State
from services.address_key import canonical, canonical_domain
from services.outbox.reasons import HELD_FOR_ACCOUNT, Reason
from services.settings.protection import SECURITY_KINDS
from services.suppression.listing import NOTHING, KnownAddresses
from utils.addresses import InvalidAddress, ascii_recipient, mask_address
from utils.errors import InvalidInput
from utils.worded_code import WordedCode


class ManyAction(StrEnum):
    """What is done to many mails."""

    RETRY = "retry"
    CANCEL = "cancel"
    CORRECT = "correct"  # what was refused is sent to a corrected address


class Hindrance(WordedCode):
    """Why it is not done to a mail: a code, and the words for it."""

    SENT = "sent", "Already sent"
    ENDED = "ended", "Not waiting any more"
    IN_HAND = "in_hand", "Being sent now"
    CONTENT_GONE = "content_gone", "Content was deleted"
    SECURITY = "security", "Security email is never sent again"
    EXPIRED = "expired", "Expired while waiting"
    SUPPRESSED = "suppressed", "On the suppression list"
    ACCOUNT = "account", "Account is disabled or deleted"
    NO_KEY = "no_key", "Sealed with a missing APP_KEY"
    ALTERED = "altered", "Changed outside Sealpost"
    NOT_REFUSED = "not_refused", "No recipient with the wrong address was refused"
    SEVERAL = "several", "Several recipients were refused, and the wrong address is not named"
    CORRECTED = "corrected", "Already sent to a corrected address"
    GETS_IT_ALREADY = "gets_it_already", "Corrected address is a recipient already"
    CHANGED = "changed", "Changed since the preview"
    NO_SUCH = "no_such", "Not in the mail log"


_PLACES: Final = ","
_SAME_KIND: Final = "Enter an address for a wrong address, or a domain for a wrong domain."


@dataclass(frozen=True)
class Correction:
    """A wrong address and the right one, or two domains. Without a wrong one: whoever was refused, if it was one."""

    wrong: str
    right: str

    @property
    def is_of_domain(self) -> bool:
        return bool(self.wrong) and "@" not in self.wrong

    def fits(self, address: str) -> bool:
        if self.is_of_domain:
            return canonical_domain(address.rpartition("@")[2]) == self.wrong
        return not self.wrong or canonical(address) == self.wrong

    def of(self, address: str) -> str:
        """The right address in the place of this one. Raises InvalidAddress if there is none."""
        return ascii_recipient(f"{address.rpartition('@')[0]}@{self.right}") if self.is_of_domain else self.right

    @property
    def masked_pair(self) -> tuple[str, str]:
        """Both, as they are shown."""
        wrong, right = (mask_address(each) if "@" in each else each for each in (self.wrong, self.right))
        return wrong, right

    @property
    def in_words(self) -> str:
        """As the audit trail has it."""
        wrong, right = self.masked_pair
        return f"{wrong or 'refused address'} to {right}"


@dataclass(frozen=True, kw_only=True)
class DeedFacts:
    """What rules need to know beside the mail: the moment, our keys, who is on the list, what was corrected before."""

    now: datetime
    keys: Collection[str]
    listed: KnownAddresses = NOTHING
    corrected: Mapping[int, Collection[int]] = field(default_factory=dict)


class DeedVerdict(NamedTuple):
    """What hinders the deed, None if nothing does. ``may_double``: somebody may get the mail twice.

    ``places`` are those of the recipients whose address is corrected.
    """

    hindrance: Hindrance | None
    may_double: bool = False
    places: tuple[int, ...] = ()

    @property
    def stored_places(self) -> str:
        return _PLACES.join(map(str, self.places))


def correction(wrong: str, right: str) -> Correction:
    """What was typed, checked as any recipient is. Raises InvalidInput for ``old_address`` and ``new_address``."""
    wrong, right = wrong.strip().removeprefix("@"), right.strip().removeprefix("@")
    errors: dict[str, list[str]] = {}
    found = {}
    for name, text in (("old_address", wrong), ("new_address", right)):
        try:
            found[name] = _address_or_domain(text) if text else ""
        except InvalidAddress as refused:
            errors[name] = [str(refused)]
    if not right:
        errors["new_address"] = ["Enter the corrected address."]
    if not errors and ("@" in right) != ("@" in wrong or not wrong):
        errors["new_address"] = [_SAME_KIND]
    if errors:
        raise InvalidInput(errors)
    made = Correction(_compared(found["old_address"]), found["new_address"])
    if made.wrong == _compared(made.right):
        raise InvalidInput({"new_address": ["Enter another address than the wrong one."]})
    return made


def judge(mail: MailStanding, action: ManyAction, known: DeedFacts, wanted: Correction | None = None) -> DeedVerdict:
    """What hinders this deed at this mail as it is now."""
    if mail.state in IN_HAND:
        return DeedVerdict(Hindrance.IN_HAND)
    if action is ManyAction.CANCEL:
        return DeedVerdict(None if mail.state in UNSENT else Hindrance.ENDED)
    if action is ManyAction.CORRECT and wanted:
        return _judge_correction(mail, known, wanted)
    hindrance = _hinders_sending(mail, known) or (_hinders_retry(mail, known))
    may_double = mail.uncertain > 0 or mail.state == State.HELD
    return DeedVerdict(hindrance, may_double=may_double and hindrance is None)


def addresses_of(mail: MailStanding, action: ManyAction, wanted: Correction | None) -> list[str]:
    """The addresses that a deed would send to, which the suppression list is asked for."""
    if action is ManyAction.RETRY:
        return _missing(mail.recipients)
    if wanted is None or action is ManyAction.CANCEL:
        return []
    return [new for each in _refused(mail, wanted) if (new := _corrected(mail, each, wanted))]


def _hinders_sending(mail: MailStanding, known: DeedFacts) -> Hindrance | None:
    """What hinders any sending of this mail."""
    if mail.state == State.SENT and not mail.has_content:
        return Hindrance.SENT
    if mail.state in SETTLED and _is_security(mail):
        return Hindrance.SECURITY
    if not mail.has_content:
        return Hindrance.CONTENT_GONE
    if mail.is_at_rest or (mail.state == State.HELD and mail.reason in HELD_FOR_ACCOUNT):
        return Hindrance.ACCOUNT
    return Hindrance.NO_KEY if mail.key_id not in known.keys else None


def _hinders_retry(mail: MailStanding, known: DeedFacts) -> Hindrance | None:
    if mail.state in UNSENT and mail.expires_at <= known.now:
        return Hindrance.EXPIRED
    if mail.state not in (*UNSENT, *DEAD):
        return Hindrance.SENT
    missing = _missing(mail.recipients)
    if not _is_security(mail) and missing and len(known.listed.held_back(missing, mail.account_id)) == len(missing):
        return Hindrance.SUPPRESSED
    return None


def _judge_correction(mail: MailStanding, known: DeedFacts, wanted: Correction) -> DeedVerdict:
    places = _refused(mail, wanted)
    if not places:
        return DeedVerdict(Hindrance.NOT_REFUSED)
    if _is_security(mail):
        return DeedVerdict(Hindrance.SECURITY)  # its link is for that person alone
    if not mail.has_content:
        return DeedVerdict(Hindrance.CONTENT_GONE)
    if hindrance := _hinders_sending(mail, known):
        return DeedVerdict(hindrance)
    if not wanted.wrong and len(places) > 1:
        return DeedVerdict(Hindrance.SEVERAL)
    found = [_hinders_place(mail, place, known, wanted) for place in places]
    free = tuple(place for place, hindrance in zip(places, found, strict=True) if hindrance is None)
    return DeedVerdict(None, places=free) if free else DeedVerdict(found[0])


def _hinders_place(mail: MailStanding, place: int, known: DeedFacts, wanted: Correction) -> Hindrance | None:
    if place in known.corrected.get(mail.id, ()):
        return Hindrance.CORRECTED
    new = _corrected(mail, place, wanted)
    if not new:
        return Hindrance.NOT_REFUSED
    if canonical(new) in {canonical(each["address"]) for each in mail.recipients}:
        return Hindrance.GETS_IT_ALREADY
    return Hindrance.SUPPRESSED if known.listed.why(new, mail.account_id) else None


def _refused(mail: MailStanding, wanted: Correction) -> list[int]:
    """The places of recipients that were refused for good, and whose address is the wrong one.

    Likewise those that are on the suppression list for it, and those at which an expired mail never got through.
    """
    given_up = mail.state == State.EXPIRED and not mail.uncertain
    return [
        place
        for place, each in enumerate(mail.recipients)
        if wanted.fits(each["address"])
        and (
            each["state"] == RecipientState.REFUSED
            or (each["state"] == RecipientState.SUPPRESSED and each.get("why") == Reason.LISTED_REFUSED)
            or (each["state"] == RecipientState.DEFERRED and given_up)
        )
    ]


def _corrected(mail: MailStanding, place: int, wanted: Correction) -> str:
    """The new address of a recipient; "" if the old one makes none."""
    try:
        return wanted.of(mail.recipients[place]["address"])
    except InvalidAddress:
        return ""


def _is_security(mail: MailStanding) -> bool:
    return mail.priority == Priority.SECURITY or mail.kind in SECURITY_KINDS


def _missing(recipients: Sequence[Recipient]) -> list[str]:
    return [each["address"] for each in recipients if each["state"] != RecipientState.ACCEPTED]


def _address_or_domain(text: str) -> str:
    if "@" in text:
        return ascii_recipient(text)
    try:
        return ascii_recipient(f"a@{text}").removeprefix("a@")
    except InvalidAddress:
        raise InvalidAddress("Enter an address or a domain, like example.com.") from None


def _compared(text: str) -> str:
    return canonical(text) if "@" in text else canonical_domain(text) if text else ""
