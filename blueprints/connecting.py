"""Connecting a server, as pages and API share it: who begins it, and the test that lets it serve."""

from flask_login import current_user

from blueprints.access import ADMIN_TOKEN, caller
from blueprints.sessions import uses_bearer
from services.checks.connection_test import TestResult
from services.connecting import moving
from services.connecting.pending import Beginner
from services.settings import configs, sealing
from services.settings.sealing import StoredConfig
from services.smtp.settings import SmtpSettings


def beginner() -> Beginner:
    """Who begins a sign-in here, and alone may end it: one session, or one API token. Behind a guard only.

    A session that shows the password again goes on under another id, and stays the same.
    """
    if uses_bearer():
        known = caller()
        place = f"token {known.token_id}" if known.token_id is not None else ADMIN_TOKEN
        return Beginner(place, known.name)
    session = current_user.session
    return Beginner(f"session {session.account_id} {session.created_at.isoformat()}", current_user.username)


def switched_over(stored: StoredConfig, settings: SmtpSettings, result: TestResult, actor: str) -> bool:
    """Let the sign-in by token serve once it has passed its test; whether it does from now on."""
    if not result.ok or not moving.has_to_switch(configs.of_any_scope(stored.row.id)):
        return False
    proof = sealing.issue_proof(settings, result.reach)
    if not proof:
        return False
    moving.switch_over(stored.row.id, proof, actor=actor)
    return True


def what_it_sends(before: StoredConfig) -> str:
    """Whether email goes through a global server that was just switched over, where the person may not expect it."""
    if before.row.account_id is not None:
        return ""
    row = configs.get(before.row.id).row
    if not row.is_active:
        return " No email goes through it before you activate it in the list of mail servers."
    return "" if before.row.is_active else f" Mail now goes through “{row.name}”."
