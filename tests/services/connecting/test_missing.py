"""A failed check leads to the step that was left out."""

from typing import Any, Final

import pytest

from services.connecting import guide
from services.connecting.missing import missing_step
from services.connecting.redirect_rules import judged
from services.connecting.steps import ConnectCheck, Entered, GuideStep
from services.oauth.providers import Grant, OAuthProvider

CODE, DEVICE = (OAuthProvider.MICROSOFT, Grant.CODE), (OAuthProvider.MICROSOFT, Grant.DEVICE)
APP: Final = (OAuthProvider.MICROSOFT, Grant.CLIENT_CREDENTIALS)
GOOGLE, ACCOUNT = (OAuthProvider.GOOGLE, Grant.CODE), (OAuthProvider.GOOGLE, Grant.SERVICE_ACCOUNT)
CUSTOM: Final = (OAuthProvider.CUSTOM, Grant.CODE)
SIGN_IN: Final = ConnectCheck.SIGN_IN

LED: Final = [
    (CODE, {"error": "invalid_client", "code": "AADSTS7000222"}, "secret"),
    (APP, {"error": "invalid_client", "code": "AADSTS7000215"}, "secret"),
    (APP, {"error": "unauthorized_client", "code": "AADSTS700016"}, "register"),
    (CODE, {"error": "invalid_grant", "code": "AADSTS65001"}, "permission"),
    (APP, {"error": "invalid_grant", "code": "AADSTS65001"}, "consent"),
    (DEVICE, {"error": "invalid_client", "code": "AADSTS7000218"}, "code"),
    (CODE, {"error": "invalid_client", "code": "AADSTS7000218"}, "secret"),
    (CODE, {"error": "invalid_request", "code": "AADSTS50011"}, "register"),
    (CODE, {"error": "invalid_grant", "code": "AADSTS700082"}, "connect"),
    (CODE, {"error": "invalid_grant", "code": "AADSTS50173"}, "connect"),
    (CODE, {"check": SIGN_IN, "status": "5.7.139"}, "smtp"),
    (APP, {"check": SIGN_IN, "status": "5.7.3"}, "mailbox"),
    (CODE, {"check": SIGN_IN, "status": "5.7.3"}, "permission"),
    (CODE, {"check": ConnectCheck.FROM, "status": "5.7.60"}, "from"),
    (APP, {"check": ConnectCheck.FROM, "status": "5.2.0"}, "from"),
    (APP, {"check": SIGN_IN}, "mailbox"),
    (CODE, {"check": ConnectCheck.SCOPE}, "permission"),
    (CODE, {"check": ConnectCheck.MAILBOX}, "connect"),
    (GOOGLE, {"error": "redirect_uri_mismatch"}, "register"),
    (GOOGLE, {"error": "org_internal"}, "audience"),
    (GOOGLE, {"error": "admin_policy_enforced"}, "trust"),
    (GOOGLE, {"error": "invalid_grant", "kind": "expired_or_revoked"}, "connect"),
    (GOOGLE, {"error": "invalid_grant", "kind": "expired_or_revoked", "is_testing": True}, "audience"),
    (GOOGLE, {"error": "invalid_client", "kind": "wrong_secret"}, "register"),
    (ACCOUNT, {"error": "unauthorized_client", "kind": "delegation_missing"}, "delegate"),
    (ACCOUNT, {"error": "unauthorized_client"}, "delegate"),
    (ACCOUNT, {"error": "invalid_grant", "kind": "wrong_key"}, "service_account"),
    (CUSTOM, {"error": "invalid_scope"}, "scope"),
    (CUSTOM, {"error": "invalid_client"}, "register"),
]


def steps(of: tuple[OAuthProvider, Grant]) -> tuple[GuideStep, ...]:
    entered = Entered(mailbox="a@example.com", from_email="b@example.com")
    return guide.steps_of(*of, entered, judged("https://app.example.com", of[0]))


@pytest.mark.parametrize(("of", "said", "key"), LED)
def test_what_was_said_leads_to_the_step(of: tuple[OAuthProvider, Grant], said: dict[str, Any], key: str) -> None:
    found, all_of_them = missing_step(steps(of), **said), steps(of)
    assert found is not None
    assert all_of_them[found - 1].key.value == key


def test_what_no_step_would_help_leads_to_none() -> None:
    assert missing_step(steps(CODE), error="server_error") is None
    assert missing_step(steps(CODE), check=ConnectCheck.TOKEN) is None
    assert missing_step(steps(GOOGLE), check=SIGN_IN, status="5.7.139") is None
