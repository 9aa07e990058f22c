"""Channels as they are stored: checked, sealed like passwords, and opened only to be used."""

import base64
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy.orm import Session

from database import alert_db, smtp_db
from database.alert_db import LONGEST_NAME, LONGEST_PLACE, AlertChannel
from database.engine import reading, transaction
from services import audit, web_request
from services.alerts.bodies import SECRET_PREFIX, Target, signing_key
from services.alerts.kinds import KINDS, ChannelKind, url_fault
from services.audit import Action
from services.settings import route
from services.settings.route import RouteStep
from services.settings.sealing import unsealed
from utils import clock
from utils.addresses import InvalidAddress, mask_address, parse_recipient
from utils.encryption_utils import CannotDecrypt, current_key_id, encrypt_smtp_password, known_keys, opened
from utils.errors import Conflict, InvalidInput, NotFound
from utils.numbers import LARGEST, whole_number
from utils.secret import Secret

MOST: Final = 50
NO_SUCH: Final = "No such channel. Someone else may have deleted it."
STALE: Final = "Someone else has just changed this channel. Check it, then try again."
TOO_MANY: Final = f"There are already {MOST} channels. Delete one first."
KEY_MISSING: Final = "What was entered is sealed with a missing APP_KEY. Enter it again."
ALTERED: Final = "This channel was changed outside Sealpost. Enter its fields again."
NO_SERVER: Final = "The mail server of this channel was deleted. Choose another."
_LONGEST: Final = {"secret": 200, "token": 200, "chat": 64}
_LARGEST_BOT: Final = 10**15  # the number of a bot; Telegram promises 52 bits for users
_LEAST_KEY: Final = 16  # bytes of a signing key
_MOST_RECIPIENTS: Final = 10
NOTHING: Final = Target()


@dataclass(frozen=True, kw_only=True)
class ChannelInfo:
    """A channel as pages, API and commands show it: nothing of it is secret. ``place`` is where it leads."""

    id: int
    kind: ChannelKind
    name: str
    place: str
    is_on: bool
    version: int
    config_id: int | None
    ok_at: datetime | None
    failed_at: datetime | None
    trouble: str

    @property
    def title(self) -> str:
        return KINDS[self.kind].title

    @property
    def is_failing(self) -> bool:
        """Whether its last message did not get there."""
        return bool(self.trouble)


@dataclass(frozen=True, kw_only=True)
class OpenChannel:
    """A channel with what is needed to use it; ``problem`` says why it cannot be. ``step`` is the server of mail."""

    id: int
    kind: ChannelKind
    name: str
    target: Target = NOTHING
    step: RouteStep | None = field(default=None, repr=False)
    problem: str = ""

    @property
    def is_ping(self) -> bool:
        return self.kind is ChannelKind.PING


def every() -> list[ChannelInfo]:
    """All of them, the oldest first."""
    with reading() as session:
        return [_info(row) for row in alert_db.channels(session)]


def get(channel_id: int) -> ChannelInfo:
    """Raises NotFound."""
    with reading() as session:
        return _info(_existing(alert_db.find_channel(session, channel_id) if _may_be_id(channel_id) else None))


def shown_fields(channel_id: int) -> dict[str, str]:
    """What was entered for it and is no secret, to be changed. Raises NotFound."""
    with reading() as session:
        row = _existing(alert_db.find_channel(session, channel_id) if _may_be_id(channel_id) else None)
    values, _ = _values_in(row)
    hidden = KINDS[ChannelKind(row.kind)].secrets
    return {name: value.replace(" ", ", ") for name, value in values.items() if name not in hidden}


def opened_all(session: Session) -> list[OpenChannel]:
    """Those that are on, ready to be used."""
    return [_opened(session, row) for row in alert_db.channels(session) if row.is_on]


def opened_one(channel_id: int) -> OpenChannel:
    """One of them, be it off. Raises NotFound."""
    with reading() as session:
        row = _existing(alert_db.find_channel(session, channel_id) if _may_be_id(channel_id) else None)
        return _opened(session, row)


def save(
    raw: Mapping[str, str], *, channel_id: int | None = None, version: int | None = None
) -> tuple[ChannelInfo, Secret]:
    """Add a channel, or change one that is still of this version; and a signing secret that was made for it, if any.

    A secret that is left empty stays as it is stored. Raises InvalidInput by field, Conflict, NotFound.
    """
    with transaction() as session:
        row = None if channel_id is None else _held(session, channel_id)
        if row is None and len(alert_db.channels(session)) >= MOST:
            raise InvalidInput({"form": [TOO_MANY]})
        if row is not None and version is not None and row.version != version:
            raise Conflict(STALE)
        kind = ChannelKind(row.kind) if row is not None else _kind(raw.get("kind", ""))
        stored = _values_in(row)[0] if row is not None else {}
        values, made = _checked(session, kind, raw, stored)
        if row is None:
            row = AlertChannel(kind=kind, created_at=clock.now(), is_on=True, version=0)
        row.name, row.version = _name(raw.get("name", ""), kind, row.name or ""), (row.version or 0) + 1
        row.config_id = whole_number(values.get("config_id", ""), 1)
        row.place = _place(session, kind, values, row.config_id)[:LONGEST_PLACE]
        row.target, row.key_id = _sealed(kind, values), current_key_id()
        row.trouble = ""
        session.add(row)
        session.flush()
        audit.record(session, Action.ALERT_CHANNEL_SAVED, f"alert channel {row.name}", [KINDS[kind].title])
        return _info(row), made


def switch(channel_id: int, *, is_on: bool, version: int | None = None) -> ChannelInfo:
    """Turn it on or off. Raises NotFound, Conflict."""
    with transaction() as session:
        row = _held(session, channel_id)
        if version is not None and row.version != version:
            raise Conflict(STALE)
        if row.is_on is not is_on:
            row.is_on, row.version = is_on, row.version + 1
            told = "turned on" if is_on else "turned off"
            audit.record(session, Action.ALERT_CHANNEL_SAVED, f"alert channel {row.name}", [told])
        return _info(row)


def delete(channel_id: int) -> ChannelInfo:
    """Forget it, and what waits for it. Raises NotFound."""
    with transaction() as session:
        row = _held(session, channel_id)
        gone = _info(row)
        audit.record(session, Action.ALERT_CHANNEL_DELETED, f"alert channel {row.name}")
        session.delete(row)
    return gone


def seal_anew() -> int:
    """Seal every channel of a previous key with the current one; how many. For the rotation of keys."""
    with reading() as session:
        due = [row for row in alert_db.channels(session) if row.key_id != current_key_id()]
    count = 0
    for row in due:
        values, problem = _values_in(row)
        if problem:
            continue
        new = _sealed(ChannelKind(row.kind), values), current_key_id()
        with transaction() as session:
            count += alert_db.reseal(session, row.id, (row.target, row.key_id), new)
    return count


def _sealed(kind: ChannelKind, values: Mapping[str, str]) -> str:
    """With its kind inside, so that a target does nothing in another channel's row."""
    return encrypt_smtp_password(json.dumps({"kind": kind.value, **values}))


def _values_in(row: AlertChannel) -> tuple[dict[str, str], str]:
    """What is sealed in a row, or why it cannot be read."""
    if row.key_id not in known_keys():
        return {}, KEY_MISSING
    try:
        values: dict[str, str] = json.loads(opened(row.target, [known_keys()[row.key_id]]))
    except (CannotDecrypt, ValueError):
        return {}, ALTERED
    return (values, "") if values.pop("kind", None) == row.kind else ({}, ALTERED)


def _opened(session: Session, row: AlertChannel) -> OpenChannel:
    values, problem = _values_in(row)
    kind, step = ChannelKind(row.kind), None
    if not problem and kind is ChannelKind.MAIL:
        config = smtp_db.find(session, row.config_id) if row.config_id is not None else None
        step = route.step_of(unsealed(config)) if config else None
        problem = NO_SERVER if step is None else "" if step.settings else step.reason
    target = Target(
        **{name: Secret(values.get(name, "")) for name in ("url", "secret", "token")},
        chat=values.get("chat", ""),
        recipients=tuple(values.get("recipients", "").split()),
    )
    return OpenChannel(id=row.id, kind=kind, name=row.name, target=target, step=step, problem=problem)


def _info(row: AlertChannel) -> ChannelInfo:
    _, problem = _values_in(row)
    if row.kind == ChannelKind.MAIL and row.config_id is None:
        problem = problem or NO_SERVER
    return ChannelInfo(
        id=row.id,
        kind=ChannelKind(row.kind),
        name=row.name,
        place=row.place,
        is_on=row.is_on,
        version=row.version,
        config_id=row.config_id,
        ok_at=row.ok_at,
        failed_at=row.failed_at,
        trouble=problem or row.trouble,
    )


def _held(session: Session, channel_id: int) -> AlertChannel:
    return _existing(alert_db.held_channel(session, channel_id) if _may_be_id(channel_id) else None)


def _existing(row: AlertChannel | None) -> AlertChannel:
    if row is None:
        raise NotFound(NO_SUCH)
    return row


def _may_be_id(channel_id: int) -> bool:
    return 0 < channel_id <= LARGEST


def _kind(text: str) -> ChannelKind:
    if text not in list(ChannelKind):
        raise InvalidInput({"kind": [f"Use one of: {', '.join(ChannelKind)}."]})
    return ChannelKind(text)


def _name(text: str, kind: ChannelKind, stored: str) -> str:
    return " ".join(text.split()) or stored or KINDS[kind].title


def _checked(
    session: Session, kind: ChannelKind, raw: Mapping[str, str], stored: Mapping[str, str]
) -> tuple[dict[str, str], Secret]:
    """What is to be sealed, and a secret that was made for it. Raises InvalidInput."""
    facts, errors, values = KINDS[kind], dict[str, list[str]](), dict[str, str]()
    name = raw.get("name", "")
    if len(" ".join(name.split())) > LONGEST_NAME or not all(letter.isprintable() for letter in name):
        errors["name"] = [f"Use at most {LONGEST_NAME} printable characters."]
    for each in facts.fields:
        typed = raw.get(each, "").strip()
        kept = stored.get(each, "") if each in facts.secrets or each not in raw else ""
        values[each] = typed or kept
        if fault := _fault(session, kind, each, values[each], is_optional=each in facts.optional):
            errors[each] = [fault]
    if errors:
        raise InvalidInput(errors)
    if kind is ChannelKind.MAIL:
        values["recipients"] = " ".join(map(parse_recipient, _listed(values["recipients"])))
    made = Secret("")
    if kind is ChannelKind.WEBHOOK and not values["secret"]:
        made = Secret(SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode())
        values["secret"] = made.reveal()
    return values, made


def _fault(session: Session, kind: ChannelKind, name: str, value: str, *, is_optional: bool) -> str:
    """What is wrong with a field; "" if nothing is."""
    if not value:
        return "" if is_optional else _MISSING[name]
    if name == "config_id":
        config = smtp_db.find(session, whole_number(value, 1) or 0)
        return "" if config is not None and config.account_id is None else _MISSING[name]
    if name in ("url", "recipients"):
        return url_fault(kind, value) if name == "url" else _recipients_fault(value)
    return _text_fault(kind, name, value)


def _text_fault(kind: ChannelKind, name: str, value: str) -> str:
    """The same of a secret, a token or the number of a chat."""
    if len(value) > _LONGEST[name] or not all("!" <= letter <= "~" for letter in value):
        return f"Use at most {_LONGEST[name]} letters, digits and signs, without spaces."
    if name == "secret" and len(signing_key(value)) < _LEAST_KEY:
        return f"Use at least {_LEAST_KEY} characters, or leave it empty to have one made."
    if kind is not ChannelKind.TELEGRAM:
        return ""
    if name == "chat":
        return "" if _CHAT.fullmatch(value) else _NO_CHAT
    return "" if _is_bot_token(value) else _NO_BOT


def _is_bot_token(text: str) -> bool:
    """Of a bot of Telegram: its number, a colon, and letters. It becomes a part of a URL."""
    number, _, key = text.partition(":")
    is_key = bool(key) and all(letter.isalnum() or letter in "-_" for letter in key)
    return is_key and whole_number(number, 1, _LARGEST_BOT) is not None


def _listed(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _recipients_fault(text: str) -> str:
    addresses = _listed(text)
    try:
        for address in addresses:
            parse_recipient(address)
    except InvalidAddress as refused:
        return str(refused)
    return "" if 0 < len(addresses) <= _MOST_RECIPIENTS else f"Enter 1 to {_MOST_RECIPIENTS} addresses."


def _place(session: Session, kind: ChannelKind, values: Mapping[str, str], config_id: int | None) -> str:
    if kind is ChannelKind.TELEGRAM:
        return f"chat {values['chat']}"
    if kind is ChannelKind.MAIL:
        config = smtp_db.find(session, config_id) if config_id else None
        told = ", ".join(map(mask_address, values["recipients"].split()))
        return f"{told} through {config.name if config else 'a deleted server'}"
    return str(web_request.host_of(values["url"], may_be_plain=True, may_be_private=True))


_MISSING: Final = {
    "url": "Enter the URL.",
    "token": "Enter the token.",
    "chat": "Enter the number of the chat, or @name of a public one.",
    "config_id": "Choose a mail server.",
    "recipients": f"Enter 1 to {_MOST_RECIPIENTS} addresses.",
}
# What the Bot API takes: a number of 52 bits, or a public name. All else, such as the bot's token, would be shown.
_CHAT: Final = re.compile(r"-?[1-9][0-9]{0,15}|@[A-Za-z][A-Za-z0-9_]{3,31}", re.ASCII)
_NO_CHAT: Final = "Enter the number of the chat, like -1001234567890, or @name of a public one."
_NO_BOT: Final = "Enter the whole token from @BotFather, like 123456:ABC-DEF."
