"""`flask gateway connect | status`: the lines for an application, and who sends through the gateway."""

from dataclasses import asdict
from typing import Final

import click

from blueprints.cli.accounts import named
from blueprints.cli.frame import NOT_WELL, answer, command, leave, print_json, table
from blueprints.cli.gateway import gateway
from services.gateway import addresses, connecting, connections
from services.gateway.addresses import GatewayState, GatewayStatus
from services.gateway.connecting import ConnectedApp, ConnectionRequest
from services.gateway.connections import AppConnection, Progress
from utils import clock
from utils.errors import InvalidInput

__all__ = ["gateway"]  # with what is added to it here

_OPTIONS: Final = {"application": "APPLICATION", "account": "--account", "name": "--name", "sender": "--from",
                   "address": "--address"}  # fmt: skip
_STATES: Final = {
    GatewayState.OFF: "The gateway is off. Set SUBMISSION_LISTEN, then restart Sealpost.",
    GatewayState.SILENT: "The gateway is set up, but none runs. Start it with: flask gateway run",
    GatewayState.RUNNING: "The gateway is on.",
}
_PROGRESS: Final = {
    Progress.WAITING: "waiting for its first email",
    Progress.WRONG_SIGN_IN: "sign-in refused",
    Progress.CONNECTED: "signed in, nothing sent yet",
    Progress.REFUSED: "refused",
    Progress.CAME: "sends",
    Progress.OVER_HTTP: "sends over HTTP",
    Progress.ENDED: "token ended",
}


@command(gateway, "connect")
@click.argument("application")
@click.option("--account", required=True, metavar="USER", help="The account that it sends as: user name or address.")
@click.option("--name", default="", metavar="TEXT", help="What its token is called. Default: the application’s name.")
@click.option("--from", "sender", default="", metavar="ADDRESS", help="Its From address. Default: the account’s.")
@click.option("--address", default="", metavar="ADDRESS", help="Which of the gateway’s addresses, as in `status`.")
def connect(application: str, *, account: str, name: str, sender: str, address: str, as_json: bool) -> None:
    """Print what to enter in an application, with a new token, only this once.

    APPLICATION is, for example, gitea, grafana, nextcloud, wordpress, php, other or http. Standard output gets only the
    lines; what to do with them is on standard error.
    """
    asked = ConnectionRequest(
        application=application, login=named(account).username, name=name, sender=sender, address=address
    )
    try:
        made = connecting.connect(asked)
    except InvalidInput as refused:
        raise InvalidInput({_OPTIONS.get(field, field): texts for field, texts in refused.errors.items()}) from None
    if as_json:
        print_json(_as_data(made))
        return
    click.echo(f"The token {made.token.name} of {made.token.owner} will not be shown again.", err=True)
    if made.caution:
        click.echo(made.caution, err=True)
    for part in made.parts:
        click.echo(f"\n{part.title}\n{part.text}\n", err=True)
        click.echo(part.lines)
    click.echo(f"\n{made.application.text}", err=True)


@command(gateway, "status", {NOT_WELL: "SUBMISSION_LISTEN is set, and no gateway runs"})
def status(*, as_json: bool) -> None:
    """Show whether the gateway runs, where, and who sends through it."""
    stands, found = addresses.status(), connections.page()
    data = {**_status_data(stands), "applications": [_row_data(each) for each in found]}
    lines = [_STATES[stands.state], *stands.trouble]
    lines += [f"{each.id}  {each.words}" for each in stands.addresses]
    if found:
        headings = ("Id", "Name", "Account", "State", "Emails", "Last there")
        lines += ["", *table(headings, [_row(each) for each in found])]
    answer(as_json, data, *lines)
    if stands.state is GatewayState.SILENT:
        leave(NOT_WELL)


def _as_data(made: ConnectedApp) -> dict[str, object]:
    parts = [{"title": part.title, "text": part.text, "lines": part.lines} for part in made.parts]
    return {
        "application": made.application.id,
        "token_id": made.token.id,
        "name": made.token.name,
        "account": made.token.owner,
        "sender": made.sender,
        "parts": parts,
        "caution": made.caution,
    }


def _status_data(stands: GatewayStatus) -> dict[str, object]:
    return {**asdict(stands), "addresses": [{"id": each.id, **asdict(each)} for each in stands.addresses]}


def _row(found: AppConnection) -> tuple[str, ...]:
    seen = found.use.used_at or found.token.last_used_at
    return (
        str(found.token.id),
        found.token.name,
        found.token.owner,
        _PROGRESS[found.progress],
        str(found.use.mails),
        clock.in_lists(seen) if seen else "never",
    )


def _row_data(found: AppConnection) -> dict[str, object]:
    token = found.token
    return {"token_id": token.id, "name": token.name, "account": token.owner, "state": found.progress,
            **asdict(found.use)}  # fmt: skip
