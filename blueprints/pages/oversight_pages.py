"""``/settings/accounts/smtp``: administrators see the servers that accounts have brought, and decide about each."""

from collections.abc import Callable
from typing import Final

from flask import Blueprint, Response, flash, make_response, render_template, request

from blueprints import forms
from blueprints.access import admin_page
from blueprints.pages.deeds import Deed, Deeds
from blueprints.way_back import to_list
from services.personal import oversight
from services.personal.oversight import Decision, OwnServerFacts, Shown
from services.settings import personal_policy
from utils.errors import Conflict, InvalidInput
from utils.log_utils import printable
from utils.numbers import number_or_text, whole_number

bp = Blueprint("oversight", __name__, url_prefix="/settings/accounts/smtp")

LIST: Final = "oversight.show"
LIMITS: Final = ("emails_per_minute", "emails_per_day")


def _deciding(decision: Decision) -> Callable[[int], OwnServerFacts]:
    def decide(account_id: int) -> OwnServerFacts:
        return oversight.decide(account_id, decision, seen=forms.text("seen") or None)

    return decide


def _delete(account_id: int) -> OwnServerFacts:
    version, config_id = whole_number(forms.text("version")), whole_number(forms.text("config_id"))
    return oversight.delete_server(account_id, version=version, config_id=config_id)


_DEEDS: Final = {
    "disable": Deed(
        _deciding(Decision.DISABLED),
        "The server of {} is no longer used.",
        lambda row: bool(row.host) and row.decision is not Decision.DISABLED,
    ),
    "global": Deed(
        _deciding(Decision.GLOBAL),
        "The global server now sends for {}.",
        lambda row: row.decision is not Decision.GLOBAL,
    ),
    "allow": Deed(
        _deciding(Decision.OWN),
        "{} may use its own server again.",
        lambda row: row.decision is not Decision.OWN,
    ),
    "delete": Deed(_delete, "Deleted the server of {}.", lambda row: bool(row.host)),
}


@bp.get("")
@admin_page
def show() -> str:
    """The accounts that have a server of their own, or of which something was decided."""
    return _page()


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


@bp.get("/<int:account_id>/limits")
@admin_page
def limits(account_id: int) -> str:
    """How much one account may send."""
    row = oversight.get(account_id)
    return _limits_page(row, {name: _shown_limit(getattr(row, name)) for name in LIMITS}, {})


@bp.post("/<int:account_id>/limits")
@admin_page
def set_limits(account_id: int) -> Response:
    """Set them; an empty field is as for everybody."""
    typed = {name: forms.text(name).strip() for name in LIMITS}
    numbers = {name: number_or_text(text) if text else None for name, text in typed.items()}
    try:
        row = oversight.limit(account_id, *(_number(numbers[name]) for name in LIMITS), seen=_seen_limits())
    except InvalidInput as refused:
        return make_response(_limits_page(oversight.get(account_id), typed, refused.errors), refused.status)
    except Conflict as stale:
        return _limits_conflict(oversight.get(account_id), typed, stale)
    flash(f"Saved the limits of {row.username}.", "success")
    return to_list(LIST)


def _limits_conflict(row: OwnServerFacts, typed: dict[str, str], stale: Conflict) -> Response:
    now = " and ".join(
        f"{_shown_limit(getattr(row, name)) or 'the policy’s limit'} per {name.rpartition('_')[2]}" for name in LIMITS
    )
    errors = {"form": [f"{stale.message} Saved in the meantime: {now}. Below is what you typed."]}
    return make_response(_limits_page(row, typed, errors), stale.status)


def _number(value: int | str | None) -> int | None:
    """-1, which is refused, for what is no number."""
    return -1 if isinstance(value, str) else value


def _shown_limit(number: int | None) -> str:
    return "" if number is None else str(number)


def _seen_limits() -> tuple[int | None, int | None] | None:
    """What the form showed when it was opened; None if it does not say."""
    if "seen_emails_per_minute" not in request.form:
        return None
    first, second = (whole_number(forms.text(f"seen_{name}")) for name in LIMITS)
    return first, second


def _question(row: OwnServerFacts, deed: str, errors: dict[str, list[str]]) -> str:
    return render_template("personal/confirm.html", deed=deed, row=row, policy=personal_policy.current(), errors=errors)


def _limits_page(row: OwnServerFacts, values: dict[str, str], errors: dict[str, list[str]]) -> str:
    return render_template(
        "personal/limits.html",
        row=row,
        values=values,
        policy=personal_policy.current(),
        errors=errors,
        is_typed=request.method == "POST",
    )


def _page(errors: dict[str, list[str]] | None = None) -> str:
    asked = request.args if request.method == "GET" else {}
    text, shown = printable(asked.get("q", ""), oversight.LONGEST_TEXT), asked.get("show", "")
    shown = shown if shown in list(Shown) else str(Shown.SERVERS)
    after = asked.get("after", "")
    found = oversight.search(text, shown=shown, after=after)
    return render_template(
        "personal/list.html",
        rows=found.rows,
        older=found.after,
        after=after,
        filters={"q": text, "show": shown},
        policy=personal_policy.current(),
        success_days=oversight.SUCCESS_DAYS,
        errors=errors or {},
    )


_deeds: Final = Deeds(by_name=_DEEDS, get=oversight.get, question=_question, page=_page, endpoint=LIST)
