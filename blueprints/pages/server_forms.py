"""What the forms of a server share, an administrator’s and an account’s own: what they show, how they are tested."""

from collections.abc import Callable
from typing import Any, Final

from flask import Response, request

from blueprints import forms, limits, smtp_tests
from blueprints.pages import smtp_form_values, smtp_test_card
from services.checks.connection_test import TestPlan, TestResult
from services.providers import discovery, presets
from services.providers.discovery import Discovery
from services.settings.sealing import StoredConfig
from services.smtp import sasl
from services.smtp.settings import TOKEN_METHOD
from utils import odd_characters
from utils.errors import AppError, InvalidInput
from utils.version import VERSION

TICK: Final = "Tick the box to deliver it anyway."
ENTER_AGAIN: Final = "Enter the password again. Sealpost never shows it."
PASTE_AGAIN: Final = "Paste the key again. Sealpost never shows it."
LOAD_AGAIN: Final = " Reload the page."  # which the API's callers should, and who sees both versions need not

FieldErrors = dict[str, list[str]]


def context(
    stored: StoredConfig | None,
    values: dict[str, Any],
    *,
    found: Discovery | None = None,
    errors: FieldErrors | None = None,
    test: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """What a form's template is rendered with, whosever server it is."""
    return {
        "values": values,
        "errors": errors or {},
        "has_password": bool(stored and stored.row.smtp_password),
        "tested_controls": smtp_form_values.TESTED_CONTROLS,
        "auth_methods": _auth_methods(values["auth_method"], is_new=stored is None),
        "presets": presets.presets(),
        "preset_groups": presets.GROUPS,
        "preset": found.provider if found else presets.for_server(values["smtp_server"], values["smtp_port"]),
        "found": found,
        "step_labels": smtp_tests.step_labels(),
        "version": VERSION,
        "odd_characters": {"edges": odd_characters.EDGES, "plain": odd_characters.PLAIN},
        "test": test,
        "is_filled_in": bool(errors and "smtp_password" in errors and smtp_form_values.are_changed_by_action()),
        "is_typed": request.method == "POST" and not forms.ticked("saved"),
    }


def _auth_methods(chosen: str, *, is_new: bool) -> list[tuple[str, str]]:
    """What can be chosen. A server with a password gets to one by token by being connected, and away from it here.

    A new one may begin without a password: nothing else leads there where its provider is in no list.
    """
    by_token = [(TOKEN_METHOD, "By token (OAuth 2)")] if is_new or chosen == TOKEN_METHOD else []
    return [("", "The best that the server offers"), *by_token, *((name, name) for name in sasl.KNOWN)]


def found(*, may_probe: bool = True) -> Discovery | None:
    """What is known of ``?find=``, or else the provider of ``?preset=``. Raises InvalidInput."""
    text = request.args.get("find", "")
    if text and not limits.led_here_by_another_site():
        return discovery.discover(text, may_probe=may_probe)
    preset = presets.find_preset(request.args.get("preset", ""))
    return discovery.for_provider(preset) if preset else None


def errors_of(refused: AppError) -> FieldErrors:
    """The reason at the fields of the form, or above it."""
    return smtp_form_values.at_fields(refused) if isinstance(refused, InvalidInput) else {"form": [refused.message]}


def values_on_screen(stored: StoredConfig | None) -> dict[str, Any]:
    """What was typed, or the stored values where the list asks for their test with ``saved``."""
    if stored and forms.ticked("saved"):
        return smtp_form_values.stored(stored)
    return smtp_form_values.typed()


def typed_again(name: str, sentence: str) -> str:
    """What is said at a secret that was typed, since no page gets it back."""
    return sentence if request.method == "POST" and forms.text(name) else ""


def asking_again(refused: InvalidInput) -> InvalidInput:
    """After an action of a failed test what is secret is missing since no page gets it back; say so."""
    if not smtp_form_values.are_changed_by_action():
        return refused
    words = {"smtp_password": ENTER_AGAIN, "client_key": PASTE_AGAIN}
    return InvalidInput({field: [words[field]] if field in words else texts for field, texts in refused.errors.items()})


def tested(
    config_id: int | None,
    plan: Callable[[], TestPlan],
    *,
    find: Callable[[], StoredConfig | None],
    refuse: Callable[[InvalidInput, dict[str, Any] | None], Response],
    show: Callable[[StoredConfig | None, dict[str, Any]], Response],
    is_discreet: bool = False,
    connect_new: str = "",
) -> Response:
    """Test step by step for a script, as a page without one. ``find`` gives the stored server as it is by then.

    ``refuse`` and ``show`` get what the report says; nothing where an action only filled the form in.
    ``is_discreet``: for somebody who is no administrator, and hears nothing that the server said. ``connect_new`` is
    where a server is connected that is not stored.
    """
    try:
        prepared = plan()
    except InvalidInput as refused:
        if smtp_tests.wants_stream():
            raise InvalidInput(smtp_form_values.at_fields(refused), refused.message) from None
        return refuse(refused, None if smtp_form_values.are_changed_by_action() else smtp_test_card.not_run(refused))

    def told(result: TestResult) -> dict[str, Any]:
        return smtp_test_card.told(find(), prepared, result, is_discreet=is_discreet, connect_new=connect_new)

    if smtp_tests.wants_stream():
        return smtp_tests.streamed(prepared, config_id, told, is_discreet=is_discreet)
    result = smtp_tests.run_and_note(prepared, config_id)
    steps = [smtp_tests.step_dict(step, is_discreet=is_discreet) for step in result.steps]
    return show(find(), told(result) | {"steps": steps})
