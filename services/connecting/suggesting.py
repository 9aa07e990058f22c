"""From an email address, or a mail server, to the provider of its tokens: by what the registry and the DNS know."""

from dataclasses import dataclass
from typing import Final

from services.oauth import providers
from services.oauth.providers import CLOUDS, OAuthProvider
from services.providers import discovery, registry
from services.providers.discovery import Discovery
from services.providers.registry import Provider
from utils.addresses import InvalidAddress, ascii_domain, parse_host

# The registry's entries for which a token is good at the server that they name.
_OF_REGISTRY: Final = {
    "gmail": OAuthProvider.GOOGLE,
    "google-workspace-relay": OAuthProvider.GOOGLE,
    "office365": OAuthProvider.MICROSOFT,
    "outlook": OAuthProvider.MICROSOFT,
    "fastmail": OAuthProvider.FASTMAIL,
}
_PERSONAL: Final = {"outlook"}  # mailboxes that belong to no organisation
CONSUMERS: Final = "consumers"
_FURTHER_CLOUDS: Final = CLOUDS.keys() - {"worldwide"}


@dataclass(frozen=True, kw_only=True)
class OAuthSuggestion:
    """Who gives tokens for a mailbox, and what is known of it.

    ``tenant`` is that of the address's domain, which is one of the tenant's: Microsoft takes either for it.
    ``is_personal``: no organisation is around the mailbox.
    """

    provider: OAuthProvider
    cloud: str = ""
    tenant: str = ""
    is_personal: bool = False


def provider_for(address: str) -> tuple[Discovery, OAuthSuggestion | None]:
    """What is found out about an address (or a provider's name), and who gives tokens for it, if it is known.

    It asks the DNS where the domain says nothing by itself. Raises InvalidInput, at ``email``.
    """
    found = discovery.discover(address)
    return found, suggested(found.provider, address)


def suggested(provider: Provider | None, address: str = "") -> OAuthSuggestion | None:
    """Who gives tokens for an address at a provider; None where nobody does, or not for SMTP."""
    known = _OF_REGISTRY.get(provider["id"]) if provider else None
    if provider is None or known is None:
        return None
    domain = _domain(address)
    if known is OAuthProvider.MICROSOFT:
        at_home = registry.for_domain(domain)  # a personal address may have been entered for the other server
        is_personal = provider["id"] in _PERSONAL or (at_home is not None and at_home["id"] in _PERSONAL)
        return OAuthSuggestion(
            provider=known,
            cloud=provider["region"] if provider["region"] in _FURTHER_CLOUDS else "",
            tenant=CONSUMERS if is_personal else domain,
            is_personal=is_personal,
        )
    is_gmail = known is OAuthProvider.GOOGLE and registry.is_listed(domain)  # not a domain with its MX there
    return OAuthSuggestion(provider=known, is_personal=is_gmail)


def suggested_for_server(smtp_host: str, username: str = "") -> OAuthSuggestion | None:
    """The same for a mail server that is set up already: its host decides, and a token may go there."""
    provider = registry.for_server(smtp_host)
    found = suggested(provider, username)
    return found if found and takes_token(found.provider, smtp_host) else None


def takes_token(provider: OAuthProvider, smtp_host: str) -> bool:
    """Whether a token of the provider may go to this server. A custom provider's may go to any."""
    try:
        host = parse_host(smtp_host)
    except InvalidAddress:
        return False
    return provider is OAuthProvider.CUSTOM or host in _HOSTS[provider]


_HOSTS: Final = {
    OAuthProvider.GOOGLE: providers.google().smtp_hosts,
    OAuthProvider.FASTMAIL: providers.fastmail().smtp_hosts,
    OAuthProvider.MICROSOFT: frozenset[str]().union(*(cloud.smtp_hosts for cloud in CLOUDS.values())),
}


def _domain(address: str) -> str:
    if "@" not in address:
        return ""
    try:
        return ascii_domain(address)
    except InvalidAddress:
        return ""
