"""Whether the gateway runs, and where applications reach it: what they have to enter as server, port and encryption."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from services.gateway import presence
from services.gateway.presence import RunningGateway
from services.smtp.settings import MODE_NAMES, Security
from utils.addresses import is_loopback
from utils.env_utils import get_settings

_TLS_PORT: Final = 465  # RFC 8314 3.3; some programs use TLS from the start at this port alone


class GatewayState(StrEnum):
    """Whether applications can send through the gateway now."""

    OFF = "off"  # SUBMISSION_LISTEN is not set, and none runs
    SILENT = "silent"  # it is set, and none has given a sign of life
    RUNNING = "running"


@dataclass(frozen=True, kw_only=True)
class ReachableAt:
    """An address of the gateway as applications enter it. ``is_local``: from this machine alone.

    It listens at a port that is chosen as it starts while ``port`` is 0.
    """

    host: str
    port: int
    security: Security
    is_local: bool

    @property
    def id(self) -> str:
        """What tells it from the others in a form."""
        return f"{self.security}:{'[' + self.host + ']' if ':' in self.host else self.host}:{self.port}"

    @property
    def words(self) -> str:
        where = " (from this machine only)" if self.is_local else ""
        return f"{self.host}, port {self.port}, {MODE_NAMES[self.security]}{where}"


@dataclass(frozen=True, kw_only=True)
class GatewayStatus:
    """How the gateway stands.

    ``listens`` are the addresses at which it listens, or would. ``base_is_local``: BASE_URL names this machine alone,
    so that it tells other machines nothing. ``trouble`` are sentences on what about a gateway has to be fixed.
    """

    state: GatewayState
    addresses: tuple[ReachableAt, ...]
    listens: tuple[str, ...]
    base_is_local: bool
    seen_at: datetime | None
    trouble: tuple[str, ...]


def status() -> GatewayStatus:
    """How the gateway stands now, by its signs of life and the settings of this process."""
    known = presence.every()
    running = [each for each in known if each.is_running]
    configured = tuple(str(place) for place in get_settings().submission.listen)
    listens = _listened(running) or configured
    state = GatewayState.RUNNING if running else GatewayState.SILENT if configured else GatewayState.OFF
    return GatewayStatus(
        state=state,
        addresses=tuple(_reachable(listens)),
        listens=listens,
        base_is_local=is_loopback(get_settings().base_host),
        seen_at=max((each.at for each in known), default=None),
        trouble=tuple(dict.fromkeys(each.trouble for each in running if each.trouble)),
    )


def _listened(running: Iterable[RunningGateway]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(address for each in running for address in each.addresses))


def _reachable(listens: Iterable[str]) -> list[ReachableAt]:
    """The addresses for applications, each once, the one that most of them can use first."""
    found = dict.fromkeys(map(_reachable_at, listens))
    order = {Security.STARTTLS: 1, Security.TLS: 2, Security.NONE: 3}
    return sorted(
        found, key=lambda each: (each.is_local, 0 if each.port == _TLS_PORT else order[each.security], each.port)
    )


def _reachable_at(listens: str) -> ReachableAt:
    """By the name of BASE_URL, for which its certificate is, unless other machines cannot come there anyway."""
    parts = urlsplit(listens if "://" in listens else f"smtp://{listens}")
    host, is_implicit = parts.hostname or "", parts.scheme == "smtps"
    is_local = is_loopback(host)
    security = Security.TLS if is_implicit else Security.NONE if is_local else Security.STARTTLS
    own = host if is_local and not is_implicit else get_settings().base_host
    return ReachableAt(host=own, port=parts.port or 0, security=security, is_local=is_local)
