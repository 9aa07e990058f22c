"""Who asks for a pixel without a person having opened the mail: proxies, prefetchers and scanners, as far as it shows.

Apple's Mail Privacy Protection and Gmail load images whether or not anybody reads; so such an open says that the mail
arrived, and no more.
"""

import re
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Final

# All that Apple's proxies say of themselves.
_APPLE: Final = "Mozilla/5.0"
_APPLES_NETWORK: Final = ip_network("17.0.0.0/8")
_MACHINES: Final = re.compile(
    r"imageproxy|ggpht\.com|mailproxy|img-?proxy|camo|image-?cache"  # Gmail, Yahoo, Slack, GitHub
    # Outlook's look-ups, and the scanners in front of mailboxes
    r"|ms-?office existence|existence discovery|office protocol discovery|safelinks|bingpreview|skypeuripreview"
    r"|outlookimageproxy|barracuda|mimecast|proofpoint|ironport|ciscosecure|fortimail|fortiguard|sophos|trendmicro|tmes"
    r"|symantec|messagelabs|fireeye|trellix|zscaler|forcepoint|mailguard|spamhaus|virustotal|urlscan|rspamd|clamav"
    r"|bot\b|bot[/;)]|crawl|spider|slurp|scan|preview|prefetch|fetch|monitor|headless|phantomjs|lighthouse"
    # libraries of programs
    r"|curl|wget|python|aiohttp|httpx|go-http|libwww|lwp|okhttp|java/|apache-httpclient|axios|node|ruby|php|guzzle",
    re.IGNORECASE,
)
_LONGEST: Final = 1000  # characters of what a client says of itself
_ANNOUNCE: Final = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")  # headers by which browsers tell a prefetch
_EARLIER: Final = re.compile(r"prefetch|preview|prerender", re.IGNORECASE)


def is_one(headers: Mapping[str, str], address: str) -> bool:
    """Whether a request for a pixel, by its headers and where it comes from, may be a machine's alone."""
    agent = headers.get("User-Agent", "").strip()[:_LONGEST]
    if agent in ("", _APPLE) or _MACHINES.search(agent):
        return True
    return _is_apples(address) or any(_EARLIER.search(headers.get(name, "")) for name in _ANNOUNCE)


def _is_apples(address: str) -> bool:
    try:
        return ip_address(address) in _APPLES_NETWORK
    except ValueError:
        return False
