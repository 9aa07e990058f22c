"""What a mail server says of a sign-in means one thing by token and another by password."""

import re
from dataclasses import replace
from functools import partial
from typing import Final

import pytest

from services.delivery import retry_policy
from services.delivery.retry_policy import MailAction
from services.diagnosis.diagnosis import Diagnosis, diagnose, explain
from services.diagnosis.mending import MendPage
from services.diagnosis.picture import Picture
from services.diagnosis.reply_rules import all_rules, tables
from services.providers import registry
from services.smtp.client import Policy, SmtpClient
from services.smtp.settings import Bearer, Security
from tests import certificates
from tests.bearer_server import BearerSide, bearer_server
from tests.smtp_clients import settings_for, shop_settings
from utils.errors import DeliveryError, Fault, Misconfigured, Permanent, Phase, TokenRefusal
from utils.secret import Secret

MICROSOFT, GOOGLE, OTHER = "smtp.office365.com", "smtp.gmail.com", "mail.shop.example"
BEARER: Final = Bearer("config:3/1", Secret("a-token"))
TENANT = "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit x"
MAILBOX = "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox. Visit x"
BASIC = "535 5.7.139 Authentication unsuccessful, basic authentication is disabled. [AM0PR05CA0074]"
DEFAULTS = (
    "535 5.7.139 Authentication unsuccessful, user is locked by your organization's security defaults policy. "
    "Contact your administrator."
)
CRITERIA = "535 5.7.139 Authentication unsuccessful, the request did not meet the criteria to be authenticated"
UNSUCCESSFUL = "535 5.7.3 Authentication unsuccessful [AM0PR05CA0074.eurprd05.prod.outlook.com]"
RETIRED = "550 5.7.30 Basic authentication is not supported for Client Submission."
BAD = "535 5.7.8 Username and Password not accepted. For more information, go to x - gsmtp"
APP = "534 5.7.9 Application-specific password required. For more information, go to x - gsmtp"
BROWSER = "534 5.7.14 Please log in via your web browser and then try again. - gsmtp"
SENDER = "550 5.7.60 SMTP; Client does not have permissions to send as this sender"
DENIED = "554 5.2.252 SendAsDenied; a@shop.example not allowed to send as b@shop.example"
DENIED_ALSO = "554 5.2.0 STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied"


def refused(line: str, phase: Phase = Phase.SIGN_IN, told: TokenRefusal | None = None) -> DeliveryError:
    code, enhanced, text = line.split(" ", 2)
    kind = Misconfigured if phase is Phase.SIGN_IN else Permanent
    error = kind(phase, Fault.REPLY, text, code=int(code), enhanced=enhanced)
    error.token_refusal = told
    return error


def said(
    host: str, error: DeliveryError, *, by_token: bool, app_only: bool | None = None, offers: str = "LOGIN XOAUTH2"
) -> Diagnosis:
    settings = shop_settings(host=host)
    if by_token:
        settings = replace(settings, bearer=BEARER, password=Secret(""))
    return diagnose(error, Picture(settings=settings, offers={"AUTH": offers}, app_only=app_only))


def told(found: Diagnosis) -> str:
    return " ".join((found.title, found.meaning, found.cause, found.remedy))


@pytest.mark.parametrize(
    ("host", "line", "by_password", "by_token"),
    [
        (MICROSOFT, TENANT, "ms-smtp-auth-disabled-tenant", "ms-smtp-auth-disabled-tenant"),
        (MICROSOFT, MAILBOX, "ms-smtp-auth-disabled", "ms-smtp-auth-disabled"),
        (MICROSOFT, BASIC, "ms-basic-auth-disabled", "ms-token-blocked"),
        (MICROSOFT, DEFAULTS, "ms-security-defaults", "ms-token-blocked"),
        (MICROSOFT, CRITERIA, "ms-security-defaults", "ms-token-blocked"),
        (MICROSOFT, UNSUCCESSFUL, "ms-auth-unsuccessful", "ms-auth-unsuccessful"),
        (MICROSOFT, RETIRED, "ms-client-submission-basic-retired", "ms-token-blocked"),
        (GOOGLE, BAD, "gmail-bad-credentials", "google-token-refused"),
        (GOOGLE, APP, "gmail-app-password-required", "google-token-refused"),
        (GOOGLE, BROWSER, "gmail-web-login-required", "google-token-refused"),
        (OTHER, "535 5.7.8 Error: authentication failed", "auth-failed", "token-refused"),
        (OTHER, "534 5.7.9 app password required", "app-password-generic", "token-refused"),
    ],
)  # fmt: skip
def test_the_same_words_mean_another_thing_by_token(host: str, line: str, by_password: str, by_token: str) -> None:
    error = refused(line)
    first, second = said(host, error, by_token=False), said(host, error, by_token=True)
    assert (first.rule, second.rule) == (by_password, by_token)
    assert first.remedy != second.remedy
    assert not re.search(r"app password|check .{0,30}password|(?:new|another) password", told(second), re.IGNORECASE)
    assert second.field != "smtp_password"
    for found in (first, second):
        assert found.retryable is False


@pytest.mark.parametrize("line", [TENANT, MAILBOX, BASIC, DEFAULTS, CRITERIA, UNSUCCESSFUL, RETIRED])
def test_a_password_that_microsoft_refuses_is_one_click_from_connecting(line: str) -> None:
    found = said(MICROSOFT, refused(line), by_token=False)
    assert (found.actions[0].label, found.actions[0].leads_to) == ("Connect with Microsoft", MendPage.CONNECT)
    assert "onnect with Microsoft" in found.remedy
    assert "app password" not in told(found).lower().replace("not even an app password", "")


@pytest.mark.parametrize("line", [BAD, APP, BROWSER])
def test_of_an_app_password_google_is_told_where_there_is_none(line: str) -> None:
    found = said(GOOGLE, refused(line), by_token=False)
    assert found.actions[0].label == "Connect with Google"
    assert found.remedy.startswith("Connect with Google.")


def test_no_advice_at_microsoft_recommends_an_app_password() -> None:
    providers = {"office365", "outlook", "microsoft365-relay"}
    for rule in all_rules():
        if providers & {*rule.providers}:
            texts = [str(each.get("remedy", "")) for each in rule.variants]
            assert "app password" not in " ".join([rule.remedy, rule.cause, *texts]).lower(), rule.id
    for id_ in ("office365", "outlook"):
        (entry,) = [each for each in registry.everyone() if each["id"] == id_]
        assert not re.match(r"(?!None).*\bapp password", entry["password_hint"]), id_


def test_nothing_says_that_sealpost_cannot_use_tokens() -> None:
    texts = [told_in for rule in all_rules() for told_in in (rule.meaning, rule.remedy, *map(str, rule.variants))]
    texts += [str(vars(advice)) for table in tables().values() for advice in table.values()]
    texts += [f"{each['obstacle']} {each['password_hint']}" for each in registry.everyone()]
    for text in texts:
        assert not re.search(r"Sealpost (?:cannot use|does not support)|support yet", text), text


def test_tokens_for_another_mailbox_and_dead_ones_are_told_apart_at_google() -> None:
    scope = "https://mail.google.com/"
    wrong = said(GOOGLE, refused(BAD, told=TokenRefusal("400", scope)), by_token=True)
    dead = said(GOOGLE, refused(BAD, told=TokenRefusal("401", scope)), by_token=True)
    unsaid = said(GOOGLE, refused(BAD), by_token=True)
    assert [each.rule for each in (wrong, dead, unsaid)] == [
        "gmail-oauth-challenge", "google-token-ended", "google-token-refused",
    ]  # fmt: skip
    assert len({each.remedy for each in (wrong, dead, unsaid)}) == 3
    assert scope in wrong.remedy
    lacking = said(OTHER, refused("535 5.7.8 no", told=TokenRefusal("insufficient_scope", "smtp")), by_token=True)
    ended = said(OTHER, refused("535 5.7.8 no", told=TokenRefusal("invalid_token")), by_token=True)
    assert (lacking.rule, ended.rule) == ("token-lacks-scope", "token-refused")


@pytest.mark.parametrize(
    ("line", "phase"), [(UNSUCCESSFUL, Phase.SIGN_IN), (SENDER, Phase.MESSAGE), (DENIED, Phase.MESSAGE),
                        (DENIED_ALSO, Phase.MESSAGE), (SENDER, Phase.SENDER)]
)  # fmt: skip
def test_an_application_and_a_person_have_other_rights_missing(line: str, phase: Phase) -> None:
    error = refused(line, phase)
    by_password = said(MICROSOFT, error, by_token=False)
    person = said(MICROSOFT, error, by_token=True, app_only=False)
    application = said(MICROSOFT, error, by_token=True, app_only=True)
    unknown = said(MICROSOFT, error, by_token=True)
    assert len({each.remedy for each in (by_password, person, application)}) == 3
    assert len({each.rule for each in (by_password, person, application, unknown)}) == 1
    right = "FullAccess" if phase is Phase.SIGN_IN else "Add-RecipientPermission"
    assert right in application.remedy
    assert right not in person.remedy
    if phase is Phase.SIGN_IN:
        assert "enterprise application" in application.cause
        assert "Graph" in person.remedy
        assert application.actions[0].leads_to is MendPage.REGISTRATION


def test_each_answer_by_token_has_advice_of_its_own() -> None:
    lines = [TENANT, MAILBOX, CRITERIA, UNSUCCESSFUL]
    found = [said(MICROSOFT, refused(line), by_token=True, app_only=kind) for line in lines for kind in (True, False)]
    found += [said(MICROSOFT, refused(each, Phase.MESSAGE), by_token=True, app_only=True) for each in (SENDER, DENIED)]
    found += [said(GOOGLE, refused(BAD, told=TokenRefusal(status)), by_token=True) for status in ("400", "401", "")]
    remedies = {each.remedy for each in found}
    assert len(remedies) == 3 + 2 + 2 + 3  # only 5.7.3 tells whose token it is


@pytest.mark.parametrize("line", [MAILBOX, CRITERIA, UNSUCCESSFUL, BAD, "535 5.7.8 Error: authentication failed"])
@pytest.mark.parametrize("status", ["", "400", "401"])
def test_an_attempt_by_token_that_was_stored_is_told_like_one_by_token(line: str, status: str) -> None:
    host = GOOGLE if line == BAD else OTHER if "Error" in line else MICROSOFT
    error = refused(line, told=TokenRefusal(status) if status else None)
    error.by_token = True
    told_again = partial(
        explain, phase=error.phase, fault=error.fault, code=error.code, enhanced=error.enhanced, host=host
    )
    stored = told_again(text=f"{error.text}{error.token_mark}")
    live = said(host, error, by_token=True)
    assert (stored.rule, stored.title, stored.remedy) == (live.rule, live.title, live.remedy)
    by_password = told_again(text=error.text)
    assert by_password.remedy != stored.remedy


@pytest.mark.parametrize("line", [SENDER, DENIED, DENIED_ALSO])
def test_mail_waits_while_the_right_to_send_as_is_missing(line: str) -> None:
    for phase in (Phase.SENDER, Phase.MESSAGE):
        verdict = retry_policy.of_error(refused(line, phase))
        assert (verdict.action, verdict.opens) == (MailAction.SNOOZE, True)


@pytest.mark.parametrize("line", [TENANT, MAILBOX, BASIC, UNSUCCESSFUL, RETIRED, BAD, APP])
def test_mail_waits_while_a_token_is_refused_and_a_standby_sends(line: str) -> None:
    verdict = retry_policy.of_error(refused(line, told=TokenRefusal("400")))
    assert (verdict.action, verdict.opens, verdict.goes_on) == (MailAction.SNOOZE, True, True)


def test_a_server_that_is_not_connected_yet_is_told_as_such() -> None:
    error = Misconfigured(Phase.SIGN_IN, Fault.TOKEN_DEAD, "This server is not connected yet.")
    found = said(MICROSOFT, error, by_token=False)
    assert found.rule == "not-connected"
    assert [action.label for action in found.actions] == ["Connect with Microsoft"]


@pytest.mark.parametrize(
    ("dialect", "host", "rule"),
    [("google", GOOGLE, "gmail-oauth-challenge"), ("microsoft", MICROSOFT, "ms-auth-unsuccessful")],
)
def test_what_a_server_really_says_of_a_token_leads_to_its_advice(dialect: str, host: str, rule: str) -> None:
    with bearer_server(BearerSide({"a-token": {"other@shop.example"}}, dialect)) as server:
        settings = replace(
            settings_for(server, security=Security.TLS, username="shop@shop.example"),
            bearer=BEARER,
        )
        policy = Policy(ehlo_name="client.example", ca_file=certificates.ca_file())
        with pytest.raises(DeliveryError) as caught, SmtpClient(settings, policy):
            pass
    picture = Picture(settings=replace(settings, host=host, port=587), offers={"AUTH": "LOGIN XOAUTH2"})
    assert diagnose(caught.value, picture).rule == rule
