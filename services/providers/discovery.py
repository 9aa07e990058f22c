"""From what everybody knows of their mail, an address or a provider's name, to the settings of its server.

Nothing is sent to anybody, and no password takes part: names are looked up, the domain's web server is asked for a file
and its mail servers for their greeting.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Any, Final, TypeVar

from services.delivery.attempt import policy_for
from services.providers import autoconfig, presets, registry, web_file
from services.providers.autoconfig import OutgoingServer, Unreadable
from services.providers.registry import Provider
from services.providers.web_file import NoFile, WebPlace, WebPolicy
from services.smtp import dial, dns, probe
from services.smtp.client import Policy
from services.smtp.dns import LookupFailed, Service
from services.smtp.settings import MODE_NAMES, OpenWay, Security, SmtpSettings
from services.smtp.wire import Deadline, WireError
from utils import incidents
from utils.addresses import (
    LONGEST_ADDRESS,
    InvalidAddress,
    ascii_domain,
    ip_literal,
    is_loopback,
    parse_address,
    parse_host,
    shown_domain,
)
from utils.allowed_places import AllowedPlaces, PlacesForAccounts
from utils.env_utils import get_settings
from utils.errors import Fault, InvalidInput

SECONDS: Final = 3.0  # for all of it
_TO_TELL: Final = 0.25  # of these, for what was found out by then
SRV_SECONDS: Final = 1.25  # of these; some name servers never answer for types that they do not know
WAYS: Final = ((587, Security.STARTTLS), (465, Security.TLS))  # RFC 6409, RFC 8314
_MODES: Final = dict(WAYS)
_NOT_OFFERED: Final = "."  # RFC 2782
_MOST_TARGETS: Final = 3  # of a service; further ones would stand in for these
WHAT_TO_ENTER: Final = "Enter an email address, like name@example.com, or the name of a provider."
UNKNOWN_NAME: Final = "No provider with this name. Enter your email address instead."
NO_SERVER: Final = "It has no server for other programs to send through."
UNENCRYPTED: Final = (
    "It offers no encryption: anyone on the network could read your password and email. Choose the encryption yourself."
)

T = TypeVar("T")


class Source(StrEnum):
    """Where the knowledge comes from, the best first."""

    NAME = "name"
    DOMAIN = "domain"
    MX = "mx"
    SRV = "srv"
    AUTOCONFIG = "autoconfig"
    PROBE = "probe"
    NONE = "none"


ORIGINS: Final = {
    Source.NAME: "Source: Sealpost’s list of providers.",
    Source.DOMAIN: "Source: Sealpost’s list of providers and their domains.",
    Source.MX: "Source: the domain’s MX records in DNS.",
    Source.SRV: "Source: the domain’s SRV records in DNS.",
    Source.AUTOCONFIG: "Source: the autoconfig file on the domain’s web server.",
    Source.PROBE: "Source: a test of the usual server names. Check that this server is meant for you.",
    Source.NONE: "",
}


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """Values for a mail server's settings, under the names of its fields; what is not known is empty."""

    smtp_server: str = ""
    smtp_port: int | None = None
    security: Security | None = None
    smtp_username: str = ""
    from_email: str = ""


@dataclass(frozen=True, kw_only=True)
class Discovery:
    """What was found out, and ``message``, which says so in a sentence or two."""

    source: Source
    message: str
    values: Suggestion
    provider: Provider | None = None

    @property
    def origin(self) -> str:
        """Where it comes from, in a sentence; "" where nothing was found."""
        return ORIGINS[self.source]


def discover(text: str, *, may_probe: bool = True) -> Discovery:
    """Find the server for an email address, a domain, or a provider's name; at the latest after ``SECONDS``.

    Who ``may_probe`` has this machine connect to the domain's web server and to the usual names of a mail server.

    No DNS, or nobody who answers, is no error: the source is then NONE. Raises InvalidInput, at ``email``.
    """
    text = text.strip()
    if not text or len(text) > LONGEST_ADDRESS:
        raise InvalidInput({"email": [WHAT_TO_ENTER]})
    if "@" in text:
        address = _address(text)
        return _for_domain(ascii_domain(address), address, may_probe)
    domain = _domain(text)
    if provider := presets.for_name(text):
        return for_provider(provider)
    if found := _of_known_server(domain):
        return found
    if not domain:
        raise InvalidInput({"email": [UNKNOWN_NAME]})
    return _for_domain(domain, "", may_probe)


def for_provider(provider: Provider) -> Discovery:
    """What a provider that was chosen by its name suggests."""
    return _with(provider, Source.NAME, f"Settings for {provider['name']}.", "", "")


def _of_known_server(name: str) -> Discovery | None:
    """What suits a provider's server that was named: that very one, if one sends through it."""
    provider = None if registry.for_domain(name) else registry.for_server(name)
    if not provider:
        return None
    found = for_provider(provider)
    server = name if registry.is_to_send_through(name) else provider["host"]
    return replace(found, values=replace(found.values, smtp_server=server))


def _for_domain(domain: str, address: str, may_probe: bool) -> Discovery:
    if provider := registry.for_domain(domain):
        return _with(provider, Source.DOMAIN, f"{shown_domain(domain)} uses {provider['name']}.", address, domain)
    return _Search(domain, address, may_probe).found()


def told(found: Discovery) -> dict[str, Any]:
    """What programs are told of it; the values as saving takes them, without what is not known."""
    values = {name: value for name, value in asdict(found.values).items() if value}
    if security := values.pop("security", None):
        values |= {"use_tls": security == Security.STARTTLS, "use_ssl": security == Security.TLS}
    said = {"source": found.source, "origin": found.origin, "message": found.message}
    return {**said, "values": values, "provider": found.provider}


class _Search:
    """Who sends the mail of a domain that is in no list: one deadline, and one order of preference.

    What is asked at once is asked on threads of its own, which end by themselves soon after the deadline.
    """

    def __init__(self, domain: str, address: str, may_probe: bool) -> None:
        settings = get_settings()
        self._domain = domain
        self._shown = shown_domain(domain)
        self._address = address
        self._may_probe = may_probe
        self._by_http = may_probe and settings.discover_by_http
        self._end = Deadline(SECONDS)
        self._soon = Deadline(SECONDS - _TO_TELL)
        self._srv_end = Deadline(SRV_SECONDS)
        self._resolver = settings.dns_resolver
        self._allowed = settings.smtp_allowed if may_probe else settings.smtp_allowed_accounts
        self._web = WebPolicy(
            ca_file=settings.smtp_ca_file,
            dns_resolver=settings.dns_resolver,
            allowed=self._allowed,
            allowed_further=_named_or_public(settings.smtp_allowed, settings.smtp_allowed_accounts),
        )
        self._policy = _policy_to_probe(domain)

    def found(self) -> Discovery:
        """What is found out; of a name that looks like a slip it is asked first, whatever stands behind it.

        Whoever has registered the slip could answer, and would be sent the password.
        """
        found = self._asked()
        meant = registry.domain_meant_by(self._domain)
        if found.source is Source.MX or not meant:
            return found
        values = Suggestion() if found.source is Source.NONE else found.values  # no sender with a slip in it
        return replace(found, message=f"Did you mean {meant}? {found.message}", values=values)

    def _asked(self) -> Discovery:
        by_mx, by_srv = _begun(self._mx), _begun(self._by_srv)
        hosts = _result(by_mx, self._end)
        if provider := registry.for_mx(hosts or ()):
            message = f"{self._shown} uses {provider['name_by_mx']}."
            return _with(provider, Source.MX, message, self._address, self._domain)
        if hosts is None:
            message = f"DNS is not responding, so Sealpost cannot look up {self._shown}. Enter its server yourself."
            return _result(by_srv, self._end) or self._nothing(message)
        return _result(by_srv, self._end) or self._asked_of_domain(hosts)

    def _asked_of_domain(self, hosts: list[str]) -> Discovery:
        """What the domain's own servers say: all are asked at once."""
        if not self._may_probe:
            return self._nothing(f"Found no provider for {self._shown}. Ask its administrator for the server’s name.")
        places = autoconfig.places(self._domain) if self._by_http else []
        by_files = [_begun(partial(self._by_autoconfig, place)) for place in places]
        answers = {name: _begun(partial(self._ways, name)) for name in _usual_names(self._domain, hosts)}
        for by_file in by_files:
            if found := _result(by_file, self._end):
                return found
        return self._by_probing((name, _result(answer, self._end) or {}) for name, answer in answers.items())

    def _nothing(self, message: str) -> Discovery:
        return Discovery(source=Source.NONE, message=message, values=Suggestion(from_email=self._address))

    # --- DNS.

    def _mx(self) -> list[str] | None:
        """The hosts that take the domain's mail; None if the DNS does not say."""
        return self._asked_dns(dns.mx, self._domain, self._soon)

    def _by_srv(self) -> Discovery | None:
        """What the domain says in the DNS of where mail is handed in (RFC 6186 3.1, RFC 8314 5.1)."""
        names = (f"_submissions._tcp.{self._domain}", f"_submission._tcp.{self._domain}")
        asked = [_begun(partial(self._asked_dns, dns.srv, name, self._srv_end)) for name in names]
        offers = [_result(each, self._srv_end) or [] for each in asked]
        for services, usual in zip(offers, (Security.TLS, Security.STARTTLS), strict=True):
            for service in [each for each in services if each.host != _NOT_OFFERED][:_MOST_TARGETS]:
                if service.port and self._can_be_used(service.host, service.port):
                    return self._of_service(service, _MODES.get(service.port, usual))
        if all(offers) and all(each.host == _NOT_OFFERED for services in offers for each in services):
            return self._nothing(f"{self._shown} says in its DNS that it has no server to send email through.")
        return None

    def _asked_dns(self, ask: Callable[[str, float, str], list[T]], name: str, end: Deadline) -> list[T] | None:
        try:
            return ask(name, max(0.0, end.remaining()), self._resolver)
        except LookupFailed:
            return None

    def _of_service(self, service: Service, security: Security) -> Discovery:
        provider = registry.for_server(service.host)
        way = f"port {service.port} ({MODE_NAMES[security]})"
        message = f"{self._shown} names {service.host}, {way}, as its server."
        if not provider and not self._is_own(service.host):
            # Without DNSSEC anybody on the way may have written this (RFC 6186 6).
            message += (
                " That server is in another domain: before you enter a password, check that it is your provider’s."
            )
        username = _username(provider, self._address, self._domain) if provider else self._address
        values = self._suggested(service.host, service.port, security, username)
        return Discovery(source=Source.SRV, message=message, values=values, provider=provider)

    def _can_be_used(self, host: str, port: int) -> bool:
        """Whether mail could go there: the name is one, leads somewhere, and nothing there is out of bounds."""
        if not _domain(host) or self._allowed.refusal_of_port(port):
            return False
        try:
            return bool(dial.look_up(host, self._soon, self._resolver, self._allowed))
        except WireError:
            return False

    # --- The domain's web server.

    def _by_autoconfig(self, place: WebPlace) -> Discovery | None:
        try:
            document = web_file.fetch(place, self._domain, self._web, self._soon)
            server = autoconfig.best_server(document, self._address, self._domain)
        except (NoFile, Unreadable):
            return None
        return self._of_file(server) if server and self._can_be_used(server.host, server.port) else None

    def _of_file(self, server: OutgoingServer) -> Discovery:
        message = (
            f"{self._shown} publishes the settings of its server: {server.host}, port {server.port} "
            f"({MODE_NAMES[server.security]}).{_told_unencrypted(server.host, server.security)}"
        )
        if not server.signs_in:
            message += " It accepts email without a password."
        elif not server.takes_password:
            message += " It asks for another way to sign in than a password, so Sealpost may not be able to use it."
        values = self._suggested(server.host, server.port, server.security, server.username)
        provider = registry.for_server(server.host)
        return Discovery(source=Source.AUTOCONFIG, message=message, values=values, provider=provider)

    # --- The usual names.

    def _ways(self, name: str) -> probe.Looks:
        return probe.looked_at(name, WAYS, self._policy, max(0.0, self._soon.remaining()))

    def _by_probing(self, answers: Iterator[tuple[str, probe.Looks]]) -> Discovery:
        """What answers at the names under which a domain usually has its mail server."""
        unencrypted: tuple[str, int] | None = None
        for name, looks in answers:
            for (port, _), answer in looks.items():
                if isinstance(answer, OpenWay):
                    return self._of_probed(name, port, answer.security)
                if answer.fault is Fault.TLS_NOT_OFFERED:
                    unencrypted = unencrypted or (name, port)
        if unencrypted:
            return self._of_probed(*unencrypted, None)
        return self._nothing(
            f"Found no provider and no mail server for {self._shown}. Ask its administrator for the server’s name."
        )

    def _of_probed(self, name: str, port: int, security: Security | None) -> Discovery:
        """``security`` is None where encryption was not offered: it may have been taken away on the way to us."""
        way = f"port {port}" if security is None else f"port {port} ({MODE_NAMES[security]})"
        message = f"Found no provider for {self._shown}, but {name} responds on {way}."
        message += "" if security else f" {UNENCRYPTED}"
        values = self._suggested(name, port, security, self._address)
        return Discovery(source=Source.PROBE, message=message, values=values)

    def _suggested(self, host: str, port: int, security: Security | None, username: str) -> Suggestion:
        return Suggestion(
            smtp_server=host,
            smtp_port=port,
            security=security and _to_fill_in(host, security),
            smtp_username=username,
            from_email=self._address,
        )

    def _is_own(self, host: str) -> bool:
        return host == self._domain or host.endswith(f".{self._domain}")


def _named_or_public(allowed: AllowedPlaces, for_accounts: PlacesForAccounts) -> PlacesForAccounts:
    """Where a web server may send us on to: into a network of ours only where somebody has named it."""
    return replace(for_accounts, own_networks=(*allowed.networks, *for_accounts.own_networks))


def _policy_to_probe(domain: str) -> Policy:
    server = SmtpSettings(host=domain, port=WAYS[0][0], security=WAYS[0][1], from_email=f"postmaster@{domain}")
    return policy_for(server, SECONDS)


def _begun(work: Callable[[], T | None]) -> Future[T | None]:
    """What comes of some work on a thread of its own, which holds nobody up; None if it breaks."""
    future: Future[T | None] = Future()

    def run() -> None:
        found: T | None = None
        try:
            found = work()
        finally:
            future.set_result(found)

    threading.Thread(target=incidents.watched(run), name="discovery", daemon=True).start()
    return future


def _result(asked: Future[T | None], end: Deadline) -> T | None:
    """What has come by then, or None."""
    try:
        return asked.result(max(0.0, end.remaining()))
    except TimeoutError:
        return None


def _usual_names(domain: str, hosts: list[str]) -> list[str]:
    """Where a domain's own mail server may be: often the one that takes its mail also sends it."""
    own = [host for host in hosts if host.endswith(f".{domain}")][:1]
    return list(dict.fromkeys([f"smtp.{domain}", f"mail.{domain}", *own, domain]))


def _with(provider: Provider, source: Source, message: str, address: str, domain: str) -> Discovery:
    """What a provider suggests whose mailbox this is; "" where no address, or no domain, is known."""
    security = Security(provider["security"])
    to_fill_in = _to_fill_in(provider["host"], security)
    has_none = bool(provider["obstacle"]) and not provider["ways"]
    values = Suggestion(
        smtp_server=provider["host"],
        smtp_port=provider["port"] if to_fill_in else None,  # which goes with the encryption
        security=to_fill_in,
        smtp_username=_username(provider, address, domain),
        # Another provider sends for a domain of one's own, but not for one of this provider.
        from_email="" if has_none and source is not Source.MX else address,
    )
    if not provider["development_only"]:
        message += _told_unencrypted(provider["host"], security)
    without_server = NO_SERVER if has_none else ""
    message = " ".join(filter(None, (message, without_server, provider["caution"])))
    return Discovery(source=source, message=message, provider=provider, values=values)


def _to_fill_in(host: str, security: Security) -> Security | None:
    """No encryption is for a person to choose, but to this machine."""
    return None if security is Security.NONE and not is_loopback(host) else security


def _told_unencrypted(host: str, security: Security) -> str:
    """The sentence about a way without encryption to another machine, behind what is said already."""
    return f" {UNENCRYPTED}" if host and security is Security.NONE and not is_loopback(host) else ""


def _username(provider: Provider, address: str, domain: str) -> str:
    """The user name, as far as the address tells it."""
    match provider["username_form"]:
        case "literal":
            return provider["username_literal"]
        case "address":
            return address
        case "own_address" if registry.for_domain(domain):
            return address
        case "local_part":
            return address.rpartition("@")[0]
    return ""


def _address(text: str) -> str:
    try:
        return parse_address(text)
    except InvalidAddress as refused:
        raise InvalidInput({"email": [str(refused)]}) from None


def _domain(text: str) -> str:
    """The domain or host name that the text is, or nothing."""
    try:
        domain = parse_host(text)
    except InvalidAddress:
        return ""
    return domain if "." in domain and not ip_literal(domain) else ""
