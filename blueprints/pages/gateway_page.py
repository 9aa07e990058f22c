"""``/settings/gateway``: whether other applications can send through Sealpost, which do, and connecting one more."""

import secrets
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from flask import Blueprint, Response, flash, make_response, redirect, render_template, request, url_for
from flask_login import current_user

from blueprints import forms, live
from blueprints.access import admin_page, require_recent_sign_in
from blueprints.live import ShownRows, Watched
from blueprints.paging import PAGE, page_of
from blueprints.sessions import still_signed_in
from services.accounts import accounts, api_tokens
from services.gateway import addresses, connecting, connections, recipes, uses
from services.gateway.connecting import ConnectedApp, ConnectionRequest
from services.gateway.connections import AppConnection
from utils import clock
from utils.errors import Conflict, InvalidInput, NotFound
from utils.numbers import whole_number

bp = Blueprint("gateway", __name__, url_prefix="/settings/gateway")

_Errors = dict[str, list[str]]
FIELDS: Final = ("application", "name", "account", "sender", "address")
_MARK_BYTES: Final = 24
_MOST_OFFERED: Final = 100  # accounts to choose from by typing


@bp.get("")
@admin_page
def show() -> Response:
    """How the gateway stands, the form, and who has used it."""
    return _page(dict.fromkeys(FIELDS, "") | {"account": current_user.username}, {})


@bp.post("")
@admin_page
def connect() -> Response:
    """Make a token for an application and show the lines with it, in this answer and never again."""
    typed = {name: forms.text(name) for name in FIELDS}
    try:
        require_recent_sign_in()
        made = connecting.connect(
            ConnectionRequest(
                application=typed["application"],
                login=typed["account"],
                name=typed["name"],
                sender=typed["sender"],
                address=typed["address"],
                mark=forms.text("mark"),
            )
        )
    except (InvalidInput, Conflict) as refused:
        errors = refused.errors if isinstance(refused, InvalidInput) else {"form": [refused.message]}
        return _page(typed, errors, refused.status)
    return make_response(_connected(made), 201)


@bp.get("/live")
@live.in_background
@admin_page
def live_rows() -> Response:
    """What changes in the list."""
    return _streamed(partial(connections.page, _before(), PAGE))


@bp.get("/<int:token_id>")
@admin_page
def one(token_id: int) -> str:
    """One application: whether its first email came. Raises NotFound."""
    found = connections.get(token_id)
    return render_template("gateway/connection.html", **_watched(found))


@bp.get("/<int:token_id>/live")
@live.in_background
@admin_page
def live_one(token_id: int) -> Response:
    """What changes about it; once its token is revoked, nothing is there. Raises NotFound."""
    connections.get(token_id)

    def look() -> list[AppConnection]:
        try:
            return [connections.get(token_id)]
        except NotFound:
            return []

    return _streamed(look)


@bp.get("/<int:token_id>/revoke")
@admin_page
def ask_revoke(token_id: int) -> str:
    """Ask first: a revoked token cannot be brought back. Raises NotFound."""
    found = connections.get(token_id)
    return render_template("tokens/confirm.html", token=found.token, back=url_for("gateway.show"))


@bp.post("/<int:token_id>/revoke")
@admin_page
def revoke(token_id: int) -> Response:
    """End its token at once and for good. Raises NotFound."""
    token = api_tokens.revoke(connections.get(token_id).token.id)
    flash(f"Revoked “{token.name}”. It can no longer send.", "success")
    return make_response(redirect(url_for("gateway.show"), 303))


def _before() -> int | None:
    return request.args.get("before", type=whole_number)


def _streamed(look: Callable[[], Sequence[AppConnection]]) -> Response:
    return live.streamed(Watched(lambda: _shown(look()), _drawn, dict, _may_go_on))


def _may_go_on() -> bool:
    person = still_signed_in()
    return person is not None and person.is_admin


def _shown(found: Sequence[AppConnection]) -> ShownRows:
    return ShownRows(rows={_row_id(each): _version(each) for each in found}, data=found)


def _drawn(shown: ShownRows, ids: Sequence[str]) -> dict[str, str]:
    found = [each for each in shown.data if _row_id(each) in ids]
    return {_row_id(each): render_template("gateway/row.html", app=each, **_for_rows()) for each in found}


def _row_id(found: AppConnection) -> str:
    return str(found.token.id)


def _version(found: AppConnection) -> str:
    """What changes when anything changes that the row shows."""
    return live.version_of((found, found.progress))


def _for_rows() -> dict[str, Any]:
    return {"row_id": _row_id, "version": _version}


def _watched(found: AppConnection) -> dict[str, Any]:
    """What the part of a page needs that watches one application."""
    page_url = url_for("gateway.one", token_id=found.token.id)
    live_url = url_for("gateway.live_one", token_id=found.token.id, seen=_shown([found]).mark)
    return {"app": found, "page_url": page_url, "live_url": live_url, "now": clock.now(), **_for_rows()}


def _connected(made: ConnectedApp) -> str:
    return render_template("gateway/connected.html", made=made, **_watched(connections.get(made.token.id)))


def _page(typed: dict[str, str], errors: _Errors, status: int = 422) -> Response:
    stands, before = addresses.status(), _before()
    shown = page_of(connections.page(before, PAGE + 1), lambda each: each.token.id, before)
    applications = recipes.applications().values()
    page = render_template(
        "gateway/page.html",
        stands=stands,
        applications=[each for each in applications if stands.addresses or each.is_http],
        apps=shown,
        networks=uses.by_network(),
        accounts=accounts.everybody(limit=_MOST_OFFERED),
        values=typed,
        errors=errors,
        mark=secrets.token_urlsafe(_MARK_BYTES),
        live_url=url_for("gateway.live_rows", before=before, seen=_shown(shown.items).mark),
        now=clock.now(),
        **_for_rows(),
    )
    return make_response(page, status if errors else 200)
