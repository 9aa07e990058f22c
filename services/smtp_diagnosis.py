"""What a failure means, in the closed set of words that callers and pages may see, and how to mend it."""

from typing import Final

from utils.errors import DeliveryError, Fault, Misconfigured, OutcomeUnknown, Phase

SUCCESS: Final = "Connection successful"
ACCEPTED: Final = "Test message accepted"
NOT_CONFIGURED: Final = "SMTP not configured"

PHASE_LABELS: Final = {
    Phase.SETTINGS: "Settings",
    Phase.DNS: "DNS",
    Phase.CONNECT: "Connect",
    Phase.GREETING: "Greeting",
    Phase.EHLO: "EHLO",
    Phase.ENCRYPTION: "Encryption",
    Phase.SIGN_IN: "Sign in",
    Phase.SENDER: "Sender",
    Phase.RECIPIENT: "Recipient",
    Phase.DATA: "Message",
    Phase.MESSAGE: "Message",
    Phase.QUIT: "Goodbye",
}

_MESSAGES: Final = {
    Phase.SETTINGS: "Settings are not usable",
    Phase.DNS: "Could not find the server",
    Phase.CONNECT: "Could not connect to server",
    Phase.GREETING: "Server did not greet us",
    Phase.EHLO: "Server refused our greeting",
    Phase.ENCRYPTION: "Could not encrypt the connection",
    Phase.SIGN_IN: "Authentication failed",
    Phase.SENDER: "Sender address refused",
    Phase.RECIPIENT: "Recipient refused",
    Phase.DATA: "Message refused",
    Phase.MESSAGE: "Message refused",
    Phase.QUIT: "Connection ended early",
}

_FAULT_MESSAGES: Final = {
    Fault.AUTH_NOT_OFFERED: "Server offers no sign-in",
    Fault.AUTH_UNENCRYPTED: "Sign-in needs encryption",
    Fault.NOT_SMTP: "Server is not a mail server",
    Fault.TLS_EXPECTED: "Server expects TLS from the first byte",
    Fault.TLS_UNEXPECTED: "Server does not start with TLS",
    Fault.TLS_NOT_OFFERED: "Server does not offer STARTTLS",
    Fault.TLS_CERTIFICATE: "Certificate not trusted",
    Fault.TLS_INJECTION: "Connection was tampered with",
    Fault.TOO_LARGE: "Message too large",
    Fault.NO_SMTPUTF8: "Server cannot take this address",
}

_FAULT_REMEDIES: Final = {
    Fault.DNS_NOT_FOUND: "No server has this name. Check the server name for a typing slip.",
    Fault.DNS_FAILED: "The name look-up failed. Check this machine's DNS, then test again.",
    Fault.ADDRESS_REFUSED: "The name leads to an address that is never used for mail. Check the server name.",
    Fault.REFUSED: "The server is there but nothing listens on this port. Check the port: usually 587 or 465.",
    Fault.UNREACHABLE: "There is no way to this address. Check the server name and this machine's network.",
    Fault.NOT_SMTP: "Something other than a mail server answered. Check server name and port.",
    Fault.TLS_EXPECTED: "Choose “TLS” (usually port 465), or use the server's STARTTLS port, usually 587.",
    Fault.TLS_UNEXPECTED: "Choose “STARTTLS” for this port, or use the server's TLS port, usually 465.",
    Fault.TLS_NOT_OFFERED: "The server offers no encryption here. Try TLS on port 465, or another port.",
    Fault.TLS_CERTIFICATE: "Enter the server name that stands in the certificate. For a private certificate "
    "authority set SMTP_CA_FILE.",
    Fault.TLS_HANDSHAKE: "Encryption could not be agreed on. The server may need TLS 1.2 or newer switched on.",
    Fault.TLS_INJECTION: "Somebody between here and the server may be changing the traffic. Use TLS on port 465.",
    Fault.AUTH_NOT_OFFERED: "The server takes no login here. Use its submission port (587 or 465), or leave user "
    "name and password empty for a relay without login.",
    Fault.AUTH_UNENCRYPTED: "Choose STARTTLS or TLS: a password is never sent unencrypted.",
    Fault.TOO_LARGE: "The message is larger than the server takes. Send smaller attachments.",
    Fault.NO_SMTPUTF8: "The server takes no address with letters outside of ASCII before the @.",
}

_PHASE_REMEDIES: Final = {
    Phase.SETTINGS: "Correct the marked fields.",
    Phase.DNS: "Check the server name.",
    Phase.CONNECT: "No answer came in time: a firewall or your hosting provider may block the port. Try 587, 465 "
    "or 2525.",
    Phase.GREETING: "The server took the connection but does not speak. Check port and encryption, or try later.",
    Phase.EHLO: "The server does not accept our name. Set “EHLO name” to a public host name of yours.",
    Phase.ENCRYPTION: "Check that port and encryption belong together: 587 with STARTTLS, 465 with TLS.",
    Phase.SIGN_IN: "Check user name and password. Many providers want an app password instead of your own.",
    Phase.SENDER: "The server does not let this login send as the From address. Use an address it owns.",
    Phase.RECIPIENT: "The server does not deliver to this recipient. Sign in, or check the recipient's address.",
    Phase.DATA: "The server did not take the message. Read its answer, then ask its operator.",
    Phase.MESSAGE: "The server did not take the message. Read its answer, then ask its operator.",
    Phase.QUIT: "Test again.",
}

_TEMPORARY_SIGN_IN: Final = "The server could not check the login just now. Try again in a few minutes."
_UNKNOWN: Final = "The server took the message but never confirmed it. Look in the inbox before you send again."


def message(error: DeliveryError) -> str:
    """A short closed-set text, without a word of the server's."""
    if error.fault in _FAULT_MESSAGES:
        return _FAULT_MESSAGES[error.fault]
    if error.phase is Phase.SIGN_IN and not isinstance(error, Misconfigured):
        return "Server could not check the login"
    return _MESSAGES[error.phase]


def remedy(error: DeliveryError) -> str:
    """One sentence or two that say what to do."""
    if isinstance(error, OutcomeUnknown):
        return _UNKNOWN
    if error.phase is Phase.SIGN_IN and error.fault is Fault.REPLY and not isinstance(error, Misconfigured):
        return _TEMPORARY_SIGN_IN
    return _FAULT_REMEDIES.get(error.fault) or _PHASE_REMEDIES[error.phase]


def field(error: DeliveryError) -> str | None:
    """The form field that the remedy is about, if it is one."""
    if error.fault in (Fault.DNS_NOT_FOUND, Fault.ADDRESS_REFUSED):
        return "smtp_server"
    if error.phase in (Phase.CONNECT, Phase.GREETING):
        return "smtp_port"
    return {
        Phase.DNS: "smtp_server",
        Phase.EHLO: "helo_hostname",
        Phase.ENCRYPTION: "security",
        Phase.SIGN_IN: "smtp_password",
        Phase.SENDER: "from_email",
        Phase.RECIPIENT: "to",
    }.get(error.phase)
