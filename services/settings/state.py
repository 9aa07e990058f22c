"""The administrator's first questions: where does mail go now, is all well with it, and how does each server stand?"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from services.settings import configs, protection
from services.settings import route as smtp_route
from services.settings.route import RouteStep
from services.settings.sealing import StoredConfig
from services.settings.shown import ConfigData, config_data
from services.smtp.settings import Security, SmtpSettings
from utils.addresses import is_loopback

ADD_ONE: Final = "Add a mail server, test it, then save."
IN_CLEAR: Final = "The connection is not encrypted: anyone on the network can read mail and password reset links."
ACTIVATE_ONE: Final = "Activate a server below."


@dataclass(frozen=True, kw_only=True)
class RouteLine:
    """A server of the route; ``status`` is used, failed, skipped or standby."""

    name: str
    status: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class EnvLine:
    """The read-only line of `.env`: its server, if it names one, and its place in the route in words."""

    name: str
    status: str
    place: str
    settings: SmtpSettings | None


@dataclass(frozen=True, kw_only=True)
class SendingState:
    """``level`` is ok, warning, error or empty. ``since`` is when mail began to go around a server that is down."""

    level: str
    headline: str
    detail: str = ""
    since: datetime | None = None
    config_id: int | None = None  # of the configuration to look at, if something is wrong with it
    route: list[RouteLine] = field(default_factory=list)
    env: EnvLine


@dataclass(frozen=True, kw_only=True)
class ConfigFacts(ConfigData):
    """What the pages show of a stored configuration.

    ``level`` and ``word`` are its status, ``advice`` what is wrong and what to do, or "".
    """

    level: str
    word: str
    advice: str
    is_usable: bool
    is_readable: bool
    settings: SmtpSettings


def describe(*, has_configs: bool) -> SendingState:
    """Where mail goes now and why; ``has_configs`` whether any configuration is stored, active or not."""
    active = configs.find_active()
    steps = list(smtp_route.steps())
    used = smtp_route.first_of(steps)
    is_down = active is not None and _is_failing_over(active)
    level, headline, detail = _warned(used, *_judged(active, used, has_configs))
    withheld = protection.standing(steps)
    if used and used.last_error and not is_down and (waits := next(iter(withheld.values()), "")):
        detail = f"{detail} {waits}"
    if smtp_route.is_suppressed():
        level, headline, detail = "warning", smtp_route.NOTHING_IS_SENT, f"Without it: {headline} {detail}".strip()
    in_use = _next_usable(steps, used) if is_down else used
    return SendingState(
        level=level,
        headline=headline,
        detail=detail,
        since=active.row.failed_over_at if active and is_down else None,
        config_id=active.row.id if active and level != "ok" else None,
        route=[
            RouteLine(
                name=_named(step), status=_status(step, in_use, used), reason=withheld.get(step.source, step.reason)
            )
            for step in steps
        ],
        env=_env_line(steps[-1], in_use, used, withheld.get(steps[-1].source, "")),
    )


def facts(stored: StoredConfig) -> ConfigFacts:
    """One configuration for the list, or for the head of its own page."""
    level, word = _status_word(stored)
    return ConfigFacts(
        **vars(config_data(stored)),
        level=level,
        word=word,
        advice=_advice(stored),
        is_usable=stored.is_usable,
        is_readable=stored.is_readable,
        settings=stored.settings,
    )


def without_it(stored: StoredConfig) -> tuple[str, str]:
    """What sends once this configuration is switched off or deleted: a level and a sentence."""
    if not stored.row.is_active:
        return "ok", "It is not active, so mail is not affected."
    step = smtp_route.without_database()
    if step.settings is None:
        return "error", f"No mail can be sent after that. {step.reason}"
    if step.is_local_inbox:
        return "warning", "Mail will go to the local inbox and not leave this machine."
    return "warning", f"Mail will go through {step.settings.host} (set in .env) as {step.settings.from_email}."


def _judged(active: StoredConfig | None, used: RouteStep | None, has_configs: bool) -> tuple[str, str, str]:
    if active and not active.is_usable:
        name, reason = active.row.name, active.problem
        return "error", f"“{name}” is active, but cannot be used.", f"{reason} {_meanwhile(used)}"
    if not used or not used.settings:
        detail = ACTIVATE_ONE if has_configs else ADD_ONE
        return "error", "No mail can be sent: no server is active.", detail
    if used.is_local_inbox and has_configs:
        return "warning", "No server is active. Mail goes to the local inbox.", ACTIVATE_ONE
    if used.is_local_inbox:
        return "empty", "No mail server yet. Mail goes to the local inbox.", ADD_ONE
    if not active:
        headline = f"Mail goes through {used.settings.host} (set in .env) as {used.settings.from_email}."
        return "ok", headline, "No server is active, so the one in .env is used."
    return _judged_active(active)


def _warned(used: RouteStep | None, level: str, headline: str, detail: str) -> tuple[str, str, str]:
    """The same, with a warning if mail can be read on its way to the server that sends."""
    settings = used.settings if used else None
    if settings is None or settings.security is not Security.NONE or is_loopback(settings.host):
        return level, headline, detail
    return "warning" if level == "ok" else level, headline, f"{IN_CLEAR} {detail}"


def _judged_active(active: StoredConfig) -> tuple[str, str, str]:
    row, server = active.row, f"{active.row.name} ({active.row.smtp_server})"
    if _is_failing_over(active):
        headline = f"{server} is down. Mail goes through {row.failed_over_to} instead."
        detail = "Mail goes back to it once it works again. Test it to see what is wrong."
        return "warning", headline, detail
    headline = f"Mail goes through {server} as {row.from_email}."
    if row.last_error:
        detail = f"Its last attempt failed: {row.last_error}. Test it to see what to do."
        return "warning", headline, detail
    if active.certificate_trouble:
        return "warning", headline, active.certificate_trouble
    if not active.is_verified:
        return "warning", headline, "These settings have not been tested yet."
    return "ok", headline, "These settings passed a test."


def _is_failing_over(stored: StoredConfig) -> bool:
    """Whether mail last went around it, and neither a test nor a change has come since."""
    row = stored.row
    since = row.failed_over_at
    is_mended = since is not None and any(later and later > since for later in (row.verified_at, row.updated_at))
    return row.is_active and since is not None and not is_mended


def _meanwhile(used: RouteStep | None) -> str:
    if used and used.settings:
        return f"Until then mail goes through {used.settings.host} ({used.name})."
    return "Until then no mail can be sent."


def _status_word(stored: StoredConfig) -> tuple[str, str]:
    row = stored.row
    if not stored.is_usable:
        return "error", "Active, cannot be used" if row.is_active else "Cannot be used"
    if not row.is_active:
        return "empty", "Inactive"
    if _is_failing_over(stored):
        return "warning", "Active, but down"
    return ("warning", "Active, failing") if row.last_error else ("ok", "Active")


def _advice(stored: StoredConfig) -> str:
    if not stored.is_usable:
        return stored.problem
    if _is_failing_over(stored):
        return f"It is down: mail goes through {stored.row.failed_over_to} instead."
    return stored.certificate_trouble


def _env_line(step: RouteStep, in_use: RouteStep | None, used: RouteStep | None, withheld: str) -> EnvLine:
    status = _status(step, in_use, used)
    place = step.reason
    if status == "standby" and used:
        when = "is down or cannot be used" if used.failover else "cannot be used"
        place = f"Second in the route: used while {used.name} {when}."
        if withheld and used.failover:
            place = f"Second in the route: used while {used.name} cannot be used. {withheld}"
    elif status == "used" and step is not used and used:
        place = f"Second in the route: used while {used.name} is down."
    return EnvLine(name=step.name, status=status, place=place, settings=step.settings)


def _next_usable(steps: Sequence[RouteStep], used: RouteStep | None) -> RouteStep | None:
    return next((step for step in steps if used and step.settings and protection.takes_over(step, used)), None)


def _named(step: RouteStep) -> str:
    return f"{step.name}: {step.settings.host}" if step.settings else step.name


def _status(step: RouteStep, in_use: RouteStep | None, used: RouteStep | None) -> str:
    if step is in_use:
        return "used"
    if step is used:
        return "failed"
    return "standby" if step.settings else "skipped"
