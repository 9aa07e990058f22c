"""For which site passkeys are made: that of ``BASE_URL``, and no header has a say in it."""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from utils.env_utils import get_settings

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
IS_ADDRESS: Final = "Passkeys need a host name. BASE_URL is an IP address: give Sealpost a name, and https."
IS_HTTP: Final = "Passkeys need https. BASE_URL is http:// to another host than localhost."


@dataclass(frozen=True)
class RelyingParty:
    """The id that a passkey is made for, and the origin from which it is used (Web Authentication 5.1.2)."""

    id: str
    origin: str


def relying_party() -> RelyingParty | str:
    """This site, or why no browser would make a passkey for it, in a sentence."""
    settings = get_settings()
    parts = urlsplit(settings.base_url)
    host = parts.hostname or ""
    if _is_address(host):
        return IS_ADDRESS
    host = host.encode("idna").decode()
    if not settings.is_https and host != "localhost" and not host.endswith(".localhost"):
        return IS_HTTP
    port = "" if parts.port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{parts.port}"
    return RelyingParty(host, f"{parts.scheme}://{host}{port}")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
