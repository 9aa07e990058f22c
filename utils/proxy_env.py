"""Signing in by a header of the reverse proxy in front, as the environment sets it up."""

import re
from dataclasses import dataclass
from typing import Final

from utils import env_urls
from utils.env_reader import ConfigurationError, Reader
from utils.key_strength import NEW_KEY_COMMAND, weakness
from utils.secret import Secret

SECRET_HEADER: Final = "Sealpost-Proxy-Secret"  # noqa: S105 - where it is sent
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_DEPENDENT: Final = ("PROXY_USER_BY_SOCKET", "PROXY_SIGN_OUT_URL")
# What browsers and proxies send for other reasons, with whatever in it.
_OTHERS: Final = frozenset(
    "accept accept-encoding accept-language authorization cookie connection content-length content-type forwarded "
    "host origin referer user-agent via x-forwarded-for x-forwarded-host x-forwarded-proto x-real-ip".split()
) | {SECRET_HEADER.lower()}


@dataclass(frozen=True, kw_only=True)
class ProxySettings:
    """Which header names whoever the proxy has signed in, and what shows that the proxy has sent it."""

    header: str
    secret: Secret | None  # sent in SECRET_HEADER
    by_socket: bool  # whoever may open the unix socket that gunicorn listens on is the proxy
    sign_out_url: str = ""


def named_by(env: Reader) -> ProxySettings | None:
    """How that is, or None where nobody signs in so. Raises ConfigurationError."""
    header = env.text("PROXY_USER_HEADER")
    if not header:
        lonely = next((name for name in _DEPENDENT if env.text(name)), "")
        if lonely:
            raise ConfigurationError(f"{lonely} is set and PROXY_USER_HEADER is not. Set it, like Remote-User.")
        return None
    if not _NAME.fullmatch(header) or header.lower() in _OTHERS or header.lower().startswith("http-"):
        raise ConfigurationError(
            "PROXY_USER_HEADER must be the header’s name as the proxy sends it, like Remote-User: with hyphens, "
            "without HTTP_, and none that browsers send."
        )
    if not env.integer("TRUSTED_PROXIES", 0, 0, 10):
        raise ConfigurationError("PROXY_USER_HEADER needs TRUSTED_PROXIES: the number of your own proxies in front.")
    if env.boolean("OIDC_ONLY", default=False):
        raise ConfigurationError(
            "PROXY_USER_HEADER and OIDC_ONLY are both set: with OIDC_ONLY=true everyone signs in at the provider. "
            "Remove one of the two."
        )
    text, by_socket = env.text("PROXY_USER_SECRET"), env.boolean("PROXY_USER_BY_SOCKET", default=False)
    if not text and not by_socket:
        raise ConfigurationError(
            f"PROXY_USER_SECRET is not set: anyone could send {header}. Create one with: {NEW_KEY_COMMAND} and let "
            f"the proxy send it as {SECRET_HEADER}, or set PROXY_USER_BY_SOCKET=true if gunicorn listens on a unix "
            "socket."
        )
    if text and (fault := weakness(text)):
        raise ConfigurationError(f"PROXY_USER_SECRET {fault}. Create a new one with: {NEW_KEY_COMMAND}")
    return ProxySettings(
        header=header, secret=Secret(text) if text else None, by_socket=by_socket, sign_out_url=_sign_out_url(env)
    )


def _sign_out_url(env: Reader) -> str:
    url = env.text("PROXY_SIGN_OUT_URL")
    parts = env_urls.parsed(url) if url else None
    if url and (parts is None or parts.scheme not in ("https", "http") or not all("!" <= each <= "~" for each in url)):
        raise ConfigurationError("PROXY_SIGN_OUT_URL must be an address like https://auth.example.com/logout")
    return url
