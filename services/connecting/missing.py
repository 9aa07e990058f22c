"""Which step of the guide was left out, by what a check came to: a provider's error, or a mail server's reply."""

from typing import Final

from services.connecting.guide import number_of
from services.connecting.steps import ConnectCheck, GuideStep, StepKey

# Each leads to the first of these steps that the way has. Microsoft's numbers say more than the error beside them.
_BY_CODE: Final = {
    "AADSTS50011": (StepKey.REGISTER,),  # the redirect URI is another
    "AADSTS500113": (StepKey.REGISTER,),  # there is none
    "AADSTS900971": (StepKey.REGISTER,),
    "AADSTS9002326": (StepKey.REGISTER,),  # it is that of a single-page application
    "AADSTS9002327": (StepKey.REGISTER,),
    "AADSTS700084": (StepKey.REGISTER,),
    "AADSTS500117": (StepKey.REGISTER,),  # it is not encrypted
    "AADSTS50194": (StepKey.REGISTER,),  # a single tenant's application, asked for through common
    "AADSTS50059": (StepKey.REGISTER,),
    "AADSTS90002": (StepKey.REGISTER,),  # no such tenant
    "AADSTS900023": (StepKey.REGISTER,),
    "AADSTS50128": (StepKey.REGISTER,),
    "AADSTS700016": (StepKey.REGISTER,),  # no such application in it
    "AADSTS7000215": (StepKey.SECRET, StepKey.REGISTER),  # wrong, or the id of the secret
    "AADSTS7000222": (StepKey.SECRET, StepKey.REGISTER),  # ended
    "AADSTS70002": (StepKey.SECRET, StepKey.REGISTER),
    "AADSTS700027": (StepKey.SECRET, StepKey.REGISTER),  # the certificate is another
    "AADSTS50012": (StepKey.SECRET, StepKey.REGISTER),
    "AADSTS700030": (StepKey.SECRET, StepKey.REGISTER),
    "AADSTS7000218": (StepKey.CODE, StepKey.SECRET, StepKey.REGISTER),  # no public client, and no secret
    "AADSTS7000216": (StepKey.CODE, StepKey.SECRET, StepKey.REGISTER),
    "AADSTS700025": (StepKey.CODE, StepKey.SECRET, StepKey.REGISTER),  # a public client, and a secret
    "AADSTS65001": (StepKey.CONSENT, StepKey.PERMISSION),
    "AADSTS7000229": (StepKey.CONSENT, StepKey.PERMISSION),  # the tenant has no enterprise application of it
    "AADSTS65004": (StepKey.CONNECT,),  # whoever signed in did not agree
    "AADSTS650053": (StepKey.PERMISSION,),  # no such scope
    "AADSTS650056": (StepKey.PERMISSION,),
    "AADSTS650057": (StepKey.PERMISSION,),  # not among the application's permissions
    "AADSTS1002012": (StepKey.PERMISSION,),
    "AADSTS70011": (StepKey.PERMISSION, StepKey.SCOPE),
    "AADSTS90094": (StepKey.CONSENT, StepKey.PERMISSION),  # only an administrator may agree
    "AADSTS53003": (StepKey.CODE, StepKey.CONNECT),  # Conditional Access
}
_BY_KIND: Final = {
    "delegation_missing": (StepKey.DELEGATE,),
    "wrong_secret": (StepKey.SECRET, StepKey.REGISTER),
    "secret_expired": (StepKey.SECRET, StepKey.REGISTER),
    "client_not_found": (StepKey.REGISTER,),
    "wrong_key": (StepKey.SERVICE_ACCOUNT,),
    "account_not_found": (StepKey.CONNECT,),
}
_BY_ERROR: Final = {
    "redirect_uri_mismatch": (StepKey.REGISTER,),
    "org_internal": (StepKey.AUDIENCE,),
    "admin_policy_enforced": (StepKey.TRUST,),
    "consent_required": (StepKey.CONSENT, StepKey.PERMISSION),
    "invalid_scope": (StepKey.PERMISSION, StepKey.SCOPE),
    "unauthorized_client": (StepKey.DELEGATE, StepKey.CODE, StepKey.PERMISSION, StepKey.REGISTER),
    "invalid_client": (StepKey.SECRET, StepKey.REGISTER),
    "deleted_client": (StepKey.REGISTER,),
    "disabled_client": (StepKey.REGISTER,),
    "invalid_grant": (StepKey.CONNECT,),
    "access_denied": (StepKey.CONNECT,),
}
# Of the mail server's reply (RFC 3463). An application whose object id is another, and a token for Graph, are 5.7.3.
_BY_STATUS: Final = {
    "5.7.139": (StepKey.SMTP,),
    "5.7.3": (StepKey.MAILBOX, StepKey.PERMISSION, StepKey.SCOPE),
    "5.7.60": (StepKey.FROM,),
    "5.2.0": (StepKey.FROM,),
}
_BY_CHECK: Final = {
    ConnectCheck.REDIRECT: (StepKey.REGISTER,),
    ConnectCheck.SCOPE: (StepKey.PERMISSION, StepKey.SCOPE),
    ConnectCheck.MAILBOX: (StepKey.CONNECT,),
    ConnectCheck.SIGN_IN: (StepKey.MAILBOX, StepKey.SMTP, StepKey.SCOPE),
    ConnectCheck.FROM: (StepKey.FROM,),
}


def missing_step(
    steps: tuple[GuideStep, ...],
    *,
    check: ConnectCheck | None = None,
    error: str = "",
    code: str = "",
    kind: str = "",
    status: str = "",
    is_testing: bool = False,
) -> int | None:
    """The number of the step that is missing, by what tells most; None where no step would help.

    ``error``, ``code`` and ``kind`` are a TokenFailure's, ``status`` is the enhanced status of the mail server's reply.
    """
    if is_testing and kind == "expired_or_revoked":  # which Google does after seven days
        return number_of(StepKey.AUDIENCE, steps)
    said = (_BY_CODE.get(code), _BY_KIND.get(kind), _BY_ERROR.get(error), _BY_STATUS.get(status))
    keys = next((keys for keys in said if keys), None) or (_BY_CHECK.get(check, ()) if check else ())
    return next((number for key in keys if (number := number_of(key, steps))), None)
