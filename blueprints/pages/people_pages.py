"""``/settings/accounts``: who may sign in, and as what; administrators invite people and change or end accounts."""

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from flask import Blueprint, Response, flash, make_response, render_template, request
from flask_login import current_user

from blueprints import access, forms
from blueprints.access import admin_page, require_recent_sign_in
from blueprints.pages.deeds import Deed, Deeds
from blueprints.paging import PAGE, page_of
from blueprints.way_back import to_list
from services.accounts import accounts, administration
from services.accounts.accounts import Person
from utils.errors import InvalidInput

bp = Blueprint("people", __name__, url_prefix="/settings/accounts")

LIST: Final = "people.show"
_FRESH: Final[Mapping[str, object]] = {"username": "", "email": "", "is_admin": False}


class _Work(Protocol):
    def __call__(self, account_id: int, /, *, by: int) -> Person: ...


def _by_me(work: _Work) -> Callable[[int], Person]:
    return lambda account_id: work(account_id, by=current_user.id)


def _delete(account_id: int, /, *, by: int) -> Person:
    return administration.delete(account_id, expected=forms.text("username"), by=by)


_DEEDS: Final = {
    "disable": Deed(
        _by_me(administration.disable),
        "{} is disabled. Sessions and API tokens have ended.",
        lambda one: not one.disabled_at,
    ),
    "enable": Deed(_by_me(administration.enable), "{} can sign in again.", lambda one: bool(one.disabled_at)),
    "promote": Deed(_by_me(administration.promote), "{} is now an administrator.", lambda one: not one.is_admin),
    "demote": Deed(_by_me(administration.demote), "{} is no longer an administrator.", lambda one: one.is_admin),
    "sign-out": Deed(
        _by_me(administration.end_sessions), "{} is signed out everywhere.", lambda one: not one.disabled_at
    ),
    "delete": Deed(_by_me(_delete), "Deleted the account {}.", lambda _one: True),
    "invite": Deed(
        _by_me(administration.invite_again), "Another link is on its way to {}.", lambda one: one.is_invited
    ),
}


@bp.get("")
@admin_page
def show() -> str:
    """Every account, and the form for one more."""
    return _page()


@bp.post("")
@admin_page
@access.limiter.limit("60 per hour", key_func=lambda: str(current_user.get_id()))
def invite() -> Response:
    """Make an account, and mail a link there to choose a password."""
    username, email, is_admin = forms.text("username").strip(), forms.text("email").strip(), forms.ticked("is_admin")
    try:
        require_recent_sign_in()
        person = administration.invite(username, email, is_admin=is_admin, by=current_user.id)
    except InvalidInput as refused:
        values = {"username": username, "email": email, "is_admin": is_admin}
        return make_response(_page(refused.errors, values), refused.status)
    flash(f"A link for {person.username} is on its way to {person.email}. It works for 3 days.", "success")
    return to_list(LIST)


@bp.get("/<int:account_id>/<deed>")
@admin_page
def ask(account_id: int, deed: str) -> str:
    """Ask first, and say what follows."""
    return _deeds.ask(account_id, deed)


@bp.post("/<int:account_id>/<deed>")
@admin_page
def act(account_id: int, deed: str) -> Response:
    """Do it; what cannot be done is told above the list."""
    return _deeds.act(account_id, deed)


def _question(person: Person, deed: str, errors: dict[str, list[str]]) -> str:
    return render_template(
        "people/confirm.html",
        deed=deed,
        person=person,
        belongings=administration.belongings(person.id),
        is_last=administration.is_last_administrator(person.id),
        errors=errors,
    )


def _page(errors: dict[str, list[str]] | None = None, values: Mapping[str, object] = _FRESH) -> str:
    after = request.args.get("after", "") if request.method == "GET" else ""
    found = accounts.everybody(after=after, limit=PAGE + 1)
    people = page_of(found, lambda person: person.username, after)
    return render_template("people/list.html", people=people, values=values, errors=errors or {})


_deeds: Final = Deeds(by_name=_DEEDS, get=accounts.get, question=_question, page=_page, endpoint=LIST)
