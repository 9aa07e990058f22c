"""What is sent to each kind of channel: pure functions from news to a request.

Shapes: Standard Webhooks 1.0 (headers and signature), ntfy "Publish as JSON", Slack's and Discord's incoming webhooks,
Adaptive Cards in a message for a workflow of Teams, Telegram's sendMessage.
"""

import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from services.alerts.kinds import ChannelKind, topic_of
from utils import clock
from utils.secret import Secret

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - what stands before one
TELEGRAM: Final = "https://api.telegram.org"
_HIGH, _NORMAL = 4, 3  # ntfy's priorities, of 1 to 5
_LONGEST: Final = 1600  # characters; Discord takes 2000, with title and link, the others more
NONE: Final = Secret("")


class AlertChange(StrEnum):
    """What a message tells; TEST is that of the button."""

    FIRING = "firing"
    RESOLVED = "resolved"
    TEST = "test"


@dataclass(frozen=True, kw_only=True)
class AlertNews:
    """One change of one alert, as all channels tell it. ``notice_id`` stays the same when it is sent again."""

    notice_id: str
    change: AlertChange
    rule: str
    subject: str
    headline: str
    remedy: str
    since: datetime
    changed_at: datetime

    @property
    def title(self) -> str:
        return {AlertChange.FIRING: "Alert", AlertChange.RESOLVED: "Resolved", AlertChange.TEST: "Test"}[self.change]

    @property
    def text(self) -> str:
        """All of it but the title, in sentences."""
        when = f"Since {clock.readable(self.since)}."
        if self.change is AlertChange.RESOLVED:
            when = f"It lasted from {clock.readable(self.since)} to {clock.readable(self.changed_at)}."
        lines = (self.headline, "" if self.change is AlertChange.RESOLVED else self.remedy)
        return " ".join(filter(None, (*lines, "" if self.change is AlertChange.TEST else when)))


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is entered for a channel; whatever is secret of it prints nothing."""

    url: Secret = NONE
    secret: Secret = NONE
    token: Secret = NONE
    chat: str = ""
    recipients: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AlertRequest:
    """One POST; the URL may hold a secret."""

    url: str = field(repr=False)
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


def request_for(kind: ChannelKind, target: Target, news: AlertNews, *, app_name: str, page: str) -> AlertRequest:
    """The request that tells ``news``; ``page`` is the URL of the page about alerts."""
    url = target.url.reveal()
    title = f"{app_name}: {news.title}"
    text = news.text[:_LONGEST]
    if kind is ChannelKind.WEBHOOK:
        return _signed(url, target.secret, news, {"app": app_name, "url": page})
    if kind is ChannelKind.NTFY:
        return _ntfy(target, news, title, text, page)
    if kind is ChannelKind.TELEGRAM:
        told = {"chat_id": target.chat, "text": f"{title}\n{text}\n{page}", "link_preview_options": _NO_PREVIEW}
        return _json(f"{TELEGRAM}/bot{target.token.reveal()}/sendMessage", told)
    bodies: dict[ChannelKind, dict[str, Any]] = {
        ChannelKind.SLACK: {"text": f"*{_slack(title)}*\n{_slack(text)}\n{_slack(page)}"},
        # Nobody is to be called by what a server's name happens to be.
        ChannelKind.DISCORD: {"content": f"**{title}**\n{text}\n<{page}>", "allowed_mentions": {"parse": []}},
        ChannelKind.TEAMS: _card(news, title, text, page),
    }
    return _json(url, bodies[kind])


def ping_request(target: Target, state: Mapping[str, object]) -> AlertRequest:
    """The sign of life, with how things stand."""
    return _json(target.url.reveal(), state)


def signing_key(secret: str) -> bytes:
    """The key that a signing secret stands for: Standard Webhooks writes it in base64 behind a prefix."""
    if secret.startswith(SECRET_PREFIX):
        try:
            return b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
        except ValueError:
            pass
    return secret.encode()


def signature(secret: str, notice_id: str, timestamp: int, body: bytes) -> str:
    """As the header has it: HMAC-SHA256 over id, time and body with dots between."""
    signed = f"{notice_id}.{timestamp}.".encode() + body
    return f"v1,{b64encode(hmac.new(signing_key(secret), signed, sha256).digest()).decode()}"


def _signed(url: str, secret: Secret, news: AlertNews, more: Mapping[str, str]) -> AlertRequest:
    data = {
        "rule": news.rule,
        "subject": news.subject,
        "state": news.change.value,
        "headline": news.headline,
        "remedy": news.remedy,
        "since": news.since.isoformat(),
        "changed_at": news.changed_at.isoformat(),
        **more,
    }
    told = {"type": f"alert.{news.change}", "timestamp": news.changed_at.isoformat(), "data": data}
    request = _json(url, told)
    sent_at = int(clock.now().timestamp())
    signed = signature(secret.reveal(), news.notice_id, sent_at, request.body)
    headers = {"webhook-id": news.notice_id, "webhook-timestamp": str(sent_at), "webhook-signature": signed}
    return AlertRequest(url=url, body=request.body, headers={**request.headers, **headers})


def _ntfy(target: Target, news: AlertNews, title: str, text: str, page: str) -> AlertRequest:
    parts = urlsplit(target.url.reveal())
    path, topic = topic_of(target.url.reveal())
    is_firing = news.change is AlertChange.FIRING
    told = {
        "topic": topic,
        "title": title,
        "message": text,
        "priority": _HIGH if is_firing else _NORMAL,
        "tags": ["warning" if is_firing else "white_check_mark"],
        "click": page,
    }
    request = _json(urlunsplit((parts.scheme, parts.netloc, path, "", "")), told)
    token = target.token.reveal()
    more = {"Authorization": f"Bearer {token}"} if token else {}
    return AlertRequest(url=request.url, body=request.body, headers={**request.headers, **more})


def _card(news: AlertNews, title: str, text: str, page: str) -> dict[str, Any]:
    colour = {AlertChange.FIRING: "Attention", AlertChange.RESOLVED: "Good"}.get(news.change, "Default")
    content = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [
            {"type": "TextBlock", "text": _plain(title), "weight": "Bolder", "color": colour, "wrap": True},
            {"type": "TextBlock", "text": _plain(text), "wrap": True},
        ],
        "actions": [{"type": "Action.OpenUrl", "title": "Open", "url": page}],
    }
    card = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": content}
    return {"type": "message", "attachments": [card]}


def _json(url: str, told: Mapping[str, object]) -> AlertRequest:
    body = json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
    return AlertRequest(url=url, body=body, headers={"Content-Type": "application/json", "Accept": "*/*"})


def _slack(text: str) -> str:
    """These three are control characters of its texts."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _plain(text: str) -> str:
    """Without the marks of a card's Markdown, so that a server's name makes no link."""
    return text.replace("[", "(").replace("]", ")").replace("*", "").replace("_", "-")


_NO_PREVIEW: Final = {"is_disabled": True}
