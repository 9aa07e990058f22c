"""Signing in at an OpenID Connect provider: the way there and back, and what one's account is linked with.

A form of ours leads to the provider by a page in between: Chromium applies ``form-action`` to all that a form leads to,
and a provider may send people on to anywhere.
"""

from collections.abc import Callable
from typing import Final

from flask import Blueprint, Response, flash, make_response, redirect, render_template, request, url_for
from flask_login import current_user

from blueprints import access, refusals, sessions
from blueprints.connecting import beginner
from blueprints.link_cookies import private
from blueprints.pages import auth
from services.accounts import sign_in_links
from services.accounts.proofs import Proof
from services.factors import confirming
from services.single_sign_on import flow, people, provider
from services.single_sign_on.claims import ProvenIdentity
from services.single_sign_on.failures import SignOnFailure, SignOnFault
from services.single_sign_on.flow import Aim, Errand
from utils.env_utils import get_settings
from utils.errors import InvalidInput, NotFound
from utils.oidc_env import OidcSettings

bp = Blueprint("single_sign_on", __name__)

COOKIE: Final = "provider"
_LONGEST_NEXT: Final = 300  # it goes through the provider's address, too
_LONGEST_ANSWER: Final = 8192
_DOWN: Final = (SignOnFault.UNREACHABLE, SignOnFault.UNUSABLE)
_LOSES_RIGHTS: Final = (
    "{name} does not name you as an administrator. Once you sign in by it, you are none here any more."
)


@bp.get("/login/oidc")
@access.public
@access.limiter.limit("60 per 15 minutes")
def begin() -> Response:
    """Send the browser to the provider's page."""
    _configured()
    wanted = access.local_path(request.args.get("next", "")[:_LONGEST_NEXT], request.script_root)
    try:
        away = _begun(Errand(next=wanted or ""))
    except SignOnFailure as failure:
        return _failed(failure)
    return private(make_response(redirect(away.url, 303)))


@bp.get(flow.CALLBACK_PATH)
@access.public
@access.limiter.limit("60 per 15 minutes")
def callback() -> Response:
    """Where the provider sends the browser back to. It always leads on, so that no code stays in the history."""
    _configured()
    try:
        who, errand = flow.finish(_answer(), sessions.cookie(COOKIE))
        return private(_AIMS[errand.aim](who, errand))
    except SignOnFailure as failure:
        return _failed(failure)


@bp.post("/reset-password/oidc")  # below the page whose cookie has the link
@access.public
@access.limiter.limit("30 per 15 minutes")
def begin_invited() -> Response:
    """Send somebody to the provider who was invited here, and came by the link of the invitation."""
    _configured()
    return _sent_away(Errand(aim=Aim.INVITATION, token=auth.reset_link.token() or ""))


@bp.post("/account/sign-ins/link")
@access.signed_in
def begin_link() -> Response:
    """Send whoever is signed in to the provider, so that they can sign in by it."""
    _configured()
    try:
        access.require_recent_sign_in()
    except InvalidInput as refused:
        return _link_page(refused.errors, refused.status)
    return _sent_away(Errand(aim=Aim.LINK, place=beginner().place))


@bp.get("/account/sign-ins/link")
@access.signed_in
def ask_link() -> Response:
    """Ask whether to link one's account."""
    _configured()
    return _link_page({}, 200)


@bp.get("/account/sign-ins/confirm")
@access.signed_in
def begin_confirmation() -> Response:
    """Send whoever is signed in to the provider to show once more who they are."""
    _configured()
    try:
        away = _begun(Errand(aim=Aim.CONFIRM, place=beginner().place))
    except SignOnFailure as failure:
        return _failed(failure)
    return private(make_response(redirect(away.url, 303)))


@bp.post("/account/sign-ins/<int:identity_id>/unlink")
@access.signed_in
def unlink(identity_id: int) -> Response:
    """Let nobody come in to one's account by this any more."""
    try:
        access.require_recent_sign_in()
    except InvalidInput as refused:
        return _unlink_page(identity_id, refused.errors, refused.status)
    unlinked = people.unlink(current_user.id, identity_id)
    flash(f"{unlinked.label} is no longer linked.", "success")
    return make_response(redirect(url_for("account.show"), 303))


@bp.get("/account/sign-ins/<int:identity_id>/unlink")
@access.signed_in
def ask_unlink(identity_id: int) -> Response:
    """Ask whether to end that."""
    return _unlink_page(identity_id, {}, 200)


@bp.get(flow.SIGNED_OUT_PATH)
@access.public
def signed_out() -> Response:
    """Say what of a sign-in elsewhere is not ended by signing out here, and where it is."""
    if current_user.is_authenticated:
        return make_response(redirect(url_for("pages.home"), 303))
    ours = get_settings()
    proxy = ours.proxy_user
    page = render_template(
        "auth/signed_out.html",
        end_url=flow.end_session_url() if ours.oidc else "",
        by_proxy=proxy is not None,
        proxy_url=proxy.sign_out_url if proxy else "",
    )
    return private(make_response(page))


@bp.get(sign_in_links.PATH)
@access.public
def link() -> Response:
    """Swap the token of a link from the command line for a cookie, then show whom it lets in. Uses nothing up."""
    return auth.sign_in_link.shown()


@bp.post(sign_in_links.PATH)
@access.public
@access.limiter.limit("30 per 15 minutes")
def redeem_link() -> Response:
    """Use the link up, and sign in."""
    person = sign_in_links.redeem(auth.sign_in_link.token() or "")
    if person is None:
        return auth.sign_in_link.page()
    sessions.sign_in(person, [Proof.LINK])
    return private(auth.sign_in_link.forget(make_response(redirect(url_for("pages.home"), 303))))


def _signed_in(who: ProvenIdentity, errand: Errand) -> Response:
    """Begin a session; where another tab has done so meanwhile for the same person, that one goes on."""
    person = people.sign_in(who)
    here = sessions.still_signed_in()
    if here is not None and here.id == person.id and Proof.OIDC in here.session.proven_by:
        sessions.renew([Proof.OIDC])
        return make_response(redirect(_next(errand) or auth.home_of(person.is_admin), 303))
    return make_response(auth.signed_in(person, [Proof.OIDC], onward=_next(errand) or ""))


def _invited(who: ProvenIdentity, errand: Errand) -> Response:
    person = people.accept_invitation(errand.token, who)
    sessions.sign_in(person, [Proof.OIDC])
    flash("Welcome. From now on you sign in this way.", "success")
    return auth.reset_link.forget(make_response(redirect(auth.home_of(person.is_admin), 303)))


def _linked(who: ProvenIdentity, errand: Errand) -> Response:
    _require_beginner(errand)
    people.link(current_user.id, who)
    ours = _configured()
    flash(f"Linked. You can sign in with {ours.name} from now on.", "success")
    if current_user.is_admin and who.is_in_charge is False:
        flash(_LOSES_RIGHTS.format(name=ours.name), "warning")
    return make_response(redirect(url_for("account.show"), 303))


def _confirmed(who: ProvenIdentity, errand: Errand) -> Response:
    _require_beginner(errand)
    people.confirm(current_user.id, who)
    if sessions.still_signed_in() is None:  # the group is lost, and every session with it
        return make_response(redirect(url_for("auth.login"), 303))
    confirming.note(current_user.id, [Proof.OIDC])
    sessions.renew([Proof.OIDC])
    flash("Confirmed. Go back to the form and send it again.", "success")
    return make_response(redirect(url_for("account.show"), 303))


_AIMS: Final[dict[Aim, Callable[[ProvenIdentity, Errand], Response]]] = {
    Aim.SIGN_IN: _signed_in,
    Aim.LINK: _linked,
    Aim.CONFIRM: _confirmed,
    Aim.INVITATION: _invited,
}


def _configured() -> OidcSettings:
    """The provider. Raises NotFound where there is none."""
    try:
        return provider.configured()
    except LookupError:
        raise NotFound("There is no single sign-on here.") from None


def _require_beginner(errand: Errand) -> None:
    """Only the session that began it ends it, or whoever sends a link makes a stranger's account one's own."""
    if not current_user.is_authenticated or beginner().place != errand.place:
        raise SignOnFailure(SignOnFault.NOT_OURS)


def _next(errand: Errand) -> str | None:
    return access.local_path(errand.next, request.script_root)


def _answer() -> flow.ProviderAnswer:
    """All values of each parameter; an answer that is longer than any provider's is none."""
    return dict(request.args.lists()) if len(request.query_string) <= _LONGEST_ANSWER else {}


def _begun(errand: Errand) -> flow.SentAway:
    """A sign-in that this browser may end, whatever its other tabs have begun. Raises SignOnFailure."""
    away = flow.begin(errand, sessions.cookie(COOKIE))
    sessions.set_cookie(COOKIE, away.cookie, flow.LIFE)
    return away


def _sent_away(errand: Errand) -> Response:
    """A page that leads to the provider by itself, where script and forms may not."""
    try:
        away = _begun(errand)
    except SignOnFailure as failure:
        return _failed(failure)
    response = private(make_response(render_template("auth/go_on.html", url=away.url)))
    response.headers["Refresh"] = f"0; url={away.url}"
    return response


def _failed(failure: SignOnFailure) -> Response:
    """Tell whoever tried, and leave a trace."""
    people.note_failure(failure)
    refusals.tell(reason=f"single sign-on: {failure}")
    words = failure.words(_configured().name)
    if current_user.is_authenticated:
        flash(words, "danger")
        return private(make_response(redirect(url_for("account.show"), 303)))
    values = {"login": "", "remember": False, "next": ""}
    status = 503 if failure.fault in _DOWN else 401
    return private(make_response(auth.sign_in_page(values, {"form": [words]}), status))


def _link_page(errors: dict[str, list[str]], status: int) -> Response:
    return make_response(render_template("account/link.html", errors=errors), status)


def _unlink_page(identity_id: int, errors: dict[str, list[str]], status: int) -> Response:
    found = next((each for each in people.of_account(current_user.id) if each.id == identity_id), None)
    if found is None:
        raise NotFound("This sign-in is not linked any more.")
    return make_response(render_template("account/unlink.html", identity=found, errors=errors), status)
