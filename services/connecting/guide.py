"""The guide to a connection: which ways there are, which suits best, and what to do in order.

All of it follows from what was entered and from BASE_URL. Nothing here asks anyone or stores anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from services.connecting import google_steps, microsoft_steps, other_steps
from services.connecting.redirect_rules import RedirectVerdict
from services.connecting.steps import CHECK_LABELS, ConnectCheck, Entered, GuideFacts, GuideStep, StepKey
from services.oauth.client import UnusableKey
from services.oauth.providers import Grant, OAuthProvider
from services.oauth.registration import Registration

PROVIDER_NAMES: Final = {
    OAuthProvider.MICROSOFT: "Microsoft",
    OAuthProvider.GOOGLE: "Google",
    OAuthProvider.FASTMAIL: "Fastmail",
    OAuthProvider.CUSTOM: "Another provider",
}
CONNECT_LABELS: Final = {
    OAuthProvider.MICROSOFT: "Connect with Microsoft",
    OAuthProvider.GOOGLE: "Connect with Google",
    OAuthProvider.FASTMAIL: "Connect with Fastmail",
    OAuthProvider.CUSTOM: "Connect by OAuth",
}
_WAYS: Final = {
    OAuthProvider.MICROSOFT: (Grant.CODE, Grant.DEVICE, Grant.CLIENT_CREDENTIALS),
    OAuthProvider.GOOGLE: (Grant.CODE, Grant.SERVICE_ACCOUNT),
    OAuthProvider.FASTMAIL: (Grant.CODE,),
    OAuthProvider.CUSTOM: (Grant.CODE, Grant.DEVICE, Grant.CLIENT_CREDENTIALS),
}
FILL_IN: Final = ("client_id", "tenant", "object_id", "cloud", "scope")  # fields that stand in lines; none is secret
_BY_ITSELF: Final = (Grant.CLIENT_CREDENTIALS, Grant.SERVICE_ACCOUNT)
_WAY_TITLES: Final = {
    Grant.CODE: "Someone signs in, in this browser",
    Grant.DEVICE: "Someone signs in with a code, on any device",
    Grant.CLIENT_CREDENTIALS: "The application signs in by itself",
    Grant.SERVICE_ACCOUNT: "The application signs in by itself (service account)",
}
_WAY_WORDS: Final = {
    Grant.CODE: "You sign in as the mailbox once. Sealpost sends as it from then on.",
    Grant.DEVICE: "Needs no redirect URI and no client secret. Some organisations block codes.",
    Grant.CLIENT_CREDENTIALS: "No one signs in, and nothing ends when someone leaves or changes a password. Needs an "
    "administrator.",
    Grant.SERVICE_ACCOUNT: "Only for a Google Workspace. No one signs in, and nothing ends when someone leaves or "
    "changes a password. Needs a super administrator.",
}


@dataclass(frozen=True, kw_only=True)
class WayChoice:
    """A way to a token that can be chosen; ``hint`` says whom it suits."""

    way: Grant
    title: str
    hint: str
    is_best: bool


@dataclass(frozen=True, kw_only=True)
class CheckRow:
    """What came of a check: ``status`` is ok, warning, failed, skipped or pending, as in the connection test.

    ``fact`` says what was seen and ``remedy`` what to do. ``step`` is the number of the step that is missing.
    """

    check: ConnectCheck
    status: str = "pending"
    fact: str = ""
    remedy: str = ""
    step: int | None = None

    @property
    def label(self) -> str:
        """What is checked."""
        return CHECK_LABELS[self.check]


@dataclass(frozen=True, kw_only=True)
class EndLine:
    """Something that will end, in words; ``level`` is that of a status: info, warning or error."""

    words: str
    remedy: str = ""
    level: str = "info"


@dataclass(frozen=True, kw_only=True)
class ConnectedState:
    """How the connection is: ``level`` and ``headline`` as in other state panels.

    ``can_end``: whether there is anything to disconnect. ``has_password``: the old password serves until a test passes.
    """

    level: str
    headline: str
    detail: str = ""
    mailbox: str = ""
    granted_by: str = ""
    granted_at: datetime | None = None
    renewed_at: datetime | None = None
    endings: tuple[EndLine, ...] = ()
    needs_sign_in: bool = False
    has_password: bool = False
    can_end: bool = True


@dataclass(frozen=True, kw_only=True)
class ShownCode:
    """A code that waits to be typed at the provider; ``interval`` is in seconds."""

    user_code: str
    url: str
    ends_at: datetime
    interval: int = 5


@dataclass(frozen=True, kw_only=True)
class ConnectView:
    """All that the page shows of a connection.

    ``code`` is there while one waits to be typed. ``state`` is None before anything was registered. ``is_ready``: what
    is registered is stored, and is enough to sign in with. ``providers`` are those that suit the server.
    """

    provider: OAuthProvider
    way: Grant
    ways: tuple[WayChoice, ...]
    entered: Entered
    verdict: RedirectVerdict
    steps: tuple[GuideStep, ...]
    checks: tuple[CheckRow, ...]
    state: ConnectedState | None = None
    code: ShownCode | None = None
    providers: tuple[OAuthProvider, ...] = ()
    is_ready: bool = False

    @property
    def connect_label(self) -> str:
        """What the button says."""
        again = self.state is not None and (self.state.granted_at or self.state.needs_sign_in)
        return "Connect again" if again else CONNECT_LABELS[self.provider]

    @property
    def provider_name(self) -> str:
        """Whose pages are opened, within a sentence."""
        return "the provider" if self.provider is OAuthProvider.CUSTOM else PROVIDER_NAMES[self.provider]

    @property
    def provider_choices(self) -> list[tuple[str, str]]:
        """Values and names to choose the provider by."""
        return [(each.value, PROVIDER_NAMES[each]) for each in self.providers]

    @property
    def is_by_browser(self) -> bool:
        """Whether a browser is sent away and comes back, or ends at an address that is pasted."""
        return self.way is Grant.CODE

    @property
    def is_pasted(self) -> bool:
        """Whether the address at which the browser ends has to be pasted."""
        return self.is_by_browser and not self.verdict.can_redirect


def entered_of(
    registration: Registration, *, mailbox: str, from_email: str, is_personal: bool = False, object_id: str = ""
) -> Entered:
    """What is stored of a registration, and which server it is for; nothing of it is secret."""
    try:
        delegate_id = registration.account.client_id if registration.service_account else ""
    except UnusableKey:
        delegate_id = ""
    return Entered(
        tenant=registration.tenant,
        cloud=registration.cloud,
        client_id=registration.client_id,
        object_id=object_id,
        delegate_id=delegate_id,
        scope=registration.scope,
        mailbox=mailbox,
        from_email=from_email,
        is_personal=is_personal,
        is_testing=registration.is_testing,
    )


def typed_over(entered: Entered, typed: Mapping[str, str]) -> Entered:
    """The same with what was just typed in place of what is stored, so that lines can be filled in with it."""
    changes: dict[str, Any] = {name: typed[name].strip() for name in FILL_IN if name in typed}
    return replace(entered, **changes)


def ways_of(provider: OAuthProvider, verdict: RedirectVerdict, entered: Entered) -> tuple[WayChoice, ...]:
    """The ways to a token that suit the mailbox, the best marked."""
    offered = [way for way in _WAYS[provider] if not (entered.is_personal and way in _BY_ITSELF)]
    best = best_way(provider, verdict)
    return tuple(
        WayChoice(way=way, title=_WAY_TITLES[way], hint=_WAY_WORDS[way], is_best=way is best) for way in offered
    )


def best_way(provider: OAuthProvider, verdict: RedirectVerdict) -> Grant:
    """The way with the fewest steps: by redirect, or by code where that would end at an address to paste."""
    return Grant.DEVICE if provider is OAuthProvider.MICROSOFT and not verdict.can_redirect else Grant.CODE


def steps_of(provider: OAuthProvider, way: Grant, entered: Entered, verdict: RedirectVerdict) -> tuple[GuideStep, ...]:
    """What to do, in order."""
    facts = GuideFacts(entered=entered, verdict=verdict)
    match provider:
        case OAuthProvider.MICROSOFT:
            return tuple(microsoft_steps.steps(way, facts))
        case OAuthProvider.GOOGLE:
            return tuple(google_steps.steps(way, facts))
        case OAuthProvider.FASTMAIL:
            return tuple(other_steps.fastmail(facts))
        case OAuthProvider.CUSTOM:
            return tuple(other_steps.custom(way, facts))


def checks_of(way: Grant) -> tuple[ConnectCheck, ...]:
    """What can be checked of a connection in this way, in order."""
    left_out = {
        Grant.CODE: (),
        Grant.DEVICE: (ConnectCheck.REDIRECT,),
        Grant.CLIENT_CREDENTIALS: (ConnectCheck.REDIRECT, ConnectCheck.MAILBOX),
        Grant.SERVICE_ACCOUNT: (ConnectCheck.REDIRECT, ConnectCheck.MAILBOX),
    }[way]
    return tuple(check for check in ConnectCheck if check not in left_out)


def view(
    provider: OAuthProvider,
    way: Grant | None,
    entered: Entered,
    verdict: RedirectVerdict,
    *,
    found: tuple[CheckRow, ...] = (),
    state: ConnectedState | None = None,
    code: ShownCode | None = None,
    providers: tuple[OAuthProvider, ...] = (),
    is_ready: bool = False,
) -> ConnectView:
    """The whole page. ``found`` are the checks that were made; those that were not are shown as not reached."""
    ways = ways_of(provider, verdict, entered)
    chosen = way if way in [choice.way for choice in ways] else best_way(provider, verdict)
    made = {row.check: row for row in found}
    return ConnectView(
        provider=provider,
        way=chosen,
        ways=ways,
        entered=entered,
        verdict=verdict,
        steps=steps_of(provider, chosen, entered, verdict),
        checks=tuple(made.get(check, CheckRow(check=check)) for check in checks_of(chosen)),
        state=state,
        code=code,
        providers=providers or (provider,),
        is_ready=is_ready,
    )


def number_of(key: StepKey, steps: tuple[GuideStep, ...]) -> int | None:
    """The number of a step as the page counts them; None where this way has no such step."""
    return next((number for number, step in enumerate(steps, 1) if step.key is key), None)
