"""The login mechanisms of RFC 4616 (PLAIN), of practice (LOGIN) and of RFC 2195 (CRAM-MD5), on UTF-8."""

import base64
import binascii
import hmac
from collections.abc import Callable, Collection
from typing import Final

from services.smtp_wire import WireError
from utils.errors import Fault
from utils.secret import Secret

_ENCRYPTED_ORDER: Final = ("PLAIN", "LOGIN", "CRAM-MD5")
_CLEAR_ORDER: Final = ("CRAM-MD5", "PLAIN", "LOGIN")

Answer = Callable[[str], bytes]  # from the server's challenge, in base64, to what we say before base64


def choose(offered: Collection[str], forced: str, *, encrypted: bool) -> str | None:
    """Pick the mechanism: the forced one if it is offered, else the best of those offered, else None."""
    order = (forced,) if forced else _ENCRYPTED_ORDER if encrypted else _CLEAR_ORDER
    return next((mechanism for mechanism in order if mechanism in offered), None)


def answers(mechanism: str, username: str, password: Secret) -> list[Answer]:
    """What to say to each challenge in turn. ValueError, without the secret, if it cannot be said."""
    name, secret = _octets(username), _octets(password.reveal())
    if mechanism == "PLAIN":
        return [lambda _: b"\0" + name + b"\0" + secret]
    if mechanism == "LOGIN":
        return [lambda _: name, lambda _: secret]
    return [lambda challenge: _cram_md5(challenge, name, secret)]


def _octets(text: str) -> bytes:
    try:
        octets = text.encode()
    except UnicodeEncodeError:  # its text would hold the password
        octets = b"\0"
    if b"\0" in octets:
        raise ValueError("A user name or password has a character that no login can carry.")
    return octets


def _cram_md5(challenge: str, name: bytes, secret: bytes) -> bytes:
    try:
        text = base64.b64decode(challenge, validate=True)
    except (binascii.Error, ValueError):
        raise WireError(Fault.NOT_SMTP, "The server's login challenge cannot be read.") from None
    return name + b" " + hmac.new(secret, text, "md5").hexdigest().encode()
