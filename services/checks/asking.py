"""What a connection test says once it is let in: whom it names, and what the answer proves of mail to others."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from services.delivery import refused_recipient
from services.settings.reach import Reach
from services.smtp.client import Envelope, Policy, SmtpClient
from services.smtp.settings import SmtpSettings
from services.smtp.wire import Deadline
from utils.addresses import ascii_address, ascii_domain
from utils.errors import DeliveryError

_MOST_WAYS: Final = 3  # in which it is said before the last
OWN_DOMAIN_ONLY: Final = "to your own domain only"
_OWN: Final = (
    "The server accepts email to {domain} without a sign-in. Whether it accepts email to other domains was not "
    "tested. Enter an address at another domain for the test email, then test again."
)
_MAILBOX: Final = "The server refuses {rcpt} only, which says nothing about email to other recipients."
_UNSEEN: Final = " Whether it accepts email to other domains was not seen: test with another address."
_GREYLISTED: Final = (
    "The server asks senders that it does not know yet to try again later (greylisting). Sealpost does that by itself."
)


@dataclass(frozen=True, kw_only=True)
class Said:
    """What it came to. ``caveat`` is what has to be added to a success, or ""."""

    reach: Reach
    caveat: str = ""
    queue_id: str = ""


@dataclass(kw_only=True)
class Asking:
    """The mail part of one test. ``relay`` is named as well before a message to ``rcpt`` goes out, if there is one."""

    settings: SmtpSettings
    policy: Policy
    rcpt: str
    relay: str = ""
    content: bytes | None = None
    _excused: dict[str, str] = field(default_factory=dict)

    def say(self, client: SmtpClient) -> Said:
        """Deliver the message, or only ask whether one would be taken; as mail goes, what is found out included.

        Raises DeliveryError, and whatever the observer raises.
        """
        deadline = Deadline(self.policy.total_seconds)
        for _ in range(_MOST_WAYS):
            try:
                return self._said(client)
            except DeliveryError as error:
                if not error.not_taken:
                    raise
                client.allow(deadline.remaining(), self.policy)
                client.open()  # as delivery does: what the server has just shown is known now
        return self._said(client)

    def _said(self, client: SmtpClient) -> Said:
        sender = self.settings.from_email
        client.find_out(sender)
        if not client.is_open:
            client.open()
        if self.content is None:
            self._name(client, self.rcpt)
            return self._proven(self.rcpt)
        if self.relay:
            self._name(client, self.relay, is_told=False)
        replies_to = ascii_address(self.settings.reply_to) if self.settings.reply_to else ""
        envelope = Envelope(sender=sender, recipients=(self.rcpt,), replies_to=replies_to)
        receipt = client.send(envelope, self.content)
        proven = self._proven(self.rcpt)
        if self.relay and not self._excused:
            proven = Said(reach=Reach.EVERYWHERE)
        return Said(reach=proven.reach, caveat=proven.caveat, queue_id=receipt.queue_id or "")

    def _name(self, client: SmtpClient, recipient: str, *, is_told: bool = True) -> None:
        """Name a recipient, and forget it. That it is refused for what it is, or put off, fails no test."""
        self._excused.pop(recipient, None)

        def excuses(error: DeliveryError) -> bool:
            if refused_recipient.is_greylisting(error):
                self._excused[recipient] = _GREYLISTED
            elif refused_recipient.is_about_mailbox(error, is_local=is_own(recipient, self.settings)):
                self._excused[recipient] = _MAILBOX.format(rcpt=recipient)
            return recipient in self._excused

        client.check_envelope(self.settings.from_email, recipient, excuses=excuses, is_told=is_told)

    def _proven(self, recipient: str) -> Said:
        has_login, caveat = bool(self.settings.username), self._excused.get(recipient, "")
        if has_login or not (caveat or is_own(recipient, self.settings)):
            return Said(reach=Reach.EVERYWHERE, caveat=caveat)
        if caveat:
            return Said(reach=Reach.UNSEEN, caveat=caveat + _UNSEEN)
        domain = recipient.rpartition("@")[2]
        return Said(reach=Reach.OWN_DOMAIN, caveat=_OWN.format(domain=domain))


def is_own(address: str, settings: SmtpSettings) -> bool:
    """Whether the server may have the mailboxes of this address: its domain is From's, or the server's own.

    A server takes mail for its own domain from anybody, so that this shows nothing of mail that it would pass on.
    """
    domain, ours = ascii_domain(address), ascii_domain(settings.from_email)
    return _are_related(domain, ours) or _is_within(settings.host.lower(), domain)


def to_name(settings: SmtpSettings, candidates: Iterable[str]) -> str:
    """The first of these addresses that is elsewhere, else the first, else From."""
    given = [address for address in candidates if address]
    return next((address for address in given if not is_own(address, settings)), [*given, settings.from_email][0])


def to_relay(settings: SmtpSettings, to: str, candidates: Iterable[str]) -> str:
    """An address elsewhere to name before a message to ``to`` that would show nothing of others; "" without need."""
    if settings.username or not is_own(to, settings):
        return ""
    return next((address for address in candidates if address and not is_own(address, settings)), "")


def _are_related(one: str, other: str) -> bool:
    return _is_within(one, other) or _is_within(other, one)


def _is_within(host: str, domain: str) -> bool:
    return host == domain or host.endswith(f".{domain}")
