"""Limits that pages and API share, each with one count for both."""

from typing import Final

from flask import request

from blueprints.access import caller_key, limiter


def led_here_by_another_site() -> bool:
    """Whether it is a foreign link that asks (Fetch Metadata): it must not make this machine look around."""
    return request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none")


def _asks_nothing() -> bool:
    return not (request.args.get("find") or request.args.get("email"))


# A search makes this machine ask where the caller says.
discovery: Final = limiter.shared_limit("20 per minute", scope="discovery", exempt_when=_asks_nothing)
# Calls of one account about its own mail; each may bring 500.
own_mail: Final = limiter.limit("120 per minute", key_func=caller_key)
# A test makes this machine ask where the channel says.
ALERT_TEST: Final = ("20 per minute", "alert-test")
# A check asks the name server up to a hundred things.
DOMAIN_CHECK: Final = ("20 per minute", "domain-check")
# A sample is an email like any other.
SAMPLE_MAIL: Final = ("10 per minute", "sample-mail")
