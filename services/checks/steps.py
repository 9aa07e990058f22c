"""The steps of a connection test that are no part of the conversation: what was entered, and looks around after."""

from collections.abc import Sequence
from time import monotonic
from typing import Final

from services.smtp.client import Step
from services.smtp.settings import MODE_NAMES, Security, SmtpSettings
from services.smtp.tls import ShownCertificate
from services.smtp.ways import OpenWay
from utils.addresses import is_loopback
from utils.errors import Phase
from utils.log_utils import printable

_USUAL_MODES: Final = {
    465: (Security.TLS,),
    587: (Security.STARTTLS,),
    2465: (Security.TLS,),
    2587: (Security.STARTTLS,),
}
_LONGEST_NAMES, _LONGEST_ISSUER = 60, 30  # characters, so that the fingerprint is still seen


def of_settings(settings: SmtpSettings) -> Step:
    """The first step: what was entered, and a warning where port and encryption do not go together."""
    fact = f"{settings.host}, port {settings.port}, {settings.mode_name}"
    expected = _USUAL_MODES.get(settings.port)
    if expected and settings.security not in expected:
        return Step(name=Phase.SETTINGS, status="warning", ms=0, fact=f"{fact}: an unusual pair.")
    if settings.security is Security.NONE and not is_loopback(settings.host):
        return Step(name=Phase.SETTINGS, status="warning", ms=0, fact=f"{fact}: anybody on the way can read the mail.")
    return Step(name=Phase.SETTINGS, status="ok", ms=0, fact=fact)


def of_ways(tried: Sequence[tuple[int, Security]], ways: Sequence[OpenWay], since: float) -> Step:
    """What became of looking for another way in, ``since`` a moment of the monotonic clock."""
    if ways:
        fact = "This host also answers at " + ", ".join(f"{way.port} with {MODE_NAMES[way.security]}" for way in ways)
    else:
        ports = ", ".join(str(port) for port in dict.fromkeys(port for port, _ in tried))
        fact = f"Nor does a mail server answer with encryption at {ports}"
    return Step(name=Phase.CONNECT, status="warning" if ways else "failed", ms=_since(since), fact=f"{fact}.")


def of_certificate(shown: ShownCertificate, since: float) -> Step:
    """What the certificate that was refused says of itself."""
    names = ", ".join(shown.names) or "no name"
    names = names if len(names) <= _LONGEST_NAMES else f"{names[:_LONGEST_NAMES]}…"
    fact = (
        f"It is for {names}; by {shown.issuer[:_LONGEST_ISSUER]}; {shown.starts:%Y-%m-%d} to {shown.ends:%Y-%m-%d}; "
        f"SHA-256 {shown.sha256.replace(':', '')}"
    )
    return Step(name=Phase.ENCRYPTION, status="failed", ms=_since(since), fact=printable(fact))


def _since(moment: float) -> int:
    return round((monotonic() - moment) * 1000)
