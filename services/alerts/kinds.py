"""The kinds of channels: what each is called, what has to be entered for it, and what is wrong with what was."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from services import web_request
from utils import net_guard
from utils.addresses import ip_literal


class ChannelKind(StrEnum):
    """Where alerts go. PING is no message: it says each minute that Sealpost is there, to whoever misses it."""

    WEBHOOK = "webhook"
    NTFY = "ntfy"
    SLACK = "slack"
    DISCORD = "discord"
    TEAMS = "teams"
    TELEGRAM = "telegram"
    MAIL = "mail"
    PING = "ping"


@dataclass(frozen=True, kw_only=True)
class KindFacts:
    """``fields`` are what is entered beside the name, and ``secrets`` those of them that are never shown again."""

    title: str
    text: str
    fields: tuple[str, ...]
    optional: tuple[str, ...] = ()
    url_hint: str = ""

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(name for name in self.fields if name in _SECRET)


_SECRET: Final = ("url", "secret", "token")

KINDS: Final[Mapping[ChannelKind, KindFacts]] = {
    ChannelKind.WEBHOOK: KindFacts(
        title="Webhook",
        text="JSON by POST to your own program, signed with a secret.",
        fields=("url", "secret"),
        optional=("secret",),
        url_hint="For example, https://hooks.example.com/sealpost",
    ),
    ChannelKind.NTFY: KindFacts(
        title="ntfy",
        text="A topic at ntfy.sh or on a server of your own.",
        fields=("url", "token"),
        optional=("token",),
        url_hint="The server and the topic, like https://ntfy.sh/my-topic",
    ),
    ChannelKind.SLACK: KindFacts(
        title="Slack",
        text="An incoming webhook of a Slack app. Mattermost and Rocket.Chat have the same.",
        fields=("url",),
        url_hint="For example, https://hooks.slack.com/services/…",
    ),
    ChannelKind.DISCORD: KindFacts(
        title="Discord",
        text="A webhook of a channel.",
        fields=("url",),
        url_hint="For example, https://discord.com/api/webhooks/…",
    ),
    ChannelKind.TEAMS: KindFacts(
        title="Microsoft Teams",
        text="A workflow with the trigger “When a Teams webhook request is received”.",
        fields=("url",),
        url_hint="The URL that the workflow shows.",
    ),
    ChannelKind.TELEGRAM: KindFacts(
        title="Telegram", text="A bot that writes to a person or a group.", fields=("token", "chat")
    ),
    ChannelKind.MAIL: KindFacts(
        title="Email through another server",
        text="Through a server that is not the active one, so that it still works while that is down.",
        fields=("config_id", "recipients"),
    ),
    ChannelKind.PING: KindFacts(
        title="Dead-man’s ping",
        text="Each minute a POST to a URL that raises the alarm if it stops, also when this machine is down.",
        fields=("url",),
        url_hint="For example, https://hc-ping.com/…",
    ),
}

# Whose URL it is by its host, so that one is not entered for another kind, which would never understand it.
_KINDS_OF_HOSTS: Final = {
    "hooks.slack.com": ChannelKind.SLACK,
    "discord.com": ChannelKind.DISCORD,
    "discordapp.com": ChannelKind.DISCORD,
    "api.telegram.org": ChannelKind.TELEGRAM,
    "ntfy.sh": ChannelKind.NTFY,
}
_CONNECTORS: Final = ".webhook.office.com"
RETIRED: Final = (
    "This is a URL of an Office connector, which Microsoft has retired. Create a workflow in Teams, and enter its URL."
)
NO_URL: Final = "Enter a whole URL, like https://hooks.example.com/sealpost."
NO_LINK_LOCAL: Final = "Sealpost does not connect to this address. Enter another host."
NO_TOPIC: Final = "Enter the URL with the topic, like https://ntfy.sh/my-topic."
PUBLIC_IN_CLEAR: Final = "Use https:// here. http:// is for private networks and this machine."
_LONGEST_TOPIC: Final = 64


def url_fault(kind: ChannelKind, url: str) -> str:
    """What is wrong with a URL that was entered for a channel of this kind; "" if nothing is to be seen."""
    try:
        host = web_request.host_of(url, may_be_plain=True, may_be_private=True)
    except ValueError:
        return NO_URL
    address = ip_literal(host.host)
    if address is not None and net_guard.refusal(address):
        return NO_LINK_LOCAL
    if address is not None and not host.is_encrypted and net_guard.is_public(address):
        return PUBLIC_IN_CLEAR
    meant = _KINDS_OF_HOSTS.get(host.host)
    if meant is ChannelKind.NTFY and kind in (ChannelKind.WEBHOOK, ChannelKind.PING):
        meant = None  # a topic takes any text
    if meant and kind is not meant:
        return f"This is a URL of {KINDS[meant].title}. Choose that kind."
    if kind is ChannelKind.TEAMS and host.host.endswith(_CONNECTORS):
        return RETIRED
    return NO_TOPIC if kind is ChannelKind.NTFY and not topic_of(url)[1] else ""


def topic_of(url: str) -> tuple[str, str]:
    """Where a topic's server is published to, as a path, and the topic; "" if the URL names none."""
    before, _, topic = urlsplit(url).path.rstrip("/").rpartition("/")
    is_topic = 0 < len(topic) <= _LONGEST_TOPIC and all(letter.isalnum() or letter in "-_" for letter in topic)
    return f"{before}/", topic if is_topic and topic.isascii() else ""
