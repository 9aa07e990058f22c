"""From what everybody knows of their mail, an address or a provider's name, to the settings of its server.

Nothing is sent to anybody, and no password takes part: names are looked up, and servers asked for their greeting.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from services.delivery.attempt import policy_for
from services.providers import presets, registry
from services.providers.registry import Provider
from services.smtp import dns, probe
from services.smtp.dns import LookupFailed
from services.smtp.settings import OpenWay, Security, SmtpSettings
from utils.addresses import LONGEST_ADDRESS, InvalidAddress, ascii_domain, ip_literal, parse_address, parse_host
from utils.env_utils import get_settings
from utils.errors import InvalidInput

MX_SECONDS: Final = 3.0
PROBE_SECONDS: Final = 5.0
WAYS: Final = ((587, Security.STARTTLS), (465, Security.TLS))  # RFC 6409, RFC 8314
WHAT_TO_ENTER: Final = "Enter an email address, like name@example.com, or the name of a provider."
UNKNOWN_NAME: Final = "No provider with this name. Enter your email address instead."


class Source(StrEnum):
    """Where the knowledge comes from."""

    NAME = "name"
    DOMAIN = "domain"
    MX = "mx"
    PROBE = "probe"
    NONE = "none"


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
    """What was found out, and ``message``, which says so in one sentence."""

    source: Source
    message: str
    values: Suggestion
    provider: Provider | None = None


def discover(text: str, *, may_probe: bool = True) -> Discovery:
    """Find the server for an email address, a domain, or a provider's name; at the latest after ten seconds.

    Who ``may_probe`` has this machine connect to the usual names of a mail server.

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
        return _with(provider, Source.DOMAIN, f"{domain} uses {provider['name']}.", address, domain)
    try:
        hosts = dns.mx(domain, MX_SECONDS, get_settings().dns_resolver)
    except LookupFailed:
        message = f"DNS is not responding, so Sealpost cannot look up {domain}. Enter its server yourself."
        return Discovery(source=Source.NONE, message=message, values=Suggestion(from_email=address))
    if provider := registry.for_mx(hosts):
        return _with(provider, Source.MX, f"{domain} uses {provider['name_by_mx']}.", address, domain)
    if may_probe:
        return _by_probing(domain, hosts, address)
    message = f"Found no provider for {domain}. Ask its administrator for the server’s name."
    return Discovery(source=Source.NONE, message=message, values=Suggestion(from_email=address))


def _by_probing(domain: str, hosts: Sequence[str], address: str) -> Discovery:
    """What answers at the names under which a domain usually has its mail server."""
    names = _usual_names(domain, hosts)
    server = SmtpSettings(host=names[0], port=WAYS[0][0], security=WAYS[0][1], from_email=f"postmaster@{domain}")
    policy = policy_for(server, PROBE_SECONDS)
    with ThreadPoolExecutor(len(names), "discovery") as pool:
        answers = list(pool.map(lambda name: probe.open_ways(name, WAYS, policy, PROBE_SECONDS), names))
    for name, open_ways in zip(names, answers, strict=True):
        if open_ways:
            return _of_server(name, open_ways[0], domain, address)
    message = f"Found no provider and no mail server for {domain}. Ask its administrator for the server’s name."
    return Discovery(source=Source.NONE, message=message, values=Suggestion(from_email=address))


def _usual_names(domain: str, hosts: Sequence[str]) -> list[str]:
    """Where a domain's own mail server may be: often the one that takes its mail also sends it."""
    own = [host for host in hosts if host.endswith(f".{domain}")][:1]
    return list(dict.fromkeys([f"smtp.{domain}", f"mail.{domain}", *own, domain]))


def _of_server(name: str, way: OpenWay, domain: str, address: str) -> Discovery:
    message = f"Found no provider for {domain}, but {name} responds on port {way.port} ({way.security.upper()})."
    values = Suggestion(
        smtp_server=name, smtp_port=way.port, security=way.security, smtp_username=address, from_email=address
    )
    return Discovery(source=Source.PROBE, message=message, values=values)


def _with(provider: Provider, source: Source, message: str, address: str, domain: str) -> Discovery:
    """What a provider suggests whose mailbox this is; "" where no address, or no domain, is known.

    A way without encryption is for a person to choose: it is not suggested but to this machine.
    """
    security = Security(provider["security"])
    is_silent = security is Security.NONE and not provider["development_only"]
    values = Suggestion(
        smtp_server=provider["host"],
        smtp_port=None if is_silent else provider["port"],
        security=None if is_silent else security,
        smtp_username=_username(provider, address, domain),
        from_email=address,
    )
    unsendable = provider["obstacle"] if not provider["ways"] else ""
    message = " ".join(filter(None, (message, unsendable, provider["caution"])))
    return Discovery(source=source, message=message, provider=provider, values=values)


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
