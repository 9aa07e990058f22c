"""The administrator's first questions: where does mail go now, is all well with it, and how does each server stand?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from services.connecting.calendar import Ending
from services.settings import configs, health, protection
from services.settings import route as smtp_route
from services.settings.health import Health, HealthState
from services.settings.reach import Reach
from services.settings.route import RouteStep
from services.settings.sealing import Condition, StoredConfig
from services.settings.shown import ConfigData, config_data
from services.smtp.settings import Security, SmtpSettings
from utils import clock
from utils.addresses import is_loopback

ADD_ONE: Final = "Add a mail server, test it, then save."
IN_CLEAR: Final = "The connection is not encrypted: anyone on the network can read mail and password reset links."
OWN_DOMAIN_ONLY: Final = "These settings passed a test for your own domain only."
GOES_BACK: Final = "Connect it again. Mail goes back to it then."
WAITS: Final = "Connect it again. Email waits until then, at most until it expires."
ACTIVATE_ONE: Final = "Activate a server below."


@dataclass(frozen=True, kw_only=True)
class RouteLine:
    """A server of the route; ``status`` is used, failed, skipped or standby, ``reason`` its place and how it is."""

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
    health: Health | None

    @property
    def can_be_tested(self) -> bool:
        """Not the local inbox, which is Sealpost's own."""
        return self.settings is not None and self.health is not None


@dataclass(frozen=True, kw_only=True)
class SendingState:
    """``level`` is ok, warning, error or empty. ``since`` is when a server went down that mail is to go through.

    ``is_outage``: no email gets out, since every server that may send is down.
    """

    level: str
    headline: str
    detail: str = ""
    since: datetime | None = None
    config_id: int | None = None  # of the configuration to look at, if something is wrong with it
    is_outage: bool = False
    has_trouble: bool = False  # with a server that mail is to go through
    until: datetime | None = None  # when the server that is down, or paused, is tried again
    needs_sign_in: int | None = None  # the configuration of the first server, if it is to be connected again
    route: list[RouteLine] = field(default_factory=list)
    env: EnvLine


@dataclass(frozen=True, kw_only=True)
class ConfigFacts(ConfigData):
    """What the pages show of a stored configuration.

    ``level`` and ``word`` are its status, ``advice`` what is wrong and what to do, or ""; ``calendar``: what will end.
    """

    level: str
    word: str
    advice: str
    is_usable: bool
    is_readable: bool
    settings: SmtpSettings
    calendar: tuple[Ending, ...]
    needs_sign_in: bool


def describe(*, has_configs: bool) -> SendingState:
    """Where mail goes now and why; ``has_configs`` whether any configuration is stored, active or not."""
    active = configs.find_active()
    steps = list(smtp_route.steps())
    used = smtp_route.first_of(steps)
    known = {step.source: health.of_step(step) for step in steps if step.settings and not step.is_local_inbox}
    found = known.get(used.source) if used else None
    is_down = found is not None and found.is_down
    beside = _takes_over(steps, used)
    in_use = beside if is_down else used
    is_outage = used is None or (is_down and (in_use is None or _is_down(known, in_use)))
    level, headline, detail = _warned(used, *_judged(active, used, has_configs, found, None if is_outage else beside))
    if is_outage and beside:
        detail = f"{detail} {_server(beside)} is down, too."
    withheld = protection.standing(steps)
    if found and found.has_trouble and (waits := next(iter(withheld.values()), "")):
        detail = f"{detail} {waits}"
    if smtp_route.is_suppressed():
        level, headline, detail = "warning", smtp_route.NOTHING_IS_SENT, f"Without it: {headline} {detail}".strip()
    return SendingState(
        level=level,
        headline=headline,
        detail=detail,
        since=found.since if found else None,
        config_id=active.row.id if active and level != "ok" else None,
        is_outage=is_outage,
        has_trouble=used is None or (found is not None and (found.has_trouble or found.needs_sign_in)),
        needs_sign_in=used.config_id if used and found and found.needs_sign_in else None,
        until=found.until if found else None,
        route=[
            RouteLine(
                name=_named(step),
                status=_status(step, in_use, used, known),
                reason=_reason(withheld.get(step.source, step.reason), known.get(step.source)),
            )
            for step in steps
        ],
        env=_env_line(steps[-1], in_use, used, withheld.get(steps[-1].source, ""), known.get(health.ENV)),
    )


def facts(stored: StoredConfig, known: Health | None = None) -> ConfigFacts:
    """One configuration for the list, or for the head of its own page; ``known`` is how it is, if that was asked."""
    known = known or health.of_config(stored)
    level, word = _status_word(stored, known)
    return ConfigFacts(
        **vars(config_data(stored, known)),
        level=level,
        word=word,
        advice=known.sentence if known.state is not HealthState.UNPROVEN or known.ends or known.loud_changes else "",
        is_usable=stored.is_usable,
        is_readable=stored.is_readable,
        settings=stored.settings,
        calendar=known.endings,
        needs_sign_in=known.needs_sign_in,
    )


def facts_of(found: Sequence[StoredConfig]) -> list[ConfigFacts]:
    """The same of several."""
    known = health.of_configs(found)
    return [facts(stored, known[stored.row.id]) for stored in found]


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


def _judged(
    active: StoredConfig | None,
    used: RouteStep | None,
    has_configs: bool,
    found: Health | None,
    beside: RouteStep | None,
) -> tuple[str, str, str]:
    if active and not active.is_usable:
        told = f"“{active.row.name}” is active, but cannot be used"
        if used and found and found.is_down and found.since:
            headline = (
                f"No email gets out: {told}, and {_server(used)} has been down since {clock.readable(found.since)}."
            )
            return "error", headline, f"{active.problem} {found.reason}."
        return "error", f"{told}.", f"{active.problem} {_meanwhile(used)}"
    if not used or not used.settings or not found:
        return _without_server(used, has_configs)
    level, headline, detail = _judged_used(used, found, beside)
    if not active and not found.has_trouble:
        detail = f"No server is active, so the one in .env is used. {detail}".strip()
    elif active and active.is_verified and not detail:
        detail = "These settings passed a test."
    elif active and active.verified_reach is Reach.OWN_DOMAIN and not detail:
        detail = OWN_DOMAIN_ONLY
    return level, headline, detail


def _without_server(used: RouteStep | None, has_configs: bool) -> tuple[str, str, str]:
    if used and used.is_local_inbox and has_configs:
        return "warning", "No server is active. Mail goes to the local inbox.", ACTIVATE_ONE
    if used and used.is_local_inbox:
        return "empty", "No mail server yet. Mail goes to the local inbox.", ADD_ONE
    return "error", "No mail can be sent: no server is active.", ACTIVATE_ONE if has_configs else ADD_ONE


def _judged_used(used: RouteStep, found: Health, beside: RouteStep | None) -> tuple[str, str, str]:
    """How the server is that mail is to go through; ``beside`` is the one that takes over where it is down."""
    server = _server(used)
    if found.needs_sign_in and found.state is HealthState.DOWN:
        instead = f"Mail goes through {_server(beside)} instead." if beside else "No email gets out."
        level, detail = ("warning", GOES_BACK) if beside else ("error", WAITS)
        return level, f"{server} needs sign-in again. {instead}", detail
    if found.state is HealthState.DOWN and found.since and not beside:
        headline = f"No email gets out: {server} has been down since {clock.readable(found.since)}."
        return "error", headline, f"{found.reason}."
    if found.state is HealthState.DOWN and beside:
        headline = f"{server} is down. Mail goes through {_server(beside)} instead."
        detail = f"{found.reason}. Mail goes back to it once it works again. Test it to see what is wrong."
        return "warning", headline, detail
    if found.state is HealthState.PAUSED and found.until:
        headline = f"{server} is paused until {clock.readable(found.until)}: {found.reason}."
        return "warning", headline, f"Email waits, or goes through {_server(beside)}." if beside else "Email waits."
    address = used.settings.from_email if used.settings else ""
    headline = f"Mail goes through {server} as {address}."
    advice = " Test it to see what to do." if found.state is HealthState.STRUGGLING else ""
    return found.level, headline, f"{found.sentence}{advice}"


def _server(step: RouteStep) -> str:
    if step.settings is None:
        return step.name
    return f"{step.settings.host} (set in .env)" if step.source == health.ENV else f"{step.name} ({step.settings.host})"


def _warned(used: RouteStep | None, level: str, headline: str, detail: str) -> tuple[str, str, str]:
    """The same, with a warning if mail can be read on its way to the server that sends."""
    settings = used.settings if used else None
    if settings is None or settings.security is not Security.NONE or is_loopback(settings.host):
        return level, headline, detail
    return "warning" if level == "ok" else level, headline, f"{IN_CLEAR} {detail}"


def _meanwhile(used: RouteStep | None) -> str:
    if used and used.settings:
        return f"Until then mail goes through {used.settings.host} ({used.name})."
    return "Until then no mail can be sent."


def _status_word(stored: StoredConfig, known: Health) -> tuple[str, str]:
    if stored.condition is Condition.UNCONNECTED:
        return ("error", "Active, not connected") if stored.row.is_active else ("empty", "Inactive, not connected")
    if not stored.is_usable or known.state is HealthState.UNUSABLE:
        return "error", "Active, cannot be used" if stored.row.is_active else "Cannot be used"
    how = "" if known.state is HealthState.WORKING else f", {known.state}"
    how = ", needs sign-in again" if known.needs_sign_in else how
    if not stored.row.is_active:
        is_told = known.is_down or known.needs_sign_in
        return ("warning", f"Inactive{how}") if is_told else ("empty", "Inactive")
    return known.level, f"Active{how}"


def _reason(place: str, known: Health | None) -> str:
    """The place of a server in the route, and how it is where there is something to say."""
    return f"{place} {known.sentence}".strip() if known else place


def _is_down(known: Mapping[str, Health], step: RouteStep) -> bool:
    found = known.get(step.source)
    return found is not None and found.is_down


def _env_line(
    step: RouteStep, in_use: RouteStep | None, used: RouteStep | None, withheld: str, known: Health | None
) -> EnvLine:
    status = _status(step, in_use, used, {})
    place = step.reason
    if status == "standby" and used:
        when = "is down or cannot be used" if used.failover else "cannot be used"
        place = f"Second in the route: used while {used.name} {when}."
        if withheld and used.failover:
            place = f"Second in the route: used while {used.name} cannot be used. {withheld}"
    elif status == "used" and step is not used and used:
        place = f"Second in the route: used while {used.name} is down."
    status = "failed" if known and known.is_down else status
    return EnvLine(name=step.name, status=status, place=place, settings=step.settings, health=known)


def _takes_over(steps: Sequence[RouteStep], used: RouteStep | None) -> RouteStep | None:
    """The server that mail goes through while the first is down; None if none may."""
    if used is None or not used.failover:
        return None
    return next((step for step in steps if step.settings and protection.takes_over(step, used)), None)


def _named(step: RouteStep) -> str:
    return f"{step.name}: {step.settings.host}" if step.settings else step.name


def _status(step: RouteStep, in_use: RouteStep | None, used: RouteStep | None, known: Mapping[str, Health]) -> str:
    if _is_down(known, step):
        return "failed"
    if step is in_use:
        return "used"
    if step is used:
        return "failed"
    return "standby" if step.settings else "skipped"
