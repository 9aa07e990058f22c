"""Where the submission gateway listens, by which certificate, and who needs no login, as the environment says it."""

import re
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from utils import allowed_places
from utils.addresses import HIGHEST_PORT, is_loopback
from utils.env_reader import ConfigurationError, Reader
from utils.net_guard import IPNetwork

LISTEN: Final = "SUBMISSION_LISTEN"
CERTIFICATE: Final = "SUBMISSION_TLS_CERT"
KEY: Final = "SUBMISSION_TLS_KEY"
TRUSTED: Final = "SUBMISSION_TRUSTED"
IMPLICIT: Final = "smtps://"
_PLACE: Final = re.compile(
    r"(?P<scheme>smtps?://)?(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[^\[\]:/\s]+)):(?P<port>\d{1,5})"
)
_HOW: Final = (
    f"{LISTEN} must list addresses like 127.0.0.1:2525, [::1]:587 or smtps://0.0.0.0:465, separated by commas."
)


@dataclass(frozen=True)
class ListenAt:
    """One address to listen at, 0 for any free port; with ``is_implicit`` TLS begins at once (RFC 8314 3.3)."""

    host: str
    port: int
    is_implicit: bool = False

    @property
    def is_loopback(self) -> bool:
        """Whether nobody but this machine can reach it."""
        return is_loopback(self.host)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{IMPLICIT if self.is_implicit else ''}{host}:{self.port}"


@dataclass(frozen=True)
class Submission:
    """The gateway's settings; without ``listen`` there is none. ``trusted`` are networks that need no login."""

    listen: tuple[ListenAt, ...] = ()
    certificate: Path | None = None
    key: Path | None = None
    trusted: tuple[IPNetwork, ...] = ()


def named_by(env: Reader) -> Submission:
    """What the variables say. Raises ConfigurationError, also for a place where passwords would go in clear."""
    listen = tuple(_place(part.strip()) for part in env.listed(LISTEN))
    certificate, key = env.text(CERTIFICATE), env.text(KEY)
    if key and not certificate:
        raise ConfigurationError(f"{KEY} has no effect without {CERTIFICATE}.")
    for place in listen:
        if not certificate and place.is_implicit:
            raise ConfigurationError(f"{LISTEN} has an address with {IMPLICIT}, which needs {CERTIFICATE}.")
        if not certificate and not place.is_loopback:
            raise ConfigurationError(
                f"{LISTEN} has an address that other machines can reach, where passwords must be protected by TLS. "
                f"Set {CERTIFICATE}, or listen at 127.0.0.1."
            )
    return Submission(
        listen=listen,
        certificate=Path(certificate) if certificate else None,
        key=Path(key or certificate) if certificate else None,
        trusted=allowed_places.networks_named(env, TRUSTED),
    )


def _place(text: str) -> ListenAt:
    found = _PLACE.fullmatch(text)
    if not found:
        raise ConfigurationError(_HOW)
    host, port = found["six"] or found["host"], int(found["port"])
    if host != "localhost":
        try:
            host = str(ip_address(host))
        except ValueError:
            raise ConfigurationError(_HOW) from None
    if port > HIGHEST_PORT:
        raise ConfigurationError(_HOW)
    return ListenAt(host, port, is_implicit=found["scheme"] == IMPLICIT)
