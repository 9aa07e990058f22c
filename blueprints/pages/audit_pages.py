"""``/settings/audit``: who did what, when and from where, as a page and as CSV."""

from collections.abc import Iterator
from typing import Final

from flask import Blueprint, Response, render_template, request, stream_with_context

from blueprints.access import admin_page, require_recent_sign_in
from blueprints.csv_lines import COLUMNS, csv_line
from services import audit
from services.audit import Action
from utils import clock
from utils.log_utils import printable
from utils.numbers import whole_number

bp = Blueprint("audit", __name__, url_prefix="/settings")

CHUNK = 1000  # events in memory at a time
# How a stored subject begins, and what the page says in its place: the action beside it names the kind already.
_KINDS: Final = {
    "account ": "",
    "token ": "",
    "mail ": "",
    "template for ": "",
    "alert channel ": "",
    "alert rules": "",
    "configuration ": "mail server ",
}
_WORDS: Final[dict[str, str]] = {
    Action.SIGN_IN_FAILED: "Sign-in failed",
    Action.FACTOR_ENROLLED: "Second factor added",
    Action.FACTOR_REMOVED: "Second factor removed",
    Action.RECOVERY_CODES_MADE: "New recovery codes made",
    Action.PASSKEY_COUNT_FELL: "Passkey may have been copied",
    Action.STEPPED_UP: "Confirmed who it is",
    Action.FACTOR_POLICY_CHANGED: "Second factor policy changed",
    Action.EMAIL_CHANGE_ASKED: "Email change requested",
    Action.EMAIL_CHANGE_WITHDRAWN: "Email change cancelled",
    Action.ACCOUNT_PROMOTED: "Made administrator",
    Action.ACCOUNT_DEMOTED: "Removed as administrator",
    Action.IDENTITY_LINKED: "Single sign-on linked",
    Action.IDENTITY_UNLINKED: "Single sign-on unlinked",
    Action.SIGN_IN_LINK_ISSUED: "Sign-in link printed",
    Action.CONNECTED: "Connected by OAuth",
    Action.DISCONNECTED: "Disconnected from OAuth",
    Action.SIGN_IN_NEEDED: "Needs sign-in again",
    Action.GRANT_REVOKED: "Grant revoked at the provider",
    Action.GRANT_LEFT: "Grant not revoked at the provider",
    Action.MAIL_RETRIED: "Email sent again",
    Action.MAIL_CANCELLED: "Email cancelled",
    Action.MAIL_CORRECTED: "Email sent to a corrected address",
    Action.MAIL_PURGED: "Emails deleted",
    Action.MAIL_HELD: "Email held",
    Action.MAIL_RELEASED: "Email released",
    Action.MAIL_EXPORTED: "Mail log exported",
    Action.SUPPRESSION_REMOVED: "Removed from the suppression list",
    Action.SUPPRESSION_IMPORTED: "Suppression list imported",
    Action.PERSON_EXPORTED: "Personal data downloaded",
    Action.PERSON_FORGOTTEN: "Address replaced with a pseudonym",
}


@bp.get("/audit")
@admin_page
def show() -> str:
    """The newest events first, a page at a time."""
    action, text, before = _asked()
    found = audit.events(action=action, text=text, before_id=before, limit=audit.PAGE + 1)
    shown = found[: audit.PAGE]
    return render_template(
        "audit/list.html",
        events=shown,
        actions=list(Action),
        worded=_worded,
        named=_named,
        filters={"action": action, "q": text},
        before=before,
        older=shown[-1].id if len(found) > len(shown) else None,
    )


@bp.get("/audit.csv")
@admin_page
def export() -> Response:
    """The same events as a file for a spreadsheet, newest first."""
    require_recent_sign_in()
    action, text, _before = _asked()
    name = f"audit-{clock.now():%Y-%m-%d}.csv"
    return Response(
        stream_with_context(_lines(action, text)),
        mimetype="text/csv",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _worded(action: str) -> str:
    """An action as people say it; its name stays as it is in the database and the file."""
    return _WORDS.get(action, action.replace("_", " ").capitalize())


def _named(subject: str) -> str:
    """A subject as it reads after its action."""
    for kind, instead in _KINDS.items():
        if subject.startswith(kind):
            return instead + subject.removeprefix(kind)
    return subject


def _asked() -> tuple[str, str, int | None]:
    """Action, text and where to go on; what is none of these counts as not asked for."""
    action = request.args.get("action", "")
    return (
        action if action in list(Action) else "",
        printable(request.args.get("q", ""), 100),
        request.args.get("before", type=whole_number),
    )


def _lines(action: str, text: str) -> Iterator[str]:
    yield csv_line(COLUMNS)
    before, left = None, audit.EXPORT_LIMIT
    while left > 0:
        found = audit.events(action=action, text=text, before_id=before, limit=min(CHUNK, left))
        for event in found:
            at = clock.in_lists(event.at)
            yield csv_line((at, event.actor, event.source, event.action, event.subject, event.details))
        if len(found) < CHUNK:
            return
        before, left = found[-1].id, left - len(found)
