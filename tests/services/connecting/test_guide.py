"""What the guide tells to do: the steps of each way, their lines, and what is said before it goes wrong."""

from typing import Final

import pytest

from services.connecting import guide
from services.connecting.guide import CheckRow, ConnectedState, ConnectView
from services.connecting.redirect_rules import LOCALHOST_URI, judged
from services.connecting.steps import ConnectCheck, Entered, GuideStep, StepKey
from services.oauth.providers import Grant, OAuthProvider

MICROSOFT, GOOGLE = OAuthProvider.MICROSOFT, OAuthProvider.GOOGLE
FASTMAIL, CUSTOM = OAuthProvider.FASTMAIL, OAuthProvider.CUSTOM
CLIENT: Final = "11111111-2222-3333-4444-555555555555"
ENTERPRISE: Final = "66666666-7777-8888-9999-000000000000"
BASE_URL: Final = "https://app.example.com/mail"
URI: Final = "https://app.example.com/mail/oauth/callback"
SHOP: Final = Entered(
    tenant="example.com",
    client_id=CLIENT,
    object_id=ENTERPRISE,
    mailbox="shop@example.com",
    from_email="shop@example.com",
)

KEYS: Final = [
    (MICROSOFT, Grant.CODE, "register secret permission smtp connect"),
    (MICROSOFT, Grant.DEVICE, "register code permission smtp connect"),
    (MICROSOFT, Grant.CLIENT_CREDENTIALS, "register secret permission consent mailbox smtp connect"),
    (GOOGLE, Grant.CODE, "project audience scope register trust connect"),
    (GOOGLE, Grant.SERVICE_ACCOUNT, "service_account delegate connect"),
    (FASTMAIL, Grant.CODE, "register connect"),
    (CUSTOM, Grant.CODE, "register scope connect"),
    (CUSTOM, Grant.DEVICE, "register scope connect"),
    (CUSTOM, Grant.CLIENT_CREDENTIALS, "register scope connect"),
]


def steps(
    provider: OAuthProvider, way: Grant, entered: Entered = SHOP, base_url: str = BASE_URL
) -> dict[StepKey, GuideStep]:
    found = guide.steps_of(provider, way, entered, judged(base_url, provider))
    return {step.key: step for step in found}


def texts(step: GuideStep) -> list[str]:
    return [line.text for line in step.lines]


def said(step: GuideStep) -> str:
    return " ".join([step.title, *step.words, step.why, step.caution])


def shown(provider: OAuthProvider, way: Grant | None, base_url: str = BASE_URL, entered: Entered = SHOP) -> ConnectView:
    return guide.view(provider, way, entered, judged(base_url, provider))


@pytest.mark.parametrize(("provider", "way", "keys"), KEYS)
def test_each_way_has_its_steps_in_order(provider: OAuthProvider, way: Grant, keys: str) -> None:
    assert [key.value for key in steps(provider, way)] == keys.split()


@pytest.mark.parametrize(("provider", "way", "keys"), KEYS)
def test_every_step_says_where_what_and_why_and_ends_its_sentences(
    provider: OAuthProvider, way: Grant, keys: str
) -> None:
    for step in steps(provider, way).values():
        assert step.place
        assert step.title
        assert not step.title.endswith(".")
        for text in [*step.words, step.why, *filter(None, [step.caution])]:
            assert text.endswith((".", "…"))
            assert text[0].isupper()
            assert text == " ".join(text.split())
        assert step.url.startswith("https://") or not step.url


def test_the_redirect_uri_is_a_line_where_a_browser_comes_back_and_nowhere_else() -> None:
    for provider, way, _ in KEYS:
        found = [
            text for step in steps(provider, way).values() for text in texts(step) if text.startswith("https://app")
        ]
        assert found == ([URI] if way is Grant.CODE else [])


def test_without_a_redirect_the_localhost_address_is_the_line() -> None:
    for provider in OAuthProvider:
        step = steps(provider, Grant.CODE, base_url="http://192.168.1.20:5000")[StepKey.REGISTER]
        assert texts(step)[0] == LOCALHOST_URI


def test_the_application_is_let_into_the_mailbox_with_lines_that_are_filled_in() -> None:
    found = steps(MICROSOFT, Grant.CLIENT_CREDENTIALS)
    assert texts(found[StepKey.MAILBOX]) == [
        "Install-Module -Name ExchangeOnlineManagement",
        "Connect-ExchangeOnline",
        f"New-ServicePrincipal -AppId '{CLIENT}' -ObjectId '{ENTERPRISE}'",
        f"Add-MailboxPermission -Identity 'shop@example.com' -User '{ENTERPRISE}' -AccessRights FullAccess",
    ]
    assert texts(found[StepKey.SMTP]) == [
        "Connect-ExchangeOnline",
        "Set-CASMailbox -Identity 'shop@example.com' -SmtpClientAuthenticationDisabled $false",
        "Get-CASMailbox -Identity 'shop@example.com' | Format-List SmtpClientAuth*",
        "Set-TransportConfig -SmtpClientAuthenticationDisabled $false",
    ]
    assert "not the one under App registrations" not in said(found[StepKey.REGISTER])
    assert "The one under App registrations is another" in said(found[StepKey.MAILBOX])
    assert all(not line.lacking for step in found.values() for line in step.lines)


def test_another_from_address_needs_send_as_and_the_same_one_does_not() -> None:
    another = Entered(
        client_id=CLIENT, object_id=ENTERPRISE, mailbox="shop@example.com", from_email="news@example.com", tenant="x.de"
    )
    by_app = steps(MICROSOFT, Grant.CLIENT_CREDENTIALS, another)[StepKey.FROM]
    by_person = steps(MICROSOFT, Grant.CODE, another)[StepKey.FROM]
    assert texts(by_app) == [
        f"Add-RecipientPermission -Identity 'news@example.com' -Trustee '{ENTERPRISE}' "
        "-AccessRights SendAs -Confirm:$false"
    ]
    assert texts(by_person) == [
        "Add-RecipientPermission -Identity 'news@example.com' -Trustee 'shop@example.com' "
        "-AccessRights SendAs -Confirm:$false"
    ]
    assert by_app.checks == (ConnectCheck.FROM,)
    same = Entered(mailbox="Shop@Example.com", from_email="shop@example.com")
    assert StepKey.FROM not in steps(MICROSOFT, Grant.CODE, same)
    assert StepKey.FROM not in steps(GOOGLE, Grant.CODE, another)


def test_a_line_that_lacks_a_value_says_which() -> None:
    found = steps(MICROSOFT, Grant.CLIENT_CREDENTIALS, Entered(client_id=CLIENT, mailbox="shop@example.com"))
    lines = {line.label: line for line in found[StepKey.MAILBOX].lines}
    known = lines["Make the application known to Exchange"]
    assert known.text == f"New-ServicePrincipal -AppId '{CLIENT}' -ObjectId ‹object ID of the enterprise application›"
    assert known.lacking == "Enter the object ID of the enterprise application to fill this line in."
    assert not lines["Connect"].lacking


def test_the_administrators_link_has_the_tenant_the_client_and_our_redirect_uri() -> None:
    link = texts(steps(MICROSOFT, Grant.CLIENT_CREDENTIALS)[StepKey.CONSENT])
    assert link == [
        f"https://login.microsoftonline.com/example.com/v2.0/adminconsent?client_id={CLIENT}"
        "&redirect_uri=https%3A%2F%2Fapp.example.com%2Fmail%2Foauth%2Fcallback"
        "&scope=https%3A%2F%2Fps.outlook.com%2F.default"
    ]
    for tenant in ("", "organizations", "no tenant"):
        entered = Entered(client_id=CLIENT, tenant=tenant)
        [line] = steps(MICROSOFT, Grant.CLIENT_CREDENTIALS, entered)[StepKey.CONSENT].lines
        assert line.lacking == "Enter the tenant to fill this link in."
    assert steps(MICROSOFT, Grant.CLIENT_CREDENTIALS, base_url="http://10.0.0.1")[StepKey.CONSENT].lines == ()


@pytest.mark.parametrize(
    ("cloud", "scope", "connect"),
    [
        ("worldwide", "https://outlook.office.com/SMTP.Send", "Connect-ExchangeOnline"),
        (
            "us",
            "https://outlook.office365.us/SMTP.Send",
            "Connect-ExchangeOnline -ExchangeEnvironmentName O365USGovGCCHigh",
        ),
        ("cn", "https://partner.outlook.cn/SMTP.Send", "Connect-ExchangeOnline -ExchangeEnvironmentName O365China"),
        ("unheard of", "https://outlook.office.com/SMTP.Send", "Connect-ExchangeOnline"),
    ],
)
def test_each_of_microsofts_clouds_has_its_scope_and_its_exchange(cloud: str, scope: str, connect: str) -> None:
    found = steps(MICROSOFT, Grant.CODE, Entered(cloud=cloud, mailbox="a@example.com"))
    assert texts(found[StepKey.PERMISSION]) == ["SMTP.Send", scope]
    assert texts(found[StepKey.SMTP])[:2] == ["Install-Module -Name ExchangeOnlineManagement", connect]


def test_a_scope_that_was_entered_is_the_one_that_is_told() -> None:
    found = steps(MICROSOFT, Grant.CODE, Entered(scope="https://outlook.example/SMTP.Send"))
    assert "https://outlook.example/SMTP.Send" in texts(found[StepKey.PERMISSION])


def test_the_permission_of_a_person_and_of_an_application_have_their_own_names_and_places() -> None:
    person, app = (steps(MICROSOFT, way)[StepKey.PERMISSION] for way in (Grant.CODE, Grant.CLIENT_CREDENTIALS))
    assert "Microsoft Graph, Delegated permissions" in said(person)
    assert "SMTP.Send" in texts(person)
    assert "Office 365 Exchange Online" in texts(app)
    assert "SMTP.SendAsApp" in texts(app)
    assert "Application permissions" in said(app)


def test_it_is_said_to_copy_the_secrets_value_and_when_it_ends() -> None:
    step = steps(MICROSOFT, Grant.CODE)[StepKey.SECRET]
    assert "Copy the Value, not the Secret ID" in step.caution
    assert step.fields == ("client_secret", "secret_ends_on")
    assert "30, 7 and 1 days before" in step.why
    assert step.further_fields == ("client_certificate", "client_key")


def test_that_testing_ends_after_seven_days_is_said_before_anyone_signs_in() -> None:
    for entered in (SHOP, Entered(mailbox="a@gmail.com", is_personal=True)):
        found = list(steps(GOOGLE, Grant.CODE, entered).values())
        audience = next(step for step in found if step.key is StepKey.AUDIENCE)
        assert found.index(audience) < len(found) - 1
        assert "Google ends every sign-in 7 days after it was given" in audience.caution
        assert "connect again afterwards" in audience.caution
        assert "In production" in said(audience)
        assert "100 people" in said(audience)
        assert "is_testing" in audience.fields


def test_whoever_says_testing_is_told_again_right_before_the_sign_in() -> None:
    for is_testing in (True, False):
        connect = steps(GOOGLE, Grant.CODE, Entered(mailbox="a@example.com", is_testing=is_testing))[StepKey.CONNECT]
        assert ("7 days after you connect" in connect.caution) is is_testing


def test_a_workspace_is_told_of_internal_and_a_gmail_address_that_it_has_none() -> None:
    assert "choose Internal" in said(steps(GOOGLE, Grant.CODE)[StepKey.AUDIENCE])
    gmail = steps(GOOGLE, Grant.CODE, Entered(mailbox="a@gmail.com", is_personal=True))
    assert "choose External" in said(gmail[StepKey.AUDIENCE])
    assert StepKey.TRUST not in gmail


def test_the_delegation_has_the_service_accounts_client_id_and_the_scope() -> None:
    found = steps(GOOGLE, Grant.SERVICE_ACCOUNT, Entered(delegate_id="103456789012345678901"))
    assert texts(found[StepKey.DELEGATE]) == ["103456789012345678901", "https://mail.google.com/"]
    [missing, _] = steps(GOOGLE, Grant.SERVICE_ACCOUNT)[StepKey.DELEGATE].lines
    assert missing.lacking == "Save the key to fill this line in."


def test_a_personal_microsoft_account_is_told_that_it_needs_a_tenant_and_nothing_of_exchange() -> None:
    entered = Entered(mailbox="a@outlook.com", from_email="b@outlook.com", is_personal=True, tenant="consumers")
    found = steps(MICROSOFT, Grant.CODE, entered)
    assert [key.value for key in found] == ["register", "secret", "permission", "connect"]
    assert "only in an Entra tenant" in found[StepKey.REGISTER].caution
    assert "personal Microsoft accounts" in said(found[StepKey.REGISTER])


def test_no_way_asks_for_a_field_twice_and_each_asks_for_the_client() -> None:
    for provider, way, _ in KEYS:
        fields = [name for step in steps(provider, way).values() for name in (*step.fields, *step.further_fields)]
        assert len(fields) == len(set(fields))
        assert ("service_account" if way is Grant.SERVICE_ACCOUNT else "client_id") in fields


@pytest.mark.parametrize(
    ("provider", "base_url", "best"),
    [
        (MICROSOFT, BASE_URL, Grant.CODE),
        (MICROSOFT, "http://192.168.1.20", Grant.DEVICE),
        (MICROSOFT, "http://localhost:5000", Grant.CODE),
        (GOOGLE, BASE_URL, Grant.CODE),
        (GOOGLE, "https://192.168.1.20", Grant.CODE),
        (FASTMAIL, "http://192.168.1.20", Grant.CODE),
        (CUSTOM, BASE_URL, Grant.CODE),
    ],
)
def test_the_best_way_is_chosen_until_another_is(provider: OAuthProvider, base_url: str, best: Grant) -> None:
    found = shown(provider, None, base_url)
    assert found.way is best
    assert [choice.way for choice in found.ways if choice.is_best] == [best]


def test_a_way_that_the_provider_does_not_offer_is_not_shown() -> None:
    assert shown(GOOGLE, Grant.DEVICE).way is Grant.CODE
    assert shown(FASTMAIL, Grant.CLIENT_CREDENTIALS).way is Grant.CODE
    personal = Entered(mailbox="a@outlook.com", is_personal=True)
    assert shown(MICROSOFT, Grant.CLIENT_CREDENTIALS, entered=personal).way is Grant.CODE
    assert [choice.way for choice in shown(GOOGLE, None, entered=personal).ways] == [Grant.CODE]


def test_the_address_is_pasted_back_only_where_no_redirect_comes() -> None:
    assert not shown(GOOGLE, Grant.CODE).is_pasted
    assert shown(GOOGLE, Grant.CODE, "https://192.168.1.20").is_pasted
    assert not shown(MICROSOFT, Grant.DEVICE, "http://192.168.1.20").is_pasted


def test_the_button_says_whom_it_leads_to_and_again_once_there_was_a_sign_in() -> None:
    labels = [shown(provider, None).connect_label for provider in (MICROSOFT, GOOGLE, FASTMAIL, CUSTOM)]
    assert labels == ["Connect with Microsoft", "Connect with Google", "Connect with Fastmail", "Connect by OAuth"]
    dead = ConnectedState(level="error", headline="Needs sign-in again", needs_sign_in=True)
    verdict = judged(BASE_URL, MICROSOFT)
    assert guide.view(MICROSOFT, None, SHOP, verdict, state=dead).connect_label == "Connect again"


def test_checks_that_were_not_made_are_shown_as_not_reached_and_only_those_that_the_way_has() -> None:
    made = (CheckRow(check=ConnectCheck.TOKEN, status="ok"),)
    found = guide.view(MICROSOFT, Grant.CLIENT_CREDENTIALS, SHOP, judged(BASE_URL, MICROSOFT), found=made)
    assert [(row.check.value, row.status) for row in found.checks] == [
        ("token", "ok"),
        ("scope", "pending"),
        ("sign_in", "pending"),
        ("from", "pending"),
    ]
    assert [row.check.value for row in shown(GOOGLE, Grant.CODE).checks] == [
        "redirect", "token", "scope", "mailbox", "sign_in", "from",
    ]  # fmt: skip
