"""What to do at Microsoft: in Entra, in the admin center, and in Exchange Online, which asks to be told by PowerShell.

The order is that in which each step needs what the one before gave. The names of menus are those of Microsoft's own
pages; where they change, the words name what to look for.
"""

from typing import Final
from urllib.parse import urlencode

from services.connecting import copying
from services.connecting.copying import CopyLine
from services.connecting.steps import ConnectCheck, GuideFacts, GuideStep, StepKey
from services.oauth import providers
from services.oauth.providers import Grant, UnusableProvider

_ENTRA: Final = "Microsoft Entra admin center"
_ENTRA_URLS: Final = {
    "worldwide": "https://entra.microsoft.com",
    "us": "https://entra.microsoft.us",
    "cn": "https://portal.azure.cn",
}
_ADMIN: Final = "Microsoft 365 admin center"
_ADMIN_URLS: Final = {"worldwide": "https://admin.microsoft.com"}
_EXCHANGE: Final = "Exchange Online PowerShell"
_EXCHANGE_URL: Final = "https://learn.microsoft.com/powershell/exchange/connect-to-exchange-online-powershell"
# Microsoft's names of its clouds for Connect-ExchangeOnline; worldwide is the default.
_ENVIRONMENTS: Final = {"us": "O365USGovGCCHigh", "cn": "O365China"}

_NAMES: Final = {
    "client_id": "client ID",
    "object_id": "object ID of the enterprise application",
    "mailbox": "user name of the mail server",
    "from_email": "From address",
}


def steps(way: Grant, facts: GuideFacts) -> list[GuideStep]:
    """All of them for this way."""
    if way is Grant.CLIENT_CREDENTIALS:
        middle = [_secret(), _app_permission(), _consent(facts), _mailbox(facts), _smtp(facts)]
    elif way is Grant.DEVICE:
        middle = [_code(facts), _permission(facts), _smtp(facts, _install(facts))]
    else:
        middle = [_secret(), _permission(facts), _smtp(facts, _install(facts))]
    if facts.entered.is_personal:  # nobody administers its Exchange
        middle = [step for step in middle if step.key is not StepKey.SMTP]
    elif facts.entered.sends_as_another:
        middle.append(_from(way, facts))
    return [_register(way, facts), *middle, _connect(way, facts)]


def _register(way: Grant, facts: GuideFacts) -> GuideStep:
    is_personal, by_redirect = facts.entered.is_personal, way is Grant.CODE
    audience = (
        "Under Supported account types, choose the one that includes personal Microsoft accounts."
        if is_personal
        else "Under Supported account types, choose accounts in your own organisation only (single tenant)."
    )
    redirect = (
        "Under Redirect URI, choose the platform Web and paste the line below."
        if by_redirect
        else "Leave the redirect URI empty. Then choose Register."
    )
    ids = (
        "Copy the Application (client) ID from its Overview page into this field. The tenant is consumers."
        if is_personal
        else "Copy the Application (client) ID and the Directory (tenant) ID from its Overview page into these fields."
    )
    return GuideStep(
        key=StepKey.REGISTER,
        place=_ENTRA,
        url=_entra_url(facts),
        title="Register an application",
        words=(
            "Open App registrations and choose New registration. Name it, for example Sealpost.",
            audience,
            redirect,
            ids,
        ),
        lines=(copying.entry("Redirect URI", facts.verdict.registered_uri),) if by_redirect else (),
        fields=("client_id", "tenant"),
        further="Another cloud or scope",
        further_fields=("cloud", "authority", "scope"),
        why="The registration tells Microsoft which application asks for tokens. It is your own, so you decide what it "
        "may do, and you can end it at any time.",
        caution=_registering_caution(is_personal, by_redirect),
        checks=(ConnectCheck.REDIRECT,) if by_redirect else (),
    )


def _registering_caution(is_personal: bool, by_redirect: bool) -> str:
    if is_personal:
        return (
            "Microsoft registers applications only in an Entra tenant. An Outlook.com or Hotmail account alone has "
            "none: someone with a tenant has to register the application."
        )
    if by_redirect:
        return "Choose Web, not Single-page application: Microsoft ends the sign-ins of those after 24 hours."
    return ""


def _secret() -> GuideStep:
    return GuideStep(
        key=StepKey.SECRET,
        place=_ENTRA,
        title="Create a client secret",
        words=(
            "Open Certificates & secrets in your application, then Client secrets, and choose New client secret.",
            "Choose when it ends: after 24 months at the latest. Enter that date here, too.",
            "Copy the text in the column Value. Microsoft shows it only once.",
        ),
        fields=("client_secret", "secret_ends_on"),
        further="Or use a certificate",
        further_fields=("client_certificate", "client_key"),
        why="The secret shows Microsoft that Sealpost asks, and no one else. Microsoft warns no one before it ends, "
        "and from that day on no email would be sent. Sealpost tells you 30, 7 and 1 days before.",
        caution="Copy the Value, not the Secret ID beside it.",
        checks=(ConnectCheck.TOKEN,),
    )


def _code(facts: GuideFacts) -> GuideStep:
    return GuideStep(
        key=StepKey.CODE,
        place=_ENTRA,
        url=_entra_url(facts),
        title="Allow signing in by code",
        words=(
            "Open Authentication in your application, and look for Allow public client flows.",
            "Set it to Yes, and save.",
        ),
        why="A code is typed on another device, so there is no address for Microsoft to send you back to, and no "
        "secret to keep. Microsoft asks for this setting before it gives out codes.",
        caution="Some organisations block codes by Conditional Access. Microsoft then says so when you sign in: "
        "choose to sign in in this browser instead.",
        checks=(ConnectCheck.TOKEN,),
    )


def _permission(facts: GuideFacts) -> GuideStep:
    scope = facts.entered.scope or f"{facts.entered.cloud_entry.resource}/SMTP.Send"
    return GuideStep(
        key=StepKey.PERMISSION,
        place=_ENTRA,
        title="Allow sending by SMTP",
        words=(
            "Open API permissions in your application, then Add a permission, Microsoft Graph, Delegated permissions.",
            "Search for SMTP.Send, select it, and choose Add permissions.",
            "If your organisation lets only administrators agree, an administrator chooses Grant admin consent on the "
            "same page.",
        ),
        lines=(copying.entry("Permission", "SMTP.Send"), copying.entry("Scope that Sealpost asks for", scope)),
        why="With it Sealpost may send email as the one who signs in, and read nothing. Microsoft lists it under "
        "Microsoft Graph, but the token must be for Outlook, which is why the scope has another name: the mail server "
        "refuses a token for Graph.",
        checks=(ConnectCheck.SCOPE,),
    )


def _app_permission() -> GuideStep:
    return GuideStep(
        key=StepKey.PERMISSION,
        place=_ENTRA,
        title="Allow sending by SMTP",
        words=(
            "Open API permissions in your application, then Add a permission, APIs my organization uses.",
            "Search for Office 365 Exchange Online and choose it, then Application permissions.",
            "Search for SMTP.SendAsApp, select it, and choose Add permissions.",
        ),
        lines=(
            copying.entry("API", "Office 365 Exchange Online"),
            copying.entry("Permission", "SMTP.SendAsApp"),
        ),
        why="SMTP.SendAsApp is for an application without a person. SMTP.Send under Microsoft Graph is another "
        "permission, and does not help here.",
        checks=(ConnectCheck.SCOPE,),
    )


def _consent(facts: GuideFacts) -> GuideStep:
    return GuideStep(
        key=StepKey.CONSENT,
        place=_ENTRA,
        title="Grant admin consent",
        words=(
            "On the same page, an administrator chooses Grant admin consent. The status of the permission must then be "
            "Granted.",
            *_after_link(facts),
        ),
        lines=_consent_link(facts),
        why="An application that signs in by itself can ask no one for consent, so an administrator gives it for the "
        "organisation.",
        checks=(ConnectCheck.TOKEN, ConnectCheck.SCOPE),
    )


def _after_link(facts: GuideFacts) -> tuple[str, ...]:
    if not facts.verdict.can_redirect:
        return ()
    return ("An administrator who follows the link instead is led to Sealpost at the end, and can close that page.",)


def _consent_link(facts: GuideFacts) -> tuple[CopyLine, ...]:
    """For an administrator who has no access to the registration; its redirect URI has to be registered."""
    if not facts.verdict.can_redirect:
        return ()
    label, entered = f"Or a link for the administrator, once {facts.verdict.uri} is registered", facts.entered
    try:
        provider = providers.microsoft(entered.own_tenant, cloud=entered.cloud_entry)
    except UnusableProvider:
        return (copying.entry(label, "", "Enter the tenant to fill this link in."),)
    if not entered.client_id:
        return (copying.entry(label, "", "Enter the client ID to fill this link in."),)
    url, parameters = providers.admin_consent_url(provider, entered.client_id, facts.verdict.uri)
    return (copying.entry(label, f"{url}?{urlencode(parameters)}"),)


def _mailbox(facts: GuideFacts) -> GuideStep:
    return GuideStep(
        key=StepKey.MAILBOX,
        place=_EXCHANGE,
        url=_EXCHANGE_URL,
        title="Let the application use the mailbox",
        words=(
            f"In the {_ENTRA}, open Enterprise applications, choose your application there, and copy its Object ID "
            "into this field.",
            "Open PowerShell on any computer, and run these lines as an administrator of Exchange.",
        ),
        lines=(
            _install(facts),
            _connection(facts),
            _run(
                "Make the application known to Exchange",
                "New-ServicePrincipal -AppId {client_id} -ObjectId {object_id}",
                facts,
            ),
            _run(
                "Let it use the mailbox",
                "Add-MailboxPermission -Identity {mailbox} -User {object_id} -AccessRights FullAccess",
                facts,
            ),
        ),
        fields=("object_id",),
        why="Consent alone opens no mailbox. Exchange has its own list of which application may use which mailbox.",
        caution="Take the Object ID under Enterprise applications. The one under App registrations is another, and "
        "with it the mail server refuses every sign-in (535 5.7.3).",
        checks=(ConnectCheck.SIGN_IN,),
    )


def _smtp(facts: GuideFacts, *before: CopyLine) -> GuideStep:
    """``before`` are lines to run first, where no earlier step has them."""
    return GuideStep(
        key=StepKey.SMTP,
        place=_ADMIN,
        url=_ADMIN_URLS.get(facts.entered.cloud_name, ""),
        title="Turn on SMTP for the mailbox",
        words=(
            f"Open Users, Active users, and choose {facts.who}. Under Mail, choose Manage email apps.",
            "Select Authenticated SMTP, and save. Or run the lines below, up to “For this mailbox”, in Exchange Online "
            "PowerShell.",
            "If it is still refused an hour later, run “For the organisation”. It turns on SMTP for every mailbox that "
            "has no setting of its own.",
        ),
        lines=(
            *before,
            _connection(facts),
            _run(
                "For this mailbox",
                "Set-CASMailbox -Identity {mailbox} -SmtpClientAuthenticationDisabled $false",
                facts,
            ),
            _run("See what is set", "Get-CASMailbox -Identity {mailbox} | Format-List SmtpClientAuth*", facts),
            _run("For the organisation", "Set-TransportConfig -SmtpClientAuthenticationDisabled $false", facts),
        ),
        why="Newer organisations have SMTP turned off, and then a token is refused like a password (535 5.7.139). The "
        "mailbox’s own setting counts before that of the organisation.",
        caution="With security defaults in Entra, SMTP stays off. They have to be turned off, or replaced by "
        "Conditional Access.",
        checks=(ConnectCheck.SIGN_IN,),
    )


def _from(way: Grant, facts: GuideFacts) -> GuideStep:
    trustee = "{object_id}" if way is Grant.CLIENT_CREDENTIALS else "{mailbox}"
    form = f"Add-RecipientPermission -Identity {{from_email}} -Trustee {trustee} -AccessRights SendAs -Confirm:$false"
    return GuideStep(
        key=StepKey.FROM,
        place=_EXCHANGE,
        url=_EXCHANGE_URL,
        title=f"Allow {facts.entered.from_email} as the From address",
        words=(
            f"Run this line as an administrator of Exchange. It lets {facts.who} send as that address.",
            "Or make the From address and the user name of the mail server the same.",
        ),
        lines=(_run("Allow it", form, facts),),
        why="Microsoft accepts only the mailbox itself, or an address that it may send as. Otherwise it accepts the "
        "sign-in and refuses each email (554 5.2.0 SendAsDenied).",
        checks=(ConnectCheck.FROM,),
    )


def _connect(way: Grant, facts: GuideFacts) -> GuideStep:
    shared = "" if facts.entered.is_personal else " For a shared mailbox, sign in as someone who has full access to it."
    signing_in = f"Sign in as {facts.who}.{shared}"
    words = {
        Grant.CODE: (signing_in, "Agree that the application may send email."),
        Grant.DEVICE: (
            "Sealpost shows a code. Open Microsoft’s page on any device, enter the code, and come back.",
            signing_in,
        ),
        Grant.CLIENT_CREDENTIALS: (
            "Sealpost asks Microsoft for a token, and tests it at the mail server. No one signs in.",
            "Changes in Exchange can take an hour to take effect. If the token is refused, test again later.",
        ),
    }[way]
    checks = (ConnectCheck.TOKEN,) if way is Grant.CLIENT_CREDENTIALS else (ConnectCheck.TOKEN, ConnectCheck.MAILBOX)
    return GuideStep(
        key=StepKey.CONNECT,
        place="On this page",
        title="Connect",
        words=words,
        why="Sealpost keeps what Microsoft gives it sealed, renews it by itself, and sends it to no one but Microsoft.",
        checks=checks,
    )


def _entra_url(facts: GuideFacts) -> str:
    return _ENTRA_URLS[facts.entered.cloud_name]


def _install(facts: GuideFacts) -> CopyLine:
    return _run("Install, once for each computer", "Install-Module -Name ExchangeOnlineManagement", facts)


def _connection(facts: GuideFacts) -> CopyLine:
    environment = _ENVIRONMENTS.get(facts.entered.cloud_name, "")
    option = f" -ExchangeEnvironmentName {environment}" if environment else ""
    return _run("Connect", f"Connect-ExchangeOnline{option}", facts)


def _run(label: str, form: str, facts: GuideFacts) -> CopyLine:
    return copying.command(label, form, _NAMES, {name: getattr(facts.entered, name) for name in _NAMES})
