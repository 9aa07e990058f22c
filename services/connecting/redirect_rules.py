"""Whether a provider sends browsers back to ``BASE_URL``, what to register there, and what to do where it does not.

Each has rules of its own for redirect URIs, and checks them when one is registered: whoever learns of them there has
been through half of the guide by then.
"""

from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult

from services.oauth.providers import OAuthProvider
from utils import env_urls
from utils.addresses import InvalidAddress, ip_literal, is_loopback, parse_host, public_name

CALLBACK_PATH: Final = "/oauth/callback"  # below the path of BASE_URL; it names no server, the state finds the sign-in
# Where no server of ours is: the browser ends at an error page, and its address is pasted back. No other program may
# listen there, since it would be given the code; so it is a port that none is known for.
LOCALHOST_URI: Final = f"http://localhost:47925{CALLBACK_PATH}"
LONGEST_URI: Final = 256  # characters, which is Microsoft's bound and the lowest known

# Google accepts what ends in a top-level domain of the public suffix list. Beside what ``public_name`` knows to be
# local: RFC 2606 2, and what many call their own network though nobody has registered it.
_UNREGISTERED: Final = {
    "example", "cluster", "consul", "dmz", "docker", "domain", "homelab", "intra", "k8s", "kube", "lab", "loc",
    "localnet", "nas", "priv", "router", "server", "station", "svc", "vm", "workgroup",
}  # fmt: skip
_NEVER: Final = "googleusercontent.com"  # whose names Google refuses by themselves
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_HERE: Final = {"localhost", "127.0.0.1", "::1"}  # what Google calls localhost; it says nothing of 127.0.0.2


@dataclass(frozen=True, kw_only=True)
class RedirectVerdict:
    """Whether browsers come back to Sealpost by themselves; ``headline`` and ``words`` say it to a person.

    ``uri`` is what BASE_URL gives, ``reason`` why it cannot be one. ``offers_code``: whether the provider shows a code
    to type instead, which needs no redirect at all.
    """

    can_redirect: bool
    uri: str
    headline: str
    words: str
    reason: str = ""
    offers_code: bool

    @property
    def registered_uri(self) -> str:
        """The redirect URI to register at the provider, and to be sent away with."""
        return self.uri if self.can_redirect else LOCALHOST_URI


def judged(base_url: str, provider: OAuthProvider) -> RedirectVerdict:
    """Whether the provider sends browsers back to Sealpost at ``base_url``."""
    parts = env_urls.parsed(base_url)
    uri = _callback(parts) if parts else ""
    reason = _refusal(parts, uri, provider) if parts else _NO_URL
    name = NAMES[provider]
    offers_code = provider is OAuthProvider.MICROSOFT
    if not reason:
        return RedirectVerdict(
            can_redirect=True,
            uri=uri,
            headline=f"{name} can send you back to Sealpost",
            words="Register exactly this redirect URI. A different port, path or letter makes it another one.",
            offers_code=offers_code,
        )
    return RedirectVerdict(
        can_redirect=False,
        uri=uri,
        headline=f"{name} cannot send you back to this address",
        words=f"{reason} {_INSTEAD_BY_CODE if offers_code else _INSTEAD}",
        reason=reason,
        offers_code=offers_code,
    )


NAMES: Final = {
    OAuthProvider.GOOGLE: "Google",
    OAuthProvider.MICROSOFT: "Microsoft",
    OAuthProvider.FASTMAIL: "Fastmail",
    OAuthProvider.CUSTOM: "The provider",
}
_NO_URL: Final = "BASE_URL is not an address that a browser can open."
_INSTEAD: Final = (
    "You can still connect: register the localhost address below instead. After you sign in, your browser cannot open "
    "it. Copy the address from its address bar and paste it on this page."
)
_INSTEAD_BY_CODE: Final = (
    "You can still connect: use a code, which needs no redirect URI. Or register the localhost address below. After "
    "you sign in, your browser cannot open it. Copy the address from its address bar and paste it on this page."
)


def _callback(parts: SplitResult) -> str:
    """The whole redirect URI as a browser asks for it: the host in A-labels, and no port that goes without saying."""
    host = _plain_host(parts)
    shown = f"[{host}]" if ":" in host else host
    port = "" if parts.port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f":{parts.port}"
    return f"{parts.scheme}://{shown}{port}{parts.path.rstrip('/')}{CALLBACK_PATH}"


def _plain_host(parts: SplitResult) -> str:
    try:
        return parse_host(parts.hostname or "")
    except InvalidAddress:
        return (parts.hostname or "").lower()


def _refusal(parts: SplitResult, uri: str, provider: OAuthProvider) -> str:
    """Why the provider would not accept the redirect URI; "" if it would."""
    if len(uri) > LONGEST_URI:
        return f"BASE_URL is too long: a redirect URI has at most {LONGEST_URI} characters."
    host, is_encrypted = _plain_host(parts), parts.scheme == "https"
    shown = uri.removesuffix(CALLBACK_PATH)
    match provider:
        case OAuthProvider.GOOGLE:
            return _refused_by_google(host, shown, is_encrypted=is_encrypted)
        case OAuthProvider.MICROSOFT:
            return _refused_by_microsoft(host, shown, is_encrypted=is_encrypted)
    if is_encrypted or is_loopback(host):
        return ""
    return f"Redirect URIs must be https, unless they are on localhost. BASE_URL is {shown}."


def _refused_by_google(host: str, shown: str, *, is_encrypted: bool) -> str:
    """By its rules for redirect URIs of web servers: https and a public name, or this machine."""
    if host in _HERE:
        return ""
    if ip_literal(host):
        return f"Google accepts no IP address. BASE_URL is {shown}, and must be https with a public domain name."
    if not _is_public(host):
        return (
            f"Google accepts only public domain names, such as mail.example.com. BASE_URL is {shown}: only your own "
            "network knows that name."
        )
    if host == _NEVER or host.endswith(f".{_NEVER}"):
        return f"Google accepts no address in {_NEVER}."
    if not is_encrypted:
        return f"Google accepts http only for localhost. BASE_URL is {shown}, and must be https."
    return ""


def _refused_by_microsoft(host: str, shown: str, *, is_encrypted: bool) -> str:
    """Any https; http for the name localhost alone: its form refuses 127.0.0.1, and nothing accepts [::1]."""
    if is_encrypted or host == "localhost":
        return ""
    if is_loopback(host):
        return (
            f"Microsoft accepts http only for the name localhost. BASE_URL is {shown}, and must have localhost in "
            "place of the IP address."
        )
    return f"Microsoft accepts http only for localhost. BASE_URL is {shown}, and must be https."


def _is_public(host: str) -> bool:
    return public_name(host) is not None and host.rpartition(".")[2] not in _UNREGISTERED
