"""The providers that this installation offers in the form's list: in development also what only it has.

Those that the registry merely knows again are found by id or whole name, and do not lengthen the list. Everything else
about them is in ``services/providers/registry.py``.
"""

from typing import Final

from services.providers import registry
from services.providers.registry import Provider, at_region, plain_name
from utils.env_utils import get_settings

LOCAL_INBOX: Final = "local-inbox"
GROUPS: Final = {"mailbox": "Mailboxes", "service": "Sending services", "host": "Web hosts", "other": "Other"}
SHORTEST_START: Final = 3  # characters; fewer are the start of too many names


def presets() -> list[Provider]:
    """Every provider in the order of the form; those of development only there, the local inbox on its own port."""
    settings = get_settings()
    if settings.is_production:
        return [provider for provider in registry.offered() if not provider["development_only"]]
    return [
        {**provider, "port": settings.local_inbox_port} if provider["id"] == LOCAL_INBOX else provider
        for provider in registry.offered()
        if provider["id"] != LOCAL_INBOX or settings.local_inbox_port
    ]


def find_preset(provider_id: str) -> Provider | None:
    """The provider with this id, or the region of one as ``provider:region``."""
    name, _, region_id = provider_id.partition(":")
    offered = next((provider for provider in presets() if provider["id"] == name), None)
    provider = offered or registry.by_id(name)
    if not provider or (provider["development_only"] and not offered):
        return None
    regions = (region for region in provider["regions"] if region["id"] == region_id)
    return next((at_region(provider, region) for region in regions), provider)


def for_name(text: str) -> Provider | None:
    """The provider that is called so, or else the only offered one whose name starts so, whatever case and spaces."""
    wanted = plain_name(text)
    starts = []
    for provider in presets():
        names = [plain_name(name) for name in (provider["id"], provider["name"], *provider["also"])]
        if wanted in names:
            return provider
        if any(name.startswith(wanted) for name in names):
            starts.append(provider)
    if known := registry.named(wanted):
        return known
    return starts[0] if len(starts) == 1 and len(wanted) >= SHORTEST_START else None


def for_server(host: str, port: str) -> Provider | None:
    """The provider whose server this is, for its hints; with the region whose server it is.

    What only development has is known by its port as well: another server on this machine delivers.
    """
    for provider in presets():
        if provider["development_only"] and (provider["host"], str(provider["port"])) == (host, port):
            return provider
    return registry.for_server(host)
