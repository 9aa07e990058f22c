"""API tokens: ``/account/tokens``, where everybody makes and revokes their own; ``/settings/tokens`` with all of them.

One lasts 90 days unless "no end" is chosen.
"""

from typing import Final

from flask import Blueprint, Response, flash, make_response, redirect, render_template, request, url_for
from flask_login import current_user

from blueprints import forms
from blueprints.access import admin_page, require_recent_sign_in, signed_in
from blueprints.paging import PAGE, Page, page_of
from services.accounts import api_tokens
from services.accounts.api_tokens import Scope, TokenInfo
from utils.errors import InvalidInput, NotFound
from utils.numbers import whole_number

bp = Blueprint("tokens", __name__, url_prefix="/settings/tokens")
own_bp = Blueprint("own_tokens", __name__, url_prefix="/account/tokens")

USUAL_DAYS: Final = 90
GONE: Final = "No such token, or it is already revoked."
_FRESH: Final[dict[str, object]] = {"name": "", "days": USUAL_DAYS, "no_end": False, "scopes": (Scope.SEND,)}


@bp.get("")
@admin_page
def show() -> str:
    """Everybody's tokens."""
    return render_template("tokens/list.html", tokens=_tokens(), errors={})


@bp.get("/<int:token_id>/revoke")
@admin_page
def ask_revoke(token_id: int) -> str:
    """Ask first: a revoked token cannot be brought back."""
    return _question(token_id)


@bp.post("/<int:token_id>/revoke")
@admin_page
def revoke(token_id: int) -> Response:
    """End a token at once and for good."""
    return _ended(token_id)


@own_bp.get("")
@signed_in
def show_own() -> str:
    """One's own tokens, and the form for a new one."""
    return _own_page(_FRESH)


@own_bp.post("")
@signed_in
def create() -> Response:
    """Make a token and show it, in this answer and never again."""
    name, days, no_end = forms.text("name"), forms.text("days").strip(), forms.ticked("no_end")
    scopes = [scope for scope in Scope if forms.ticked(f"scope_{scope}")]
    try:
        require_recent_sign_in()
        text, token = api_tokens.create(current_user.id, name, None if no_end else _days(days), scopes)
    except InvalidInput as refused:
        values = {"name": name, "days": days, "no_end": no_end, "scopes": scopes}
        return make_response(_own_page(values, refused.errors), refused.status)
    return make_response(_own_page(_FRESH, made=token, text=text), 201)


@own_bp.get("/<int:token_id>/revoke")
@signed_in
def ask_revoke_own(token_id: int) -> str:
    """Ask first, of a token of one's own."""
    return _question(token_id, current_user.id)


@own_bp.post("/<int:token_id>/revoke")
@signed_in
def revoke_own(token_id: int) -> Response:
    """End a token of one's own at once and for good."""
    return _ended(token_id, current_user.id)


def _question(token_id: int, account_id: int | None = None) -> str:
    token, back = _unrevoked(token_id, account_id), _list_url(account_id)
    return render_template("tokens/confirm.html", token=token, back=back)


def _ended(token_id: int, account_id: int | None = None) -> Response:
    token = api_tokens.revoke(_unrevoked(token_id, account_id).id)
    flash(f"Revoked “{token.name}”.", "success")
    return make_response(redirect(_list_url(account_id), 303))


def _tokens(account_id: int | None = None) -> Page[TokenInfo]:
    before = request.args.get("before", type=whole_number)
    found = api_tokens.every(account_id, before=before, limit=PAGE + 1)
    return page_of(found, lambda token: token.id, before)


def _list_url(account_id: int | None) -> str:
    return url_for("tokens.show" if account_id is None else "own_tokens.show_own")


def _unrevoked(token_id: int, account_id: int | None) -> TokenInfo:
    """The token, if it is this account's; that of another one is as unknown as one that never was."""
    found = api_tokens.every(account_id)
    token = next((each for each in found if each.id == token_id and not each.revoked_at), None)
    if token is None:
        raise NotFound(GONE)
    return token


def _days(text: str) -> int:
    """The number of days, the usual one if none is given; 0, which is refused, for anything else."""
    return whole_number(text, 1, 99_999) or 0 if text else USUAL_DAYS


def _own_page(
    values: dict[str, object],
    errors: dict[str, list[str]] | None = None,
    *,
    made: TokenInfo | None = None,
    text: str = "",
) -> str:
    return render_template(
        "tokens/own.html",
        tokens=_tokens(current_user.id),
        scopes=api_tokens.may_have(is_admin=current_user.is_admin),
        values=values,
        errors=errors or {},
        made=made,
        text=text,
    )
