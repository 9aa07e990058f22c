"""The way in: first set-up, signing in and out, a forgotten password."""

from collections.abc import Collection
from typing import Any, Final

from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from blueprints import access, forms, proxy_sign_in, refusals, sessions
from blueprints.clients import client_network
from blueprints.link_cookies import LinkCookie, private
from blueprints.pages import start_page
from services import audit
from services.accounts import accounts, password_reset, sign_in_links, signing_in
from services.accounts.accounts import Person
from services.accounts.proofs import Proof
from services.accounts.tries import Locked
from services.audit import Action
from services.factors import policy, steps, ways
from utils.env_utils import get_settings
from utils.errors import Conflict, Forbidden, InvalidInput, NotFound
from utils.numbers import counted
from utils.oidc_env import OidcSettings

pages = Blueprint("pages", __name__)
bp = Blueprint("auth", __name__)

STEP: Final = "step"  # the cookie of a sign-in that lacks its second factor

reset_link: Final = LinkCookie("reset", "auth.reset_password", "auth/reset_password.html", password_reset.find_valid)
sign_in_link: Final = LinkCookie("link", "single_sign_on.link", "auth/sign_in_link.html", sign_in_links.find_valid)
BY_PROVIDER: Final = "Passwords and passkeys are turned off here. Sign in with {}."
_UNKNOWN_TO_US: Final = (
    "The proxy in front of this page has signed you in, but your name there is no account’s here, or the account is "
    "disabled. Ask an administrator."
)
_WRONG_SIGN_IN: Final = "Wrong user name or password. Check both and try again."


@pages.get("/")
@access.public
def home() -> ResponseReturnValue:
    """The page that the visitor needs first: of administrators, how mail is."""
    if current_user.is_authenticated:
        return start_page.show() if current_user.is_admin else redirect(url_for("account.show"))
    if sessions.waits_for_provider():
        return redirect(url_for("single_sign_on.begin"), 303)
    return redirect(url_for("auth.login" if accounts.has_administrator() or _makes_accounts() else "auth.setup"))


@bp.route("/setup", methods=["GET", "POST"])
@access.public
@access.limiter.limit("10 per 15 minutes", methods=["POST"])
def setup() -> ResponseReturnValue:
    """The first administrator, made by whoever has the code from the terminal; 404 afterwards."""
    if accounts.has_administrator():
        raise NotFound("Set-up is already complete.")
    if request.method != "POST":
        return render_template("auth/setup.html", values={}, errors={})
    values = {name: forms.text(name) for name in ("code", "username", "email")}
    try:
        person = accounts.create_first_administrator(**values, password=forms.text("password"))
    except InvalidInput as refused:
        return render_template("auth/setup.html", values=values, errors=refused.errors), refused.status
    # The code is the terminal's, as the link is that the command line gives; no password counts after it then.
    sessions.sign_in(person, [Proof.LINK if only_provider() else Proof.PASSWORD])
    flash("You are the administrator. Next, set up a mail server.", "success")
    return redirect(url_for("pages.home"), 303)


@bp.route("/login", methods=["GET", "POST"])
@access.public
def login() -> ResponseReturnValue:
    """Sign in by user name or address. A failure says the same for an unknown name and a wrong password."""
    if request.method != "POST":
        return _sign_in_form()
    login, wanted, remember = forms.text("login"), forms.text("next"), forms.ticked("remember")
    values = {"login": login, "next": wanted, "remember": remember}
    if (refused_here := only_by_provider(values)) is not None:
        return refused_here
    try:
        person = signing_in.sign_in(login, forms.text("password"), client=client_network(), device=sessions.device())
    except Locked as refused:
        return sign_in_page(values, {"form": [refused.message]}), refused.status
    if person is None:
        return sign_in_page(values, {"form": [_WRONG_SIGN_IN]}), 401
    onward = access.local_path(wanted, request.script_root) or ""
    if steps.is_needed(person.id, [Proof.PASSWORD]):
        sessions.set_cookie(STEP, steps.begin(person, [Proof.PASSWORD], remember=remember), steps.LIFE)
        return redirect(url_for("auth.second_step", next=onward or None), 303)
    return signed_in(person, [Proof.PASSWORD], remember=remember, onward=onward)


@bp.get("/login/second")
@access.public
def second_step() -> ResponseReturnValue:
    """Ask for the second factor. Nothing of the account is told before."""
    if steps.find(sessions.cookie(STEP)) is None:
        return _begin_again()
    return _second_page(access.local_path(request.args.get("next", ""), request.script_root) or "", {})


@bp.post("/login/second")
@access.public
def finish() -> ResponseReturnValue:
    """Sign in with a code of the app, or a recovery code."""
    wanted = access.local_path(forms.text("next"), request.script_root) or ""
    try:
        half = steps.finish(
            sessions.cookie(STEP), forms.text("code"), client=client_network(), device=sessions.device()
        )
    except (Conflict, NotFound):
        return _begin_again()
    except InvalidInput as refused:
        return _second_page(wanted, refused.errors), 401
    except Locked as refused:
        return _second_page(wanted, {"form": [refused.message]}), refused.status
    sessions.delete_cookie(STEP)
    answer = signed_in(half.person, half.proven_by, remember=half.is_remembered, onward=wanted)
    if Proof.RECOVERY_CODE in half.proven_by:
        flash(_codes_left(ways.of_account(half.person.id).codes_left), "info")
    return answer


@bp.post("/logout")
@access.signed_in
@access.before_second_factor
def logout() -> ResponseReturnValue:
    """End this session; whoever came by a provider may still be signed in there."""
    came_by = set(current_user.session.proven_by)
    sessions.sign_out()
    if came_by & {Proof.OIDC, Proof.PROXY}:
        return redirect(url_for("single_sign_on.signed_out"), 303)
    flash("You are signed out.", "info")
    return redirect(url_for("auth.login"), 303)


@bp.route("/forgot-password", methods=["GET", "POST"])
@access.public
@access.limiter.limit("10 per hour", methods=["POST"])
def forgot_password() -> ResponseReturnValue:
    """Ask for a reset link. The answer is the same whether anybody has the address or not."""
    if only_provider() is not None:
        return redirect(url_for("auth.login"), 303)
    if request.method != "POST":
        return _forgot_page("", {})
    email = forms.text("email")
    try:
        password_reset.request_reset(email.strip())
    except InvalidInput as refused:
        return _forgot_page(email, refused.errors), refused.status
    return _forgot_page("", {}, sent=True)


@bp.get("/reset-password")
@access.public
def reset_password() -> ResponseReturnValue:
    """Swap the token in the link for a cookie that lives as long, then show the form. Uses nothing up."""
    return reset_link.shown()


@bp.post("/reset-password")
@access.public
@access.limiter.limit("30 per 15 minutes")
def redeem() -> ResponseReturnValue:
    """Use the token up and change the password; whoever did so signs in with it next."""
    if (only := only_provider()) is not None:
        raise Forbidden(BY_PROVIDER.format(only.name))
    # Whoever has this form came with a link; if its cookie is gone, then so is the link.
    try:
        changed = password_reset.redeem(reset_link.token() or "", forms.text("password"))
    except InvalidInput as refused:
        return reset_link.page(refused.errors)
    if not changed:
        return reset_link.page()
    sessions.sign_out()
    flash("Password set. Sign in with it.", "success")
    response = make_response(redirect(url_for("auth.login"), 303))
    return private(reset_link.forget(response))


def signed_in(
    person: Person, proven_by: Collection[Proof], *, remember: bool = False, onward: str = ""
) -> ResponseReturnValue:
    """Begin the session of somebody who was proven so, and go ``onward``, by the page that asks for a second factor."""
    sessions.sign_in(person, proven_by, remember=remember)
    onward = onward or home_of(person.is_admin)
    now = sessions.still_signed_in()
    if now is not None and policy.demand_on(now.session):
        return redirect(url_for("security.ask", next=onward), 303)
    return redirect(onward, 303)


def _begin_again() -> ResponseReturnValue:
    sessions.delete_cookie(STEP)
    flash(steps.OVER, "info")
    return redirect(url_for("auth.login"), 303)


def _codes_left(count: int) -> str:
    return f"{counted(count, 'recovery code')} left. Make new ones on the page of your account when you need them."


def _second_page(wanted: str, errors: dict[str, list[str]]) -> str:
    return render_template("auth/second_step.html", values={"next": wanted}, errors=errors)


def home_of(is_admin: bool) -> str:
    """The page to begin at."""
    return url_for("pages.home") if is_admin else url_for("account.show")


def only_provider() -> OidcSettings | None:
    """The provider, where nobody signs in otherwise."""
    ours = get_settings().oidc
    return ours if ours and ours.is_only else None


def only_by_provider(values: dict[str, Any]) -> ResponseReturnValue | None:
    """The page that refuses every other way in, where the provider is the only one."""
    only = only_provider()
    return (sign_in_page(values, {"form": [BY_PROVIDER.format(only.name)]}), 403) if only else None


def _sign_in_form() -> ResponseReturnValue:
    wanted = access.local_path(request.args.get("next", ""), request.script_root)
    if current_user.is_authenticated:
        return redirect(wanted or home_of(current_user.is_admin))
    if name := proxy_sign_in.vouched_name():
        return _by_proxy(name, wanted)
    if not accounts.has_accounts() and not _makes_accounts():
        return redirect(url_for("auth.setup"))
    return sign_in_page({"login": "", "remember": False, "next": wanted or ""}, {})


def _by_proxy(name: str, wanted: str | None) -> ResponseReturnValue:
    """Let in whom the proxy in front has signed in, if there is such an account."""
    person = accounts.find_by_login(name)
    if person is None or person.disabled_at:
        refusals.tell(reason="the proxy’s user has no account")
        audit.note(Action.SIGN_IN_FAILED, accounts.UNKNOWN, ["reverse proxy"])
        return sign_in_page({"login": "", "remember": False, "next": wanted or ""}, {"form": [_UNKNOWN_TO_US]}), 401
    return signed_in(person, [Proof.PROXY], onward=wanted or "")


def _makes_accounts() -> bool:
    """Whether the first administrator may come by the provider as well."""
    ours = get_settings().oidc
    return ours is not None and ours.creates_accounts and bool(ours.admin_claim)


def sign_in_page(values: dict[str, Any], errors: dict[str, list[str]]) -> str:
    """The page to sign in at, with what was typed."""
    return render_template("auth/login.html", values=values, errors=errors)


def _forgot_page(email: str, errors: dict[str, list[str]], *, sent: bool = False) -> str:
    return render_template("auth/forgot_password.html", values={"email": email}, errors=errors, sent=sent)
