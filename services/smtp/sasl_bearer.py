"""Signing in with a token of OAuth 2: OAUTHBEARER (RFC 7628), and XOAUTH2, which Google and Microsoft had before it.

Both say the same in other words. A server that does not take the token refuses at once (Microsoft), or first says why
in a challenge (Google, RFC 7628 3.2.2), which has to be answered by what means nothing before the refusal follows.
"""

import json
import re
from typing import Final

from services.smtp.sasl import Mechanism, unbase64
from services.smtp.wire import WireError
from utils.errors import Fault, TokenRefusal
from utils.secret import Secret

_END: Final = "\1"  # of each part, RFC 7628 3.1
_TOKEN: Final = re.compile(r"[!-~]+")
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f]")
# What is kept of a server's words: nothing else in them is for us.
_STATUS: Final = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_SCOPE: Final = re.compile(r"[ !-~]{1,300}")


class BearerSignIn(Mechanism):
    """One attempt with one token, for the mailbox ``user``. ``token_refusal`` is what the server says of the token."""

    most = 3  # what was not listened to, or waited for; why it is refused; and one too many, which is not answered

    def __init__(self, initial: str, nothing: bytes) -> None:
        self.initial = self._said = initial.encode()
        self._nothing = nothing
        self._is_refused = False
        self._was_asked = False

    def answer(self, challenge: str) -> bytes:
        if self._is_refused:
            raise WireError(Fault.BROKEN_REPLY, "The server does not stop asking after it refused the token.")
        refused = refusal_in(challenge)
        is_deaf = self.is_said and not challenge  # it did not listen to what came with the command
        if refused is None and not self._was_asked and (is_deaf or not self.is_said):
            self._was_asked = True
            return self._said
        self._is_refused, self.token_refusal = True, refused
        return self._nothing


def mechanism(name: str, user: str, token: Secret, *, host: str, port: int) -> BearerSignIn:
    """The mechanism of this name. ValueError, without the token, if a sign-in cannot carry it or the user name."""
    said = token.reveal()
    if not _TOKEN.fullmatch(said) or _CONTROLS.search(user) or not _is_text(user):
        raise ValueError("The user name or token has a character that no sign-in method can send.")
    bearer = f"auth=Bearer {said}{_END}{_END}"
    if name == "XOAUTH2":
        return BearerSignIn(f"user={user}{_END}{bearer}", b"")
    name_there = user.replace("=", "=3D").replace(",", "=2C")  # RFC 5801 4
    header = f"n,a={name_there}," if user else "n,,"
    return BearerSignIn(f"{header}{_END}host={host}{_END}port={port}{_END}{bearer}", _END.encode())  # RFC 7628 3.2.3


def refusal_in(challenge: str) -> TokenRefusal | None:
    """What a challenge says of a token; None if it is no such object."""
    try:
        said = json.loads(unbase64(challenge))
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    return TokenRefusal(_kept(_STATUS, said.get("status")), _kept(_SCOPE, said.get("scope")))


def _kept(form: re.Pattern[str], value: object) -> str:
    """The value, as a text, if it has this form; servers write a status as a number, too."""
    text = str(value) if isinstance(value, str) or type(value) is int else ""
    return text if form.fullmatch(text) else ""


def _is_text(user: str) -> bool:
    try:
        user.encode()
    except UnicodeEncodeError:
        return False
    return True
