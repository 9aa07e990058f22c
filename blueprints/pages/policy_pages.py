"""``/settings/accounts/smtp/policy``: which servers accounts may bring, what happens when one fails, and the limits."""

from typing import Any, Final

from flask import Blueprint, Response, flash, make_response, redirect, render_template, request, url_for

from blueprints import forms
from blueprints.access import actor_name, admin_page, require_recent_sign_in
from blueprints.pages.versions import NOTHING, Difference, Versions
from services.personal import policy_changes
from services.settings import personal_policy
from services.settings.personal_policy import PersonalRules
from utils import clock
from utils.errors import Conflict, InvalidInput
from utils.numbers import number_or_text, whole_number
from utils.personal_env import LIMITS, VARIABLES

bp = Blueprint("policy", __name__, url_prefix="/settings/accounts/smtp/policy")

ALLOWED: Final = (
    ("any", "Any public host", "Any server with a public address and encryption."),
    ("named", "Only these hosts and domains", "A domain includes every host below it."),
    (
        "off",
        "None",
        "The global server sends for everyone. Stored servers are kept, but not used. Connections by OAuth end.",
    ),
)
FALLBACK: Final = (
    ("connection", "When it cannot connect or sign in", "But not if the server itself refused the email."),
    (
        "always",
        "Whenever the account’s own server cannot send",
        "Also while it is not allowed, or has reached its own limit.",
    ),
    ("never", "Never", "Email waits for the account’s own server until it expires."),
)
SIGN_IN: Final = (
    ("any", "With a password, or by OAuth", ""),
    ("token", "By OAuth only", "Stored passwords are kept, but not used."),
)
LABELS: Final = {
    "allowed": "Servers that accounts may use",
    "hosts": "Hosts and domains",
    "sign_in": "How accounts sign in to their servers",
    "fallback": "Use the global server instead",
    "emails_per_minute": "Emails per minute",
    "emails_per_day": "Emails per day",
    "fallback_per_minute": "Through the global server, per minute",
    "fallback_per_day": "Through the global server, per day",
}


@bp.get("")
@admin_page
def show() -> str:
    """The policy that is in force, with what the environment fixes of it."""
    policy = personal_policy.current()
    return _page(policy, _values(policy), {})


@bp.post("")
@admin_page
def save() -> Response:
    """Save it; nothing typed is lost on a refusal."""
    policy = personal_policy.current()
    try:
        require_recent_sign_in()
        policy_changes.save(_changes(policy), version=whole_number(forms.text("version")), actor=actor_name())
    except InvalidInput as refused:
        return make_response(_page(policy, _typed(policy), refused.errors), refused.status)
    except Conflict as stale:
        return _conflicting(stale)
    flash("Saved. It takes effect from the next email.", "success")
    return make_response(redirect(url_for("policy.show"), 303))


def _changes(policy: PersonalRules) -> dict[str, object]:
    """What was sent. Of what is fixed the page sends nothing; where it comes all the same, the service refuses it."""
    typed = {name: forms.text(name) for name in VARIABLES if name not in policy.fixed or name in request.form}
    if "sign_in" not in request.form:  # a page that was loaded before there was the choice
        typed.pop("sign_in", None)
    return {name: _limit(text) if name in LIMITS else text for name, text in typed.items()}


def _limit(text: str) -> int | str | None:
    return number_or_text(text.strip()) if text.strip() else None


def _values(policy: PersonalRules) -> dict[str, str]:
    texts = {name: str(getattr(policy, name)) for name in VARIABLES if name != "hosts"}
    return texts | {"hosts": "\n".join(policy.hosts), "version": str(policy.version)}


def _typed(policy: PersonalRules) -> dict[str, str]:
    """What was typed, and of what is fixed what it is."""
    typed = {name: forms.text(name) for name in VARIABLES if name not in policy.fixed}
    return _values(policy) | typed | {"version": forms.text("version")}


def _conflicting(stale: Conflict) -> Response:
    """What was typed, and beside it what was saved meanwhile: the next save goes over it knowingly."""
    policy = personal_policy.current()
    stored, typed = _values(policy), _typed(policy)
    differences = [
        Difference(name, label, _words(name, stored[name]), _words(name, typed[name]))
        for name, label in LABELS.items()
        if stored[name].split() != typed[name].split()
    ]
    saved_by, saved_at = policy_changes.saved_by()
    both = Versions(saved_by, saved_at or clock.now(), differences)
    errors = {"form": [stale.message.partition(". ")[0] + "."]}
    values = typed | {"version": str(policy.version)}
    return make_response(_page(policy, values, errors, both), stale.status)


def _words(name: str, value: str) -> str:
    titles = {
        choice: title
        for choice, title, _ in {"allowed": ALLOWED, "sign_in": SIGN_IN, "fallback": FALLBACK}.get(name, ())
    }
    return titles.get(value, value) or NOTHING


def _page(
    policy: PersonalRules, values: dict[str, str], errors: dict[str, list[str]], both: Versions | None = None
) -> str:
    fixed: dict[str, Any] = {name: policy_changes.fixed_by(name) for name in policy.fixed}
    return render_template(
        "personal/policy.html",
        values=values,
        errors=errors,
        both=both,
        labels=LABELS,
        allowed=ALLOWED,
        fallback=FALLBACK,
        sign_in=SIGN_IN,
        fixed=fixed,
        usual=PersonalRules(),
        words={name: _words(name, text) for name, text in _values(policy).items()},
        is_typed=request.method == "POST",
    )
