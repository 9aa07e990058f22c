"""One request to a channel, and what its failure means to a person: what is wrong, and how to fix it."""

import json
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from services import web_request
from services.alerts.bodies import AlertRequest
from services.alerts.kinds import ChannelKind
from services.smtp.wire import Deadline
from services.web_request import WebAnswer, WebFailure, WebReach
from utils.allowed_places import EVERYWHERE
from utils.env_utils import get_settings
from utils.errors import Fault
from utils.numbers import whole_number

SECONDS: Final = 10.0  # for the whole of a request
LONGEST_ANSWER: Final = 64 * 1024
LONGEST_WAIT: Final = 3600  # seconds that a channel may ask for
_GOOD, _REDIRECT, _ERROR, _BROKEN = 200, 300, 400, 500
_TOO_MANY: Final = 429
TYPO: Final = "Check the URL for a typo."
NEW_URL: Final = "Create a new one there, and enter its URL."


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """Why a channel was not told; ``status`` is of HTTP, 0 where there was no answer."""

    text: str
    remedy: str
    status: int = 0
    wait: int = 0  # seconds that the channel asks for

    @property
    def sentence(self) -> str:
        return f"{self.text} {self.remedy}".strip()


def post(kind: ChannelKind, request: AlertRequest) -> Trouble | None:
    """Say it; None if it was accepted. No redirect is followed, and no address asked that is never to be."""
    host = ""
    try:
        place = web_request.host_of(request.url, may_be_plain=True, may_be_private=True)
        host = place.host
        answer = web_request.ask(
            place,
            "POST",
            _target_of(request.url),
            request.headers,
            request.body,
            reach=_reach(),
            deadline=Deadline(SECONDS),
            longest=LONGEST_ANSWER,
        )
    except WebFailure as failure:
        return told_failure(failure.fault, host, is_encrypted=request.url.startswith("https:"))
    except ValueError:
        return Trouble(text="The stored URL cannot be used.", remedy="Enter it again.")
    return told_answer(kind, answer)


def told_failure(fault: Fault, host: str, *, is_encrypted: bool) -> Trouble:
    """There was no answer."""
    text, remedy = _FAILURES.get(fault, ("No connection to {host} could be made.", TYPO))
    if fault is Fault.ADDRESS_REFUSED and not is_encrypted:
        remedy = "Use https://. http:// is for private networks and this machine."
    return Trouble(text=text.format(host=host), remedy=remedy)


def told_answer(kind: ChannelKind, answer: WebAnswer) -> Trouble | None:
    """None for one that says that the message was taken."""
    status = answer.status
    if _GOOD <= status < _REDIRECT:
        return None
    if _REDIRECT <= status < _ERROR:
        return Trouble(text=f"The server redirects {_whereto(answer)}.", remedy=_NO_REDIRECT, status=status)
    known = _OF_KINDS.get((kind, status)) or _ANSWERS.get(status)
    if status == _TOO_MANY:
        wait = _wait_of(answer)
        return Trouble(text="The server accepts no more messages for now (429).", remedy="", status=status, wait=wait)
    if known is None and status >= _BROKEN:
        known = (f"The server failed ({status}).", "Sealpost keeps trying. If it keeps failing, check that server.")
    text, remedy = known or (f"The server refused the message ({status}).", TYPO)
    return Trouble(text=text, remedy=remedy, status=status, wait=_wait_of(answer) if status >= _BROKEN else 0)


def _reach() -> WebReach:
    ours = get_settings()
    return WebReach(
        ca_file=ours.smtp_ca_file, dns_resolver=ours.dns_resolver, allowed=EVERYWHERE, plain_in_private=True
    )


def _target_of(url: str) -> str:
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _whereto(answer: WebAnswer) -> str:
    """The host of a redirect, and no more of it: its path may be a secret."""
    try:
        parts = urlsplit(answer.headers.get("location", ""))
        host = web_request.host_of(f"https://{parts.netloc}/", may_be_plain=False).host
    except ValueError:
        return f"elsewhere ({answer.status})"
    return f"to {host} ({answer.status})"


def _wait_of(answer: WebAnswer) -> int:
    """For how long a channel wants nothing: the header (RFC 9110 10.2.3), or what some say beside it."""
    seconds = whole_number(answer.headers.get("retry-after", "").strip())
    if seconds is None:
        seconds = _wait_in(answer.body)
    return min(seconds or 0, LONGEST_WAIT)


def _wait_in(body: bytes) -> int | None:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    parameters = told.get("parameters")
    wait = parameters.get("retry_after") if isinstance(parameters, dict) else told.get("retry_after")
    if not isinstance(wait, int | float) or isinstance(wait, bool):
        return None
    return int(wait) + 1 if 0 <= wait < LONGEST_WAIT else None


_NO_REDIRECT: Final = "Sealpost never follows redirects. Enter the URL that it leads to."
_FAILURES: Final = {
    Fault.DNS_NOT_FOUND: ("No server has the name {host}.", TYPO),
    Fault.DNS_FAILED: ("The name {host} could not be looked up.", "Check this machine’s DNS server, or DNS_RESOLVER."),
    Fault.ADDRESS_REFUSED: (
        "{host} leads to an address that Sealpost does not connect to.",
        "Enter another host. Link-local addresses and those of cloud metadata are never used.",
    ),
    Fault.REFUSED: ("{host} refused the connection.", "Check the port in the URL, and that the server is running."),
    Fault.UNREACHABLE: ("{host} could not be reached.", "Check that this machine can connect to it."),
    Fault.TIMEOUT: ("{host} did not respond in time.", "Check that this machine can connect to it, and the port."),
    Fault.CLOSED: ("{host} closed the connection.", "Check the port, and whether it needs https://."),
    Fault.TLS_CERTIFICATE: (
        "The certificate of {host} does not hold.",
        "Use the name in the certificate. For a private authority, set SMTP_CA_FILE.",
    ),
    Fault.TLS_HANDSHAKE: ("{host} does not speak TLS there.", "Check the port, and whether it needs http://."),
    Fault.TLS_UNEXPECTED: ("{host} does not speak TLS there.", "Check the port, and whether it needs http://."),
    Fault.BROKEN_REPLY: ("{host} did not reply as a web server does.", "Check the port in the URL."),
    Fault.TOO_LARGE: ("The reply of {host} was too long.", TYPO),
}
_ANSWERS: Final = {
    400: ("The server did not understand the message (400).", "Check that the URL is for this kind of channel."),
    401: ("The server did not accept the sign-in (401).", "Enter the token again, or a new one."),
    403: ("The server does not allow this (403).", "Check the token, and what it is good for."),
    404: ("The server does not know this URL (404).", TYPO),
    405: ("The server accepts no POST at this URL (405).", TYPO),
    410: ("The URL has been removed (410).", NEW_URL),
}
_OF_KINDS: Final = {
    (ChannelKind.NTFY, 401): ("The topic needs an access token (401).", "Create one at ntfy, and enter it."),
    (ChannelKind.NTFY, 403): ("The token may not publish to this topic (403).", "Change the topic’s access at ntfy."),
    (ChannelKind.SLACK, 403): ("Slack does not accept this webhook (403).", NEW_URL),
    (ChannelKind.SLACK, 404): ("Slack does not know this webhook (404).", NEW_URL),
    (ChannelKind.SLACK, 410): ("The Slack channel is archived (410).", "Choose another channel there."),
    (ChannelKind.DISCORD, 401): ("Discord does not accept this webhook (401).", NEW_URL),
    (ChannelKind.DISCORD, 404): ("Discord does not know this webhook (404).", NEW_URL),
    (ChannelKind.TEAMS, 401): ("The workflow does not accept this URL (401).", NEW_URL),
    (ChannelKind.TEAMS, 404): ("Teams does not know this workflow (404).", NEW_URL),
    (ChannelKind.TELEGRAM, 400): (
        "Telegram does not know this chat (400).",
        "Write to the bot once, or add it to the group, and check the chat’s number.",
    ),
    (ChannelKind.TELEGRAM, 401): ("Telegram does not accept the bot’s token (401).", "Copy it again from @BotFather."),
    (ChannelKind.TELEGRAM, 403): (
        "The bot may not write to this chat (403).",
        "Unblock it, or add it to the group again.",
    ),
    (ChannelKind.TELEGRAM, 404): ("Telegram does not know this bot (404).", "Copy its token again from @BotFather."),
}
