"""Why a mail is as it is: codes, which rows hold and code compares, and the one table of the words that people read.

Knows nothing of ours, so that whoever decides may name a reason. Other words may be chosen at any time; a code that
rows hold stays, or a migration brings them along.
"""

from typing import Final

from utils.allowed_places import NOT_FOR_ACCOUNTS
from utils.worded_code import WordedCode


class Reason(WordedCode):
    """A code of ``email_outbox.reason``, behind which a detail may stand (see ``coded``), and the words for it."""

    # What becomes of a queued mail.
    NO_SERVER = "no_server", "No mail server can be used."
    NO_OWN_SERVER = "no_own_server", "The account’s own server cannot be used, and no other may send for it."
    PAUSED = "paused", "The mail server failed several times. It will be tried again soon."
    SILENT = "silent", "The mail server is not responding. Sealpost will try again soon."
    THROTTLED = "throttled", "The sending limit is reached."
    ACCOUNT_LIMIT = "account_limit", "The account’s sending limit is reached:"
    GLOBAL_LIMIT = "global_limit", "The account’s limit for the global server is reached:"
    SLOWED = "slowed", "The mail server accepts only so many emails a minute."
    WITHHELD = "withheld", "The mail server is down, and the next one would protect this email less."
    PINNED = (
        "pinned",
        "It may have arrived. Only the server that took it may send it again, and that one cannot be used now.",
    )
    GIVEN_BACK = "given_back", "Its turn ended before the server accepted it. It will be tried again at once."
    NO_KEY = "no_key", "It is sealed with a missing APP_KEY. Add that key to APP_KEY_PREVIOUS."
    ALTERED = "altered", "Not sent: it was changed outside Sealpost."
    FAILED_BEFORE_SENDING = "failed_before_sending", "Sealpost failed before it was sent."
    LOST_WORKER = "lost_worker", "A worker stopped while sending this email. It may have arrived."
    UNKNOWN_FATE = (
        "unknown_fate",
        "The server never confirmed this email in several attempts. It may have arrived.",
    )
    TOO_LATE = "too_late", "It expired before it could be sent."
    SOME_REFUSED = "some_refused", "Some recipients were refused."
    HELD = "held", "It may have been sent after the back-up that was restored. Release it, or cancel it."
    CANCELLED = "cancelled", "Cancelled manually."
    ACCOUNT_DISABLED = "account_disabled", "Its account is disabled."
    ACCOUNT_DELETED = "account_deleted", "Its account was deleted."
    LINK_VOID = "link_void", "Its link stopped working before it could be sent."
    NOTHING_IS_SENT = "nothing_is_sent", "MAIL_SUPPRESS_SEND is on, so nothing is sent."
    LISTED_REFUSED = "listed_refused", "On the suppression list: refused for good twice."
    LISTED_COMPLAINT = "listed_complaint", "On the suppression list: the recipient complained."
    LISTED_MANUAL = "listed_manual", "On the suppression list: added manually."
    SOME_SUPPRESSED = "some_suppressed", "Some recipients are on the suppression list."
    # What a server's answer tells.
    NOT_CONFIRMED = "not_confirmed", "Server did not confirm the message"
    LINK_LOST = "link_lost", "Connection was lost"
    DOWN = "down", "Server is not available"
    NOT_HEARD = "not_heard", "Server did not get the email"
    NO_ROOM = "no_room", "Server is out of space"
    ALLOWANCE = "allowance", "Sending quota is used up"
    TOO_MANY_MAILS = "too_many_mails", "Server is limiting the sending rate"
    TOO_MANY_CONNECTIONS = "too_many_connections", "Server accepts no more connections for now"
    BARRED = "barred", "Server does not allow this email"
    LOGIN_WANTED = "login_wanted", "Server requires sign-in"
    NO_RELAY = "no_relay", "Server does not relay this email"
    NOT_OWNER = "not_owner", "Server does not allow this user name to send as the From address"
    NAME_REFUSED = "name_refused", "Server refuses the EHLO name"
    HOST_REFUSED = "host_refused", "Server refuses mail from this machine"
    NO_HOST_NAME = "no_host_name", "Server finds no valid reverse DNS for the sending machine"
    BLOCK_LISTED = "block_listed", "Server has the sender on a block list"
    ENCRYPTION_WANTED = "encryption_wanted", "Server requires encryption"
    ACCOUNT_HELD = "account_held", "Provider has suspended the account, or not opened it yet"
    OWN_MAILBOX_FULL = "own_mailbox_full", "Sending mailbox is full"
    SERVER_FAULT = "server_fault", "Server has a temporary fault"
    NOT_UNDERSTOOD = "not_understood", "Server did not understand a command"
    GREYLISTED = "greylisted", "Server asked to try again later"
    FLOODED = "flooded", "Recipient is getting too much mail"
    TOO_MANY_RECIPIENTS = "too_many_recipients", "Too many recipients"
    MAILBOX_FULL = "mailbox_full", "Recipient’s mailbox is full"
    RECIPIENT_FORBIDDEN = "recipient_forbidden", "Server policy refused this recipient"
    FROM_DOMAIN = "from_domain", "Server does not trust the From domain"
    NO_RECIPIENT = "no_recipient", "Recipient does not exist"
    RECIPIENT_REFUSED = "recipient_refused", "Recipient refused"
    RECIPIENT_LATER = "recipient_later", "Recipient cannot be reached for now"
    SENDER_REFUSED = "sender_refused", "Sender address refused"
    SENDER_LATER = "sender_later", "Server refused the sender for now"
    MESSAGE_REFUSED = "message_refused", "Message refused"
    MESSAGE_LATER = "message_later", "Server refused the message for now"
    CONTENT_REFUSED = "content_refused", "Server refused the message’s content"
    TOO_LARGE = "too_large", "Message too large"
    NO_SMTPUTF8 = "no_smtputf8", "Server does not support this address"
    # What keeps a server from being used at all.
    OUR_FAULT = "our_fault", "Sealpost failed"
    SETTINGS = "settings", "Settings cannot be used"
    NOT_FOR_ACCOUNTS = "not_for_accounts", NOT_FOR_ACCOUNTS
    DNS = "dns", "Could not find the server"
    CONNECT = "connect", "Could not connect to server"
    GREETING = "greeting", "No greeting from server"
    EHLO = "ehlo", "Server refused EHLO"
    ENCRYPTION = "encryption", "Could not encrypt the connection"
    SIGN_IN = "sign_in", "Authentication failed"
    SIGN_IN_LATER = "sign_in_later", "Server could not check the sign-in"
    ENDED_EARLY = "ended_early", "Connection ended early"
    NO_SIGN_IN = "no_sign_in", "Server does not offer sign-in"
    OAUTH_NOT_OFFERED = "oauth_not_offered", "Server does not offer sign-in by token"
    TOKEN_DEAD = "token_dead", "Server needs sign-in again"
    TOKEN_UNAVAILABLE = "token_unavailable", "No token for now from the provider"
    SIGN_IN_UNENCRYPTED = "sign_in_unencrypted", "Sign-in needs encryption"
    SIGN_IN_UNPROVEN = "sign_in_unproven", "Server did not prove its identity"
    SIGN_IN_UNUSABLE = "sign_in_unusable", "Server’s sign-in cannot be used"
    NOT_SMTP = "not_smtp", "Not a mail server"
    BROKEN_REPLY = "broken_reply", "Server’s reply cannot be read"
    TLS_EXPECTED = "tls_expected", "Server expects TLS from the start"
    TLS_UNEXPECTED = "tls_unexpected", "Server does not start with TLS"
    TLS_NOT_OFFERED = "tls_not_offered", "Server does not offer STARTTLS"
    CERTIFICATE = "certificate", "Certificate not trusted"
    CLIENT_CERTIFICATE = "client_certificate", "Server requires a client certificate"
    TAMPERED_WITH = "tampered_with", "Connection was tampered with"


# None of these is ever about one mail: the server cannot be used at all.
OF_DOWN_SERVERS: Final = (
    Reason.PAUSED, Reason.SILENT, Reason.SETTINGS, Reason.DNS, Reason.CONNECT, Reason.GREETING, Reason.EHLO,
    Reason.ENCRYPTION, Reason.SIGN_IN, Reason.SIGN_IN_LATER, Reason.ENDED_EARLY, Reason.NO_SIGN_IN,
    Reason.OAUTH_NOT_OFFERED, Reason.TOKEN_DEAD, Reason.TOKEN_UNAVAILABLE, Reason.SIGN_IN_UNENCRYPTED,
    Reason.SIGN_IN_UNPROVEN, Reason.SIGN_IN_UNUSABLE, Reason.NOT_SMTP, Reason.BROKEN_REPLY, Reason.TLS_EXPECTED,
    Reason.TLS_UNEXPECTED, Reason.TLS_NOT_OFFERED, Reason.CERTIFICATE, Reason.CLIENT_CERTIFICATE, Reason.TAMPERED_WITH,
)  # fmt: skip
HELD_FOR_ACCOUNT: Final = (Reason.ACCOUNT_DISABLED, Reason.ACCOUNT_DELETED)  # which no click releases
_KNOWN: Final = frozenset(Reason)
_CODES: Final = {reason.text: reason for reason in Reason}  # as results were kept before there were codes
_DETAIL: Final = ":"  # no code holds one


def coded(reason: Reason, detail: str = "") -> str:
    """What a row holds: the code, and behind it what is true of this mail alone."""
    return f"{reason}{_DETAIL}{detail}" if detail else reason.value


def code_of(stored: str) -> str:
    """The code alone of what a row holds."""
    return stored.partition(_DETAIL)[0]


def words(stored: str) -> str:
    """What people read of what a row holds; words that stand there from a time before the codes, as they are."""
    code, _, detail = stored.partition(_DETAIL)
    text = Reason(code).text if code in _KNOWN else ""
    return f"{text} {detail}".rstrip() if text else stored


def recoded(stored: str) -> str:
    """The same as a row holds it now, of a result that an earlier version has kept in words."""
    told = Reason.FAILED_BEFORE_SENDING.text
    if stored.startswith(f"{told} "):
        return coded(Reason.FAILED_BEFORE_SENDING, stored.removeprefix(told).strip())
    return _CODES.get(stored, stored)
