"""`flask keys …`: which key seals what, and sealing everything anew after `APP_KEY` has changed."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click
from flask.cli import AppGroup

from blueprints.cli.frame import DONE, NOT_WELL, answer, command, leave, table
from services import address_key
from services.alerts import channels
from services.settings import key_rotation
from services.settings.key_rotation import KeyUse, Point, Role, Rotation, SealedRow, Status
from utils.numbers import counted

keys = AppGroup("keys", help="See what each APP_KEY seals, and reseal after changing it.")

UNREADABLE = {
    DONE: "done, and everything can be read",
    NOT_WELL: "something stored cannot be read; its name is printed",
}


@command(keys, "status", exits=UNREADABLE)
def status(*, as_json: bool) -> None:
    """Show what each key seals.

    That is mail servers, their connections by OAuth, queued emails, alert channels and SMTP conversations in the mail
    log. A key is named by eight hex digits of its hash, which do not reveal it. Mail servers that cannot be read,
    because their key is missing or because they were changed outside Sealpost, are listed with what to do. Failed
    emails that can be sent again count as queued.
    """
    found = key_rotation.status()
    answer(as_json, _status_dict(found), *_status_lines(found))
    leave(DONE if found.is_well else NOT_WELL)


@command(keys, "rotate", exits=UNREADABLE)
@click.option("--dry-run", is_flag=True, help="Show what would change, without changing it.")
def rotate(*, dry_run: bool, as_json: bool) -> None:
    """Reseal with the current APP_KEY what a previous one has sealed.

    First put the old key into APP_KEY_PREVIOUS and a new one into APP_KEY, and restart every process. Sending goes on
    in the meantime. Each mail server is resealed in its own transaction and read back with the new key before it
    counts, so you can stop the command and run it again at any time. What cannot be read is left unchanged and listed.
    Queued emails keep the key they were sealed with, which is needed until they are gone.
    """

    def hear(point: Point, row: SealedRow) -> None:
        if point is Point.COMMITTED and not as_json:
            click.echo(f"✓ {row}")

    resealed = 0 if dry_run else channels.seal_anew()
    done = key_rotation.rotate(dry_run=dry_run, hear=hear)
    alerts = [f"{counted(resealed, 'alert channel')} resealed."] if resealed else []
    answer(as_json, _rotation_dict(done, dry_run), *alerts, *_rotation_lines(done, dry_run))
    leave(DONE if done.after.is_well else NOT_WELL)


def _status_lines(state: Status) -> Iterator[str]:
    yield from table(("Key", "Is", "Seals"), [(use.key_id, _role(use), _seals(use)) for use in state.keys])
    yield from _unreadable(state)
    if state.to_rotate:
        yield "\nRun `flask keys rotate` to reseal everything with the current key."
    else:
        yield from _unreferenced(state)


def _rotation_lines(done: Rotation, dry_run: bool) -> Iterator[str]:
    count = counted(len(done.rotated), "configuration")
    count += " and the suppression list" if done.has_addresses else ""
    if done.conversations:
        yield f"{counted(done.conversations, 'conversation')} {'would be ' if dry_run else ''}resealed."
    current = done.after.keys[0].key_id
    if dry_run:
        for row in done.rotated:
            yield f"ℹ {row} would be sealed with key {current} instead of {_before(row, current)}."
    if not done.rotated and not done.has_addresses:
        yield f"Nothing to do: no mail server is sealed with a previous key. The current key is {current}."
    else:
        yield f"{count} {'would be' if dry_run else ''} sealed with key {current}.".replace("  ", " ")
    yield from _unreadable(done.after)
    yield from _unreferenced(done.after, conditional=dry_run)


def _unreadable(state: Status) -> Iterator[str]:
    for refusal in state.refused:
        yield f"✗ {refusal.row}: {refusal.reason}"
    for use in state.missing_for_mails:
        yield f"✗ Key {use.key_id} is missing. {_mails_need_it(use)}: add it to APP_KEY_PREVIOUS."
    if state.is_missing_for_addresses:
        yield f"✗ {address_key.MISSING} If it is lost: flask suppression remove --all"


def _unreferenced(state: Status, *, conditional: bool = False) -> Iterator[str]:
    """Which previous keys may go, and which are still needed."""
    for use in state.keys:
        if use.role is not Role.PREVIOUS:
            continue
        key = f"Key {use.key_id} ({_role(use)})"
        if use.to_rotate:
            yield f"{key} is still needed: it seals {_seals(use)}."
        elif use.mails:
            until = "keep it in APP_KEY_PREVIOUS until `flask keys status` shows none."
            yield f"{key}: {_mails_need_it(use)}: {until}"
        else:
            then = "remove it from APP_KEY_PREVIOUS and restart."
            yield f"{key} {'would then seal' if conditional else 'seals'} nothing: {then}"


def _before(row: SealedRow, current: str) -> str:
    """The previous key of it, be it that of its connection alone."""
    return row.sign_in_key_id if row.key_id == current else row.key_id


def _role(use: KeyUse) -> str:
    if use.role is Role.PREVIOUS:
        return f"previous, number {use.position} of APP_KEY_PREVIOUS"
    return "current, APP_KEY" if use.role is Role.CURRENT else "missing key"


def _seals(use: KeyUse) -> str:
    tokens = f", {counted(use.sign_ins, 'connection')}" if use.sign_ins else ""
    mails = f", {counted(use.mails, 'queued email')}" if use.mails else ""
    addresses = ", the suppression list" if use.addresses else ""
    alerts = f", {counted(use.channels, 'alert channel')}" if use.channels else ""
    said = f", {counted(use.conversations, 'conversation')}" if use.conversations else ""
    return f"{counted(use.rows, 'mail server')}{tokens}{addresses}{mails}{alerts}{said}"


def _mails_need_it(use: KeyUse) -> str:
    return f"{counted(use.mails, 'queued email')} still need{'s' if use.mails == 1 else ''} it"


def _status_dict(state: Status) -> dict[str, Any]:
    return {
        "ok": state.is_well,
        "keys": [asdict(use) for use in state.keys],
        "unreadable": [
            {**asdict(each.row), "condition": each.condition, "reason": each.reason} for each in state.refused
        ],
        "may_go": [use.key_id for use in state.unreferenced],
    }


def _rotation_dict(done: Rotation, dry_run: bool) -> dict[str, Any]:
    rotated = [asdict(row) for row in done.rotated]
    return {"dry_run": dry_run, "rotated": rotated, **_status_dict(done.after)}
