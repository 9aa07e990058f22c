"""What a connection test has seen where it looked around after a failure, each as a step; ``since`` is when it began, a
moment of the monotonic clock.
"""

from collections.abc import Sequence
from time import monotonic
from typing import Final

from services.smtp.dialogue import SideLook, Step
from services.smtp.settings import MODE_NAMES, OpenWay, Security
from services.smtp.tls import ShownCertificate
from utils.log_utils import printable

_MOST_MAIL_SERVERS: Final = 3  # that are named
_LONGEST_NAMES, _LONGEST_ISSUER = 60, 30  # characters, so that the fingerprint is still seen


def of_ways(tried: Sequence[tuple[int, Security]], ways: Sequence[OpenWay], since: float) -> Step:
    """What became of looking for another way in."""
    if ways:
        fact = "This host also answers on port " + ", ".join(
            f"{way.port} with {MODE_NAMES[way.security]}" for way in ways
        )
    else:
        ports = ", ".join(str(port) for port in dict.fromkeys(port for port, _ in tried))
        fact = f"No encrypted mail server answers on {ports} either"
    return Step(name=SideLook.OTHER_PORTS, status="warning" if ways else "failed", ms=_since(since), fact=f"{fact}.")


def of_domain(host: str, mail_servers: Sequence[str], since: float) -> Step:
    """What the DNS knows of a name that has no address."""
    goes = f"incoming mail goes to {', '.join(mail_servers[:_MOST_MAIL_SERVERS])}" if mail_servers else "nor MX records"
    return Step(
        SideLook.MAIL_SERVERS, "warning", _since(since), printable(f"{host} exists, but has no address; {goes}")
    )


def of_certificate(shown: ShownCertificate, since: float) -> Step:
    """What the certificate that was refused says of itself."""
    names = ", ".join(shown.names) or "no name"
    names = names if len(names) <= _LONGEST_NAMES else f"{names[:_LONGEST_NAMES]}…"
    days = f"{shown.starts:%Y-%m-%d} to {shown.ends:%Y-%m-%d} UTC"
    fact = (
        f"For {names}; issued by {shown.issuer[:_LONGEST_ISSUER]}; valid {days}; SHA-256 "
        f"{shown.sha256.replace(':', '')}"
    )
    return Step(name=SideLook.CERTIFICATE, status="failed", ms=_since(since), fact=printable(fact))


def _since(moment: float) -> int:
    return round((monotonic() - moment) * 1000)
