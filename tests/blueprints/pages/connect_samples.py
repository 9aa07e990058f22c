"""Pages of connecting with plain values: every provider and way, before, while and after someone connects."""

import json
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, Final

from flask import Flask, Response, render_template, request

from blueprints.access import admin_page
from services.connecting import guide
from services.connecting.guide import CheckRow, ConnectedState, ConnectView, EndLine, ShownCode
from services.connecting.redirect_rules import judged
from services.connecting.steps import ConnectCheck, Entered
from services.oauth.providers import Grant, OAuthProvider

MICROSOFT, GOOGLE = OAuthProvider.MICROSOFT, OAuthProvider.GOOGLE
PUBLIC: Final = "https://app.example.com"
INSIDE: Final = "http://192.168.1.20:5000"
CLIENT: Final = "11111111-2222-3333-4444-555555555555"
ENTERPRISE: Final = "66666666-7777-8888-9999-000000000000"
NEW: Final = Entered(mailbox="shop@example.com", from_email="shop@example.com")
TYPED: Final = replace(NEW, client_id=CLIENT, tenant="example.com", object_id=ENTERPRISE, from_email="news@example.com")
THEN: Final = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
URLS: Final = {
    name: f"/sample/{name}"
    for name in ("page", "save", "start", "code", "code_state", "paste", "check", "end", "find", "add", "by_password")
}

CONNECTED: Final = ConnectedState(
    level="ok",
    headline="Connected with Microsoft",
    mailbox="shop@example.com",
    granted_by="alice",
    granted_at=THEN,
    renewed_at=THEN + timedelta(days=20),
    endings=(
        EndLine(words="The sign-in ends on 20 February 2027 unless it is renewed."),
        EndLine(
            words="The client secret ends in 6 days.", remedy="Create a new one and enter it here.", level="warning"
        ),
    ),
    has_password=True,
)
DEAD: Final = ConnectedState(
    level="error",
    headline="Needs sign-in again",
    detail="Microsoft no longer accepts the sign-in: the password of the mailbox was changed. Mail waits.",
    mailbox="shop@example.com",
    granted_by="alice",
    granted_at=THEN,
    needs_sign_in=True,
)
CHECKED: Final = (
    CheckRow(check=ConnectCheck.TOKEN, status="ok", fact="Good for 59 minutes."),
    CheckRow(check=ConnectCheck.SCOPE, status="ok"),
    CheckRow(
        check=ConnectCheck.SIGN_IN,
        status="failed",
        fact="The server refused the token (535 5.7.3).",
        remedy="The application may not use this mailbox yet.",
        step=5,
    ),
    CheckRow(check=ConnectCheck.FROM, status="skipped"),
)


def shown(
    provider: OAuthProvider, way: Grant, entered: Entered = NEW, base_url: str = PUBLIC, **rest: Any
) -> ConnectView:
    return guide.view(provider, way, entered, judged(base_url, provider), **rest)


CODE: Final = ShownCode(
    user_code="B7KD-QX2P", url="https://microsoft.com/devicelogin", ends_at=THEN + timedelta(minutes=15), interval=1
)
VIEWS: Final = {
    "microsoft": shown(MICROSOFT, Grant.CODE),
    "microsoft-inside": shown(MICROSOFT, Grant.CODE, base_url=INSIDE, is_ready=True),
    "microsoft-code": shown(MICROSOFT, Grant.DEVICE, base_url=INSIDE),
    "microsoft-code-waits": shown(MICROSOFT, Grant.DEVICE, TYPED, base_url=INSIDE, code=CODE, is_ready=True),
    "microsoft-app-new": shown(MICROSOFT, Grant.CLIENT_CREDENTIALS),
    "microsoft-app": shown(
        MICROSOFT, Grant.CLIENT_CREDENTIALS, TYPED, found=CHECKED, state=replace(CONNECTED, level="warning")
    ),
    "microsoft-personal": shown(MICROSOFT, Grant.CODE, replace(NEW, mailbox="a@outlook.com", is_personal=True)),
    "connected": shown(MICROSOFT, Grant.CODE, TYPED, state=CONNECTED, is_ready=True),
    "dead": shown(MICROSOFT, Grant.CODE, TYPED, state=DEAD, is_ready=True),
    "google": shown(GOOGLE, Grant.CODE),
    "google-inside": shown(GOOGLE, Grant.CODE, base_url=INSIDE, is_ready=True),
    "google-inside-new": shown(GOOGLE, Grant.CODE, base_url=INSIDE),
    "google-account": shown(GOOGLE, Grant.SERVICE_ACCOUNT, replace(NEW, delegate_id="103456789012345678901")),
    "fastmail": shown(OAuthProvider.FASTMAIL, Grant.CODE),
    "custom": shown(OAuthProvider.CUSTOM, Grant.CODE, providers=(OAuthProvider.CUSTOM, MICROSOFT)),
    "custom-code": shown(OAuthProvider.CUSTOM, Grant.DEVICE),
    "custom-app": shown(OAuthProvider.CUSTOM, Grant.CLIENT_CREDENTIALS),
}
CODE_ANSWERS: Final[list[bool]] = []  # whether it still waits, the last first
STORED: Final = {"client_secret", "client_key", "service_account"}


def add_samples(app: Flask) -> None:
    """Routes that show each of them, to administrators."""
    app.add_url_rule("/sample/connect/<name>", "sample_connect", admin_page(_connect))
    app.add_url_rule("/sample/check", "sample_check", admin_page(_check), methods=["POST"])
    app.add_url_rule("/sample/code_state", "sample_code", admin_page(_code_state), methods=["POST"])
    app.add_url_rule("/sample/refused/<name>", "sample_refused", admin_page(_refused))
    app.add_url_rule("/sample/start/<name>", "sample_start", admin_page(_start))
    app.add_url_rule("/sample/end/<name>", "sample_end", admin_page(_end))


def _connect(name: str, errors: dict[str, list[str]] | None = None) -> str:
    view = VIEWS[name]
    entered = guide.typed_over(view.entered, request.args)
    view = replace(view, entered=entered, steps=guide.steps_of(view.provider, view.way, entered, view.verdict))
    values: dict[str, Any] = defaultdict(str)
    values |= {"client_id": view.entered.client_id, "tenant": view.entered.tenant, "object_id": view.entered.object_id}
    return render_template(
        "settings/connect.html",
        view=view,
        values=values,
        errors=errors or {},
        stored=STORED if view.state else set(),
        urls=URLS | {"page": f"/sample/connect/{name}"},
        server=SimpleNamespace(name="Shop", host="smtp.example.com", port=587),
        back_url="/settings/smtp",
        back_label="Mail servers",
        check_now="check" in request.args,
    )


def _refused(name: str) -> str:
    errors = {"client_id": ["Enter the client ID."], "client_secret": ["This is the secret’s ID, not the secret."]}
    return _connect(name, errors | {"client_certificate": ["Paste the whole certificate."]})


def _code_state() -> dict[str, Any]:
    """As a provider says it: wait, and then what came of it, which the page shows by itself."""
    return {"status": "success", "data": {"state": "waiting" if CODE_ANSWERS and CODE_ANSWERS.pop() else "done"}}


def _check() -> Response:
    """As the connection test says it: a line for each thing that it waits for, and the result."""
    rows = [
        {"name": "token", "status": "ok", "fact": "", "remedy": "", "step": None},
        {
            "name": "sign_in",
            "status": "failed",
            "fact": "SMTP is off.",
            "remedy": "Turn it on.",
            "step": 4,
        },
        {"name": "from", "status": "skipped", "fact": "", "remedy": "", "step": None},
    ]
    lines = [
        {"type": "waiting", "label": "Sign-in"},
        {"type": "result", "ok": False, "message": "The server refused the token.", "rows": rows},
    ]
    return Response("".join(f"{json.dumps(line)}\n" for line in lines), mimetype="application/x-ndjson")


def _start(name: str) -> str:
    found = SimpleNamespace(
        message="example.com uses Microsoft 365.",
        origin="Source: the domain’s MX records in DNS.",
        values=SimpleNamespace(smtp_server="smtp.office365.com", smtp_port=587),
    )
    return render_template(
        "settings/connect_start.html",
        found=None if name == "new" else found,
        suggestion=name == "found",
        values={"email": "" if name == "new" else "shop@example.com"},
        errors={},
        urls=URLS,
        connect_label="Connect with Microsoft",
        with_token_method=True,
        back_url="/settings/smtp",
        back_label="Mail servers",
    )


def _end(name: str) -> str:
    return render_template(
        "settings/disconnect.html",
        name="Shop",
        can_revoke=name == "google",
        taken_back_at="" if name == "google" else "myapps.microsoft.com",
        provider_name=name.title(),
        consequence="It is the active server: no email goes through it after that.",
        level="warning",
        version=3,
        urls=URLS,
    )
