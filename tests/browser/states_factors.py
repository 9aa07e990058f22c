"""Second factors in every state of their pages, and the page on which administrators are asked for one."""

from datetime import timedelta

from playwright.sync_api import Page, expect
from sqlalchemy import delete, update

from database import factor_db, passkey_db
from database.engine import transaction
from database.factor_db import FactorPolicy, TotpFactor
from database.passkey_db import Passkey
from database.session_db import BrowserSession
from database.user_db import Account
from services.factors import recovery, totp
from tests.browser.scene import Scene, State
from tests.browser.steps import expect_heading, fill, press, sign_in
from tests.second_factors import App
from utils import clock
from utils.encryption_utils import current_key_id

PAGE = "/account/security"
ALICE, BOB = 1, 2


def prepare(scene: Scene, *, with_factors: bool = False, is_asked: bool = False, is_old: bool = False) -> None:
    """Bob has no second factor, or one of each kind; administrators must have one or not; sessions are old or not.

    The rows are written as they are: by the services' way all sessions would end.
    """
    now = clock.now()
    with scene.inside(scene.servers.named), transaction() as session:
        factor_db.delete_totp(session, BOB)
        factor_db.delete_codes(session, BOB)
        passkey_db.delete_of_account(session, BOB)
        session.execute(delete(FactorPolicy))
        session.execute(update(Account).where(Account.id == BOB).values(second_factor_since=None))
    for login in ("alice", "bob"):  # while the password alone signs in
        scene.servers.session(scene.servers.named, login)
    with scene.inside(scene.servers.named), transaction() as session:
        proven_at = now - timedelta(minutes=11) if is_old else now
        session.execute(update(BrowserSession).values(proven_at=proven_at))
        if is_asked:
            session.add(FactorPolicy(id=1, required_after_days=0, updated_at=now))
        if with_factors:
            session.execute(update(Account).where(Account.id == BOB).values(second_factor_since=now))
            app = TotpFactor(account_id=BOB, sealed=totp.seal(totp.new_secret()), key_id=current_key_id())
            app.last_step, app.created_at, app.confirmed_at, app.last_used_at = 0, now, now, now
            session.add(app)
            recovery.put(session, BOB, [(f"AAAA{number}", "no hash") for number in range(3)])
            for name, fell_at in (("phone", None), ("blue key", now)):
                key = Passkey(account_id=BOB, credential_id=name, public_key=b"", sign_count=0, name=name)
                key.created_at = key.last_used_at = now
                key.count_fell_at = fell_at
                session.add(key)


def shown(scene: Scene, path: str = PAGE, login: str = "bob", heading: str = "Your second factor") -> Page:
    page = scene.page(scene.servers.named, login, path)
    expect_heading(page, heading)
    return page


def factors_none(scene: Scene) -> Page:
    prepare(scene)
    return shown(scene)


def factors_of_each_kind(scene: Scene) -> Page:
    prepare(scene, with_factors=True, is_old=True)
    page = shown(scene)
    press(page, "Make new codes")
    expect(page.get_by_role("alert")).to_contain_text("Check 2 fields")
    expect(page.get_by_text("May have been copied")).to_be_visible()
    return page


def app_refused(scene: Scene) -> Page:
    prepare(scene)
    page = shown(scene)
    press(page, "Set up an app")
    fill(page, {"Code that the app shows": "000000"})
    press(page, "Turn it on")
    expect(page.get_by_text("This code is wrong")).to_be_visible()
    return page


def recovery_codes(scene: Scene) -> Page:
    prepare(scene)
    page = scene.page(scene.servers.named)  # a session of its own, which goes on under another id
    sign_in(page, "bob")
    expect_heading(page, "Your account")
    page.goto(PAGE)
    press(page, "Set up an app")
    fill(page, {"Code that the app shows": App(page.locator("#secret").inner_text()).code()})
    press(page, "Turn it on")
    expect_heading(page, "Your recovery codes")
    scene.servers.forget_session(scene.servers.named, "bob")
    return page


def app_to_remove(scene: Scene) -> Page:
    prepare(scene, with_factors=True)
    return shown(scene, f"{PAGE}/app/remove", heading="Remove the authenticator app?")


def passkey_new(scene: Scene) -> Page:
    prepare(scene)
    return shown(scene, f"{PAGE}/passkeys/new", heading="Add a passkey")


def passkey_to_remove(scene: Scene) -> Page:
    prepare(scene, with_factors=True)
    page = shown(scene)
    page.get_by_role("link", name="Remove blue key").click()
    expect_heading(page, "Remove this passkey?")
    return page


def second_step_refused(scene: Scene) -> Page:
    prepare(scene, with_factors=True)
    page = scene.page(scene.servers.named)
    sign_in(page, "bob")
    expect_heading(page, "Second step")
    fill(page, {"Code": "000000"})
    press(page, "Sign in")
    expect(page.get_by_text("This code is wrong")).to_be_visible()
    return page


def factor_required(scene: Scene) -> Page:
    prepare(scene, is_asked=True)
    return shown(scene, "/emails", "alice", "Set up a second factor")


def who_is_there(scene: Scene) -> Page:
    prepare(scene, is_old=True)
    page = shown(scene, "/emails/export?format=csv", "alice", "Confirm that it is you")
    press(page, "Confirm")
    expect(page.get_by_text("Enter your password")).to_be_visible()
    return page


def factor_policy_refused(scene: Scene) -> Page:
    prepare(scene)
    page = shown(scene, "/settings/second-factor", "alice", "Second factor of administrators")
    page.get_by_label("Administrators must have a second factor").check()
    fill(page, {"Days to set it up": "many"})
    press(page, "Save")
    expect(page.get_by_text("Enter a whole number of days")).to_be_visible()
    return page


STATES: list[State] = [
    factors_none,
    factors_of_each_kind,
    app_refused,
    recovery_codes,
    app_to_remove,
    passkey_new,
    passkey_to_remove,
    second_step_refused,
    factor_required,
    who_is_there,
    factor_policy_refused,
]
