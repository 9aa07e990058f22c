"""``/emails/many``: acting on many mails. First what to do, then a preview, then the deed and how far it has come."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from flask import Blueprint, Response, flash, make_response, redirect, render_template, request, url_for

from blueprints import forms
from blueprints.access import admin_page
from services.outbox import facts, log, many, searching
from services.outbox.facts import MailFacts, State
from services.outbox.many import ManyDeed, Stage
from services.outbox.many_rules import Correction, Hindrance, ManyAction, correction
from services.outbox.reasons import words
from services.outbox.searching import MailFilter
from utils.addresses import mask_address
from utils.errors import Conflict, InvalidInput

bp = Blueprint("many_mails", __name__, url_prefix="/emails/many")

LOOK_AGAIN_SECONDS: Final = 2
_SHOWN: Final = 2  # recipients of an email
_FIELDS: Final = ("old_address", "new_address")
_Errors = Mapping[str, list[str]]


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """Which mails are meant: those that are named, or those that a filter finds."""

    chosen: list[str]
    args: dict[str, str]
    wanted: MailFilter | None

    @property
    def found(self) -> int:
        return len(self.chosen) if self.wanted is None else searching.count(self.wanted)


@bp.get("")
@admin_page
def ask() -> Response:
    """What is to be done, and what was lately."""
    try:
        asked = _asked(request.args.getlist("mail"), request.args)
    except InvalidInput as refused:
        flash(" ".join(text for texts in refused.errors.values() for text in texts), "danger")
        return _to("emails.show")
    return _ask(asked, request.args.get("action", ""), {})


@bp.post("")
@admin_page
def propose() -> Response:
    """Look at them, and show what would be done."""
    chosen = request.form.getlist("mail")
    if not chosen and not forms.ticked("all"):  # so that nothing ticked is never taken for everything
        flash("Select at least one email.", "info")
        return _to("emails.show")
    asked = _asked(chosen, request.form)
    named = forms.text("action")
    action = ManyAction(named) if named in list(ManyAction) else None
    if action is None or (action is ManyAction.CORRECT and not any(name in request.form for name in _FIELDS)):
        return _ask(asked, named, {})
    try:
        wanted = _correction() if action is ManyAction.CORRECT else None
        deed_id = many.propose(action, asked.wanted, asked.chosen, wanted)
    except InvalidInput as refused:
        if "ids" in refused.errors:
            flash(" ".join(refused.errors["ids"]), "info")
            return _to("emails.show")
        return _ask(asked, named, refused.errors)
    many.go_on(deed_id)
    return _to_deed(deed_id)


@bp.get("/<int:deed_id>")
@admin_page
def show(deed_id: int) -> Response:
    """The preview, how far it has come, or what it came to. While there is more to come, it asks again by itself."""
    deed = many.show(deed_id)
    page = make_response(
        render_template(
            "emails/many.html",
            deed=deed,
            action=deed.action.value,
            stage=deed.stage.value,
            asked=_in_words(deed.filter),
            able=[(facts.STATES[State(state)], words(cause), mails) for (state, cause), mails in deed.by_state.items()],
            unable=_hindrances(deed.unable),
            left=_hindrances(deed.left),
            first=[(mail, _masked(mail)) for mail in many.first_mails(deed_id)] if deed.stage is Stage.READY else [],
            nobody=log.NOBODY_SENDS if deed.is_under_way and log.is_unattended() else "",
        )
    )
    if deed.is_under_way:
        page.headers["Refresh"] = str(LOOK_AGAIN_SECONDS)
    return page


@bp.post("/<int:deed_id>/go")
@admin_page
def go(deed_id: int) -> Response:
    """Do what was previewed, or go on with it."""
    try:
        if many.show(deed_id).is_under_way:
            many.go_on(deed_id)
        else:
            many.start(deed_id)
    except Conflict as refused:
        flash(refused.message, "danger")
    return _to_deed(deed_id)


@bp.post("/<int:deed_id>/stop")
@admin_page
def stop(deed_id: int) -> Response:
    """Do no more of it."""
    deed: ManyDeed = many.stop(deed_id)
    if deed.started_at is None:
        flash("Nothing was done.", "info")
        return _to("emails.show")
    return _to_deed(deed_id)


def _asked(chosen: list[str], args: Mapping[str, str]) -> _Asked:
    """Raises InvalidInput for a filter that cannot be."""
    if chosen:
        return _Asked(chosen=list(dict.fromkeys(chosen)), args={}, wanted=None)
    wanted = searching.parse(args)
    return _Asked(chosen=[], args=searching.to_args(wanted), wanted=wanted)


def _correction() -> Correction:
    return correction(forms.text("old_address"), forms.text("new_address"))


def _ask(asked: _Asked, action: str, errors: _Errors) -> Response:
    page = render_template(
        "emails/many_ask.html",
        chosen=asked.chosen,
        args=asked.args,
        asked=_in_words(asked.args),
        found=asked.found,
        action=action if action in list(ManyAction) else ManyAction.RETRY.value,
        values={name: forms.text(name) for name in _FIELDS},
        errors=errors,
        latest=[(each, _state_of(each)) for each in many.latest()],
    )
    return make_response(page, InvalidInput.status if errors else 200)


def _state_of(deed: ManyDeed) -> str:
    """How far it has come, in a word or two."""
    counts = f"{deed.done:,} of {deed.able:,}"
    return {
        Stage.LOOKING: "Looking",
        Stage.READY: "Previewed",
        Stage.RUNNING: f"Running, {counts} done",
        Stage.DONE: f"{counts} done",
        Stage.STOPPED: f"Stopped, {counts} done",
    }[deed.stage]


def _in_words(args: Mapping[str, str]) -> list[tuple[str, str]]:
    """A filter as people read it: each of its parts with its name."""
    told = {**args}
    if "state" in told:
        looks = {facts.STATES[State(each)].word: None for each in told["state"].split(",")}
        told["state"] = ", ".join(looks)
    if "cause" in told:
        told["cause"] = words(told["cause"])
    for name in ("since", "until"):
        if name in told:
            told[name] = f"{told[name].replace('T', ' ')} UTC"
    return [(_LABELS[name], text) for name, text in told.items()]


def _masked(mail: MailFacts) -> str:
    """The first recipients; the rest are counted."""
    shown = ", ".join(mask_address(each.address) for each in mail.recipients[:_SHOWN])
    more = len(mail.recipients) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _hindrances(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return [(Hindrance(code).text if code in list(Hindrance) else code, mails) for code, mails in counts.items()]


def _to_deed(deed_id: int) -> Response:
    return make_response(redirect(url_for("many_mails.show", deed_id=deed_id), 303))


def _to(endpoint: str) -> Response:
    return make_response(redirect(url_for(endpoint), 303))


_LABELS: Final = {
    "recipient": "Recipient",
    "message_id": "Message-ID",
    "tag": "Tag",
    "state": "State",
    "server": "Server",
    "account_id": "Account",
    "since": "Queued from",
    "until": "Queued before",
    "cause": "Cause",
}
