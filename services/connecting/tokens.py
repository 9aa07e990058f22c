"""What was given for a sign-in: whether it is enough, whose it is, and its keeping."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy.orm import Session

from database import smtp_db
from database.engine import transaction
from database.smtp_db import SmtpConfig
from services import audit
from services.audit import Action
from services.connecting.refusals import ConnectFault, ConnectRefused
from services.oauth import consents, keeping
from services.oauth.answers import TokenSet
from services.oauth.client import TokenPolicy
from services.oauth.consents import Consent, RegistrationChanged
from services.oauth.providers import Grant, OAuthProvider, TokenProvider
from services.oauth.registration import Registration
from services.oauth.sealed import StoredSignIn
from services.outbox import log
from services.settings import configs, sign_ins
from services.settings.config_trail import subject_of
from services.smtp.settings import TOKEN_METHOD, Security
from utils.errors import NotFound

NO_SUCH: Final = "No such configuration."
SHARED: Final = (
    "{mailbox} signed in, and email is sent as {username}. That works if {mailbox} may send as it, as with a shared "
    "mailbox. If the sign-in at the mail server fails, connect again as {username}."
)
UNTOLD: Final = "The provider does not say which mailbox signed in. Test the server to be sure that it is {username}."
_GMAIL: Final = ("gmail.com", "googlemail.com")


@dataclass(frozen=True, kw_only=True)
class NewConnection:
    """A connection that was just made; ``caution`` is what to know about it, or ""."""

    sign_in: StoredSignIn
    caution: str = ""

    @property
    def config_id(self) -> int:
        return self.sign_in.config_id


def registered(config_id: int, way: Grant | None = None) -> StoredSignIn:
    """What is registered for a server, as it can be used in this way. Raises ConnectRefused."""
    known = keeping.find(config_id)
    if known is None:
        raise ConnectRefused(ConnectFault.NOT_REGISTERED)
    if not known.is_usable:
        raise ConnectRefused(ConnectFault.UNREADABLE)
    if way is not None and known.registration.way is not way:
        raise ConnectRefused(ConnectFault.OTHER_WAY)
    if not known.username:
        raise ConnectRefused(ConnectFault.NO_USER_NAME)
    if configs.of_any_scope(config_id).settings.security is Security.NONE:
        raise ConnectRefused(ConnectFault.NO_ENCRYPTION)
    return known


def policy_of(known: StoredSignIn) -> TokenPolicy:
    """What bounds a request for its tokens."""
    return keeping.policy(for_account=known.is_personal)


def register(config_id: int, registration: Registration) -> StoredSignIn:
    """Write down what is registered for a server of any scope. Raises NotFound."""
    with transaction() as session:
        config = _held(session, config_id)
        sign_ins.register(session, config, registration)
        audit.record(session, Action.UPDATED, subject_of(config), ["OAuth registration"])
    return as_stored(config_id)


def as_stored(config_id: int) -> StoredSignIn:
    """As it is stored now. Raises NotFound."""
    known = keeping.find(config_id)
    if known is None:
        raise NotFound(NO_SUCH)
    return known


def obtain(config_id: int, by: str) -> NewConnection:
    """A token for the application itself, which nobody has to sign in for. Raises TokenFailure, ConnectRefused."""
    known = registered(config_id)
    if not known.registration.is_app_only:
        raise ConnectRefused(ConnectFault.OTHER_WAY)
    given = keeping.ask(known, by=policy_of(known))
    provider = known.registration.token_provider(known.smtp_host, may_be_plain=policy_of(known).may_be_plain)
    return kept(known, provider, given, by)


def kept(known: StoredSignIn, provider: TokenProvider, given: TokenSet, by: str) -> NewConnection:
    """Keep what was given, if it is enough and of the mailbox that is meant; else nothing. Raises ConnectRefused."""
    way = known.registration.way
    if _lacks(provider, way, given):
        raise ConnectRefused(ConnectFault.SCOPE_MISSING)
    if not known.registration.is_app_only and not given.refresh_token:
        raise ConnectRefused(ConnectFault.NO_REFRESH_TOKEN)
    mailbox = given.identity.mailbox() if given.identity else ""
    if way is Grant.SERVICE_ACCOUNT:
        mailbox = known.username
    caution = caution_of(known, mailbox)
    if mailbox and caution and known.registration.provider is OAuthProvider.GOOGLE:
        raise ConnectRefused(ConnectFault.OTHER_MAILBOX)

    def note(session: Session, config: SmtpConfig) -> None:
        told = [known.registration.provider.value, way.value, *([f"as {mailbox}"] if mailbox else [])]
        audit.record(session, Action.CONNECTED, subject_of(config), told)
        if config.auth_method == TOKEN_METHOD:  # what waits for it goes at once
            log.let_go(session, config.account_id)

    consent = Consent(given=given, mailbox=mailbox, by=by)
    try:
        sign_in = consents.keep(known.config_id, consent, known.registration_mac, beside=note)
    except RegistrationChanged:
        raise ConnectRefused(ConnectFault.CHANGED) from None
    return NewConnection(sign_in=sign_in, caution=caution)


def same_mailbox(first: str, second: str) -> bool:
    """Whether two addresses are of one mailbox; Gmail reads no dots, and has two domains."""
    return _plain(first) == _plain(second)


def _plain(address: str) -> str:
    local, _, domain = address.strip().casefold().rpartition("@")
    return f"{local.replace('.', '')}@{_GMAIL[0]}" if domain in _GMAIL else f"{local}@{domain}"


def _lacks(provider: TokenProvider, way: Grant, given: TokenSet) -> bool:
    """Whether a permission without which no mail can be sent was left out; providers write the same one differently."""
    if way is Grant.CLIENT_CREDENTIALS:
        return False  # what an application may do is no matter of scopes
    said = {scope.casefold() for scope in given.scopes}
    said |= {scope.rpartition("/")[2] for scope in said if provider.kind is OAuthProvider.MICROSOFT}
    wanted = [scope.casefold() for scope in provider.lacking(way, given.scopes)]
    return any(scope not in said and scope.rpartition("/")[2] not in said for scope in wanted)


def caution_of(known: StoredSignIn, mailbox: str | None = None) -> str:
    """What to know where who signed in, or another ``mailbox``, is not who mail is sent as; "" where it is."""
    mailbox = known.mailbox if mailbox is None else mailbox
    if known.registration.is_app_only:
        return ""
    if not mailbox:
        return UNTOLD.format(username=known.username)
    return "" if same_mailbox(mailbox, known.username) else SHARED.format(mailbox=mailbox, username=known.username)


def _held(session: Session, config_id: int) -> SmtpConfig:
    config = smtp_db.find(session, config_id)
    if config is None:
        raise NotFound(NO_SUCH)
    return config
