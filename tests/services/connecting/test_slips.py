"""What was pasted into the wrong field is recognised by its form, before a provider refuses it in its own words."""

from typing import Final

import pytest

from services.connecting.slips import slips
from services.oauth.providers import OAuthProvider
from utils.secret import Secret

MICROSOFT, GOOGLE, CUSTOM = OAuthProvider.MICROSOFT, OAuthProvider.GOOGLE, OAuthProvider.CUSTOM
GUID: Final = "11111111-2222-3333-4444-555555555555"
OTHER: Final = "66666666-7777-8888-9999-000000000000"
VALUE: Final = "abc8Q~" + "x" * 34
GOOGLE_ID: Final = "123-abc.apps.googleusercontent.com"

SLIPS: Final = [
    (MICROSOFT, {"secret": GUID}, "client_secret", "This is the secret’s ID, not the secret."),
    (MICROSOFT, {"secret": f" {GUID.upper()} "}, "client_secret", "Copy the text in the column Value."),
    (MICROSOFT, {"secret": f"{{{GUID}}}"}, "client_secret", "This is the secret’s ID"),
    (MICROSOFT, {"client_id": VALUE}, "client_id", "This is the client secret."),
    (MICROSOFT, {"client_id": "Sealpost"}, "client_id", "not an ID of Microsoft’s"),
    (MICROSOFT, {"client_id": GUID, "tenant": GUID.upper()}, "client_id", "the same as the tenant"),
    (MICROSOFT, {"object_id": "shop"}, "object_id", "not an Object ID"),
    (MICROSOFT, {"object_id": GUID, "client_id": GUID}, "object_id", "This is the client ID."),
    (MICROSOFT, {"object_id": GUID, "tenant": GUID}, "object_id", "This is the tenant."),
    (GOOGLE, {"client_id": "GOCSPX-abcdef"}, "client_id", "This is the client secret."),
    (GOOGLE, {"client_id": GUID}, "client_id", "It ends in .apps.googleusercontent.com"),
    (GOOGLE, {"secret": GOOGLE_ID}, "client_secret", "This is the client ID, not the secret."),
]
RIGHT: Final = [
    (MICROSOFT, {"client_id": GUID, "secret": VALUE, "tenant": OTHER, "object_id": OTHER[::-1].replace("0", "a")}),
    (MICROSOFT, {"client_id": GUID, "tenant": "example.com"}),
    (MICROSOFT, {"client_id": GUID, "tenant": "common"}),
    (GOOGLE, {"client_id": GOOGLE_ID, "secret": "GOCSPX-abcdef"}),
    (GOOGLE, {"client_id": GOOGLE_ID, "secret": "24characters-of-old-kind"}),
    (CUSTOM, {"client_id": "anything", "secret": GUID}),
    (OAuthProvider.FASTMAIL, {"client_id": "anything", "secret": GUID}),
    *((provider, {}) for provider in OAuthProvider),
]


def found(provider: OAuthProvider, entered: dict[str, str]) -> dict[str, list[str]]:
    secret = entered.get("secret")
    rest = {name: text for name, text in entered.items() if name != "secret"}
    return slips(provider, secret=Secret(secret) if secret else None, **rest)


@pytest.mark.parametrize(("provider", "entered", "field", "said"), SLIPS)
def test_a_slip_is_told_at_its_field(provider: OAuthProvider, entered: dict[str, str], field: str, said: str) -> None:
    errors = found(provider, entered)
    assert list(errors) == [field]
    assert said in errors[field][0]
    assert not any(text.strip() in errors[field][0] for text in entered.values())


@pytest.mark.parametrize(("provider", "entered"), RIGHT)
def test_what_may_be_right_is_left_alone(provider: OAuthProvider, entered: dict[str, str]) -> None:
    entered = {**entered, **({"object_id": OTHER.replace("6", "a")} if "object_id" in entered else {})}
    assert found(provider, entered) == {}
