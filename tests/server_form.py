"""The form of a mail server, filled in and sent as a browser without scripts would."""

import re

from werkzeug.test import TestResponse

from services.settings import configs
from services.settings.sealing import StoredConfig
from tests.recording_server import RecordingServer
from tests.scripted_server import ScriptedServer
from tests.visitors import Visitor

LIST = "/settings/smtp"
NEW = f"{LIST}/new"
FORM = {
    "name": "Primary",
    "smtp_server": "smtp.example.com",
    "smtp_port": "587",
    "security": "starttls",
    "smtp_username": "user",
    "smtp_password": "typed-s3cret",
    "from_email": "noreply@example.com",
    "from_name": "Müller, Söhne",
    "reply_to": "",
    "helo_hostname": "",
    "timeout_seconds": "10",
    "emails_per_minute": "",
    "emails_per_day": "",
    "is_active": "1",
    "failover": "1",
    "version": "",
}


def url() -> str:
    """Of the form: that of the active server, or of a new one while there is none."""
    active = configs.find_active()
    return f"{LIST}/{active.row.id}" if active else NEW


def save(admin: Visitor, **fields: str) -> TestResponse:
    return admin.post_form(url(), {**FORM, **fields})


def run_test(admin: Visitor, server: RecordingServer | ScriptedServer, **fields: str) -> TestResponse:
    place = {"smtp_server": server.host, "smtp_port": str(server.port), "security": "none"}
    no_login = {"smtp_username": "", "smtp_password": ""}
    return admin.post_form(f"{url()}/test", {**FORM, **place, **no_login, **fields})


def stored() -> StoredConfig:
    found = configs.find_active()
    assert found
    return found


def is_ticked(page: str, name: str) -> bool:
    box = re.search(rf'<input[^>]*name="{name}"[^>]*>', page)
    assert box
    return " checked" in box[0]


def version() -> str:
    return str(stored().row.version)
