"""Emails that a server does not take from us: for who sends, from where, to whom, how much or what."""

from typing import Final

from tests.browser.broken_servers import (
    LOGIN,
    OFFERS,
    Operator,
    UntilMended,
    besides,
    mail_server,
    offering,
    one_at_a_time,
    only_from,
    only_greeted_by,
    only_signed_in,
    only_with,
    privileged,
)
from tests.browser.broken_setup import NO_LOGIN, SENDER, THE_LOGIN, BrokenSetup

NO_PUBLIC_NAME: Final = "504 5.5.2 <web-1>: Helo command rejected: need fully-qualified hostname"
SEND_AS_LOGIN: Final = f"Send as {LOGIN}, with replies to {SENDER}"
SEND_AS_DENIED: Final = "550 5.7.60 SMTP; Client does not have permissions to send as this sender"
ON_A_BLOCK_LIST: Final = (
    "554 5.7.1 Service unavailable; Client host [203.0.113.5] blocked using zen.spamhaus.org; "
    "https://www.spamhaus.org/query/ip/203.0.113.5"
)

SENDING: Final = [
    BrokenSetup(
        name="no sign-in where the server wants one",
        place=mail_server(MAIL=only_signed_in("250 ok", "530 5.7.0 Authentication required")),
        typed=NO_LOGIN,
        title="The server needs a sign-in",
        says=("Enter user name and password.", "Go to “User name”"),
        correct=THE_LOGIN,
    ),
    BrokenSetup(
        name="a sender who is asked for TLS over TLS",
        place=mail_server(MAIL=UntilMended("530 5.7.0 Must issue a STARTTLS command first", "250 ok")),
        title="The server does not see the encryption",
        says=("Ask the server’s administrator.",),
        mend=Operator.change_the_server,
    ),
    BrokenSetup(
        name="another From than the login's",
        place=mail_server(
            MAIL=only_with(LOGIN, "250 ok", f"553 5.7.1 <{SENDER}>: Sender address rejected: not owned by user {LOGIN}")
        ),
        title="Signed in, but not allowed to send as this address",
        press=SEND_AS_LOGIN,
        changed={"From address": LOGIN, "Reply-To address": SENDER},
    ),
    BrokenSetup(
        name="another From than the login's, said late",
        place=mail_server(
            RCPT=only_from(LOGIN, "250 ok", f"553 5.7.1 <{SENDER}>: Sender address rejected: not owned by user {LOGIN}")
        ),
        title="Signed in, but not allowed to send as this address",
        press=SEND_AS_LOGIN,
        changed={"From address": LOGIN, "Reply-To address": SENDER},
    ),
    BrokenSetup(
        name="another From than the mailbox's at Microsoft",
        place=mail_server(MESSAGE=only_from(LOGIN, "250 2.0.0 Ok: queued as S0001", SEND_AS_DENIED)),
        typed={"Server": "smtp.office365.com"},
        sends=True,
        title="This mailbox may not send as that address",
        press=SEND_AS_LOGIN,
        changed={"From address": LOGIN, "Reply-To address": SENDER},
    ),
    BrokenSetup(
        name="a sender whom the server refuses after the sign-in",
        place=mail_server(MAIL=only_with(LOGIN, "250 ok", "550 5.7.1 Not permitted")),
        title="The sender was refused",
        press=SEND_AS_LOGIN,
        changed={"From address": LOGIN, "Reply-To address": SENDER},
    ),
    BrokenSetup(
        name="a From domain that does not exist",
        place=mail_server(
            RCPT=only_from(
                "@firm.example", "250 ok", "550 5.1.8 <hello@frim.example>: Sender address rejected: Domain not found"
            )
        ),
        typed={"From address": "hello@frim.example"},
        title="The From domain does not exist",
        press=f"Send as {LOGIN}, with replies to hello@frim.example",
    ),
    BrokenSetup(
        name="letters in From that the server does not know",
        place=mail_server(),
        typed={"From address": "grüße@firm.example"},
        title="The server does not support the From address",
        press=f"Send as {LOGIN}, with replies to grüße@firm.example",
    ),
    BrokenSetup(
        name="a relay for those who sign in",
        place=mail_server(
            RCPT=only_signed_in("250 ok", "554 5.7.1 <alice@example.com>: Relay access denied"),
        ),
        typed=NO_LOGIN,
        sends=True,
        title="The server does not relay this email",
        says=("Enter user name and password",),
        correct=THE_LOGIN,
    ),
    BrokenSetup(
        name="a relay for those who sign in, found before a mail",
        place=mail_server(
            RCPT=only_signed_in("250 ok", "554 5.7.1 <alice@example.com>: Relay access denied"),
        ),
        typed=NO_LOGIN,
        title="The server does not relay this email",
        says=("Enter user name and password",),
        correct=THE_LOGIN,
    ),
    BrokenSetup(
        name="a qmail that relays for nobody",
        place=mail_server(
            RCPT=only_signed_in("250 ok", "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)"),
        ),
        typed=NO_LOGIN,
        title="The server accepts mail only for its own domains",
        says=("Enter user name and password",),
        correct=THE_LOGIN,
    ),
    BrokenSetup(
        name="a server that wants mail to be fetched first",
        place=mail_server(
            RCPT=only_signed_in("250 ok", "550 5.7.1 Relaying denied. POP before SMTP is required"),
        ),
        typed=NO_LOGIN,
        title="The server expects mail to be fetched first",
        says=("Enter user name and password",),
        correct=THE_LOGIN,
    ),
    BrokenSetup(
        name="an EHLO name of the inner network",
        place=mail_server(EHLO=only_with("firm.example", OFFERS, NO_PUBLIC_NAME)),
        typed={"EHLO name": "web-1"},
        title="The server does not accept the EHLO name",
        press="Use firm.example as EHLO name and test again",
        changed={"EHLO name": "firm.example"},
    ),
    BrokenSetup(
        name="an EHLO name that is refused late",
        place=mail_server(RCPT=only_greeted_by("firm.example", "250 ok", NO_PUBLIC_NAME)),
        typed={"EHLO name": "web-1"},
        title="The server does not accept the EHLO name",
        press="Use firm.example as EHLO name and test again",
        changed={"EHLO name": "firm.example"},
    ),
    BrokenSetup(
        name="a block list",
        place=privileged(besides(mail_server(RCPT=ON_A_BLOCK_LIST, port=25), mail_server(port=587))),
        title="This machine is on a block list",
        says=("Spamhaus lists 203.0.113.5",),
        press="Use port 587 with STARTTLS and test again",
        changed={"Port": "587"},
    ),
    BrokenSetup(
        name="a block list at the only server",
        place=mail_server(RCPT=UntilMended(ON_A_BLOCK_LIST, "250 ok")),
        title="This machine is on a block list",
        says=("look 203.0.113.5 up at Spamhaus: the link leads there.",),
        mend=Operator.change_the_server,
    ),
    BrokenSetup(
        name="a machine without a name",
        place=mail_server(
            RCPT=UntilMended("450 4.7.25 Client host rejected: cannot find your hostname, [203.0.113.5]", "250 ok")
        ),
        title="This machine’s reverse DNS is missing or wrong",
        says=("ask the provider of 203.0.113.5 to point 5.113.0.203.in-addr.arpa to",),
        mend=Operator.change_the_server,
    ),
    BrokenSetup(
        name="a server that puts strangers off",
        place=mail_server(RCPT=["451 4.7.1 Greylisted, please try again in 5 minutes", "250 ok"]),
        sends=True,
        title="The receiving server asks to try later",
        says=("This is temporary. Try again in 5 minutes.", "Nothing to change"),
    ),
    BrokenSetup(
        name="more mail than the server takes in a minute",
        place=mail_server(RCPT=UntilMended("451 4.7.1 Recipient rate limit, slow down", "250 ok")),
        title="Too much mail at once",
        says=("Wait, then test again.",),
        mend=Operator.change_the_server,
    ),
    BrokenSetup(
        name="a used-up daily limit",
        place=mail_server(
            MAIL=["550 5.4.5 Daily user sending limit exceeded. 5b1f17b1804b1-47 - gsmtp", "250 ok"],
        ),
        typed={"Server": "smtp.gmail.com"},
        sends=True,
        title="Gmail’s daily limit is reached",
        says=("This is temporary. Try again in 24 hours.",),
    ),
    BrokenSetup(
        name="a message that looks like spam",
        place=mail_server(MESSAGE=UntilMended("554 5.7.1 Message rejected as spam", "250 2.0.0 Ok: queued as S0001")),
        sends=True,
        title="The message was refused as spam",
        says=("Check the From domain’s SPF, DKIM and DMARC records", "554 5.7.1 Message rejected as spam"),
        mend=Operator.change_the_server,
    ),
    BrokenSetup(
        name="a server that takes only short messages",
        place=mail_server(EHLO=UntilMended(offering("SIZE 512"), offering("SIZE 52428800"))),
        sends=True,
        title="The message is too large",
        says=("Ask the server’s administrator to raise the limit",),
        mend=Operator.change_the_server,
    ),
    BrokenSetup(
        name="a server that takes one command at a time",
        place=mail_server(EHLO=offering("PIPELINING"), MAIL=one_at_a_time),
        is_impatient=True,
        title="Connection successful",
        says=("The server accepts one command at a time.",),
    ),
]
