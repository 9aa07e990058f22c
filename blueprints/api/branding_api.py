"""``/api/settings/branding``: how emails look, for administrators."""

import binascii
from typing import Annotated, Any, Final

from flask import Blueprint, Response, jsonify
from pydantic import BaseModel, Field

from blueprints.access import actor_name, admin_api
from blueprints.api.api_models import BODY_ERRORS, ERRORS, NoParameters
from blueprints.api.json_body import json_object
from blueprints.api.openapi import AnyAnswer, ErrorAnswer, Operation
from blueprints.api.query import parsed_query
from blueprints.large_body import takes_a_file
from services.gallery import branding
from services.gallery.branding import SavedBranding
from services.message import png
from services.settings.fields import Checked, Strict, bounded_text, checked, refused, texts
from utils.numbers import LARGEST

bp = Blueprint("branding_api", __name__, url_prefix="/api/settings/branding")

TAG: Final = "Email templates"
_LONGEST_BASE64: Final = 4 * (png.LARGEST + 2) // 3 + 4
_LONGEST: Final = 1024
NO_BASE64: Final = "Enter a PNG file in base64, or null for none."


def _decoded(value: object) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, str) and len(value) > _LONGEST_BASE64:
        raise refused(png.TOO_LARGE)
    try:
        return binascii.a2b_base64(bounded_text(value, _LONGEST_BASE64).encode("ascii"), strict_mode=True)
    except ValueError:
        raise refused(NO_BASE64) from None


def _version(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST:
        raise refused("Enter a whole number.")
    return value


class BrandingChange(Strict):
    """What to change. What is absent stays as it is saved; "" is as usual."""

    name: Annotated[str, texts(str, _LONGEST, "Instead of APP_NAME, in subjects and texts.")] = ""
    colour: Annotated[str, texts(str, _LONGEST, "Of buttons, links and the name.", examples=["#4F46E5"])] = ""
    footer: Annotated[str, texts(str, 4 * _LONGEST, "Below every email. Up to 8 lines.")] = ""
    logo_url: Annotated[str, texts(str, 2 * _LONGEST, "Where the logo is. It begins with https://.")] = ""
    logo: Annotated[
        Any,
        Checked(_decoded, "string", "A PNG file in base64, up to 90 KB, sent along with each email. null: none."),
    ] = None
    version: Annotated[
        int,
        Checked(_version, "integer", "The version that you read. 409 if it is no longer the saved one.", minimum=0),
    ] = 0


class BrandingData(BaseModel):
    """What is saved. An uploaded logo is told by its size."""

    name: str
    colour: str
    footer: str
    logo_url: str
    has_logo: bool
    logo_width: int | None
    logo_height: int | None
    version: Annotated[int, Field(description="0 while nothing was saved.")]


class BrandingAnswer(AnyAnswer):
    data: BrandingData


@bp.get("")
@Operation(summary="Show the branding of emails", tag=TAG, answers={200: BrandingAnswer, **ERRORS})
@admin_api
def show() -> Response:
    """What is saved."""
    parsed_query(NoParameters)
    return _told(branding.saved())


@bp.patch("")
@Operation(
    summary="Change the branding of emails",
    description="It shows from the next email. A file replaces the URL, and a URL the file.",
    tag=TAG,
    body=BrandingChange,
    example={"name": "Acme Shop", "colour": "#0F766E", "footer": "Acme Ltd, 1 High Street, London"},
    answers={200: BrandingAnswer, 409: ErrorAnswer, **BODY_ERRORS},
)
@admin_api
@takes_a_file("logo", png.TOO_LARGE)
def save() -> Response:
    """Change what was sent of it."""
    parsed_query(NoParameters)
    asked = checked(BrandingChange, json_object())
    changes = asked.model_dump(include=asked.model_fields_set - {"version"})
    version = asked.version if "version" in asked.model_fields_set else None
    return _told(branding.save(changes, version=version, actor=actor_name()))


def _told(saved: SavedBranding) -> Response:
    data = BrandingData.model_validate(saved, from_attributes=True)
    return jsonify({"status": "success", "data": data.model_dump()})
