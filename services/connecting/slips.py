"""What was pasted into the wrong field of a registration: the ids and secrets of providers have forms of their own."""

import re
from typing import Final

from services.oauth.providers import ANY_TENANT, OAuthProvider
from utils.secret import Secret

_GUID: Final = re.compile(r"\{?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\}?", re.I)
_GOOGLE_CLIENT: Final = ".apps.googleusercontent.com"
_GOOGLE_SECRET: Final = "GOCSPX-"  # noqa: S105 - how each of them begins
_MICROSOFT_SECRET: Final = re.compile(r"[A-Za-z0-9_.~-]{3}8Q~[A-Za-z0-9_.~-]+")

ID_PASTED: Final = (
    "This is the secret’s ID, not the secret. Copy the text in the column Value. If Microsoft no longer shows it, "
    "create a new client secret."
)


def slips(
    provider: OAuthProvider,
    *,
    client_id: str = "",
    tenant: str = "",
    object_id: str = "",
    secret: Secret | None = None,
) -> dict[str, list[str]]:
    """What is surely wrong, by field; nothing of what was entered is in it."""
    client_id, tenant, object_id = client_id.strip(), tenant.strip(), object_id.strip()
    entered = secret.reveal().strip() if secret else ""
    if provider is OAuthProvider.MICROSOFT:
        found = {
            "client_id": _microsoft_client(client_id, tenant),
            "client_secret": _microsoft_secret(entered),
            "object_id": _object_id(object_id, client_id, tenant),
        }
    elif provider is OAuthProvider.GOOGLE:
        found = {"client_id": _google_client(client_id), "client_secret": _google_secret(entered)}
    else:
        found = {}
    return {field: [text] for field, text in found.items() if text}


def _microsoft_client(client_id: str, tenant: str) -> str:
    if not client_id:
        return ""
    if _MICROSOFT_SECRET.fullmatch(client_id):
        return "This is the client secret. Enter the Application (client) ID, and change the secret at Microsoft."
    if not _GUID.fullmatch(client_id):
        return "This is not an ID of Microsoft’s. Copy the Application (client) ID from the Overview page."
    if client_id.lower() == tenant.lower() and tenant not in ANY_TENANT:
        return "This is the same as the tenant. Copy the Application (client) ID, not the Directory (tenant) ID."
    return ""


def _microsoft_secret(secret: str) -> str:
    return ID_PASTED if _GUID.fullmatch(secret) else ""


def _object_id(object_id: str, client_id: str, tenant: str) -> str:
    if not object_id:
        return ""
    if not _GUID.fullmatch(object_id):
        return "This is not an Object ID. Copy it from Enterprise applications, like 01234567-89ab-…"
    if object_id.lower() == client_id.lower():
        return "This is the client ID. Copy the Object ID from Enterprise applications."
    if object_id.lower() == tenant.lower():
        return "This is the tenant. Copy the Object ID from Enterprise applications."
    return ""


def _google_client(client_id: str) -> str:
    if client_id.startswith(_GOOGLE_SECRET):
        return "This is the client secret. Enter the client ID, and change the secret at Google."
    if client_id and not client_id.lower().endswith(_GOOGLE_CLIENT):
        return f"This is not a client ID of Google’s. It ends in {_GOOGLE_CLIENT}."
    return ""


def _google_secret(secret: str) -> str:
    if secret.lower().endswith(_GOOGLE_CLIENT):
        return "This is the client ID, not the secret. Copy the client secret, which Google shows when it is created."
    return ""
