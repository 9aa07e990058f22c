"""Sign-ins under way: begun in a session, at a provider's page for minutes, and ended once, by whoever began them.

No database session is open while a provider is asked. What a browser comes back with counts once, whatever it is: what
waits for it is taken out first.
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from database import oauth_db, smtp_db
from database.engine import reading, transaction
from database.oauth_db import PendingOAuth
from services.connecting import tokens
from services.connecting.refusals import ConnectFault, ConnectRefused
from services.connecting.tokens import NewConnection
from services.oauth import grants, keeping, redirect
from services.oauth.answers import DeviceCode, StillWaiting
from services.oauth.failures import About, TokenFailure, TokenFault
from services.oauth.providers import Grant, TokenProvider, UnusableProvider
from services.oauth.redirect import SIGN_IN_LIFE, PendingSignIn
from services.oauth.registration import Registration
from services.oauth.sealed import StoredSignIn
from utils import clock
from utils.encryption_utils import CannotDecrypt, digest, encrypt_smtp_password, known_keys, mac, opened
from utils.errors import NotFound
from utils.secret import Secret

_BEGINNER: Final = "oauth-beginner-v1"
_MOST_STATES: Final = 2  # of one answer that are looked up; more than one is none of ours
_LONGEST_PAUSE: Final = 60  # seconds
_ASKED: Final = timedelta(seconds=keeping.ASK_SECONDS + 5)  # for which nobody else asks with the same code

CameBack = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Beginner:
    """Who begins a sign-in, and alone may end it: ``place`` is one session, one API token, one run of a command."""

    place: str
    name: str

    @property
    def digest(self) -> str:
        """What is stored of it."""
        return mac(_BEGINNER, [self.place])


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A sign-in that was under way, and is no more."""

    config_id: int
    beginner_digest: str
    verifier: str
    nonce: str
    redirect_uri: str
    registration_mac: str
    began_at: datetime

    def is_of(self, beginner: Beginner) -> bool:
        """Whether this is who began it."""
        return hmac.compare_digest(self.beginner_digest, beginner.digest)


@dataclass(frozen=True, kw_only=True)
class ShownDevice:
    """A code that someone is to type at the provider's page."""

    user_code: str
    verification_url: str
    ends_at: datetime
    interval: int
    next_at: datetime


def begin_redirect(config_id: int, beginner: Beginner, redirect_uri: str) -> str:
    """The provider's page to send the browser to; it comes back to ``redirect_uri``, within ten minutes.

    One that this beginner had begun before is given up. Raises ConnectRefused, TokenFailure, NotFound.
    """
    known = tokens.registered(config_id, Grant.CODE)
    provider = _provider(known)
    now = clock.now()
    begun = redirect.begin(redirect_uri, now)
    hint = known.username if "@" in known.username else ""
    url = grants.authorization_url(provider, known.registration.client, begun, hint)
    row = _row(known, beginner, now, now + SIGN_IN_LIFE)
    row.state_digest = digest(begun.state.reveal())
    row.verifier = encrypt_smtp_password(begun.verifier.reveal())
    row.nonce, row.redirect_uri = begun.nonce, redirect_uri
    _put(row)
    return url


def taken_out(answer: CameBack) -> Begun | None:
    """The sign-in that a browser came back of, which from here on nobody can come back of again; None if there is none.

    Whether the one who came back has begun it, and in time, is for ``finish`` to say.
    """
    found = None
    for state in answer.get("state", ())[:_MOST_STATES]:
        with transaction() as session:
            row = oauth_db.find_pending(session, digest(state))
            if row is None:
                continue
            found = Begun(
                config_id=row.config_id,
                beginner_digest=row.session_digest,
                verifier=row.verifier,
                nonce=row.nonce,
                redirect_uri=row.redirect_uri,
                registration_mac=row.registration_mac,
                began_at=row.began_at,
            )
            session.delete(row)
    return found


def finish(begun: Begun | None, answer: CameBack, beginner: Beginner) -> NewConnection:
    """Exchange the code that a browser came back with, and keep what is given for it.

    Raises TokenFailure, with STATE where the answer is not of this sign-in of this beginner, or late; ConnectRefused.
    """
    if begun is None or not begun.is_of(beginner):
        raise TokenFailure(TokenFault.STATE)
    try:
        verifier = Secret(opened(begun.verifier, known_keys().values()))
    except CannotDecrypt:  # the key was changed meanwhile, and the one before is not at hand
        raise TokenFailure(TokenFault.STATE) from None
    sign_in = PendingSignIn(
        state=Secret("".join(answer.get("state", ())[:1])),
        verifier=verifier,
        nonce=begun.nonce,
        redirect_uri=begun.redirect_uri,
        began_at=begun.began_at,
    )
    known = tokens.registered(begun.config_id, Grant.CODE)
    provider = _provider(known)
    code = redirect.code_of(answer, sign_in, provider.issuer, clock.now())
    if known.registration_mac != begun.registration_mac:
        raise ConnectRefused(ConnectFault.CHANGED)
    given = grants.exchange_code(provider, known.registration.client, sign_in, code, tokens.policy_of(known))
    return tokens.kept(known, provider, given, beginner.name)


def paste(config_id: int, address: str, beginner: Beginner) -> NewConnection:
    """The same with the address at which a browser came to its end. Raises TokenFailure, ConnectRefused."""
    answer = redirect.pasted(address)
    if not answer:
        raise ConnectRefused(ConnectFault.NOT_AN_ADDRESS)
    begun = taken_out(answer)
    if begun is not None and begun.config_id != config_id:
        raise TokenFailure(TokenFault.STATE)
    return finish(begun, answer, beginner)


def begin_device(config_id: int, beginner: Beginner) -> ShownDevice:
    """Get a code for someone to type at the provider's page. Raises ConnectRefused, TokenFailure, NotFound."""
    known = tokens.registered(config_id, Grant.DEVICE)
    provider = _provider(known)
    code = grants.begin_device(provider, known.registration.client, tokens.policy_of(known))
    now = clock.now()
    row = _row(known, beginner, now, code.expires_at)
    row.device_code = encrypt_smtp_password(code.device_code.reveal())
    row.user_code, row.verification_url = code.user_code, code.verification_url
    row.interval, row.next_at = code.interval, now + timedelta(seconds=code.interval)
    _put(row)
    return _shown(row)


def device_under_way(config_id: int, beginner: Beginner) -> ShownDevice | None:
    """The code that this beginner waits for, if there is one."""
    with reading() as session:
        row = oauth_db.pending_of(session, config_id, beginner.digest, Grant.DEVICE)
        return _shown(row) if row and row.ends_at > clock.now() else None


def poll_device(config_id: int, beginner: Beginner) -> NewConnection | StillWaiting:
    """Look whether the code was typed; if not, after how many seconds to look again.

    The provider is asked no oftener than it wants, whoever asks here. Raises ConnectRefused, TokenFailure.
    """
    known = tokens.registered(config_id, Grant.DEVICE)
    provider, turn = _provider(known), _turn(known, beginner)
    if isinstance(turn, StillWaiting):
        return turn
    row_id, sealed_code, shown = turn
    interval = shown.interval
    try:
        code = _device_code(sealed_code, shown)
        given = grants.poll_device(provider, known.registration.client, code, interval, tokens.policy_of(known))
    except TokenFailure as failure:
        if failure.about is not About.PROVIDER:
            _settle(row_id, None)
            raise
        given = StillWaiting(min(2 * interval, _LONGEST_PAUSE))  # RFC 8628 3.5: a provider that is not well
        _settle(row_id, given.interval, interval)
        return given
    if isinstance(given, StillWaiting):
        _settle(row_id, given.interval)
        return given
    if not _settle(row_id, None):  # it was given up meanwhile
        raise TokenFailure(TokenFault.STATE)
    return tokens.kept(known, provider, given, beginner.name)


def _turn(known: StoredSignIn, beginner: Beginner) -> StillWaiting | tuple[int, str, ShownDevice]:
    """The right to ask with a code: its row, what is sealed there, and what is shown; or how long it is another's.

    One that leads to nothing is deleted. Raises ConnectRefused, TokenFailure.
    """
    now = clock.now()
    with transaction() as session:
        row = oauth_db.pending_of(session, known.config_id, beginner.digest, Grant.DEVICE)
        is_over = row is None or row.ends_at <= now
        is_changed = row is not None and row.registration_mac != known.registration_mac
        if row is not None and not is_over and not is_changed:
            if row.next_at and now < row.next_at <= now + _ASKED + timedelta(seconds=_LONGEST_PAUSE):
                return StillWaiting(max(1, -((now - row.next_at) // timedelta(seconds=1))))
            row.next_at = now + _ASKED
            return row.id, row.device_code, _shown(row)
        if row is not None:
            session.delete(row)
    if is_over:
        raise TokenFailure(TokenFault.REFUSED, error="expired_token")
    raise ConnectRefused(ConnectFault.CHANGED)


def give_up(config_id: int, beginner: Beginner) -> None:
    """Forget what this beginner has under way for a server."""
    with transaction() as session:
        oauth_db.forget_pending_of(session, config_id, beginner.digest)


def _provider(known: StoredSignIn) -> TokenProvider:
    return provider_of(known.registration, known.smtp_host)


def provider_of(registration: Registration, smtp_host: str) -> TokenProvider:
    """Where tokens are from. Raises ConnectRefused where what is registered does not fit the server."""
    try:
        return registration.token_provider(smtp_host, may_be_plain=keeping.policy().may_be_plain)
    except UnusableProvider:
        raise ConnectRefused(ConnectFault.UNFIT) from None


def _row(known: StoredSignIn, beginner: Beginner, now: datetime, ends_at: datetime) -> PendingOAuth:
    return PendingOAuth(
        config_id=known.config_id,
        way=known.registration.way.value,
        session_digest=beginner.digest,
        actor=beginner.name[:64],
        registration_mac=known.registration_mac,
        began_at=now,
        ends_at=ends_at,
        interval=0,
    )


def _put(row: PendingOAuth) -> None:
    """In the place of what the same beginner has begun before. Raises NotFound if the server was deleted meanwhile."""
    with transaction() as session:
        if not smtp_db.hold(session, row.config_id):
            raise NotFound(tokens.NO_SUCH)
        oauth_db.forget_pending_of(session, row.config_id, row.session_digest)
        session.add(row)
        session.flush()
        session.expunge(row)


def _shown(row: PendingOAuth) -> ShownDevice:
    return ShownDevice(
        user_code=row.user_code,
        verification_url=row.verification_url,
        ends_at=row.ends_at,
        interval=row.interval,
        next_at=row.next_at or row.began_at,
    )


def _device_code(sealed_code: str, shown: ShownDevice) -> DeviceCode:
    try:
        code = Secret(opened(sealed_code, known_keys().values()))
    except CannotDecrypt:
        raise TokenFailure(TokenFault.STATE) from None
    return DeviceCode(
        device_code=code,
        user_code=shown.user_code,
        verification_url=shown.verification_url,
        expires_at=shown.ends_at,
        interval=shown.interval,
    )


def _settle(row_id: int, seconds: int | None, interval: int | None = None) -> bool:
    """Ask again in so many seconds, or never; False if the row is gone. ``interval``: it stays what it was."""
    with transaction() as session:
        row = session.get(PendingOAuth, row_id, with_for_update=True)
        if row is None:
            return False
        if seconds is None:
            session.delete(row)
        else:
            row.interval, row.next_at = interval or seconds, clock.now() + timedelta(seconds=seconds)
        return True
