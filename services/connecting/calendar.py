"""What about a server will end, when, and what to do before: pure rules, asked by pages, API, readiness and notices.

Days are those of UTC, and counted from day to day: what ends tomorrow ends in one day, whatever the hour.
"""

import json
from calendar import monthrange
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Final

from typing_extensions import TypedDict

from services.oauth.providers import Grant, OAuthProvider
from services.smtp import client_certificate
from services.smtp.client_certificate import SOON
from utils.numbers import counted

DATA: Final = Path(__file__).parent / "data" / "password_ends.json"
NOTICE_DAYS: Final = (30, 7, 1)  # before the end, on which people are told
ENDED: Final = 0  # among them: it has ended
MICROSOFT_UNUSED: Final = timedelta(days=90)  # each renewal gives a refresh token that lives so long
GOOGLE_UNUSED: Final = 6  # months without a renewal
GOOGLE_TESTING: Final = timedelta(days=7)  # after the consent, whatever is renewed in between

_PROVIDERS: Final = {
    OAuthProvider.MICROSOFT: "Microsoft",
    OAuthProvider.GOOGLE: "Google",
    OAuthProvider.FASTMAIL: "Fastmail",
    OAuthProvider.CUSTOM: "the provider",
}
_SIGNED_IN: Final = (Grant.CODE, Grant.DEVICE)  # by someone, so that there is a refresh token
HORIZON_DAYS: Final = 913  # a client secret of Microsoft lives for two years; what is later nobody plans for


class EndOf(StrEnum):
    """What ends."""

    REFRESH_TOKEN = "refresh_token"  # noqa: S105 - no password
    CLIENT_SECRET = "client_secret"  # noqa: S105
    OAUTH_CERTIFICATE = "oauth_certificate"  # of the registration at the provider
    CLIENT_CERTIFICATE = "client_certificate"  # that we show the mail server
    SERVER_CERTIFICATE = "server_certificate"
    PASSWORD = "password"  # noqa: S105 - that the provider still accepts one


class Certainty(StrEnum):
    """How sure it is that it ends then."""

    CERTAIN = "certain"
    UNLESS_RENEWED = "unless_renewed"  # each renewal moves it
    SEEN = "seen"  # as the server showed it last; it may have been replaced since
    ANNOUNCED = "announced"  # by the provider, for those of whom it is true


class EndAction(StrEnum):
    """Where it can be mended. NONE: nowhere at Sealpost."""

    NONE = ""
    CONNECT = "connect"  # sign in again, or change the registration
    EDIT = "edit"  # the server's settings


@dataclass(frozen=True, kw_only=True)
class Ending:
    """Something that ends on a day, in UTC, and at a moment where that is known; ``words`` say so in a sentence.

    ``remedy`` says what to do, and ``action`` where. ``days_left`` is 0 on the day itself. ``is_over``: it has ended;
    ``is_close``: it has, or will within two weeks.
    """

    what: EndOf
    ends_on: date
    ends_at: datetime | None = None
    days_left: int
    is_over: bool
    is_close: bool
    certainty: Certainty
    words: str
    remedy: str
    action: EndAction

    @property
    def sentence(self) -> str:
        return f"{self.words} {self.remedy}"

    @property
    def when(self) -> str:
        """How far away it is, as a label."""
        if self.is_over:
            return f"Since {self.ends_on}" if self.certainty is Certainty.ANNOUNCED else "Ended"
        return f"In {counted(self.days_left, 'day')}" if self.days_left else "Today"

    @property
    def level(self) -> str:
        """The look of it on a page: error, warning, info or empty."""
        if self.is_over:
            return "error" if self.is_soon else "info"
        return "warning" if self.is_near else "empty"

    @property
    def is_soon(self) -> bool:
        """Whether it is to be said of the server wherever that is named.

        Whether a provider still accepts passwords after its date is seen from the server itself.
        """
        return self.is_close and not (self.is_over and self.certainty is Certainty.ANNOUNCED)

    @property
    def is_near(self) -> bool:
        """Whether it is time to do something: since the first notice of it."""
        return self.is_soon or (not self.is_over and self.days_left <= max(NOTICE_DAYS))

    @property
    def notice(self) -> int | None:
        """Which notice fits today: so many days before the end, ``ENDED``, or None."""
        if self.is_over:
            return ENDED
        if self.days_left < min(NOTICE_DAYS):  # the day itself: too late for the last, too early for that it is over
            return None
        return min((days for days in NOTICE_DAYS if self.days_left <= days), default=None)

    @property
    def notice_until(self) -> datetime | None:
        """When the notice that fits today is of no use any more: another fits then, or none. None: it stays true."""
        notice = self.notice
        if notice is None or notice == ENDED:
            return None
        later = max((days for days in NOTICE_DAYS if days < notice), default=0)
        return midnight(self.ends_on - timedelta(days=later))


@dataclass(frozen=True, kw_only=True)
class SignInFacts:
    """What the ends of a sign-in by token follow from; ``used_at`` is when the refresh token was used last, or made.

    ``needs_sign_in``: it is dead already, which is told elsewhere.
    """

    provider: OAuthProvider
    way: Grant
    granted_at: datetime | None = None
    used_at: datetime | None = None
    has_refresh_token: bool = False
    is_testing: bool = False
    needs_sign_in: bool = False
    has_secret: bool = False
    secret_ends_on: date | None = None
    certificate: str = ""


@dataclass(frozen=True, kw_only=True)
class ServerFacts:
    """What the ends of a server follow from.

    ``certificate`` is the client certificate, ``last_day`` the one of the certificate that the server showed last, as
    2026-12-31. ``has_password``: it is signed in to with one.
    """

    host: str
    has_password: bool = False
    certificate: str = ""
    last_day: str = ""
    sign_in: SignInFacts | None = None


def endings(server: ServerFacts, now: datetime) -> tuple[Ending, ...]:
    """All that is known to end about a server within two years and a half, the first to end first."""
    found = [*_of_certificates(server, now), *_of_password(server, now)]
    if server.sign_in:
        found += [*_of_refresh_token(server.sign_in, now), *_of_registration(server.sign_in, now)]
    return in_order(each for each in found if each.days_left <= HORIZON_DAYS)


def in_order(found: Iterable[Ending]) -> tuple[Ending, ...]:
    """The first to end first."""
    return tuple(sorted(found, key=lambda each: (each.ends_on, each.ends_at or _last_moment(each.ends_on), each.what)))


def midnight(day: date) -> datetime:
    """The moment with which a day begins."""
    return datetime.combine(day, time(), UTC)


def _of_certificates(server: ServerFacts, now: datetime) -> Iterator[Ending]:
    own = client_certificate.facts_of(server.certificate)
    if own:
        words, remedy = client_certificate.told_of_end(own.ends, now)
        yield _at(own.ends, now, EndOf.CLIENT_CERTIFICATE, words, remedy, action=EndAction.EDIT)
    last_day = _day(server.last_day)
    if last_day:
        is_over = last_day < _today(now)
        words = f"The server’s certificate {'expired' if is_over else 'expires'} on {last_day} UTC."
        remedy = f"Its administrator must renew it{'' if is_over else ' before then'}."
        yield _on(last_day, now, EndOf.SERVER_CERTIFICATE, words, remedy, certainty=Certainty.SEEN)


def _of_password(server: ServerFacts, now: datetime) -> Iterator[Ending]:
    known = _password_ends().get(server.host.rstrip(".").lower()) if server.has_password else None
    if known:
        ends_on = date.fromisoformat(known["ends_on"])
        told = known["after"] if ends_on < _today(now) else known["before"]
        action = EndAction.CONNECT
        yield _on(
            ends_on, now, EndOf.PASSWORD, told["text"], told["remedy"], certainty=Certainty.ANNOUNCED, action=action
        )


def _of_refresh_token(sign_in: SignInFacts, now: datetime) -> Iterator[Ending]:
    if not sign_in.has_refresh_token or sign_in.needs_sign_in or sign_in.way not in _SIGNED_IN:
        return
    used_at = max((at for at in (sign_in.used_at, sign_in.granted_at) if at), default=None)
    name = _PROVIDERS[sign_in.provider]
    if sign_in.provider is OAuthProvider.GOOGLE and sign_in.is_testing:
        ends_at = sign_in.granted_at + GOOGLE_TESTING if sign_in.granted_at else None
        why = "the app there is in Testing, so its sign-ins end after 7 days"
        remedy = "At Google, publish the app or make it Internal. Then choose Connect again."
        certainty = Certainty.CERTAIN
    else:
        ends_at = _unused_until(sign_in.provider, used_at) if used_at else None
        why = "no token was renewed for too long" if ends_at and ends_at <= now else "unless a token is renewed before"
        remedy = "Sealpost renews it every week. If it has not, see what is wrong and choose Connect again."
        certainty = Certainty.UNLESS_RENEWED
    if ends_at is None:
        return
    is_over = ends_at <= now
    if is_over:
        remedy = "Choose Connect again." if certainty is Certainty.UNLESS_RENEWED else remedy
    link = ": " if is_over or certainty is Certainty.CERTAIN else ", "
    words = f"The sign-in at {name} {'ended' if is_over else 'ends'} on {_told(ends_at)}{link}{why}."
    yield _at(ends_at, now, EndOf.REFRESH_TOKEN, words, remedy, certainty=certainty, action=EndAction.CONNECT)


def _of_registration(sign_in: SignInFacts, now: datetime) -> Iterator[Ending]:
    """The client secret, whose last day somebody has entered, and the certificate that stands in its place."""
    name = _PROVIDERS[sign_in.provider]
    if sign_in.has_secret and sign_in.secret_ends_on:
        ends_on = sign_in.secret_ends_on
        is_over = ends_on < _today(now)
        words = f"The client secret {'expired' if is_over else 'expires'} on {ends_on} UTC."
        remedy = f"Create a new one at {name} and enter it{'' if is_over else ' before that day'}."
        yield _on(ends_on, now, EndOf.CLIENT_SECRET, words, remedy, action=EndAction.CONNECT)
    facts = client_certificate.facts_of(sign_in.certificate)
    if facts:
        is_over = facts.ends <= now
        words = f"The certificate that Sealpost shows {name} {'expired' if is_over else 'expires'} on "
        words += f"{_told(facts.ends)}."
        remedy = f"Upload a new one at {name} and enter it with its key{'' if is_over else ' before that day'}."
        yield _at(facts.ends, now, EndOf.OAUTH_CERTIFICATE, words, remedy, action=EndAction.CONNECT)


def _unused_until(provider: OAuthProvider, used_at: datetime) -> datetime | None:
    """When a refresh token dies that is not used from then on; None where the provider names no time."""
    if provider is OAuthProvider.MICROSOFT:
        return used_at + MICROSOFT_UNUSED
    return _months_later(used_at, GOOGLE_UNUSED) if provider is OAuthProvider.GOOGLE else None


def _months_later(moment: datetime, months: int) -> datetime:
    """The same day so many months later, or the last of that month."""
    years, month = divmod(moment.month - 1 + months, 12)
    year, month = moment.year + years, month + 1
    return moment.replace(year=year, month=month, day=min(moment.day, monthrange(year, month)[1]))


def _at(
    ends_at: datetime,
    now: datetime,
    what: EndOf,
    words: str,
    remedy: str,
    *,
    certainty: Certainty = Certainty.CERTAIN,
    action: EndAction,
) -> Ending:
    """What ends at a moment that is known."""
    ends_on = ends_at.astimezone(UTC).date()
    return Ending(
        what=what,
        ends_on=ends_on,
        ends_at=ends_at,
        days_left=(ends_on - _today(now)).days,
        is_over=ends_at <= now,
        is_close=ends_at - now < SOON,
        certainty=certainty,
        words=words,
        remedy=remedy,
        action=action,
    )


def _on(
    ends_on: date,
    now: datetime,
    what: EndOf,
    words: str,
    remedy: str,
    *,
    certainty: Certainty = Certainty.CERTAIN,
    action: EndAction = EndAction.NONE,
) -> Ending:
    """What ends some time on a day: it is over when that is."""
    days_left = (ends_on - _today(now)).days
    return Ending(
        what=what,
        ends_on=ends_on,
        days_left=days_left,
        is_over=days_left < 0,
        is_close=days_left < SOON.days,
        certainty=certainty,
        words=words,
        remedy=remedy,
        action=action,
    )


def _today(now: datetime) -> date:
    return now.astimezone(UTC).date()


def _told(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d} UTC"


def _last_moment(day: date) -> datetime:
    return datetime.combine(day, time.max, UTC)


def _day(text: str) -> date | None:
    """The day that was noted of a server, if that is one."""
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        return None


class _Told(TypedDict):
    text: str
    remedy: str


class PasswordEnd(TypedDict):
    """When a provider stops accepting passwords over SMTP, and what is said before and after."""

    hosts: list[str]
    ends_on: str
    before: _Told
    after: _Told
    sources: list[str]


@cache
def _password_ends() -> dict[str, PasswordEnd]:
    """By the names of the servers."""
    data: dict[str, dict[str, PasswordEnd]] = json.loads(DATA.read_text(encoding="utf-8"))
    return {host: known for known in data["providers"].values() for host in known["hosts"]}
