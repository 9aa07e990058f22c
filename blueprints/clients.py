"""Who asks: the address of the client, the network that limits count, and the browser in short."""

import ipaddress
import os
import re
from typing import Final

import structlog
from flask import Flask, current_app, request

from utils import peer_process
from utils.addresses import HIGHEST_PORT
from utils.env_utils import EXTENSION, Settings
from utils.numbers import whole_number

log = structlog.get_logger(__name__)

# The first that fits counts: most browsers name several others, for whose sake servers once served them better.
_BROWSERS: Final = (
    ("Edg", "Edge"),
    ("OPR", "Opera"),
    ("SamsungBrowser", "Samsung Internet"),
    ("Firefox", "Firefox"),
    ("FxiOS", "Firefox"),
    ("Chrome", "Chrome"),
    ("Chromium", "Chrome"),
    ("CriOS", "Chrome"),
    ("Safari", "Safari"),
)
_SYSTEMS: Final = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Macintosh", "macOS"),
    ("Linux", "Linux"),
)
_BY_PROXIES: Final = ("X-Forwarded-For", "Forwarded", "X-Real-IP")  # headers in which proxies name whom they saw
# Beginnings of the names of all headers by which a proxy shows itself, whatever they say: RFC 7239, RFC 9110 7.6.3,
# nginx, Apache, Traefik, Envoy, Cloudflare, Akamai, Fastly, and those who rewrite addresses.
_SHOW_A_PROXY: Final = (
    "x-forwarded", "forwarded", "via", "x-real-ip", "x-original-", "x-rewrite-", "x-client-ip", "x-cluster-client-ip",
    "client-ip", "true-client-ip", "cf-", "cdn-loop", "fastly-", "x-envoy-", "x-proxy", "x-arr-", "x-azure-",
    "x-appengine-", "x-amzn-", "fly-",
)  # fmt: skip
_UNTRUSTED: Final = "sealpost_untrusted_proxy"  # in the application's extensions: the header that came first
_PRODUCT: Final = re.compile(r"[A-Za-z][\w.-]{0,30}(?=/|$)")


def init_app(app: Flask) -> None:
    settings: Settings = app.extensions[EXTENSION]
    if not settings.trusted_proxies:
        app.before_request(_notice_proxy)


def untrusted_proxy() -> str:
    """The header by which a proxy has shown itself while ``TRUSTED_PROXIES`` is 0, or ""."""
    return "".join(current_app.extensions.get(_UNTRUSTED, ()))


def is_through_proxy() -> bool:
    """Whether anything shows that a proxy passed this request on, trusted or not.

    One that adds nothing is known by what it is: nginx speaks HTTP/1.0 to whom it passes on (its default until 2026),
    which no browser does; and its program is another user's than ours. Root's is let through, as some systems pass the
    connections of one's own browser on by such a program.
    """
    if any(name.lower().startswith(_SHOW_A_PROXY) for name in request.headers.keys()):  # noqa: SIM118 - pairs else
        return True
    return request.environ.get("SERVER_PROTOCOL") == "HTTP/1.0" or _is_of_another_user()


def _is_of_another_user() -> bool:
    ports = [request.environ.get(name) for name in ("REMOTE_PORT", "SERVER_PORT")]
    try:
        peer, ours = (int(str(port)) for port in ports)
    except ValueError:  # a server that does not tell
        return False
    user = peer_process.user_of(peer, ours)
    return user is not None and user not in (0, os.geteuid())


def _notice_proxy() -> None:
    """Say once that all visitors count as one behind a proxy that nobody told us of."""
    if _UNTRUSTED in current_app.extensions:
        return
    header = next((name for name in _BY_PROXIES if name in request.headers), None)
    if header and current_app.extensions.setdefault(_UNTRUSTED, mark := [header]) is mark:
        log.warning(
            "proxy_not_trusted",
            header=header,
            effect="All visitors who come through it share every limit.",
            remedy="Set TRUSTED_PROXIES to the number of your own proxies in front.",
        )


def client_address() -> str:
    """Where the request comes from: the peer's address, IPv4 always as IPv4.

    Behind ``TRUSTED_PROXIES`` the peer is whom the outermost of them saw; no other header is believed.
    """
    text = _without_port(request.remote_addr or "unknown")
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return text
    return str(getattr(address, "ipv4_mapped", None) or address)


def _without_port(text: str) -> str:
    """Some proxies write one behind the address: every connection would be another client."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    host, _, port = text.partition(":")
    return text if whole_number(port, 0, HIGHEST_PORT) is None else host


def client_network() -> str:
    """Whom limits count: the client's address, or for IPv6 its /64, of which everybody has plenty."""
    address = client_address()
    try:
        return str(ipaddress.IPv6Network((address, 64), strict=False))
    except ValueError:
        return address


def browser_in_short(user_agent: str) -> str:
    """What a list of sessions calls the browser, like “Firefox on Linux”."""
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), "")
    browser = next((name for mark, name in _BROWSERS if f"{mark}/" in user_agent or f"{mark}A/" in user_agent), "")
    if not browser:
        product = _PRODUCT.match(user_agent)
        browser = product[0] if product and product[0] != "Mozilla" else "Unknown browser"
    return f"{browser} on {system}" if system else browser
