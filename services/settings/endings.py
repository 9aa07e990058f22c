"""What will end of a server as it is stored, or as `.env` has it: its facts, as the calendar asks for them."""

from dataclasses import replace
from typing import Final

from database import oauth_db
from database.engine import reading
from database.oauth_db import OAuthSignIn
from services.connecting import calendar
from services.connecting.calendar import EndAction, Ending, ServerFacts, SignInFacts
from services.oauth.providers import Grant, OAuthProvider
from services.settings import server_habits
from services.settings.route import RouteStep
from services.settings.sealing import StoredConfig
from services.smtp.habits import Habit
from services.smtp.settings import SmtpSettings
from utils import clock

NOT_IN_ENV: Final = "A server in .env can only use a password: add it under Mail servers, or remove it from .env."


def of_step(step: RouteStep) -> tuple[Ending, ...]:
    """The first to end first, of a stored server of a route, or that of `.env`; nothing of one that is skipped."""
    if step.settings is None:
        return ()
    has_password = bool(step.settings.password)
    if step.config_id is None:
        return tuple(_of_env(each) for each in _of(step.settings, has_password=has_password))
    with reading() as session:
        sign_in = oauth_db.find(session, step.config_id)
    return _of(step.settings, has_password=has_password, sign_in=_facts_of(sign_in))


def _of_env(ending: Ending) -> Ending:
    """With what to do where the settings are not Sealpost's to change."""
    if ending.action is EndAction.CONNECT:
        return replace(ending, remedy=f"{NOT_IN_ENV} {ending.remedy}")
    return ending


def of_stored(stored: StoredConfig, sign_in: OAuthSignIn | None) -> tuple[Ending, ...]:
    """The same of a stored one, and of its sign-in by token, which may be prepared while the password still serves."""
    return _of(stored.settings, has_password=bool(stored.row.smtp_password), sign_in=_facts_of(sign_in))


def _of(settings: SmtpSettings, *, has_password: bool, sign_in: SignInFacts | None = None) -> tuple[Ending, ...]:
    facts = ServerFacts(
        host=settings.host,
        has_password=has_password and not settings.is_by_token,
        certificate=settings.client_certificate,
        last_day=server_habits.recall(settings.host, settings.port).name(Habit.CERTIFICATE),
        sign_in=sign_in,
    )
    return calendar.endings(facts, clock.now())


def _facts_of(row: OAuthSignIn | None) -> SignInFacts | None:
    """What is not sealed of it; None also where somebody has written a provider into it that there is not."""
    if row is None or row.provider not in list(OAuthProvider) or row.way not in list(Grant):
        return None
    return SignInFacts(
        provider=OAuthProvider(row.provider),
        way=Grant(row.way),
        granted_at=row.granted_at,
        used_at=row.obtained_at,
        has_refresh_token=bool(row.refresh_token),
        is_testing=row.is_testing,
        needs_sign_in=row.needs_sign_in,
        has_secret=bool(row.client_secret),
        secret_ends_on=row.secret_ends_on,
        certificate=row.client_certificate,
    )
