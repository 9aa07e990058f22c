"""Why a mail is as it is: codes, which rows hold and code compares, and the one table of the words that people read.

Knows nothing of ours, so that whoever decides may name a reason. Other words may be chosen at any time; a code that
rows hold stays, or a migration brings them along.
"""

from enum import StrEnum
from typing import Final


class Reason(StrEnum):
    """A code of ``email_outbox.reason``, behind which a detail may stand: see ``coded``."""

    # What becomes of a queued mail.
    NO_SERVER = "no_server"
    PAUSED = "paused"
    THROTTLED = "throttled"
    SLOWED = "slowed"
    WITHHELD = "withheld"
    PINNED = "pinned"
    GIVEN_BACK = "given_back"
    NO_KEY = "no_key"
    ALTERED = "altered"
    FAILED_BEFORE_SENDING = "failed_before_sending"
    LOST_WORKER = "lost_worker"
    UNKNOWN_FATE = "unknown_fate"
    TOO_LATE = "too_late"
    SOME_REFUSED = "some_refused"
    CANCELLED = "cancelled"
    LINK_VOID = "link_void"
    ACCOUNT_DELETED = "account_deleted"
    NOTHING_IS_SENT = "nothing_is_sent"
    # What a server's answer tells.
    NOT_CONFIRMED = "not_confirmed"
    LINK_LOST = "link_lost"
    DOWN = "down"
    NOT_HEARD = "not_heard"
    NO_ROOM = "no_room"
    ALLOWANCE = "allowance"
    TOO_MANY_MAILS = "too_many_mails"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    BARRED = "barred"
    LOGIN_WANTED = "login_wanted"
    NO_RELAY = "no_relay"
    NOT_OWNER = "not_owner"
    NAME_REFUSED = "name_refused"
    HOST_REFUSED = "host_refused"
    NOT_UNDERSTOOD = "not_understood"
    GREYLISTED = "greylisted"
    FLOODED = "flooded"
    TOO_MANY_RECIPIENTS = "too_many_recipients"
    MAILBOX_FULL = "mailbox_full"
    RECIPIENT_FORBIDDEN = "recipient_forbidden"
    FROM_DOMAIN = "from_domain"
    NO_RECIPIENT = "no_recipient"
    RECIPIENT_REFUSED = "recipient_refused"
    RECIPIENT_LATER = "recipient_later"
    SENDER_REFUSED = "sender_refused"
    SENDER_LATER = "sender_later"
    MESSAGE_REFUSED = "message_refused"
    MESSAGE_LATER = "message_later"
    CONTENT_REFUSED = "content_refused"
    TOO_LARGE = "too_large"
    NO_SMTPUTF8 = "no_smtputf8"
    # What keeps a server from being used at all.
    OUR_FAULT = "our_fault"
    SETTINGS = "settings"
    DNS = "dns"
    CONNECT = "connect"
    GREETING = "greeting"
    EHLO = "ehlo"
    ENCRYPTION = "encryption"
    SIGN_IN = "sign_in"
    SIGN_IN_LATER = "sign_in_later"
    ENDED_EARLY = "ended_early"
    NO_SIGN_IN = "no_sign_in"
    SIGN_IN_UNENCRYPTED = "sign_in_unencrypted"
    SIGN_IN_UNPROVEN = "sign_in_unproven"
    SIGN_IN_UNUSABLE = "sign_in_unusable"
    NOT_SMTP = "not_smtp"
    BROKEN_REPLY = "broken_reply"
    TLS_EXPECTED = "tls_expected"
    TLS_UNEXPECTED = "tls_unexpected"
    TLS_NOT_OFFERED = "tls_not_offered"
    CERTIFICATE = "certificate"
    CLIENT_CERTIFICATE = "client_certificate"
    TAMPERED_WITH = "tampered_with"


WORDS: Final = {
    Reason.NO_SERVER: "No mail server is usable.",
    Reason.PAUSED: "The mail server failed several times; it is tried again soon.",
    Reason.THROTTLED: "The sending limit is reached.",
    Reason.SLOWED: "The mail server takes only so many mails a minute.",
    Reason.WITHHELD: "The mail server is down, and the next one would protect the mail less.",
    Reason.PINNED: "It may have arrived through a server that cannot be used now; only that one may send it again.",
    Reason.GIVEN_BACK: "Its turn was over before the server took it. It goes on at once.",
    Reason.NO_KEY: "It was sealed with an APP_KEY that is not here. Restore it as APP_KEY_PREVIOUS.",
    Reason.ALTERED: "The row was changed outside of Sealpost, so it was not sent.",
    Reason.FAILED_BEFORE_SENDING: "Sealpost itself failed before it was sent.",
    Reason.LOST_WORKER: "A worker died while it handed this mail over. It may have arrived.",
    Reason.UNKNOWN_FATE: "The server took this mail several times and never confirmed it. It may have arrived.",
    Reason.TOO_LATE: "Its time was over before it could be sent.",
    Reason.SOME_REFUSED: "Some recipients were refused.",
    Reason.CANCELLED: "Cancelled by hand.",
    Reason.LINK_VOID: "Its link was void before it could be sent.",
    Reason.ACCOUNT_DELETED: "The account that it was sent for was deleted.",
    Reason.NOTHING_IS_SENT: "MAIL_SUPPRESS_SEND is on, so nothing is sent.",
    Reason.NOT_CONFIRMED: "Server did not confirm the message",
    Reason.LINK_LOST: "Connection broke off",
    Reason.DOWN: "Server is not available",
    Reason.NOT_HEARD: "Server did not hear of the mail",
    Reason.NO_ROOM: "Server has no room now",
    Reason.ALLOWANCE: "Server's allowance is used up",
    Reason.TOO_MANY_MAILS: "Server takes no more mails just now",
    Reason.TOO_MANY_CONNECTIONS: "Server takes no more connections just now",
    Reason.BARRED: "Server does not let us send this",
    Reason.LOGIN_WANTED: "Server wants a login",
    Reason.NO_RELAY: "Server passes no mail on for us",
    Reason.NOT_OWNER: "Server does not let this login send as the From address",
    Reason.NAME_REFUSED: "Server refuses the name that we greet it with",
    Reason.HOST_REFUSED: "Server refuses mail from this machine",
    Reason.NOT_UNDERSTOOD: "Server did not understand us",
    Reason.GREYLISTED: "Server wants to be asked again later",
    Reason.FLOODED: "Recipient gets too much mail just now",
    Reason.TOO_MANY_RECIPIENTS: "Too many recipients",
    Reason.MAILBOX_FULL: "Recipient's mailbox is full",
    Reason.RECIPIENT_FORBIDDEN: "Server's rules forbid this recipient",
    Reason.FROM_DOMAIN: "Server does not trust the From domain",
    Reason.NO_RECIPIENT: "Recipient does not exist",
    Reason.RECIPIENT_REFUSED: "Recipient refused",
    Reason.RECIPIENT_LATER: "Recipient cannot be reached just now",
    Reason.SENDER_REFUSED: "Sender address refused",
    Reason.SENDER_LATER: "Server does not take the sender just now",
    Reason.MESSAGE_REFUSED: "Message refused",
    Reason.MESSAGE_LATER: "Server does not take the message just now",
    Reason.CONTENT_REFUSED: "Server refused the message's content",
    Reason.TOO_LARGE: "Message too large",
    Reason.NO_SMTPUTF8: "Server cannot take this address",
    Reason.OUR_FAULT: "Sealpost itself failed",
    Reason.SETTINGS: "Settings are not usable",
    Reason.DNS: "Could not find the server",
    Reason.CONNECT: "Could not connect to server",
    Reason.GREETING: "Server did not greet us",
    Reason.EHLO: "Server refused our greeting",
    Reason.ENCRYPTION: "Could not encrypt the connection",
    Reason.SIGN_IN: "Authentication failed",
    Reason.SIGN_IN_LATER: "Server could not check the login",
    Reason.ENDED_EARLY: "Connection ended early",
    Reason.NO_SIGN_IN: "Server offers no sign-in",
    Reason.SIGN_IN_UNENCRYPTED: "Sign-in needs encryption",
    Reason.SIGN_IN_UNPROVEN: "Server did not prove who it is",
    Reason.SIGN_IN_UNUSABLE: "Server's sign-in cannot be used",
    Reason.NOT_SMTP: "Server is not a mail server",
    Reason.BROKEN_REPLY: "Server's reply cannot be read",
    Reason.TLS_EXPECTED: "Server expects TLS from the first byte",
    Reason.TLS_UNEXPECTED: "Server does not start with TLS",
    Reason.TLS_NOT_OFFERED: "Server does not offer STARTTLS",
    Reason.CERTIFICATE: "Certificate not trusted",
    Reason.CLIENT_CERTIFICATE: "Server asks for a client certificate",
    Reason.TAMPERED_WITH: "Connection was tampered with",
}

_CODES: Final[dict[str, Reason]] = {text: reason for reason, text in WORDS.items()}
_DETAIL: Final = ":"  # no code holds one


def coded(reason: Reason, detail: str = "") -> str:
    """What a row holds: the code, and behind it what is true of this mail alone."""
    return f"{reason}{_DETAIL}{detail}" if detail else reason.value


def words(stored: str) -> str:
    """What people read of what a row holds; words that stand there from a time before the codes, as they are."""
    code, _, detail = stored.partition(_DETAIL)
    text = WORDS[Reason(code)] if code in _KNOWN else ""
    return f"{text} {detail}".rstrip() if text else stored


def recoded(stored: str) -> str:
    """The same as a row holds it now, of a result that an earlier version has kept in words."""
    told = WORDS[Reason.FAILED_BEFORE_SENDING]
    if stored.startswith(f"{told} "):
        return coded(Reason.FAILED_BEFORE_SENDING, stored.removeprefix(told).strip())
    return _CODES.get(stored, stored)


_KNOWN: Final = frozenset(Reason)
