"""`flask alerts`: the channels, a test of one, and what fires now."""

from typing import Final

import click
from flask.cli import AppGroup

from blueprints.cli.frame import NOT_WELL, REFUSED, answer, command, leave, table
from services.alerts import channels, showing
from services.alerts.channels import ChannelInfo
from services.alerts.showing import AlertData, NoticeData
from utils import clock
from utils.errors import NotFound
from utils.json_shapes import json_of
from utils.numbers import counted, whole_number

alerts = AppGroup("alerts", help="Alerts without email: channels, tests, and what fires now.")

NO_CHANNEL: Final = "No channel yet, so no one is told. Add one on the page Alerts."
NOT_WATCHED: Final = "Nothing is checking the rules. Start the application."


@command(alerts, "list")
def list_channels(*, as_json: bool) -> None:
    """List the channels. Nothing secret of them is shown."""
    found = channels.every()
    rows = [(str(each.id), each.name, each.title, each.place, _state(each)) for each in found]
    lines = table(("Id", "Name", "Kind", "Where", "State"), rows) if rows else [NO_CHANNEL]
    answer(as_json, [_public(each) for each in found], *lines)


@command(alerts, "test", {REFUSED: "the test was not accepted, or failed"})
@click.argument("channel")
def test(channel: str, *, as_json: bool) -> None:
    """Send a test to a channel.

    CHANNEL is its id or its name.
    """
    known, trouble = showing.test(_named(channel).id)
    told = {"trouble": trouble.text, "remedy": trouble.remedy} if trouble else {"trouble": "", "remedy": ""}
    line = f"{known.name} does not work. {trouble.sentence}" if trouble else f"{known.name} accepted the test."
    answer(as_json, {**_public(known), **told}, line)
    if trouble:
        leave(REFUSED)


@command(alerts, "status", {NOT_WELL: "an alert is firing, or nothing checks the rules"})
def status(*, as_json: bool) -> None:
    """Show what fires now and since when, and the last messages."""
    now = showing.now()
    data = {
        "is_watched": now.is_watched,
        "alerts": [json_of(AlertData, each) for each in now.alerts],
        "notices": [json_of(NoticeData, each) for each in now.notices],
    }
    alerts_now = [f"{each.state}: {each.headline} Since {clock.readable(each.since)}." for each in now.alerts]
    lines = alerts_now if now.alerts else ["No alert is firing."] if now.is_watched else []
    waiting = sum(each.state == "waiting" for each in now.notices)
    lines += [f"{counted(waiting, 'message')} waiting."] if waiting else []
    answer(as_json, data, *(lines if now.is_watched else [*lines, NOT_WATCHED]))
    if now.firing or not now.is_watched:
        leave(NOT_WELL)


def _named(text: str) -> ChannelInfo:
    """Raises NotFound."""
    found = channels.every()
    number = whole_number(text)
    known = next((each for each in found if each.id == number), None)
    known = known or next((each for each in found if each.name.casefold() == text.strip().casefold()), None)
    if known is None:
        raise NotFound("No such channel. List them with: flask alerts list")
    return known


def _state(channel: ChannelInfo) -> str:
    if not channel.is_on:
        return "off"
    return f"failing: {channel.trouble}" if channel.is_failing else "works" if channel.ok_at else "not tested"


def _public(channel: ChannelInfo) -> dict[str, object]:
    return {
        "id": channel.id,
        "kind": channel.kind.value,
        "name": channel.name,
        "place": channel.place,
        "is_on": channel.is_on,
        "state": _state(channel),
    }
