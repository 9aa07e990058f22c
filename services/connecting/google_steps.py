"""What to do at Google: in the Cloud console, and for a Workspace in its Admin console.

The names of menus are those of Google's own pages; where they change, the words name what to look for.
"""

from typing import Final

from services.connecting import copying
from services.connecting.calendar import GOOGLE_TESTING
from services.connecting.steps import ConnectCheck, GuideFacts, GuideStep, StepKey
from services.oauth.providers import GOOGLE_SCOPE, Grant

_TESTING_DAYS: Final = GOOGLE_TESTING.days
_TESTING: Final = (
    f"You said that the publishing status is Testing: Google ends this sign-in {_TESTING_DAYS} days after you connect. "
    "Only test users that are listed under Audience can sign in."
)
_CLOUD: Final = "Google Cloud console"
_PROJECTS: Final = "https://console.cloud.google.com"
_AUTH: Final = "https://console.cloud.google.com/auth/{page}"
_SERVICE_ACCOUNTS: Final = "https://console.cloud.google.com/iam-admin/serviceaccounts"
_ADMIN: Final = "Google Admin console"
_ADMIN_URL: Final = "https://admin.google.com"


def steps(way: Grant, facts: GuideFacts) -> list[GuideStep]:
    """All of them for this way."""
    if way is Grant.SERVICE_ACCOUNT:
        return [_service_account(), _delegation(facts), _connect(way, facts)]
    trust = [] if facts.entered.is_personal else [_trust(facts)]
    return [_project(facts), _audience(facts), _scope(), _client(facts), *trust, _connect(way, facts)]


def _project(facts: GuideFacts) -> GuideStep:
    where = (
        "Choose or create a project. It needs no organisation and no billing account."
        if facts.entered.is_personal
        else "Choose or create a project. Under Organization or Location, choose that of your Workspace: only then can "
        "the application be Internal."
    )
    return GuideStep(
        key=StepKey.PROJECT,
        place=_CLOUD,
        url=_PROJECTS,
        title="Choose a project",
        words=(where,),
        why="Google keeps the registration of an application in a project.",
    )


def _audience(facts: GuideFacts) -> GuideStep:
    publish = (
        "Then look for Publishing status, choose Publish app, and confirm. The status must be In production. You need "
        "not send it in for verification."
    )
    if facts.entered.is_personal:
        words = ("As audience, choose External: Internal is only for a Workspace.", publish)
    else:
        words = (
            "As audience, choose Internal if the mailbox is in your own Workspace. There is nothing to publish then.",
            f"If only External is offered, choose it. {publish}",
        )
    return GuideStep(
        key=StepKey.AUDIENCE,
        place=_CLOUD,
        url=_AUTH.format(page="audience"),
        title="Say who the application is for",
        words=(
            "Open Google Auth Platform. If it asks you to get started, enter a name, for example Sealpost, and your "
            "address.",
            *words,
        ),
        fields=("is_testing",),
        why="An Internal application needs no review by Google. An External one that Google has not verified shows a "
        "warning when you sign in, and at most 100 people can sign in to it. For a mailbox of your own that is enough: "
        "choose Advanced on that page, then the link that goes on to your application.",
        caution=f"Not Testing: while the status is Testing, Google ends every sign-in {_TESTING_DAYS} days after it "
        "was given, and no more email is sent. One from before you publish still ends: connect again afterwards.",
        checks=(ConnectCheck.TOKEN,),
    )


def _scope() -> GuideStep:
    return GuideStep(
        key=StepKey.SCOPE,
        place=_CLOUD,
        url=_AUTH.format(page="scopes"),
        title="Add the scope",
        words=(
            "Open Data Access in Google Auth Platform, and choose Add or remove scopes.",
            "If the scope is not in the list, paste it where scopes are added manually, to the letter. Then save.",
        ),
        lines=(copying.entry("Scope", GOOGLE_SCOPE),),
        why="Google has one scope for SMTP. It names all of Gmail; Sealpost only sends with it.",
        checks=(ConnectCheck.SCOPE,),
    )


def _client(facts: GuideFacts) -> GuideStep:
    return GuideStep(
        key=StepKey.REGISTER,
        place=_CLOUD,
        url=_AUTH.format(page="clients"),
        title="Create a client",
        words=(
            "Open Clients in Google Auth Platform, and choose Create client.",
            "As application type, choose Web application. Under Authorized redirect URIs, add the line below.",
            "Copy the client ID and the client secret into these fields. Google shows the secret only now.",
        ),
        lines=(copying.entry("Redirect URI", facts.verdict.registered_uri),),
        fields=("client_id", "client_secret"),
        why="The client tells Google which application asks for tokens. It is your own, so you decide what it may do, "
        "and you can end it at any time.",
        caution="Under Authorized redirect URIs, not under Authorized JavaScript origins. A change can take a few "
        "minutes to take effect.",
        checks=(ConnectCheck.REDIRECT,),
    )


def _trust(facts: GuideFacts) -> GuideStep:
    return GuideStep(
        key=StepKey.TRUST,
        place=_ADMIN,
        url=_ADMIN_URL,
        title="Only if your Workspace limits apps: trust this one",
        words=(
            "As an administrator, open Security, Access and data control, API controls, and look for app access "
            "control.",
            "Add the application by its client ID, and let it be trusted.",
        ),
        lines=(copying.entry("Client ID", facts.entered.client_id, "Enter the client ID to fill this line in."),),
        why="Administrators can close Gmail to applications. Google then says so when you sign in "
        "(admin_policy_enforced).",
        checks=(ConnectCheck.TOKEN,),
    )


def _service_account() -> GuideStep:
    return GuideStep(
        key=StepKey.SERVICE_ACCOUNT,
        place=_CLOUD,
        url=_SERVICE_ACCOUNTS,
        title="Create a service account and its key",
        words=(
            "Open IAM & Admin, Service Accounts, and choose Create service account. It needs no role.",
            "Open it, then Keys, Add key, Create new key, JSON. Your browser saves a file.",
            "Paste the whole content of the file here, then delete the file.",
        ),
        fields=("service_account",),
        why="A service account belongs to no person, so nothing ends when someone leaves or changes their password.",
        caution="If Google refuses to create the key, a policy of your organisation forbids it "
        "(iam.disableServiceAccountKeyCreation). Its administrator can make an exception for the project.",
        checks=(ConnectCheck.TOKEN,),
    )


def _delegation(facts: GuideFacts) -> GuideStep:
    return GuideStep(
        key=StepKey.DELEGATE,
        place=_ADMIN,
        url=_ADMIN_URL,
        title="Let it act for mailboxes of the Workspace",
        words=(
            "As a super administrator, open Security, Access and data control, API controls, Manage Domain Wide "
            "Delegation.",
            "Choose Add new, and enter these two lines. Then choose Authorize.",
        ),
        lines=(
            copying.entry("Client ID", facts.entered.delegate_id, "Save the key to fill this line in."),
            copying.entry("OAuth scopes", GOOGLE_SCOPE),
        ),
        why="Without the delegation a service account has no mailbox to send from. It applies to every mailbox of "
        "the Workspace, so use the key for nothing else.",
        caution="It can take up to a day to take effect. Until then Google refuses with unauthorized_client.",
        checks=(ConnectCheck.TOKEN, ConnectCheck.SCOPE),
    )


def _connect(way: Grant, facts: GuideFacts) -> GuideStep:
    words: tuple[str, ...]
    if way is Grant.SERVICE_ACCOUNT:
        words = (
            f"Sealpost asks Google for a token for {facts.who}, and tests it at the mail server. No one signs in.",
        )
    else:
        words = (
            f"Sign in as {facts.who}.",
            "Where Google asks what Sealpost may do, leave the box for Gmail selected.",
        )
    return GuideStep(
        key=StepKey.CONNECT,
        place="On this page",
        title="Connect",
        words=words,
        caution=_TESTING if way is Grant.CODE and facts.entered.is_testing else "",
        why="Sealpost keeps what Google gives it sealed, renews it by itself, and sends it to no one but Google.",
        checks=(ConnectCheck.TOKEN,) if way is Grant.SERVICE_ACCOUNT else (ConnectCheck.TOKEN, ConnectCheck.MAILBOX),
    )
