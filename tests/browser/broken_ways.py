"""Wrong ways to a server: its name, port, encryption and certificate, and what stands in between."""

from typing import Final

from tests.browser.broken_servers import (
    HOST,
    Operator,
    UntilMended,
    answers_as_the_web,
    besides,
    client,
    expired,
    firewall,
    for_another_name,
    for_own_clients,
    mail_server,
    nothing,
    of_a_private_authority,
    of_a_virus_scanner,
    privileged,
    self_signed,
    stranger,
)
from tests.browser.broken_setup import BrokenSetup
from tests.scripted_server import close, hang, start_tls

WAYS: Final = [
    BrokenSetup(
        name="STARTTLS where TLS is spoken",
        place=mail_server(implicit=True),
        is_impatient=True,
        title="The server needs TLS from the start",
        press="Use TLS and test again",
    ),
    BrokenSetup(
        name="TLS where STARTTLS is spoken",
        place=mail_server(),
        security="TLS",
        title="The server starts unencrypted",
        says=("You chose TLS.",),
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
        is_impatient=True,
        title=f"No answer from {HOST}, port",
        says=("your hosting provider probably blocks",),
        press="Use port 2525 with STARTTLS and test again",
    ),
    BrokenSetup(
        name="a server that stays silent",
        place=besides(mail_server(GREETING=[hang, close])),  # it is silent once, so that the test need not wait again
        is_impatient=True,
        title="The server says nothing",
        press="Use port 2525 with STARTTLS and test again",
    ),
    BrokenSetup(
        name="a server that closes at once",
        place=besides(mail_server(GREETING=close)),
        title="The server closed the connection",
        press="Use port 2525 with STARTTLS and test again",
    ),
    BrokenSetup(
        name="a server that lets in only known addresses",
        place=mail_server(GREETING=UntilMended(("554 5.7.1 mail.test: access denied", close), "220 mail.test")),
        title="The server refused the connection",
        says=("ask the server’s administrator to allow this machine’s address",),
        mend=Operator.change_the_server,
    ),
    BrokenSetup(
        name="a web server's port",
        place=stranger("HTTP/1.1 400 Bad Request\nServer: nginx"),
        title="This is a web server",
        press="Use port 2525 with STARTTLS and test again",
    ),
    BrokenSetup(
        name="a web server's port for TLS",
        place=privileged(
            besides(mail_server(implicit=True, port=443, GREETING=answers_as_the_web), mail_server(port=587))
        ),
        is_impatient=True,
        security="TLS",
        title="This is a web server",
        press="Use port 587 with STARTTLS and test again",
        changed={"Port": "587"},
    ),
    BrokenSetup(
        name="an SSH server's port",
        place=stranger("SSH-2.0-OpenSSH_9.6"),
        title="This is an SSH server",
        says=("This host also answers on port 2525 with STARTTLS.",),
        press="Use port 2525 with STARTTLS and test again",
    ),
    BrokenSetup(
        name="an FTP server's port",
        place=stranger("220 (vsFTPd 3.0.5)"),
        title="This is an FTP server",
        press="Use port 2525 with STARTTLS and test again",
    ),
    BrokenSetup(
        name="an IMAP server's port",
        place=stranger("* OK [CAPABILITY IMAP4rev1 STARTTLS] Dovecot ready."),
        title="This is a server for reading mail (IMAP)",
        press="Use port 2525 with STARTTLS and test again",
    ),
    BrokenSetup(
        name="the port for reading mail over TLS",
        place=privileged(
            besides(
                mail_server(implicit=True, port=993, GREETING=("* OK [CAPABILITY IMAP4rev1] Dovecot ready.", hang)),
                mail_server(implicit=True, port=465),
            )
        ),
        security="TLS",
        title="This is a server for reading mail (IMAP)",
        press="Use port 465 with TLS and test again",
        changed={"Port": "465"},
    ),
    BrokenSetup(
        name="a guest network that wants a sign-in first",
        place=mail_server(
            GREETING=UntilMended(
                ("HTTP/1.1 302 Found\nLocation: http://login.hotel.example/\n", close), "220 mail.test"
            )
        ),
        title="A web page answers instead of the server",
        says=("sign in there if asked",),
        mend=Operator.change_the_server,
    ),
    BrokenSetup(
        name="the host of the web site",
        place=mail_server(),
        typed={"Server": "www.firm.example"},
        title="Nothing listens on port",
        says=("Check the server name, and that the server is running", "Go to “Server”"),
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
        name="a domain that has no server of its own",
        place=mail_server(),
        typed={"Server": "mails.example"},
        title="mails.example is a mail domain, not a server",
        press=f"Use {HOST} and test again",
        changed={"Server": HOST},
    ),
    BrokenSetup(
        name="a name without an address",
        place=mail_server(),
        typed={"Server": "texts.firm.example"},
        title="This name has no address",
        says=("Enter your provider’s server for sending.",),
        correct={"Server": HOST},
    ),
    BrokenSetup(
        name="a name server that fails",
        place=mail_server(),
        typed={"Server": "shaky.firm.example"},
        title="The DNS lookup failed",
        says=("Test again.",),
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
        name="a virus scanner that reads along",
        place=mail_server(of_a_virus_scanner),
        title="Avast intercepts the connection",
        says=("Have its inspection of outgoing mail turned off", "The certificate was issued by Avast"),
        mend=Operator.renew_the_certificate,
    ),
    BrokenSetup(
        name="a server that wants a client certificate",
        place=mail_server(for_own_clients),
        title="The server requires a client certificate",
        says=("Enter the client certificate and key from the server’s administrator", "Go to “Certificate”"),
        correct={"Certificate": client().certificate, "Private key": client().key},
    ),
    BrokenSetup(
        name="a firewall that strikes out STARTTLS",
        place=besides(mail_server(EHLO="250-mail.test\n250-XXXXXXXA\n250 AUTH PLAIN LOGIN")),
        title="A firewall removes the encryption",
        press="Use port 2525 with STARTTLS and test again",
    ),
    BrokenSetup(
        name="a firewall that swallows STARTTLS",
        place=besides(mail_server(STARTTLS="502 5.5.2 Error: command not recognized")),
        title="STARTTLS does not get through",
        press="Use port 2525 with STARTTLS and test again",
    ),
    BrokenSetup(
        name="a port without STARTTLS",
        place=besides(mail_server(EHLO="250-mail.test\n250 AUTH PLAIN LOGIN")),
        title="The server does not offer STARTTLS",
        press="Use port 2525 with STARTTLS and test again",
    ),
    BrokenSetup(
        name="a server whose encryption is out of order",
        place=mail_server(STARTTLS=UntilMended("454 4.7.0 TLS not available due to local problem", start_tls())),
        title="The server cannot encrypt for now",
        says=("Tell the server’s administrator.",),
        mend=Operator.change_the_server,
    ),
]
