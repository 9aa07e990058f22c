"""The values that stand in advice in place of {names}; where one is not known the text says it without."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from services.diagnosis.picture import Picture, WayIn
from services.smtp.settings import LONGEST_TIMEOUT, MODE_NAMES
from utils.numbers import readable_size

# Those of the IANA's list that are met: what else a server offers are words of its own, which are not repeated.
_MECHANISMS: Final = re.compile(
    r"(?:PLAIN|LOGIN|CRAM-MD5|DIGEST-MD5|SCRAM-SHA(?:-1|-256|-512|3-512)(?:-PLUS)?|XOAUTH2?|OAUTHBEARER|NTLM|GSSAPI"
    r"|GSS-SPNEGO|EXTERNAL|ANONYMOUS|KERBEROS_V4|MSN|OTP|SECURID)"
)
_WITHOUT_PORT: Final = (
    (", port {port}", ""),
    ("on port {port}", "there"),
    ("Port {port}", "This port"),
    ("port {port}", "this port"),
)


def filled(text: str, picture: Picture, known: Mapping[str, str]) -> str:
    """The text with what the picture knows, and other ``known`` facts, in place of its {names}."""
    if "{" not in text:
        return text
    settings = picture.settings
    if not settings.port:  # nobody may know it, or the log is from a time when it was not kept
        for said, without in _WITHOUT_PORT:
            text = text.replace(said, without)
    best = in_words((picture.usable_ways[0].port, picture.usable_ways[0].security)) if picture.usable_ways else ""
    values = {
        **known,
        "wait": _wait(picture),
        "host": settings.host or "the server",
        "port": str(settings.port),
        "method": settings.auth_method,
        "house": picture.token_house,
        "username": settings.username,
        "offered": _listed(_mechanisms(picture)) or "nothing that is known here",
        "tried": _listed([str(port) for port in picture.dead_ports]),
        "way": best,
        "sending": best or "port 587 or 465",
        "limit": readable_size(picture.size_limit),
        "size": readable_size(picture.message_size or 0),
    }
    text = re.sub(r"\{(\w+)\}", lambda found: values[found[1]], text)
    return text[:1].upper() + text[1:] if text.startswith("the server") else text


def _wait(picture: Picture) -> str:
    """What to do about a server that takes long."""
    if not picture.is_typed:
        return "Test again, with a longer timeout if it is less than 60 seconds."
    if picture.settings.timeout_seconds >= LONGEST_TIMEOUT or picture.settings.is_personal:
        return "Test again in a few minutes."
    return f"Raise the timeout, to {LONGEST_TIMEOUT} seconds at most, and test again."


def in_words(way: WayIn) -> str:
    """A way in, as texts name it: port 587 with STARTTLS."""
    port, security = way
    return f"port {port} with {MODE_NAMES[security]}"


def _mechanisms(picture: Picture) -> list[str]:
    names = picture.mechanisms or ()
    known = [name for name in names if _MECHANISMS.fullmatch(name)]
    return [*known, "others"] if known and len(known) < len(names) else known


def _listed(words: Sequence[str]) -> str:
    *first, last = words or [""]
    return f"{', '.join(first)} and {last}" if first else last
