"""``/settings/second-factor``: whether administrators must have a second factor, and how long they have for it."""

from typing import Final

from flask import Blueprint, Response, flash, make_response, redirect, render_template, url_for

from blueprints import forms
from blueprints.access import admin_page, require_recent_sign_in
from services.factors import policy
from utils.errors import Conflict, InvalidInput

bp = Blueprint("factor_policy", __name__, url_prefix="/settings/second-factor")

_USUAL: Final = "7"  # days that the form suggests


@bp.get("")
@admin_page
def show() -> str:
    """The policy that is in force, and who has no second factor."""
    days = policy.current().days
    return _page(_USUAL if days is None else str(days), {}, is_required=days is not None)


@bp.post("")
@admin_page
def save() -> Response:
    """Save it; nothing typed is lost on a refusal."""
    is_required, days = forms.ticked("required"), forms.text("days")
    try:
        require_recent_sign_in()
        policy.save(is_required=is_required, days=days)
    except InvalidInput as refused:
        return make_response(_page(days, refused.errors, is_required=is_required), refused.status)
    except Conflict as refused:
        return make_response(_page(days, {"form": [refused.message]}, is_required=is_required), refused.status)
    flash("Saved.", "success")
    return make_response(redirect(url_for("factor_policy.show"), 303))


def _page(days: str, errors: dict[str, list[str]], *, is_required: bool) -> str:
    return render_template(
        "people/second_factor.html",
        rule=policy.current(),
        fixed=policy.FIXED,
        values={"required": is_required, "days": days},
        without=policy.without(),
        errors=errors,
    )
