"""What to do at Fastmail, and at a provider of which nothing is known before."""

from typing import Final

from services.connecting import copying
from services.connecting.steps import ConnectCheck, GuideFacts, GuideStep, StepKey
from services.oauth.providers import FASTMAIL_SCOPE, Grant

_FASTMAIL_URL: Final = "https://www.fastmail.com/developer/oauth/"
_URLS: Final = {
    Grant.CODE: ("authorize_url", "token_url"),
    Grant.DEVICE: ("device_url", "token_url"),
    Grant.CLIENT_CREDENTIALS: ("token_url",),
    Grant.SERVICE_ACCOUNT: ("token_url",),
}


def fastmail(facts: GuideFacts) -> list[GuideStep]:
    """Fastmail registers each application by hand."""
    register = GuideStep(
        key=StepKey.REGISTER,
        place="Fastmail",
        url=_FASTMAIL_URL,
        title="Ask Fastmail to register your application",
        words=(
            "Fastmail registers applications by hand. Its page for developers says whom to ask, and what to tell them.",
            "Tell them the name of your application and these two lines.",
            "Enter the client ID that they give you, and the client secret if there is one.",
        ),
        lines=(
            copying.entry("Redirect URI", facts.verdict.registered_uri),
            copying.entry("Scopes", f"{FASTMAIL_SCOPE} offline_access"),
        ),
        fields=("client_id", "client_secret"),
        why="The registration tells Fastmail which application asks for tokens.",
        caution="An app password works at Fastmail, too, and takes a minute: in its settings, look for Privacy & "
        "Security, then app passwords. Enter it as the password of the mail server.",
        checks=(ConnectCheck.REDIRECT,),
    )
    return [register, _connect("Fastmail", Grant.CODE, facts)]


def custom(way: Grant, facts: GuideFacts) -> list[GuideStep]:
    """Only what every provider has, by the names that RFC 6749 and RFC 8414 use."""
    by_redirect = way is Grant.CODE
    redirect = ("Register the redirect URI below, to the letter.",) if by_redirect else ()
    register = GuideStep(
        key=StepKey.REGISTER,
        place="Your provider",
        title="Register an application",
        words=(
            "Register an application (also called a client). Your provider’s pages for developers say where.",
            *redirect,
            "Enter the client ID here, and the client secret if there is one.",
        ),
        lines=(copying.entry("Redirect URI", facts.verdict.registered_uri),) if by_redirect else (),
        fields=("client_id", "client_secret", "secret_ends_on"),
        why="The registration tells the provider which application asks for tokens.",
        checks=(ConnectCheck.REDIRECT,) if by_redirect else (),
    )
    addresses = GuideStep(
        key=StepKey.SCOPE,
        place="Your provider",
        title="Enter its addresses",
        words=(
            "The provider’s pages for developers name them. Many publish them at /.well-known/openid-configuration or "
            "/.well-known/oauth-authorization-server.",
            "Enter the scope that allows sending by SMTP, as the provider writes it.",
        ),
        fields=(*_URLS[way], "scope"),
        further="What else the provider has",
        further_fields=("revoke_url", "issuer"),
        why="The client secret and the refresh token are sent to the token URL and nowhere else, and the token only to "
        "the mail server of this page. Change either, and you connect again.",
        checks=(ConnectCheck.TOKEN, ConnectCheck.SCOPE),
    )
    return [register, addresses, _connect("the provider", way, facts)]


def _connect(name: str, way: Grant, facts: GuideFacts) -> GuideStep:
    words = {
        Grant.CODE: f"Sign in as {facts.who}, and agree that the application may send email.",
        Grant.DEVICE: "Sealpost shows a code. Open the provider’s page on any device, enter the code, and come back. "
        f"Sign in there as {facts.who}.",
    }.get(way, f"Sealpost asks {name} for a token, and tests it at the mail server. No one signs in.")
    signs_in = way in (Grant.CODE, Grant.DEVICE)
    return GuideStep(
        key=StepKey.CONNECT,
        place="On this page",
        title="Connect",
        words=(words,),
        why=f"Sealpost keeps what it is given sealed, renews it by itself, and sends it to no one but {name}.",
        checks=(ConnectCheck.TOKEN, ConnectCheck.MAILBOX) if signs_in else (ConnectCheck.TOKEN,),
    )
