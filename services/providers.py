"""Known mail providers: what to fill in, and what people get wrong. The facts are data, in ``services/data``."""

import json
from functools import cache
from pathlib import Path
from typing import TypedDict

from utils.env_utils import get_settings

DATA = Path(__file__).parent / "data" / "providers.json"


class Region(TypedDict):
    id: str
    name: str
    host: str


class Provider(TypedDict):
    """What the form needs to know of a provider. ``security`` is starttls, tls or none."""

    id: str
    name: str
    host: str
    port: int
    security: str
    username_hint: str
    username_literal: str
    password_hint: str
    note: str
    docs_url: str
    development_only: bool
    regions: list[Region]


def presets() -> list[Provider]:
    """Every provider in the order of the form; the local inbox only where there is one, on its own port."""
    settings = get_settings()
    inbox_port = 0 if settings.is_production else settings.local_inbox_port
    return [
        {**provider, "port": inbox_port} if provider["development_only"] else provider
        for provider in _all()
        if inbox_port or not provider["development_only"]
    ]


def find_preset(provider_id: str) -> Provider | None:
    """The provider with this id, or the region of one as ``provider:region``."""
    name, _, region_id = provider_id.partition(":")
    for provider in presets():
        if provider["id"] == name:
            hosts = [region["host"] for region in provider["regions"] if region["id"] == region_id]
            return {**provider, "host": hosts[0]} if hosts else provider
    return None


def for_server(host: str, port: str) -> Provider | None:
    """The provider whose server this is, for its hints. The local inbox is known by its port as well: another
    server on this machine delivers.
    """
    for provider in presets():
        hosts = (provider["host"], *(region["host"] for region in provider["regions"]))
        if host in hosts and (not provider["development_only"] or port == str(provider["port"])):
            return provider
    return None


@cache
def _all() -> list[Provider]:
    providers: list[Provider] = json.loads(DATA.read_text())
    return providers
