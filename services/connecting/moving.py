"""Moving a server over to a sign-in by token, and back: of the global scope, or an account's own.

The password serves until the sign-in by token has passed its test; with the switch nothing of it is left. Whoever goes
back to a password enters one in the server's form.
"""

from dataclasses import dataclass, replace
from itertools import chain, count
from typing import Final

from sqlalchemy.orm import Session

from database import smtp_db
from database.engine import transaction
from database.smtp_db import SmtpConfig
from services.oauth import keeping
from services.oauth.providers import OAuthProvider
from services.outbox import log, promise
from services.personal import own_server
from services.providers import registry
from services.settings import activation, configs, own_rows, sealing, sign_ins
from services.settings.fields import LONGEST_NAME, SmtpChange, parse_change
from services.settings.sealing import StoredConfig
from services.smtp.settings import NO_PASSWORD, TOKEN_METHOD, Security, SmtpSettings
from utils.errors import Conflict, InvalidInput, NotFound

NOT_TESTED: Final = "The sign-in by token has not passed a test with these settings. Test it, then try again."
OVER: Final = "Someone has to sign in again for this server. Connect it again, then test it."
NOTHING_TO_END: Final = "This server is not connected."
# Where tokens of a provider are good, as the registry has it.
_SERVERS: Final = {
    OAuthProvider.MICROSOFT: "smtp.office365.com",
    OAuthProvider.GOOGLE: "smtp.gmail.com",
    OAuthProvider.FASTMAIL: "smtp.fastmail.com",
}
_PERSONAL_MICROSOFT: Final = "smtp-mail.outlook.com"


@dataclass(frozen=True, kw_only=True)
class MailPlace:
    """A mail server for tokens; ``name`` is what its configuration is called."""

    host: str
    port: int
    security: Security
    name: str


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A connection that was ended. ``taken_back_at`` is where whoever had signed in takes back the grant themselves;
    "" where the provider is told. ``was_serving``: the server was signed in to by token.
    """

    taken_back_at: str
    was_serving: bool


def place_for(provider: OAuthProvider, *, is_personal: bool = False) -> MailPlace:
    """The mail server of a provider; ``is_personal``: of mailboxes that belong to no organisation.

    Raises InvalidInput for one that has none of its own.
    """
    host = _SERVERS.get(provider, "")
    if provider is OAuthProvider.MICROSOFT and is_personal:
        host = _PERSONAL_MICROSOFT
    known = registry.for_server(host) if host else None
    if known is None:
        raise InvalidInput({"smtp_server": ["Enter the server’s host name."]})
    return MailPlace(host=host, port=known["port"], security=Security(known["security"]), name=known["name"])


def create_for(email: str, place: MailPlace, *, actor: str = "") -> StoredConfig:
    """Store a mailbox's server that is to be signed in to by token: without a password, and inactive.

    Raises InvalidInput.
    """
    names = (_named(place.name, number) for number in chain([1], count(2)))
    name = next(each for each in names if configs.find_by_name(each) is None)
    return configs.create(_change(email, place, name=name, auth_method=TOKEN_METHOD), actor=actor)


def create_own(account_id: int, email: str, place: MailPlace, *, actor: str = "") -> StoredConfig:
    """The same as an account's own server. Raises InvalidInput, Forbidden, and Conflict if it has one already."""
    if own_server.find(account_id) is not None:
        raise Conflict("You have a server of your own already. Connect that one.")
    change = _change(email, place)
    return own_server.save(account_id, change, actor=actor, by_token=True)


def settings_by_token(stored: StoredConfig) -> SmtpSettings:
    """The settings of a server as they are once it is signed in to by token, for a test. Raises InvalidInput."""
    if not stored.is_usable and stored.condition is not sealing.Condition.UNCONNECTED:
        raise InvalidInput(stored.errors)
    if not stored.row.is_connected:
        raise InvalidInput({"auth_method": [sealing.UNCONNECTED]})
    bearer = keeping.bearer_of(stored.row.id, stored.row.oauth_consent)
    return replace(stored.settings, auth_method=TOKEN_METHOD, password=NO_PASSWORD, bearer=bearer)


def has_to_switch(stored: StoredConfig) -> bool:
    """Whether a passed test of its sign-in by token changes anything: what it signs in with, or that it is used."""
    if not stored.settings.is_by_token:
        return True
    return not stored.is_active and (stored.row.account_id is not None or not activation.takes_over())


def switch_over(config_id: int, proof: str, *, actor: str = "") -> StoredConfig:
    """Sign in by token from the next mail on, and delete the password, in one transaction.

    ``proof`` says that ``settings_by_token`` passed a test (``sealing.issue_proof``); its mark stays. A server that was
    not active is activated if nothing else sends. Raises NotFound, InvalidInput, Forbidden, and Conflict if what was
    tested is not what is stored.
    """
    stored = configs.of_any_scope(config_id)
    if not sealing.is_proof(proof, settings_by_token(stored)):
        raise Conflict(NOT_TESTED)
    known = keeping.find(config_id)
    if known is None or not known.is_connected:  # a last token may live on for minutes, and pass a test
        raise Conflict(OVER)
    if stored.row.account_id is not None:
        return _switch_own(stored, stored.row.account_id, proof, actor)
    is_free = not activation.takes_over()

    def work(session: Session) -> SmtpConfig:
        row = configs.row_of(session, config_id)
        turns_active = row.is_active or (is_free and smtp_db.find_active(session) is None)
        change = parse_change({"auth_method": TOKEN_METHOD, "version": stored.row.version})
        row = configs.written(session, row, change, proof, actor, turns_active=turns_active)
        log.let_go(session, None)  # what waits for it
        return row

    return configs.committed(work)


def disconnect(config_id: int, *, actor: str = "") -> Ended:
    """Forget what was granted for a server, and have it revoked; one that was signed in to so is not used any more.

    A password that still serves goes on doing so. Raises NotFound.
    """
    with transaction() as session:
        row = smtp_db.find(session, config_id)
        if row is None:
            raise NotFound(configs.NO_SUCH)
        if row.account_id is None:
            smtp_db.lock_global(session)
        known = sign_ins.forget(session, row)
        if known is None:
            raise NotFound(NOTHING_TO_END)
        was_serving = row.auth_method == TOKEN_METHOD
        if was_serving and row.account_id is not None:
            own_rows.retire(session, row.account_id, own_rows.NOT_CONNECTED)
        elif was_serving and row.is_active:
            configs.switched(session, row, None, actor, is_active=False)
        promise.end_rest(session, row.account_id)  # another may send by now
    has_more = known.consent or known.registration.is_app_only  # than what was entered here
    return Ended(taken_back_at=sign_ins.taken_back_at(known) if has_more else "", was_serving=was_serving)


def _switch_own(stored: StoredConfig, account_id: int, proof: str, actor: str) -> StoredConfig:
    """As the owner's own save of what is stored there, by its rules."""
    row = stored.row
    names = ("smtp_server", "smtp_port", "smtp_username", "use_tls", "use_ssl", "from_email", "version")
    change = parse_change({name: getattr(row, name) for name in names})
    saved = own_server.save(account_id, change, actor=actor, proof=proof, by_token=True)
    with transaction() as session:
        log.let_go(session, account_id)
    return saved


def _change(email: str, place: MailPlace, **more: object) -> SmtpChange:
    values: dict[str, object] = {
        "smtp_server": place.host,
        "smtp_port": place.port,
        "use_tls": place.security is Security.STARTTLS,
        "use_ssl": place.security is Security.TLS,
        "smtp_username": email,
        "from_email": email,
    }
    return parse_change(values | more)


def _named(name: str, number: int) -> str:
    return name[:LONGEST_NAME] if number == 1 else f"{name[: LONGEST_NAME - 6]} {number}"
