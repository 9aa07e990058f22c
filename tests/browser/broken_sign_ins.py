"""Sign-ins that fail: by what was typed, by the account, or by what the server offers."""

from typing import Final

from tests.browser.broken_servers import (
    LOGIN,
    OFFERS,
    PASSWORD,
    REFUSED,
    Operator,
    UntilMended,
    mail_server,
    signs_in,
)
from tests.browser.broken_setup import NO_LOGIN, BrokenSetup
from tests.scripted_server import challenged, hang

SWITCHED_OFF: Final = (
    "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox. "
    "Visit https://aka.ms/smtp_auth_disabled for more information."
)
ENDED_BY_MICROSOFT: Final = "550 5.7.30 Basic authentication is not supported for Client Submission."

SIGN_INS: Final = [
    BrokenSetup(
        name="a password without encryption",
        place=mail_server(),
        security="None",
        title="The test was not run",
        choose="STARTTLS",
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
        name="a password that ends with a space",
        place=mail_server(),
        typed={"Password": f"{PASSWORD} "},
        title="User name or password refused",
        says=("The password ends with a space.",),
        press="Try the password without the space",
        changed={"Password": PASSWORD},
    ),
    BrokenSetup(
        name="a password that was copied from a web page",
        place=mail_server(),
        typed={"Password": f"\xa0{PASSWORD}\u200b"},
        title="User name or password refused",
        says=("The password starts with a no-break space",),
        press="Try the password without these characters",
        changed={"Password": PASSWORD},
    ),
    BrokenSetup(
        name="a quote that a program has made curly",
        place=mail_server(AUTH=signs_in("rock'n'roll")),
        typed={"Password": "rock\u2019n\u2019roll"},
        title="User name or password refused",
        says=("The password contains a curly quote.",),
        press="Try the password with plain characters instead",
        changed={"Password": "rock'n'roll"},
    ),
    BrokenSetup(
        name="a user name with a character that is not seen",
        place=mail_server(),
        typed={"User name": f"{LOGIN}\u200b"},
        title="User name or password refused",
        says=("The user name ends with an invisible character.",),
        press=f"Use the user name {LOGIN} and test again",
        changed={"User name": LOGIN},
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
        says=("Connect with Google. Or create an app password in the Google account",),
        correct={"Password": PASSWORD},
    ),
    BrokenSetup(
        name="SMTP sign-in switched off at Microsoft",
        place=mail_server(AUTH=UntilMended(challenged(SWITCHED_OFF), signs_in(PASSWORD))),
        typed={"Server": "smtp.office365.com"},
        title="Microsoft: SMTP sign-in is off for this mailbox",
        says=("turn on “Authenticated SMTP” for this mailbox", "See the provider’s guide"),
        mend=Operator.change_the_server,
    ),
    BrokenSetup(
        name="passwords that Microsoft has ended",
        place=mail_server(AUTH=UntilMended(challenged(ENDED_BY_MICROSOFT), signs_in(PASSWORD))),
        typed={"Server": "smtp.office365.com"},
        title="Microsoft has ended passwords for sending",
        says=("Connect with Microsoft.", "only a sign-in by token"),
        mend=Operator.change_the_server,
    ),
    BrokenSetup(
        name="a sign-in by token at Microsoft",
        place=mail_server(EHLO=UntilMended("250-mail.test\n250-STARTTLS\n250 AUTH XOAUTH2", OFFERS)),
        typed={"Server": "smtp.office365.com"},
        title="Microsoft offers no sign-in with a password here",
        says=("Connect with Microsoft", "It offers only XOAUTH2"),
        mend=Operator.change_the_server,
    ),
    BrokenSetup(
        name="a sign-in that only others can use",
        place=mail_server(EHLO=UntilMended("250-mail.test\n250-STARTTLS\n250 AUTH NTLM GSSAPI", OFFERS)),
        title="No common sign-in method",
        says=("Ask the server’s administrator to turn on PLAIN or LOGIN", "The server offers NTLM and GSSAPI."),
        mend=Operator.change_the_server,
    ),
    BrokenSetup(
        name="a method of signing in that was chosen before",
        place=mail_server(),
        stored={"auth_method": "CRAM-MD5"},
        title="The chosen sign-in method is not accepted",
        press="Let Sealpost choose the sign-in method and test again",
    ),
    BrokenSetup(
        name="a sign-in where the server has none",
        place=mail_server(EHLO="250-mail.test\n250 STARTTLS"),
        title="The server does not offer sign-in",
        says=("If the server needs no sign-in, leave user name and password empty.",),
        correct=NO_LOGIN,
    ),
    BrokenSetup(
        name="a sign-in that asks for what is there already",
        place=mail_server(
            AUTH=UntilMended(
                "538 5.7.11 Encryption required for requested authentication mechanism", signs_in(PASSWORD)
            )
        ),
        title="The server does not see the encryption",
        says=("Ask the server’s administrator.",),
        mend=Operator.change_the_server,
    ),
    BrokenSetup(
        name="a server that says nothing to the password",
        place=mail_server(AUTH=[hang, signs_in(PASSWORD)]),
        is_impatient=True,
        title="The server does not reply to the sign-in",
        press="Wait up to 60 seconds and test again",
    ),
    BrokenSetup(
        name="a locked account",
        place=mail_server(
            AUTH=UntilMended(challenged("535 5.7.8 Account locked, try again in 15 minutes"), signs_in(PASSWORD))
        ),
        title="The account is locked",
        says=("Do not test again until", "15 minutes"),
        mend=Operator.change_the_server,
    ),
    BrokenSetup(
        name="too many wrong passwords",
        place=mail_server(
            AUTH=UntilMended(
                challenged("421 4.7.0 Too many failed login attempts, please wait 10 minutes"), signs_in(PASSWORD)
            )
        ),
        title="Too many failed sign-ins",
        says=("Do not test again until", "10 minutes"),
        mend=Operator.change_the_server,
    ),
]
