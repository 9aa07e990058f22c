"""What to say where a connection was not made, and how that is kept until the next page: by codes alone."""

from dataclasses import dataclass

from services.connecting.refusals import ConnectFault, ConnectRefused
from services.connecting.steps import ConnectCheck
from services.diagnosis import diagnosis
from services.diagnosis.picture import Picture
from services.oauth.failures import TokenFailure, TokenFault, as_delivery_error
from services.oauth.sealed import code_of, trouble_of
from services.smtp.settings import SmtpSettings
from utils.errors import Fault, TokenTrouble

NotConnected = TokenFailure | ConnectRefused

_REFUSED, _FAILED = "refused", "failed"
_CHECKS = {
    ConnectFault.SCOPE_MISSING: ConnectCheck.SCOPE,
    ConnectFault.OTHER_MAILBOX: ConnectCheck.MAILBOX,
    ConnectFault.NOT_AN_ADDRESS: ConnectCheck.REDIRECT,
}


@dataclass(frozen=True, kw_only=True)
class ConnectAdvice:
    """What went wrong and what to do; ``check`` is what it ended at.

    ``error``, ``code`` and ``kind`` are the provider's, by closed lists. ``docs_url`` is where it says more, or "".
    """

    title: str
    meaning: str
    cause: str
    remedy: str
    check: ConnectCheck
    error: str = ""
    code: str = ""
    kind: str = ""
    docs_url: str = ""

    @property
    def sentences(self) -> str:
        """All of it in one line."""
        return " ".join(filter(None, (f"{self.title}.", self.meaning, self.cause, self.remedy)))


def of_failure(failure: NotConnected, settings: SmtpSettings) -> ConnectAdvice:
    """What a failure means for the server with these settings."""
    if isinstance(failure, ConnectRefused):
        check = _CHECKS.get(failure.fault, ConnectCheck.TOKEN)
        return ConnectAdvice(title=failure.title, meaning="", cause="", remedy=failure.remedy, check=check)
    told = diagnosis.diagnose(as_delivery_error(failure), Picture(settings=settings, is_typed=False))
    return ConnectAdvice(
        title=told.title,
        meaning=told.meaning,
        cause=told.cause,
        remedy=told.remedy,
        check=ConnectCheck.REDIRECT if failure.fault is TokenFault.STATE else ConnectCheck.TOKEN,
        error=failure.error,
        code=failure.code,
        kind=failure.kind,
        docs_url=told.docs_url,
    )


def kept(failure: NotConnected) -> str:
    """A failure as a cookie may keep it until the next page."""
    if isinstance(failure, ConnectRefused):
        return f"{_REFUSED}:{failure.fault}"
    return f"{_FAILED}:{code_of(failure.trouble)}"


def read_back(text: str) -> NotConnected | None:
    """The same failure, or None where it is none."""
    kind, _, code = text.partition(":")
    try:
        if kind == _REFUSED:
            return ConnectRefused(ConnectFault(code))
        trouble = trouble_of(code) if kind == _FAILED else None
        return failure_of(trouble) if trouble else None
    except ValueError:
        return None


def failure_of(trouble: TokenTrouble) -> TokenFailure:
    """A failure as it was before a row kept it; one that is not known here is some refusal."""
    try:
        return TokenFailure(
            TokenFault(trouble.fault),
            error=trouble.error,
            code=trouble.code,
            kind=trouble.kind,
            link=Fault(trouble.link) if trouble.link else None,
        )
    except ValueError:  # written by a later version
        return TokenFailure(TokenFault.REFUSED)
