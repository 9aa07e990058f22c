"""`flask account sign-in-link | oidc-check`: for the locked-out, and whether single sign-on works."""

from typing import Final

import click

from blueprints.cli.frame import answer, command
from blueprints.cli.people import account
from services.accounts import sign_in_links
from services.single_sign_on import flow, provider
from services.single_sign_on.failures import SignOnFailure
from utils.env_utils import get_settings
from utils.errors import Conflict, NotFound

__all__ = ["account"]  # with what is added to it here

_MINUTES: Final = int(sign_in_links.LIFE.total_seconds() // 60)


@command(account, "sign-in-link")
@click.argument("username")
def sign_in_link(username: str, *, as_json: bool) -> None:
    """Print a link that signs someone in once.

    For someone who is locked out: it needs no provider, password or second factor. USERNAME can also be the address.
    """
    url = sign_in_links.issue(username)
    if not as_json:
        click.echo(f"It works once, within {_MINUTES} minutes, for anyone who has it:", err=True)
    answer(as_json, {"url": url, "minutes": _MINUTES}, url)


@command(account, "oidc-check")
def oidc_check(*, as_json: bool) -> None:
    """Ask whether the provider of OIDC_ISSUER can be used.

    Exit status 1 if it cannot be used now.
    """
    ours = get_settings().oidc
    if ours is None:
        raise NotFound("OIDC_ISSUER is not set. See docs/single-sign-on.md.")
    try:
        facts = provider.discovered(ours)
        keys = len(provider.keys(facts))
    except SignOnFailure as failure:
        raise Conflict(f"{ours.issuer}: {failure}. {failure.words(ours.name)}") from None
    told = {
        "issuer": facts.issuer,
        "redirect_uri": flow.redirect_uri(),
        "signs_with": sorted(facts.algorithms),
        "keys": keys,
        "signs_out": bool(facts.end_session_url),
    }
    answer(
        as_json,
        told,
        f"{facts.issuer} can be used: {keys} keys, {', '.join(sorted(facts.algorithms))}.",
        f"Register this redirect URI there: {flow.redirect_uri()}",
        f"Where it asks for one after signing out: {flow.signed_out_uri()}"
        if facts.end_session_url
        else "It has no page to sign out at.",
    )
