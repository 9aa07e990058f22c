"""``/settings/tokens``: administrators' API tokens, made and revoked. One lasts 90 days unless "no end" is chosen."""

from typing import Final

from flask import Blueprint, Response, flash, make_response, redirect, render_template, url_for
from flask_login import current_user

from blueprints import forms
from blueprints.access import admin_page, require_recent_sign_in
from services.accounts import api_tokens
from services.accounts.api_tokens import TokenInfo
from utils.errors import InvalidInput, NotFound
from utils.numbers import whole_number

bp = Blueprint("tokens", __name__, url_prefix="/settings/tokens")

USUAL_DAYS: Final = 90
_FRESH: Final[dict[str, object]] = {"name": "", "days": USUAL_DAYS, "no_end": False}


@bp.get("")
@admin_page
def show() -> str:
    """Every administrator's tokens, and the form for a new one."""
    return _page(_FRESH)


@bp.post("")
@admin_page
def create() -> Response:
    """Make a token and show it, in this answer and never again."""
    name, days, no_end = forms.text("name"), forms.text("days").strip(), forms.ticked("no_end")
    try:
        require_recent_sign_in()
        text, token = api_tokens.create(current_user.id, name, None if no_end else _days(days))
    except InvalidInput as refused:
        values = {"name": name, "days": days, "no_end": no_end}
        return make_response(_page(values, refused.errors), refused.status)
    return make_response(_page(_FRESH, made=token, text=text), 201)


@bp.get("/<int:token_id>/revoke")
@admin_page
def ask_revoke(token_id: int) -> str:
    """Ask first: a revoked token cannot be brought back."""
    return render_template("tokens/confirm.html", token=_unrevoked(token_id))


@bp.post("/<int:token_id>/revoke")
@admin_page
def revoke(token_id: int) -> Response:
    """End a token at once and for good."""
    token = api_tokens.revoke(_unrevoked(token_id).id)
    flash(f"The token “{token.name}” is revoked.", "success")
    return make_response(redirect(url_for("tokens.show"), 303))


def _unrevoked(token_id: int) -> TokenInfo:
    found = next((token for token in api_tokens.every() if token.id == token_id and not token.revoked_at), None)
    if found is None:
        raise NotFound("There is no such token, or it is revoked already.")
    return found


def _days(text: str) -> int:
    """The number of days, the usual one if none is given; 0, which is refused, for anything else."""
    return whole_number(text, 1, 99_999) or 0 if text else USUAL_DAYS


def _page(
    values: dict[str, object],
    errors: dict[str, list[str]] | None = None,
    *,
    made: TokenInfo | None = None,
    text: str = "",
) -> str:
    return render_template(
        "tokens/list.html",
        tokens=api_tokens.every(),
        values=values,
        errors=errors or {},
        made=made,
        text=text,
    )
