"""The administrator's first question in one sentence: where does mail go now, and is all well with it?"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from services import smtp_route, smtp_sealing
from services.smtp_route import RouteStep
from services.smtp_sealing import StoredConfig

FIRST_STEPS: Final = "Fill in the form, test it and save it."


@dataclass(frozen=True, kw_only=True)
class ConfigFacts:
    """What the page shows of the stored configuration. ``verified_at`` only while the test still holds."""

    is_active: bool
    smtp_server: str
    smtp_port: int
    verified_at: datetime | None
    last_error: str | None
    updated_at: datetime
    updated_by: str


@dataclass(frozen=True, kw_only=True)
class RouteLine:
    """A server of the route; ``status`` is used, skipped or standby."""

    name: str
    status: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class State:
    """``level`` is ok, warning, error or empty."""

    level: str
    headline: str
    detail: str = ""
    config: ConfigFacts | None = None
    route: list[RouteLine] = field(default_factory=list)


def describe(stored: StoredConfig | None) -> State:
    """Where mail goes now, judged for the page; ``stored`` is the configuration that the page edits."""
    steps = list(smtp_route.steps())
    used = next((step for step in steps if step.settings), None)
    level, headline, detail = _judged(stored, used)
    return State(
        level=level,
        headline=headline,
        detail=detail,
        config=_facts(stored) if stored else None,
        route=[RouteLine(name=_named(step), status=_status(step, used), reason=step.reason) for step in steps],
    )


def _judged(stored: StoredConfig | None, used: RouteStep | None) -> tuple[str, str, str]:
    if stored and stored.row.is_active and not stored.is_usable:
        return "error", smtp_sealing.UNUSABLE[stored.condition], _meanwhile(used)
    if not used or not used.settings:
        return "error", "No mail can be sent: no server is set up.", FIRST_STEPS
    if used.is_local_inbox and stored:
        return "warning", "The saved server is switched off. Mail goes to the local inbox.", ""
    if used.is_local_inbox:
        return "empty", "No server yet. Mail goes to the local inbox.", FIRST_STEPS
    level, detail = _judged_server(stored, used)
    return level, f"Mail goes through {used.settings.host} as {used.settings.from_email}.", detail


def _judged_server(stored: StoredConfig | None, used: RouteStep) -> tuple[str, str]:
    if used.config_id is None or not stored:
        return "warning" if stored else "ok", "It is set in .env and serves until a server is active here."
    if stored.row.last_error:
        return "warning", "The last try did not go through. Test the connection to see why."
    if not stored.is_verified:
        return "warning", "It has not been tested yet. Press Test Connection."
    return "ok", ""


def _meanwhile(used: RouteStep | None) -> str:
    if used and used.settings:
        return f"Until then mail goes through {used.settings.host} ({used.name})."
    return "Until then no mail can be sent."


def _facts(stored: StoredConfig) -> ConfigFacts:
    row = stored.row
    return ConfigFacts(
        is_active=row.is_active,
        smtp_server=row.smtp_server,
        smtp_port=row.smtp_port,
        verified_at=row.verified_at if stored.is_verified else None,
        last_error=row.last_error,
        updated_at=row.updated_at,
        updated_by=row.updated_by,
    )


def _named(step: RouteStep) -> str:
    return f"{step.name}: {step.settings.host}" if step.settings else step.name


def _status(step: RouteStep, used: RouteStep | None) -> str:
    if step is used:
        return "used"
    return "standby" if step.settings else "skipped"
