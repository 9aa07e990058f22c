"""Keeping a sign-in by token alive: the token that is good now, renewed by one at a time, whichever process asks.

No database session is open while a provider is asked. Whoever asks holds a lease, so that a token that may be used
once is; one that was killed with it is waited for as long as the lease lasts, and the token that still lives serves
meanwhile.
"""

import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from weakref import WeakValueDictionary

import structlog
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from database import oauth_db, smtp_db, user_db
from database.engine import reading, transaction
from database.oauth_db import OAuthSignIn
from database.smtp_db import SmtpConfig
from services.oauth import grants, sealed
from services.oauth.answers import TokenSet
from services.oauth.client import TokenPolicy, UnusableKey
from services.oauth.failures import About, TokenFailure, TokenFault, as_delivery_error
from services.oauth.providers import Grant, UnusableProvider
from services.oauth.registration import NONE
from services.oauth.sealed import SignInCondition, StoredSignIn, unsealed
from services.smtp.settings import Bearer
from services.web_request import WebReach
from utils import clock
from utils.env_utils import get_settings
from utils.errors import DeliveryError, Fault, Misconfigured, Phase, Temporary
from utils.log_utils import logged
from utils.numbers import whole_number
from utils.secret import Secret

log = structlog.get_logger(__name__)

EARLY: Final = timedelta(minutes=5)  # before its end a token is renewed
LEAST: Final = timedelta(seconds=30)  # that a token still has to live for a sign-in
KEPT_FOR: Final = timedelta(days=7)  # a refresh token is used at least so often: Microsoft's end after 90 days of rest
ONCE: Final = timedelta(hours=1)  # in which a refused token is renewed no more than once
AGAIN: Final = timedelta(hours=1)  # after which what others may have mended at the provider is tried again
ASK_SECONDS: Final = 15.0
_LEASE: Final = timedelta(seconds=ASK_SECONDS + 15)
_WAIT_SECONDS: Final = 25.0  # for another who renews
_LOOK: Final = 0.1, 0.3  # seconds between two looks at whether they have
_PAUSES: Final = 0.2, 1.0, 3.0  # seconds between tries to write down what was given
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=5), timedelta(minutes=5)

NOT_CONNECTED: Final = "This server is not connected yet."

_lines: WeakValueDictionary[int, "_Line"] = WeakValueDictionary()
_lines_lock: Final = threading.Lock()


class _Line:
    """Where the threads of this process wait for one of them to get a token."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


class _Superseded(Exception):
    """What was asked for is of no use any more: the sign-in is gone, or is another by now."""


def bearer_of(config_id: int, consent: int) -> Bearer:
    """How a configuration signs in by token, as a value; each consent makes it another."""
    return Bearer(f"config:{config_id}/{consent}", partial(current_token, config_id), partial(renewed, config_id))


def config_of(bearer: Bearer) -> int | None:
    """The configuration of a value of ``bearer_of``; None of any other."""
    kind, _, place = bearer.grant.partition(":")
    return whole_number(place.partition("/")[0], 1) if kind == "config" else None


def policy(*, for_account: bool = False) -> TokenPolicy:
    """What bounds a request for a token here. HTTP without encryption is for this machine, in development."""
    ours = get_settings()
    allowed = ours.smtp_allowed_accounts if for_account else ours.smtp_allowed
    reach = WebReach(ca_file=ours.smtp_ca_file, dns_resolver=ours.dns_resolver, allowed=allowed)
    return TokenPolicy(reach=reach, seconds=ASK_SECONDS, may_be_plain=not ours.is_production)


def find(config_id: int) -> StoredSignIn | None:
    """How a configuration is signed in to by token, if it is set up for that."""
    with reading() as session:
        found = _rows(session, config_id)
        return unsealed(*found, is_personal=is_personal(session, found[1])) if found else None


def current_token(config_id: int) -> Secret:
    """The access token that is good now, renewed if it ends soon. Raises DeliveryError.

    Misconfigured: somebody has to act. Temporary: the provider is not well, and there is no token that still lives.
    """
    known = _usable(config_id)
    if not _ends_soon(known):
        return known.access_token
    if _lives(known) and not _may_ask(known):
        return known.access_token
    return _in_line(config_id)


def renewed(config_id: int, refused: Secret) -> Secret | None:
    """A token in the place of one that the mail server has refused; None if there is no other. Raises DeliveryError.

    It is asked for once: a server that refuses a new one has another reason.
    """
    with _line_of(config_id):
        known = _usable(config_id)
        # Else another has dropped it meanwhile, and may have renewed it; and one that ended on its way is no riddle.
        if known.access_token == refused and not _ends_soon(known):
            if known.refused_at and timedelta(0) <= clock.now() - known.refused_at < ONCE:
                return None
            _written(partial(_drop, config_id, refused))
    another = current_token(config_id)
    return another if another != refused else None


def living_token(config_id: int) -> Secret | None:
    """The access token, if it is good for a while still; the provider is not asked for another."""
    known = find(config_id)
    return known.access_token if known and known.condition is SignInCondition.GOOD and _lives(known) else None


def keep_all() -> list[int]:
    """Renew every sign-in that has rested for a week, so that none ends by resting. The configurations that from now
    on need somebody to sign in again.
    """
    now = clock.now()
    with reading() as session:
        due = oauth_db.to_renew(session, now - KEPT_FOR, now)
    return [config_id for config_id in due if _kept(config_id)]


def _kept(config_id: int) -> bool:
    """Renew one, whose token may be good still; whether it needs somebody now."""
    try:
        _asked_by_one(config_id, is_forced=True)
    except Misconfigured:
        return True
    except DeliveryError as error:
        log.warning("oauth_not_renewed", config_id=config_id, fault=error.fault.value)
    return False


def ask(known: StoredSignIn, *, by: TokenPolicy | None = None) -> TokenSet:
    """Ask the provider for new tokens, in the way that is registered. Raises TokenFailure.

    Without a refresh token there is nothing to ask with where somebody has to sign in.
    """
    registration, by = known.registration, by or policy(for_account=known.is_personal)
    try:
        provider = registration.token_provider(known.smtp_host, may_be_plain=by.may_be_plain)
        if registration.way is Grant.CLIENT_CREDENTIALS:
            return grants.by_client_credentials(provider, registration.client, by)
        if registration.way is Grant.SERVICE_ACCOUNT:
            return grants.by_service_account(provider, registration.account, known.username, by)
    except (UnusableProvider, UnusableKey):
        raise TokenFailure(TokenFault.KEY) from None
    if not known.refresh_token:
        raise TokenFailure(TokenFault.REFUSED, error="login_required")
    return grants.refresh(provider, registration.client, registration.way, known.refresh_token, by)


def _in_line(config_id: int) -> Secret:
    """The token, after whoever of this process renews it now."""
    with _line_of(config_id):
        return _asked_by_one(config_id)


def _asked_by_one(config_id: int, *, is_forced: bool = False) -> Secret:
    """A token: the present one if somebody has renewed it meanwhile, else a new one, once it is our turn to ask."""
    deadline = time.monotonic() + _WAIT_SECONDS
    seen = _usable(config_id).obtained_at
    while True:
        known = _usable(config_id)
        is_ours = is_forced and known.obtained_at == seen
        if not is_ours and not _ends_soon(known):
            return known.access_token
        if not _may_ask(known):
            return _as_it_is(known)
        lease_id = secrets.token_hex(16)
        if until := _took_lease(config_id, lease_id):
            given = _renewed_under(config_id, lease_id, until, seen if is_forced else None)
            if given:
                return given
        elif _lives(known):
            return known.access_token
        if time.monotonic() >= deadline:
            raise as_delivery_error(TokenFailure(TokenFault.UNAVAILABLE))
        time.sleep(random.uniform(*_LOOK))  # noqa: S311 - no secret


def _renewed_under(config_id: int, lease_id: str, until: datetime, forced_from: datetime | None) -> Secret | None:
    """A token, asked for by the holder of the lease, who looks once more whether there is one. None if the lease was
    over before that: this machine slept, say, and another may ask by now.
    """
    try:
        known = _usable(config_id)
        is_forced = forced_from is not None and known.obtained_at == forced_from
        if not is_forced and not _ends_soon(known):
            return known.access_token
        if clock.now() >= until:
            return None
        try:
            given = ask(known)
        except TokenFailure as failure:
            return _failed(known, failure)
        return _stored(known, given)
    except _Superseded:
        return _usable(config_id).access_token or _as_it_is(_usable(config_id))
    finally:  # else it ends by itself
        with logged(log.warning, "oauth_lease_kept", OperationalError, config_id=config_id), transaction() as session:
            oauth_db.give_lease_back(session, config_id, lease_id)


def _stored(known: StoredSignIn, given: TokenSet) -> Secret:
    """Keep new tokens: the refresh token before may be dead by now."""
    _written(lambda: _write(known, given))
    log.info("oauth_renewed", config_id=known.config_id)
    return given.access_token


def _write(known: StoredSignIn, given: TokenSet) -> None:
    with _held(known) as (row, config):
        refresh = given.refresh_token or known.refresh_token
        sealed.write_tokens(row, config, access=given.access_token, refresh=refresh)
        row.obtained_at, row.access_ends_at = clock.now(), given.expires_at
        row.needs_sign_in, row.trouble, row.trouble_at = False, "", None
        row.failures, row.retry_at = 0, None


def _failed(known: StoredSignIn, failure: TokenFailure) -> Secret:
    """Write down why there is no new token. The one that still lives, if there is one; otherwise raises."""
    now = clock.now()
    is_dead = failure.about is not About.PROVIDER

    def write() -> None:
        with _held(known) as (row, config):
            if failure.refresh_token:  # the one before it may be dead
                sealed.write_tokens(row, config, access=known.access_token, refresh=failure.refresh_token)
            row.trouble, row.trouble_at, row.failures = sealed.code_of(failure.trouble), now, row.failures + 1
            row.needs_sign_in = is_dead
            row.retry_at = _next_try(known, failure, now)

    _written(write)
    log.warning("oauth_not_renewed", config_id=known.config_id, failure=str(failure), needs_sign_in=is_dead)
    if _lives(known):
        return known.access_token
    raise as_delivery_error(failure)


def _next_try(known: StoredSignIn, failure: TokenFailure, now: datetime) -> datetime | None:
    """When to ask again; None where that is of no use until somebody has signed in."""
    if failure.about is About.PROVIDER:
        pause = min(_FIRST_PAUSE * 2.0 ** min(known.failures, 10), _LONGEST_PAUSE)
        return now + max(pause, timedelta(seconds=failure.retry_after or 0))
    if failure.about is About.SIGN_IN and not known.registration.is_app_only:
        return None
    return now + AGAIN


@contextmanager
def _held(known: StoredSignIn) -> Iterator[tuple[OAuthSignIn, SmtpConfig]]:
    """The rows, for writing what came of asking with what was known. Raises _Superseded if that is another by now."""
    with transaction() as session:
        found = _rows(session, known.config_id, is_held=True)
        if found is None:
            raise _Superseded
        now_there = unsealed(*found)
        if not now_there.is_usable or not _is_same(known, now_there):
            raise _Superseded
        yield found


def _is_same(known: StoredSignIn, now_there: StoredSignIn) -> bool:
    """Whether what came of the one may be written over the other. Where nobody signed in, the application has to be the
    same; otherwise a new client secret of it must not lose a refresh token that was given for the old one.
    """
    if now_there.consent != known.consent or now_there.refresh_token != known.refresh_token:
        return False
    return bool(known.refresh_token) or now_there.registration_mac == known.registration_mac


def _drop(config_id: int, refused: Secret) -> None:
    """Forget a token that was refused, if it is the present one still."""
    with transaction() as session:
        found = _rows(session, config_id, is_held=True)
        if found is None or unsealed(*found).access_token != refused:
            return
        row, config = found
        sealed.write_tokens(row, config, access=NONE, refresh=unsealed(row, config).refresh_token)
        row.access_ends_at, row.refused_at = None, clock.now()


def _took_lease(config_id: int, lease_id: str) -> datetime | None:
    """Until when it is ours to ask, None if it is not. A database in which another writes for long is asked again, like
    a taken lease.
    """
    try:
        with transaction() as session:
            # What the clock says while nobody else can write: it may have leapt while this one waited for its turn.
            if oauth_db.held(session, config_id) is None:
                return None
            until = clock.now() + _LEASE
            return until if oauth_db.take_lease(session, config_id, lease_id, until - _LEASE, until) else None
    except OperationalError:
        return None


def _written(work: Callable[[], None]) -> None:
    """Do what writes down what a provider has said, which it may not say again: a busy database is asked more than
    once.
    """
    for pause in _PAUSES:
        try:
            work()
            return
        except OperationalError:
            time.sleep(pause)
    work()


def _usable(config_id: int) -> StoredSignIn:
    """The sign-in as it is stored, if a token can be had of it. Raises DeliveryError."""
    known = find(config_id)
    if known is None or known.consent == 0:
        raise Misconfigured(Phase.SIGN_IN, Fault.TOKEN_DEAD, NOT_CONNECTED)
    if known.condition is not SignInCondition.GOOD:
        raise as_delivery_error(TokenFailure(TokenFault.KEY, kind=known.condition.value))
    if known.needs_sign_in and not _lives(known) and not (known.retry_at and _may_ask(known)):
        raise _told(known)
    return known


def _told(known: StoredSignIn) -> DeliveryError:
    """What was written down of the last time that a token was asked for."""
    kind = Misconfigured if known.needs_sign_in else Temporary
    fault = Fault.TOKEN_DEAD if known.needs_sign_in else Fault.TOKEN_UNAVAILABLE
    error = kind(Phase.SIGN_IN, fault, str(known.trouble or "No token."))
    error.token_trouble = known.trouble
    return error


def _as_it_is(known: StoredSignIn) -> Secret:
    """The token that still lives, while nothing may be asked. Raises DeliveryError."""
    if _lives(known):
        return known.access_token
    raise _told(known)


def _may_ask(known: StoredSignIn) -> bool:
    """Whether the provider may be asked: not soon after it was not well, and not where only a person can help."""
    if known.needs_sign_in and known.retry_at is None:
        return False
    return known.retry_at is None or not clock.now() < known.retry_at <= clock.now() + AGAIN * 24


def _ends_soon(known: StoredSignIn) -> bool:
    """Whether it is time for another token: five minutes before this one's end, or halfway where it lives shorter."""
    if not known.access_token or known.access_ends_at is None or known.obtained_at is None:
        return True
    early = min(EARLY, (known.access_ends_at - known.obtained_at) / 2)
    now = clock.now()
    return now >= known.access_ends_at - early or now < known.obtained_at - EARLY  # a clock that was set back


def _lives(known: StoredSignIn) -> bool:
    ends = known.access_ends_at
    return bool(known.access_token) and ends is not None and clock.now() < ends - min(LEAST, _life(known) / 4)


def _life(known: StoredSignIn) -> timedelta:
    if known.access_ends_at is None or known.obtained_at is None:
        return timedelta(0)
    return max(known.access_ends_at - known.obtained_at, timedelta(0))


@contextmanager
def _line_of(config_id: int) -> Iterator[None]:
    """Let the threads of this process come one after the other: one of them asks, and the others find what it got."""
    with _lines_lock:
        line = _lines.get(config_id) or _lines.setdefault(config_id, _Line())
    if not line.lock.acquire(timeout=2 * _WAIT_SECONDS):
        raise as_delivery_error(TokenFailure(TokenFault.UNAVAILABLE))
    try:
        yield
    finally:
        line.lock.release()


def _rows(session: Session, config_id: int, *, is_held: bool = False) -> tuple[OAuthSignIn, SmtpConfig] | None:
    """The sign-in of a configuration with that, if it has one."""
    row = oauth_db.held(session, config_id) if is_held else oauth_db.find(session, config_id)
    config = smtp_db.find(session, config_id) if row else None
    return (row, config) if row and config else None


def is_personal(session: Session, config: SmtpConfig) -> bool:
    """Whether it is of somebody who is no administrator."""
    owner = user_db.find(session, config.account_id) if config.account_id is not None else None
    return config.account_id is not None and not (owner and owner.is_admin)
