"""Second factors for tests: an authenticator app that follows the tests' clock, and an account that has one."""

import pyotp

from services.factors import enrolment
from utils import clock


class App:
    """An authenticator app, given the secret that was shown."""

    def __init__(self, secret: str) -> None:
        self._totp = pyotp.TOTP(secret.replace(" ", ""))

    def code(self, *, seconds: float = 0) -> str:
        """What it shows now, or where its clock is so many seconds ahead."""
        return self._totp.at(int(clock.now().timestamp() + seconds))


def enrol(account_id: int, *, but: str = "") -> tuple[App, list[str]]:
    """Give the account an app, whose present code is used up by that; and its recovery codes."""
    enrolment.begin_app(account_id)
    app = App(enrolment.pending_app(account_id).secret)
    return app, enrolment.confirm_app(account_id, app.code(), but=but)
