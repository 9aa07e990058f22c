"""At which address a browser came, and at which it should have: links, cookies and the CSRF rule go by ``BASE_URL``."""

import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

import structlog
from flask import request

from utils import own_addresses
from utils.env_urls import http_url, is_wildcard, parsed
from utils.env_utils import get_settings
from utils.errors import AppError

log = structlog.get_logger(__name__)

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9.:\[\]_-]{1,255}")


class WrongAddress(AppError):
    """A form was sent from where its cookies do not go. The browser came to us, but not by ``BASE_URL``."""

    def __init__(self, opened: str) -> None:
        super().__init__(f"Sealpost is at {get_settings().base_url}, but you opened {opened}.")


def own_origins() -> list[str]:
    """``BASE_URL`` as browsers write it (RFC 6454 6.2): ASCII host, no default port.

    In development, where `make run` listens on every address, each of those counts as well.
    """
    settings = get_settings()
    parts = urlsplit(settings.base_url)
    host = (parts.hostname or "").encode("idna").decode()
    port = "" if parts.port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{parts.port}"
    others = own_addresses.reachable(settings.host) if _is_open_to_all() else []
    return [
        f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}",
        *(http_url(address, settings.port) for address in others),
    ]


def _is_open_to_all() -> bool:
    settings = get_settings()
    return is_wildcard(settings.host) and not settings.is_production and not settings.is_https


def wrong_one() -> WrongAddress | None:
    """What to tell a browser that came by another address than ``BASE_URL``; None for all others."""
    opened = _opened()
    if opened is None or opened in own_origins():
        return None
    log.warning("wrong_address", opened=opened, base_url=get_settings().base_url)
    return WrongAddress(opened)


def _opened() -> str | None:
    """The origin of our own page that sent this, as far as it is certain that the page was ours.

    A proxy may put a ``Host`` of its own; the browser's ``Origin`` counts where the host of either agrees.
    """
    if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        return None
    origin, host = (request.headers.get(name, "").lower() for name in ("Origin", "Host"))
    if origin in ("", "null"):
        return _opened_by(host)
    parts, base_host = _parsed(origin), get_settings().base_host
    return origin if parts and (parts.netloc == host or parts.hostname == base_host) else None


def _opened_by(host: str) -> str | None:
    """The same where the browser says no origin: by another name in ``Host``, unless a proxy has written that."""
    parts = _parsed(f"http://{host}")
    is_other = parts is not None and parts.hostname != get_settings().base_host
    return f"http://{host}" if is_other and not get_settings().trusted_proxies else None


def _parsed(origin: str) -> SplitResult | None:
    return parsed(origin) if _ORIGIN.fullmatch(origin) else None
