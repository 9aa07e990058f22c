"""``/api/settings/smtp/providers`` and ``…/discover``: the known mail providers, and which one a mailbox is with."""

from typing import Annotated

from flask import Blueprint, Response, jsonify
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from blueprints import limits
from blueprints.access import account_api, caller
from blueprints.api.api_models import ERRORS, TAG, NoParameters, RefusedAnswer
from blueprints.api.openapi import AnyAnswer, Operation
from blueprints.api.query import parsed_query
from services.accounts.api_tokens import Scope
from services.providers import discovery, presets
from services.providers.discovery import Source
from services.providers.registry import Provider
from services.settings.fields import Strict
from utils.addresses import LONGEST_ADDRESS
from utils.errors import Forbidden

bp = Blueprint("providers_api", __name__, url_prefix="/api/settings/smtp")


class ProvidersAnswer(AnyAnswer):
    data: list[Provider]


class Wanted(Strict):
    """What to find the server for."""

    email: str = Field(
        "",
        description="An email address, a domain, or the name or id of a provider.",
        json_schema_extra={"maxLength": LONGEST_ADDRESS},  # what is longer is refused in words of its own
    )


class SuggestedValues(BaseModel):
    """As saving takes them; what is not known is left out."""

    smtp_server: str | None = None
    smtp_port: int | None = None
    use_tls: bool | None = None
    use_ssl: bool | None = None
    smtp_username: str | None = None
    from_email: str | None = None


class DiscoveryData(BaseModel):
    model_config = ConfigDict(title="Discovery")

    source: Source
    origin: Annotated[str, WithJsonSchema({"type": "string", "description": "Where it was found, for people."})]
    message: str
    values: SuggestedValues
    provider: Provider | None


class DiscoveryAnswer(AnyAnswer):
    data: DiscoveryData


@bp.get("/providers")
@Operation(
    summary="List the known mail providers",
    description="Those that the form offers, with their servers, the user name and password they need, their rules, "
    "limits and changes. Discovery knows many more by an address.",
    tag=TAG,
    answers={200: ProvidersAnswer, 422: RefusedAnswer, **ERRORS},
)
@account_api(Scope.SETTINGS)
def list_providers() -> Response:
    """Every provider that the form offers, in its order."""
    parsed_query(NoParameters)
    return jsonify({"status": "success", "data": presets.presets()})


@bp.get("/discover")
@Operation(
    summary="Find the server for an email address",
    description="By its domain, else by the domain’s MX or SRV records in DNS; for administrators also by the "
    "autoconfig file on the domain’s web server (HTTPS, unless DISCOVER_BY_HTTP is false), or by trying the usual "
    "names of a mail server. The address is sent to no one, and nothing is stored. Takes at most three seconds.",
    tag=TAG,
    query=Wanted,
    example_query="email=me@example.com",
    answers={200: DiscoveryAnswer, 422: RefusedAnswer, **ERRORS},
)
@account_api(Scope.SETTINGS)
@limits.discovery
def discover() -> Response:
    """What is known about the server of an address, a domain or a provider's name."""
    if limits.led_here_by_another_site():
        raise Forbidden("Call this from a page of this site, or with a token.")
    found = discovery.discover(parsed_query(Wanted).email, may_probe=caller().is_admin)
    return jsonify({"status": "success", "data": discovery.told(found)})
