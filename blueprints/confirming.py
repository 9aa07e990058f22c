"""Confirming who one is: some deeds want a proof that is not older than ten minutes, by every factor that there is.

It binds sessions. A form asks for it within itself (``ui.confirm_password``), so that nothing typed is lost. A link to
a file leads by a page of its own (``security.ask_who``).
"""

from typing import Final

from flask import Flask, request
from flask_login import current_user

from blueprints import sessions
from blueprints.clients import client_network
from services.factors import confirming, passkeys, ways
from utils.env_utils import get_settings
from utils.errors import Forbidden, InvalidInput

PASSWORD: Final = "confirm_password"  # noqa: S105 - the name of a field
CODE: Final = "confirm_code"


class RecentSignInRequired(Forbidden):
    """Nobody has proven at this session within ten minutes who they are."""


def init_app(app: Flask) -> None:
    app.add_template_global(lambda: ways.of_account(current_user.id), "ways_to_confirm")
    app.add_template_global(passkeys.why_not, "why_no_passkeys")


def require() -> None:
    """Somebody has proven here within ten minutes who they are, or does so in the form that is sent.

    Raises InvalidInput for its fields, TooMany or Locked; RecentSignInRequired where there is no form.
    """
    if current_user.session.is_recent:
        return
    if request.is_json or not request.form:
        raise RecentSignInRequired("You signed in more than ten minutes ago. Sign in again, then retry.")
    by_form()


def by_form() -> None:
    """Prove it by the fields of the form that is sent. Raises InvalidInput, TooMany or Locked."""
    proofs = confirming.prove(
        current_user.id,
        request.form.get(PASSWORD, ""),
        request.form.get(CODE, ""),
        client=client_network(),
        device=sessions.device(),
        fields=(PASSWORD, CODE),
    )
    if not proofs:
        raise InvalidInput({"form": [_elsewhere()]})
    sessions.renew(proofs)


def _elsewhere() -> str:
    """What to do without a password here."""
    ours = get_settings().oidc
    if ours is None:
        return "This account has no password. Sign in again, then retry."
    return f"Sign in once more at {ours.name}, then send this form again."
