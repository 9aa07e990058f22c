"""why a mail is as it is: codes in the outbox, where words stood."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# As they were when this was written, whatever they are called now. Words that are not among them stay, and are shown.
WORDS = {
    "no_server": "No mail server is usable.",
    "paused": "The mail server failed several times; it is tried again soon.",
    "throttled": "The sending limit is reached.",
    "slowed": "The mail server takes only so many mails a minute.",
    "withheld": "The mail server is down, and the next one would protect the mail less.",
    "pinned": "It may have arrived through a server that cannot be used now; only that one may send it again.",
    "given_back": "Its turn was over before the server took it. It goes on at once.",
    "no_key": "It was sealed with an APP_KEY that is not here. Restore it as APP_KEY_PREVIOUS.",
    "altered": "The row was changed outside of Sealpost, so it was not sent.",
    "failed_before_sending": "Sealpost itself failed before it was sent.",
    "lost_worker": "A worker died while it handed this mail over. It may have arrived.",
    "unknown_fate": "The server took this mail several times and never confirmed it. It may have arrived.",
    "too_late": "Its time was over before it could be sent.",
    "some_refused": "Some recipients were refused.",
    "cancelled": "Cancelled by hand.",
    "link_void": "Its link was void before it could be sent.",
    "nothing_is_sent": "MAIL_SUPPRESS_SEND is on, so nothing is sent.",
    "not_confirmed": "Server did not confirm the message",
    "link_lost": "Connection broke off",
    "down": "Server is not available",
    "not_heard": "Server did not hear of the mail",
    "no_room": "Server has no room now",
    "allowance": "Server's allowance is used up",
    "too_many_mails": "Server takes no more mails just now",
    "too_many_connections": "Server takes no more connections just now",
    "barred": "Server does not let us send this",
    "login_wanted": "Server wants a login",
    "no_relay": "Server passes no mail on for us",
    "not_owner": "Server does not let this login send as the From address",
    "name_refused": "Server refuses the name that we greet it with",
    "host_refused": "Server refuses mail from this machine",
    "not_understood": "Server did not understand us",
    "greylisted": "Server wants to be asked again later",
    "flooded": "Recipient gets too much mail just now",
    "too_many_recipients": "Too many recipients",
    "mailbox_full": "Recipient's mailbox is full",
    "recipient_forbidden": "Server's rules forbid this recipient",
    "from_domain": "Server does not trust the From domain",
    "no_recipient": "Recipient does not exist",
    "recipient_refused": "Recipient refused",
    "recipient_later": "Recipient cannot be reached just now",
    "sender_refused": "Sender address refused",
    "sender_later": "Server does not take the sender just now",
    "message_refused": "Message refused",
    "message_later": "Server does not take the message just now",
    "content_refused": "Server refused the message's content",
    "too_large": "Message too large",
    "no_smtputf8": "Server cannot take this address",
    "our_fault": "Sealpost itself failed",
    "settings": "Settings are not usable",
    "dns": "Could not find the server",
    "connect": "Could not connect to server",
    "greeting": "Server did not greet us",
    "ehlo": "Server refused our greeting",
    "encryption": "Could not encrypt the connection",
    "sign_in": "Authentication failed",
    "sign_in_later": "Server could not check the login",
    "ended_early": "Connection ended early",
    "no_sign_in": "Server offers no sign-in",
    "sign_in_unencrypted": "Sign-in needs encryption",
    "sign_in_unproven": "Server did not prove who it is",
    "sign_in_unusable": "Server's sign-in cannot be used",
    "not_smtp": "Server is not a mail server",
    "broken_reply": "Server's reply cannot be read",
    "tls_expected": "Server expects TLS from the first byte",
    "tls_unexpected": "Server does not start with TLS",
    "tls_not_offered": "Server does not offer STARTTLS",
    "certificate": "Certificate not trusted",
    "client_certificate": "Server asks for a client certificate",
    "tampered_with": "Connection was tampered with",
}
EARLIER_WORDS = {"Server's answer cannot be read": "broken_reply"}
# The only reason that had something behind it: "… Reference: 1f2e."
FAILED = "failed_before_sending"
BEFORE, AFTER = f"{WORDS[FAILED]} ", f"{FAILED}:"

outbox = sa.table("email_outbox", sa.column("reason", sa.Text()))


def upgrade() -> None:
    replace({text: code for code, text in WORDS.items()} | EARLIER_WORDS)
    begin_anew(BEFORE, AFTER)


def downgrade() -> None:
    replace(WORDS)
    begin_anew(AFTER, BEFORE)


def replace(others: dict[str, str]) -> None:
    """Look through the table once, however many reasons there are."""
    known = sa.case(others, value=outbox.c.reason)
    op.execute(outbox.update().where(outbox.c.reason.in_(list(others))).values(reason=known))


def begin_anew(start: str, other: str) -> None:
    rest = sa.func.substr(outbox.c.reason, len(start) + 1)
    begins = sa.func.substr(outbox.c.reason, 1, len(start)) == start
    op.execute(outbox.update().where(begins).values(reason=sa.literal(other) + rest))
