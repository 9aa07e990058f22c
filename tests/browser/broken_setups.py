"""What administrators get wrong, or their providers: what is there, what is typed, and what the page says to it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tests.browser.broken_servers import (
    HOST,
    LOGIN,
    OFFERS,
    PASSWORD,
    REFUSED,
    Operator,
    Place,
    besides,
    expired,
    firewall,
    for_another_name,
    mail_server,
    nothing,
    of_a_private_authority,
    only_signed_in,
    only_with,
    self_signed,
    signs_in,
    stranger,
)
from tests.scripted_server import Answer, challenged, close, hang

SENDER: Final = "hello@firm.example"


@dataclass(frozen=True, kw_only=True)
class BrokenSetup:
    """``place`` runs what is there and gives its port; ``typed`` is what differs from a good form, by label.

    The page has to show ``title`` and ``says``. What it then says to do is to press the action ``press``; or to
    type ``correct``, to ``choose`` a security, to have the operator ``mend`` something, and to test again.
    """

    name: str
    place: Place
    typed: Mapping[str, str] = field(default_factory=dict)
    security: str = "STARTTLS"
    sends: bool = False
    title: str
    says: tuple[str, ...] = ()
    press: str = ""
    correct: Mapping[str, str] = field(default_factory=dict)
    choose: str = ""
    mend: Callable[[Operator], None] | None = None
    changed: Mapping[str, str] = field(default_factory=dict)


NO_PUBLIC_NAME: Final = "504 5.5.2 <web-1>: Helo command rejected: need fully-qualified hostname"
SWITCHED_ON_LATER: Final[list[Answer]] = [
    "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox. "
    "Visit https://aka.ms/smtp_auth_disabled for more information.",
    challenged(),
]
NO_LOGIN: Final = {"User name": "", "Password": ""}
THE_LOGIN: Final = {"User name": LOGIN, "Password": PASSWORD}
IMPATIENT: Final = {"Timeout in seconds": "1"}

SETUPS: Final = [
    BrokenSetup(
        name="STARTTLS where TLS is spoken",
        place=mail_server(implicit=True),
        typed=IMPATIENT,
        title="The server wants TLS from the start",
        press="Use TLS and test again",
    ),
    BrokenSetup(
        name="TLS where STARTTLS is spoken",
        place=mail_server(),
        security="TLS",
        title="The server starts unencrypted",
        says=("You chose TLS from the start.",),
        press="Use STARTTLS and test again",
    ),
    BrokenSetup(
        name="a closed port",
        place=besides(nothing),
        title="Nothing listens on port 587",
        says=("Port 2525 on the same host responds",),
        press="Use port 2525 with STARTTLS and test again",
        changed={"Port": "2525"},
    ),
    BrokenSetup(
        name="a filtered port",
        place=besides(firewall),
        typed=IMPATIENT,
        title=f"No answer from {HOST}, port",
        says=("your hosting provider probably blocks",),
        press="Use port 2525 with STARTTLS and test again",
    ),
    BrokenSetup(
        name="a server that stays silent",
        place=besides(mail_server(GREETING=[hang, close])),  # it is silent once, so that the test need not wait again
        typed=IMPATIENT,
        title="The server says nothing",
        press="Use port 2525 with STARTTLS and test again",
    ),
    BrokenSetup(
        name="the host of the web site",
        place=mail_server(),
        typed={"Server": "www.firm.example"},
        title="Nothing listens on port",
        says=("Check server name and port",),
        correct={"Server": HOST},
    ),
    BrokenSetup(
        name="a slip in a provider's name",
        place=mail_server(),
        typed={"Server": "smtp.gmial.com"},
        title="No server has this name",
        press="Use smtp.gmail.com and test again",
        changed={"Server": "smtp.gmail.com"},
    ),
    BrokenSetup(
        name="a slip in one's own name",
        place=mail_server(),
        typed={"Server": "mail.frim.example"},
        title="No server has this name",
        says=("Check the server name for typos", "Go to “Server”"),
        correct={"Server": HOST},
    ),
    BrokenSetup(
        name="an expired certificate",
        place=mail_server(expired),
        title="The certificate has expired",
        says=("the server’s administrator has to renew the certificate", f"For {HOST}; issued by"),
        mend=Operator.renew_the_certificate,
    ),
    BrokenSetup(
        name="a self-signed certificate",
        place=mail_server(self_signed, implicit=True),
        security="TLS",
        title="The certificate is self-signed",
        says=("For your own server, set SMTP_CA_FILE",),
        mend=Operator.trust_the_certificate,
    ),
    BrokenSetup(
        name="a private authority",
        place=mail_server(of_a_private_authority),
        title="The certificate’s issuer is not trusted",
        says=("For a private authority, set SMTP_CA_FILE in .env and restart.",),
        mend=Operator.trust_the_authority,
    ),
    BrokenSetup(
        name="a certificate for another name",
        place=mail_server(for_another_name),
        title="The certificate is for another name",
        press="Use smtp.firm.example and test again",
        changed={"Server": "smtp.firm.example"},
    ),
    BrokenSetup(
        name="a wrong password",
        place=mail_server(),
        typed={"Password": "wr0ng-s3cret"},
        title="User name or password refused",
        says=("Check both, including spaces at the ends.", "Go to “Password”", REFUSED),
        correct={"Password": PASSWORD},
    ),
    BrokenSetup(
        name="the account's own password at Gmail",
        place=mail_server(
            AUTH=signs_in(
                PASSWORD,
                "534-5.7.9 Application-specific password required. For more information, go to\n"
                "534 5.7.9  https://support.google.com/mail/?p=InvalidSecondFactor 5b1f17b1804b1-47 - gsmtp",
            )
        ),
        typed={"Server": "smtp.gmail.com", "Password": "my Google password"},
        title="Google needs an app password",
        says=("Create an app password in the Google account",),
        correct={"Password": PASSWORD},
    ),
    BrokenSetup(
        name="SMTP sign-in switched off at Microsoft",
        place=mail_server(AUTH=SWITCHED_ON_LATER),
        typed={"Server": "smtp.office365.com"},
        title="Microsoft: SMTP sign-in is turned off",
        says=("turn on “Authenticated SMTP” for this mailbox", "See the provider’s guide"),
    ),
    BrokenSetup(
        name="another From than the login's",
        place=mail_server(
            MAIL=only_with(LOGIN, "250 ok", f"553 5.7.1 <{SENDER}>: Sender address rejected: not owned by user {LOGIN}")
        ),
        title="Signed in, but not allowed to send as this address",
        press=f"Send as {LOGIN}, with replies to {SENDER}",
        changed={"From address": LOGIN, "Reply-To address": SENDER},
    ),
    BrokenSetup(
        name="no sign-in where the server wants one",
        place=mail_server(MAIL=only_signed_in("250 ok", "530 5.7.0 Authentication required")),
        typed=NO_LOGIN,
        title="The server needs a sign-in",
        says=("Enter user name and password.", "Go to “User name”"),
        correct=THE_LOGIN,
    ),
    BrokenSetup(
        name="a relay for those who sign in",
        place=mail_server(
            RCPT=only_signed_in("250 ok", "554 5.7.1 <alice@example.com>: Relay access denied"),
        ),
        typed=NO_LOGIN,
        sends=True,
        title="The server does not relay this mail",
        says=("Enter user name and password",),
        correct=THE_LOGIN,
    ),
    BrokenSetup(
        name="a sign-in where the server has none",
        place=mail_server(EHLO="250-mail.test\n250 STARTTLS"),
        title="The server does not offer sign-in",
        says=("If the server needs no sign-in, leave user name and password empty.",),
        correct=NO_LOGIN,
    ),
    BrokenSetup(
        name="an EHLO name of the inner network",
        place=mail_server(
            EHLO=only_with(
                "firm.example", OFFERS, "504 5.5.2 <web-1>: Helo command rejected: need fully-qualified hostname"
            )
        ),
        typed={"EHLO name": "web-1"},
        title="The server does not accept the EHLO name",
        press="Use firm.example as EHLO name and test again",
        changed={"EHLO name": "firm.example"},
    ),
    BrokenSetup(
        name="a web server's port",
        place=stranger("HTTP/1.1 400 Bad Request\nServer: nginx"),
        title="This is a web server",
        press="Use port 2525 with STARTTLS and test again",
    ),
    BrokenSetup(
        name="an SSH server's port",
        place=stranger("SSH-2.0-OpenSSH_9.6"),
        title="This is an SSH server",
        says=("This host also answers on port 2525 with STARTTLS.",),
        correct={"Port": "2525"},
    ),
    BrokenSetup(
        name="an IMAP server's port",
        place=stranger("* OK [CAPABILITY IMAP4rev1 STARTTLS] Dovecot ready."),
        title="This is a server for reading mail (IMAP)",
        press="Use port 2525 with STARTTLS and test again",
    ),
    BrokenSetup(
        name="a server that puts strangers off",
        place=mail_server(RCPT=["451 4.7.1 Greylisted, please try again in 5 minutes", "250 ok"]),
        sends=True,
        title="The receiving server asks to try later",
        says=("This is temporary. Try again in 5 minutes.", "Nothing to change"),
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
        place=mail_server(MESSAGE=["554 5.7.1 Message rejected as spam", "250 2.0.0 Ok: queued as S0001"]),
        sends=True,
        title="The message was refused by a rule",
        says=("554 5.7.1 Message rejected as spam",),
    ),
    BrokenSetup(
        name="a password without encryption",
        place=mail_server(),
        security="None",
        title="The test was not run",
        choose="STARTTLS",
    ),
]
