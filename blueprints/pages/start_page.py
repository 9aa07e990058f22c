"""The start page ``/`` of administrators: how mail is, what to do next, figures, and the checklist."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for

from blueprints import ends, forms
from blueprints.access import actor_name, admin_page
from blueprints.pages import start_chart
from services.outbox.facts import State
from services.outbox.mail_filter import MailFilter, to_args
from services.overview import attention, board, checklist
from services.overview.board import Board
from services.overview.checklist import ChecklistStep
from services.overview.verdict import MailVerdict, NextStep
from services.settings.state import ConfigFacts
from utils.numbers import counted

bp = Blueprint("start", __name__, url_prefix="/checklist")
bp.add_app_template_global(attention.count, "needing_attention")
bp.add_app_template_global(counted)

PERIODS: Final = {"24h": "24 hours", "14d": "14 days", "30d": "30 days"}
WAITING: Final = (State.QUEUED, State.DEFERRED)


@dataclass(frozen=True, kw_only=True)
class PageLink:
    """What to do, as a link."""

    url: str
    label: str


def show() -> str:
    """The page. Its guard is its caller's."""
    now = board.look(request.args.get("chart", ""))
    figures, servers = now.figures, now.servers
    return render_template(
        "start/home.html",
        board=now,
        chart=start_chart.drawn(figures.columns) if figures else None,
        periods=PERIODS,
        next_step=_deed(now.attention.verdict) if now.attention else None,
        links=_links(now),
        steps=_steps(now),
        ends=ends.of_servers(servers.looked_at, servers.env) if servers else None,
        log_url=log_url,
        held_url=log_url(State.HELD),
        is_new=_is_new(now),
    )


@bp.post("")
@admin_page
def hide() -> Response:
    """Hide the checklist, or bring it back."""
    checklist.hide(is_hidden=forms.ticked("is_hidden"), by=actor_name())
    return _to_checklist()


@bp.post("/<step>")
@admin_page
def confirm(step: str) -> Response:
    """Say that a step is done, or that it is not. Raises NotFound."""
    checklist.confirm(step, is_done=forms.ticked("is_done"), by=actor_name())
    return _to_checklist()


def log_url(*states: State, since: datetime | None = None, cause: str = "") -> str:
    """The mail log with these emails alone."""
    return url_for("emails.show", **to_args(MailFilter(states=states, since=since, cause=cause)))  # type: ignore[arg-type]


def _links(now: Board) -> dict[str, str]:
    """Where the emails of each of today's figures are."""
    midnight = now.figures.midnight if now.figures else None
    return {
        "sent": log_url(State.SENT, since=midnight),
        "waiting": log_url(*WAITING),
        "refused": log_url(State.FAILED, since=midnight),
        "uncertain": log_url(State.UNCERTAIN),
    }


def _deed(verdict: MailVerdict) -> PageLink | None:
    """The next step as a link to where it is done."""
    config_id = verdict.config_id
    deeds = {
        NextStep.ADD_SERVER: lambda: PageLink(url=url_for("smtp_form.new"), label="Add a mail server"),
        NextStep.ACTIVATE: lambda: PageLink(url=url_for("settings.smtp"), label="Choose a server"),
        NextStep.CONNECT: lambda: PageLink(url=url_for("connect.show", config_id=config_id), label="Connect again"),
        NextStep.TEST_SERVER: lambda: PageLink(url=_test_url(config_id), label="Test this server"),
        NextStep.EDIT_SERVER: lambda: PageLink(
            url=url_for("smtp_form.edit", config_id=config_id), label="Open server settings"
        ),
        NextStep.SEE_SERVERS: lambda: PageLink(url=url_for("settings.smtp"), label="Open mail servers"),
        NextStep.SEE_WAITING: lambda: PageLink(url=log_url(*WAITING), label="See what is waiting"),
    }
    return deeds[verdict.step]() if verdict.step in deeds else None


def _test_url(config_id: int | None) -> str:
    return url_for("smtp_form.edit", config_id=config_id, _anchor="test")


def _steps(now: Board) -> dict[ChecklistStep, PageLink]:
    """Where each step of the checklist is done; a key is kept nowhere at Sealpost."""
    active = _active(now)
    test = _test_url(active.id) if active else url_for("settings.smtp")
    return {
        ChecklistStep.SERVER: PageLink(url=url_for("smtp_form.new"), label="Add a server"),
        ChecklistStep.TEST: PageLink(url=test, label="Test it"),
        ChecklistStep.OWN_MAIL: PageLink(url=test, label="Send a test email"),
        ChecklistStep.DOMAIN: PageLink(url=url_for("domain_pages.show"), label="Check the domain"),
        ChecklistStep.ALERTS: PageLink(url=url_for("alerts.new"), label="Add a channel"),
    }


def _active(now: Board) -> ConfigFacts | None:
    """The server to test: the active one, or the first of all."""
    return now.servers.shown[0] if now.servers and now.servers.shown else None


def _is_new(now: Board) -> bool:
    """Whether there is neither a server nor any email, so that figures would be nothing but noughts."""
    has_mail = bool(now.waiting and (now.waiting.mails or now.waiting.uncertain))
    has_figures = now.figures is None or any(column.all for column in now.figures.columns)
    return bool(now.servers and not now.servers.has_any) and not has_mail and not has_figures


def _to_checklist() -> Response:
    return make_response(redirect(url_for("pages.home", _anchor="checklist"), 303))
