"""`flask mail retry`, `cancel` and `resend` of many emails: a preview, a question, then the deed with its progress."""

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import click

from blueprints.cli.frame import answer
from services.outbox import many, searching
from services.outbox.facts import STATES, State
from services.outbox.many import ManyData, ManyDeed
from services.outbox.many_rules import Correction, Hindrance, ManyAction
from services.outbox.reasons import words
from utils.errors import InvalidInput
from utils.json_shapes import json_of
from utils.numbers import counted

_SECONDS: Final = 5.0  # between two lines of progress
_OPTIONS: Final = {
    "recipient": ("ADDRESS", "To this address, or to this domain."),
    "tag": ("TAG", "With this tag."),
    "server": ("SERVER", "Tried at this server, as the log calls it: “name (host:port)”."),
    "since": ("TIME", "Queued at this time or later, like 2026-12-24T08:00. In UTC."),
    "until": ("TIME", "Queued before this time."),
    "reason": ("CODE", "For this reason, like no_recipient."),
}
_DONE: Final = {
    ManyAction.RETRY: "sent again",
    ManyAction.CANCEL: "cancelled",
    ManyAction.CORRECT: "sent to a corrected address",
}
_QUESTIONS: Final = {
    ManyAction.RETRY: "Send {} again?",
    ManyAction.CANCEL: "Cancel {}, and delete the content?",
    ManyAction.CORRECT: "Send {} to a corrected address?",
}


def filter_options(work: Callable[..., None]) -> Callable[..., None]:
    """The options by which many emails are found, and `--yes`."""
    choice = click.Choice([state.value for state in State])
    decorated = click.option("--yes", is_flag=True, help="Do not ask.")(work)
    for name, (metavar, told) in reversed(_OPTIONS.items()):
        decorated = click.option(f"--{name}", default="", metavar=metavar, help=told)(decorated)
    state = click.option("--state", "states", type=choice, multiple=True, metavar="STATE", help="Repeatable.")
    return state(decorated)


def asked(given: Mapping[str, Any]) -> dict[str, str]:
    """The filter that these options ask for, as the arguments of an address; empty if none was given."""
    args = {name: str(given[name]).strip() for name in _OPTIONS} | {"state": ",".join(given["states"])}
    args["cause"] = args.pop("reason")
    return {name: text for name, text in args.items() if text}


def act(action: ManyAction, args: Mapping[str, str], *, yes: bool, as_json: bool) -> None:
    """Preview what the filter finds, ask, and do it. Raises InvalidInput."""
    try:
        wanted = searching.parse(args)
    except InvalidInput as refused:
        raise refused.under({"cause": "reason"}) from None
    _act(many.propose(action, wanted), yes=yes, as_json=as_json)


def correct(mail_id: str, wanted: Correction, *, yes: bool, as_json: bool) -> None:
    """The same for one email of which a recipient was refused."""
    _act(many.propose(ManyAction.CORRECT, None, [mail_id], wanted), yes=yes, as_json=as_json)


def _act(deed_id: int, *, yes: bool, as_json: bool) -> None:
    try:
        deed = _through(deed_id, as_json=as_json)
        if not as_json:
            click.echo("\n".join(_preview(deed)))
        if deed.able and not yes:
            _ask(deed)
        if deed.able:
            many.start(deed_id)
            deed = _through(deed_id, as_json=as_json)
    except (KeyboardInterrupt, click.Abort):
        deed = many.stop(deed_id)
        click.echo(f"Stopped: {_result(deed)}" if deed.started_at else "Nothing was done.", err=True)
        raise
    except click.UsageError:
        many.stop(deed_id)
        raise
    if as_json or deed.able:
        answer(as_json, json_of(ManyData, deed), _result(deed))


def _through(deed_id: int, *, as_json: bool) -> ManyDeed:
    """Look, or act, to the end, and tell how far it has come."""
    deed = many.go_on(deed_id, _SECONDS)
    while deed.is_under_way:
        if not as_json:
            told = f"{deed.done:,} of {deed.able:,} done" if deed.started_at else f"{deed.found:,} looked at"
            click.echo(f"{told} …", err=True)
        deed = many.go_on(deed_id, _SECONDS)
    return deed


def _ask(deed: ManyDeed) -> None:
    try:
        is_wanted = click.confirm(_QUESTIONS[deed.action].format(counted(deed.able, "email")), err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        raise click.UsageError("There is no terminal to ask at. Pass --yes to do it without a question.") from None
    if not is_wanted:
        raise click.Abort


def _preview(deed: ManyDeed) -> Iterator[str]:
    yield f"{counted(deed.found, 'email')} found, {deed.able} of them can be {_DONE[deed.action]}."
    for (state, cause), mails in deed.by_state.items():
        yield f"{mails:>9}  {STATES[State(state)].word}{f': {words(cause)}' if cause else ''}"
    if deed.doubles:
        yield f"{deed.doubles:>9}  may have arrived, so some people may get them twice"
    for hindrance, mails in deed.unable.items():
        yield f"{mails:>9}  not: {Hindrance(hindrance).text}"


def _result(deed: ManyDeed) -> str:
    left = [f"{mails} left alone: {Hindrance(code).text}" for code, mails in deed.left.items()]
    goes_on = "" if deed.action is ManyAction.CANCEL else " is being" if deed.done == 1 else " are being"
    return ". ".join([f"{counted(deed.done, 'email')}{goes_on} {_DONE[deed.action]}", *left]) + "."
