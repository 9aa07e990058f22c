"""How a connection test is told on the page: what it came to, and after a failure how to mend it with one click."""

import math
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlencode

from blueprints import smtp_tests
from services.checks.connection_test import TestPlan, TestResult
from services.settings import sealing
from services.settings.sealing import StoredConfig
from utils.allowed_places import NOT_FOR_ACCOUNTS
from utils.errors import Fault, InvalidInput

ON_SCREEN: Final = "Tested the settings on screen. Not saved yet."
SAVED: Final = "Tested the saved settings."
NOT_RUN: Final = "The test was not run"  # which the script says as well
GUIDE: Final = "See the provider’s guide"
REMOVAL: Final = "Look it up and ask for removal"
_OF_LISTS: Final = ("block-listed", "domain-block-listed")
_UNITS: Final = (("hour", 3600), ("minute", 60), ("second", 1))


def told(
    stored: StoredConfig | None,
    prepared: TestPlan,
    result: TestResult,
    *,
    is_discreet: bool = False,
    connect_new: str = "",
) -> dict[str, Any]:
    """The result, as ``stored`` is now. ``proof`` lets a save of the same values count as tested.

    An action with ``retype`` is for a script alone: it makes that field plain where it was typed. One with a ``page``
    is a link to it, ``connect_new`` that for a server that is not stored.

    Discreetly, for who is no administrator, nothing of it is the server's words, and a server that is refused for where
    it is looks like any other such. ``apply`` of an action is what its button sends beside the form: the changes, and
    whether a message is sent again.
    """
    if is_discreet:
        result = replace(result, server_line="", transcript=[])
        if result.error and result.error.fault is Fault.ADDRESS_REFUSED:
            return {
                "ok": False,
                "level": "failed",
                "title": NOT_FOR_ACCOUNTS,
                "tested": ON_SCREEN,
                "is_unsaved": True,
                "actions": [],
            }
    is_saved = stored is not None and sealing.are_stored(prepared.settings, stored)
    connect = smtp_tests.connect_url(stored) or connect_new
    failure = smtp_tests.failure(result, connect)
    is_said = failure.get("fault") == Fault.REPLY
    diagnosis = result.diagnosis
    actions = smtp_tests.offered(diagnosis.actions, connect) if diagnosis else []
    is_passing = failure.get("retryable", False) and not actions
    again = {"send": "1"} if prepared.content is not None else {}
    return {
        "ok": result.ok,
        "level": _level(result, is_passing=is_passing and is_said),
        "place": f"{failure['phase_label']}: {result.message}" if failure else "",
        "title": failure.get("title", result.headline),
        "message": failure.get("meaning", _success(prepared, result)),
        "cause": failure.get("cause", ""),
        "remedy": failure.get("remedy", ""),
        "actions": [
            {
                "label": action.label,
                "apply": urlencode({**action.changes, **again, **({"retype": action.retype} if action.retype else {})}),
                "retype": action.retype,
                "page": smtp_tests.page_of(action, connect),
            }
            for action in actions
        ],
        "retry": _retry(failure, diagnosis.pause if diagnosis else "", is_said=is_said) if is_passing else "",
        "server_line": result.server_line,
        "transcript": result.transcript,
        "docs_url": failure.get("docs_url", ""),
        "docs_label": REMOVAL if diagnosis and diagnosis.rule in _OF_LISTS else GUIDE,
        "habits": "; ".join(result.habits),
        "field": failure.get("field"),
        "tested": SAVED if is_saved else ON_SCREEN,
        "is_unsaved": not is_saved,
        "is_ready": result.ok and is_saved,
        "delivered": bool(result.message_id),
        "verified": result.ok and stored is not None and is_saved and stored.is_verified,
        "standing": _standing(stored, result) if stored and is_saved else "",
        "proof": sealing.issue_proof(prepared.settings, result.reach) if result.ok else "",
    }


def _standing(stored: StoredConfig, result: TestResult) -> str:
    """What this test has made of the mark of the saved values; "" where that is what it was."""
    reach = stored.verified_reach
    if not reach:
        return "unverified"
    return str(reach) if result.ok and reach is result.reach else ""


def _level(result: TestResult, *, is_passing: bool) -> str:
    if result.ok:
        return "warning" if result.caveat else "ok"
    return "warning" if is_passing else "failed"


def not_run(refused: InvalidInput) -> dict[str, Any]:
    """What the report says of values that cannot be tested; the reasons stand at their fields."""
    return {"ok": False, "level": "failed", "title": NOT_RUN, "message": refused.message, "actions": [], "steps": []}


def _success(prepared: TestPlan, result: TestResult) -> str:
    host = prepared.settings.host
    if not result.message_id:
        return result.caveat or f"{host} accepts mail from {prepared.settings.from_email}."
    queue = f", queue id {result.queue_id}" if result.queue_id else ""
    return (
        f"Accepted by {host} in {_in_ms(result.ms)}{queue}. "
        f"Accepted does not mean delivered: check the inbox of {prepared.rcpt}. {result.caveat}"
    ).strip()


def _in_ms(ms: int) -> str:
    return f"{ms} ms" if ms < 1000 else f"{ms / 1000:.1f} s"  # noqa: PLR2004


def _retry(failure: dict[str, Any], pause: str, *, is_said: bool) -> str:
    """When to test again: not before the moment that the server has named, or in so many minutes."""
    return pause or _when_to_retry(failure["retry_after"], is_certain=is_said)


def _when_to_retry(seconds: int | None, *, is_certain: bool) -> str:
    """Two sentences; ``seconds`` is None if nobody knows when."""
    what = f"This {'is' if is_certain else 'may be'} temporary."
    if seconds is None:
        return f"{what} It may work later."
    unit, length = next((unit, length) for unit, length in _UNITS if seconds >= 2 * length or seconds == length)
    number = math.ceil(seconds / length)
    return f"{what} Try again in {number} {unit}{'' if number == 1 else 's'}."
