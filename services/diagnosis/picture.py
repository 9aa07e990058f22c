"""One picture of a failure: what was typed and what the conversation and the probe have seen. Where a fact is not known
it is None, and advice must not lean on it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Self

from services.providers import registry
from services.smtp import grammar
from services.smtp.seen import Seen
from services.smtp.settings import OpenWay, Security, SmtpSettings
from services.smtp.tls import ShownCertificate
from utils.errors import DeliveryError, Fault, Phase
from utils.net_guard import IPAddress

WayIn = tuple[int, Security]  # a port, and how the connection is protected there
WayAnswer = OpenWay | DeliveryError  # of a probe: a mail server as it should be, or what was in the way

_ORDER: Final = tuple(Phase)
_TOKEN_HOUSES: Final = {  # by the id of a provider
    "gmail": "Google", "office365": "Microsoft", "outlook": "Microsoft", "fastmail": "Fastmail",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Picture:
    """``is_typed``: the settings are those that failed; otherwise nothing but host and port of them is known.

    ``ways`` are those that were probed beside the one that failed, ``certificate`` what was shown there.
    ``plain_offers`` and ``offers`` are what EHLO listed before and after encryption. ``ehlo_name`` was said where the
    settings have none of their own. ``by_token`` is how it was signed in where that was not typed. ``app_only``: the
    token is of an application that signs in itself, not of somebody who has; ``app_in_testing``: of one that Google
    lets nobody in with for more than seven days. ``name_exists`` tells whether the DNS knows a host without addresses
    at all, and ``mail_servers`` where mail to it goes, preferred first.
    """

    settings: SmtpSettings
    is_typed: bool = True
    phase: Phase | None = None
    ehlo_name: str = ""
    addresses: Mapping[IPAddress, Fault | None] = field(default_factory=dict)
    ways: Mapping[WayIn, WayAnswer] = field(default_factory=dict)
    encrypted: bool | None = None
    plain_offers: Mapping[str, str] | None = None
    offers: Mapping[str, str] | None = None
    mechanism: str = ""
    by_token: bool | None = None
    app_only: bool | None = None
    app_in_testing: bool | None = None
    signed_in: bool | None = None
    message_size: int | None = None
    has_attachments: bool | None = None
    certificate: ShownCertificate | None = None
    name_exists: bool | None = None
    mail_servers: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: SmtpSettings, seen: Seen, ehlo_name: str = "") -> Self:
        """The picture after a conversation at these settings."""
        return cls(
            settings=settings,
            ehlo_name=ehlo_name,
            addresses=dict(seen.addresses),
            encrypted=seen.encrypted,
            plain_offers=seen.plain_offers,
            offers=seen.offers,
            mechanism=seen.mechanism,
            signed_in=seen.signed_in,
            has_attachments=False,  # a test sends none
        )

    def at(self, phase: Phase) -> "Picture":
        """The same where a failure in ``phase`` tells what was not noted: what comes before it went well."""
        if not self.is_typed:
            return replace(self, phase=phase)
        signed_in = self.settings.has_login and _ORDER.index(phase) > _ORDER.index(Phase.SIGN_IN)
        return replace(
            self,
            phase=phase,
            encrypted=self._encrypted_at(phase) if self.encrypted is None else self.encrypted,
            signed_in=signed_in if self.signed_in is None else self.signed_in,
        )

    def _encrypted_at(self, phase: Phase) -> bool | None:
        if self.settings.security is Security.NONE:
            return False
        if phase is Phase.ENCRYPTION:  # EHLO is said once more behind it
            return None
        # With TLS from the first byte it comes before the greeting.
        first = Phase.CONNECT if self.settings.security is Security.TLS else Phase.ENCRYPTION
        return _ORDER.index(phase) > _ORDER.index(first)

    @property
    def way(self) -> WayIn:
        """The one that failed."""
        return self.settings.port, self.settings.security

    @property
    def open_ways(self) -> list[OpenWay]:
        """Those that were seen to work."""
        return [answer for answer in self.ways.values() if isinstance(answer, OpenWay)]

    @property
    def usable_ways(self) -> list[OpenWay]:
        """Those of them that would be an answer, encrypted ones first: a password never goes in clear."""
        others = [way for way in self.open_ways if (way.port, way.security) != self.way]
        if self.settings.has_login or self.settings.is_personal:
            others = [way for way in others if way.security is not Security.NONE]
        if self.settings.has_login:
            others = [way for way in others if way.signs_in is not False]
        return sorted(others, key=lambda way: way.security is Security.NONE)

    @property
    def dead_ports(self) -> list[int]:
        """The other ports that were probed and are no answer, in their order."""
        known = {self.settings.port, *(way.port for way in self.usable_ways)}
        return [port for port in dict.fromkeys(port for port, _ in self.ways) if port not in known]

    @property
    def provider(self) -> str:
        """The id of whose server it is; "" if nobody's that is known."""
        found = registry.for_server(self.settings.host)
        return found["id"] if found else ""

    @property
    def token_house(self) -> str:
        """Who gives tokens for signing in to this server, as people call it; "" where Sealpost connects with nobody."""
        return _TOKEN_HOUSES.get(self.provider, "")

    @property
    def offered(self) -> Mapping[str, str] | None:
        """What EHLO listed last; None if it was not heard."""
        return self.plain_offers if self.offers is None else self.offers

    @property
    def mechanisms(self) -> tuple[str, ...] | None:
        """The ways of signing in that were offered last; None if EHLO was not heard."""
        return None if self.offered is None else tuple(self.offered.get("AUTH", "").split())

    @property
    def size_limit(self) -> int:
        """The most octets of a message that the server takes; 0 if it does not say or was not heard."""
        return grammar.size_limit(self.offered or {})
