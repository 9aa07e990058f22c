"""``/emails``, the mail log: what became of every mail, and trying again or withdrawing one. Never content."""

from flask import Blueprint, Response, flash, make_response, redirect, render_template, request, url_for

from blueprints.access import admin_page
from services.checks import outlook
from services.outbox import facts, holding, log
from services.outbox.facts import MessageData, State
from services.outbox.log import Story
from services.outbox.mail_filter import LONGEST_TAG
from services.suppression import entries as suppressed
from services.suppression.entries import Entry
from utils.env_utils import get_settings
from utils.errors import Conflict
from utils.numbers import whole_number

bp = Blueprint("emails", __name__, url_prefix="/emails")

DIRECT = "direct"
SEE_REASONS = "The reasons are below"
_SENDING = (State.LEASED, State.TRANSMITTING)  # one word for both, and one chip
_CHIPS = [each for each in State if each is not State.TRANSMITTING]


@bp.get("")
@admin_page
def show() -> str:
    """The newest mails first, a page at a time: the queued ones, or those that were sent directly."""
    before = request.args.get("before", type=whole_number)
    if request.args.get("from") == DIRECT:
        attempts, older = log.direct(before)
        return render_template("emails/direct.html", attempts=attempts, before=before, older=older)
    state = _state()
    tag = _tag()
    mails, older = log.mails(_chosen(state), before, tag=tag)
    counts = log.counts()
    shown = [each for each in _CHIPS if each in (state, State.SENT) or any(one in counts for one in _chosen(each))]
    return render_template(
        "emails/list.html",
        mails=mails,
        state=state,
        tag=tag,
        states=[(each, facts.STATES[each], sum(counts.get(one, 0) for one in _chosen(each))) for each in shown],
        before=before,
        older=older,
        late=_late(),
        held=holding.told(holding.count()),
        days=get_settings().mail_retention_days,
    )


@bp.get("/<mail_id>")
@admin_page
def message(mail_id: str) -> str:
    """One queued mail: its recipients' results, and every attempt."""
    story = log.story(mail_id)
    return render_template("emails/message.html", story=story, listed=_listed(story))


@bp.get("/<mail_id>/retry")
@admin_page
def ask_retry(mail_id: str) -> str:
    """Say who will get it, and ask."""
    story = log.story(mail_id)
    return render_template("emails/confirm.html", action="retry", story=story, listed=_listed(story))


@bp.post("/<mail_id>/retry")
@admin_page
def retry(mail_id: str) -> Response:
    """Have a worker take it up at once."""
    story = log.story(mail_id)
    try:
        now = log.retry(mail_id).mail
    except Conflict as late:
        flash(late.message, "danger")
    else:
        flash(*_sent_again(story.mail, now))
    return _to_message(mail_id)


@bp.get("/<mail_id>/cancel")
@admin_page
def ask_cancel(mail_id: str) -> str:
    """Say what is lost, and ask."""
    return render_template("emails/confirm.html", action="cancel", story=log.story(mail_id))


@bp.post("/<mail_id>/cancel")
@admin_page
def cancel(mail_id: str) -> Response:
    """Make sure that it is never sent."""
    try:
        log.cancel(mail_id)
    except Conflict as late:
        flash(late.message, "danger")
    else:
        flash("Cancelled. It will not be sent.", "success")
    return _to_message(mail_id)


def _listed(story: Story) -> dict[str, Entry]:
    """The recipients who are on the suppression list."""
    return suppressed.of_addresses([each.address for each in story.mail.recipients], story.mail.account_id)


def _late() -> tuple[str, str] | None:
    """A level, and that no email gets out, or that some is late, in sentences; None if neither."""
    now = outlook.look()
    if now.is_outage:
        return now.state.level, f"{now.state.headline} {now.state.detail}"
    if not log.is_behind():
        return None
    return (
        "warning",
        f"Some email is more than 15 minutes late. {log.NOBODY_SENDS if now.is_unattended else f'{SEE_REASONS}.'}",
    )


def _sent_again(before: MessageData, now: MessageData) -> tuple[str, str]:
    if now.state is State.EXPIRED:
        return "Not sent: it had expired.", "danger"
    if before.is_held:
        return "Released.", "success"
    return "Sending now." if before.waits else "Sending again.", "success"


def _state() -> State | None:
    """The state that is asked for; what is none counts as not asked for. Of those of one chip it is the first."""
    text = request.args.get("state", "")
    if text == State.TRANSMITTING:
        return State.LEASED
    return State(text) if text in list(State) else None


def _chosen(state: State | None) -> tuple[State, ...]:
    """The states that the chip of this one shows; none: all."""
    if state is None:
        return ()
    return _SENDING if state in _SENDING else (state,)


def _tag() -> str | None:
    """The tag that is asked for; what can be none counts as not asked for."""
    text = request.args.get("tag", "")
    return text if 0 < len(text) <= LONGEST_TAG and text.isprintable() else None


def _to_message(mail_id: str) -> Response:
    return make_response(redirect(url_for("emails.message", mail_id=mail_id), 303))
