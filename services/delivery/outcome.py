"""What became of one mail at one server."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final, NamedTuple

from services.delivery import retry_policy
from services.delivery.retry_policy import Verdict, Whose
from services.outbox import reasons
from services.outbox.reasons import Reason
from services.settings.health import Meeting, What
from services.settings.route import RouteStep
from services.smtp.client import Receipt
from services.smtp.trace import Trace
from services.smtp.transcript import SpokenLine
from utils.errors import DeliveryError, Fault

ACCEPTED: Final = "accepted"
NOT_CONFIGURED: Final = "not_configured"
SUPPRESSED: Final = "suppressed"
LONG: Final = 120.0  # seconds for which a server wants no more, from which on it counts as paused
DELETED_SERVER: Final = "Deleted server"  # what it was is not known any more
THROTTLED: Final = "throttled"  # not said to the server: our own limit for it, or for the account, is reached


class Withheld(NamedTuple):
    """A server that may not take over, and why."""

    server: RouteStep
    reason: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a mail. ``message`` is from a closed set; ``ms`` counts the whole attempt."""

    kind: str
    message: str
    ms: int
    server: RouteStep | None = None
    receipt: Receipt | None = None
    error: DeliveryError | None = None
    refused: list[dict[str, Any]] = field(default_factory=list)
    skipped: tuple["Outcome", ...] = ()  # servers tried before, which were down
    blocked_by: RouteStep | None = None  # the account's own server, which cannot be used and nobody may stand in for
    withheld: Withheld | None = None  # the next server, which would protect the mail less
    of_account: bool = False  # the limit that is reached is the account's, whichever server is asked
    trace: Trace | None = None  # what is noted of the mail on its way to the server
    is_about_it: bool = False  # the server serves others meanwhile, so that what leaves a doubt is about this mail
    is_weighed: bool = False  # it was: what leaves a doubt, and is not about this mail, is the server's

    @cached_property
    def verdict(self) -> Verdict | None:
        """Whose fault it is that the mail was not taken; None if it was."""
        return retry_policy.of_error(self.error) if self.error else None

    @cached_property
    def meeting(self) -> Meeting | None:
        """What the mail met at the server, for how that is; None where it tells nothing of it."""
        if self.server is None or self.is_throttled or self.was_ended:
            return None
        if self.verdict is None or self.error is None:
            return Meeting(what=What.WENT) if self.receipt else None
        met = meeting_of(self.verdict, is_about_it=self.is_about_it, is_weighed=self.is_weighed)
        return replace(met, is_refused_sign_in=self.error.is_refused_sign_in) if met else None

    @property
    def is_server_down(self) -> bool:
        """Whether the server, and not the mail, is at fault, and the message has not been handed over."""
        return self.verdict is not None and self.verdict.goes_on and not self.was_ended

    @property
    def is_settings_fault(self) -> bool:
        """Whether the server will refuse all mail, or not let us in, until somebody mends the settings."""
        is_lasting = self.verdict is not None and self.verdict.whose is Whose.SETTINGS
        return is_lasting and not self.is_about_it and not self.was_ended

    @property
    def goes_further(self) -> bool:
        """Whether the next server of the route is tried, as this one's rule has it."""
        if self.server is None:
            return False
        is_down = self.is_server_down
        is_unreachable = is_down and self.verdict is not None and self.verdict.is_unreachable
        return self.server.lets_go(is_down=is_down or self.has_server_had_enough, is_unreachable=is_unreachable)

    @property
    def fell_back_from(self) -> int | None:
        """The account's own server that another has sent instead of; None if none has."""
        own = self.server.stands_in_for if self.server and self.receipt else None
        return own.config_id if own else None

    @property
    def was_ended(self) -> bool:
        """Whether we ended the conversation, so that it tells nothing of the server."""
        return self.error is not None and self.error.ended_by_us

    @property
    def is_throttled(self) -> bool:
        """Whether the server was not asked, since as many mails have gone as may."""
        return self.kind == THROTTLED

    @property
    def has_server_had_enough(self) -> bool:
        """Whether it was not asked since it has had as many mails as we give it, so that another may be."""
        return self.is_throttled and not self.of_account

    @property
    def own_reason(self) -> str:
        """Why the server was not asked, in our words, since there are none of its; "" if it was."""
        return self.message if self.is_throttled or self.blocked_by or self.is_for_nobody else ""

    @property
    def is_for_nobody(self) -> bool:
        """Whether no server was asked since every recipient is on the suppression list."""
        return self.kind == SUPPRESSED and bool(self.refused)

    @property
    def cause(self) -> str:
        """Why it was not accepted, as the code of a reason; "" if it was."""
        if self.verdict is not None:
            return reasons.code_of(self.verdict.reason)
        if self.is_throttled:
            return Reason.ACCOUNT_LIMIT if self.of_account else Reason.THROTTLED
        if self.is_for_nobody:
            return str(self.refused[0]["suppressed"])
        return {NOT_CONFIGURED: Reason.NO_SERVER, SUPPRESSED: Reason.NOTHING_IS_SENT}.get(self.kind, "")

    @property
    def is_ours(self) -> bool:
        """Whether we failed, and nothing of the mail was said to the server."""
        return self.error is not None and self.error.fault is Fault.OURS and not self.error.may_have_been_sent

    @property
    def tls(self) -> str | None:
        """The version of TLS; None where it did not come to that, or to no connection."""
        return self.trace.tls if self.trace and self.trace.tls else self.error.tls if self.error else None

    @property
    def queue_id(self) -> str | None:
        """The server's own name for the mail, where it said one in a form that is known."""
        return self.receipt.queue_id if self.receipt else None

    @property
    def spoken(self) -> Sequence[SpokenLine]:
        """What was said, where that is written down: of the mail, or of the connection that did not come about."""
        of_mail = self.trace.spoken if self.trace else []
        opening = [SpokenLine(*line) for line in self.error.spoken] if self.error else []
        return [*of_mail, *opening]

    @property
    def is_complete(self) -> bool:
        """Whether every recipient was accepted, or nothing is to be sent here."""
        return self.kind in (ACCEPTED, SUPPRESSED) and not self.refused


def meeting_of(
    verdict: Verdict, *, is_about_it: bool = False, is_weighed: bool = False, is_test: bool = False
) -> Meeting | None:
    """What a failure tells of the server: nothing where it is about one mail, or one recipient, but that it answers.

    None where the failure is ours. One that ``is_weighed`` is the server's, whatever doubt there was, unless it
    ``is_about_it``; of any other that leaves a doubt the server may recover by the next mail.
    """
    if verdict.whose is Whose.OURS:
        return None
    if is_about_it or verdict.whose not in retry_policy.OF_SERVERS:
        return Meeting(what=What.ANSWERED, is_test=is_test)
    if verdict.slows and (verdict.seconds or 0) >= LONG:
        return Meeting(what=What.PAUSED, reason=verdict.reason, seconds=verdict.seconds or 0, is_test=is_test)
    is_unreachable = verdict.is_unreachable and verdict.reason is not Reason.TOO_MANY_CONNECTIONS
    is_lasting = verdict.opens and (is_weighed or not verdict.is_doubtful)
    return Meeting(
        what=What.FAILED,
        reason=verdict.reason,
        is_broken=is_unreachable or is_lasting,
        is_unreachable=is_unreachable,
        may_be_crowded=verdict.crowds,
        is_test=is_test,
    )
