"""``/emails``, the mail log: what became of every mail, and trying again or withdrawing one. Never content."""

from flask import Blueprint, Response, flash, make_response, redirect, render_template, url_for

from blueprints import live
from blueprints.access import admin_page, require_recent_sign_in
from blueprints.pages import email_list
from services.outbox import log
from services.outbox.facts import MessageData, State
from services.outbox.log import Story
from services.suppression import entries as suppressed
from services.suppression.entries import Entry
from utils.errors import Conflict

bp = Blueprint("emails", __name__, url_prefix="/emails")


@bp.get("")
@admin_page
def show() -> Response:
    """The newest mails first, a page at a time: the queued ones, or those that were sent directly."""
    return email_list.page()


@bp.get("/live")
@live.in_background
@admin_page
def live_rows() -> Response:
    """What changes in that list."""
    return email_list.stream()


@bp.get("/export")
@admin_page
def export() -> Response:
    """The same list as a file."""
    require_recent_sign_in()
    return email_list.download()


@bp.get("/direct/<int:attempt_id>")
@admin_page
def direct_message(attempt_id: int) -> str:
    """One mail that was sent directly: each server that was tried for it."""
    return render_template("emails/direct_message.html", attempts=log.direct_attempts(attempt_id))


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


def _sent_again(before: MessageData, now: MessageData) -> tuple[str, str]:
    if now.state is State.EXPIRED:
        return "Not sent: it had expired.", "danger"
    if before.is_held:
        return "Released.", "success"
    return "Sending now." if before.waits else "Sending again.", "success"


def _to_message(mail_id: str) -> Response:
    return make_response(redirect(url_for("emails.message", mail_id=mail_id), 303))
