"""The page that connects a server by token, of a global server and of an account's own: what it shows and what it does.

Each thing that is done leads back to the page, which then says what came of it: so no code and no answer of a provider
stands in an address, and a page that is loaded again does nothing again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from flask import Response, flash, make_response, redirect, render_template, request, session, url_for
from flask_login import current_user

from blueprints import connecting, forms, smtp_tests
from blueprints.access import actor_name, require_recent_sign_in
from blueprints.pages import connect_policy
from blueprints.pages.server_forms import FieldErrors
from services.checks import connection_test
from services.checks.connection_test import TestPlan, TestResult
from services.connecting import advice, checks, guide, moving, pending, redirect_rules, registering, showing, tokens
from services.connecting.advice import NotConnected
from services.connecting.fields import RegistrationChange
from services.connecting.guide import ConnectView, ShownCode
from services.connecting.redirect_rules import RedirectVerdict
from services.connecting.refusals import ConnectRefused
from services.connecting.steps import Entered, GuideStep
from services.connecting.suggesting import suggested_for_server, takes_token
from services.connecting.tokens import NewConnection
from services.oauth import keeping
from services.oauth.answers import StillWaiting
from services.oauth.failures import TokenFailure
from services.oauth.providers import Grant, OAuthProvider
from services.oauth.registration import Registration
from services.oauth.sealed import StoredSignIn
from services.settings import route, sign_ins
from services.settings.fields import checked
from services.settings.sealing import StoredConfig
from utils.env_utils import get_settings
from utils.errors import AppError, Conflict, InvalidInput

SWITCHED: Final = "The sign-in by token works. Sealpost uses it from now on, and the password is deleted."
PASSED: Final = "The sign-in by token works."
NOT_PROVEN: Final = (
    "The sign-in works, but the test could not see that email is accepted. The password serves on. Test again with "
    "another recipient in the server’s form."
)
STALE: Final = "Someone else has changed what is registered. Check it, then save again."
ENTER_AGAIN: Final = "Enter it again. Sealpost never shows it."
_OUTCOME: Final = "connect"  # in the signed cookie of pages: of which server, what failed, and whether to check now
_TEXTS: Final = tuple(
    name for name, facts in RegistrationChange.model_fields.items() if facts.annotation not in (bool, Any)
)
_SECRETS: Final = ("client_secret", "client_key", "service_account")
_SHOWN: Final = tuple(name for name in _TEXTS if name not in (*_SECRETS, "provider", "way"))


@dataclass(frozen=True, kw_only=True)
class ConnectPlace:
    """Whose page it is: the blueprint's name, what its addresses are made with, and where the way back leads."""

    stored: StoredConfig
    blueprint: str
    values: Mapping[str, int] = field(default_factory=dict)
    back_url: str
    back_label: str
    is_own: bool = False

    @property
    def config_id(self) -> int:
        return self.stored.row.id

    def url(self, name: str = "show") -> str:
        """The address of one of the routes."""
        return url_for(f"{self.blueprint}.{name}", **self.values)  # type: ignore[arg-type]

    def urls(self) -> dict[str, str]:
        """Those that the template knows."""
        names = {"page": "show", "save": "save", "start": "start", "code": "code", "code_state": "code_state"}
        names |= {"paste": "paste", "check": "check", "end": "ask_end"}
        return {key: self.url(name) for key, name in names.items()}


def page(
    place: ConnectPlace,
    *,
    errors: FieldErrors | None = None,
    typed: Mapping[str, str] | None = None,
    result: TestResult | None = None,
    status: int = 200,
) -> Response:
    """The page as everything is now, with what came of the last thing that was done."""
    known = keeping.find(place.config_id)
    failure, is_fresh = _taken_outcome(place.config_id)
    asked: Mapping[str, str] = typed if typed is not None else request.args
    provider = _provider(place, asked, known)
    registration = _shown_registration(known, provider)
    view = _view(place, known, registration, provider, asked, failure=failure, result=result)
    rendered = render_template(
        "settings/connect.html",
        view=view,
        values=_values(registration or view.entered, known, asked),
        errors=errors or {},
        stored=showing.stored_secrets(registration) if registration else set(),
        urls=place.urls(),
        server={"name": "" if place.is_own else place.stored.row.name, "host": place.stored.row.smtp_server}
        | {"port": place.stored.row.smtp_port},
        back_url=place.back_url,
        back_label=place.back_label,
        check_now=is_fresh,
    )
    response = make_response(rendered, status)
    response.headers["Content-Security-Policy"] = connect_policy.for_page(registration)
    return response


def save(place: ConnectPlace) -> Response:
    """Write down what was entered; where lines are to be filled in, they are also if that is not enough yet."""
    try:
        require_recent_sign_in()
        _register(place)
    except InvalidInput as refused:
        return _refused(place, refused)
    flash("Saved.", "success")
    return _back(place, anchor=forms.text("next"))


def start(place: ConnectPlace) -> Response:
    """Save what was entered, then send the browser to the provider, or have the application sign in by itself."""
    try:
        require_recent_sign_in()
        known = _register(place) if forms.text("provider") else tokens.registered(place.config_id)
    except InvalidInput as refused:
        return _refused(place, refused)
    except ConnectRefused as refused:
        return _failed(place, refused)
    if known.registration.is_app_only:
        return _done(place, lambda: tokens.obtain(place.config_id, actor_name()))
    verdict = _verdict(known.registration.provider)
    try:
        url = pending.begin_redirect(place.config_id, connecting.beginner(), verdict.registered_uri)
    except (TokenFailure, ConnectRefused) as failure:
        return _failed(place, failure)
    response = make_response(redirect(url, 303))
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def code(place: ConnectPlace) -> Response:
    """Save what was entered, and get a code to type at the provider."""
    try:
        require_recent_sign_in()
        if forms.text("provider"):
            _register(place)
        pending.begin_device(place.config_id, connecting.beginner())
    except InvalidInput as refused:
        return _refused(place, refused)
    except (TokenFailure, ConnectRefused) as failure:
        return _failed(place, failure)
    return _back(place, anchor="code")


def code_state(place: ConnectPlace) -> Response:
    """Look whether the code was typed: for a script in JSON, which then loads the page again."""
    accepted = request.accept_mimetypes
    wants_json = bool(accepted) and not accepted.accept_html
    try:
        found = pending.poll_device(place.config_id, connecting.beginner())
    except (TokenFailure, ConnectRefused) as failure:
        _keep_outcome(place.config_id, failure=failure)
        return _state(place, "failed") if wants_json else _back(place, anchor="checks")
    if isinstance(found, StillWaiting):
        if wants_json:
            return _state(place, "waiting", interval=found.interval)
        flash("The provider has not seen the code yet. Enter it there and sign in, then try again.", "info")
        return _back(place, anchor="code")
    _tell(place, found)
    return _state(place, "connected") if wants_json else _back(place, anchor="checks")


def paste(place: ConnectPlace) -> Response:
    """End a sign-in with the address at which the browser came to its end."""
    address = forms.text("pasted_code")
    if not address.strip():
        words = "Copy the whole address from the browser’s address bar, and paste it here."
        return page(place, errors={"pasted_code": [words]}, status=InvalidInput.status)
    return _done(place, lambda: pending.paste(place.config_id, address, connecting.beginner()))


def check(place: ConnectPlace) -> Response:
    """Test the sign-in by token step by step; where it passes it serves from then on, in the place of a password."""
    try:
        prepared = _plan(place)
    except InvalidInput as refused:
        if smtp_tests.wants_stream():
            raise
        return page(place, errors={"form": [text for texts in refused.errors.values() for text in texts]}, status=422)
    actor = actor_name()

    def settled(result: TestResult) -> str:
        if not result.ok:
            return ""
        if connecting.switched_over(place.stored, prepared.settings, result, actor):
            return (SWITCHED if place.stored.row.smtp_password else PASSED) + connecting.what_it_sends(place.stored)
        return PASSED if place.stored.settings.is_by_token else NOT_PROVEN

    def told(result: TestResult) -> dict[str, Any]:
        said = settled(result)
        found = checks.rows(place.stored, keeping.find(place.config_id), _steps(place), result=result)
        return {
            "ok": result.ok,
            "message": said or result.headline,
            "rows": [_row(row) for row in found],
        }

    if smtp_tests.wants_stream():
        return smtp_tests.streamed(prepared, place.config_id, told, is_discreet=place.is_own)
    result = smtp_tests.run_and_note(prepared, place.config_id)
    try:
        said = settled(result)
    except Conflict as refused:
        return page(place, errors={"form": [refused.message]}, result=result, status=refused.status)
    if said:
        flash(said, "warning" if said == NOT_PROVEN else "success")
        return _back(place, anchor="checks") if said != NOT_PROVEN else page(place, result=result)
    return page(place, result=result)


def _row(row: guide.CheckRow) -> dict[str, Any]:
    return {"name": row.check.value, "status": row.status, "fact": row.fact, "remedy": row.remedy, "step": row.step}


def ask_end(place: ConnectPlace, consequence: str, level: str) -> Response:
    """Say what follows from ending the connection, and ask."""
    known = keeping.find(place.config_id)
    if known is None:
        return _back(place)
    taken_back_at = sign_ins.taken_back_at(known)
    rendered = render_template(
        "settings/disconnect.html",
        name="" if place.is_own else place.stored.row.name,
        can_revoke=not taken_back_at,
        taken_back_at=taken_back_at,
        provider_name=guide.PROVIDER_NAMES[known.registration.provider],
        consequence=consequence if place.stored.settings.is_by_token else "",
        level=level,
        version=place.stored.row.version,
        urls=place.urls() | {"end": place.url("end")},
    )
    return make_response(rendered)


def end(place: ConnectPlace) -> Response:
    """End the connection; a password that is stored beside it serves on."""
    try:
        ended = moving.disconnect(place.config_id, actor=actor_name())
    except AppError as refused:
        flash(refused.message, "danger")
        return _back(place)
    where = f" To end the sign-in there as well, go to {ended.taken_back_at}." if ended.taken_back_at else ""
    flash(f"Disconnected.{where}", "success")
    return _back(place)


def came_back(place: ConnectPlace, finish: Callable[[], NewConnection]) -> Response:
    """The answer to a browser that came back from the provider."""
    return _done(place, finish)


def _done(place: ConnectPlace, work: Callable[[], NewConnection]) -> Response:
    try:
        _tell(place, work())
    except (TokenFailure, ConnectRefused) as failure:
        return _failed(place, failure)
    return _back(place, anchor="checks")


def _tell(place: ConnectPlace, made: NewConnection) -> None:
    mailbox = f" as {made.sign_in.mailbox}" if made.sign_in.mailbox else ""
    flash(f"Connected{mailbox}.", "success")
    if made.caution:
        flash(made.caution, "warning")
    _keep_outcome(place.config_id, is_fresh=True)


def _failed(place: ConnectPlace, failure: NotConnected) -> Response:
    _keep_outcome(place.config_id, failure=failure)
    return _back(place, anchor="checks")


def _keep_outcome(config_id: int, *, failure: NotConnected | None = None, is_fresh: bool = False) -> None:
    session[_OUTCOME] = [config_id, advice.kept(failure) if failure else "", is_fresh]


def _taken_outcome(config_id: int) -> tuple[NotConnected | None, bool]:
    """What failed the last time, and whether something was connected that was not tested yet; once."""
    kept = session.get(_OUTCOME)
    if not isinstance(kept, list) or kept[:1] != [config_id]:
        return None, False
    session.pop(_OUTCOME)
    return advice.read_back(str(kept[1])), bool(kept[2])


def _state(place: ConnectPlace, state: str, *, interval: int = 0) -> Response:
    return make_response({"status": "success", "data": {"state": state, "interval": interval, "url": place.url()}})


def _back(place: ConnectPlace, anchor: str = "") -> Response:
    known_anchor = anchor if anchor.replace("-", "").isalnum() and anchor.isascii() else ""
    response = make_response(redirect(f"{place.url()}{f'#{known_anchor}' if known_anchor else ''}", 303))
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _refused(place: ConnectPlace, refused: InvalidInput) -> Response:
    """The page with what was typed. Whoever wants lines filled in hears of nothing that is still to come."""
    typed = {name: values[0] for name, values in request.form.lists()}
    errors = refused.errors
    if forms.text("next"):
        errors = {name: texts for name, texts in errors.items() if typed.get(name)}
    again = {name: [ENTER_AGAIN] for name in _SECRETS if typed.get(name) and name not in errors}
    return page(place, errors=errors | again, typed=typed, status=refused.status if errors else 200)


def _register(place: ConnectPlace) -> StoredSignIn:
    """Write down what the form says. Raises InvalidInput."""
    known = keeping.find(place.config_id)
    seen = forms.text("version")
    if seen and seen != _mark(known):
        raise InvalidInput({"form": [STALE]})
    raw: dict[str, object] = {name: forms.text(name) for name in _TEXTS if name in request.form}
    if raw.get("provider") == OAuthProvider.GOOGLE:
        raw["is_testing"] = forms.ticked("is_testing")
    usable = known.registration if known and known.is_usable else None
    found = registering.registration_after(usable, checked(RegistrationChange, raw), place.stored.row.smtp_server)
    return tokens.register(place.config_id, found)


def _plan(place: ConnectPlace) -> TestPlan:
    settings = moving.settings_by_token(place.stored)
    return connection_test.plan(settings, rcpt=str(current_user.email), server=route.step_of(place.stored))


def _provider(place: ConnectPlace, asked: Mapping[str, str], known: StoredSignIn | None) -> OAuthProvider:
    """Which one is shown: that which was asked for, is registered, or is known to be the server's."""
    offered = _offered(place)
    if asked.get("provider") in offered:
        return OAuthProvider(asked["provider"])
    if known and known.registration.provider in offered:
        return known.registration.provider
    return offered[0]


def _offered(place: ConnectPlace) -> list[OAuthProvider]:
    return [provider for provider in OAuthProvider if takes_token(provider, place.stored.row.smtp_server)]


def _shown_registration(known: StoredSignIn | None, provider: OAuthProvider) -> Registration | None:
    return known.registration if known and known.registration.provider is provider else None


def _steps(place: ConnectPlace) -> tuple[GuideStep, ...]:
    known = keeping.find(place.config_id)
    provider = _provider(place, {}, known)
    return _view(place, known, _shown_registration(known, provider), provider, {}).steps


def _view(
    place: ConnectPlace,
    known: StoredSignIn | None,
    registration: Registration | None,
    provider: OAuthProvider,
    asked: Mapping[str, str],
    *,
    failure: NotConnected | None = None,
    result: TestResult | None = None,
) -> ConnectView:
    verdict = _verdict(provider)
    way = Grant(asked["way"]) if asked.get("way") in list(Grant) else registration.way if registration else None
    entered = guide.typed_over(_entered(place, registration, provider), asked)
    view = guide.view(provider, way, entered, verdict)
    told = advice.of_failure(failure, place.stored.settings) if failure else None
    return guide.view(
        provider,
        way,
        entered,
        verdict,
        found=checks.rows(place.stored, known, view.steps, failed=told, result=result),
        state=showing.state_of(place.stored, known),
        code=_code(place, view.way),
        providers=tuple(_offered(place)),
        is_ready=registration is not None and bool(known and known.is_usable) and registration.way is view.way,
    )


def _entered(place: ConnectPlace, registration: Registration | None, provider: OAuthProvider) -> Entered:
    row = place.stored.row
    suggestion = suggested_for_server(row.smtp_server, row.smtp_username)
    is_personal = suggestion is not None and suggestion.provider is provider and suggestion.is_personal
    if registration:
        return guide.entered_of(
            registration, mailbox=row.smtp_username, from_email=row.from_email, is_personal=is_personal
        )
    if suggestion is None or suggestion.provider is not provider:
        return Entered(mailbox=row.smtp_username, from_email=row.from_email)
    return Entered(
        tenant=suggestion.tenant,
        cloud=suggestion.cloud,
        mailbox=row.smtp_username,
        from_email=row.from_email,
        is_personal=is_personal,
    )


def _code(place: ConnectPlace, way: Grant) -> ShownCode | None:
    shown = pending.device_under_way(place.config_id, connecting.beginner()) if way is Grant.DEVICE else None
    if shown is None:
        return None
    return ShownCode(
        user_code=shown.user_code, url=shown.verification_url, ends_at=shown.ends_at, interval=shown.interval
    )


def _values(stands: Registration | Entered, known: StoredSignIn | None, asked: Mapping[str, str]) -> dict[str, Any]:
    """What stands in the fields: what was typed, or else what is stored, or at first what the mailbox says."""
    values: dict[str, Any] = {name: getattr(stands, name, "") or "" for name in _SHOWN}
    if stands.cloud == "worldwide":
        values["cloud"] = ""
    values |= {name: asked[name] for name in (*_SHOWN, "object_id") if name in asked}
    is_testing = forms.ticked("is_testing") if request.method == "POST" else stands.is_testing
    return {"object_id": "", **values, "is_testing": bool(is_testing), "version": _mark(known)}


def _mark(known: StoredSignIn | None) -> str:
    """By which it is noticed that someone else has saved meanwhile."""
    return known.registration_mac[:16] if known else ""


def _verdict(provider: OAuthProvider) -> RedirectVerdict:
    return redirect_rules.judged(get_settings().base_url, provider)
