"""`flask mail`: the queued mails, sending them again or not at all, and the worker that sends them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Final

import click
from flask import Flask, current_app
from flask.cli import AppGroup

from blueprints.cli import mail_many
from blueprints.cli.frame import NOT_WELL, answer, command, leave, limit_option, table
from blueprints.cli.mail_story import story_dict, story_in_words
from services import audit
from services.alerts.watching import AlertWatch
from services.audit import Action
from services.checks import outlook, start
from services.checks.outlook import Outlook
from services.outbox import figures, holding, log, searching
from services.outbox.facts import SETTLED, AttemptData, DirectData, MailFacts, MessageData, State
from services.outbox.figures import HourFigures
from services.outbox.log import Summary
from services.outbox.many_rules import ManyAction, correction
from services.outbox.reasons import Reason, words
from services.settings import route
from services.worker import threads
from utils import clock
from utils.env_utils import get_settings
from utils.errors import refused_under
from utils.json_shapes import json_of
from utils.numbers import counted
from utils.process_guard import forbid_core_dumps

mail = AppGroup("mail", help="List, resend and cancel email, and run the worker.")

MOST_SENDERS: Final = 64
LONGEST_DAYS: Final = 36500
_HOURS: Final = click.IntRange(1, figures.MOST_HOURS)
_STATES: Final = click.Choice([state.value for state in State])
_FINAL: Final = click.Choice([state.value for state in SETTLED])


@command(mail, "list")
@click.option(
    "--recipient", metavar="ADDRESS", help="Filter by recipient (to, cc or bcc): a whole address or a domain."
)
@click.option("--message-id", metavar="ID", help="Filter by Message-ID.")
@click.option("--tag", metavar="TAG", help="Filter by tag.")
@click.option("--state", "states", type=_STATES, multiple=True, metavar="STATE", help="Filter by state. Repeatable.")
@click.option("--server", metavar="NAME", help="Filter by the server tried last, as the mail log names it.")
@click.option("--account-id", metavar="NUMBER", help="Filter by account.")
@click.option("--since", metavar="TIME", help="Queued at this time (UTC) or later, like 2026-12-24T08:00.")
@click.option("--until", metavar="TIME", help="Queued before this time (UTC); a day is included.")
@click.option("--cause", metavar="CODE", help="Filter by the code of the reason, like no_recipient.")
@click.option("--direct", is_flag=True, help="Show emails sent directly, without the queue.")
@click.option("--count", "only_count", is_flag=True, help="Print only how many there are.")
@limit_option(log.MOST)
def list_mails(
    *, states: Sequence[str], direct: bool, only_count: bool, limit: int, as_json: bool, **filters: str | None
) -> None:
    """List emails and what happened to them, newest first.

    States: queued, leased, transmitting, deferred, uncertain, held, sent, failed, expired, cancelled, suppressed.
    """
    if direct and only_count:
        raise click.UsageError("Pass either --direct or --count, not both.")
    given = {name: value for name, value in filters.items() if value is not None}
    wanted = searching.parse({**given, "state": ",".join(states)})
    if only_count:
        number = searching.count(wanted)
        answer(as_json, {"count": number}, counted(number, "email"))
    elif direct:
        attempts, _ = searching.direct(wanted, limit=limit)
        told = table(
            ("When (UTC)", "Result", "Kind", "To", "Server", "Reply"), [_direct_row(each) for each in attempts]
        )
        answer(as_json, [json_of(DirectData, each) for each in attempts], *told)
    else:
        mails, _ = searching.find(wanted, limit=limit)
        told = table(("Queued (UTC)", "Id", "State", "Kind", "To", "Attempts", "Why"), [_row(each) for each in mails])
        answer(as_json, [json_of(MessageData, each) for each in mails], *told)


@command(mail, "show")
@click.argument("mail_id", metavar="ID")
def show(mail_id: str, *, as_json: bool) -> None:
    """Show what happened to a queued email: who queued it, each attempt, and what comes next."""
    story = log.story(mail_id)
    answer(as_json, story_dict(story), *story_in_words(story))


@command(mail, "status", exits={NOT_WELL: "no email gets out, or it is late, or no worker is running"})
def status(*, as_json: bool) -> None:
    """Show whether email gets out, how many are waiting and why, how late they are, and which workers are sending."""
    summary, now = log.summary(), outlook.look()
    is_well = summary.is_well and (not now.is_outage or route.is_suppressed())
    answer(as_json, _summary_dict(summary, now, is_well), *_summary_lines(summary, now, is_well))
    if not is_well:
        leave(NOT_WELL)


@command(mail, "retry")
@click.argument("mail_id", required=False, metavar="[ID]")
@mail_many.filter_options
def retry(mail_id: str | None, *, yes: bool, as_json: bool, **given: object) -> None:
    """Send a waiting email now, or a failed one again. Recipients who have it do not get it twice.

    With options: all emails that they find, after a preview and a question. A held email is released, as by flask mail
    release.
    """
    if asked := _asked(mail_id, given):
        mail_many.act(ManyAction.RETRY, asked, yes=yes, as_json=as_json)
        return
    was_held = log.story(mail_id or "").mail.is_held
    found = log.retry(mail_id or "").mail
    told = "Released" if was_held else "Queued to be sent now"
    answer(as_json, json_of(MessageData, found), f"{'Expired' if found.state is State.EXPIRED else told}: {found.id}")


@command(mail, "resend")
@click.argument("mail_id", metavar="ID")
@click.option("--to", "new_address", required=True, metavar="ADDRESS", help="The corrected address.")
@click.option("--from", "old_address", default="", metavar="ADDRESS", help="The wrong one, if several were refused.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def resend(mail_id: str, *, new_address: str, old_address: str, yes: bool, as_json: bool) -> None:
    """Send an email to a corrected address, in the place of a recipient who was refused.

    It is a new email to that address alone. The old one stays as it is.
    """
    with refused_under({"new_address": "to", "old_address": "from"}):
        wanted = correction(old_address, new_address)
    mail_many.correct(log.story(mail_id).mail.id, wanted, yes=yes, as_json=as_json)


@command(mail, "hold")
@click.option("--all", "every", is_flag=True, required=True, help="All waiting email.")
def hold(*, every: bool, as_json: bool) -> None:
    """Hold all waiting email until you release it. For a database that was restored from a back-up.

    Emails sent after the back-up was made are still waiting in it. `flask db restore` holds them for you.
    """
    found = holding.hold_all()
    told = [f"{counted(found.held, 'email')} held. {holding.WHAT_TO_DO}"]
    if found.being_sent:
        told.append(f"{counted(found.being_sent, 'email')} being sent now. Stop every worker and run this again.")
    answer(as_json, asdict(found), *told)


@command(mail, "release")
@click.argument("mail_ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "every", is_flag=True, help="All held email.")
def release(mail_ids: Sequence[str], *, every: bool, as_json: bool) -> None:
    """Release held email. What is too late by now, like a password reset link, ends as expired."""
    if every == bool(mail_ids):
        raise click.UsageError("Pass the ids of held emails, or --all.")
    found = holding.release_all() if every else holding.release(mail_ids)
    told = [f"{counted(found.released, 'email')} released."]
    if found.expired:
        told.append(f"{counted(found.expired, 'email')} expired: it was too late to send.")
    answer(as_json, asdict(found), *told)


@command(mail, "cancel")
@click.argument("mail_id", required=False, metavar="[ID]")
@click.option("--held", is_flag=True, help="All held email.")
@mail_many.filter_options
def cancel(mail_id: str | None, *, held: bool, yes: bool, as_json: bool, **given: object) -> None:
    """Cancel a waiting or held email, and delete its content.

    With options: all emails that they find, after a preview and a question.
    """
    if held:
        if mail_id is not None or mail_many.asked(given):
            raise click.UsageError("Pass --held alone.")
        cancelled = holding.cancel_all()
        answer(as_json, {"cancelled": cancelled}, f"{counted(cancelled, 'email')} cancelled.")
        return
    if asked := _asked(mail_id, given):
        mail_many.act(ManyAction.CANCEL, asked, yes=yes, as_json=as_json)
        return
    found = log.cancel(mail_id or "").mail
    answer(as_json, json_of(MessageData, found), f"Cancelled: {found.id}")


def _asked(mail_id: str | None, given: Mapping[str, object]) -> dict[str, str]:
    """The filter, empty where it is about one email. Raises UsageError unless it is one of the two."""
    asked = mail_many.asked(given)
    if bool(asked) == (mail_id is not None):
        raise click.UsageError("Pass the id of an email, or options like --state and --since.")
    return asked


@command(mail, "purge")
@click.option(
    "--older-than",
    "days",
    type=click.IntRange(0, LONGEST_DAYS),
    required=True,
    metavar="DAYS",
    help="Delete emails that finished longer ago than this.",
)
@click.option("--state", "states", type=_FINAL, multiple=True, metavar="STATE", help="Filter by state. Repeatable.")
def purge(*, days: int, states: Sequence[str], as_json: bool) -> None:
    """Delete finished emails from the mail log, with their attempts.

    Without --state all of them, and emails sent directly. Waiting emails are never deleted.
    """
    purged = log.purge(timedelta(days=days), [State(state) for state in states])
    audit.note(Action.MAIL_PURGED, counted(purged.mails, "email"), [f"older than {counted(days, 'day')}", *states])
    told = f"Deleted {counted(purged.mails, 'email')} and {counted(purged.attempts, 'attempt')}."
    answer(as_json, {"mails": purged.mails, "attempts": purged.attempts}, told)


@command(mail, "worker")
@click.option(
    "--senders",
    type=click.IntRange(1, MOST_SENDERS),
    show_default="MAIL_SENDERS, at least 1",
    metavar="N",
    help="How many emails, or groups of emails, to send at a time.",
)
def run_worker(*, senders: int | None, as_json: bool) -> None:
    """Send queued email until SIGTERM or Ctrl-C.

    It then finishes what it is sending and returns the rest to the queue. Any number of workers may run.
    """
    forbid_core_dumps()
    start.check()
    senders = senders or max(get_settings().mail_senders, 1)
    told = f"Sending queued email with {counted(senders, 'sender')}. Stop with Ctrl-C."
    answer(as_json, {"senders": senders}, told)
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    watch = AlertWatch(app).start()
    threads.run_alone(app, senders)
    watch.stop()


def _direct_row(each: DirectData) -> tuple[str, ...]:
    answer = each.reply or (each.diagnosis.title if each.diagnosis else "")
    return clock.in_lists(each.at), each.look.word, _kind_word(each.kind), each.recipients, each.server, answer


def _kind_word(kind: str) -> str:
    return "Email" if kind == "other" else kind.replace("_", " ").capitalize()


def _row(each: MailFacts) -> tuple[str, ...]:
    addresses = ", ".join(recipient.address for recipient in each.recipients)
    return (
        clock.in_lists(each.created_at),
        each.id,
        each.state,
        _kind_word(each.kind),
        addresses if len(addresses) <= 60 else f"{len(each.recipients)} recipients",  # noqa: PLR2004
        str(each.tries),
        each.reason,
    )


def _summary_lines(summary: Summary, now: Outlook, is_well: bool) -> Iterator[str]:
    yield from now.lines
    for state, count in summary.counts.items():
        yield f"{state:<14}{count}"
    if not summary.counts:
        yield "No email is waiting or has failed."
    for reason, count in summary.reasons.items():
        yield f"Waiting ({count}): {reason}"
    if summary.oldest_due:
        yield f"Due since {clock.in_lists(summary.oldest_due)} UTC: the email that has waited longest for a worker"
    for name, count in summary.workers.items():
        yield f"Worker {name} is sending {counted(count, 'email')}"
    if summary.last_attempt:
        yield f"Last attempt at {clock.in_lists(summary.last_attempt.at)} UTC: {summary.last_attempt.look.word}"
    if summary.is_behind:
        yield "Email is late."
    if summary.is_unattended and not now.is_outage:  # which says so
        yield log.NOBODY_SENDS
    if summary.keyless:
        yield f"{counted(summary.keyless, 'email')} cannot be read. {words(Reason.NO_KEY)}"
    if told := holding.told(holding.count()):
        yield told
    elif is_well:
        yield "No email is late."


@command(mail, "figures")
@click.option("--hours", default=24, show_default=True, type=_HOURS, help="How many hours back.")
@click.option("--server", default="", help="Only this server, as the log calls it: “name (host:port)”.")
@click.option("--rebuild", is_flag=True, help="Count again every hour of which the log still has anything.")
def show_figures(*, hours: int, server: str, rebuild: bool, as_json: bool) -> None:
    """Show how many attempts came to what, by the hour, and why those failed that did."""
    if rebuild:
        figures.rebuild()
    found = figures.latest(hours, server)
    headings = ("Hour (UTC)", "Server", "Result", "Why", "Domain", "Attempts")
    answer(as_json, [json_of(HourFigures, each) for each in found], *table(headings, list(map(_figure_row, found))))


def _figure_row(each: HourFigures) -> tuple[str, ...]:
    why = words(each.cause) if each.cause else ""
    return clock.in_lists(each.hour), each.server, each.outcome, why, each.domain or "others", str(each.mails)


def _summary_dict(summary: Summary, now: Outlook, is_well: bool) -> dict[str, object]:
    last = summary.last_attempt
    return {
        "ok": is_well,
        "outage": now.is_outage,
        "since": now.since,
        "headline": now.state.headline,
        "detail": now.state.detail,
        "unattended": summary.is_unattended,
        "keyless": summary.keyless,
        "suppressed": route.is_suppressed(),
        "held": summary.held,
        "counts": summary.counts,
        "reasons": summary.reasons,
        "oldest_due": summary.oldest_due,
        "workers": summary.workers,
        "last_attempt": json_of(AttemptData, last) if last else None,
    }
