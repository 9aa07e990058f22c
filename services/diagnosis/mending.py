"""From a way to mend a failure to the change of form fields that does it, where it would change anything."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Final

from services.diagnosis.picture import Picture, WayIn
from services.diagnosis.reply_rules import Try
from services.providers import registry
from services.smtp import sasl
from services.smtp.settings import LONGEST_TIMEOUT, MODE_NAMES, Security, SmtpSettings
from utils import odd_characters
from utils.addresses import InvalidAddress, ascii_domain, is_loopback, parse_address, parse_host

_MOST: Final = 4
OF_ACCOUNTS: Final = {"smtp_server", "smtp_port", "security", "smtp_username", "from_email", "reply_to"}
_USUAL_PORTS: Final = {Security.STARTTLS: 587, Security.TLS: 465}
_SAME_SITE: Final = 2  # labels
_FORMS: Final = {"smtp_server": "{}", "smtp_port": "port {}", "smtp_username": "the user name {}"}


@dataclass(frozen=True, kw_only=True)
class Mend:
    """One click: ``changes`` maps form fields to the values to test again with.

    ``retype`` is a secret field that the page's own script makes plain where it was typed; whoever has no such field
    cannot take this. ``leads_to`` is a page in place of changes, for a server that is stored.
    """

    label: str
    changes: dict[str, str]
    retype: str = ""
    leads_to: "MendPage | None" = None


class MendPage(StrEnum):
    """Where a failure can be mended that no field of the form is about, on the page that connects a server."""

    CONNECT = "connect"  # sign in at the provider
    CLIENT_SECRET = "client_secret"  # noqa: S105 - the field there
    REGISTRATION = "registration"  # the fields there


def actions(tries: Sequence[Try], picture: Picture) -> tuple[Mend, ...]:
    """What can be offered for a failure, best first, without what the settings already say."""
    # What the form already says would be no mend, and two ways that lead to the same values are one.
    present = _present(picture.settings)
    found: dict[tuple[str, ...], Mend] = {}
    works = [(way.port, way.security) for way in picture.usable_ways]
    for attempt in tries:
        for action in [_use(attempt)] if isinstance(attempt, dict) else _WAYS[attempt](picture):
            after = {**present, **action.changes}
            if (
                action.retype
                or action.leads_to
                or (after != present and not _is_dead(after, picture, works) and _can_be_made(action, picture))
            ):
                found.setdefault((*after.values(), action.retype, action.leads_to or ""), action)
    # What was seen to work comes first.
    best = sorted(
        found.values(),
        key=lambda action: (
            not (action.retype or action.leads_to) and _way_after({**present, **action.changes}) not in works
        ),
    )
    return tuple(best[:_MOST])


def is_about_ways(tries: Sequence[Try]) -> bool:
    """Whether one of these ways to mend leads to another port or mode, so that it is worth looking what answers."""
    return any(attempt in _OTHER_WAYS if isinstance(attempt, str) else "smtp_port" in attempt for attempt in tries)


def way_seen(tries: Sequence[Try], picture: Picture) -> WayIn | None:
    """The way in to which the first of ``actions`` leads, if ``tries`` are first of all about ways and it was seen to
    work.
    """
    if not is_about_ways(tries[:1]) or tries[0] == "submission":
        return None
    for action in actions(tries, picture)[:1]:
        way = _way_after({**_present(picture.settings), **action.changes})
        return way if way in [(seen.port, seen.security) for seen in picture.usable_ways] else None
    return None


def _way_after(after: Mapping[str, str]) -> WayIn:
    return int(after["smtp_port"]), Security(after["security"])


def _can_be_made(action: Mend, picture: Picture) -> bool:
    """Whether the form in which the settings were typed has the fields: an account's own has fewer."""
    return not picture.settings.is_personal or set(action.changes) <= OF_ACCOUNTS


def _is_dead(after: Mapping[str, str], picture: Picture, works: Sequence[WayIn]) -> bool:
    """Whether the values lead to a way into the same host that was probed and is no answer."""
    way = _way_after(after)
    if after["smtp_server"] != picture.settings.host or way in works:
        return False
    speaks_otherwise = picture.encrypted and way[0] == picture.settings.port and way != picture.way
    return way in picture.ways or bool(speaks_otherwise)


def _with_security(security: Security, picture: Picture) -> Iterator[Mend]:
    """The other mode; on the port that is usual for it if the present one is usual for the mode that failed."""
    usual, port, name = _USUAL_PORTS[security], picture.settings.port, MODE_NAMES[security]
    here = {"security": security.value}
    if port == usual or port not in _USUAL_PORTS.values():
        yield _use(here, name)
        return
    yield _use({**here, "smtp_port": str(usual)}, name)
    yield _use(here, f"{name} on port {port}")


def _no_encryption(picture: Picture) -> Iterator[Mend]:
    if is_loopback(picture.settings.host) and not picture.settings.is_personal:  # accounts have no such choice
        yield _use({"security": Security.NONE.value}, MODE_NAMES[Security.NONE])


def _any_method(picture: Picture) -> Iterator[Mend]:
    if picture.settings.auth_method:
        yield Mend(label="Let Sealpost choose the sign-in method and test again", changes={"auth_method": ""})


def _submission(picture: Picture) -> Iterator[Mend]:
    # 25 is for mail between servers (RFC 6409 3.1): who sends from a program submits on 587.
    if picture.settings.port not in _USUAL_PORTS.values():
        yield _use_port(_USUAL_PORTS[Security.STARTTLS], Security.STARTTLS)


def _open_ways(picture: Picture) -> Iterator[Mend]:
    return (_use_port(way.port, way.security) for way in picture.usable_ways)


def _send_as_login(picture: Picture) -> Iterator[Mend]:
    settings = picture.settings
    try:
        login = parse_address(settings.username)
    except InvalidAddress:
        return
    if login == settings.from_email:
        return
    # Replies are to reach whom they reached before: a Reply-To that is set already does that.
    if settings.reply_to:
        yield Mend(label=f"Send as {login} and test again", changes={"from_email": login})
    else:
        label = f"Send as {login}, with replies to {settings.from_email}"
        yield Mend(label=label, changes={"from_email": login, "reply_to": settings.from_email})


def _from_domain_as_ehlo(picture: Picture) -> Iterator[Mend]:
    with suppress(InvalidAddress):
        domain = ascii_domain(picture.settings.from_email)
        yield _use({"helo_hostname": domain}, f"{domain} as EHLO name")


def _more_time(picture: Picture) -> Iterator[Mend]:
    if picture.settings.timeout_seconds < LONGEST_TIMEOUT:
        yield Mend(
            label=f"Wait up to {LONGEST_TIMEOUT} seconds and test again",
            changes={"timeout_seconds": str(LONGEST_TIMEOUT)},
        )


def _known_server(picture: Picture) -> Iterator[Mend]:
    if server := registry.server_meant_by(picture.settings.host):
        yield _use({"smtp_server": server})


def _plain(picture: Picture) -> Iterator[Mend]:
    if picture.encrypted and "PLAIN" in (picture.mechanisms or ()):
        yield Mend(label="Sign in with PLAIN and test again", changes={"auth_method": "PLAIN"})


def _mail_server(picture: Picture) -> Iterator[Mend]:
    """Where mail to the domain goes that was entered as a server: its provider's server for sending, or that one."""
    if not picture.mail_servers:
        return
    provider = registry.for_mx(picture.mail_servers)
    if provider and provider["host"]:
        yield _use(
            {"smtp_server": provider["host"], "smtp_port": str(provider["port"]), "security": provider["security"]}
        )
    yield from (_use({"smtp_server": name}) for name in picture.mail_servers[:1] if _is_host(name))


def _made_plain(picture: Picture) -> Iterator[Mend]:
    """User name and password without characters that look right and are not."""
    settings = picture.settings
    meant = odd_characters.plain(settings.username)
    if meant and meant != settings.username:
        yield _use({"smtp_username": meant})
    password = settings.password.reveal()
    if password and odd_characters.plain(password) not in ("", password):
        yield Mend(label=f"Try the password {odd_characters.way_out(password)}", changes={}, retype="smtp_password")


def _connect(picture: Picture) -> Iterator[Mend]:
    if picture.settings.bearer:
        yield from _connect_again(picture)
    elif house := picture.token_house:
        yield Mend(label=f"Connect with {house}", changes={}, leads_to=MendPage.CONNECT)
    elif any(name in sasl.BY_TOKEN for name in picture.mechanisms or ()):
        yield Mend(label="Connect by OAuth", changes={}, leads_to=MendPage.CONNECT)


def _connect_again(_picture: Picture) -> Iterator[Mend]:
    yield Mend(label="Connect again", changes={}, leads_to=MendPage.CONNECT)


def _new_secret(_picture: Picture) -> Iterator[Mend]:
    yield Mend(label="Enter a new client secret", changes={}, leads_to=MendPage.CLIENT_SECRET)


def _registration(_picture: Picture) -> Iterator[Mend]:
    yield Mend(label="Check what is registered", changes={}, leads_to=MendPage.REGISTRATION)


def _certificate_name(picture: Picture) -> Iterable[Mend]:
    names = picture.certificate.names if picture.certificate else ()
    return (_use({"smtp_server": name}) for name in _trustworthy(names, picture.settings.host))


_WAYS: Final[dict[str, Callable[[Picture], Iterable[Mend]]]] = {
    "starttls": partial(_with_security, Security.STARTTLS),
    "tls": partial(_with_security, Security.TLS),
    "none_on_this_machine": _no_encryption,
    "submission": _submission,
    "any_method": _any_method,
    "plain_method": _plain,
    "open_ways": _open_ways,
    "send_as_login": _send_as_login,
    "from_domain_as_ehlo": _from_domain_as_ehlo,
    "known_server": _known_server,
    "more_time": _more_time,
    "certificate_name": _certificate_name,
    "mail_server": _mail_server,
    "made_plain": _made_plain,
    "connect": _connect,
    "connect_again": _connect_again,
    "new_secret": _new_secret,
    "registration": _registration,
}

_OTHER_WAYS: Final = {"starttls", "tls", "submission", "open_ways"}


def _trustworthy(names: Sequence[str], host: str) -> list[str]:
    """Those of a certificate's names that may be offered: whoever is in between could have written others."""
    site = host.lower().split(".")[-_SAME_SITE:]
    return [
        name
        for name in dict.fromkeys(map(str.lower, names))
        if name != host.lower() and _is_host(name) and (name.split(".")[-_SAME_SITE:] == site or _is_known_server(name))
    ]


def _is_known_server(name: str) -> bool:
    """Whether it is surely a provider's: that of one merely known again may be a customer's machine."""
    provider = registry.for_server(name)
    return provider is not None and registry.is_checked(provider)


def _is_host(name: str) -> bool:
    try:
        return parse_host(name) == name
    except InvalidAddress:
        return False


def _use_port(port: int, security: Security) -> Mend:
    return _use({"smtp_port": str(port), "security": security.value})


def _use(changes: dict[str, str], what: str = "") -> Mend:
    return Mend(label=f"Use {what or _in_words(changes)} and test again", changes=changes)


def _in_words(changes: dict[str, str]) -> str:
    """The changes as they stand in a label."""
    words = ", ".join(form.format(changes[field]) for field, form in _FORMS.items() if field in changes)
    return f"{words} with {MODE_NAMES[Security(changes['security'])]}" if "security" in changes else words


def _present(settings: SmtpSettings) -> dict[str, str]:
    return {
        "smtp_server": settings.host,
        "smtp_port": str(settings.port),
        "security": settings.security.value,
        "smtp_username": settings.username,
        "from_email": settings.from_email,
        "reply_to": settings.reply_to,
        "helo_hostname": settings.helo_hostname,
        "auth_method": settings.auth_method,
        "timeout_seconds": str(settings.timeout_seconds),
    }
