"""The server that an account brings: saved, tested and removed by the rules of the administrators' own.

Beyond those it always signs in and is always encrypted, and the policy, a template or an administrator may say more.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sqlalchemy.orm import Session

from database import smtp_db, user_db
from database.engine import reading, reading_in, transaction
from database.smtp_db import SmtpConfig
from database.user_db import Account
from services.outbox import promise
from services.personal import templates
from services.personal.templates import Template
from services.settings import configs, health, own_rows, personal_policy, personal_route, route, rules, usable_senders
from services.settings.fields import SmtpChange
from services.settings.personal_policy import Allowed
from services.settings.personal_route import ALL_OFF, IS_OFF, SWITCHED_OFF, OwnServer, UnusableAccount
from services.settings.rules import SMTPS_PORT
from services.settings.sealing import Condition, StoredConfig, merged_with
from services.settings.table import VALUES
from services.smtp.settings import NOT_CONFIGURED, TOKEN_METHOD, Security, SmtpSettings
from utils.addresses import InvalidAddress, parse_address
from utils.errors import Conflict, Forbidden, InvalidInput, NotFound

GONE: Final = "This account is disabled or deleted, so it has no mail server."
NOT_NAMED: Final = "Accounts may only use these mail servers: {}."
OAUTH_ONLY: Final = "Accounts may sign in to their servers by OAuth only. Connect the server instead."
NO_ENCRYPTION: Final = "Choose STARTTLS or TLS: a password is never sent unencrypted."
NOT_YOURS: Final = "Use your user name if it is an address, your account’s address, or one that you have confirmed."
SEE_WHY: Final = "Test it to see what to do."
TAKEN: Final = frozenset(
    "smtp_server smtp_port use_tls use_ssl smtp_username smtp_password from_email from_name reply_to version".split()
)
_REQUIRED: Final = {
    "smtp_server": "Enter the server’s host name.",
    "smtp_port": "Enter the port, like 587.",
    "smtp_username": "Enter the user name for this password.",
}


@dataclass(frozen=True)
class Tried:
    """Settings to test, and the stored server that they are, or are a change of. ``address`` is the account's own."""

    settings: SmtpSettings
    stored: StoredConfig | None
    address: str


class OwnStatus(StrEnum):
    """How an account's own server stands."""

    NONE = "none"
    IN_USE = "in_use"
    FAILING = "failing"  # in use, and its last mail or test did not go through
    BROKEN = "broken"  # it cannot be opened, or a value of it is not valid
    NOT_USED = "not_used"  # because of what somebody decided, or a changed address


@dataclass(frozen=True)
class Serving:
    """What sends for an account. ``settings`` is None where nothing can.

    ``own`` is its own server, ``status`` how that stands and ``reason`` why, "" if all is well.
    """

    settings: SmtpSettings | None
    is_global: bool
    own: StoredConfig | None
    status: OwnStatus
    reason: str
    needs_sign_in: bool = False

    @property
    def has_password(self) -> bool:
        """Whether one is stored, be it that it cannot be opened now."""
        if self.own is not None and not self.is_global:
            return bool(self.own.row.smtp_password)
        return self.settings is not None and bool(self.settings.password)


def serving(account_id: int) -> Serving:
    """What sends for an account now; its own server also where that is not used, and no other may send in its place."""
    try:
        found = personal_route.find(account_id)
    except UnusableAccount:
        raise Forbidden(GONE) from None
    own, (status, reason, needs_sign_in) = found.stored, _standing(found)
    if own is not None and (found.is_used or found.blocks):
        return Serving(own.settings, False, own, status, reason, needs_sign_in)
    step = route.first_of(route.steps(account_id))
    return Serving(step.settings if step else None, True, own, status, reason, needs_sign_in)


def find(account_id: int, session: Session | None = None) -> StoredConfig | None:
    """The account's own server, in use or not; read in the caller's session if there is one."""
    with reading_in(session) as own:
        row = smtp_db.find_own(own, account_id)
        return configs.as_used(own, row) if row else None


def save(
    account_id: int, change: SmtpChange, *, actor: str = "", proof: str = "", by_token: bool = False
) -> StoredConfig:
    """Store the account's own server, or change it; it is in use then. Server, port and user name must be given.

    ``by_token``: it is signed in to by token from now on, and not in use before somebody has agreed to that.
    Raises InvalidInput, Forbidden, or Conflict if ``change.version`` is no longer the stored one.
    """

    def work(session: Session) -> SmtpConfig:
        owner = _owner(session, account_id, held=True)
        row = smtp_db.find_own(session, account_id)
        if row is None and change.given("version"):
            raise Conflict(configs.STALE)
        stored = configs.as_used(session, row) if row else None
        completed = _completed(session, owner, stored, change, is_whole=True, by_token=by_token)
        promise.end_rest(session, account_id)
        is_connected = stored is not None and stored.row.is_connected
        is_used = is_connected or not _is_by_token(stored, completed)
        row = configs.written(session, row, completed, proof, actor, turns_active=is_used, owner=owner)
        if not is_used:
            row.inactive_reason = own_rows.NOT_CONNECTED
        return row

    settings = _previewed(account_id, change, is_whole=True, by_token=by_token).settings
    rules.look_at_place(settings.host, is_personal=settings.is_personal)  # before there is a transaction
    return configs.committed(work, lock=_lock_nothing)


def preview(account_id: int, change: SmtpChange | None = None) -> Tried:
    """What is stored, or with a change what that merged over it would give, for a test. Stored nowhere.

    Raises NotFound if nothing is stored and nothing given, InvalidInput, Forbidden.
    """
    if change is not None and change.model_fields_set:
        return _previewed(account_id, change, is_whole=False)
    with reading() as session:
        owner = _owner(session, account_id)
        stored = find(account_id, session)
        if stored is None:
            raise NotFound(NOT_CONFIGURED)
        if not stored.is_usable:
            raise InvalidInput(stored.errors)
        _check_policy(session, stored.settings.host, by_token=stored.settings.is_by_token)
    rules.check_place(stored.settings)
    return Tried(stored.settings, stored, owner.email)


def check_connecting(account_id: int, stored: StoredConfig) -> None:
    """Whether the account may have this server, and sign in to it by token. Raises InvalidInput, Forbidden."""
    with reading() as session:
        _owner(session, account_id)
        _check_policy(session, stored.settings.host, by_token=True)
    rules.check_place(stored.settings)


def delete(account_id: int, *, version: int | None = None) -> bool:
    """Forget the account's own server, its sealed password included; whether there was one. Raises Conflict."""
    with transaction() as session:
        user_db.lock(session, account_id)
        row = smtp_db.find_own(session, account_id)
        if row is None:
            return False
        configs.forget(session, row, version)
        promise.end_rest(session, account_id)
        return True


def _standing(found: OwnServer) -> tuple[OwnStatus, str, bool]:
    own = found.stored
    if own is None:
        return OwnStatus.NONE, "", False
    if not found.is_used:
        return OwnStatus.BROKEN if found.is_broken else OwnStatus.NOT_USED, found.reason, False
    known = health.of_config(own)
    if known.has_trouble:
        advice = "" if known.needs_sign_in else f" {SEE_WHY}"
        return OwnStatus.FAILING, f"{known.sentence}{advice}", known.needs_sign_in
    return OwnStatus.IN_USE, known.sentence, known.needs_sign_in


def _previewed(account_id: int, change: SmtpChange, *, is_whole: bool, by_token: bool = False) -> Tried:
    with reading() as session:
        owner = _owner(session, account_id)
        stored = find(account_id, session)
        completed = _completed(session, owner, stored, change, is_whole=is_whole, by_token=by_token)
        settings = merged_with(stored, completed, is_personal=not owner.is_admin)
        return Tried(settings, stored, owner.email)


def _owner(session: Session, account_id: int, *, held: bool = False) -> Account:
    """The account, which may have a server of its own. Raises Forbidden.

    Held until the transaction's end, one change of its server waits for another, and for the account's own end.
    """
    owner = (user_db.lock if held else user_db.find)(session, account_id)
    if owner is None or owner.disabled_at:
        raise Forbidden(GONE)
    if personal_policy.current(session).allowed is Allowed.OFF:
        raise Forbidden(ALL_OFF)
    if owner.personal_smtp == SWITCHED_OFF:
        raise Forbidden(IS_OFF)
    return owner


def _lock_nothing(_session: Session) -> None:
    """What ``_owner`` holds is enough: servers of other accounts are of no matter."""


def _is_by_token(stored: StoredConfig | None, change: SmtpChange) -> bool:
    """Whether it is signed in to by token after this change: until a password is entered."""
    if change.given("auth_method"):
        return change.auth_method == TOKEN_METHOD
    return stored is not None and stored.settings.is_by_token and not change.smtp_password


def _check_policy(session: Session, host: str, *, by_token: bool) -> None:
    policy = personal_policy.current(session)
    if not policy.allows(host):
        raise InvalidInput({"smtp_server": [NOT_NAMED.format(", ".join(policy.hosts) or "none")]})
    if not policy.allows_sign_in(by_token=by_token):
        raise InvalidInput({"smtp_password": [OAUTH_ONLY]})


def _completed(
    session: Session,
    owner: Account,
    stored: StoredConfig | None,
    change: SmtpChange,
    *,
    is_whole: bool,
    by_token: bool = False,
) -> SmtpChange:
    """The change with all that it leaves to a template, to the port or to the user name.

    ``is_whole``: it names server, port and user name, unless a template does. Otherwise they are as stored.
    """
    if unknown := change.model_fields_set - TAKEN:
        raise InvalidInput({name: ["Unknown field."] for name in sorted(unknown)})
    if by_token:
        change = change.model_copy(update={"auth_method": TOKEN_METHOD})
    before = stored if not is_whole else None
    username = change.smtp_username
    if not change.given("smtp_username"):
        username = before.settings.username if before else owner.email
    template = templates.for_addresses(username, session=session)
    if template:
        change = _by_template(template, change, username)
    else:
        change = _with_mode(change, before)
    missing = [name for name in _REQUIRED if not getattr(change, name) and not (before and not change.given(name))]
    if missing:
        raise InvalidInput({name: [_REQUIRED[name]] for name in missing})
    host = change.smtp_server or (stored.settings.host if stored else "")
    _check_policy(session, host, by_token=_is_by_token(stored, change))
    if stored and not stored.is_usable and stored.condition is not Condition.UNCONNECTED:
        change = _without_doubt(stored, change)
    return _with_sender(session, owner, stored, change, username)


def _without_doubt(stored: StoredConfig, change: SmtpChange) -> SmtpChange:
    """Of a row that cannot be used nothing stays that its owner could not enter again."""
    absent = [name for name in VALUES if name not in _REQUIRED and name != "from_email" and not change.given(name)]
    rest: dict[str, object] = {name: getattr(change, name) for name in absent}
    if stored.row.client_certificate or stored.row.client_key:
        rest["remove_client_certificate"] = True
    return change.model_copy(update=rest)


def _by_template(template: Template, change: SmtpChange, username: str) -> SmtpChange:
    """The server that an administrator fixed for the domain of this user name. Raises InvalidInput for any other."""
    fixed = {"smtp_server": template.host, "smtp_port": template.port} | _flags(template.security)
    words = {
        "smtp_server": f"server {template.host}",
        "smtp_port": f"port {template.port}",
        **dict.fromkeys(_flags(template.security), template.mode_name),
    }
    others = [name for name, value in fixed.items() if change.given(name) and getattr(change, name) != value]
    if "use_tls" in others and "use_ssl" in others:
        others.remove("use_ssl")  # one choice, told once
    if others:
        raise InvalidInput(
            {name: [f"An administrator has set {words[name]} for {template.domain}. Use that."] for name in others}
        )
    return change.model_copy(update=fixed | {"smtp_username": username})


def _with_mode(change: SmtpChange, stored: StoredConfig | None) -> SmtpChange:
    """Without a choice it is that of the port: TLS at 465, STARTTLS at others; that of the stored port is known."""
    if change.use_tls or change.use_ssl:
        return change  # a choice of both is refused with all other rules
    if change.given("use_tls") and change.given("use_ssl"):
        raise InvalidInput({"use_tls": [NO_ENCRYPTION]})
    if stored and (not change.given("smtp_port") or change.smtp_port == stored.settings.port):
        return change.model_copy(update=_flags(stored.settings.security))
    return change.model_copy(update=_flags(Security.TLS if change.smtp_port == SMTPS_PORT else Security.STARTTLS))


def _flags(security: Security) -> dict[str, object]:
    return {"use_tls": security is not Security.TLS, "use_ssl": security is Security.TLS}


def _with_sender(
    session: Session, owner: Account, stored: StoredConfig | None, change: SmtpChange, username: str
) -> SmtpChange:
    """Where no From is chosen, the user name is it, if that is an address, or else the account's own address."""

    def is_usable(email: str) -> bool:
        return usable_senders.may_use(owner.id, email, session, login=username)

    if change.given("from_email"):
        if not is_usable(change.from_email):
            raise InvalidInput({"from_email": [NOT_YOURS]})
        return change
    chosen = _usual_sender(username, owner)
    if stored and stored.is_usable:
        before = stored.settings
        if before.from_email != _usual_sender(before.username, owner) and is_usable(before.from_email):
            chosen = before.from_email
    return change.model_copy(update={"from_email": chosen})


def _usual_sender(username: str, owner: Account) -> str:
    try:
        return parse_address(username)
    except InvalidAddress:
        return owner.email
