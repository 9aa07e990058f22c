"""The step of a connection test in which the token is got to sign in with: from whom, and how long it is good."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from time import monotonic
from typing import Final, TypeVar

from flask import Flask, current_app, has_app_context

from services.oauth import keeping
from services.oauth.providers import OAuthProvider
from services.oauth.sealed import StoredSignIn
from services.smtp.dialogue import SideLook, Step
from services.smtp.settings import Bearer, SmtpSettings
from utils import clock
from utils.errors import DeliveryError, Fault, Misconfigured, Phase
from utils.secret import Secret

_Token = TypeVar("_Token")
HOUSES: Final = {
    OAuthProvider.GOOGLE: "Google", OAuthProvider.MICROSOFT: "Microsoft", OAuthProvider.FASTMAIL: "Fastmail",
}  # fmt: skip


class TokenStep:
    """Listens while a conversation gets its token, and again if the server has refused that.

    ``settings`` are those to hold the conversation with. ``app_only``: the token is of an application that signs in
    itself; ``app_in_testing``: of one that Google counts as not published. Both are None while that is not known.
    """

    def __init__(self, settings: SmtpSettings, hear: Callable[[Step], None]) -> None:
        self._hear = hear
        self._given = settings
        self._app: Flask | None = current_app._get_current_object() if has_app_context() else None  # type: ignore[attr-defined]
        self._since: float | None = None
        self.has_failed = False
        self.app_only: bool | None = None
        self.app_in_testing: bool | None = None
        self.settings = replace(settings, bearer=self._watched(settings.bearer)) if settings.bearer else settings

    @property
    def seconds(self) -> int | None:
        """For how long a token has been waited for; None if none is. From any thread."""
        since = self._since
        return None if since is None else int(monotonic() - since)

    def check(self) -> None:
        """Raises DeliveryError, once that is told, if these settings need a token and nobody has agreed to give one."""
        if self._given.is_by_token and self._given.bearer is None:
            self._tell("failed", 0, keeping.NOT_CONNECTED)
            raise Misconfigured(Phase.SIGN_IN, Fault.TOKEN_DEAD, keeping.NOT_CONNECTED)

    def _watched(self, bearer: Bearer) -> Bearer:
        def current() -> Secret:
            began, moment = monotonic(), clock.now()
            try:
                token = self._got(bearer.current)
            except DeliveryError:
                self._known(bearer)
                raise
            known = self._known(bearer)
            is_new = known is not None and known.obtained_at is not None and known.obtained_at >= moment
            self._tell_of(known, began, "New token" if is_new else "Token", is_doubtful=bool(known and known.trouble))
            return token

        def renewed(refused: Secret) -> Secret | None:
            began = monotonic()
            token = self._got(lambda: bearer.renew(refused) if bearer.renew else None)
            if token is not None:
                begins = "The server refused the token. New token"
                self._tell_of(self._known(bearer), began, begins, is_doubtful=True)
            return token

        return replace(bearer, token=current, renew=renewed if bearer.renew else None)

    def _got(self, get: Callable[[], _Token]) -> _Token:
        self._since = began = monotonic()
        try:
            with self._in_app():
                return get()
        except DeliveryError as error:
            self.has_failed = True
            self._tell("failed", _since(began), error.text)
            raise
        finally:
            self._since = None

    def _known(self, bearer: Bearer) -> StoredSignIn | None:
        """What is stored of the sign-in, with which the token comes."""
        config_id = keeping.config_of(bearer)
        if config_id is None:
            return None
        with self._in_app():
            known = keeping.find(config_id)
        if known:
            self.app_only, self.app_in_testing = known.registration.is_app_only, known.registration.is_testing
        return known

    def _in_app(self) -> AbstractContextManager[object]:
        """The application, in whose database the token is: a conversation has a thread of its own."""
        return self._app.app_context() if self._app else nullcontext()

    def _tell_of(self, known: StoredSignIn | None, began: float, begins: str, *, is_doubtful: bool) -> None:
        self._tell("warning" if is_doubtful else "ok", _since(began), f"{begins}{_origin(known)}")

    def _tell(self, status: str, ms: int, fact: str) -> None:
        self._hear(Step(SideLook.TOKEN, status, ms, fact))


def _origin(known: StoredSignIn | None) -> str:
    """From whom a token is, for whom, and until when it is good; nothing of the token."""
    if known is None:
        return ""
    house = HOUSES.get(known.registration.provider, "the provider")
    whose = "the application itself" if known.registration.is_app_only else known.mailbox or known.username
    ends = f", good until {known.access_ends_at:%H:%M} UTC" if known.access_ends_at else ""
    late = ". It could not be renewed for now" if known.trouble else ""
    return f" from {house} for {whose}{ends}{late}"


def _since(moment: float) -> int:
    return round((monotonic() - moment) * 1000)
