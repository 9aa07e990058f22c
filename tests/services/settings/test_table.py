"""Every field of a server is known everywhere, or left out of a place for a reason that stands here."""

import json
import re
import subprocess
import sys
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

import pytest
from flask import Flask
from flask_migrate import downgrade
from sqlalchemy import inspect

from blueprints.cli import smtp as commands
from blueprints.pages import smtp_form_values
from database.engine import db
from database.smtp_db import SmtpConfig
from database.types import UtcDateTime
from services.diagnosis import reply_rules
from services.settings import sealing, table
from services.settings.fields import SmtpChange
from services.settings.row import StoredRow
from services.settings.shown import ConfigData
from services.settings.table import Field, Kind
from services.smtp.settings import SmtpSettings
from utils.secret import Secret

ROOT = Path(__file__).resolve().parents[3]
FORM = ROOT / "templates" / "settings" / "_fields.html"
CONTROL = re.compile(r'(?:ui\.(?:field|text_area|checkbox|radio_choice|select)\(|<input [^>]*name=)"(\w+)"')
# What a place has beside the fields of the table, and what it does without.
MORE = {
    "settings": {"is_personal": "told by the row's account", "bearer": "of the sign-in by token, where that is chosen"},
    "change": {"version": "compared, not stored", "has_password": "shown", "has_client_key": "shown"}
    | {"client_certificate_facts": "shown", "needs_reentry": "shown", "verified": "shown"}
    | {"verified_for_own_domain": "shown", "health": "shown", "endings": "shown", "oauth": "shown"}
    | {"remove_password": "a removal", "remove_client_certificate": "a removal"},
    "shown": dict.fromkeys(
        (
            "has_password",
            "has_client_key",
            "client_certificate_facts",
            "needs_reentry",
            "verified",
            "verified_for_own_domain",
            "health",
            "endings",
            "oauth",
        ),
        "made of others",
    ),
    "form": {"security": "the control for use_tls and use_ssl", "version": "compared", "proof": "of a test"}
    | {"remove_password": "a removal", "remove_client_certificate": "a removal"},
}
LESS = {
    "commands": {"name": "the argument", "smtp_password": "never an argument", "is_active": "--activate"}
    | {"use_tls": "--security", "use_ssl": "--security"},
    "form": {"use_tls": "security", "use_ssl": "security"},
    ".env": dict.fromkeys(("name", "is_active", "failover"), "`.env` has one server, and it is the last resort")
    | dict.fromkeys(("emails_per_minute", "emails_per_day"), "EMAILS_PER_MINUTE and …_DAY hold for all")
    | dict.fromkeys(("reply_to", "helo_hostname", "auth_method"), "Django has no such variable"),
    "options": {"is_active": "--activate is no option of a change"},
}
BOUND_IN_FORM_2 = {
    "auth_method", "client_certificate", "client_key", "from_email", "from_name", "helo_hostname", "reply_to",
    "smtp_password", "smtp_port", "smtp_server", "smtp_username", "timeout_seconds",
}  # fmt: skip


def gaps() -> dict[str, set[str]]:
    """Of each place that names the fields itself: those that only it has, or only the table."""
    known = table.FIELDS
    entered = {field.name for field in known if field.kind not in (Kind.NOTED, Kind.HIDDEN)}
    shown = {field.name for field in known if field.kind is not Kind.HIDDEN}
    there: dict[str, tuple[set[str], set[str]]] = {
        "columns": ({field.name for field in known}, {column.name for column in inspect(SmtpConfig).columns}),
        "settings": ({field.setting for field in known} - {""}, {field.name for field in fields(SmtpSettings)}),
        "change": (shown, set(SmtpChange.model_fields)),
        "row": ({field.name for field in known}, {field.name for field in fields(StoredRow)}),
        "shown": (shown, {field.name for field in fields(ConfigData)}),
        "form": (entered, set(CONTROL.findall(FORM.read_text()))),
        "commands": (entered, {param.name or "" for param in commands.add.params} & entered),
        "options": (entered, {field.name for field in known if field.option}),
        ".env": (entered, {field.name for field in known if field.variable}),
    }
    found = {
        place: (names ^ listed) - set(MORE.get(place, {})) - set(LESS.get(place, {}))
        for place, (names, listed) in there.items()
    }
    return {place: names for place, names in found.items() if names}


def test_every_place_knows_the_fields_of_the_table_and_no_others() -> None:
    assert gaps() == {}


def test_a_field_that_is_only_in_the_table_is_missed_wherever_it_must_be_written_by_hand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretended = Field("pretended", Kind.VALUE, setting="pretended", words="pretence", tested=True)
    monkeypatch.setattr(table, "FIELDS", (*table.FIELDS, pretended))
    everywhere = ["columns", "settings", "change", "row", "shown", "form", "commands", "options", ".env"]
    assert gaps() == {place: {"pretended"} for place in everywhere}


def test_a_column_that_is_not_in_the_table_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "FIELDS", tuple(field for field in table.FIELDS if field.name != "reply_to"))
    assert gaps()["columns"] == {"reply_to"}


PRETENDING = """
import json, sys, types
from pathlib import Path

row = '''Field("pretended", Kind.VALUE, setting="pretended", words="pretence", tested=True,
          option="--pretended", variable="EMAIL_PRETENDED"),'''
source = Path("services/settings/table.py").read_text().replace("FIELDS: Final = (", "FIELDS: Final = (" + row, 1)
sys.modules["services.settings.table"] = pretended = types.ModuleType("services.settings.table")
exec(source, pretended.__dict__)

from blueprints.cli import smtp_options
from blueprints.pages import smtp_form_values
from services.settings import config_trail, configs, route, rules, sealing, shown, validity

print(json.dumps({
    "binding": list(sealing.BOUND), "fingerprint": list(sealing.TESTED_FIRST), "values": list(rules.VALUES),
    "written": list(configs.VALUES), "read": list(sealing.VALUES), "trail": list(config_trail.AUDITED),
    "checked": list(validity.CHECKED), "shown": list(shown.SHOWN), ".env": list(route.VARIABLES),
    "options": list(smtp_options.OPTIONS), "form": list(smtp_form_values.VALUES),
    "actions": list(smtp_form_values.APPLICABLE), "freshness": smtp_form_values.TESTED_CONTROLS.split(),
}))
"""


def test_a_new_row_of_the_table_is_bound_tested_recorded_shown_copied_and_asked_for_at_once() -> None:
    told = subprocess.run([sys.executable, "-c", PRETENDING], cwd=ROOT, check=True, capture_output=True, text=True)
    places: dict[str, list[str]] = json.loads(told.stdout)
    assert [place for place, names in places.items() if "pretended" not in names] == []


@pytest.mark.parametrize("field", table.FIELDS, ids=lambda field: field.name)
def test_a_field_has_the_same_type_in_the_table_the_database_and_a_change(field: Field) -> None:
    column = inspect(SmtpConfig).columns[field.name]
    kept = datetime if isinstance(column.type, UtcDateTime) else column.type.python_type
    assert kept is (str if field.type is Secret else field.type)
    if field.kind not in (Kind.NOTED, Kind.HIDDEN):
        annotation: Any = SmtpChange.model_fields[field.name].annotation
        assert field.type in (annotation, *get_args(annotation))


def test_each_field_came_with_the_migration_that_the_table_names(app: Flask) -> None:
    for revision in sorted({field.since for field in table.FIELDS}, reverse=True):
        downgrade(revision=revision)
        there = {column["name"] for column in inspect(db.engine).get_columns("smtp_config")}
        assert there == {field.name for field in table.FIELDS if field.since <= revision}


def test_what_is_bound_changes_only_with_a_new_form_of_the_binding() -> None:
    assert (sealing.FORM, set(table.BOUND)) == ("2:", BOUND_IN_FORM_2)


def test_what_is_tested_from_the_beginning_keeps_its_order_so_that_old_marks_stay_good() -> None:
    first = ["host", "port", "security", "username", "password"]
    assert list(table.TESTED_FIRST) == [*first, "from_email", "helo_hostname", "auth_method", "timeout_seconds"]


def test_what_a_diagnosis_points_at_is_a_control_of_the_form() -> None:
    controls = {*smtp_form_values.APPLICABLE, *table.SECRETS, "client_certificate", "to"}
    assert controls >= reply_rules.FIELDS


def test_the_page_watches_exactly_the_controls_that_a_test_exercises() -> None:
    watched = set(smtp_form_values.TESTED_CONTROLS.split())
    untested = {"name", "from_name", "reply_to", "failover", "emails_per_minute", "emails_per_day", "is_active"}
    assert set(CONTROL.findall(FORM.read_text())) - {"version", "proof"} - untested == watched
