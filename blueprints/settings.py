"""The page ``/settings/smtp``: where mail goes now, the list of servers, and switching between them."""

from dataclasses import dataclass

from flask import Blueprint, Response, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from blueprints import connect_labels, ends, forms, smtp_tests, undoing
from blueprints.access import actor_name, admin_page
from blueprints.clients import untrusted_proxy
from blueprints.paging import cut
from blueprints.way_back import to_list
from services.checks import connection_test, outlook, start, validation
from services.settings import activation, configs, health, route
from services.settings import state as smtp_state
from services.settings.sealing import StoredConfig
from services.smtp.settings import Security
from utils.errors import Conflict, InvalidInput, NotFound
from utils.log_utils import printable
from utils.numbers import whole_number

bp = Blueprint("settings", __name__)

CHANGED_MEANWHILE = "Someone else has just changed “{}”. Check it, then try again."


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What the list is asked for; an unknown choice counts as none."""

    text: str
    state: str
    security: str
    has_error: bool

    @property
    def are_set(self) -> bool:
        return bool(self.text or self.state or self.security or self.has_error)


@bp.get("/settings/smtp")
@admin_page
def smtp() -> str:
    """The state in a sentence, and the servers that match the filters."""
    wanted = _filters()
    every = configs.search()
    found = _matching(wanted) if wanted.are_set else every
    page = cut(found, lambda stored: stored.row.id, request.args.get("after", ""))
    now, shown = outlook.look(has_configs=bool(every)), smtp_state.facts_of(page.items)
    return render_template(
        "settings/list.html",
        state=now.state,
        configs=shown,
        ends=None if wanted.are_set else ends.of_servers(shown, now.state.env),
        found=len(found),
        page=page,
        total=len(every),
        filters=wanted,
        untrusted_proxy=untrusted_proxy(),
        doubts=start.doubts(now.due),
        undo=undoing.offered(),
        connect_label=connect_labels.of_facts,
    )


@bp.get("/settings/smtp/<int:config_id>/activate")
@admin_page
def ask_activate(config_id: int) -> ResponseReturnValue:
    """Say what speaks against this server and whose place it takes, offer to test it, and ask."""
    stored, active = configs.get(config_id), configs.find_active()
    if stored.row.is_active:
        return _to_list()
    return _asked("activate", stored, "warning", activation.doubt(stored), replaced=active.row.name if active else "")


@bp.post("/settings/smtp/env/test")
@admin_page
@smtp_tests.limited
def test_env() -> Response:
    """Test the server of `.env` as it is; the list then tells what came of it. Raises Conflict where it names none."""
    step = route.without_database()
    if step.source != health.ENV or step.settings is None:
        raise Conflict(step.reason)
    prepared = connection_test.plan(step.settings, rcpt=validation.first_administrator(), server=step)
    result = smtp_tests.run_and_note(prepared, None)
    told = result.diagnosis
    if result.ok or told is None:
        flash(
            f"{step.settings.host} (.env): {result.message}. No email was sent.", "success" if result.ok else "danger"
        )
    else:
        sentences = (f"{step.settings.host} (.env): {result.message}.", told.meaning, told.cause, told.remedy)
        flash(" ".join(filter(None, sentences)), "danger")
    return _to_list()


test_env.__test__ = False  # type: ignore[attr-defined]


@bp.post("/settings/smtp/<int:config_id>/activate")
@admin_page
def activate(config_id: int) -> Response:
    """Make this server the one that sends; who does not know that it works is asked first."""
    stored, before = configs.get(config_id), configs.find_active()
    if _version() not in (None, stored.row.version):
        return _changed_meanwhile(stored)
    if stored.is_usable and not stored.row.is_active and activation.doubt(stored) and not forms.ticked("asked"):
        return _to("settings.ask_activate", config_id=config_id)
    try:
        activated = configs.activate(config_id, version=_version(), actor=actor_name())
    except InvalidInput as refused:
        flash(" ".join(next(iter(refused.errors.values()))), "danger")
        return _to("smtp_form.edit", config_id=config_id)
    except Conflict:
        return _changed_meanwhile(stored)
    undoing.offer(before, activated)
    return _to_list()


@bp.post("/settings/smtp/undo-activation")
@admin_page
def undo_activation() -> Response:
    """Have mail go again as before the activation of a moment ago."""
    way = undoing.taken()
    if way is None:
        flash("Too late to undo. Activate or deactivate a server in the list.", "warning")
        return _to_list()
    try:
        left = activation.undo(way, actor=actor_name())
    except (Conflict, NotFound, InvalidInput):
        flash("Not undone: the servers have been changed since. Check them in the list.", "danger")
        return _to_list()
    name = left.row.name
    flash(f"Mail goes through “{name}” again." if left.row.is_active else f"Deactivated “{name}”.", "success")
    return _to_list()


@bp.get("/settings/smtp/<int:config_id>/deactivate")
@admin_page
def ask_deactivate(config_id: int) -> str:
    """Say what will send instead, and ask."""
    stored = configs.get(config_id)
    return _asked("deactivate", stored, *smtp_state.without_it(stored))


@bp.post("/settings/smtp/<int:config_id>/deactivate")
@admin_page
def deactivate(config_id: int) -> Response:
    """Switch the server off; the route goes on to the next step."""
    stored = configs.get(config_id)
    try:
        configs.deactivate(config_id, version=_version(), actor=actor_name())
    except Conflict:
        return _changed_meanwhile(stored)
    flash(f"Deactivated “{stored.row.name}”.", "success")
    return _to_list()


@bp.get("/settings/smtp/<int:config_id>/delete")
@admin_page
def ask_delete(config_id: int) -> str:
    """Say what is lost and what will send instead, and ask."""
    stored = configs.get(config_id)
    return _asked("delete", stored, *smtp_state.without_it(stored))


@bp.post("/settings/smtp/<int:config_id>/delete")
@admin_page
def delete(config_id: int) -> Response:
    """Forget the server and its password for good."""
    stored = configs.get(config_id)
    try:
        configs.delete(config_id, version=_version())
    except Conflict:
        return _changed_meanwhile(stored)
    flash(f"Deleted “{stored.row.name}”.", "success")
    return _to_list()


def _filters() -> Filters:
    asked = request.args
    return Filters(
        text=printable(asked.get("q", ""), 100),
        state=asked.get("state", "") if asked.get("state") in ("active", "inactive") else "",
        security=asked.get("security", "") if asked.get("security") in list(Security) else "",
        has_error=asked.get("error") == "1",
    )


def _matching(wanted: Filters) -> list[StoredConfig]:
    active = {"active": True, "inactive": False}.get(wanted.state)
    return configs.search(wanted.text, active=active, security=wanted.security, has_error=wanted.has_error)


def _asked(action: str, stored: StoredConfig, level: str, consequence: str, replaced: str = "") -> str:
    return render_template(
        "settings/confirm.html",
        action=action,
        config=smtp_state.facts(stored),
        level=level,
        consequence=consequence,
        replaced=replaced,
    )


def _version() -> int | None:
    """The version that the person saw, so that nothing is switched that has become something else meanwhile."""
    return whole_number(forms.text("version"))


def _changed_meanwhile(stored: StoredConfig) -> Response:
    flash(CHANGED_MEANWHILE.format(stored.row.name), "danger")
    return _to_list()


def _to_list() -> Response:
    return to_list("settings.smtp")


def _to(endpoint: str, **values: int) -> Response:
    return make_response(redirect(url_for(endpoint, **values), 303))  # type: ignore[arg-type]
