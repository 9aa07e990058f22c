"""What was seen of a connection, check by check: by what is stored of it, what failed just now, and a test of it."""

from typing import Final

from services.checks.connection_test import TestResult
from services.connecting import tokens
from services.connecting.advice import ConnectAdvice
from services.connecting.guide import CheckRow
from services.connecting.missing import missing_step
from services.connecting.steps import ConnectCheck, GuideStep
from services.oauth.providers import Grant
from services.oauth.sealed import StoredSignIn
from services.settings.sealing import StoredConfig
from utils.errors import OPENING, Phase

_BEFORE_TEST: Final = (ConnectCheck.REDIRECT, ConnectCheck.TOKEN, ConnectCheck.SCOPE, ConnectCheck.MAILBOX)
_OF_TEST: Final = (ConnectCheck.SIGN_IN, ConnectCheck.FROM)
_GOOD: Final = {
    ConnectCheck.REDIRECT: "It came back in time.",
    ConnectCheck.TOKEN: "A token is stored, and renewed by Sealpost.",
    ConnectCheck.SCOPE: "Nothing that is needed was left out.",
}


def rows(
    stored: StoredConfig,
    known: StoredSignIn | None,
    steps: tuple[GuideStep, ...],
    *,
    failed: ConnectAdvice | None = None,
    result: TestResult | None = None,
) -> tuple[CheckRow, ...]:
    """The checks that were made: those up to ``failed``, else those of what is stored, then those of the test."""
    if failed is not None:
        return _up_to(failed, known, steps)
    if known is None or not known.is_connected:
        return ()
    if result is not None:
        return (*_stored(known), *_tested(result, known, steps))
    if stored.settings.is_by_token and stored.is_verified:
        return (*_stored(known), *(CheckRow(check=check, status="ok") for check in _OF_TEST))
    return tuple(_stored(known))


def _up_to(failed: ConnectAdvice, known: StoredSignIn | None, steps: tuple[GuideStep, ...]) -> tuple[CheckRow, ...]:
    before = _BEFORE_TEST[: _BEFORE_TEST.index(failed.check)]
    found = [CheckRow(check=check, status="ok") for check in before]
    step = missing_step(
        steps,
        check=failed.check,
        error=failed.error,
        code=failed.code,
        kind=failed.kind,
        is_testing=bool(known and known.registration.is_testing),
    )
    fact = " ".join(filter(None, (f"{failed.title}.", failed.meaning, failed.cause)))
    return (*found, CheckRow(check=failed.check, status="failed", fact=fact, remedy=failed.remedy, step=step))


def _stored(known: StoredSignIn) -> list[CheckRow]:
    checks: tuple[ConnectCheck, ...] = (ConnectCheck.TOKEN, ConnectCheck.SCOPE)
    if known.registration.way is Grant.CODE:
        checks = (ConnectCheck.REDIRECT, *checks)
    found = [CheckRow(check=check, status="ok", fact=_GOOD[check]) for check in checks]
    return found if known.registration.is_app_only else [*found, _mailbox(known)]


def _mailbox(known: StoredSignIn) -> CheckRow:
    caution = tokens.caution_of(known)
    if caution:
        return CheckRow(check=ConnectCheck.MAILBOX, status="warning", fact=caution)
    return CheckRow(check=ConnectCheck.MAILBOX, status="ok", fact=f"{known.mailbox} signed in.")


def _tested(result: TestResult, known: StoredSignIn, steps: tuple[GuideStep, ...]) -> tuple[CheckRow, ...]:
    if result.ok:
        fact = result.caveat or "It would accept an email."
        signed_in = CheckRow(check=ConnectCheck.SIGN_IN, status="ok", fact="It accepted the token.")
        return signed_in, CheckRow(check=ConnectCheck.FROM, status="warning" if result.caveat else "ok", fact=fact)
    error, told = result.error, result.diagnosis
    is_before = error is None or error.phase in (Phase.SETTINGS, *OPENING)
    check = ConnectCheck.SIGN_IN if is_before else ConnectCheck.FROM
    trouble = error.token_trouble if error else None
    step = missing_step(
        steps,
        check=check if error and error.phase in (Phase.SIGN_IN, Phase.SENDER) else None,
        error=trouble.error if trouble else "",
        code=trouble.code if trouble else "",
        kind=trouble.kind if trouble else "",
        status=(error.enhanced or "") if error else "",
        is_testing=known.registration.is_testing,
    )
    fact = " ".join(filter(None, (f"{told.title}.", told.meaning, told.cause))) if told else f"{result.message}."
    row = CheckRow(check=check, status="failed", fact=fact, remedy=told.remedy if told else "", step=step)
    if is_before:
        return row, CheckRow(check=ConnectCheck.FROM, status="skipped")
    return CheckRow(check=ConnectCheck.SIGN_IN, status="ok", fact="It accepted the token."), row
